/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a graph in float32, node by node, in an arena planned ahead. Clear first: each node is one step, and
 * kernels/layer_f32.h does the work.
 */
#include "graph/reference_f32.h"
#include "base/arena.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"
#include "kernels/layer_f32.h"
#include "kernels/round_f32.h"
#include "kernels/table.h"

#include <string.h>

typedef struct Step {
    EffOp op;
    EffShape in, out;
    size_t src[2], dst; /* offsets into the arena, bytes */
    EffActivation act;
    EffRounding how;
    bool gates; /* MUL of a map and a number a channel */
    EffConvF32 conv;
    EffPoolF32 pool;
    float *wgt, *bias; /* what conv points to, bias NULL without; wgt is ROUND's table too */
} Step;

struct EffReference {
    EffKernelsF32 kernels;
    Step *steps;
    int n_steps;
    size_t arena_bytes, input_offset, output_offset, n_output;
    size_t row_floats; /* of the widest im2col row */
    EffShape input;
};

struct EffReferenceSession {
    const EffReference *ref;
    EffPool *pool;
    uint8_t *arena;
    float *rows; /* an im2col row a thread */
};

/* ---- Preparing ---- */

static EffStatus prepare_conv(EffReference *r, Step *s, const EffNode *node)
{
    const EffConv *c = &node->conv;
    if (c->wgt.data == NULL)
        return eff_fail(EFF_ERR_ARG, "%s: the network has no weights yet; load some first", node->name);
    if (c->groups != 1 && !eff_conv_is_depthwise(c))
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s: %d groups for %d channels; dense and depthwise convolutions run",
                        node->name, c->groups, c->in_ch);
    s->conv = (EffConvF32){.in_h = s->in.h,
                           .in_w = s->in.w,
                           .in_ch = c->in_ch,
                           .out_h = s->out.h,
                           .out_w = s->out.w,
                           .out_ch = c->out_ch,
                           .kernel_h = c->kernel_h,
                           .kernel_w = c->kernel_w,
                           .stride = c->stride,
                           .pad_top = c->pad_top,
                           .pad_left = c->pad_left,
                           .groups = c->groups,
                           .act = node->act};
    const size_t n_wgt = eff_conv_f32_packed_count(&r->kernels, &s->conv), row = eff_conv_f32_row_floats(&s->conv);
    r->row_floats = row > r->row_floats ? row : r->row_floats;
    if ((s->wgt = eff_calloc(n_wgt, sizeof *s->wgt)) == NULL)
        return eff_fail_nomem(n_wgt * sizeof *s->wgt, "packed weights");
    eff_conv_f32_pack(&r->kernels, s->wgt, &s->conv, c->wgt.data);
    s->conv.wgt = s->wgt;
    if (!c->has_bias)
        return EFF_OK;
    if ((s->bias = eff_calloc(c->bias.n, sizeof *s->bias)) == NULL)
        return eff_fail_nomem(c->bias.n * sizeof *s->bias, "biases");
    memcpy(s->bias, c->bias.data, c->bias.n * sizeof *s->bias);
    s->conv.bias = s->bias;
    return EFF_OK;
}

static EffStatus prepare_round(Step *s, const EffNode *node)
{
    const EffParam *t = &node->round.table;
    if ((s->wgt = eff_calloc(t->n, sizeof *s->wgt)) == NULL)
        return eff_fail_nomem(t->n * sizeof *s->wgt, "scales");
    memcpy(s->wgt, t->data, t->n * sizeof *s->wgt);
    s->how = node->round.how;
    return EFF_OK;
}

static EffPoolF32 pool_of(const Step *s, const EffNode *node)
{
    const EffConv *c = &node->conv;
    return (EffPoolF32){.how = node->pooling,
                        .in_h = s->in.h,
                        .in_w = s->in.w,
                        .out_h = s->out.h,
                        .out_w = s->out.w,
                        .channels = s->out.c,
                        .kernel_h = c->kernel_h,
                        .kernel_w = c->kernel_w,
                        .stride = c->stride,
                        .pad_top = c->pad_top,
                        .pad_left = c->pad_left};
}

