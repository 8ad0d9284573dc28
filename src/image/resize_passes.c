/* SPDX-License-Identifier: Apache-2.0 */
/* The passes in plain C: the reference of the others. */
#include "image/resize_passes.h"

static void rgb(uint8_t *const *dst, const uint8_t *const *src, int n_rows, const EffResizeAxis *axis, int x0,
                int width, size_t readable)
{
    (void)readable;
    for (int r = 0; r < n_rows; r++) {
        for (int x = 0; x < width; x++)
            eff_resize_output(dst[r] + (size_t)x * 3, src[r], axis, x0, x, 3);
    }
}

static void vertical(uint8_t *dst, const uint8_t *const *rows, int n_taps, const int32_t *wgt, const int16_t *split,
                     size_t n_bytes)
{
    (void)split;
    eff_resize_vertical_part(dst, rows, n_taps, wgt, 0, n_bytes);
}

const EffResizePasses eff_resize_passes_c = {.rgb = rgb, .vertical = vertical};
