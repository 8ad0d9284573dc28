/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a graph in float32, node by node, in an arena planned ahead. Clear first: each node is one step, and the kernels
 * in kernels/f32.h sum in one fixed order, so that every number of threads gives the same bits.
 */
#include "graph/reference_f32.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"
#include "kernels/f32.h"

#include <string.h>

typedef struct Step {
    EffOp op;
    EffShape in, out;
    size_t src[2], dst; /* offsets into the arena, bytes */
    EffActivation act;
    EffConv conv; /* geometry; its parameters are replaced by the ones below */
    float *wgt;   /* packed for pw, [kh][kw][c] for dw */
    float *bias;  /* NULL without */
} Step;

struct EffReference {
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

static bool is_dense(const EffConv *c)
{
    return c->groups == 1;
}

static EffStatus copy_floats(float **out, const float *data, size_t n)
{
    *out = eff_malloc(n * sizeof **out);
    if (*out == NULL)
        return eff_fail_nomem(n * sizeof **out, "weights");
    memcpy(*out, data, n * sizeof **out);
    return EFF_OK;
}

static EffStatus prepare_conv(EffReference *r, Step *s, const EffNode *node)
{
    const EffConv *c = &node->conv;
    if (c->wgt.data == NULL)
        return eff_fail(EFF_ERR_ARG, "%s: the network has no weights yet; load some first", node->name);
    const size_t taps = (size_t)c->kernel_h * (size_t)c->kernel_w;
    EffStatus st = EFF_OK;
    if (is_dense(c)) { /* [o][kh][kw][i] is the matrix of an im2col row already */
        const size_t k = taps * (size_t)c->in_ch;
        s->wgt = eff_malloc(eff_pw_f32_packed_count(k, (size_t)c->out_ch) * sizeof *s->wgt);
        if (s->wgt == NULL)
            return eff_fail_nomem(k * (size_t)c->out_ch * sizeof *s->wgt, "packed weights");
        eff_pw_f32_pack(s->wgt, c->wgt.data, k, (size_t)c->out_ch);
        const size_t row = k * (size_t)s->out.w;
        if (!eff_conv_is_pointwise(c) && row > r->row_floats)
            r->row_floats = row;
    } else if (eff_conv_is_depthwise(c)) { /* [c][kh][kw] to [kh][kw][c] */
        if ((st = copy_floats(&s->wgt, c->wgt.data, c->wgt.n)) != EFF_OK)
            return st;
        for (size_t ch = 0; ch < (size_t)c->out_ch; ch++) {
            for (size_t t = 0; t < taps; t++)
                s->wgt[t * (size_t)c->out_ch + ch] = c->wgt.data[ch * taps + t];
        }
    } else {
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s: %d groups for %d channels; dense and depthwise convolutions run",
                        node->name, c->groups, c->in_ch);
    }
    return c->has_bias ? copy_floats(&s->bias, c->bias.data, c->bias.n) : EFF_OK;
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

EffStatus eff_reference_create(EffReference **out, const EffGraph *g)
{
    EffReference *r = eff_calloc(1, sizeof *r);
    if (r == NULL || (r->steps = eff_calloc((size_t)g->n_nodes, sizeof *r->steps)) == NULL) {
        eff_reference_free(r);
        return eff_fail_nomem(sizeof *r, "the network");
    }
    r->n_steps = g->n_nodes;
    r->input = g->values[g->input].shape;
    r->n_output = eff_shape_count(g->values[g->output].shape);
    EffStatus st = EFF_OK;
    for (int i = 0; i < g->n_nodes && st == EFF_OK; i++) {
        const EffNode *node = &g->nodes[i];
        Step *s = &r->steps[i];
        *s = (Step){
            .op = node->op, .in = g->values[node->in[0]].shape, .out = g->values[node->out].shape, .act = node->act};
        if (node->op == EFF_OP_BATCHNORM)
            st = eff_fail(EFF_ERR_ARG, "%s: fold BatchNorm first (eff_graph_optimize)", node->name);
        if (node->op == EFF_OP_CONV) {
            s->conv = node->conv;
            s->conv.wgt = s->conv.bias = (EffParam){0};
            st = prepare_conv(r, s, node);
        }
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

typedef struct Task {
    const Step *step;
    const float *src, *src2;
    float *dst;
    EffReferenceSession *session;
} Task;

static void activate(EffActivation act, float *x, size_t n)
{
    switch (act) {
    case EFF_ACTIVATION_NONE: break;
    case EFF_ACTIVATION_RELU: eff_relu_f32(x, n); break;
    case EFF_ACTIVATION_RELU6: eff_relu6_f32(x, n); break;
    case EFF_ACTIVATION_SILU: eff_silu_f32(x, n); break;
    case EFF_ACTIVATION_HSWISH: eff_hswish_f32(x, n); break;
    case EFF_ACTIVATION_SIGMOID: eff_sigmoid_f32(x, n); break;
    }
}

static EffPwF32 pw_of(const Step *s, size_t n_in)
{
    return (EffPwF32){.n_in = n_in,
                      .n_out = (size_t)s->out.c,
                      .src_stride = n_in,
                      .dst_stride = (size_t)s->out.c,
                      .packed = s->wgt,
                      .bias = s->bias};
}

static size_t n_panels(const Step *s)
{
    return ((size_t)s->out.c + EFF_F32_N_TILE - 1) / EFF_F32_N_TILE;
}

static void run_pw_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    (void)worker;
    const size_t n_in = (size_t)t->step->in.c, n_out = (size_t)t->step->out.c;
    const EffPwF32 op = pw_of(t->step, n_in);
    eff_pw_f32(&op, t->src + begin * n_in, t->dst + begin * n_out, end - begin, 0, n_panels(t->step));
    activate(t->step->act, t->dst + begin * n_out, (end - begin) * n_out);
}

/* Few pixels (the classifier has one): split by output channels instead. */
static void run_pw_panels(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    (void)worker;
    const EffPwF32 op = pw_of(t->step, (size_t)t->step->in.c);
    eff_pw_f32(&op, t->src, t->dst, (size_t)t->step->out.h * (size_t)t->step->out.w, begin, end);
}

static void run_dw_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    const Step *s = t->step;
    (void)worker;
    const EffDwF32 op = {.in_h = s->in.h,
                         .in_w = s->in.w,
                         .out_h = s->out.h,
                         .out_w = s->out.w,
                         .channels = s->out.c,
                         .kernel_h = s->conv.kernel_h,
                         .kernel_w = s->conv.kernel_w,
                         .stride = s->conv.stride,
                         .pad_top = s->conv.pad_top,
                         .pad_left = s->conv.pad_left,
                         .wgt = s->wgt,
                         .bias = s->bias};
    eff_dw_f32(&op, t->src, t->dst, (int)begin, (int)end);
    const size_t row = (size_t)s->out.w * (size_t)s->out.c;
    activate(s->act, t->dst + begin * row, (end - begin) * row);
}

/* The taps of one output row as a matrix [out_w][kh * kw * c]; taps outside the picture are 0. */
static void im2col_row(const Step *s, const float *src, float *row, int y)
{
    const size_t c = (size_t)s->in.c;
    for (int x = 0; x < s->out.w; x++) {
        for (int ky = 0; ky < s->conv.kernel_h; ky++) {
            const int in_y = y * s->conv.stride - s->conv.pad_top + ky;
            for (int kx = 0; kx < s->conv.kernel_w; kx++, row += c) {
                const int in_x = x * s->conv.stride - s->conv.pad_left + kx;
                if (in_y < 0 || in_y >= s->in.h || in_x < 0 || in_x >= s->in.w)
                    memset(row, 0, c * sizeof *row);
                else
                    memcpy(row, src + ((size_t)in_y * (size_t)s->in.w + (size_t)in_x) * c, c * sizeof *row);
            }
        }
    }
}

static void run_dense_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    const Step *s = t->step;
    float *cols = t->session->rows + (size_t)worker * t->session->ref->row_floats;
    const EffPwF32 op = pw_of(s, (size_t)(s->conv.kernel_h * s->conv.kernel_w) * (size_t)s->in.c);
    const size_t row = (size_t)s->out.w * (size_t)s->out.c;
    for (size_t y = begin; y < end; y++) {
        im2col_row(s, t->src, cols, (int)y);
        eff_pw_f32(&op, cols, t->dst + y * row, (size_t)s->out.w, 0, n_panels(s));
        activate(s->act, t->dst + y * row, row);
    }
}

