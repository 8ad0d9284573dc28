/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels, behind one table of function pointers: the integer ones here, the float ones in f32.h. Plain C fills
 * every entry; a CPU level overwrites what it does better, with the same bits. A kernel, its packing routine and the
 * size of its packed weights travel together.
 *
 * Common rules
 *   Layout   activations are NHWC; a pixel holds eff_ch_pad(channels) values, the padding written as the zero-padded
 *            parameters give it. The input of a depthwise convolution is in row quads (quads.h).
 *   Memory   64-byte alignment is not needed, but fast. Unless said otherwise a kernel reads and writes nothing outside
 *            its documented arrays. Inputs and outputs do not overlap, except where said.
 *   Checks   eff_..._check() looks at whatever comes from a file, once; kernels assert.
 *   Threads  an operator (EffPw, ...) is constant and shared. Calls on disjoint ranges may run at once; the result does
 *            not depend on the split.
 */
#ifndef EFF_KERNELS_TABLE_H
#define EFF_KERNELS_TABLE_H

#include "effnet/base.h"
#include "kernels/ahead.h"
#include "kernels/epilogue.h"
#include "kernels/f32.h"
#include "kernels/quads.h"

#include <stddef.h>
#include <stdint.h>

/* ---- pointwise (1x1) convolution ----------------------------------------------------------------------------------
 */

enum { EFF_PW_MAX_IN_CH = 16384 };

/** A pointwise layer: acc[p][o] = bias[o] + sum over i of src[p][i] * wgt[o][i], then the epilogue. */
typedef struct EffPw {
    int in_ch, out_ch;
    const void *packed; /**< weights from pack() of the same table entry */
    EffEpilogue epi;
} EffPw;

/** NHWC in, NHWC out. */
typedef struct EffPwIo {
    const uint8_t *src;      /**< [n_pixels][src_stride] */
    size_t src_stride;       /**< at least in_ch rounded up to 4; values beyond in_ch are read, and do not matter */
    uint8_t *dst_u8;         /**< [n_pixels][eff_ch_pad(out_ch)], or NULL (not for U8_CLAMP) */
    int16_t *dst_s16;        /**< the same, of S16 and ACT; NULL when only the u8 copy is wanted */
    int32_t *dst_s32;        /**< the same, of S32; NULL otherwise */
    const int16_t *residual; /**< S16 only: added; the shape of dst_s16, and may be dst_s16 itself; NULL for none */
    const int32_t *bias;     /**< in place of epi.bias, or NULL */
    size_t n_pixels;
    EffAhead ahead; /**< fetched meanwhile, where a kernel does so */
} EffPwIo;

/** NHWC in, u8 row quads out: the expand layer before a depthwise one. Writes all four rows of quads [quad_begin,
 *  quad_end) in columns [col_begin, col_end) of the image; rows outside the image receive zero[c]. */
typedef struct EffPwQuadIo {
    const uint8_t *src;    /**< column 0 of the first image row in quad `quad_begin`, which is row
                                max(0, 4 quad_begin - pad_top) */
    size_t src_stride;     /**< from pixel to pixel, as in EffPwIo */
    size_t src_row_stride; /**< from row to row */
    uint8_t *dst;          /**< column 0 of the buffer (the first padding column) of quad `quad_begin`, at channel
                                ch_begin */
    const EffQuads *quads; /**< geometry of dst; ch_stride holds the written channels */
    int quad_begin, quad_end;
    int col_begin, col_end;         /**< of the image, 0..quads->cols */
    int ch_begin, ch_end;           /**< a multiple of EFF_PARAM_ALIGN; the same, or eff_ch_pad(out_ch) */
    const int32_t *const *row_bias; /**< [image rows from that of src on]: in place of epi.bias; or NULL */
    EffAhead ahead;                 /**< as in EffPwIo */
} EffPwQuadIo;

