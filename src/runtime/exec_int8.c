/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the integer steps. Work is split between threads by rows, quads, pixels or output channels, as the kernels'
 * contracts allow; no split changes a bit.
 */
#include "runtime/exec.h"

#include <assert.h>
#include <string.h>

enum {
    CH_BLOCK = 64,       /* least channels of a piece where channels are split too */
    FC_UNIT = 16,        /* outputs that fully connected kernels keep together */
    FC_MIN = 1 << 16,    /* multiply-accumulates a piece: below, waking a thread costs more */
    QUANT_MIN = 1 << 14, /* values a piece */
    POOL_MIN = 1 << 15
};

_Static_assert((int)CH_BLOCK % (int)EFF_PARAM_ALIGN == 0, "run_quads splits channels at multiples of EFF_PARAM_ALIGN");

/* Items a piece, a multiple of `unit` and at least `least`; all of them with one thread. */
static size_t grain(const EffRun *r, size_t n_items, size_t unit, size_t least)
{
    if (eff_run_threads(r) == 1)
        return n_items;
    size_t n = n_items / (eff_run_threads(r) * EFF_PIECES);
    n = n > least ? n : least;
    return (n + unit - 1) / unit * unit;
}

/* Blocks of channels, so that a step with few rows still gives every thread work. */
typedef struct Blocks {
    size_t n, width, n_ch;
} Blocks;

static Blocks split_channels(const EffRun *r, size_t n_rows)
{
    const size_t n_ch = eff_tensor_ch(r->to), most = (n_ch + CH_BLOCK - 1) / CH_BLOCK;
    size_t n = eff_run_threads(r) == 1 ? 1 : (eff_run_threads(r) * EFF_PIECES + n_rows - 1) / n_rows;
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
    const size_t at = begin * (size_t)r->to->w * eff_tensor_ch(r->to);
    const EffPwIo io = {.dst_u8 = r->dst[0] ? (uint8_t *)r->dst[0] + at : NULL,
                        .dst_s16 = r->dst[1] ? (int16_t *)r->dst[1] + at : NULL};
    eff_stem_run(eff_run_kernels(r), &r->layer->stem, r->src[0], &io, (int)begin, (int)end,
                 eff_scratch(r->session, worker));
}

/* Quads [begin, end) of a step that writes whole row quads, all channels. */
static void whole_quads(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffQuads *q = &r->layer->quads;
    const EffQuadRange range = {.quad_begin = (int)begin, .quad_end = (int)end, .ch_end = q->ch_stride};
    eff_make_quads(r, q, (uint8_t *)r->dst[0] + begin * eff_quads_stride(q), range, eff_scratch(r->session, worker));
}

static bool writes_quads(const EffRun *r)
{
    return r->step->out[0] != EFF_PLAN_NONE && r->to->layout == EFF_LAYOUT_QUADS;
}

static void run_stem(EffRun *r)
{
    const size_t n_quads = (size_t)r->layer->quads.n_quads, n_rows = (size_t)r->to->h;
    if (writes_quads(r))
        eff_pool_run(r->session->pool, n_quads, grain(r, n_quads, 1, 1), whole_quads, r);
    else
        eff_pool_run(r->session->pool, n_rows, grain(r, n_rows, 1, 1), stem_rows, r);
}

/* ---- Pointwise ---- */

void eff_pw_pixels(const EffRun *r, const uint8_t *src, uint8_t *u8, int16_t *s16, size_t begin, size_t end,
                   EffAhead ahead)
{
    const EffPwIo io = {.src = src,
                        .src_stride = eff_tensor_ch(r->in),
                        .dst_u8 = u8,
                        .dst_s16 = s16,
                        .residual = r->src[1] ? (const int16_t *)r->src[1] + begin * eff_tensor_ch(r->to) : NULL,
                        .n_pixels = end - begin,
                        .ahead = ahead};
    eff_run_kernels(r)->pw_u8s8.run(&r->layer->pw, &io);
}

