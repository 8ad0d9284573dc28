/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the nodes in order: folds, views, or lowers each. What one operator becomes is in onnx_lower_ops.c. */
#include "import/onnx/onnx_lower.h"
#include "base/mem.h"
#include "base/status.h"
#include "import/onnx/onnx_lower_ops.h"

#include <stdio.h>
#include <string.h>

/* ---- Axes ---- */

bool eff_onnx_spots_fit(const EffOnnxLowerer *l, int v, int row, int column, int channel)
{
    const EffOnnxSpot *s = &l->spots[v];
    const EffShape shape = l->g->values[s->value].shape;
    return (shape.h == 1 || s->axis[0] == row) && (shape.w == 1 || s->axis[1] == column) &&
           (shape.c == 1 || s->axis[2] == channel);
}

/* The axes of another view of x: those longer than 1 keep their order. */
static bool follow(const EffOnnxLowerer *l, int x, int y, const int64_t *perm)
{
    const EffOnnxTensor *a = &l->m->values[x].t, *b = &l->m->values[y].t;
    const EffOnnxSpot *from = &l->spots[x];
    EffOnnxSpot to = {.value = from->value, .axis = {-1, -1, -1}};
    int at[EFF_MAX_RANK];
    for (int i = 0, k = 0; i < a->rank; i++) {
        at[i] = -1;
        if (perm != NULL) {
            for (k = 0; perm[k] != i; k++) {
            }
            at[i] = k;
        } else if (a->dims[i] != 1) {
            while (k < b->rank && b->dims[k] == 1)
                k++;
            if (k == b->rank || b->dims[k] != a->dims[i])
                return false;
            at[i] = k++;
        }
    }
    for (int s = 0; s < 3; s++)
        to.axis[s] = from->axis[s] >= 0 && a->dims[from->axis[s]] != 1 ? at[from->axis[s]] : -1;
    l->spots[y] = to;
    return true;
}

static EffStatus lower_view(EffOnnxLowerer *l, const EffOnnxNode *node, int x, int y)
{
    int64_t perm[EFF_MAX_RANK];
    const EffOnnxTensor *a = &l->m->values[x].t;
    const bool moves = eff_onnx_is(node, "Transpose");
    int n = moves ? eff_onnx_ints(node, "perm", perm, EFF_MAX_RANK) : -1;
    for (int i = 0; moves && n < 0 && i < a->rank; i++)
        perm[i] = a->rank - 1 - i;
    if (eff_onnx_is(node, "Cast") && l->m->values[y].t.type != a->type)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a cast from %s to %s of what depends on the picture; export in float32",
                        eff_onnx_type_name((int)a->type), eff_onnx_type_name((int)l->m->values[y].t.type));
    if (!follow(l, x, y, moves ? perm : NULL)) {
        char from[80], to[80];
        return eff_fail(EFF_ERR_UNSUPPORTED, "a map of %s becomes %s; only axes of 1 may come and go",
                        eff_onnx_dims_text(from, sizeof from, a),
                        eff_onnx_dims_text(to, sizeof to, &l->m->values[y].t));
    }
    return EFF_OK;
}

static bool is_view(const EffOnnxNode *node)
{
    static const char *const views[] = {"Identity", "Dropout", "Reshape",   "Flatten",
                                        "Squeeze",  "Cast",    "Unsqueeze", "Transpose"};
    for (size_t i = 0; i < EFF_COUNT(views); i++) {
        if (eff_onnx_is(node, views[i]))
            return true;
    }
    return false;
}

/* ---- Nodes ---- */

