/* SPDX-License-Identifier: Apache-2.0 */
/* Sums, gates and means in float. The loops have no branches, so that the compiler can take four lanes at once. */
#include "kernels/levels.h"

enum { MEAN_BLOCK = 64 }; /* channels whose sums stay in L1 */

void eff_add_f32_c(float *restrict dst, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = a[i] + b[i];
}

void eff_gate_f32_c(float *restrict dst, const float *src, const float *gate, size_t n_pixels, size_t n_ch)
{
    for (size_t p = 0; p < n_pixels; p++) {
        for (size_t c = 0; c < n_ch; c++)
            dst[p * n_ch + c] = src[p * n_ch + c] * gate[c];
    }
}

void eff_mean_f32_c(float *dst, const float *src, size_t n_pixels, size_t n_ch, size_t ch_begin, size_t ch_end)
{
    for (size_t first = ch_begin; first < ch_end; first += MEAN_BLOCK) {
        const size_t width = ch_end - first < MEAN_BLOCK ? ch_end - first : MEAN_BLOCK;
        double sums[MEAN_BLOCK] = {0};
        for (size_t p = 0; p < n_pixels; p++) {
            for (size_t c = 0; c < width; c++)
                sums[c] += (double)src[p * n_ch + first + c];
        }
        for (size_t c = 0; c < width; c++)
            dst[first + c] = (float)(sums[c] / (double)n_pixels);
    }
}