static EffStatus plan_arena(EffReference *r, const EffGraph *g)
{
    EffArenaBlock *blocks = eff_calloc((size_t)g->n_values, sizeof *blocks);
    if (blocks == NULL)
        return eff_fail_nomem((size_t)g->n_values * sizeof *blocks, "the memory plan");
    for (int v = 0; v < g->n_values; v++) {
        const EffValue *value = &g->values[v];
        if (value->producer < 0 && v != g->input)
            continue;
        blocks[v] = (EffArenaBlock){.n_bytes = eff_shape_count(value->shape) * sizeof(float),
                                    .first = value->producer < 0 ? 0 : value->producer,
                                    .last = v == g->output ? g->n_nodes : value->producer};
    }
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->nodes[i].n_inputs; k++) {
            EffArenaBlock *b = &blocks[g->nodes[i].in[k]];
            b->last = b->last > i ? b->last : i;
        }
    }
    const EffStatus st = eff_arena_plan(blocks, (size_t)g->n_values, &r->arena_bytes);
    if (st == EFF_OK) {
        for (int i = 0; i < g->n_nodes; i++) {
            for (int k = 0; k < g->nodes[i].n_inputs; k++)
                r->steps[i].src[k] = blocks[g->nodes[i].in[k]].offset;
            r->steps[i].dst = blocks[g->nodes[i].out].offset;
        }
        r->input_offset = blocks[g->input].offset;
        r->output_offset = blocks[g->output].offset;
    }
    eff_free(blocks);
    return st;
}

EffStatus eff_reference_create(EffReference **out, const EffGraph *g, const char *cpu)
{
    unsigned flags;
    EffKernels kernels;
    EffStatus st = eff_cpu_level_find(&flags, cpu != NULL ? cpu : "auto");
    if (st != EFF_OK)
        return st;
    eff_kernels_init(&kernels, flags);
    EffReference *r = eff_calloc(1, sizeof *r);
    if (r == NULL || (r->steps = eff_calloc((size_t)g->n_nodes, sizeof *r->steps)) == NULL) {
        eff_reference_free(r);
        return eff_fail_nomem(sizeof *r, "the network");
    }
    r->kernels = kernels.f32;
    r->n_steps = g->n_nodes;
    r->input = g->values[g->input].shape;
    r->n_output = eff_shape_count(g->values[g->output].shape);
    for (int i = 0; i < g->n_nodes && st == EFF_OK; i++) {
        const EffNode *node = &g->nodes[i];
        Step *s = &r->steps[i];
        *s = (Step){
            .op = node->op, .in = g->values[node->in[0]].shape, .out = g->values[node->out].shape, .act = node->act};
        if (node->op == EFF_OP_BATCHNORM)
            st = eff_fail(EFF_ERR_ARG, "%s: fold BatchNorm first (eff_graph_optimize)", node->name);
        if (node->op == EFF_OP_PAD)
            st = eff_fail(EFF_ERR_UNSUPPORTED, "%s: pads that no convolution follows; only those of one run",
                          node->name);
        if (node->op == EFF_OP_CONV)
            st = prepare_conv(r, s, node);
        if (node->op == EFF_OP_ROUND)
            st = prepare_round(s, node);
        if (node->op == EFF_OP_POOL)
            s->pool = pool_of(s, node);
        if (node->op == EFF_OP_MUL)
            s->gates = eff_shape_count(g->values[node->in[1]].shape) != eff_shape_count(s->out);
    }
    if (st == EFF_OK)
        st = plan_arena(r, g);
    if (st != EFF_OK) {
        eff_reference_free(r);
        return st;
    }
    *out = r;
    return EFF_OK;
}

void eff_reference_free(EffReference *r)
{
    if (r == NULL)
        return;
    for (int i = 0; i < r->n_steps && r->steps != NULL; i++) {
        eff_free(r->steps[i].wgt);
        eff_free(r->steps[i].bias);
    }
    eff_free(r->steps);
    eff_free(r);
}

size_t eff_reference_arena_bytes(const EffReference *r)
{
    return r->arena_bytes;
}

