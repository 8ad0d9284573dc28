/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of 16-bit inputs: one output pixel at a time, its channels in the inner loop. */
#include "kernels/levels.h"

static void pixel(const EffDwS16 *op, const int16_t *src, int32_t *restrict dst, int y, int x)
{
    const size_t n = (size_t)op->channels;
    for (size_t c = 0; c < n; c++)
        dst[c] = 128;
    for (int ky = 0; ky < op->kernel; ky++) {
        const int in_y = y * op->stride - op->pad_top + ky;
        if (in_y < 0 || in_y >= op->in_h)
            continue;
        for (int kx = 0; kx < op->kernel; kx++) {
            const int in_x = x * op->stride - op->pad_left + kx;
            if (in_x < 0 || in_x >= op->in_w)
                continue;
            const int16_t *restrict s = src + ((size_t)in_y * (size_t)op->in_w + (size_t)in_x) * n;
            const int16_t *restrict w = op->wgt + (size_t)(ky * (op->kernel + 1) + kx) * n;
            for (size_t c = 0; c < n; c++)
                dst[c] += s[c] * w[c];
        }
    }
    for (size_t c = 0; c < n; c++)
        dst[c] >>= 8;
}

void eff_dw_s16_c(const EffDwS16 *op, const int16_t *src, int32_t *dst, int y)
{
    for (int x = 0; x < op->out_w; x++)
        pixel(op, src, dst + (size_t)x * (size_t)op->channels, y, x);
}
