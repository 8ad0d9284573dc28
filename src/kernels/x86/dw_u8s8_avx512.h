/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution on row quads, AVX-512 VNNI: the body of the avx512vnni and avx512vbmi kernels. 16 channels a
 * vector; a dword is four rows of a channel, so one vpdpbusd takes four rows of a column of the window.
 *
 * A step reads quads q0, q1 (and mid = rows 2, 3 of q0 and 0, 1 of q1) and makes 4 / stride output rows of up to four
 * columns. Weight vectors of one column of the window, as the bytes of their dwords (w0 is the top row):
 *
 *   3x3 s1   row 0: q0 (w0 w1 w2 0)    row 1: q0 (0 w0 w1 w2)    rows 2, 3: mid, the same two
 *   3x3 s2   row 0: q0 (w0 w1 w2 0)    row 1: mid, the same
 *   5x5 s1   row r: q0 (r zeros, w0 ..) and q1 (what remains)
 *   5x5 s2   row 0: q0 (w0 w1 w2 w3), q1 (w4 0 0 0)    row 1: mid (w0 w1 w2 w3), q1 (0 0 w4 0)
 *
 * Packed weights: [channels / 16][column][vectors a column][16][4].
 */
#ifndef EFF_KERNELS_X86_DW_U8S8_AVX512_H
#define EFF_KERNELS_X86_DW_U8S8_AVX512_H

#include "kernels/levels.h"
#include "kernels/table.h"
#include "kernels/x86/dpbusd_avx512.h"
#include "kernels/x86/epilogue_avx512.h"

#include <assert.h>
#include <string.h>

enum { TILE_COLS = 4, MAX_ROWS = 4, VECTOR_BYTES = 64 };

static int dw_vectors(int kernel, int stride)
{
    return kernel == 5 ? (stride == 1 ? 8 : 3) : (stride == 1 ? 2 : 1);
}

static size_t dw_packed_bytes(int channels, int kernel, int stride)
{
    if (kernel == 7)
        return eff_dw_u8s8_c.packed_bytes(channels, kernel, stride);
    return (size_t)eff_ch_pad(channels) * 4 * (size_t)(kernel * dw_vectors(kernel, stride));
}

/* The window row whose weight stands in byte `byte` of vector `v`; outside 0..kernel - 1 for none. */
static int dw_window_row(int kernel, int stride, int v, int byte)
{
    if (kernel == 3)
        return byte - v;
    if (stride == 1)
        return (v % 2 == 0 ? byte : 4 + byte) - v / 2; /* row v / 2, quad v % 2 */
    return v == 0 ? byte : v == 1 ? 4 + byte : byte == 2 ? 4 : -1;
}

static void dw_pack(void *packed, const int8_t *wgt, int channels, int kernel, int stride)
{
    if (kernel == 7) {
        eff_dw_u8s8_c.pack(packed, wgt, channels, kernel, stride);
        return;
    }
    const int n_vec = dw_vectors(kernel, stride);
    int8_t *to = packed;
    for (int c = 0; c < eff_ch_pad(channels); c += 16) {
        for (int i = 0; i < kernel * n_vec * VECTOR_BYTES; i++) {
            const int column = i / VECTOR_BYTES / n_vec, v = i / VECTOR_BYTES % n_vec;
            const int ch = c + i % VECTOR_BYTES / 4, row = dw_window_row(kernel, stride, v, i % 4);
            const bool used = ch < channels && row >= 0 && row < kernel;
            *to++ = used ? wgt[(ch * kernel + row) * kernel + column] : 0;
        }
    }
}

/* One step at one block of channels: accumulators [row][column]. */
static EFF_ALWAYS_INLINE void dw_3x3s1(Z acc[MAX_ROWS][TILE_COLS], const uint8_t *q0, const uint8_t *q1, size_t column,
                                       const int8_t *wgt, int n_cols)
{
    Z w[3][2];
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++) {
        w[k][0] = _mm512_load_si512(wgt + (2 * k) * VECTOR_BYTES);
        w[k][1] = _mm512_load_si512(wgt + (2 * k + 1) * VECTOR_BYTES);
    }