EffStatus eff_reference_session_create(EffReferenceSession **out, const EffReference *r, int n_threads)
{
    EffReferenceSession *s = eff_calloc(1, sizeof *s);
    if (s == NULL)
        return eff_fail_nomem(sizeof *s, "a session");
    s->ref = r;
    EffStatus st = eff_pool_create(&s->pool, n_threads);
    if (st == EFF_OK) {
        s->arena = eff_malloc(r->arena_bytes);
        s->rows = eff_calloc((size_t)eff_pool_size(s->pool), r->row_floats * sizeof *s->rows);
        if (s->arena == NULL || s->rows == NULL)
            st = eff_fail_nomem(r->arena_bytes, "activations");
    }
    if (st != EFF_OK) {
        eff_reference_session_free(s);
        return st;
    }
    *out = s;
    return EFF_OK;
}

void eff_reference_session_free(EffReferenceSession *s)
{
    if (s == NULL)
        return;
    eff_pool_destroy(s->pool);
    eff_free(s->arena);
    eff_free(s->rows);
    eff_free(s);
}

/* ---- Running ---- */

static void run_step(EffReferenceSession *session, const Step *s, float *dst, const float *src, const float *src2)
{
    EffPool *pool = session->pool;
    const EffKernelsF32 *k = &session->ref->kernels;
    const size_t n_ch = (size_t)s->out.c, n = eff_shape_count(s->out);
    switch (s->op) {
    case EFF_OP_CONV: eff_conv_f32_run(k, &s->conv, src, dst, pool, session->rows, session->ref->row_floats); break;
    case EFF_OP_GLOBAL_AVGPOOL: eff_mean_f32(k, dst, src, (size_t)s->in.h * (size_t)s->in.w, n_ch, pool); break;
    case EFF_OP_ACT: eff_act_f32(k, s->act, dst, src, n, pool); break;
    case EFF_OP_ADD: eff_add_f32(k, dst, src, src2, n, pool); break;
    case EFF_OP_MUL:
        if (s->gates)
            eff_gate_f32(k, dst, src, src2, n / n_ch, n_ch, pool);
        else
            eff_gate_f32(k, dst, src, src2, 1, n, pool);
        break;
    case EFF_OP_ROUND: eff_round_f32(s->how, dst, src, s->wgt, n / n_ch, n_ch, pool); break;
    case EFF_OP_POOL: eff_pool_f32(&s->pool, dst, src, pool); break;
    case EFF_OP_PAD:
    case EFF_OP_BATCHNORM: break; /* refused by eff_reference_create() */
    }
}

void eff_reference_run_nodes(EffReferenceSession *session, int begin, int end)
{
    for (int i = begin; i < end; i++) {
        const Step *s = &session->ref->steps[i];
        run_step(session, s, (float *)(session->arena + s->dst), (const float *)(session->arena + s->src[0]),
                 (const float *)(session->arena + s->src[1]));
    }
}

float *eff_reference_value(EffReferenceSession *session, int node)
{
    const EffReference *r = session->ref;
    return (float *)(session->arena + (node < 0 ? r->input_offset : r->steps[node].dst));
}

void eff_reference_run_tapped(EffReferenceSession *session, const float *src, float *dst, eff_tap_fn *tap, void *ctx)
{
    const EffReference *r = session->ref;
    memcpy(session->arena + r->input_offset, src, eff_shape_count(r->input) * sizeof *src);
    for (int i = 0; i < r->n_steps; i++) {
        const Step *s = &r->steps[i];
        float *to = (float *)(session->arena + s->dst);
        run_step(session, s, to, (const float *)(session->arena + s->src[0]),
                 (const float *)(session->arena + s->src[1]));
        if (tap != NULL)
            tap(ctx, i, s->out, to);
    }
    memcpy(dst, session->arena + r->output_offset, r->n_output * sizeof *dst);
}

void eff_reference_run(EffReferenceSession *session, const float *src, float *dst)
{
    eff_reference_run_tapped(session, src, dst, NULL, NULL);
}
