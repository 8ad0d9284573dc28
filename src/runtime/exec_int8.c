/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the integer steps. Work is split between threads by rows, quads, pixels or output channels, as the kernels'
 * contracts allow; no split changes a bit.
 */
#include "runtime/session.h"

#include <assert.h>
#include <string.h>

enum {
    PIECES = 4,          /* pieces a thread, so that a slow one does not hold up the rest */
    PIXEL_TILE = 48,     /* a multiple of every kernel's tile */
    CH_BLOCK = 64,       /* least channels of a piece where channels are split too */
    FC_UNIT = 16,        /* outputs that fully connected kernels keep together */
    FC_MIN = 1 << 16,    /* multiply-accumulates a piece: below, waking a thread costs more */
    QUANT_MIN = 1 << 14, /* values a piece */
    POOL_MIN = 1 << 15
};

_Static_assert((int)CH_BLOCK % (int)EFF_PARAM_ALIGN == 0, "run_quads splits channels at multiples of EFF_PARAM_ALIGN");

static const EffKernels *kernels(const EffRun *r)
{
    return &r->session->model->kernels;
}

static size_t n_threads(const EffRun *r)
{
    return (size_t)eff_pool_size(r->session->pool);
}

/* Items a piece, a multiple of `unit` and at least `least`; all of them with one thread. */
static size_t grain(const EffRun *r, size_t n_items, size_t unit, size_t least)
{
    if (n_threads(r) == 1)
        return n_items;
    size_t n = n_items / (n_threads(r) * PIECES);
    n = n > least ? n : least;
    return (n + unit - 1) / unit * unit;
}

static size_t ch_pad(const EffPlanTensor *t)
{
    return (size_t)eff_ch_pad(t->c);
}

static size_t n_pixels(const EffPlanTensor *t)
{
    return (size_t)t->h * (size_t)t->w;
}

/* Blocks of channels, so that a step with few rows still gives every thread work. */
typedef struct Blocks {
    size_t n, width, n_ch;
} Blocks;

static Blocks split_channels(const EffRun *r, size_t n_rows)
{
    const size_t n_ch = ch_pad(r->to), most = (n_ch + CH_BLOCK - 1) / CH_BLOCK;
    size_t n = n_threads(r) == 1 ? 1 : (n_threads(r) * PIECES + n_rows - 1) / n_rows;
    n = n < most ? n : most;
    const size_t width = ((n_ch + n - 1) / n + CH_BLOCK - 1) / CH_BLOCK * CH_BLOCK;
    return (Blocks){.n = (n_ch + width - 1) / width, .width = width, .n_ch = n_ch};
}

static void block_range(const Blocks *b, size_t i, int *begin, int *end)
{
    const size_t last = (i + 1) * b->width;
    *begin = (int)(i * b->width);
    *end = (int)(last < b->n_ch ? last : b->n_ch);
}

/* ---- Stem ---- */

static void stem_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t at = begin * (size_t)r->to->w * ch_pad(r->to);
    const EffPwIo io = {.dst_u8 = r->dst[0] ? (uint8_t *)r->dst[0] + at : NULL,
                        .dst_s16 = r->dst[1] ? (int16_t *)r->dst[1] + at : NULL};
    eff_stem_run(kernels(r), &r->layer->stem, r->src[0], &io, (int)begin, (int)end, eff_scratch(r->session, worker));
}

static void stem_quads(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffQuads *q = &r->layer->quads;
    uint8_t *dst = (uint8_t *)r->dst[0] + begin * eff_quads_stride(q);
    eff_quads_fill_padding(q, dst, r->layer->stem.pw.epi.zero, q->ch_stride, (int)begin, (int)end);
    eff_stem_run_quads(kernels(r), &r->layer->stem, r->src[0], dst, q, (int)begin, (int)end,
                       eff_scratch(r->session, worker));
}

static bool writes_quads(const EffRun *r)
{
    return r->step->out[0] != EFF_PLAN_NONE && r->to->layout == EFF_LAYOUT_QUADS;
}

static void run_stem(EffRun *r)
{
    const size_t n_quads = (size_t)r->layer->quads.n_quads, n_rows = (size_t)r->to->h;
    if (writes_quads(r))
        eff_pool_run(r->session->pool, n_quads, grain(r, n_quads, 1, 1), stem_quads, r);
    else
        eff_pool_run(r->session->pool, n_rows, grain(r, n_rows, 1, 1), stem_rows, r);
}

/* ---- Pointwise ---- */

static void pw_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    (void)worker;
    const size_t n_in = ch_pad(r->in), at = begin * ch_pad(r->to);
    const EffPwIo io = {.src = (const uint8_t *)r->src[0] + begin * n_in,
                        .src_stride = n_in,
                        .dst_u8 = r->dst[0] ? (uint8_t *)r->dst[0] + at : NULL,
                        .dst_s16 = r->dst[1] ? (int16_t *)r->dst[1] + at : NULL,
                        .residual = r->src[1] ? (const int16_t *)r->src[1] + at : NULL,
                        .n_pixels = end - begin};
    kernels(r)->pw_u8s8.run(&r->layer->pw, &io);
}

