/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole float layers on a pool of threads, from the kernels in f32.h: what the reference and the float steps of a plan
 * run. Every output is made by one thread and is one sum in one fixed order, so that every number of threads gives the
 * same bits. A NULL pool runs everything in the caller. The kernels `k` are those that packed the weights.
 */
#ifndef EFF_KERNELS_LAYER_F32_H
#define EFF_KERNELS_LAYER_F32_H

#include "base/threads.h"
#include "kernels/f32.h"

/* Dense (groups 1) or depthwise (groups > 1: in_ch = out_ch = groups). Taps outside the picture are 0. */
typedef struct EffConvF32 {
    int in_h, in_w, in_ch, out_h, out_w, out_ch, kernel_h, kernel_w, stride, pad_top, pad_left, groups;
    const float *wgt, *bias; /* packed by eff_conv_f32_pack(); bias may be NULL */
    EffActivation act;
} EffConvF32;

/* Floats that the packed weights take. */
size_t eff_conv_f32_packed_count(const EffKernelsF32 *k, const EffConvF32 *op);
/* wgt [out_ch][kernel_h][kernel_w][in_ch / groups] to panels (dense) or [kernel_h][kernel_w][c] (depthwise). */
void eff_conv_f32_pack(const EffKernelsF32 *k, float *packed, const EffConvF32 *op, const float *wgt);

/* Scratch of one thread, floats; 0 for many layers, SIZE_MAX beyond all memory. */
size_t eff_conv_f32_row_floats(const EffConvF32 *op);
/* rows: scratch, row_stride floats a thread. */
void eff_conv_f32_run(const EffKernelsF32 *k, const EffConvF32 *op, const float *src, float *dst, EffPool *pool,
                      float *rows, size_t row_stride);

/* dst = act(src) */
void eff_act_f32(const EffKernelsF32 *k, EffActivation act, float *dst, const float *src, size_t n, EffPool *pool);
/* dst = a + b */
void eff_add_f32(const EffKernelsF32 *k, float *dst, const float *a, const float *b, size_t n, EffPool *pool);
/* dst[p][c] = src[p][c] * gate[c] */
void eff_gate_f32(const EffKernelsF32 *k, float *dst, const float *src, const float *gate, size_t n_pixels, size_t n_ch,
                  EffPool *pool);
/* dst[c] = the mean over p of src[p][c], summed in double */
void eff_mean_f32(const EffKernelsF32 *k, float *dst, const float *src, size_t n_pixels, size_t n_ch, EffPool *pool);

#endif