EffStatus eff_onnx_call_of(EffOnnxLowerer *l, const EffOnnxNode *node, EffOnnxCall *out)
{
    *out = (EffOnnxCall){.model = l->m, .node = node, .opset = l->m->opset, .budget = &l->budget};
    if (node->n_inputs > EFF_ONNX_MAX_INPUTS)
        return eff_fail(EFF_ERR_LIMIT, "%d inputs; at most %d are supported", node->n_inputs, EFF_ONNX_MAX_INPUTS);
    out->n_in = node->n_inputs;
    for (int i = 0; i < node->n_inputs; i++) {
        const int v = eff_onnx_in(l->m, node, i);
        if (v < 0)
            continue;
        if (!l->m->values[v].is_known) {
            char name[EFF_ONNX_MAX_NAME];
            return eff_fail(EFF_ERR_FORMAT,
                            "its input '%.200s' is computed by nothing before it; export the model again",
                            eff_onnx_text(name, l->m->values[v].name));
        }
        out->in[i] = &l->m->values[v].t;
    }
    return EFF_OK;
}

/* Shape of an output, and its elements if those of the inputs are known. */
static EffStatus evaluate(EffOnnxLowerer *l, const EffOnnxNode *node, int which)
{
    EffOnnxTensor t = {0};
    EffOnnxCall call;
    const int y = eff_onnx_out(l->m, node, which);
    EffStatus st = eff_onnx_call_of(l, node, &call);
    call.out = &t;
    call.which = which;
    if (st == EFF_OK)
        st = eff_onnx_eval(&call);
    if (st != EFF_OK)
        return st;
    if (y < 0) {
        eff_onnx_free(&t);
        return EFF_OK;
    }
    l->m->values[y].t = t;
    l->m->values[y].is_known = true;
    return EFF_OK;
}

static EffStatus lower_node(EffOnnxLowerer *l, int index, EffOnnxFate *fate)
{
    const EffOnnxNode *node = &l->m->nodes[index];
    const int y = eff_onnx_out(l->m, node, 0), x = eff_onnx_in(l->m, node, 0);
    const bool splits = eff_onnx_is(node, "Split"); /* the only one whose other outputs are computed */
    for (int i = 0; i < (splits ? node->n_outputs : 1); i++) {
        const EffStatus st = evaluate(l, node, i);
        if (st != EFF_OK)
            return st;
    }
    if (y < 0)
        return EFF_OK;
    *fate = EFF_ONNX_FOLDED;
    if (l->m->values[y].t.data != NULL)
        return EFF_OK;
    *fate = EFF_ONNX_FREE;
    for (int i = 1; i < node->n_outputs && !splits; i++) {
        const int other = eff_onnx_out(l->m, node, i);
        if (other >= 0 && l->m->values[other].n_consumers > 0)
            return eff_fail(EFF_ERR_UNSUPPORTED, "output %d is used; only the first one is supported", i);
    }
    if (is_view(node) && x >= 0 && l->spots[x].value >= 0)
        return lower_view(l, node, x, y);
    *fate = EFF_ONNX_LOWERED;
    return eff_onnx_lower_op(l, node);
}

/* Which nodes the output needs; what it does not need may be anything. */
static EffStatus mark_needed(const EffOnnxModel *m, bool **out)
{
    bool *needed = eff_calloc((size_t)m->n_nodes + 1, sizeof *needed);
    int *stack = eff_calloc((size_t)m->n_nodes + 1, sizeof *stack), n = 0;
    if (needed == NULL || stack == NULL) {
        eff_free(needed);
        eff_free(stack);
        return eff_fail_nomem((size_t)m->n_nodes * sizeof *stack, "the model");
    }
    const int last = m->values[m->output].producer;
    if (last >= 0) {
        needed[last] = true;
        stack[n++] = last;
    }
    while (n > 0) {
        const EffOnnxNode *node = &m->nodes[stack[--n]];
        for (int i = 0; i < node->n_inputs; i++) {
            const int v = eff_onnx_in(m, node, i), p = v >= 0 ? m->values[v].producer : -1;
            if (p >= 0 && !needed[p]) {
                needed[p] = true;
                stack[n++] = p;
            }
        }
    }
    eff_free(stack);
    *out = needed;
    return EFF_OK;
}

