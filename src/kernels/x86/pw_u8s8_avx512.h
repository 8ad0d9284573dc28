/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointwise convolution on AVX-512 VNNI: the body of the avx512vnni and avx512vbmi kernels, which differ in their
 * lookups.
 *
 * Microkernel: 24 accumulators; a dword of four input channels of a pixel is broadcast against 16 output channels.
 * Usually 12 pixels by 32 channels: three groups of four pixels, in NHWC four neighbours, in row quads four rows of a
 * column, whose bytes vpackuswb brings together. Other shapes of the same body:
 *
 *   8 x 48       where the channels end in 48: 32 + 16 would load 13 operands for 12 products
 *   13 x 32      where 13 pixels remain (squares of odd numbers are 1 or 9 modulo 12)
 *   3 rows x 3   9 pixels; 3 rows x 4 and 2 rows x 6 for quads that the image does not fill
 *
 * Packed weights: blocks of 32 output channels, [in_ch / 4][width][4]; the last block may be 16 or 48 wide. Channels
 * beyond in_ch and out_ch are 0.
 */
#ifndef EFF_KERNELS_X86_PW_U8S8_AVX512_H
#define EFF_KERNELS_X86_PW_U8S8_AVX512_H

#include "kernels/table.h"
#include "kernels/x86/dpbusd_avx512.h"
#include "kernels/x86/quads_avx512.h"

#include <assert.h>
#include <string.h>

enum {
    MAX_GROUPS = 6,
    BLOCK_CH = 32,           /* output channels a block */
    WIDE_CH = 48,            /* of the last block, where it is not 16 or 32 */
    SRC_BLOCK_BYTES = 24576, /* pixels that are kept in L1 while the weights pass by */
};

static size_t pw_packed_bytes(int in_ch, int out_ch)
{
    return (size_t)eff_ch_pad(out_ch) * (((size_t)in_ch + 3) / 4 * 4);
}

/* Width of the block that starts at channel c. */
static int pw_block_width(int out_ch, int c)
{
    const int left = eff_ch_pad(out_ch) - c;
    return left < BLOCK_CH || left == WIDE_CH ? left : BLOCK_CH;
}

/* Where the block that starts at channel c lies. */
static size_t pw_block_at(int in_ch, int c)
{
    return (size_t)c * (((size_t)in_ch + 3) / 4 * 4);
}

static void pw_pack(void *packed, const int8_t *wgt, int in_ch, int out_ch)
{
    memset(packed, 0, pw_packed_bytes(in_ch, out_ch));
    for (int c = 0, width; c < eff_ch_pad(out_ch); c += width) {
        width = pw_block_width(out_ch, c);
        int8_t *block = (int8_t *)packed + pw_block_at(in_ch, c);
        for (int o = c; o < c + width && o < out_ch; o++) {
            for (int i = 0; i < in_ch; i++)
                block[(size_t)(i / 4 * width + (o - c)) * 4 + (size_t)(i % 4)] =
                    wgt[(size_t)o * (size_t)in_ch + (size_t)i];
        }
    }
}

/* Weights of some channels of a block. */
typedef struct Weights {
    const int8_t *at;
    size_t step; /* bytes from four input channels to the next */
    int n_steps;
} Weights;

static inline Weights pw_weights(const EffPw *op, int block, int c)
{
    return (Weights){(const int8_t *)op->packed + pw_block_at(op->in_ch, block) + (c - block) * 4,
                     (size_t)pw_block_width(op->out_ch, block) * 4, (op->in_ch + 3) / 4};
}

/* What a tile reads: pixel r of group g is at row[r] + g * step. */
typedef struct Source {
    const uint8_t *row[4];
    size_t step;
} Source;

/* The shape of a tile, always constant: groups of `rows` pixels, 16-channel vectors, and one more pixel in group 3. */
typedef struct Shape {
    int rows, groups, vectors;
    bool extra;
} Shape;

