/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise (1x1) convolution in float: tiles of 4 pixels x 8 output channels in registers. */
#include "kernels/f32.h"

#include <string.h>

enum { N_TILE = EFF_F32_N_TILE, M_TILE = 4 };

size_t eff_pw_f32_packed_count(size_t n_in, size_t n_out)
{
    return (n_out + N_TILE - 1) / N_TILE * N_TILE * n_in;
}

void eff_pw_f32_pack(float *packed, const float *wgt, size_t n_in, size_t n_out)
{
    for (size_t o = 0; o < n_out; o += N_TILE) {
        for (size_t i = 0; i < n_in; i++) {
            for (size_t lane = 0; lane < N_TILE; lane++)
                *packed++ = o + lane < n_out ? wgt[(o + lane) * n_in + i] : 0.0f;
        }
    }
}

static inline EffF4 load4(const float *p)
{
    EffF4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* One tile; m, a constant at each call, is how many of its pixels exist. */
static EFF_ALWAYS_INLINE void tile(const EffPwF32 *op, const float *src, const float *panel, const float *bias,
                                   float *dst, size_t n_cols, const int m)
{
    EffF4 acc[M_TILE][2];
    for (int p = 0; p < m; p++) {
        acc[p][0] = load4(bias);
        acc[p][1] = load4(bias + 4);
    }
    for (size_t i = 0; i < op->n_in; i++) {
        const EffF4 w0 = load4(panel + i * N_TILE), w1 = load4(panel + i * N_TILE + 4);
        for (int p = 0; p < m; p++) {
            const float x = src[(size_t)p * op->src_stride + i];
            acc[p][0] += w0 * x;
            acc[p][1] += w1 * x;
        }
    }
    for (int p = 0; p < m; p++)
        memcpy(dst + (size_t)p * op->dst_stride, acc[p], n_cols * sizeof(float));
}

void eff_pw_f32(const EffPwF32 *op, const float *src, float *dst, size_t n_pixels, size_t panel_begin, size_t panel_end)
{
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const size_t o = panel * N_TILE;
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
}
