/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Float nodes: convolutions of an int8 network that run in float.
 *
 *   sum = bias[o] + src[0] * wgt[o][0] + src[1] * wgt[o][1] + ...     floats, from the left, rounded once a product
 *   t   = the integer next to act(sum) * scale[o] in [-32768, 32767], halves to even
 *
 * act() is that of the float kernels or none, and from t on the integer epilogue (epilogue.h) with t as accumulator, no
 * shift and no bias. The sums are those of the float kernels (f32.h): every output is one sum in one fixed order at
 * every CPU level, so that the rest is exact too. What stands here is plain C at every level: a value of input or
 * output is touched once, a weight as often as there are pixels.
 *
 * src are the 16-bit inputs as they are. The unit of an input channel, a power of two, is in its weights, so that no
 * weight loses a bit.
 */
#ifndef EFF_KERNELS_FLOAT_NODE_H
#define EFF_KERNELS_FLOAT_NODE_H

#include "effnet/base.h"
#include "kernels/epilogue.h"

/* Channels are padded to eff_ch_pad(); weights and bias of the padding are 0. */
typedef struct EffFloatNode {
    EffEpilogue epi;
    const float *wgt;   /* pw: packed by EffKernelsF32.pw; dw: [kernel][kernel][eff_ch_pad(channels)] */
    const float *bias;  /* [eff_ch_pad(channels)], real */
    const float *scale; /* [channels]: steps of t a unit of act(sum) */
} EffFloatNode;

/**
 * Whether no sum can leave the floats, nor its activation, whatever the inputs, so that there is no NaN:
 * |bias| + 2^15 sum|wgt| < 2^120, an output each, and scales are positive. All are finite.
 *
 * @param wgt  [n_out][fan_in].   @return EFF_OK or EFF_ERR_FORMAT.
 */
EffStatus eff_float_node_check(const float *wgt, const float *bias, const float *scale, int n_out, int fan_in);

/* dst[i] = src[i], exact. */
void eff_f32_from_s16(float *restrict dst, const int16_t *restrict src, size_t n);

/* t of n_pixels. sums, t: [n_pixels][eff_ch_pad(channels)]; the padding of t becomes 0, that of the sums isn't read. */
void eff_s32_from_f32(int32_t *restrict t, const float *restrict sums, const float *restrict scale, int channels,
                      size_t n_pixels);

#endif
