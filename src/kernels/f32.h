/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Float kernels, behind a table of their own (EffKernelsF32, a part of EffKernels). Plain C fills every entry and is
 * the reference for the rest.
 *
 * Every CPU level gives the bits of plain C: each output is one sum in one fixed order (bias first, then taps and input
 * channels upwards), acc = x * w + acc rounded once, a fused multiply-add (fma_f32.h); nothing else is fused. So
 * results, and with them the .bin files that calibration leads to, depend neither on the CPU nor on threads nor on how
 * the work is split. What a NaN's bits are is left open.
 *
 * Layouts: activations [h][w][c] without padding; pw weights packed by the pack() of the same entry; dw weights
 * [kh][kw][c]. Nothing needs alignment, nothing outside the arrays is read or written; inputs and outputs do not
 * overlap.
 */
#ifndef EFF_KERNELS_F32_H
#define EFF_KERNELS_F32_H

#include "base/compiler.h"

#include <stddef.h>

/* Stored in files: values stay. */
typedef enum EffActivation {
    EFF_ACTIVATION_NONE = 0,
    EFF_ACTIVATION_RELU,
    EFF_ACTIVATION_RELU6,
    EFF_ACTIVATION_SILU,   /* x * sigmoid(x) */
    EFF_ACTIVATION_HSWISH, /* x * relu6(x + 3) / 6 */
    EFF_ACTIVATION_SIGMOID
} EffActivation;

/*
 * dst[p][o] = act(bias[o] + sum over i of src[p][i] * wgt[o][i]). src_stride and dst_stride count floats between
 * pixels; bias NULL means 0.
 */
typedef struct EffPwF32 {
    size_t n_in, n_out, src_stride, dst_stride;
    const float *packed, *bias;
    EffActivation act;
} EffPwF32;

/* The output channels come in panels, whose width the kernel chooses. */
typedef struct EffPwF32Kernel {
    const char *name;
    size_t (*n_panels)(size_t n_out);
    /* Floats that the packed weights of an n_in -> n_out layer take. */
    size_t (*packed_count)(size_t n_in, size_t n_out);
    /* wgt: [n_out][n_in]. */
    void (*pack)(float *packed, const float *wgt, size_t n_in, size_t n_out);
    /* Pixels [0, n_pixels), panels [panel_begin, panel_end). */
    void (*run)(const EffPwF32 *op, const float *src, float *dst, size_t n_pixels, size_t panel_begin,
                size_t panel_end);
} EffPwF32Kernel;

/* Depthwise convolution and its activation; taps outside the picture are left out. */
typedef struct EffDwF32 {
    int in_h, in_w, out_h, out_w, channels, kernel_h, kernel_w, stride, pad_top, pad_left;
    const float *wgt, *bias; /* [kh][kw][c]; [c] or NULL */
    EffActivation act;
} EffDwF32;
/* Output rows [row_begin, row_end); src and dst are the whole pictures. */
typedef void eff_dw_f32_fn(const EffDwF32 *op, const float *src, float *dst, int row_begin, int row_end);

/* x[i] = act(x[i]). exp() is our own polynomial (relative error below 2e-7), so that no libm decides the last bit. */
typedef void eff_act_f32_fn(EffActivation act, float *x, size_t n);
/* The same in plain C, by name. */
void eff_relu_f32(float *x, size_t n);
void eff_relu6_f32(float *x, size_t n);
void eff_silu_f32(float *x, size_t n);
void eff_hswish_f32(float *x, size_t n);
void eff_sigmoid_f32(float *x, size_t n);

/* dst[i] = a[i] + b[i] */
typedef void eff_add_f32_fn(float *dst, const float *a, const float *b, size_t n);
/* dst[p][c] = src[p][c] * gate[c] */
typedef void eff_gate_f32_fn(float *dst, const float *src, const float *gate, size_t n_pixels, size_t n_ch);
/* dst[c] = the mean over p of src[p][c], summed in double pixel after pixel, for channels [ch_begin, ch_end) of n_ch.
 */
typedef void eff_mean_f32_fn(float *dst, const float *src, size_t n_pixels, size_t n_ch, size_t ch_begin,
                             size_t ch_end);

typedef struct EffKernelsF32 {
    EffPwF32Kernel pw;
    eff_dw_f32_fn *dw;
    eff_act_f32_fn *act;
    eff_add_f32_fn *add;
    eff_gate_f32_fn *gate;
    eff_mean_f32_fn *mean;
} EffKernelsF32;

#endif