static EffStatus say_where(const EffOnnxLowerer *l, const EffOnnxNode *node, EffStatus st)
{
    char name[EFF_ONNX_MAX_NAME], op[EFF_ONNX_MAX_NAME];
    eff_onnx_node_name(name, l->m, node);
    eff_onnx_text(op, node->op);
    return eff_fail_in(st, "%.200s (%.60s, opset %lld)", name, op, (long long)l->m->opset);
}

/* A last Softmax is left out, and so are the pairs that quantizers put behind it: the network ends before them. */
static void cut_behind_softmax(EffOnnxModel *m)
{
    int v = m->output;
    for (;;) {
        const EffOnnxNode *last = m->values[v].producer >= 0 ? &m->nodes[m->values[v].producer] : NULL;
        if (last != NULL && eff_onnx_is(last, "Softmax"))
            m->output = v;
        if (last == NULL || !(eff_onnx_is(last, "QuantizeLinear") || eff_onnx_is(last, "DequantizeLinear")) ||
            m->values[v].n_consumers != 1 || eff_onnx_in(m, last, 0) < 0)
            return;
        v = eff_onnx_in(m, last, 0);
    }
}

/* Whether values that may depend on the picture are quantized. */
static bool quantizes(const EffOnnxModel *m, const bool *needed)
{
    for (int i = 0; i < m->n_nodes; i++) {
        const int x = eff_onnx_in(m, &m->nodes[i], 0);
        if (needed[i] && x >= 0 && !m->values[x].is_initializer && eff_onnx_is(&m->nodes[i], "QuantizeLinear"))
            return true;
    }
    return false;
}

static EffStatus walk(EffOnnxLowerer *l, const EffOnnxLowerOptions *o, const bool *needed)
{
    EffStatus first = EFF_OK;
    char why[600] = "", name[EFF_ONNX_MAX_NAME], op[EFF_ONNX_MAX_NAME];
    for (int i = 0; i < l->m->n_nodes; i++) {
        const EffOnnxNode *node = &l->m->nodes[i];
        EffOnnxFate fate = EFF_ONNX_UNUSED;
        EffStatus st = needed[i] ? lower_node(l, i, &fate) : EFF_OK;
        if (st == EFF_ERR_NOMEM)
            return st;
        char reason[400] = "";
        if (st != EFF_OK) {
            fate = EFF_ONNX_BLOCKED;
            snprintf(reason, sizeof reason, "%.399s", eff_last_message());
            say_where(l, node, st);
        }
        if (st != EFF_OK && first == EFF_OK) {
            first = st;
            snprintf(why, sizeof why, "%.599s", eff_last_message());
        }
        if (o->fate != NULL)
            o->fate(o->ctx, eff_onnx_node_name(name, l->m, node), eff_onnx_text(op, node->op), fate, reason);
        else if (st != EFF_OK)
            return st;
    }
    return first == EFF_OK ? EFF_OK : eff_fail(first, "%s", why);
}

/* ---- The ends ---- */

