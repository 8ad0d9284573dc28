/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Row quads, the layout of a depthwise convolution's input: four vertically adjacent rows of one channel in a dword,
 *
 *   buf[quad][column][channel][4]      byte r of quad q = row 4 q + r of the padded image
 *
 * so that one dot-product instruction takes four rows of a column of the window. The buffer holds the padding too, as
 * zero[c]: pad_top rows above, pad_left columns before, and what a window touches after the image.
 */
#ifndef EFF_KERNELS_QUADS_H
#define EFF_KERNELS_QUADS_H

#include "effnet/base.h"

/** Geometry of a row-quad buffer. Channels: a block of a tensor may have a buffer of its own. */
typedef struct EffQuads {
    int rows, cols;        /**< the image inside */
    int pad_top, pad_left; /**< rows and columns before it */
    int n_quads, n_cols;   /**< extent of the buffer, padding included */
    int ch_stride;         /**< channels a column, a multiple of EFF_CH_ALIGN */
} EffQuads;

/**
 * Geometry for a depthwise convolution with the given window. n_quads and n_cols cover all that eff_dw kernels read: a
 * quad or two more than the padded image needs.
 *
 * @param out_rows, out_cols  size of the convolution's output.
 */
void eff_quads_init(EffQuads *q, int rows, int cols, int kernel, int stride, int pad_top, int pad_left, int out_rows,
                    int out_cols, int ch_stride);

/** Bytes of a buffer of `n_quads` quads of this geometry. False on overflow. */
int eff_quads_bytes(size_t *out, const EffQuads *q, int n_quads);

/** Bytes from one quad to the next. */
static inline size_t eff_quads_stride(const EffQuads *q)
{
    return (size_t)q->n_cols * (size_t)q->ch_stride * 4;
}

/**
 * Write zero[c] to all padding of quads [quad_begin, quad_end): whole quads without image rows, and the columns before
 * and after the image. Pad rows beside image rows are the producer's work.
 *
 * @param dst   where quad `quad_begin` starts.
 * @param zero  [n_ch], of the channels that start at dst; n_ch <= ch_stride.
 */
void eff_quads_fill_padding(const EffQuads *q, uint8_t *dst, const int16_t *zero, int n_ch, int quad_begin,
                            int quad_end);

/**
 * Row quads from an NHWC image, padding included: for layers that no pointwise kernel precedes.
 *
 * @param src  [rows][cols][src_stride], channels 0..n_ch - 1.
 */
void eff_quads_from_nhwc(const EffQuads *q, uint8_t *dst, const uint8_t *src, size_t src_stride, const int16_t *zero,
                         int n_ch, int quad_begin, int quad_end);

#endif
