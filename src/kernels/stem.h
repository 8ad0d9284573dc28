/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first convolution: u8 pixels in, mean and standard deviation folded into weights and bias. It runs as im2col
 * and the pointwise kernel. Taps outside the image contribute nothing (they stand for the mean, which is no integer),
 * so each way to overlap the border has its own bias.
 */
#ifndef EFF_KERNELS_STEM_H
#define EFF_KERNELS_STEM_H

#include "kernels/table.h"

enum { EFF_STEM_CH = 3, EFF_STEM_MAX_KERNEL = 7 };

/** The taps of one dimension that lie inside the image: [first, end). */
typedef struct EffTaps {
    int first, end;
} EffTaps;

/** Taps of output position `out`; at least one is inside for every valid padding. */
EffTaps eff_stem_taps(int out, int kernel, int stride, int pad, int size);

/** Number of a border case in one dimension, below kernel * kernel. */
static inline int eff_stem_case(EffTaps taps, int kernel)
{
    return taps.first * kernel + taps.end - 1;
}

/** A stem layer; pw.in_ch is 3 kernel^2, its weights [out_ch][ky][kx][rgb], and pw.epi.bias is read by
 *  eff_pw_check() only. */
typedef struct EffStem {
    EffPw pw;
    int kernel, stride; /**< kernel up to EFF_STEM_MAX_KERNEL */
    int rows, cols;     /**< of the image */
    int pad_top, pad_left;
    int out_rows, out_cols;
    const int32_t *const *bias; /**< [row case][column case], kernel^2 of each: [eff_param_pad(out_ch)] or NULL where
                                     the case does not occur */
} EffStem;

/** Geometry, and that every border case that occurs has a bias. The pointwise layer has eff_pw_check(). */
EffStatus eff_stem_check(const EffStem *op);

/** Scratch for the calls below, 64-byte aligned; independent of the row range. */
size_t eff_stem_workspace_bytes(const EffStem *op);

/**
 * Output rows [row_begin, row_end), NHWC. `out` has dst_u8, dst_s16 at row row_begin; its other members are not used.
 *
 * @param image  [rows][cols][3], RGB; up to EFF_OVERREAD bytes after it may be read.
 */
void eff_stem_run(const EffKernels *k, const EffStem *op, const uint8_t *image, const EffPwIo *out, int row_begin,
                  int row_end, void *workspace);

/** Row quads [quad_begin, quad_end): for the depthwise layer of a first block without expansion. `dst`, `quads` as in
 *  EffPwQuadIo, all channels. */
void eff_stem_run_quads(const EffKernels *k, const EffStem *op, const uint8_t *image, uint8_t *dst,
                        const EffQuads *quads, int quad_begin, int quad_end, void *workspace);

#endif