/** What the two halves of a 16-bit input came to: see eff_join_fn. */
typedef struct EffJoinIo {
    const int32_t *hi, *lo; /**< [n_pixels][eff_ch_pad(channels)], without bias */
    uint8_t *dst_u8;        /**< outputs and residual as in EffPwIo */
    int16_t *dst_s16;
    const int16_t *residual;
    size_t n_pixels;
} EffJoinIo;

/**
 * The epilogue of a convolution with 16-bit inputs x = 256 (hi - 128) + lo, whose bytes have been convolved apart:
 *
 *   acc[p][c] = bias[c] + hi[p][c] + ((lo[p][c] + 128) >> 8)
 *
 * and then what the epilogue does to any acc. One step of acc is 256 steps of x; the bias takes care of the -128.
 */
typedef void eff_join_fn(const EffEpilogue *epi, int channels, const EffJoinIo *io);

typedef struct EffPwKernel {
    const char *name;
    size_t (*packed_bytes)(int in_ch, int out_ch);
    /** wgt: [out_ch][in_ch], in [-127, 127]. packed: 64-byte aligned. */
    void (*pack)(void *packed, const int8_t *wgt, int in_ch, int out_ch);
    /** The epilogue's outputs: U8_CLAMP to dst_u8; S16, ACT to dst_s16, dst_u8 or both; S32 to dst_s32. */
    void (*run)(const EffPw *op, const EffPwIo *io);
    void (*run_quads)(const EffPw *op, const EffPwQuadIo *io); /**< not for S32 */
    eff_join_fn *join;
} EffPwKernel;

/**
 * Shapes, epilogue, weights in [-127, 127], and no accumulator that can leave s32: |bias| + 255 sum|wgt| < 2^31.
 * `to_u8` as in eff_epilogue_check(). @return EFF_OK or EFF_ERR_FORMAT.
 */
EffStatus eff_pw_check(const EffPw *op, const int8_t *wgt, int to_u8);

/* ---- depthwise convolution ----------------------------------------------------------------------------------------
 */

/** A depthwise layer: acc[y][x][c] = bias[c] + sum over window of src[y stride + ky][x stride + kx][c] *
 * wgt[c][ky][kx]. */
typedef struct EffDw {
    int channels;
    int kernel; /**< 3, 5 or 7 */
    int stride; /**< 1 or 2 */
    const void *packed;
    EffEpilogue epi;
} EffDw;

enum { EFF_DW_POOL_MAX = 65535 }; /**< most positions that one call may pool: keeps the sums in s32 */

typedef struct EffDwIo {
    const uint8_t *src;    /**< row quads: where quad row_begin * stride / 4 starts, at channel ch_begin */
    const EffQuads *quads; /**< geometry of src, from eff_quads_init() for this layer */
    uint8_t *dst_u8;       /**< [row_end - row_begin][out_cols][eff_ch_pad(channels)] at channel 0, or NULL */
    int16_t *dst_s16;      /**< the same, of S16 and ACT, or NULL */
    int32_t *pool;         /**< S16, ACT: [eff_ch_pad(channels)], the sums of y are added to it; or NULL. A thread has
                                its own. */
    int out_cols;
    int row_begin, row_end; /**< output rows; row_begin is a multiple of 4 / stride */
    int ch_begin, ch_end;   /**< multiples of EFF_CH_ALIGN, up to eff_ch_pad(channels) */
    EffAhead ahead;         /**< as in EffPwIo */
} EffDwIo;

typedef struct EffDwKernel {
    const char *name;
    size_t (*packed_bytes)(int channels, int kernel, int stride);
    /** wgt: [channels][kernel][kernel], in [-127, 127]. packed: 64-byte aligned. */
    void (*pack)(void *packed, const int8_t *wgt, int channels, int kernel, int stride);
    void (*run)(const EffDw *op, const EffDwIo *io);
} EffDwKernel;

EffStatus eff_dw_check(const EffDw *op, const int8_t *wgt, int to_u8);