/* Quads [quad_begin, quad_end), channels [ch_begin, ch_end). */
static void pw_quads(const EffRun *r, int quad_begin, int quad_end, int ch_begin, int ch_end)
{
    const EffQuads *q = &r->layer->quads;
    const EffPw *op = &r->layer->pw;
    uint8_t *dst = (uint8_t *)r->dst[0] + 4 * (size_t)ch_begin;
    const size_t stride = eff_quads_stride(q), n_in = ch_pad(r->in);
    eff_quads_fill_padding(q, dst + (size_t)quad_begin * stride, op->epi.zero + ch_begin, ch_end - ch_begin, quad_begin,
                           quad_end);
    /* Only the quads that hold a row of the image. */
    const int first = q->pad_top / 4, last = (q->pad_top + q->rows + 3) / 4;
    const int begin = quad_begin > first ? quad_begin : first, end = quad_end < last ? quad_end : last;
    if (begin >= end)
        return;
    const int row = 4 * begin > q->pad_top ? 4 * begin - q->pad_top : 0;
    const EffPwQuadIo io = {.src = (const uint8_t *)r->src[0] + (size_t)row * (size_t)q->cols * n_in,
                            .src_stride = n_in,
                            .src_row_stride = (size_t)q->cols * n_in,
                            .dst = dst + (size_t)begin * stride,
                            .quads = q,
                            .quad_begin = begin,
                            .quad_end = end,
                            .col_end = q->cols,
                            .ch_begin = ch_begin,
                            .ch_end = ch_end};
    kernels(r)->pw_u8s8.run_quads(op, &io);
}

/* Items are quads, or where channels are split (quad, block). */
static void pw_quad_pieces(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    (void)worker;
    const Blocks b = split_channels(r, (size_t)r->layer->quads.n_quads);
    if (b.n == 1) {
        pw_quads(r, (int)begin, (int)end, 0, (int)b.n_ch);
        return;
    }
    for (size_t i = begin; i < end; i++) {
        int ch_begin, ch_end;
        block_range(&b, i % b.n, &ch_begin, &ch_end);
        pw_quads(r, (int)(i / b.n), (int)(i / b.n) + 1, ch_begin, ch_end);
    }
}

static void run_pw(EffRun *r)
{
    if (writes_quads(r)) {
        const size_t n_quads = (size_t)r->layer->quads.n_quads, n = n_quads * split_channels(r, n_quads).n;
        eff_pool_run(r->session->pool, n, grain(r, n, 1, 1), pw_quad_pieces, r);
        return;
    }
    const size_t n = n_pixels(r->to);
    const size_t unit = n < PIXEL_TILE * PIECES * n_threads(r) ? PIXEL_TILE / 4 : PIXEL_TILE;
    eff_pool_run(r->session->pool, n, grain(r, n, unit, unit), pw_pixels, r);
}

/* ---- Depthwise ---- */

/* Output rows that come from the same first quad. */
static size_t rows_a_group(const EffRun *r)
{
    return 4 / (size_t)r->layer->dw.stride;
}

static size_t n_groups(const EffRun *r)
{
    return ((size_t)r->to->h + rows_a_group(r) - 1) / rows_a_group(r);
}

static void dw_rows(const EffRun *r, size_t group_begin, size_t group_end, int ch_begin, int ch_end)
{
    const EffQuads *q = &r->layer->quads;
    const size_t row = group_begin * rows_a_group(r), row_end = group_end * rows_a_group(r);
    const size_t at = row * (size_t)r->to->w * ch_pad(r->to);
    const EffDwIo io = {
        .src = (const uint8_t *)r->src[0] + group_begin * eff_quads_stride(q) + 4 * (size_t)ch_begin,
        .quads = q,
        .dst_u8 = r->dst[0] ? (uint8_t *)r->dst[0] + at : NULL,
        .dst_s16 = r->dst[1] ? (int16_t *)r->dst[1] + at : NULL,
        .out_cols = r->to->w,
        .row_begin = (int)row,
        .row_end = (int)(row_end < (size_t)r->to->h ? row_end : (size_t)r->to->h),
        .ch_begin = ch_begin,
        .ch_end = ch_end,
    };
    kernels(r)->dw_u8s8.run(&r->layer->dw, &io);
}

static void dw_pieces(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    (void)worker;
    const Blocks b = split_channels(r, n_groups(r));
    if (b.n == 1) {
        dw_rows(r, begin, end, 0, (int)b.n_ch);
        return;
    }
    for (size_t i = begin; i < end; i++) {
        int ch_begin, ch_end;
        block_range(&b, i % b.n, &ch_begin, &ch_end);
        dw_rows(r, i / b.n, i / b.n + 1, ch_begin, ch_end);
    }
}

static void run_dw(EffRun *r)
{
    const size_t n = n_groups(r) * split_channels(r, n_groups(r)).n;
    eff_pool_run(r->session->pool, n, grain(r, n, 1, 1), dw_pieces, r);
}

/* ---- Without weights ---- */

