/* SPDX-License-Identifier: Apache-2.0 */
/* The int8 steps: how each is split between threads, and what the kernels are given. */
#include "runtime/session.h"

#include <string.h>

typedef struct Task {
    EffSession *s;
    const EffPlanStep *step;
    const EffLayer *layer;
    const EffKernels *k;
    const EffPlanTensor *in, *out; /* in[0], and the first output */
    const void *src;
    uint8_t *dst_u8;  /* out[0] where it is u8 */
    int16_t *dst_s16; /* out[1] */
    int n_blocks;     /* blocks of channels beside the rows */
} Task;

static uint8_t *scratch(const Task *t, int worker)
{
    return t->s->each + (size_t)worker * t->s->model->each_bytes;
}

/* ---- Pointwise ---- */

static void run_pw(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    (void)worker;
    const size_t stride = (size_t)eff_ch_pad(t->step->in_ch), out = (size_t)eff_ch_pad(t->step->out_ch);
    const int16_t *residual = eff_session_data(t->s, t->step->in[1]);
    const EffPwIo io = {.src = (const uint8_t *)t->src + begin * stride,
                        .src_stride = stride,
                        .dst_u8 = t->dst_u8 != NULL ? t->dst_u8 + begin * out : NULL,
                        .dst_s16 = t->dst_s16 != NULL ? t->dst_s16 + begin * out : NULL,
                        .residual = residual != NULL ? residual + begin * out : NULL,
                        .n_pixels = end - begin};
    t->k->pw_u8s8.run(&t->layer->pw, &io);
}

/* Channels [*begin, *end) of block `i` of n; multiples of `align`, the last one up to `n_ch`. */
static void block_range(int i, int n, int n_ch, int align, int *begin, int *end)
{
    const int size = ((n_ch + n - 1) / n + align - 1) / align * align;
    *begin = i * size < n_ch ? i * size : n_ch;
    *end = *begin + size < n_ch ? *begin + size : n_ch;
}

static void run_pw_quads(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    const EffQuads *q = &t->layer->quads;
    (void)worker;
    const size_t stride = (size_t)eff_ch_pad(t->step->in_ch), row = stride * (size_t)q->cols;
    const int n_ch = eff_ch_pad(t->step->out_ch);
    for (size_t i = begin; i < end; i++) {
        const int quad = (int)(i / (size_t)t->n_blocks);
        const int first = 4 * quad - q->pad_top > 0 ? 4 * quad - q->pad_top : 0;
        uint8_t *dst = t->dst_u8 + (size_t)quad * eff_quads_stride(q);
        int ch_begin, ch_end;
        block_range((int)(i % (size_t)t->n_blocks), t->n_blocks, n_ch, EFF_PARAM_ALIGN, &ch_begin, &ch_end);
        if (ch_begin == ch_end)
            continue;
        eff_quads_fill_padding(q, dst + 4 * (size_t)ch_begin, t->layer->pw.epi.zero + ch_begin, ch_end - ch_begin, quad,
                               quad + 1);
        if (first >= q->rows)
            continue;
        const EffPwQuadIo io = {.src = (const uint8_t *)t->src + (size_t)first * row,
                                .src_stride = stride,
                                .src_row_stride = row,
                                .dst = dst + 4 * (size_t)ch_begin,
                                .quads = q,
                                .quad_begin = quad,
                                .quad_end = quad + 1,
                                .col_end = q->cols,
                                .ch_begin = ch_begin,
                                .ch_end = ch_end};
        t->k->pw_u8s8.run_quads(&t->layer->pw, &io);
    }
}

/* ---- Stem, depthwise, quads ---- */

static void run_stem(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    const size_t row = (size_t)t->out->w * (size_t)eff_ch_pad(t->out->c);
    const EffPwIo out = {.dst_u8 = t->dst_u8 != NULL ? t->dst_u8 + begin * row : NULL,
                         .dst_s16 = t->dst_s16 != NULL ? t->dst_s16 + begin * row : NULL};
    eff_stem_run(t->k, &t->layer->stem, t->src, &out, (int)begin, (int)end, scratch(t, worker));
}