static EFF_ALWAYS_INLINE bool in_tile(Shape s, int g, int r)
{
    return g < s.groups ? r < s.rows : s.extra && g == s.groups && r == 0;
}

typedef Z Acc[MAX_GROUPS][MAX_VECTORS][4];

static EFF_ALWAYS_INLINE Z broadcast4(const uint8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

/*
 * acc[g][n][r] of the pixels in the tile; others are not written. With `park` the sums leave through memory: GCC
 * otherwise spills accumulators inside the loop, to the profit of a long epilogue after it
 * (tests/kcheck/check_objects.py watches).
 */
static EFF_ALWAYS_INLINE void tile_gemm(Acc acc, const Source *src, Weights w, const int32_t *const bias[4],
                                        bool one_bias, Shape s, bool park)
{
    const uint8_t *a0 = src->row[0], *a1 = src->row[1], *a2 = src->row[2], *a3 = src->row[3];
    const size_t step = src->step;
    Acc z;
#pragma GCC unroll 3
    for (int n = 0; n < s.vectors; n++) {
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            const Z b = _mm512_loadu_si512(bias[one_bias ? 0 : r] + 16 * n);
#pragma GCC unroll 6
            for (int g = 0; g < MAX_GROUPS; g++) {
                if (in_tile(s, g, r))
                    z[g][n][r] = b;
            }
        }
    }
    for (int k = 0; k < w.n_steps; k++) {
        const Z w0 = _mm512_load_si512(w.at), w1 = s.vectors > 1 ? _mm512_load_si512(w.at + 64) : w0;
        const Z w2 = s.vectors > 2 ? _mm512_load_si512(w.at + 128) : w0;
#pragma GCC unroll 6
        for (int g = 0; g < MAX_GROUPS; g++) {
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++) {
                if (!in_tile(s, g, r))
                    continue;
                const Z v = broadcast4((r == 0 ? a0 : r == 1 ? a1 : r == 2 ? a2 : a3) + (size_t)g * step);
                z[g][0][r] = dpbusd(z[g][0][r], v, w0);
                if (s.vectors > 1)
                    z[g][1][r] = dpbusd(z[g][1][r], v, w1);
                if (s.vectors > 2)
                    z[g][2][r] = dpbusd(z[g][2][r], v, w2);
            }
        }
        w.at += w.step;
        a0 += 4;
        a1 += 4;
        a2 += 4;
        a3 += 4;
    }
#pragma GCC unroll 6
    for (int g = 0; g < MAX_GROUPS; g++) {
#pragma GCC unroll 3
        for (int n = 0; n < MAX_VECTORS; n++) {
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++) {
                if (n < s.vectors && in_tile(s, g, r))
                    acc[g][n][r] = z[g][n][r];
            }
        }
    }
    if (park)
        __asm__ volatile("" : : "r"(acc) : "memory");
}

/* Four pixels of a tile for the epilogue, 0 where the tile has none. */
static EFF_ALWAYS_INLINE Four four_pixels(const Acc acc, Shape s, int g, int n)
{
    Four f;
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
        f.px[r] = in_tile(s, g, r) ? acc[g][n][r] : _mm512_setzero_si512();
    return f;
}

/* A block of channels of an NHWC call. */
typedef struct Nhwc {
    const EffPwIo *io;
    Shared *shared;
    Weights wgt;
    const int32_t *bias; /* at channel c */
    int c;
    size_t stride;
    EffFetch *ahead; /* a tick a tile */
    Channels ch[MAX_VECTORS];
} Nhwc;

static EFF_ALWAYS_INLINE void store_group(const Nhwc *b, Mode mode, const Pixels *to, const Acc acc, Shape s, int g)
{
    Four f[MAX_VECTORS];
#pragma GCC unroll 3
    for (int n = 0; n < s.vectors; n++)
        f[n] = four_pixels(acc, s, g, n);
    store_fours(b->shared, b->ch, mode, to, b->c, f, s.vectors);
}

