/* SPDX-License-Identifier: Apache-2.0 */
/* What each operator on a picture becomes in the graph IR: which file knows it, and those on single values. */
#include "import/onnx/onnx_lower_ops.h"
#include "base/status.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* No branches, so that compilers make vectors of it. */
bool eff_onnx_all_finite(const float *v, size_t n)
{
    float zero = 0;
    for (size_t i = 0; i < n; i++)
        zero = zero + v[i] * 0;
    return zero == 0;
}

EffStatus eff_onnx_not_finite(void)
{
    return eff_fail(EFF_ERR_FORMAT, "a weight that is not finite; train or export the model again");
}

EffStatus eff_onnx_load(EffParam *p, const EffOnnxTensor *t)
{
    const EffStatus st = eff_param_alloc(p, t->n);
    for (size_t i = 0; st == EFF_OK && i < t->n; i++)
        p->data[i] = eff_onnx_element(t, i);
    return st == EFF_OK && !eff_onnx_all_finite(p->data, p->n) ? eff_onnx_not_finite() : st;
}

EffStatus eff_onnx_make_weights(EffOnnxLowerer *l, EffConv *c, size_t n, size_t fixed)
{
    if (n > EFF_ONNX_MOST_MADE - l->n_made)
        return eff_fail(EFF_ERR_LIMIT,
                        "parts of maps and groups of channels become convolutions of more than %d weights in all; use "
                        "a narrower network",
                        (int)EFF_ONNX_MOST_MADE);
    l->n_made += n;
    c->n_fixed = fixed;
    return eff_param_alloc(&c->wgt, n);
}

EffStatus eff_onnx_add(EffOnnxLowerer *l, const EffOnnxNode *from, const char *ending, EffNode *node, EffShape shape,
                       int *out)
{
    char own[EFF_ONNX_MAX_NAME], name[EFF_ONNX_MAX_NAME + 40];
    if (shape.h < 1 || shape.w < 1 || shape.c < 1 || shape.h > EFF_PLAN_MAX_EXTENT || shape.w > EFF_PLAN_MAX_EXTENT ||
        shape.c > EFF_MAX_CHANNELS) {
        eff_node_free_params(node);
        return eff_fail(EFF_ERR_LIMIT, "a map of %dx%dx%d; at most %dx%dx%d", shape.h, shape.w, shape.c,
                        EFF_PLAN_MAX_EXTENT, EFF_PLAN_MAX_EXTENT, EFF_MAX_CHANNELS);
    }
    snprintf(name, sizeof name, "%s%s", eff_onnx_node_name(own, l->m, from), ending);
    node->name = name;
    const EffStatus st = eff_graph_add_node(l->g, node, out);
    if (st != EFF_OK) {
        eff_node_free_params(node);
        return st;
    }
    l->g->values[*out].shape = shape;
    return EFF_OK;
}

EffStatus eff_onnx_append(EffOnnxLowerer *l, const EffOnnxNode *from, EffNode *node, EffShape shape, const int axis[3])
{
    int out;
    const EffStatus st = eff_onnx_add(l, from, "", node, shape, &out);
    if (st == EFF_OK)
        l->spots[eff_onnx_out(l->m, from, 0)] = (EffOnnxSpot){out, {axis[0], axis[1], axis[2]}};
    return st;
}

/* ---- Per channel: x * k + b ---- */

/* BatchNorm with variance 1 and epsilon 0: what a product or a sum with a constant is. */
static EffStatus affine(EffNode *n, int n_ch)
{
    const size_t c = (size_t)n_ch;
    EffBatchNorm *bn = &n->bn;
    EffStatus st = eff_param_alloc(&bn->gamma, c);
    if (st == EFF_OK)
        st = eff_param_alloc(&bn->beta, c);
    if (st == EFF_OK)
        st = eff_param_alloc(&bn->mean, c);
    if (st == EFF_OK)
        st = eff_param_alloc(&bn->var, c);
    for (size_t i = 0; st == EFF_OK && i < c; i++)
        bn->gamma.data[i] = bn->var.data[i] = 1;
    return st;
}