static void run_conv(EffReferenceSession *session, Task *t)
{
    enum { GRAIN_PIXELS = 32, GRAIN_PANELS = 8, GRAIN_ROWS = 4 };
    const Step *s = t->step;
    const size_t n_pixels = (size_t)s->out.h * (size_t)s->out.w;
    if (eff_conv_is_depthwise(&s->conv)) {
        eff_pool_run(session->pool, (size_t)s->out.h, GRAIN_ROWS, run_dw_rows, t);
    } else if (!eff_conv_is_pointwise(&s->conv)) {
        eff_pool_run(session->pool, (size_t)s->out.h, GRAIN_ROWS, run_dense_rows, t);
    } else if (n_pixels >= 2 * GRAIN_PIXELS) {
        eff_pool_run(session->pool, n_pixels, GRAIN_PIXELS, run_pw_pixels, t);
    } else {
        eff_pool_run(session->pool, n_panels(s), GRAIN_PANELS, run_pw_panels, t);
        activate(s->act, t->dst, n_pixels * (size_t)s->out.c);
    }
}

static void global_avgpool(const Task *t)
{
    const size_t c = (size_t)t->step->in.c, n = (size_t)t->step->in.h * (size_t)t->step->in.w;
    for (size_t ch = 0; ch < c; ch++) {
        double sum = 0;
        for (size_t p = 0; p < n; p++)
            sum += (double)t->src[p * c + ch];
        t->dst[ch] = (float)(sum / (double)n);
    }
}

