/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointwise convolution on AVX-512 VNNI: the body of the avx512vnni and avx512vbmi kernels, which differ in their
 * lookups.
 *
 * Microkernel: 12 pixels by 32 channels, 24 accumulators; a dword of four input channels of a pixel is broadcast
 * against 16 output channels. The pixels are three groups of four: in NHWC four neighbours, in row quads four rows of a
 * column, whose bytes vpackuswb already brings together.
 *
 * Packed weights: blocks of 32 output channels, [in_ch / 4][32][4]; a last block of 16 where eff_ch_pad(out_ch) is an
 * odd multiple of 16. Channels beyond in_ch and out_ch are 0.
 */
#ifndef EFF_KERNELS_X86_PW_U8S8_AVX512_H
#define EFF_KERNELS_X86_PW_U8S8_AVX512_H

#include "kernels/table.h"
#include "kernels/x86/dpbusd_avx512.h"
#include "kernels/x86/epilogue_avx512.h"

#include <assert.h>
#include <string.h>

enum {
    TILE_GROUPS = 3,         /* of four pixels */
    BLOCK_CH = 32,           /* output channels a tile */
    SRC_BLOCK_BYTES = 24576, /* pixels that are kept in L1 while the weights pass by */
};

static size_t pw_packed_bytes(int in_ch, int out_ch)
{
    return (size_t)eff_ch_pad(out_ch) * ((size_t)in_ch + 3) / 4 * 4;
}

static int pw_block_width(int out_ch, int c)
{
    return eff_ch_pad(out_ch) - c < BLOCK_CH ? EFF_CH_ALIGN : BLOCK_CH;
}

/* Where the block of channels from c on starts. */
static size_t pw_block_at(int in_ch, int c)
{
    return (size_t)c * (((size_t)in_ch + 3) / 4 * 4);
}

static void pw_pack(void *packed, const int8_t *wgt, int in_ch, int out_ch)
{
    memset(packed, 0, pw_packed_bytes(in_ch, out_ch));
    for (int o = 0; o < out_ch; o++) {
        const int first = o / BLOCK_CH * BLOCK_CH, width = pw_block_width(out_ch, first);
        int8_t *to = (int8_t *)packed + pw_block_at(in_ch, first) + (o - first) * 4;
        for (int i = 0; i < in_ch; i++)
            to[i / 4 * width * 4 + i % 4] = wgt[(size_t)o * (size_t)in_ch + (size_t)i];
    }
}

/* What a tile reads: pixel r of group g is at row[r] + g * step. */
typedef struct Source {
    const uint8_t *row[4];
    size_t step;
} Source;

/* acc[g][n][r], n_groups x n_vec x 4 vectors. */
static EFF_ALWAYS_INLINE void tile_gemm(Z acc[TILE_GROUPS][2][4], const Source *src, const int8_t *wgt, int n_steps,
                                        const int32_t *const bias[4], bool one_bias, int n_groups, int n_vec)
{
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
#pragma GCC unroll 2
        for (int n = 0; n < n_vec; n++) {
            const Z b = _mm512_loadu_si512(bias[one_bias ? 0 : r] + 16 * n);
#pragma GCC unroll 3
            for (int g = 0; g < n_groups; g++)
                acc[g][n][r] = b;
        }
    }
    const uint8_t *a0 = src->row[0], *a1 = src->row[1], *a2 = src->row[2], *a3 = src->row[3];
    const size_t step = src->step;
    for (int k = 0; k < n_steps; k++) {
        const Z w0 = _mm512_load_si512(wgt), w1 = n_vec > 1 ? _mm512_load_si512(wgt + 64) : w0;
#pragma GCC unroll 3
        for (int g = 0; g < n_groups; g++) {
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++) {
                const uint8_t *a = (r == 0 ? a0 : r == 1 ? a1 : r == 2 ? a2 : a3) + (size_t)g * step;
                int32_t four;
                memcpy(&four, a, 4);
                const Z v = _mm512_set1_epi32(four);
                acc[g][0][r] = dpbusd(acc[g][0][r], v, w0);
                if (n_vec > 1)
                    acc[g][1][r] = dpbusd(acc[g][1][r], v, w1);
            }
        }
        wgt += 64 * n_vec;
        a0 += 4;
        a1 += 4;
        a2 += 4;
        a3 += 4;
    }
}