static void pw_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t at = begin * eff_tensor_ch(r->to);
    (void)worker;
    eff_pw_pixels(r, (const uint8_t *)r->src[0] + begin * eff_tensor_ch(r->in),
                  r->dst[0] ? (uint8_t *)r->dst[0] + at : NULL, r->dst[1] ? (int16_t *)r->dst[1] + at : NULL, begin,
                  end, (EffAhead){0});
}

static void pw_make_quads(const EffRun *r, const EffQuads *q, uint8_t *dst, EffQuadRange range)
{
    /* Only the quads that hold a row of the image. */
    const int first = q->pad_top / 4, last = (q->pad_top + q->rows + 3) / 4;
    const int begin = range.quad_begin > first ? range.quad_begin : first;
    const int end = range.quad_end < last ? range.quad_end : last;
    if (begin >= end)
        return;
    const size_t n_in = eff_tensor_ch(r->in);
    const int row = 4 * begin > q->pad_top ? 4 * begin - q->pad_top : 0;
    const EffPwQuadIo io = {.src = (const uint8_t *)r->src[0] + (size_t)row * (size_t)q->cols * n_in,
                            .src_stride = n_in,
                            .src_row_stride = (size_t)q->cols * n_in,
                            .dst = dst + (size_t)(begin - range.quad_begin) * eff_quads_stride(q),
                            .quads = q,
                            .quad_begin = begin,
                            .quad_end = end,
                            .col_end = q->cols,
                            .ch_begin = range.ch_begin,
                            .ch_end = range.ch_end,
                            .ahead = range.ahead};
    eff_run_kernels(r)->pw_u8s8.run_quads(&r->layer->pw, &io);
}

void eff_make_quads(const EffRun *r, const EffQuads *q, uint8_t *dst, EffQuadRange range, void *scratch)
{
    const int n_ch = range.ch_end - range.ch_begin;
    if (r->step->op == EFF_STEP_QUADS) {
        eff_quads_from_nhwc(q, dst, (const uint8_t *)r->src[0] + range.ch_begin, eff_tensor_ch(r->in),
                            r->layer->quant.zero + range.ch_begin, n_ch, range.quad_begin, range.quad_end);
        return;
    }
    const EffPw *pw = r->step->op == EFF_STEP_STEM ? &r->layer->stem.pw : &r->layer->pw;
    eff_quads_fill_padding(q, dst, pw->epi.zero + range.ch_begin, n_ch, range.quad_begin, range.quad_end);
    if (r->step->op == EFF_STEP_PW) {
        pw_make_quads(r, q, dst, range);
        return;
    }
    assert(r->step->op == EFF_STEP_STEM && range.ch_begin == 0 && range.ch_end == eff_ch_pad(pw->out_ch));
    eff_stem_run_quads(eff_run_kernels(r), &r->layer->stem, r->src[0], dst, q, range.quad_begin, range.quad_end,
                       scratch);
}

static void pw_quads(const EffRun *r, EffQuadRange range)
{
    const EffQuads *q = &r->layer->quads;
    eff_make_quads(r, q,
                   (uint8_t *)r->dst[0] + (size_t)range.quad_begin * eff_quads_stride(q) + 4 * (size_t)range.ch_begin,
                   range, NULL);
}

/* Items are quads, or where channels are split (quad, block). */
static void pw_quad_pieces(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    (void)worker;
    const Blocks b = split_channels(r, (size_t)r->layer->quads.n_quads);
    if (b.n == 1) {
        pw_quads(r, (EffQuadRange){.quad_begin = (int)begin, .quad_end = (int)end, .ch_end = (int)b.n_ch});
        return;
    }
    for (size_t i = begin; i < end; i++) {
        EffQuadRange range = {.quad_begin = (int)(i / b.n), .quad_end = (int)(i / b.n) + 1};
        block_range(&b, i % b.n, &range.ch_begin, &range.ch_end);
        pw_quads(r, range);
    }
}

