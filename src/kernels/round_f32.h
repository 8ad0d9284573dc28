/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounding of floats a channel, as QuantizeLinear and DequantizeLinear of ONNX do, and what stands between them:
 *
 *     dst[p][c] = (r(clamp(src[p][c] / div[c], low[c], high[c])) + add[c]) * mul[c]
 *
 * in float, each operation rounded. The same bits on every CPU level and for every number of threads.
 */
#ifndef EFF_KERNELS_ROUND_F32_H
#define EFF_KERNELS_ROUND_F32_H

#include "base/threads.h"

#include <stddef.h>

/* Stored in files: values stay. */
typedef enum EffRounding {
    EFF_ROUNDING_NONE = 0,
    EFF_ROUNDING_FLOOR,
    EFF_ROUNDING_EVEN /* to the nearest, halves to even */
} EffRounding;

/* Rows of a table [EFF_ROUND_ROWS][c]; stored in files too. */
typedef enum EffRoundRow {
    EFF_ROUND_DIV = 0,
    EFF_ROUND_LOW,
    EFF_ROUND_HIGH,
    EFF_ROUND_ADD,
    EFF_ROUND_MUL,
    EFF_ROUND_ROWS
} EffRoundRow;

void eff_round_f32(EffRounding how, float *dst, const float *src, const float *table, size_t n_pixels, size_t n_ch,
                   EffPool *pool);

#endif