static EffStatus lower_batchnorm(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    EffNode n = {.op = EFF_OP_BATCHNORM, .n_inputs = 1, .in = {eff_onnx_source(l, node, 0)}};
    EffParam *const params[] = {&n.bn.gamma, &n.bn.beta, &n.bn.mean, &n.bn.var};
    const int x = eff_onnx_in(l->m, node, 0);
    const EffOnnxSpot *s = &l->spots[x];
    const EffShape shape = l->g->values[s->value].shape;
    n.bn.eps = (float)eff_onnx_float(node, "epsilon", (double)1e-5f);
    if (shape.c != 1 && s->axis[2] != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "its channels are not on axis 1; simplify the model (onnxsim)");
    EffStatus st = EFF_OK;
    for (int i = 0; i < 4 && st == EFF_OK; i++) {
        const EffOnnxTensor *t = eff_onnx_operand(l, node, i + 1);
        st = t->data != NULL && t->n == (size_t)shape.c
                 ? eff_onnx_load(params[i], t)
                 : eff_fail(EFF_ERR_UNSUPPORTED, "statistics that depend on the picture; export in evaluation mode");
    }
    for (size_t i = 0; st == EFF_OK && i < n.bn.var.n; i++) {
        if (!(n.bn.var.data[i] >= 0) || !(n.bn.eps >= 0) || (double)n.bn.var.data[i] + (double)n.bn.eps <= 0)
            st = eff_fail(EFF_ERR_FORMAT, "a variance that is not positive; train the model again");
    }
    if (st != EFF_OK) {
        eff_node_free_params(&n);
        return st;
    }
    return eff_onnx_append(l, node, &n, shape, s->axis);
}

bool eff_onnx_per_channel(const EffOnnxLowerer *l, int v, const EffOnnxTensor *t, int c, double *out)
{
    const EffOnnxTensor *x = &l->m->values[v].t;
    const int axis = l->spots[v].axis[2], own = axis - (x->rank - t->rank);
    if (t->n == 1) {
        *out = eff_onnx_get(t, 0);
        return true;
    }
    if (axis < 0 || own < 0 || t->rank > x->rank || t->n != (size_t)t->dims[own])
        return false;
    *out = eff_onnx_get(t, (size_t)c);
    return true;
}

typedef enum Sign { ADD, SUB, MUL, DIV } Sign;