size_t eff_pw_grain(const EffRun *r, size_t n_pixels)
{
    const size_t unit =
        n_pixels < EFF_PIXEL_TILE * EFF_PIECES * eff_run_threads(r) ? EFF_PIXEL_TILE / 4 : EFF_PIXEL_TILE;
    return grain(r, n_pixels, unit, unit);
}

void eff_run_pw(EffRun *r)
{
    if (writes_quads(r)) {
        const size_t n_quads = (size_t)r->layer->quads.n_quads, n = n_quads * split_channels(r, n_quads).n;
        eff_pool_run(r->session->pool, n, grain(r, n, 1, 1), pw_quad_pieces, r);
        return;
    }
    const size_t n = eff_tensor_pixels(r->to);
    eff_pool_run(r->session->pool, n, eff_pw_grain(r, n), pw_pixels, r);
}

/* ---- Depthwise ---- */

/* First quads of its output rows. */
static size_t n_first_quads(const EffRun *r)
{
    const size_t rows = (size_t)eff_dw_rows_a_quad(&r->layer->dw);
    return ((size_t)r->to->h + rows - 1) / rows;
}

static void dw_rows(const EffRun *r, size_t quad_begin, size_t quad_end, int ch_begin, int ch_end)
{
    const EffQuads *q = &r->layer->quads;
    const size_t rows = (size_t)eff_dw_rows_a_quad(&r->layer->dw), row = quad_begin * rows, row_end = quad_end * rows;
    const size_t at = row * (size_t)r->to->w * eff_tensor_ch(r->to);
    const EffDwIo io = {
        .src = (const uint8_t *)r->src[0] + quad_begin * eff_quads_stride(q) + 4 * (size_t)ch_begin,
        .quads = q,
        .dst_u8 = r->dst[0] ? (uint8_t *)r->dst[0] + at : NULL,
        .dst_s16 = r->dst[1] ? (int16_t *)r->dst[1] + at : NULL,
        .out_cols = r->to->w,
        .row_begin = (int)row,
        .row_end = (int)(row_end < (size_t)r->to->h ? row_end : (size_t)r->to->h),
        .ch_begin = ch_begin,
        .ch_end = ch_end,
    };
    eff_run_kernels(r)->dw_u8s8.run(&r->layer->dw, &io);
}

static void dw_pieces(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    (void)worker;
    const Blocks b = split_channels(r, n_first_quads(r));
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
    const size_t n = n_first_quads(r) * split_channels(r, n_first_quads(r)).n;
    eff_pool_run(r->session->pool, n, grain(r, n, 1, 1), dw_pieces, r);
}

/* ---- Without weights ---- */

static void run_quads(EffRun *r)
{
    const size_t n = (size_t)r->layer->quads.n_quads;
    eff_pool_run(r->session->pool, n, grain(r, n, 1, 1), whole_quads, r);
}

size_t eff_sums_bytes(size_t n_ch)
{
    return n_ch * (sizeof(int64_t) + sizeof(int32_t));
}

EffSums eff_sums_at(const EffSession *s, int worker, size_t offset, size_t n_ch)
{
    int64_t *total = (int64_t *)(void *)(eff_scratch(s, worker) + offset);
    return (EffSums){.total = total, .piece = (int32_t *)(void *)(total + n_ch)};
}

void eff_sums_clear(const EffRun *r, size_t offset)
{
    const size_t n = eff_tensor_ch(r->in);
    for (int w = 0; w < eff_pool_size(r->session->pool); w++)
        memset(eff_sums_at(r->session, w, offset, n).total, 0, eff_sums_bytes(n));
}

void eff_sums_add(EffSums s, size_t begin, size_t end)
{
    for (size_t c = begin; c < end; c++) {
        s.total[c] += s.piece[c];
        s.piece[c] = 0;
    }
}