#pragma GCC unroll 6
    for (int x = 0; x < n_cols + 2; x++) {
        const Z top = _mm512_loadu_si512(q0 + (size_t)x * column);
        const Z mid = middle_quad(top, _mm512_loadu_si512(q1 + (size_t)x * column));
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) {
            if (x < k || x - k >= n_cols)
                continue;
            acc[0][x - k] = dpbusd(acc[0][x - k], top, w[k][0]);
            acc[1][x - k] = dpbusd(acc[1][x - k], top, w[k][1]);
            acc[2][x - k] = dpbusd(acc[2][x - k], mid, w[k][0]);
            acc[3][x - k] = dpbusd(acc[3][x - k], mid, w[k][1]);
        }
    }
}

static EFF_ALWAYS_INLINE void dw_3x3s2(Z acc[MAX_ROWS][TILE_COLS], const uint8_t *q0, const uint8_t *q1, size_t column,
                                       const int8_t *wgt, int n_cols)
{
    Z w[3];
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++)
        w[k] = _mm512_load_si512(wgt + k * VECTOR_BYTES);
#pragma GCC unroll 9
    for (int x = 0; x < 2 * n_cols + 1; x++) {
        const Z top = _mm512_loadu_si512(q0 + (size_t)x * column);
        const Z mid = middle_quad(top, _mm512_loadu_si512(q1 + (size_t)x * column));
#pragma GCC unroll 3
        for (int k = x % 2; k < 3; k += 2) {
            if (x < k || x - k >= 2 * n_cols)
                continue;
            acc[0][(x - k) / 2] = dpbusd(acc[0][(x - k) / 2], top, w[k]);
            acc[1][(x - k) / 2] = dpbusd(acc[1][(x - k) / 2], mid, w[k]);
        }
    }
}

/* Columns of the window outermost: each weight vector is used for all columns of the tile. */
static EFF_ALWAYS_INLINE void dw_5x5s1(Z acc[MAX_ROWS][TILE_COLS], const uint8_t *q0, const uint8_t *q1, size_t column,
                                       const int8_t *wgt, int n_cols)
{
#pragma GCC unroll 5
    for (int k = 0; k < 5; k++) {
#pragma GCC unroll 2
        for (int quad = 0; quad < 2; quad++) {
            const uint8_t *q = (quad ? q1 : q0) + (size_t)k * column;
            Z d[TILE_COLS];
#pragma GCC unroll 4
            for (int x = 0; x < n_cols; x++)
                d[x] = _mm512_loadu_si512(q + (size_t)x * column);
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++) {
                const Z w = _mm512_load_si512(wgt + ((k * 4 + r) * 2 + quad) * VECTOR_BYTES);
#pragma GCC unroll 4
                for (int x = 0; x < n_cols; x++)
                    acc[r][x] = dpbusd(acc[r][x], d[x], w);
            }
        }
    }
}

static EFF_ALWAYS_INLINE void dw_5x5s2(Z acc[MAX_ROWS][TILE_COLS], const uint8_t *q0, const uint8_t *q1, size_t column,
                                       const int8_t *wgt, int n_cols)
{
#pragma GCC unroll 5
    for (int k = 0; k < 5; k++) {
        const Z w = _mm512_load_si512(wgt + (3 * k) * VECTOR_BYTES);
        const Z last0 = _mm512_load_si512(wgt + (3 * k + 1) * VECTOR_BYTES);
        const Z last1 = _mm512_load_si512(wgt + (3 * k + 2) * VECTOR_BYTES);
#pragma GCC unroll 4
        for (int x = 0; x < n_cols; x++) {
            const Z top = _mm512_loadu_si512(q0 + (size_t)(2 * x + k) * column);
            const Z bottom = _mm512_loadu_si512(q1 + (size_t)(2 * x + k) * column);
            acc[0][x] = dpbusd(acc[0][x], top, w);
            acc[1][x] = dpbusd(acc[1][x], middle_quad(top, bottom), w);
            acc[0][x] = dpbusd(acc[0][x], bottom, last0);
            acc[1][x] = dpbusd(acc[1][x], bottom, last1);
        }
    }
}