/* Pixels p ..: s.groups groups of s.rows, of which the last has n_last. */
static EFF_ALWAYS_INLINE void tile_nhwc(const Nhwc *b, Mode mode, size_t p, Shape s, int n_last)
{
    const EffPwIo *io = b->io;
    const size_t at = p * b->stride, group = (size_t)s.rows * b->stride;
    const int32_t *const biases[4] = {b->bias, b->bias, b->bias, b->bias};
    Acc acc;
    Source src = {.step = (size_t)s.rows * io->src_stride};
    for (int r = 0; r < 4; r++) {
        const int row = s.groups > 1 || r < n_last ? r : n_last - 1;
        src.row[r] = io->src + (p + (size_t)row) * io->src_stride;
    }
    eff_fetch_tick(b->ahead);
    tile_gemm(acc, &src, b->wgt, biases, true, s, mode != MODE_CLAMP);
    /* Nor may a limit of the epilogue keep a register through the loop: from here on it is read from memory. */
    if (mode == MODE_LINEAR)
        __asm__ volatile("" : "+m"(b->shared->ceiling));
    Pixels to = {
        .u8 = io->dst_u8 ? io->dst_u8 + at : NULL,
        .s16 = mode != MODE_CLAMP && io->dst_s16 ? io->dst_s16 + at : NULL,
        .residual = mode == MODE_LINEAR && io->residual ? io->residual + at : NULL,
        .s32 = mode == MODE_RAW ? io->dst_s32 + at : NULL,
        .stride = b->stride,
    };
#pragma GCC unroll 6
    for (int g = 0; g < s.groups + s.extra; g++) {
        to.n = g >= s.groups ? 1 : g < s.groups - 1 ? s.rows : n_last;
        store_group(b, mode, &to, (const Z(*)[MAX_VECTORS][4])acc, s, g);
        to.u8 = to.u8 ? to.u8 + group : NULL;
        to.s16 = to.s16 ? to.s16 + group : NULL;
        to.s32 = to.s32 ? to.s32 + group : NULL;
        to.residual = to.residual ? to.residual + group : NULL;
    }
}

static EFF_ALWAYS_INLINE void pixels_32(const Nhwc *b, Mode mode, size_t p, size_t end, int vectors)
{
    while (p < end) {
        const size_t left = end - p;
        if (left == 13 && vectors == 2) {
            tile_nhwc(b, mode, p, (Shape){4, 3, vectors, true}, 4);
            p += 13;
        } else if (left >= 12) {
            tile_nhwc(b, mode, p, (Shape){4, 3, vectors, false}, 4);
            p += 12;
        } else if (left == 9) {
            tile_nhwc(b, mode, p, (Shape){3, 3, vectors, false}, 3);
            p += 9;
        } else if (left >= 8) {
            tile_nhwc(b, mode, p, (Shape){4, 2, vectors, false}, 4);
            p += 8;
        } else {
            const size_t n = left < 4 ? left : 4;
            tile_nhwc(b, mode, p, (Shape){4, 1, vectors, false}, (int)n);
            p += n;
        }
    }
}

static EFF_ALWAYS_INLINE void pixels_48(const Nhwc *b, Mode mode, size_t p, size_t end)
{
    while (p < end) {
        const size_t left = end - p, n = left < 4 ? left : 4;
        if (left >= 8) {
            tile_nhwc(b, mode, p, (Shape){4, 2, 3, false}, 4);
            p += 8;
        } else {
            tile_nhwc(b, mode, p, (Shape){4, 1, 3, false}, (int)n);
            p += n;
        }
    }
}

