/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps with 16-bit inputs. Pointwise, the two bytes of the input are convolved apart by the ordinary kernel, into sums
 * that stay in a thread's scratch, and joined in the epilogue. Depthwise, few products are added, so that they fit 32
 * bits, and the low half of the join is 0.
 */
#include "runtime/exec.h"

#include <string.h>

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
    eff_run_kernels(r)->pw_u8s8.run(&r->layer->raw, &io);
    io.src = lo;
    io.dst_s32 = lo_sums;
    eff_run_kernels(r)->pw_u8s8.run(&r->layer->raw, &io);
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

static void dw_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t cols = (size_t)r->to->w, n = cols * eff_tensor_ch(r->to);
    int32_t *sums = (int32_t *)(void *)eff_scratch(r->session, worker), *none = sums + n;
    memset(none, 0, n * sizeof *none);
    for (size_t y = begin; y < end; y++) {
        eff_run_kernels(r)->dw_s16(&r->layer->dw16.op, r->src[0], sums, (int)y);
        eff_join_pixels(r, &r->layer->dw16.epi, sums, none, y * cols, cols);
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
        const size_t n_rows = (size_t)r->to->h;
        eff_pool_run(pool, n_rows, eff_run_pieces(r, n_rows, 1), dw_rows, r);
    } else {
        eff_pool_run(pool, n, eff_run_pieces(r, n, 1), gate_pixels, r);
    }
}