static void run_stem_quads(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    const EffQuads *q = &t->layer->quads;
    uint8_t *dst = t->dst_u8 + begin * eff_quads_stride(q);
    const int last = (q->pad_top + q->rows + 3) / 4; /* quads from here on hold no row of the image */
    const int stem_end = (int)end < last ? (int)end : last;
    eff_quads_fill_padding(q, dst, t->layer->stem.pw.epi.zero, eff_ch_pad(t->out->c), (int)begin, (int)end);
    if ((int)begin < stem_end)
        eff_stem_run_quads(t->k, &t->layer->stem, t->src, dst, q, (int)begin, stem_end, scratch(t, worker));
}

static void run_quads(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    const EffQuads *q = &t->layer->quads;
    (void)worker;
    eff_quads_from_nhwc(q, t->dst_u8 + begin * eff_quads_stride(q), t->src, (size_t)eff_ch_pad(t->in->c),
                        t->layer->quant.zero, eff_ch_pad(t->in->c), (int)begin, (int)end);
}

/* Items are groups of the output rows that whole quads give, times blocks of channels. */
static void run_dw(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    const EffQuads *q = &t->layer->quads;
    (void)worker;
    const int group = 4 / t->step->stride, n_ch = eff_ch_pad(t->out->c);
    for (size_t i = begin; i < end; i++) {
        const int quad = (int)(i / (size_t)t->n_blocks), row = quad * group;
        const size_t at = (size_t)row * (size_t)t->out->w * (size_t)n_ch;
        int ch_begin, ch_end;
        block_range((int)(i % (size_t)t->n_blocks), t->n_blocks, n_ch, EFF_CH_ALIGN, &ch_begin, &ch_end);
        if (ch_begin == ch_end)
            continue;
        const EffDwIo io = {.src = (const uint8_t *)t->src + (size_t)quad * eff_quads_stride(q) + 4 * (size_t)ch_begin,
                            .quads = q,
                            .dst_u8 = t->dst_u8 != NULL ? t->dst_u8 + at : NULL,
                            .dst_s16 = t->dst_s16 != NULL ? t->dst_s16 + at : NULL,
                            .out_cols = t->out->w,
                            .row_begin = row,
                            .row_end = row + group < t->out->h ? row + group : t->out->h,
                            .ch_begin = ch_begin,
                            .ch_end = ch_end};
        t->k->dw_u8s8.run(&t->layer->dw, &io);
    }
}

/* ---- Element-wise, pooling, vectors ---- */

static void run_quant(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    (void)worker;
    const size_t stride = (size_t)eff_ch_pad(t->out->c);
    EffQuant op = t->layer->quant;
    if (t->step->in[1] != EFF_PLAN_NONE)
        op.mult = (const int16_t *)(const void *)t->s->shared;
    t->k->quant_s16u8(&op, (const int16_t *)t->src + begin * stride, t->dst_u8 + begin * stride, end - begin);
}

static void pool(const Task *t)
{
    const int n_ch = eff_ch_pad(t->in->c);
    int64_t *sums = (int64_t *)(void *)scratch(t, 0);
    int32_t *part = (int32_t *)(void *)(sums + eff_param_pad(t->in->c));
    const size_t n = (size_t)t->in->h * (size_t)t->in->w;
    memset(sums, 0, (size_t)eff_param_pad(t->in->c) * sizeof *sums);
    for (size_t at = 0; at < n; at += EFF_DW_POOL_MAX) {
        const size_t piece = n - at < EFF_DW_POOL_MAX ? n - at : EFF_DW_POOL_MAX;
        memset(part, 0, (size_t)n_ch * sizeof *part);
        if (t->in->type == EFF_TENSOR_S16)
            t->k->pool_s16(part, (const int16_t *)t->src + at * (size_t)n_ch, n_ch, piece);
        else
            t->k->pool_u8(part, (const uint8_t *)t->src + at * (size_t)n_ch, n_ch, piece);
        for (int c = 0; c < n_ch; c++)
            sums[c] += part[c];
    }
    eff_pool_mean(t->dst_s16, sums, t->in->c, t->layer->pool_mult);
}