/** A depthwise convolution of 16-bit inputs, without an epilogue. */
typedef struct EffDwS16 {
    int in_h, in_w, out_w;
    int channels; /**< a multiple of EFF_CH_ALIGN */
    int kernel;   /**< 3, 5 or 7 */
    int stride;   /**< 1 or 2 */
    int pad_top, pad_left;
    const int16_t
        *wgt; /**< [kernel][kernel + 1][channels], in [-127, 127]; the last of a row, which pairs want, is 0 */
} EffDwS16;

/**
 * Row y of the output: dst[x][c] = (128 + sum over window of src * wgt) >> 8. What lies outside of the picture is 0.
 * 49 * 127 * 2^15 fits s32. src: [in_h][in_w][channels], dst: [out_w][channels].
 */
typedef void eff_dw_s16_fn(const EffDwS16 *op, const int16_t *src, int32_t *dst, int y);

/* ---- s16 -> u8 and element-wise -----------------------------------------------------------------------------------
 */

/**
 * q = sat8(adds16(mulhrs(shls16(y, shift), mult[c]), zero[c])) for all channels of a pixel: the u8 copy of an s16
 * tensor, and with mult = eff_gate_mult() the gate of squeeze-excite.
 */
typedef struct EffQuant {
    int channels;
    int shift;           /**< 0..8 */
    const int16_t *mult; /**< [eff_param_pad(channels)], 0..32767 */
    const int16_t *zero; /**< the same, 0..255 */
} EffQuant;

/** src, dst: [n_pixels][eff_ch_pad(channels)]. */
typedef void eff_quant_fn(const EffQuant *op, const int16_t *src, uint8_t *dst, size_t n_pixels);

EffStatus eff_quant_check(const EffQuant *op);

/**
 * The two bytes of 16-bit values: hi = (x + 32768) >> 8, lo = x & 255, so that x = 256 (hi - 128) + lo.
 * src, hi, lo: [n].
 */
void eff_split_s16(uint8_t *hi, uint8_t *lo, const int16_t *src, size_t n);

/** dst = mulhrs(shls16(src, shift), gate[c]): the gate of squeeze-excite before a convolution with 16-bit inputs.
 *  src, dst: [n_pixels][ch_pad]; gate: [ch_pad], Q15, at least 0; shift 0..8. */
void eff_gate_s16(int16_t *dst, const int16_t *src, const int16_t *gate, int shift, int ch_pad, size_t n_pixels);

/**
 * Whether the sums of a convolution with 16-bit inputs stay in s32: |bias| + 256 sum|wgt| < 2^31 - 1, an output each.
 * wgt: [n_out][fan_in]. @return EFF_OK or EFF_ERR_FORMAT.
 */
EffStatus eff_wide_check(const int8_t *wgt, const int32_t *bias, int n_out, int fan_in);

/** dst[i] = adds16(a[i], b[i]); dst may be a or b. */
typedef void eff_add_s16_fn(int16_t *dst, const int16_t *a, const int16_t *b, size_t n);

/** sums[c] += src[p][c] over n_pixels <= EFF_DW_POOL_MAX; src has ch_pad channels a pixel, a multiple of EFF_CH_ALIGN.
 */
typedef void eff_pool_s16_fn(int32_t *sums, const int16_t *src, int ch_pad, size_t n_pixels);
typedef void eff_pool_u8_fn(int32_t *sums, const uint8_t *src, int ch_pad, size_t n_pixels);

/* ---- fully connected: squeeze-excite and head ----------------------------------------------------------------------
 */

/** acc[o] = sum over i of src[i] * wgt[o][i], s16 x s8 or s16 x s16, exact in s64. */
typedef struct EffFc {
    int in_ch, out_ch;
    int wgt_bits; /**< 8 or 16 */
    const void *packed;
} EffFc;