static void run_step(EffReferenceSession *session, Task *t)
{
    const size_t n = eff_shape_count(t->step->out), c = (size_t)t->step->out.c;
    switch (t->step->op) {
    case EFF_OP_CONV: run_conv(session, t); break;
    case EFF_OP_GLOBAL_AVGPOOL: global_avgpool(t); break;
    case EFF_OP_ACT:
        memcpy(t->dst, t->src, n * sizeof *t->dst);
        activate(t->step->act, t->dst, n);
        break;
    case EFF_OP_ADD:
        for (size_t i = 0; i < n; i++)
            t->dst[i] = t->src[i] + t->src2[i];
        break;
    case EFF_OP_MUL:
        for (size_t p = 0; p < n; p += c) {
            for (size_t i = 0; i < c; i++)
                t->dst[p + i] = t->src[p + i] * t->src2[i];
        }
        break;
    case EFF_OP_BATCHNORM: break; /* refused by eff_reference_create() */
    }
}

void eff_reference_run_tapped(EffReferenceSession *session, const float *src, float *dst, eff_tap_fn *tap, void *ctx)
{
    const EffReference *r = session->ref;
    memcpy(session->arena + r->input_offset, src, eff_shape_count(r->input) * sizeof *src);
    for (int i = 0; i < r->n_steps; i++) {
        const Step *s = &r->steps[i];
        Task task = {.step = s,
                     .src = (const float *)(session->arena + s->src[0]),
                     .src2 = (const float *)(session->arena + s->src[1]),
                     .dst = (float *)(session->arena + s->dst),
                     .session = session};
        run_step(session, &task);
        if (tap != NULL)
            tap(ctx, i, s->out, task.dst);
    }
    memcpy(dst, session->arena + r->output_offset, r->n_output * sizeof *dst);
}

void eff_reference_run(EffReferenceSession *session, const float *src, float *dst)
{
    eff_reference_run_tapped(session, src, dst, NULL, NULL);
}
