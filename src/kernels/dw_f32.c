/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution in float: one output pixel at a time, its channels in the inner loop. */
#include "kernels/fma_f32.h"
#include "kernels/levels.h"

#include <string.h>

static void pixel(const EffDwF32 *op, const float *src, float *restrict dst, int y, int x)
{
    const size_t n = (size_t)op->channels;
    if (op->bias != NULL)
        memcpy(dst, op->bias, n * sizeof *dst);
    else
        memset(dst, 0, n * sizeof *dst);
    for (int ky = 0; ky < op->kernel_h; ky++) {
        const int in_y = y * op->stride - op->pad_top + ky;
        if (in_y < 0 || in_y >= op->in_h)
            continue;
        for (int kx = 0; kx < op->kernel_w; kx++) {
            const int in_x = x * op->stride - op->pad_left + kx;
            if (in_x < 0 || in_x >= op->in_w)
                continue;
            const float *restrict s = src + ((size_t)in_y * (size_t)op->in_w + (size_t)in_x) * n;
            const float *restrict w = op->wgt + (size_t)(ky * op->kernel_w + kx) * n;
            size_t c = 0;
            for (; c + 4 <= n; c += 4)
                eff_store_f4(dst + c, eff_fma_f4(eff_load_f4(s + c), eff_load_f4(w + c), eff_load_f4(dst + c)));
            for (; c < n; c++)
                dst[c] = eff_fma_f32(s[c], w[c], dst[c]);
        }
    }
}

void eff_dw_f32_c(const EffDwF32 *op, const float *src, float *dst, int row_begin, int row_end)
{
    const size_t row = (size_t)op->out_w * (size_t)op->channels;
    for (int y = row_begin; y < row_end; y++) {
        float *to = dst + (size_t)y * row;
        for (int x = 0; x < op->out_w; x++)
            pixel(op, src, to + (size_t)x * (size_t)op->channels, y, x);
        eff_act_f32_c(op->act, to, row);
    }
}