static void quads_pieces(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffQuads *q = &r->layer->quads;
    (void)worker;
    eff_quads_from_nhwc(q, (uint8_t *)r->dst[0] + begin * eff_quads_stride(q), r->src[0], ch_pad(r->in),
                        r->layer->quant.zero, q->ch_stride, (int)begin, (int)end);
}

static void run_quads(EffRun *r)
{
    const size_t n = (size_t)r->layer->quads.n_quads;
    eff_pool_run(r->session->pool, n, grain(r, n, 1, 1), quads_pieces, r);
}

/* A thread's sums: 64 bits for all its pieces, 32 bits for the piece at hand. */
typedef struct Sums {
    int64_t *total;
    int32_t *piece;
} Sums;

static Sums sums_of(const EffRun *r, int worker)
{
    int64_t *total = eff_scratch(r->session, worker);
    return (Sums){.total = total, .piece = (int32_t *)(void *)(total + ch_pad(r->in))};
}

static void pool_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const Sums s = sums_of(r, worker);
    const size_t n = ch_pad(r->in);
    for (size_t next; begin < end; begin = next) {
        next = end - begin > EFF_DW_POOL_MAX ? begin + EFF_DW_POOL_MAX : end;
        memset(s.piece, 0, n * sizeof *s.piece);
        if (r->in->type == EFF_TENSOR_U8)
            kernels(r)->pool_u8(s.piece, (const uint8_t *)r->src[0] + begin * n, (int)n, next - begin);
        else
            kernels(r)->pool_s16(s.piece, (const int16_t *)r->src[0] + begin * n, (int)n, next - begin);
        for (size_t c = 0; c < n; c++)
            s.total[c] += s.piece[c];
    }
}

static void run_pool(EffRun *r)
{
    const size_t n = ch_pad(r->in), pixels = n_pixels(r->in);
    for (int w = 0; w < eff_pool_size(r->session->pool); w++)
        memset(sums_of(r, w).total, 0, n * sizeof(int64_t));
    eff_pool_run(r->session->pool, pixels, grain(r, pixels, 1, POOL_MIN / n + 1), pool_pixels, r);
    const Sums all = sums_of(r, 0);
    for (int w = 1; w < eff_pool_size(r->session->pool); w++) {
        const Sums s = sums_of(r, w);
        for (size_t c = 0; c < n; c++)
            all.total[c] += s.total[c];
    }
    eff_pool_mean(r->dst[1], all.total, r->in->c, r->layer->pool_mult);
}

static void quant_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t n = ch_pad(r->to);
    EffQuant op = r->layer->quant;
    (void)worker;
    if (r->src[1] != NULL)
        op.mult = (const int16_t *)(const void *)r->session->shared;
    kernels(r)->quant_s16u8(&op, (const int16_t *)r->src[0] + begin * n, (uint8_t *)r->dst[0] + begin * n, end - begin);
}

static void run_quant(EffRun *r)
{
    const size_t n = n_pixels(r->to);
    if (r->src[1] != NULL)
        eff_gate_mult((int16_t *)(void *)r->session->shared, r->src[1], r->layer->quant.mult, eff_param_pad(r->to->c));
    eff_pool_run(r->session->pool, n, grain(r, n, 1, QUANT_MIN / ch_pad(r->to) + 1), quant_pixels, r);
}

/* ---- Fully connected ---- */

/* Items are units of outputs. */
static void fc_units(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t n_out = (size_t)r->step->out_ch;
    const size_t first = begin * FC_UNIT, last = end * FC_UNIT < n_out ? end * FC_UNIT : n_out;
    int64_t *acc = (int64_t *)(void *)r->session->shared;
    (void)worker;
    kernels(r)->fc_s16.run(&r->layer->fc.op, r->src[0], acc, (int)first, (int)last);
    if (r->step->op == EFF_STEP_HEAD)
        eff_head_logits((float *)r->dst[0] + first, acc + first, r->layer->fc.scale + first, r->layer->fc.bias + first,
                        (int)(last - first));
}

static void run_fc(EffRun *r)
{
    const size_t n = ((size_t)r->step->out_ch + FC_UNIT - 1) / FC_UNIT;
    const size_t least = FC_MIN / (FC_UNIT * (size_t)r->step->in_ch) + 1;
    eff_pool_run(r->session->pool, n, grain(r, n, 1, least), fc_units, r);
    if (r->step->op == EFF_STEP_FC)
        kernels(r)->fc_epilogue(&r->layer->fc.epi, (const int64_t *)(const void *)r->session->shared, r->dst[1]);
}

void eff_exec_int8(EffRun *r)
{
    switch (r->step->op) {
    case EFF_STEP_STEM: run_stem(r); break;
    case EFF_STEP_PW: run_pw(r); break;
    case EFF_STEP_DW: run_dw(r); break;
    case EFF_STEP_QUADS: run_quads(r); break;
    case EFF_STEP_POOL: run_pool(r); break;
    case EFF_STEP_QUANT: run_quant(r); break;
    case EFF_STEP_FC:
    case EFF_STEP_HEAD: run_fc(r); break;
    default: assert(!"a float step"); break;
    }
}