/* Sums over the pixels of a tile row, added to 16 s32 in channel order: interleaving pixels 0 with 2 and 1 with 3
 * brings the two words of a channel into one dword. */
static EFF_ALWAYS_INLINE void pool_words(Z sum[2], Words y, int n_cols)
{
    const Z none = _mm512_setzero_si512(), one = _mm512_set1_epi16(1);
    const Z p01 = n_cols > 1 ? y.p01 : _mm512_mask_mov_epi64(y.p01, 0xaa, none);
    const Z p23 = n_cols > 3 ? y.p23 : n_cols > 2 ? _mm512_mask_mov_epi64(y.p23, 0xaa, none) : none;
    sum[0] = _mm512_dpwssd_epi32(sum[0], _mm512_unpacklo_epi16(p01, p23), one);
    sum[1] = _mm512_dpwssd_epi32(sum[1], _mm512_unpackhi_epi16(p01, p23), one);
}

typedef struct Tile {
    const EffDw *op;
    const EffDwIo *io;
    const Shared *shared;
    const uint8_t *q0, *q1; /* quads at the tile's first input column */
    size_t column;          /* bytes from column to column */
    size_t line;            /* values from output row to output row */
    int n_rows;             /* rows that are stored */
    Pixels to;              /* the tile's first row */
} Tile;

static EFF_ALWAYS_INLINE void dw_store(const Tile *t, Mode mode, int rows, int n_cols, int c, int32_t *pool,
                                       Z acc[MAX_ROWS][TILE_COLS])
{
    const EffEpilogue *e = &t->op->epi;
    const Channels ch = mode == MODE_CLAMP ? load_channels(e, mode, c, true, ORDER_PAIRS)
                                           : load_channels(e, mode, c, t->to.u8 != NULL, ORDER_PIXELS);
    Z sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    Pixels to = t->to;
    to.n = n_cols;
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        if (r >= t->n_rows)
            break;
        if (mode == MODE_CLAMP) {
            store_u8_p4c16(&to, c, epilogue_p4c16(t->shared, &ch, mode, acc[r]));
        } else {
            const Words y = epilogue_words(t->shared, &ch, mode, acc[r]);
            store_words(t->shared, &ch, &to, c, y);
            if (pool)
                pool_words(sum, y, n_cols);
        }
        to.u8 = to.u8 ? to.u8 + t->line : NULL;
        to.s16 = to.s16 ? to.s16 + t->line : NULL;
    }
    if (mode != MODE_CLAMP && pool) {
        const Z old = _mm512_loadu_si512(pool + c);
        _mm512_storeu_si512(pool + c, _mm512_add_epi32(old, _mm512_add_epi32(sum[0], sum[1])));
    }
}