static EFF_ALWAYS_INLINE void run_nhwc(const EffPw *op, const EffPwIo *io, Mode mode)
{
    Shared shared = load_shared(&op->epi, mode);
    const int n_ch = eff_ch_pad(op->out_ch);
    const int32_t *bias = io->bias ? io->bias : op->epi.bias;
    size_t block = SRC_BLOCK_BYTES / io->src_stride / 12 * 12;
    block = block < 24 ? 24 : block;
    EffFetch ahead = eff_fetch_begin(io->ahead, (io->n_pixels + 11) / 12 * (size_t)((n_ch + BLOCK_CH - 1) / BLOCK_CH));
    for (size_t p = 0, end; p < io->n_pixels; p = end) {
        /* No short last block: it would read all weights again for little work. */
        end = io->n_pixels - p < block + block / 2 ? io->n_pixels : p + block;
        for (int c = 0, width; c < n_ch; c += width) {
            width = pw_block_width(op->out_ch, c);
            Nhwc b = {.io = io,
                      .shared = &shared,
                      .wgt = pw_weights(op, c, c),
                      .bias = bias + c,
                      .c = c,
                      .stride = (size_t)n_ch,
                      .ahead = &ahead};
            for (int n = 0; n < width / 16 && mode != MODE_RAW; n++)
                b.ch[n] = load_channels(&op->epi, mode, c + 16 * n, mode == MODE_CLAMP || io->dst_u8 != NULL,
                                        mode == MODE_CLAMP ? ORDER_PAIRS : ORDER_PIXELS);
            if (width == BLOCK_CH)
                pixels_32(&b, mode, p, end, 2);
            else if (width == WIDE_CH)
                pixels_48(&b, mode, p, end);
            else
                pixels_32(&b, mode, p, end, 1);
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

static EFF_NOINLINE void nhwc_stair(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_STAIR);
}

static EFF_NOINLINE void nhwc_interp(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_INTERP);
}

static EFF_NOINLINE void nhwc_raw(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_RAW);
}

static void pw_run(const EffPw *op, const EffPwIo *io)
{
    assert(io->src_stride >= (size_t)(op->in_ch + 3) / 4 * 4);
    assert(io->residual == NULL || op->epi.kind == EFF_OUT_S16);
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: nhwc_clamp(op, io); break;
    case MODE_LINEAR: nhwc_linear(op, io); break;
    case MODE_STAIR: nhwc_stair(op, io); break;
    case MODE_INTERP: nhwc_interp(op, io); break;
    case MODE_RAW: nhwc_raw(op, io); break;
    }
}

/*
 * A block of channels of one quad. Rows [first, first + rows) of the quad are computed, two at least; those of them in
 * `inside` are in the image, all others receive zero[c].
 */
typedef struct Quad {
    const Shared *shared;
    Weights wgt;
    Source src;             /* image column 0 of the computed rows */
    const int32_t *bias[4]; /* at channel c */
    uint8_t *dst;           /* image column 0, channel c */
    size_t column;          /* bytes a column */
    Z turn;                 /* bytes of P4C16 to row quads, the computed rows to their places */
    __mmask64 inside;
    EffFetch *ahead; /* a tick a tile */
    Channels ch[MAX_VECTORS];
    Z zero[MAX_VECTORS]; /* zero points as row quads */
} Quad;

static EFF_ALWAYS_INLINE void tile_quads(const Quad *q, Mode mode, int x, Shape s)
{
    Acc acc;
    Source src = {.step = q->src.step};
    for (int r = 0; r < 4; r++)
        src.row[r] = q->src.row[r] + (size_t)x * q->src.step;
    eff_fetch_tick(q->ahead);
    tile_gemm(acc, &src, q->wgt, q->bias, false, s, mode != MODE_CLAMP || s.rows < 4);
    uint8_t *dst = q->dst + (size_t)x * q->column;
#pragma GCC unroll 6
    for (int g = 0; g < s.groups; g++, dst += q->column) {
#pragma GCC unroll 3
        for (int n = 0; n < s.vectors; n++) {
            const Four f = four_pixels((const Z(*)[MAX_VECTORS][4])acc, s, g, n);
            Z rows = _mm512_shuffle_epi8(epilogue_p4c16(q->shared, &q->ch[n], mode, f.px), q->turn);
            if (s.rows < 4)
                rows = _mm512_mask_mov_epi8(q->zero[n], q->inside, rows);
            _mm512_storeu_si512(dst + 64 * n, rows);
        }
    }
}