typedef struct EffFcKernel {
    const char *name;
    size_t (*packed_bytes)(int in_ch, int out_ch, int wgt_bits);
    /** wgt: [out_ch][in_ch], int8_t or int16_t, without the lowest value. packed: 64-byte aligned. */
    void (*pack)(void *packed, const void *wgt, int in_ch, int out_ch, int wgt_bits);
    /**
     * Outputs [out_begin, out_end), bounds that are multiples of 16 or out_ch. src: [eff_param_pad(in_ch)], of which
     * the values from in_ch on are read and do not matter. acc: [eff_ch_pad(out_ch)], indexed by output; the padding
     * after out_ch becomes 0.
     */
    void (*run)(const EffFc *op, const int16_t *src, int64_t *acc, int out_begin, int out_end);
} EffFcKernel;

EffStatus eff_fc_check(const EffFc *op, const void *wgt);

/**
 * Epilogue of the two layers of squeeze-excite.
 *
 *   y = mulhrs(shls16(sat16((acc[o] + bias[o]) >> shift[o]), pre_shift), mult[o])
 *   dst[o] = act(y) with kind ACT; without a sigmoid, y with kind S16; with one, its gate (eff_gate()), Q15
 *
 * Writes eff_param_pad(out_ch) values, 0 from out_ch on.
 */
typedef struct EffFcEpilogue {
    int out_ch;
    EffEpilogue epi;       /**< kind S16 or ACT */
    const EffAct *sigmoid; /**< INTERP tables of sigma(-a), Q15; or NULL */
} EffFcEpilogue;
typedef void eff_fc_epilogue_fn(const EffFcEpilogue *op, const int64_t *acc, int16_t *dst);

/** y < 0 ? v : min(32767, 32768 - v), where v = interp(y) is about 2^15 sigma(-|y|): sigma(y) in Q15. */
static inline int16_t eff_gate(const EffAct *sigmoid, int16_t y)
{
    const int16_t v = eff_act_interp(sigmoid, y);
    return y < 0 ? v : eff_sat16(32768 - (int64_t)v);
}

/** mult[c] = mulhrs(gate[c], omult[c]), the multiplier of eff_quant_fn; n values. */
void eff_gate_mult(int16_t *mult, const int16_t *gate, const int16_t *omult, int n);

/** logits[o] = (float)acc[o] * scale[o] + bias[o], two roundings after that of the conversion, no contraction. */
void eff_head_logits(float *logits, const int64_t *acc, const float *scale, const float *bias, int n);

/**
 * Mean of n_positions sums, with `frac_bits` more fraction bits than the summed values:
 *
 *   mean[c] = sat16((sums[c] * mult + 2^39) >> 40),  mult = eff_pool_mult(n_positions, frac_bits)
 *
 * |sums| <= 2^15 n_positions, so that the product stays below 2^63. Writes eff_param_pad(n_ch) values, 0 from n_ch on.
 */
void eff_pool_mean(int16_t *mean, const int64_t *sums, int n_ch, int64_t mult);

/** round(2^(40 + frac_bits) / n_positions), halves up; n_positions in 1..2^31 - 1, frac_bits in 0..7. */
int64_t eff_pool_mult(int64_t n_positions, int frac_bits);

/* ---- the table ----------------------------------------------------------------------------------------------------
 */

/** n_ops times 64 u8 x s8 multiply-accumulates at the machine's peak rate, a multiple of 12: what others are measured
 * against. */
typedef void eff_peak_fn(long n_ops);

typedef struct EffKernels {
    EffPwKernel pw_u8s8;
    EffDwKernel dw_u8s8;
    eff_dw_s16_fn *dw_s16;
    EffFcKernel fc_s16;
    eff_fc_epilogue_fn *fc_epilogue;
    eff_quant_fn *quant_s16u8;
    eff_add_s16_fn *add_s16;
    eff_pool_s16_fn *pool_s16;
    eff_pool_u8_fn *pool_u8;
    eff_peak_fn *peak; /**< NULL at levels without dot products */
    EffKernelsF32 f32;
} EffKernels;

/** Fill the table for a CPU: what eff_cpu_detect() found, less what the user masked. Constant afterwards. */
void eff_kernels_init(EffKernels *k, unsigned cpu);

#endif