static EFF_ALWAYS_INLINE void tile_nhwc(const EffPw *op, Mode mode, const Source *src, Pixels to, const int32_t *bias,
                                        int c, int n_groups, int n_vec)
{
    Z acc[TILE_GROUPS][2][4];
    const int32_t *const biases[4] = {bias + c, bias + c, bias + c, bias + c};
    tile_gemm(acc, src, (const int8_t *)op->packed + pw_block_at(op->in_ch, c), (op->in_ch + 3) / 4, biases, true,
              n_groups, n_vec);
#pragma GCC unroll 3
    for (int g = 0; g < n_groups; g++) {
        if (mode == MODE_CLAMP) {
            const Z lo = epilogue_p4c16(&op->epi, mode, c, acc[g][0]);
            if (n_vec > 1)
                store_u8_two_p4c16(&to, c, lo, epilogue_p4c16(&op->epi, mode, c + 16, acc[g][1]));
            else
                store_u8_p4c16(&to, c, lo);
        } else {
#pragma GCC unroll 2
            for (int n = 0; n < n_vec; n++)
                store_words(&op->epi, &to, c + 16 * n, epilogue_words(&op->epi, mode, c + 16 * n, acc[g][n]));
        }
        to.u8 = to.u8 ? to.u8 + 4 * to.stride : NULL;
        to.s16 = to.s16 ? to.s16 + 4 * to.stride : NULL;
        to.residual = to.residual ? to.residual + 4 * to.stride : NULL;
    }
}

static EFF_ALWAYS_INLINE void nhwc_pixels(const EffPw *op, Mode mode, const EffPwIo *io, const int32_t *bias, int c,
                                          int n_vec, size_t begin, size_t end)
{
    const size_t stride = (size_t)eff_ch_pad(op->out_ch);
    for (size_t p = begin; p < end;) {
        const uint8_t *a = io->src + p * io->src_stride;
        const size_t left = end - p;
        Source src = {.step = 4 * io->src_stride};
        Pixels to = {
            .u8 = io->dst_u8 ? io->dst_u8 + p * stride : NULL,
            .s16 = mode != MODE_CLAMP && io->dst_s16 ? io->dst_s16 + p * stride : NULL,
            .residual = mode == MODE_LINEAR && io->residual ? io->residual + p * stride : NULL,
            .stride = stride,
            .n = 4,
        };
        for (size_t r = 0; r < 4; r++)
            src.row[r] = a + (r < left ? r : left - 1) * io->src_stride;
        if (left >= 12) {
            tile_nhwc(op, mode, &src, to, bias, c, 3, n_vec);
            p += 12;
        } else if (left >= 8) {
            tile_nhwc(op, mode, &src, to, bias, c, 2, n_vec);
            p += 8;
        } else {
            to.n = left < 4 ? (int)left : 4;
            tile_nhwc(op, mode, &src, to, bias, c, 1, n_vec);
            p += left < 4 ? left : 4;
        }
    }
}

static EFF_ALWAYS_INLINE void run_nhwc(const EffPw *op, const EffPwIo *io, Mode mode)
{
    const int n = eff_ch_pad(op->out_ch);
    const int32_t *bias = io->bias ? io->bias : op->epi.bias;
    size_t block = SRC_BLOCK_BYTES / io->src_stride / 12 * 12;
    block = block < 24 ? 24 : block;
    for (size_t p = 0; p < io->n_pixels; p += block) {
        const size_t end = io->n_pixels - p < block ? io->n_pixels : p + block;
        for (int c = 0; c < n; c += BLOCK_CH) {
            if (n - c >= BLOCK_CH)
                nhwc_pixels(op, mode, io, bias, c, 2, p, end);
            else
                nhwc_pixels(op, mode, io, bias, c, 1, p, end);
        }
    }
}

static EFF_NOINLINE void nhwc_clamp(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_CLAMP);
}

static EFF_NOINLINE void nhwc_linear(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_LINEAR);
}

static EFF_NOINLINE void nhwc_relu(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_RELU);
}

static EFF_NOINLINE void nhwc_stair(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_STAIR);
}

static EFF_NOINLINE void nhwc_interp(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_INTERP);
}

static void pw_run(const EffPw *op, const EffPwIo *io)
{
    assert(io->src_stride >= (size_t)(op->in_ch + 3) / 4 * 4);
    assert(io->residual == NULL || op->epi.kind == EFF_OUT_S16);
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: nhwc_clamp(op, io); break;
    case MODE_LINEAR: nhwc_linear(op, io); break;
    case MODE_RELU: nhwc_relu(op, io); break;
    case MODE_STAIR: nhwc_stair(op, io); break;
    case MODE_INTERP: nhwc_interp(op, io); break;
    }
}

/* A quad being written: rows [row_begin, row_end) of it are in the image. */
typedef struct Quad {
    uint8_t *dst;  /* image column 0, channel ch_begin */
    size_t column; /* bytes a column */
    const int32_t *bias[4];
    __mmask64 inside; /* bytes of image rows */
} Quad;

static EFF_ALWAYS_INLINE Z zero_quads(const int16_t *zero)
{
    const Z z = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)zero));
    return _mm512_mullo_epi32(z, _mm512_set1_epi32(0x01010101));
}

