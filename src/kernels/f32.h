/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Float kernels in plain C, four lanes at a time: the reference for everything else. Each output is one sum in one
 * fixed order (bias first, then taps and input channels upwards, one rounding a multiply and one an add), so that
 * results do not depend on threads or on how the work is split.
 *
 * Layouts: activations [h][w][c] without padding; pw weights packed by eff_pw_f32_pack(); dw weights [kh][kw][c].
 */
#ifndef EFF_KERNELS_F32_H
#define EFF_KERNELS_F32_H

#include "base/compiler.h"

#include <stddef.h>

enum { EFF_F32_N_TILE = 8 }; /* output channels of a packed panel */

/* Floats that the packed weights of an n_in -> n_out layer take. */
size_t eff_pw_f32_packed_count(size_t n_in, size_t n_out);
/* wgt [n_out][n_in] to panels [ceil(n_out / 8)][n_in][8], zero-padded. */
void eff_pw_f32_pack(float *packed, const float *wgt, size_t n_in, size_t n_out);

/*
 * dst[p][o] = bias[o] + sum over i of src[p][i] * wgt[o][i], for p in [0, n_pixels), panels [panel_begin, panel_end).
 * src_stride and dst_stride count floats between pixels; bias NULL means 0.
 */
typedef struct EffPwF32 {
    size_t n_in, n_out, src_stride, dst_stride;
    const float *packed, *bias;
} EffPwF32;
void eff_pw_f32(const EffPwF32 *op, const float *src, float *dst, size_t n_pixels, size_t panel_begin,
                size_t panel_end);

/* Depthwise convolution, output rows [row_begin, row_end). wgt [kh][kw][c]; out-of-image taps are left out. */
typedef struct EffDwF32 {
    int in_h, in_w, out_h, out_w, channels, kernel_h, kernel_w, stride, pad_top, pad_left;
    const float *wgt, *bias;
} EffDwF32;
void eff_dw_f32(const EffDwF32 *op, const float *src, float *dst, int row_begin, int row_end);

/* Stored in files: values stay. */
typedef enum EffActivation {
    EFF_ACTIVATION_NONE = 0,
    EFF_ACTIVATION_RELU,
    EFF_ACTIVATION_RELU6,
    EFF_ACTIVATION_SILU,   /* x * sigmoid(x) */
    EFF_ACTIVATION_HSWISH, /* x * relu6(x + 3) / 6 */
    EFF_ACTIVATION_SIGMOID
} EffActivation;

/* In place. exp() is our own polynomial (relative error below 2e-7), so that no libm decides the last bit. */
void eff_relu_f32(float *x, size_t n);
void eff_relu6_f32(float *x, size_t n);
void eff_silu_f32(float *x, size_t n);
void eff_hswish_f32(float *x, size_t n);
void eff_sigmoid_f32(float *x, size_t n);

#endif