static void run_fc(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    (void)worker;
    const int n = t->step->out_ch, last = (int)(16 * end);
    t->k->fc_s16.run(&t->layer->fc.op, t->src, (int64_t *)(void *)t->s->shared, (int)(16 * begin), last < n ? last : n);
}

/* ---- Dispatch ---- */

/* Blocks of channels beside `n_rows` units of rows, so that every thread has work on small maps. */
static int channel_blocks(const EffSession *s, int n_rows, int n_ch, int least)
{
    if (s->n_threads == 1 || n_rows >= 8 * s->n_threads)
        return 1;
    const int wanted = (8 * s->n_threads + n_rows - 1) / n_rows, most = (n_ch + least - 1) / least;
    return wanted < most ? wanted : most;
}

static void run_rows(Task *t, size_t n, eff_task_fn *fn)
{
    eff_pool_run(t->s->pool, n, eff_session_grain(t->s, n, 1), fn, t);
}

void eff_exec_int8(EffSession *s, int i)
{
    enum { PW_PIXELS = 24, FC_OUTPUTS = 4, BLOCK_CHANNELS = 96 };
    const EffModel *m = s->model;
    const EffPlanStep *step = &m->plan.steps[i];
    const EffLayer *layer = &m->layers[i];
    const EffPlanTensor *in = &m->plan.tensors[step->in[0]], *out = eff_step_output(&m->plan, step);
    Task t = {.s = s,
              .step = step,
              .layer = layer,
              .k = &m->kernels,
              .in = in,
              .out = out,
              .src = eff_session_data(s, step->in[0]),
              .dst_u8 = eff_session_data(s, step->out[0]),
              .dst_s16 = eff_session_data(s, step->out[1]),
              .n_blocks = 1};
    const bool to_quads = out->layout == EFF_LAYOUT_QUADS;
    const size_t n_pixels = (size_t)out->h * (size_t)out->w;
    switch (step->op) {
    case EFF_STEP_STEM:
        run_rows(&t, (size_t)(to_quads ? layer->quads.n_quads : out->h), to_quads ? run_stem_quads : run_stem);
        break;
    case EFF_STEP_PW:
        if (to_quads) {
            t.n_blocks = channel_blocks(s, layer->quads.n_quads, out->c, BLOCK_CHANNELS);
            run_rows(&t, (size_t)(layer->quads.n_quads * t.n_blocks), run_pw_quads);
        } else {
            eff_pool_run(s->pool, n_pixels, eff_session_grain(s, n_pixels, PW_PIXELS), run_pw, &t);
        }
        break;
    case EFF_STEP_DW: {
        const int n_groups = (out->h * step->stride + 3) / 4;
        t.n_blocks = channel_blocks(s, n_groups, out->c, BLOCK_CHANNELS);
        run_rows(&t, (size_t)(n_groups * t.n_blocks), run_dw);
        break;
    }
    case EFF_STEP_QUADS: run_rows(&t, (size_t)layer->quads.n_quads, run_quads); break;
    case EFF_STEP_POOL: pool(&t); break;
    case EFF_STEP_QUANT:
        if (step->in[1] != EFF_PLAN_NONE)
            eff_gate_mult((int16_t *)(void *)s->shared, eff_session_data(s, step->in[1]), layer->quant.mult,
                          eff_param_pad(out->c));
        eff_pool_run(s->pool, n_pixels, eff_session_grain(s, n_pixels, PW_PIXELS), run_quant, &t);
        break;
    case EFF_STEP_FC:
    case EFF_STEP_HEAD: {
        const size_t n = ((size_t)step->out_ch + 15) / 16;
        eff_pool_run(s->pool, n, eff_session_grain(s, n, FC_OUTPUTS), run_fc, &t);
        if (step->op == EFF_STEP_FC)
            m->kernels.fc_epilogue(&layer->fc.epi, (const int64_t *)(const void *)s->shared, t.dst_s16);
        else
            eff_head_logits((float *)(void *)t.dst_u8, (const int64_t *)(const void *)s->shared, layer->fc.scale,
                            layer->fc.bias, step->out_ch);
        break;
    }
    default: break;
    }
}
