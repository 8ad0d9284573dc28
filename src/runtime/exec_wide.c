/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps with 16-bit inputs. The two bytes of the input are convolved apart by the ordinary kernels, into sums that stay
 * in a thread's scratch, and joined in the epilogue.
 */
#include "runtime/exec.h"

/* Pixels that a thread splits, or turns into floats, at a time; fewer where there are few. */
size_t eff_wide_grain(const EffRun *r, size_t n)
{
    return eff_run_pieces(r, n, n < EFF_WIDE_TILE * EFF_PIECES ? EFF_WIDE_TILE / 4 : EFF_WIDE_TILE);
}

void eff_join_pixels(const EffRun *r, const EffEpilogue *e, const int32_t *hi, const int32_t *lo, size_t at, size_t n)
{
    const size_t n_ch = eff_tensor_ch(r->to);
    const EffJoinIo io = {.hi = hi,
                          .lo = lo,
                          .dst_u8 = r->dst[0] ? (uint8_t *)r->dst[0] + at * n_ch : NULL,
                          .dst_s16 = r->dst[1] ? (int16_t *)r->dst[1] + at * n_ch : NULL,
                          .residual = r->src[1] ? (const int16_t *)r->src[1] + at * n_ch : NULL,
                          .n_pixels = n};
    eff_run_kernels(r)->pw_u8s8.join(e, r->to->c, &io);
}

/* ---- Pointwise ---- */

static void pw_tile(const EffRun *r, size_t at, size_t n, uint8_t *scratch)
{
    const size_t n_in = eff_tensor_ch(r->in), n_out = eff_tensor_ch(r->to);
    int32_t *hi_sums = (int32_t *)(void *)scratch, *lo_sums = hi_sums + EFF_WIDE_TILE * n_out;
    uint8_t *hi = (uint8_t *)(lo_sums + EFF_WIDE_TILE * n_out), *lo = hi + EFF_WIDE_TILE * n_in;
    eff_split_s16(hi, lo, (const int16_t *)r->src[0] + at * n_in, n * n_in);
    EffPwIo io = {.src = hi, .src_stride = n_in, .dst_s32 = hi_sums, .n_pixels = n};
    eff_run_kernels(r)->pw_u8s8.run(&r->layer->raw.pw, &io);
    io.src = lo;
    io.dst_s32 = lo_sums;
    eff_run_kernels(r)->pw_u8s8.run(&r->layer->raw.pw, &io);
    eff_join_pixels(r, &r->layer->pw.epi, hi_sums, lo_sums, at, n);
}

static void pw_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    for (size_t at = begin, n; at < end; at += n) {
        n = end - at < EFF_WIDE_TILE ? end - at : EFF_WIDE_TILE;
        pw_tile(r, at, n, eff_scratch(r->session, worker));
    }
}

/* ---- Depthwise ---- */

/* The row quads of both bytes, in the shared scratch. */
static uint8_t *quads_at(const EffRun *r, int byte)
{
    const EffQuads *q = &r->layer->quads;
    return (uint8_t *)r->session->shared + (size_t)byte * (size_t)q->n_quads * eff_quads_stride(q);
}

static void dw_split(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffQuads *q = &r->layer->quads;
    const size_t at = begin * eff_quads_stride(q);
    (void)worker;
    eff_quads_split(q, quads_at(r, 0) + at, quads_at(r, 1) + at, r->src[0], eff_tensor_ch(r->in), q->ch_stride,
                    (int)begin, (int)end);
}

/* Items are the output rows of a quad. */
static void dw_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffQuads *q = &r->layer->quads;
    const size_t rows = (size_t)eff_dw_rows_a_quad(&r->layer->dw), cols = (size_t)r->to->w, n_ch = eff_tensor_ch(r->to);
    int32_t *sums = (int32_t *)(void *)eff_scratch(r->session, worker);
    for (size_t i = begin; i < end; i++) {
        const size_t row = i * rows, n = (size_t)r->to->h - row < rows ? (size_t)r->to->h - row : rows;
        for (int byte = 0; byte < 2; byte++) {
            const EffDwIo io = {.src = quads_at(r, byte) + i * eff_quads_stride(q),
                                .quads = q,
                                .dst_s32 = sums + (size_t)byte * rows * cols * n_ch,
                                .out_cols = r->to->w,
                                .row_begin = (int)row,
                                .row_end = (int)(row + n),
                                .ch_end = (int)n_ch};
            eff_run_kernels(r)->dw_u8s8.run(&r->layer->raw.dw, &io);
        }
        eff_join_pixels(r, &r->layer->dw.epi, sums, sums + rows * cols * n_ch, row * cols, n * cols);
    }
}

/* ---- Gate ---- */

static void gate_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t n_ch = eff_tensor_ch(r->to);
    (void)worker;
    eff_gate_s16((int16_t *)r->dst[1] + begin * n_ch, (const int16_t *)r->src[0] + begin * n_ch, r->src[1],
                 r->step->post_shift, (int)n_ch, end - begin);
}

void eff_exec_wide(EffRun *r)
{
    EffPool *pool = r->session->pool;
    const size_t n = eff_tensor_pixels(r->to);
    if (r->step->op == EFF_STEP_PW16) {
        eff_pool_run(pool, n, eff_wide_grain(r, n), pw_pixels, r);
    } else if (r->step->op == EFF_STEP_DW16) {
        const size_t n_quads = (size_t)r->layer->quads.n_quads, rows = (size_t)eff_dw_rows_a_quad(&r->layer->dw);
        const size_t n_items = ((size_t)r->to->h + rows - 1) / rows;
        eff_pool_run(pool, n_quads, eff_run_pieces(r, n_quads, 1), dw_split, r);
        eff_pool_run(pool, n_items, eff_run_pieces(r, n_items, 1), dw_rows, r);
    } else {
        eff_pool_run(pool, n, eff_run_pieces(r, n, 1), gate_pixels, r);
    }
}