static EffStatus lower_constant_pair(EffOnnxLowerer *l, const EffOnnxNode *node, Sign sign, int which)
{
    const int v = eff_onnx_in(l->m, node, which);
    const EffOnnxTensor *t = eff_onnx_operand(l, node, !which), *x = &l->m->values[v].t;
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t;
    const EffOnnxSpot s = l->spots[v];
    const EffShape shape = l->g->values[s.value].shape;
    EffNode n = {.op = EFF_OP_BATCHNORM, .n_inputs = 1, .in = {s.value}};
    if (y->n != x->n || y->rank != x->rank)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a constant that is larger than what depends on the picture");
    if (sign == DIV && which == 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a division by what depends on the picture");
    EffStatus st = affine(&n, shape.c);
    for (int c = 0; c < shape.c && st == EFF_OK; c++) {
        double k;
        if (!eff_onnx_per_channel(l, v, t, c, &k)) {
            st = eff_fail(EFF_ERR_UNSUPPORTED,
                          "a constant that differs from pixel to pixel; one number a channel is fine");
            break;
        }
        float *gamma = &n.bn.gamma.data[c], *beta = &n.bn.beta.data[c];
        *gamma = (float)(sign == MUL ? k : sign == DIV ? 1 / k : sign == SUB && which == 1 ? -1 : 1);
        *beta = (float)(sign == ADD || (sign == SUB && which == 1) ? k : sign == SUB ? -k : 0);
        if (!isfinite(*gamma) || !isfinite(*beta))
            st = eff_fail(EFF_ERR_FORMAT, "a constant that is not finite; export the model again");
    }
    if (st != EFF_OK) {
        eff_node_free_params(&n);
        return st;
    }
    return eff_onnx_append(l, node, &n, shape, s.axis);
}

/* Where an axis of a value comes to lie when it is broadcast to `rank`. */
static int shifted(int axis, const EffOnnxTensor *t, int rank)
{
    return axis < 0 ? -1 : axis + rank - t->rank;
}

static EffStatus lower_pair(EffOnnxLowerer *l, const EffOnnxNode *node, Sign sign)
{
    const int a = eff_onnx_source(l, node, 0), b = eff_onnx_source(l, node, 1);
    if (a < 0 || b < 0)
        return lower_constant_pair(l, node, sign, a < 0);
    if (sign == SUB || sign == DIV)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "of two values that both depend on the picture; only sums and products are");
    const EffShape sa = l->g->values[a].shape, sb = l->g->values[b].shape;
    const EffOnnxTensor *ta = eff_onnx_operand(l, node, 0), *tb = eff_onnx_operand(l, node, 1);
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t;
    const bool gate_first = sa.h * sa.w < sb.h * sb.w, same = sa.h == sb.h && sa.w == sb.w && sa.c == sb.c;
    const EffOnnxSpot *wide = &l->spots[eff_onnx_in(l->m, node, gate_first)];
    const EffOnnxSpot *gate = &l->spots[eff_onnx_in(l->m, node, !gate_first)];
    const EffOnnxTensor *tw = gate_first ? tb : ta, *tg = gate_first ? ta : tb;
    const EffShape sw = gate_first ? sb : sa, sg = gate_first ? sa : sb;
    bool fits = sa.c == sb.c && (same || (sign == MUL && sg.h == 1 && sg.w == 1));
    for (int i = 0; i < 3; i++) {
        const bool long_axis = i == 0 ? sg.h > 1 : i == 1 ? sg.w > 1 : sg.c > 1;
        fits = fits && (!long_axis || shifted(wide->axis[i], tw, y->rank) == shifted(gate->axis[i], tg, y->rank));
    }
    if (!fits || y->n != tw->n)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "maps of %dx%dx%d and %dx%dx%d; equal ones are, and products with a channel's gate", sa.h, sa.w,
                        sa.c, sb.h, sb.w, sb.c);
    EffNode n = {.op = sign == ADD ? EFF_OP_ADD : EFF_OP_MUL, .n_inputs = 2, .in = {wide->value, gate->value}};
    const int axis[3] = {shifted(wide->axis[0], tw, y->rank), shifted(wide->axis[1], tw, y->rank),
                         shifted(wide->axis[2], tw, y->rank)};
    return eff_onnx_append(l, node, &n, sw, axis);
}

/* ---- Activations ---- */

static EffStatus lower_act(EffOnnxLowerer *l, const EffOnnxNode *node, int v, EffActivation act)
{
    const EffOnnxSpot s = l->spots[v];
    EffNode n = {.op = EFF_OP_ACT, .n_inputs = 1, .in = {s.value}, .act = act};
    return eff_onnx_append(l, node, &n, l->g->values[s.value].shape, s.axis);
}

/* relu6(x + 3) / 6: as nodes that the passes know, the last under the node's name. */
static EffStatus lower_hard_sigmoid(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const EffOnnxSpot s = l->spots[eff_onnx_in(l->m, node, 0)];
    const EffShape shape = l->g->values[s.value].shape;
    const int y = eff_onnx_out(l->m, node, 0);
    const double alpha = eff_onnx_float(node, "alpha", (double)0.2f), beta = eff_onnx_float(node, "beta", 0.5);
    if (fabs(alpha - 1.0 / 6) > 1e-5 || beta != 0.5)
        return eff_fail(EFF_ERR_UNSUPPORTED, "alpha %g and beta %g; 1/6 and 0.5 are supported", alpha, beta);
    for (int i = 0; i < 3; i++) {
        EffNode n = {
            .op = i == 1 ? EFF_OP_ACT : EFF_OP_BATCHNORM, .n_inputs = 1, .act = i == 1 ? EFF_ACTIVATION_RELU6 : 0};
        n.in[0] = i == 0 ? s.value : l->spots[y].value;
        EffStatus st = i == 1 ? EFF_OK : affine(&n, shape.c);
        for (int c = 0; c < shape.c && st == EFF_OK && i != 1; c++) {
            n.bn.gamma.data[c] = i == 0 ? 1 : (float)(1.0 / 6);
            n.bn.beta.data[c] = i == 0 ? 3 : 0;
        }
        if (st != EFF_OK)
            eff_node_free_params(&n);
        else
            st = eff_onnx_append(l, node, &n, shape, s.axis);
        if (st != EFF_OK)
            return st;
    }
    return EFF_OK;
}

