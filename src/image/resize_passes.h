/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two passes of the resizer, as resize.c calls them and as each CPU level provides them: same bytes everywhere.
 *
 *   output = clamp((2^21 + sum of pixel * weight) >> 22, 0, 255), in wrapping 32 bits
 */
#ifndef EFF_IMAGE_RESIZE_PASSES_H
#define EFF_IMAGE_RESIZE_PASSES_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EFF_RESIZE_FIXED_BITS = 32 - 8 - 2, /* 8 bits of pixel, a sign, and one bit for lobes that overshoot */
    EFF_RESIZE_SPLIT_BITS = 11,         /* weight = high * 2^11 + low, 0 <= low < 2^11: both fit s16 */
    EFF_RESIZE_CHUNK = 4,               /* taps that are packed together */
    EFF_RESIZE_ROWS = 4                 /* rows that a horizontal pass takes at most */
};

/* Where the taps of one output pixel start, how many there are. */
typedef struct EffTaps {
    int first, n;
} EffTaps;

/*
 * One axis of the window: output i takes taps[i], weighed by wgt[i * stride ..]. Empty when the size stays.
 *
 * `split` holds the same weights for multipliers of 16 bits, zeros behind the last: for each 4 taps
 *     high 0, high 1, high 2, high 3, low 0, low 1, low 2, low 3
 */
typedef struct EffResizeAxis {
    EffTaps *taps;
    int32_t *wgt;
    size_t stride;
    int16_t *split;      /* NULL unless the passes want it */
    size_t split_stride; /* of an output, in values */
    int max_taps;
} EffResizeAxis;

/**
 * `n_rows` (1 to EFF_RESIZE_ROWS) rows of RGB through the horizontal pass.
 *
 * @param dst       [n_rows] rows of width * 3 bytes.
 * @param src       [n_rows] rows; src[r][0] is the first channel of column `x0` of the picture.
 * @param readable  bytes behind src[n_rows - 1] that may be read; the rows before it have at least as many.
 */
typedef void eff_resize_rgb_fn(uint8_t *const *dst, const uint8_t *const *src, int n_rows, const EffResizeAxis *axis,
                               int x0, int width, size_t readable);

/** One output row from taps.n rows of n_bytes; wgt and split are those of the output row. */
typedef void eff_resize_vertical_fn(uint8_t *dst, const uint8_t *const *rows, int n_taps, const int32_t *wgt,
                                    const int16_t *split, size_t n_bytes);

typedef struct EffResizePasses {
    eff_resize_rgb_fn *rgb;
    eff_resize_vertical_fn *vertical;
    bool wants_split;
} EffResizePasses;

extern const EffResizePasses eff_resize_passes_c;
extern const EffResizePasses eff_resize_passes_avx2; /* x86 only */

static EFF_ALWAYS_INLINE uint8_t eff_resize_pixel(uint32_t acc)
{
    const int32_t v = (int32_t)acc >> EFF_RESIZE_FIXED_BITS; /* arithmetic, on every compiler we take */
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Output x of a row; n_ch is a constant where this is inlined. Unsigned: it may wrap where thousands of taps meet. */
static EFF_ALWAYS_INLINE void eff_resize_output(uint8_t *dst, const uint8_t *src, const EffResizeAxis *axis, int x0,
                                                int x, int n_ch)
{
    const uint8_t *p = src + (ptrdiff_t)(axis->taps[x].first - x0) * n_ch;
    const int32_t *wgt = axis->wgt + (size_t)x * axis->stride;
    const int n = axis->taps[x].n;
    uint32_t acc[3] = {1u << (EFF_RESIZE_FIXED_BITS - 1), 1u << (EFF_RESIZE_FIXED_BITS - 1),
                       1u << (EFF_RESIZE_FIXED_BITS - 1)};
    for (int t = 0; t < n; t++) {
        for (int c = 0; c < n_ch; c++)
            acc[c] += p[t * n_ch + c] * (uint32_t)wgt[t];
    }
    for (int c = 0; c < n_ch; c++)
        dst[c] = eff_resize_pixel(acc[c]);
}

/* Bytes [begin, end) of one output row of the vertical pass. */
static EFF_ALWAYS_INLINE void eff_resize_vertical_part(uint8_t *dst, const uint8_t *const *rows, int n_taps,
                                                       const int32_t *wgt, size_t begin, size_t end)
{
    enum { BLOCK = 512 }; /* bytes whose sums are kept on the stack */
    for (size_t x = begin; x < end; x += BLOCK) {
        const size_t n = end - x < BLOCK ? end - x : BLOCK;
        uint32_t acc[BLOCK];
        for (size_t j = 0; j < n; j++)
            acc[j] = 1u << (EFF_RESIZE_FIXED_BITS - 1);
        for (int t = 0; t < n_taps; t++) {
            const uint8_t *restrict row = rows[t] + x;
            for (size_t j = 0; j < n; j++)
                acc[j] += row[j] * (uint32_t)wgt[t];
        }
        for (size_t j = 0; j < n; j++)
            dst[x + j] = eff_resize_pixel(acc[j]);
    }
}

#endif