static EFF_ALWAYS_INLINE void dw_tile(const Tile *t, Mode mode, int kernel, int stride, int n_cols)
{
    const int rows = 4 / stride, block_bytes = kernel * dw_vectors(kernel, stride) * VECTOR_BYTES;
    const int ch_begin = t->io->ch_begin, ch_end = t->io->ch_end;
    const int8_t *wgt = (const int8_t *)t->op->packed + (size_t)(ch_begin / 16) * (size_t)block_bytes;
    const int32_t *bias = t->op->epi.bias;
    int32_t *pool = t->io->pool;
    const uint8_t *q0 = t->q0, *q1 = t->q1;
    for (int c = ch_begin; c < ch_end; c += 16, wgt += block_bytes, q0 += 64, q1 += 64) {
        const Z b = _mm512_loadu_si512(bias + c);
        Z acc[MAX_ROWS][TILE_COLS];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
            for (int x = 0; x < TILE_COLS; x++)
                acc[r][x] = b;
        }
        if (kernel == 3 && stride == 1)
            dw_3x3s1(acc, q0, q1, t->column, wgt, n_cols);
        else if (kernel == 3)
            dw_3x3s2(acc, q0, q1, t->column, wgt, n_cols);
        else if (stride == 1)
            dw_5x5s1(acc, q0, q1, t->column, wgt, n_cols);
        else
            dw_5x5s2(acc, q0, q1, t->column, wgt, n_cols);
        dw_store(t, mode, rows, n_cols, c, pool, acc);
    }
}

static EFF_ALWAYS_INLINE void dw_rows(const EffDw *op, const EffDwIo *io, Mode mode, int kernel, int stride)
{
    const Shared shared = load_shared(&op->epi, mode);
    const int rows = 4 / stride;
    const size_t quad = eff_quads_stride(io->quads), ch = (size_t)eff_ch_pad(op->channels);
    Tile t = {
        .op = op,
        .io = io,
        .shared = &shared,
        .column = (size_t)io->quads->ch_stride * 4,
        .line = (size_t)io->out_cols * ch,
        .to = {.stride = ch},
    };
    for (int y = io->row_begin; y < io->row_end; y += rows) {
        const uint8_t *src = io->src + (size_t)((y - io->row_begin) / rows) * quad;
        t.n_rows = io->row_end - y < rows ? io->row_end - y : rows;
        for (int x = 0; x < io->out_cols;) {
            const int left = io->out_cols - x;
            const size_t at = (size_t)(y - io->row_begin) * t.line + (size_t)x * ch;
            t.q0 = src + (size_t)(x * stride) * t.column;
            t.q1 = t.q0 + quad;
            t.to.u8 = io->dst_u8 ? io->dst_u8 + at : NULL;
            t.to.s16 = mode != MODE_CLAMP && io->dst_s16 ? io->dst_s16 + at : NULL;
            if (left >= 4) {
                dw_tile(&t, mode, kernel, stride, 4);
                x += 4;
            } else if (left == 3) {
                dw_tile(&t, mode, kernel, stride, 3);
                x += 3;
            } else if (left == 2) {
                dw_tile(&t, mode, kernel, stride, 2);
                x += 2;
            } else {
                dw_tile(&t, mode, kernel, stride, 1);
                x += 1;
            }
        }
    }
}

static EFF_ALWAYS_INLINE void dw_windows(const EffDw *op, const EffDwIo *io, Mode mode)
{
    if (op->kernel == 3 && op->stride == 1)
        dw_rows(op, io, mode, 3, 1);
    else if (op->kernel == 3)
        dw_rows(op, io, mode, 3, 2);
    else if (op->stride == 1)
        dw_rows(op, io, mode, 5, 1);
    else
        dw_rows(op, io, mode, 5, 2);
}

static EFF_NOINLINE void dw_clamp(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_CLAMP);
}

static EFF_NOINLINE void dw_linear(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_LINEAR);
}

static EFF_NOINLINE void dw_stair(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_STAIR);
}

static EFF_NOINLINE void dw_interp(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_INTERP);
}

static void dw_run(const EffDw *op, const EffDwIo *io)
{
    assert(io->row_begin % (4 / op->stride) == 0 && io->ch_end - io->ch_begin <= io->quads->ch_stride);
    if (op->kernel == 7) {
        eff_dw_u8s8_c.run(op, io);
        return;
    }
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: dw_clamp(op, io); break;
    case MODE_LINEAR: dw_linear(op, io); break;
    case MODE_STAIR: dw_stair(op, io); break;
    case MODE_INTERP: dw_interp(op, io); break;
    }
}

#endif
