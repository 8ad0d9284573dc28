/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Float nodes: 16-bit inputs become floats in scratch, the float kernels sum and activate them, and what is rounded
 * goes through the integer epilogue, which is the one that joins the bytes of 16-bit inputs (exec_wide.c), with nothing
 * but 0 as the low one.
 */
#include "runtime/exec.h"

#include <string.h>

/* Pixels [at, at + n) of the output from their sums, whose memory is used up. t: [n][channels], scratch. */
static void finish(const EffRun *r, float *sums, int32_t *t, size_t at, size_t n)
{
    const size_t n_ch = eff_tensor_ch(r->to);
    eff_s32_from_f32(t, sums, r->layer->node.scale, r->to->c, n);
    memset(sums, 0, n * n_ch * sizeof *sums);
    eff_join_pixels(r, &r->layer->node.epi, t, (const int32_t *)(const void *)sums, at, n);
}

static void pw_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffPwF32Kernel *k = &eff_run_kernels(r)->f32.pw;
    const size_t n_in = eff_tensor_ch(r->in), n_out = eff_tensor_ch(r->to);
    float *src = (float *)(void *)eff_scratch(r->session, worker), *sums = src + EFF_WIDE_TILE * n_in;
    int32_t *t = (int32_t *)(void *)(sums + EFF_WIDE_TILE * n_out);
    const EffPwF32 op = {.n_in = (size_t)r->in->c,
                         .n_out = (size_t)r->to->c,
                         .src_stride = n_in,
                         .dst_stride = n_out,
                         .packed = r->layer->node.wgt,
                         .bias = r->layer->node.bias,
                         .act = (EffActivation)r->step->fact};
    for (size_t at = begin, n; at < end; at += n) {
        n = end - at < EFF_WIDE_TILE ? end - at : EFF_WIDE_TILE;
        eff_f32_from_s16(src, (const int16_t *)r->src[0] + at * n_in, n * n_in);
        k->run(&op, src, sums, n, 0, k->n_panels(op.n_out));
        finish(r, sums, t, at, n);
    }
}

/* The whole input as floats, in the shared scratch. */
static void dw_input(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t row = (size_t)r->in->w * eff_tensor_ch(r->in);
    (void)worker;
    eff_f32_from_s16((float *)(void *)r->session->shared + begin * row, (const int16_t *)r->src[0] + begin * row,
                     (end - begin) * row);
}

/* Output rows, one at a time. To the kernel each is the first of a picture with that much less padding above. */
static void dw_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t n_cols = (size_t)r->to->w;
    float *sums = (float *)(void *)eff_scratch(r->session, worker);
    int32_t *t = (int32_t *)(void *)(sums + n_cols * eff_tensor_ch(r->to));
    EffDwF32 op = {.in_h = r->in->h,
                   .in_w = r->in->w,
                   .out_h = r->to->h,
                   .out_w = r->to->w,
                   .channels = eff_ch_pad(r->to->c),
                   .kernel_h = r->step->kernel,
                   .kernel_w = r->step->kernel,
                   .stride = r->step->stride,
                   .pad_left = r->step->pad_left,
                   .wgt = r->layer->node.wgt,
                   .bias = r->layer->node.bias,
                   .act = (EffActivation)r->step->fact};
    for (size_t y = begin; y < end; y++) {
        op.pad_top = r->step->pad_top - (int)y * op.stride;
        eff_run_kernels(r)->f32.dw(&op, (const float *)(const void *)r->session->shared, sums, 0, 1);
        finish(r, sums, t, y * n_cols, n_cols);
    }
}

void eff_exec_node(EffRun *r)
{
    EffPool *pool = r->session->pool;
    if (r->step->op == EFF_STEP_PW_F32) {
        const size_t n = eff_tensor_pixels(r->to);
        eff_pool_run(pool, n, eff_wide_grain(r, n), pw_pixels, r);
    } else {
        const size_t n_in = (size_t)r->in->h, n_out = (size_t)r->to->h;
        eff_pool_run(pool, n_in, eff_run_pieces(r, n_in, 1), dw_input, r);
        eff_pool_run(pool, n_out, eff_run_pieces(r, n_out, 1), dw_rows, r);
    }
}
