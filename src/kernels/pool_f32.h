/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of float maps over windows, with padding that counts for nothing:
 *
 *     max     dst[y][x][c] = the largest of the taps inside the picture
 *     mean    dst[y][x][c] = their sum, tap after tap, divided by how many they are
 *
 * Every window has a tap inside: pads on all sides are smaller than the window, which plan_check.c proves. The same
 * bits on every CPU level and for every number of threads; where a NaN meets numbers in a maximum is left open.
 */
#ifndef EFF_KERNELS_POOL_F32_H
#define EFF_KERNELS_POOL_F32_H

#include "base/threads.h"

typedef enum EffPooling { EFF_POOLING_MAX = 0, EFF_POOLING_MEAN } EffPooling;

/* src [in_h][in_w][channels], dst [out_h][out_w][channels]. */
typedef struct EffPoolF32 {
    EffPooling how;
    int in_h, in_w, out_h, out_w, channels, kernel_h, kernel_w, stride, pad_top, pad_left;
} EffPoolF32;

/* A NULL pool runs everything in the caller. src and dst do not overlap. */
void eff_pool_f32(const EffPoolF32 *op, float *dst, const float *src, EffPool *pool);

#endif