/* Whether the only reader of a node's output is Max(it, 0). */
static bool max_with_zero_follows(const EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const EffOnnxModel *m = l->m;
    const int y = eff_onnx_out(m, node, 0);
    for (int i = 0; m->values[y].n_consumers == 1 && i < m->n_nodes; i++) {
        const EffOnnxNode *next = &m->nodes[i];
        for (int k = 0; k < next->n_inputs; k++) {
            if (eff_onnx_in(m, next, k) != y)
                continue;
            const int other = eff_onnx_in(m, next, !k);
            return eff_onnx_is(next, "Max") && next->n_inputs == 2 && other >= 0 && m->values[other].t.data != NULL &&
                   m->values[other].t.n == 1 && eff_onnx_get(&m->values[other].t, 0) == 0;
        }
    }
    return false;
}

/* ---- Ranges ---- */

static EffStatus lower_range(EffOnnxLowerer *l, const EffOnnxNode *node, int v, double low, double high)
{
    const EffGraph *g = l->g;
    const int p = g->values[l->spots[v].value].producer;
    const bool after_relu = p >= 0 && g->nodes[p].op == EFF_OP_ACT && g->nodes[p].act == EFF_ACTIVATION_RELU;
    if ((low == 0 || (low < 0 && after_relu)) && high == 6)
        return lower_act(l, node, v, EFF_ACTIVATION_RELU6);
    if (low == 0 && high > (double)3.4e38f)
        return lower_act(l, node, v, EFF_ACTIVATION_RELU);
    if (high == 6 && low < 0 && max_with_zero_follows(l, node)) /* min first: relu6 already, which the Max keeps */
        return lower_act(l, node, v, EFF_ACTIVATION_RELU6);
    return eff_fail(EFF_ERR_UNSUPPORTED, "bounds %g and %g; 0 and 6, or 0 alone, are supported", low, high);
}

static EffStatus lower_clip(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    double bound[2] = {eff_onnx_float(node, "min", -INFINITY), eff_onnx_float(node, "max", INFINITY)};
    for (int i = 0; i < 2; i++) {
        const EffOnnxTensor *t = eff_onnx_operand(l, node, i + 1);
        if (t != NULL && t->data == NULL)
            return eff_fail(EFF_ERR_UNSUPPORTED, "bounds that depend on the picture");
        if (t != NULL)
            bound[i] = eff_onnx_get(t, 0);
    }
    if (l->rounds && !(bound[0] == 0 && (bound[1] == 6 || bound[1] > (double)FLT_MAX))) {
        const EffOnnxTensor *low = eff_onnx_operand(l, node, 1), *high = eff_onnx_operand(l, node, 2);
        if (low != NULL || high != NULL)
            return eff_onnx_lower_clamp(l, node, eff_onnx_in(l->m, node, 0), low, high);
    }
    return lower_range(l, node, eff_onnx_in(l->m, node, 0), bound[0], bound[1]);
}

/* Max(x, 0) and Min(x, 6), in either order of their inputs. */
static EffStatus lower_bound(EffOnnxLowerer *l, const EffOnnxNode *node, bool upper)
{
    const int which = eff_onnx_source(l, node, 0) >= 0 ? 0 : 1;
    const EffOnnxTensor *t = eff_onnx_operand(l, node, !which);
    if (l->rounds && node->n_inputs == 2 && eff_onnx_source(l, node, which) >= 0 && t->data != NULL)
        return eff_onnx_lower_clamp(l, node, eff_onnx_in(l->m, node, which), upper ? NULL : t, upper ? t : NULL);
    if (node->n_inputs != 2 || eff_onnx_source(l, node, which) < 0 || t->data == NULL || t->n != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "of other than a value and a number");
    const double v = eff_onnx_get(t, 0);
    return lower_range(l, node, eff_onnx_in(l->m, node, which), upper ? -INFINITY : v, upper ? v : INFINITY);
}

/* ---- Ends of networks ---- */