/* Columns [x, end): tiles of `groups`, then of two, then of one. */
static EFF_ALWAYS_INLINE void quad_columns(const Quad *q, Mode mode, int x, int end, int rows, int groups, int vectors)
{
    for (; end - x >= groups; x += groups)
        tile_quads(q, mode, x, (Shape){rows, groups, vectors, false});
    for (; end - x >= 2; x += 2)
        tile_quads(q, mode, x, (Shape){rows, 2, vectors, false});
    if (x < end)
        tile_quads(q, mode, x, (Shape){rows, 1, vectors, false});
}

static EFF_ALWAYS_INLINE void quad_rows(const Quad *q, Mode mode, int x, int end, int rows, int vectors)
{
    if (vectors == 3)
        quad_columns(q, mode, x, end, rows, rows == 2 ? 3 : 2, 3);
    else if (vectors == 2)
        quad_columns(q, mode, x, end, rows, 12 / rows, 2);
    else
        quad_columns(q, mode, x, end, rows, 12 / rows, 1);
}

/* The block that channel c belongs to. */
static int pw_block_of(int out_ch, int c)
{
    const int n = eff_ch_pad(out_ch), wide = n - WIDE_CH;
    return n % BLOCK_CH != 0 && wide >= 0 && c >= wide ? wide : c / BLOCK_CH * BLOCK_CH;
}

/* One quad, all channels; `from` has the rows that are computed, and biases and dst at channel 0 and ch_begin. */
static EFF_ALWAYS_INLINE void quad_channels(const EffPw *op, const EffPwQuadIo *io, Mode mode, const Quad *from,
                                            int rows)
{
    for (int c = io->ch_begin, end; c < io->ch_end; c = end) {
        /* The range may cut a block of 48. */
        const int block = pw_block_of(op->out_ch, c);
        end = block + pw_block_width(op->out_ch, block);
        end = end < io->ch_end ? end : io->ch_end;
        Quad q = *from;
        q.wgt = pw_weights(op, block, c);
        q.dst += (size_t)(c - io->ch_begin) * 4;
        for (int r = 0; r < 4; r++)
            q.bias[r] += c;
        for (int n = 0; n < (end - c) / 16; n++) {
            q.ch[n] = load_channels(&op->epi, mode, c + 16 * n, true, ORDER_PAIRS);
            q.zero[n] = zero_quads(op->epi.zero + c + 16 * n);
        }
        if (end - c == WIDE_CH)
            quad_rows(&q, mode, io->col_begin, io->col_end, rows, 3);
        else if (end - c == BLOCK_CH)
            quad_rows(&q, mode, io->col_begin, io->col_end, rows, 2);
        else
            quad_rows(&q, mode, io->col_begin, io->col_end, rows, 1);
    }
}

