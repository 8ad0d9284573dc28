/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise (1x1) convolution in float: tiles of 4 pixels x 8 output channels in registers. */
#include "kernels/fma_f32.h"
#include "kernels/levels.h"

#include <string.h>

enum { N_TILE = 8, M_TILE = 4 };

static size_t n_panels(size_t n_out)
{
    return (n_out + N_TILE - 1) / N_TILE;
}

static size_t packed_count(size_t n_in, size_t n_out)
{
    return n_panels(n_out) * N_TILE * n_in;
}

/* To [panel][n_in][N_TILE], zero-padded. */
static void pack(float *packed, const float *wgt, size_t n_in, size_t n_out)
{
    for (size_t o = 0; o < n_out; o += N_TILE) {
        for (size_t i = 0; i < n_in; i++) {
            for (size_t lane = 0; lane < N_TILE; lane++)
                *packed++ = o + lane < n_out ? wgt[(o + lane) * n_in + i] : 0.0f;
        }
    }
}

/* One tile; m, a constant at each call, is how many of its pixels exist. */
static EFF_ALWAYS_INLINE void tile(const EffPwF32 *op, const float *src, const float *panel, const float *bias,
                                   float *dst, size_t n_cols, const int m)
{
    EffF4 acc[M_TILE][2];
#pragma GCC unroll 4
    for (int p = 0; p < m; p++) {
        acc[p][0] = eff_load_f4(bias);
        acc[p][1] = eff_load_f4(bias + 4);
    }
    for (size_t i = 0; i < op->n_in; i++) {
        const EffF4 w0 = eff_load_f4(panel + i * N_TILE), w1 = eff_load_f4(panel + i * N_TILE + 4);
#pragma GCC unroll 4
        for (int p = 0; p < m; p++) {
            const float value = src[(size_t)p * op->src_stride + i];
            const EffF4 x = {value, value, value, value};
            acc[p][0] = eff_fma_f4(x, w0, acc[p][0]);
            acc[p][1] = eff_fma_f4(x, w1, acc[p][1]);
        }
    }
#pragma GCC unroll 4
    for (int p = 0; p < m; p++) {
        const EffF4 lo = acc[p][0], hi = acc[p][1];
        float sums[N_TILE];
        memcpy(sums, &lo, sizeof lo);
        memcpy(sums + 4, &hi, sizeof hi);
        memcpy(dst + (size_t)p * op->dst_stride, sums, n_cols * sizeof *sums);
    }
}

static void run(const EffPwF32 *op, const float *src, float *dst, size_t n_pixels, size_t panel_begin, size_t panel_end)
{
    const size_t end = panel_end * N_TILE < op->n_out ? panel_end * N_TILE : op->n_out;
    for (size_t o = panel_begin * N_TILE; o < end; o += N_TILE) {
        const size_t n_cols = op->n_out - o < N_TILE ? op->n_out - o : N_TILE;
        const float *w = op->packed + o * op->n_in;
        float bias[N_TILE] = {0};
        if (op->bias != NULL)
            memcpy(bias, op->bias + o, n_cols * sizeof *bias);
        size_t p = 0;
        for (; p + M_TILE <= n_pixels; p += M_TILE)
            tile(op, src + p * op->src_stride, w, bias, dst + p * op->dst_stride + o, n_cols, M_TILE);
        for (; p < n_pixels; p++)
            tile(op, src + p * op->src_stride, w, bias, dst + p * op->dst_stride + o, n_cols, 1);
    }
    for (size_t p = 0, o = panel_begin * N_TILE; p < n_pixels && op->act != EFF_ACTIVATION_NONE && o < end; p++)
        eff_act_f32_c(op->act, dst + p * op->dst_stride + o, end - o);
}

const EffPwF32Kernel eff_pw_f32_4x8_c = {"pw_f32_4x8_c", n_panels, packed_count, pack, run};