void eff_sums_mean(const EffRun *r, size_t offset)
{
    const size_t n = eff_tensor_ch(r->in);
    const EffSums all = eff_sums_at(r->session, 0, offset, n);
    for (int w = 1; w < eff_pool_size(r->session->pool); w++) {
        const EffSums s = eff_sums_at(r->session, w, offset, n);
        for (size_t c = 0; c < n; c++)
            all.total[c] += s.total[c];
    }
    eff_pool_mean(r->dst[1], all.total, r->in->c, r->layer->pool_mult);
}

static void pool_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t n = eff_tensor_ch(r->in);
    const EffSums s = eff_sums_at(r->session, worker, 0, n);
    for (size_t next; begin < end; begin = next) {
        next = end - begin > EFF_DW_POOL_MAX ? begin + EFF_DW_POOL_MAX : end;
        if (r->in->type == EFF_TENSOR_U8)
            eff_run_kernels(r)->pool_u8(s.piece, (const uint8_t *)r->src[0] + begin * n, (int)n, next - begin);
        else
            eff_run_kernels(r)->pool_s16(s.piece, (const int16_t *)r->src[0] + begin * n, (int)n, next - begin);
        eff_sums_add(s, 0, n);
    }
}

static void run_pool(EffRun *r)
{
    const size_t pixels = eff_tensor_pixels(r->in);
    eff_sums_clear(r, 0);
    eff_pool_run(r->session->pool, pixels, grain(r, pixels, 1, POOL_MIN / eff_tensor_ch(r->in) + 1), pool_pixels, r);
    eff_sums_mean(r, 0);
}

EffQuant eff_gated_quant(const EffRun *r)
{
    EffQuant op = r->layer->quant;
    if (r->src[1] != NULL) {
        int16_t *mult = (int16_t *)(void *)r->session->shared;
        eff_gate_mult(mult, r->src[1], op.mult, eff_param_pad(r->to->c));
        op.mult = mult;
    }
    return op;
}

/* QUANT at work. */
typedef struct QuantRun {
    const EffRun *run;
    EffQuant op;
} QuantRun;

static void quant_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const QuantRun *q = ctx;
    const EffRun *r = q->run;
    const size_t n = eff_tensor_ch(r->to);
    (void)worker;
    eff_run_kernels(r)->quant_s16u8(&q->op, (const int16_t *)r->src[0] + begin * n, (uint8_t *)r->dst[0] + begin * n,
                                    end - begin);
}

static void run_quant(EffRun *r)
{
    QuantRun q = {.run = r, .op = eff_gated_quant(r)};
    const size_t n = eff_tensor_pixels(r->to);
    eff_pool_run(r->session->pool, n, grain(r, n, 1, QUANT_MIN / eff_tensor_ch(r->to) + 1), quant_pixels, &q);
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
    eff_run_kernels(r)->fc_s16.run(&r->layer->fc.op, r->src[0], acc, (int)first, (int)last);
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
        eff_run_kernels(r)->fc_epilogue(&r->layer->fc.epi, (const int64_t *)(const void *)r->session->shared,
                                        r->dst[1]);
}

void eff_exec_int8(EffRun *r)
{
    switch (r->step->op) {
    case EFF_STEP_STEM: run_stem(r); break;
    case EFF_STEP_PW: eff_run_pw(r); break;
    case EFF_STEP_DW: run_dw(r); break;
    case EFF_STEP_QUADS: run_quads(r); break;
    case EFF_STEP_PW16:
    case EFF_STEP_DW16:
    case EFF_STEP_GATE: eff_exec_wide(r); break;
    case EFF_STEP_PW_F32:
    case EFF_STEP_DW_F32: eff_exec_node(r); break;
    case EFF_STEP_POOL: run_pool(r); break;
    case EFF_STEP_QUANT: run_quant(r); break;
    case EFF_STEP_FC:
    case EFF_STEP_HEAD: run_fc(r); break;
    default: assert(!"a float step"); break;
    }
}