static EFF_ALWAYS_INLINE void run_quads(const EffPw *op, const EffPwQuadIo *io, Mode mode)
{
    const EffQuads *g = io->quads;
    const Shared shared = load_shared(&op->epi, mode);
    const int first_top = 4 * io->quad_begin - g->pad_top, row0 = first_top > 0 ? first_top : 0;
    const int n_tiles = (io->quad_end - io->quad_begin) * ((io->col_end - io->col_begin + 2) / 3);
    EffFetch ahead = eff_fetch_begin(io->ahead, (size_t)(n_tiles * ((io->ch_end - io->ch_begin) / 16 + 1) / 2));
    for (int j = io->quad_begin; j < io->quad_end; j++) {
        /* Rows [lo, hi) of the quad are in the image. */
        const int top = 4 * j - g->pad_top, lo = top < 0 ? -top : 0, hi = g->rows - top < 4 ? g->rows - top : 4;
        const size_t column = (size_t)g->ch_stride * 4;
        Quad q = {
            .shared = &shared,
            .src = {.step = io->src_stride},
            .dst = io->dst + (size_t)(j - io->quad_begin) * eff_quads_stride(g) + (size_t)g->pad_left * column,
            .column = column,
            .ahead = &ahead,
        };
        if (lo >= hi) {
            zero_columns(op, io, q.dst, column);
            continue;
        }
        const int rows = hi - lo > 2 ? hi - lo : 2, first = lo < 4 - rows ? lo : 4 - rows;
        q.turn = turn_rows(first);
        for (int r = 0; r < 4; r++) {
            /* Rows outside the image are computed from a neighbour, and masked. */
            const int row = first + r < lo ? lo : first + r < hi ? first + r : hi - 1;
            q.src.row[r] = io->src + (size_t)(top + row - row0) * io->src_row_stride;
            q.bias[r] = io->row_bias ? io->row_bias[top + row - row0] : op->epi.bias;
        }
        q.inside = rows_mask(lo, hi);
        if (rows == 4)
            quad_channels(op, io, mode, &q, 4);
        else if (rows == 3)
            quad_channels(op, io, mode, &q, 3);
        else
            quad_channels(op, io, mode, &q, 2);
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
    case MODE_STAIR: quads_stair(op, io); break;
    case MODE_INTERP: quads_interp(op, io); break;
    case MODE_RAW: assert(!"quads of sums"); break;
    }
}

/* ---- The two bytes of 16-bit inputs ---- */

static EFF_ALWAYS_INLINE void join(const EffEpilogue *e, int channels, const EffJoinIo *io, Mode mode)
{
    const Shared shared = load_shared(e, mode);
    const size_t stride = (size_t)eff_ch_pad(channels);
    const Z half = _mm512_set1_epi32(128), byte = _mm512_set1_epi32(8);
    for (size_t c = 0; c < stride; c += 16) {
        const Channels ch = load_channels(e, mode, (int)c, mode == MODE_CLAMP || io->dst_u8 != NULL,
                                          mode == MODE_CLAMP ? ORDER_PAIRS : ORDER_PIXELS);
        const Z bias = _mm512_loadu_si512(e->bias + c);
        for (size_t p = 0; p < io->n_pixels; p += 4) {
            const size_t at = p * stride;
            const Pixels to = {.u8 = io->dst_u8 ? io->dst_u8 + at : NULL,
                               .s16 = mode != MODE_CLAMP && io->dst_s16 ? io->dst_s16 + at : NULL,
                               .residual = mode == MODE_LINEAR && io->residual ? io->residual + at : NULL,
                               .stride = stride,
                               .n = io->n_pixels - p < 4 ? (int)(io->n_pixels - p) : 4};
            Four f;
            for (int r = 0; r < 4; r++) {
                const size_t from = at + (r < to.n ? (size_t)r : 0) * stride + c;
                const Z lo = _mm512_srav_epi32(_mm512_add_epi32(_mm512_loadu_si512(io->lo + from), half), byte);
                f.px[r] = _mm512_add_epi32(_mm512_add_epi32(bias, _mm512_loadu_si512(io->hi + from)), lo);
            }
            if (mode == MODE_CLAMP)
                store_u8_p4c16(&to, (int)c, epilogue_p4c16(&shared, &ch, mode, f.px));
            else
                store_words(&shared, &ch, &to, (int)c, epilogue_words(&shared, &ch, mode, f.px));
        }
    }
}

static void pw_join(const EffEpilogue *e, int channels, const EffJoinIo *io)
{
    assert(io->residual == NULL || e->kind == EFF_OUT_S16);
    switch (epilogue_mode(e)) {
    case MODE_CLAMP: join(e, channels, io, MODE_CLAMP); break;
    case MODE_LINEAR: join(e, channels, io, MODE_LINEAR); break;
    case MODE_STAIR: join(e, channels, io, MODE_STAIR); break;
    case MODE_INTERP: join(e, channels, io, MODE_INTERP); break;
    case MODE_RAW: assert(!"sums of sums"); break;
    }
}

#endif