/* Softmax as the last node changes no order of classes, and the program takes logits: it is left out. */
static EffStatus lower_softmax(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int y = eff_onnx_out(l->m, node, 0), x = eff_onnx_in(l->m, node, 0);
    const EffShape shape = l->g->values[l->spots[x].value].shape;
    if (l->m->values[y].n_consumers != 1 || y != l->m->output || shape.h != 1 || shape.w != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "inside the network; only as its last node, where it is left out");
    l->spots[y] = l->spots[x];
    return EFF_OK;
}

EffStatus eff_onnx_lower_op(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    bool any = false, all = true;
    for (int i = 0; i < node->n_inputs; i++) {
        const EffOnnxTensor *t = eff_onnx_operand(l, node, i);
        any = any || eff_onnx_source(l, node, i) >= 0;
        all = all && (t == NULL || eff_onnx_source(l, node, i) >= 0 || t->data != NULL || t->n == 0);
    }
    if (!any || !all) /* one is of a blocked node: neither a map nor a constant */
        return eff_fail(EFF_ERR_UNSUPPORTED, "its inputs are not supported either");
    if (eff_onnx_is(node, "Add"))
        return lower_pair(l, node, ADD);
    if (eff_onnx_is(node, "Sub"))
        return lower_pair(l, node, SUB);
    if (eff_onnx_is(node, "Mul"))
        return lower_pair(l, node, MUL);
    if (eff_onnx_is(node, "Div"))
        return lower_pair(l, node, DIV);
    if (eff_onnx_is(node, "Min") || eff_onnx_is(node, "Max"))
        return lower_bound(l, node, eff_onnx_is(node, "Min"));
    if (eff_onnx_is(node, "Concat"))
        return eff_onnx_lower_concat(l, node);
    if (eff_onnx_source(l, node, 0) < 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "its first input does not depend on the picture, but another one does");
    if (eff_onnx_is(node, "Conv"))
        return eff_onnx_lower_conv(l, node);
    if (eff_onnx_is(node, "Gemm") || eff_onnx_is(node, "MatMul"))
        return eff_onnx_lower_matrix(l, node, eff_onnx_is(node, "Gemm"));
    if (eff_onnx_is(node, "BatchNormalization"))
        return lower_batchnorm(l, node);
    if (eff_onnx_is(node, "GlobalAveragePool") || eff_onnx_is(node, "ReduceMean"))
        return eff_onnx_lower_global_pool(l, node);
    if (eff_onnx_is(node, "AveragePool") || eff_onnx_is(node, "MaxPool") || eff_onnx_is(node, "GlobalMaxPool"))
        return eff_onnx_lower_window_pool(l, node,
                                          eff_onnx_is(node, "AveragePool") ? EFF_POOLING_MEAN : EFF_POOLING_MAX);
    if (eff_onnx_is(node, "Slice"))
        return eff_onnx_lower_slice(l, node);
    if (eff_onnx_is(node, "Split"))
        return eff_onnx_lower_split(l, node);
    if (eff_onnx_is(node, "Clip"))
        return lower_clip(l, node);
    if (eff_onnx_is(node, "Pad"))
        return eff_onnx_lower_pad(l, node);
    if (eff_onnx_is(node, "Softmax"))
        return lower_softmax(l, node);
    const int x = eff_onnx_in(l->m, node, 0);
    if (eff_onnx_is(node, "Relu"))
        return lower_act(l, node, x, EFF_ACTIVATION_RELU);
    if (eff_onnx_is(node, "Sigmoid"))
        return lower_act(l, node, x, EFF_ACTIVATION_SIGMOID);
    if (eff_onnx_is(node, "HardSigmoid"))
        return lower_hard_sigmoid(l, node);
    if (eff_onnx_is(node, "HardSwish"))
        return lower_act(l, node, x, EFF_ACTIVATION_HSWISH);
    if (eff_onnx_is(node, "QuantizeLinear") || eff_onnx_is(node, "DequantizeLinear"))
        return eff_onnx_lower_quantize(l, node, eff_onnx_is(node, "DequantizeLinear"));
    if (eff_onnx_is(node, "Floor") && l->rounds)
        return eff_onnx_lower_floor(l, node);
    return eff_fail(EFF_ERR_UNSUPPORTED, "on what depends on the picture; doc/onnx.md lists what is supported there");
}