static EFF_ALWAYS_INLINE void tile_quads(const EffPw *op, Mode mode, const Source *src, const Quad *q, uint8_t *dst,
                                         int c, int n_groups, int n_vec)
{
    Z acc[TILE_GROUPS][2][4];
    const int32_t *const biases[4] = {q->bias[0] + c, q->bias[1] + c, q->bias[2] + c, q->bias[3] + c};
    const Z turn = _mm512_broadcast_i32x4(_mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0));
    tile_gemm(acc, src, (const int8_t *)op->packed + pw_block_at(op->in_ch, c), (op->in_ch + 3) / 4, biases, false,
              n_groups, n_vec);
#pragma GCC unroll 3
    for (int g = 0; g < n_groups; g++) {
#pragma GCC unroll 2
        for (int n = 0; n < n_vec; n++) {
            Z rows = _mm512_shuffle_epi8(epilogue_p4c16(&op->epi, mode, c + 16 * n, acc[g][n]), turn);
            if (q->inside != ~(__mmask64)0)
                rows = _mm512_mask_mov_epi8(zero_quads(op->epi.zero + c + 16 * n), q->inside, rows);
            _mm512_storeu_si512(dst + (size_t)g * q->column + 64 * n, rows);
        }
    }
}

static EFF_ALWAYS_INLINE void quad_columns(const EffPw *op, Mode mode, const Source *first, const Quad *q, int c,
                                           int ch_begin, int n_vec, int begin, int end)
{
    Source src = *first;
    for (int x = begin; x < end;) {
        uint8_t *dst = q->dst + (size_t)x * q->column + (size_t)(c - ch_begin) * 4;
        for (int r = 0; r < 4; r++)
            src.row[r] = first->row[r] + (size_t)x * first->step;
        if (end - x >= 3) {
            tile_quads(op, mode, &src, q, dst, c, 3, n_vec);
            x += 3;
        } else {
            tile_quads(op, mode, &src, q, dst, c, 1, n_vec);
            x++;
        }
    }
}

static EFF_ALWAYS_INLINE void run_quads(const EffPw *op, const EffPwQuadIo *io, Mode mode)
{
    const EffQuads *g = io->quads;
    const int first_top = 4 * io->quad_begin - g->pad_top, row0 = first_top > 0 ? first_top : 0;
    for (int j = io->quad_begin; j < io->quad_end; j++) {
        const int top = 4 * j - g->pad_top;
        const size_t column = (size_t)g->ch_stride * 4;
        Quad q = {
            .dst = io->dst + (size_t)(j - io->quad_begin) * eff_quads_stride(g) + (size_t)g->pad_left * column,
            .column = column,
        };
        Source src = {.step = io->src_stride};
        for (int r = 0; r < 4; r++) {
            /* Rows outside the image are computed from a neighbour, and masked. */
            const int y = top + r < 0 ? 0 : top + r >= g->rows ? g->rows - 1 : top + r;
            src.row[r] = y >= row0 ? io->src + (size_t)(y - row0) * io->src_row_stride : io->src;
            q.bias[r] = y >= row0 && io->row_bias ? io->row_bias[y - row0] : op->epi.bias;
            if (top + r >= 0 && top + r < g->rows)
                q.inside |= (__mmask64)0x1111111111111111 << r;
        }
        for (int c = io->ch_begin; c < io->ch_end; c += BLOCK_CH) {
            if (q.inside == 0) {
                for (int x = io->col_begin; x < io->col_end; x++) {
                    for (int v = c; v < c + BLOCK_CH && v < io->ch_end; v += 16)
                        _mm512_storeu_si512(q.dst + (size_t)x * column + (size_t)(v - io->ch_begin) * 4,
                                            zero_quads(op->epi.zero + v));
                }
            } else if (pw_block_width(op->out_ch, c) == BLOCK_CH) {
                quad_columns(op, mode, &src, &q, c, io->ch_begin, 2, io->col_begin, io->col_end);
            } else {
                quad_columns(op, mode, &src, &q, c, io->ch_begin, 1, io->col_begin, io->col_end);
            }
        }
    }
}

static EFF_NOINLINE void quads_clamp(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_CLAMP);
}

static EFF_NOINLINE void quads_linear(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_LINEAR);
}

static EFF_NOINLINE void quads_relu(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_RELU);
}

static EFF_NOINLINE void quads_stair(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_STAIR);
}

static EFF_NOINLINE void quads_interp(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_INTERP);
}

static void pw_run_quads(const EffPw *op, const EffPwQuadIo *io)
{
    assert(io->ch_begin % EFF_PARAM_ALIGN == 0 && io->ch_end - io->ch_begin <= io->quads->ch_stride);
    assert(io->ch_end % EFF_PARAM_ALIGN == 0 || io->ch_end == eff_ch_pad(op->out_ch));
    assert(io->col_begin >= 0 && io->col_end <= io->quads->cols && io->quad_end <= io->quads->n_quads);
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: quads_clamp(op, io); break;
    case MODE_LINEAR: quads_linear(op, io); break;
    case MODE_RELU: quads_relu(op, io); break;
    case MODE_STAIR: quads_stair(op, io); break;
    case MODE_INTERP: quads_interp(op, io); break;
    }
}

#endif