static EffStatus begin(EffOnnxLowerer *l, const EffOnnxLowerOptions *o)
{
    EffOnnxModel *m = l->m;
    if (m->n_inputs != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%d inputs; a classifier of pictures has one", m->n_inputs);
    EffOnnxValue *input = &m->values[m->input];
    char name[EFF_ONNX_MAX_NAME];
    int type;
    int64_t dims[EFF_MAX_RANK];
    int rank = eff_onnx_declared_shape(m->input_proto, &type, dims);
    eff_onnx_text(name, input->name);
    if (type != EFF_ONNX_FLOAT)
        return eff_fail(EFF_ERR_UNSUPPORTED, "input '%.200s' is %s; export the model with a float32 input", name,
                        eff_onnx_type_name(type));
    if (o->n_dims > 0) {
        rank = o->n_dims;
        memcpy(dims, o->dims, sizeof dims);
    } else if (rank == 4 && dims[0] != 1) {
        dims[0] = 1; /* one picture at a time, whatever batch it was exported with */
    }
    if (rank != 4)
        return eff_fail(EFF_ERR_UNSUPPORTED, "input '%.200s' has not four dimensions; give --input-shape 1,3,H,W",
                        name);
    /* A symbolic dimension beside two known ones is the channels'. */
    for (int i = 1; i < 4; i++) {
        if (dims[i] == 0)
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "dimension %d of input '%.200s' is symbolic; give --input-shape 1,3,H,W", i, name);
    }
    const bool first = dims[1] == 1 || dims[1] == 3, last = dims[3] == 1 || dims[3] == 3;
    if (dims[0] != 1 || (!first && !last))
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "input '%.200s' is no picture of 1 or 3 channels; give --input-shape 1,3,H,W", name);
    const int64_t h = first ? dims[2] : dims[1], w = first ? dims[3] : dims[2], c = first ? dims[1] : dims[3];
    if (h != w || h > EFF_MAX_SIZE)
        return eff_fail(EFF_ERR_UNSUPPORTED, "input '%.200s' of %lld x %lld pixels; squares up to %d are supported",
                        name, (long long)h, (long long)w, EFF_MAX_SIZE);
    input->t = (EffOnnxTensor){.type = EFF_ONNX_FLOAT};
    EffStatus st = eff_onnx_set_dims(&input->t, 4, dims);
    input->is_known = true;
    char graph[EFF_ONNX_MAX_NAME];
    eff_onnx_text(graph, m->graph_name);
    if (st == EFF_OK)
        st = eff_graph_create(&l->g, graph[0] ? graph : "model", (EffShape){(int)h, (int)w, (int)c});
    if (st != EFF_OK)
        return st;
    l->spots[m->input] = first ? (EffOnnxSpot){l->g->input, {2, 3, 1}} : (EffOnnxSpot){l->g->input, {1, 2, 3}};
    l->g->pre.size = (int)h;
    return EFF_OK;
}

static EffStatus finish(EffOnnxLowerer *l)
{
    const EffOnnxModel *m = l->m;
    const EffOnnxSpot *s = &l->spots[m->output];
    char name[EFF_ONNX_MAX_NAME], dims[80];
    eff_onnx_text(name, m->values[m->output].name);
    if (s->value < 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "output '%.200s' does not depend on the picture; export the model again",
                        name);
    const EffShape shape = l->g->values[s->value].shape;
    if (shape.h != 1 || shape.w != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "output '%.200s' is %s; export the model with its classifier", name,
                        eff_onnx_dims_text(dims, sizeof dims, &m->values[m->output].t));
    l->g->output = s->value;
    l->g->n_classes = shape.c;
    return EFF_OK;
}

EffStatus eff_onnx_lower(EffGraph **out, EffOnnxModel *m, const EffOnnxLowerOptions *options)
{
    EffOnnxLowerer l = {.m = m, .budget = {.elements = 16 << 20, .work = (int64_t)1 << 27}};
    bool *needed = NULL;
    l.spots = eff_malloc(((size_t)m->n_values + 1) * sizeof *l.spots);
    if (l.spots == NULL)
        return eff_fail_nomem((size_t)m->n_values * sizeof *l.spots, "the model");
    for (int v = 0; v < m->n_values; v++)
        l.spots[v] = (EffOnnxSpot){-1, {-1, -1, -1}};
    cut_behind_softmax(m);
    EffStatus st = begin(&l, options);
    if (st == EFF_OK)
        st = mark_needed(m, &needed);
    if (st == EFF_OK) {
        l.rounds = quantizes(m, needed);
        st = walk(&l, options, needed);
    }
    if (st == EFF_OK)
        st = finish(&l);
    eff_free(needed);
    eff_free(l.spots);
    if (st != EFF_OK) {
        eff_graph_free(l.g);
        return st;
    }
    *out = l.g;
    return EFF_OK;
}
