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

/* 1, 3, 5, 7 and 9 times the bytes from column to column: the addresses of columns 0 to 10 are then q, or q and a
 * scaled one of them, six registers for both quads. Left to itself the compiler keeps a pointer for each column, and
 * most of them outside the general registers. */
typedef struct Multiples {
    size_t by1, by3, by5, by7, by9;
} Multiples;

static EFF_ALWAYS_INLINE size_t hidden_size(size_t n)
{
    __asm__("" : "+r"(n));
    return n;
}

static EFF_ALWAYS_INLINE const uint8_t *hidden_pointer(const uint8_t *p)
{
    __asm__("" : "+r"(p));
    return p;
}

/* A value that stays in a register: GCC 12 else makes constants anew, and loads what it has or spills it. */
static EFF_ALWAYS_INLINE Z hidden(Z z)
{
#ifndef EFF_EMULATE_AVX512
    __asm__("" : "+v"(z));
#endif
    return z;
}

static EFF_ALWAYS_INLINE Multiples multiples(size_t n)
{
    return (Multiples){hidden_size(n), hidden_size(3 * n), hidden_size(5 * n), hidden_size(7 * n), hidden_size(9 * n)};
}

static EFF_ALWAYS_INLINE size_t times(const Multiples *m, int n)
{
    const size_t odd[] = {m->by1, m->by3, m->by5, m->by7, m->by9};
    int shift = 0;
    if (n == 0)
        return 0;
    for (; n % 2 == 0; n /= 2)
        shift++;
    return odd[n / 2] << shift;
}

static EFF_ALWAYS_INLINE Z load_quad(const uint8_t *q, const Multiples *column, int x)
{
    return hidden(_mm512_loadu_si512(q + times(column, x)));
}

/* One step at one block of channels: accumulators [row][column]. */
static EFF_ALWAYS_INLINE void dw_3x3s1(Z acc[MAX_ROWS][TILE_COLS], const uint8_t *q0, const uint8_t *q1,
                                       const Multiples *column, const int8_t *wgt, int n_cols)
{
    Z w[3][2];
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++) {
        w[k][0] = _mm512_load_si512(wgt + (2 * k) * VECTOR_BYTES);
        w[k][1] = _mm512_load_si512(wgt + (2 * k + 1) * VECTOR_BYTES);
    }
#pragma GCC unroll 6
    for (int x = 0; x < n_cols + 2; x++) {
        const Z top = load_quad(q0, column, x), mid = middle_quad(top, load_quad(q1, column, x));
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

/* Two rows from q[0] and q[1]; with four rows, two more from q[1], loaded once, and q[2]. */
static EFF_ALWAYS_INLINE void dw_3x3s2(Z acc[MAX_ROWS][TILE_COLS], const uint8_t *const q[3], const Multiples *column,
                                       const int8_t *wgt, int rows, int n_cols)
{
    Z w[3];
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++)
        w[k] = _mm512_load_si512(wgt + k * VECTOR_BYTES);
#pragma GCC unroll 9
    for (int x = 0; x < 2 * n_cols + 1; x++) {
        Z top = load_quad(q[0], column, x);
#pragma GCC unroll 2
        for (int r = 0; r < rows; r += 2) {
            const Z next = load_quad(q[r / 2 + 1], column, x), mid = middle_quad(top, next);
#pragma GCC unroll 3
            for (int k = x % 2; k < 3; k += 2) {
                if (x < k || x - k >= 2 * n_cols)
                    continue;
                acc[r][(x - k) / 2] = dpbusd(acc[r][(x - k) / 2], top, w[k]);
                acc[r + 1][(x - k) / 2] = dpbusd(acc[r + 1][(x - k) / 2], mid, w[k]);
            }
            top = next;
        }
    }
}

/* Columns of the window outermost: each weight vector is used for all columns of the tile. */
static EFF_ALWAYS_INLINE void dw_5x5s1(Z acc[MAX_ROWS][TILE_COLS], const uint8_t *q0, const uint8_t *q1,
                                       const Multiples *column, const int8_t *wgt, int n_cols)
{
#pragma GCC unroll 5
    for (int k = 0; k < 5; k++) {
#pragma GCC unroll 2
        for (int quad = 0; quad < 2; quad++) {
            Z d[TILE_COLS];
#pragma GCC unroll 4
            for (int x = 0; x < n_cols; x++)
                d[x] = load_quad(quad ? q1 : q0, column, x + k);
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

/* As dw_3x3s2(). */
static EFF_ALWAYS_INLINE void dw_5x5s2(Z acc[MAX_ROWS][TILE_COLS], const uint8_t *const q[3], const Multiples *column,
                                       const int8_t *wgt, int rows, int n_cols)
{
#pragma GCC unroll 5
    for (int k = 0; k < 5; k++) {
        const Z w = _mm512_load_si512(wgt + (3 * k) * VECTOR_BYTES);
        const Z last0 = _mm512_load_si512(wgt + (3 * k + 1) * VECTOR_BYTES);
        const Z last1 = _mm512_load_si512(wgt + (3 * k + 2) * VECTOR_BYTES);
#pragma GCC unroll 4
        for (int x = 0; x < n_cols; x++) {
            Z top = load_quad(q[0], column, 2 * x + k);
#pragma GCC unroll 2
            for (int r = 0; r < rows; r += 2) {
                const Z bottom = load_quad(q[r / 2 + 1], column, 2 * x + k);
                acc[r][x] = dpbusd(acc[r][x], top, w);
                acc[r + 1][x] = dpbusd(acc[r + 1][x], middle_quad(top, bottom), w);
                acc[r][x] = dpbusd(acc[r][x], bottom, last0);
                acc[r + 1][x] = dpbusd(acc[r + 1][x], bottom, last1);
                top = bottom;
            }
        }
    }
}

/* What one run writes: u8, s16 and the pool, or sums. */
typedef enum Form { FORM_U8, FORM_S16 } Form;

/* Bytes of a value. */
static EFF_ALWAYS_INLINE size_t form_bytes(Form form)
{
    return form == FORM_U8 ? 1 : 2;
}

typedef struct Tile {
    const EffDw *op;
    const EffDwIo *io;
    const uint8_t *src; /* its first quad, at its first input column */
    size_t quad;        /* bytes from quad to quad */
    uint8_t *dst;       /* the output of its first pixel, or NULL */
    Multiples column;   /* bytes of the quads */
    size_t pixel, line; /* bytes of the output from pixel to pixel and from row to row */
    int n_rows;         /* rows that are stored */
    EffFetch *ahead;    /* a tick every 16 channels */
} Tile;

/* To be read from memory again: it is nearer than the mask and vector registers where GCC keeps what its general ones
 * cannot hold. */
static EFF_ALWAYS_INLINE const Tile *hidden_tile(const Tile *t)
{
    __asm__("" : "+r"(t));
    return t;
}

/* The epilogue takes four pixels: of one row; in tiles of two columns or one, of two rows or four. */
typedef struct Pixel {
    int row, column;
    bool stored;
} Pixel;

static EFF_ALWAYS_INLINE Pixel dw_pixel(const Tile *t, int row, int rows, int n_cols, int i)
{
    const Pixel p = n_cols > 2 ? (Pixel){.row = row, .column = i} : (Pixel){row + i / n_cols, i % n_cols, false};
    return (Pixel){p.row, p.column, p.column < n_cols && p.row < rows && p.row < t->n_rows};
}

/* Sums over four pixels, added to 16 s32 in channel order: interleaving pixels 0 with 2 and 1 with 3 brings the two
 * words of a channel into one dword. */
static EFF_ALWAYS_INLINE void pool_words(Z sum[2], Words y, const Pixel px[4], Z one)
{
    const int m01 = (px[0].stored ? 0x55 : 0) | (px[1].stored ? 0xaa : 0);
    const int m23 = (px[2].stored ? 0x55 : 0) | (px[3].stored ? 0xaa : 0);
    const Z p01 = _mm512_maskz_mov_epi64((__mmask8)m01, y.p01), p23 = _mm512_maskz_mov_epi64((__mmask8)m23, y.p23);
    sum[0] = _mm512_dpwssd_epi32(sum[0], _mm512_unpacklo_epi16(p01, p23), one);
    sum[1] = _mm512_dpwssd_epi32(sum[1], _mm512_unpackhi_epi16(p01, p23), one);
}

static EFF_ALWAYS_INLINE uint8_t *dw_at(const Tile *t, uint8_t *dst, Pixel p)
{
    return dst + (size_t)p.row * t->line + (size_t)p.column * t->pixel;
}

static EFF_ALWAYS_INLINE void dw_store_u8(const Tile *t, uint8_t *dst, const Pixel px[4], Z p4c16)
{
    const Z turn = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const Z q = _mm512_permutexvar_epi32(turn, p4c16);
    if (px[0].stored)
        _mm_storeu_si128((__m128i *)dw_at(t, dst, px[0]), _mm512_castsi512_si128(q));
    if (px[1].stored)
        _mm_storeu_si128((__m128i *)dw_at(t, dst, px[1]), _mm512_extracti32x4_epi32(q, 1));
    if (px[2].stored)
        _mm_storeu_si128((__m128i *)dw_at(t, dst, px[2]), _mm512_extracti32x4_epi32(q, 2));
    if (px[3].stored)
        _mm_storeu_si128((__m128i *)dw_at(t, dst, px[3]), _mm512_extracti32x4_epi32(q, 3));
}

static EFF_ALWAYS_INLINE void dw_store_s16(const Tile *t, uint8_t *dst, const Pixel px[2], Z pairs)
{
    const Z q = pairs_to_pixels(pairs);
    if (px[0].stored)
        _mm256_storeu_si256((__m256i *)dw_at(t, dst, px[0]), _mm512_castsi512_si256(q));
    if (px[1].stored)
        _mm256_storeu_si256((__m256i *)dw_at(t, dst, px[1]), _mm512_extracti64x4_epi64(q, 1));
}

static EFF_ALWAYS_INLINE void dw_store(const Tile *t, const Shared *shared, Z one, Mode mode, Form form, int rows,
                                       int n_cols, int c, Z acc[MAX_ROWS][TILE_COLS])
{
    const Channels ch = load_channels(&t->op->epi, mode, c, form == FORM_U8, ORDER_PAIRS);
    const int at_once = n_cols > 2 ? 1 : 4 / n_cols;
    uint8_t *dst = t->dst ? t->dst + (size_t)c * form_bytes(form) : NULL;
    int32_t *pool = t->io->pool;
    Z sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
#pragma GCC unroll 4
    for (int row = 0; row < rows; row += at_once) {
        Pixel px[4];
        Z four[4];
        if (row >= t->n_rows)
            break;
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            px[i] = dw_pixel(t, row, rows, n_cols, i);
            four[i] = px[i].row < rows && px[i].column < n_cols ? acc[px[i].row][px[i].column] : acc[row][0];
        }
        if (form == FORM_U8) {
            dw_store_u8(t, dst, px, epilogue_p4c16(shared, &ch, mode, four));
        } else {
            const Words y = epilogue_words(shared, &ch, mode, four);
            if (dst) {
                dw_store_s16(t, dst, px, y.p01);
                dw_store_s16(t, dst, px + 2, y.p23);
            }
            if (pool)
                pool_words(sum, y, px, one);
        }
    }
    if (form == FORM_S16 && pool) {
        const Z old = _mm512_loadu_si512(pool + c);
        _mm512_storeu_si512(pool + c, _mm512_add_epi32(old, _mm512_add_epi32(sum[0], sum[1])));
    }
}

static EFF_ALWAYS_INLINE void dw_tile(const Tile *t, const Shared *shared, Z one, Mode mode, Form form, int kernel,
                                      int stride, int rows, int n_cols)
{
    const int block_bytes = kernel * dw_vectors(kernel, stride) * VECTOR_BYTES;
    const int ch_begin = t->io->ch_begin, ch_end = t->io->ch_end;
    const int8_t *wgt = (const int8_t *)t->op->packed + (size_t)(ch_begin / 16) * (size_t)block_bytes;
    const uint8_t *q[3] = {t->src, t->src + t->quad, t->src + 2 * t->quad};
    for (int c = ch_begin; c < ch_end; c += 16, wgt += block_bytes) {
        t = hidden_tile(t);
        const Z b = _mm512_loadu_si512(t->op->epi.bias + c);
        Z acc[MAX_ROWS][TILE_COLS];
        for (int i = 0; i < 3; i++)
            q[i] = hidden_pointer(q[i]);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
            for (int x = 0; x < TILE_COLS; x++)
                acc[r][x] = b;
        }
        if (kernel == 3 && stride == 1)
            dw_3x3s1(acc, q[0], q[1], &t->column, wgt, n_cols);
        else if (kernel == 3)
            dw_3x3s2(acc, q, &t->column, wgt, rows, n_cols);
        else if (stride == 1)
            dw_5x5s1(acc, q[0], q[1], &t->column, wgt, n_cols);
        else
            dw_5x5s2(acc, q, &t->column, wgt, rows, n_cols);
        dw_store(t, shared, one, mode, form, rows, n_cols, c, acc);
        eff_fetch_tick(t->ahead);
        for (int i = 0; i < 3; i++)
            q[i] += VECTOR_BYTES;
    }
}

/* Output rows y .. y + rows - 1. */
static EFF_ALWAYS_INLINE void dw_row_of_tiles(Tile *t, const Shared *shared, Mode mode, Form form, int kernel,
                                              int stride, int rows, int y)
{
    const EffDwIo *io = t->io;
    const size_t at = (size_t)(y - io->row_begin), column = (size_t)io->quads->ch_stride * 4;
    const uint8_t *src = io->src + at * (size_t)stride / 4 * t->quad;
    uint8_t *dst = form == FORM_U8 ? io->dst_u8 : (uint8_t *)io->dst_s16;
    const Z one = hidden(_mm512_set1_epi16(1));
    t->n_rows = io->row_end - y < rows ? io->row_end - y : rows;
    for (int x = 0; x < io->out_cols; x += 4) {
        t->src = src + (size_t)(x * stride) * column;
        t->dst = dst ? dst + at * t->line + (size_t)x * t->pixel : NULL;
        switch (io->out_cols - x) {
        case 1: dw_tile(t, shared, one, mode, form, kernel, stride, rows, 1); break;
        case 2: dw_tile(t, shared, one, mode, form, kernel, stride, rows, 2); break;
        case 3: dw_tile(t, shared, one, mode, form, kernel, stride, rows, 3); break;
        default: dw_tile(t, shared, one, mode, form, kernel, stride, rows, 4); break;
        }
    }
}

static EFF_ALWAYS_INLINE void dw_rows(const EffDw *op, const EffDwIo *io, Mode mode, Form form, int kernel, int stride)
{
    Shared shared = load_shared(&op->epi, mode);
    const int n_tiles = (io->row_end - io->row_begin + 3) / 4 * ((io->out_cols + TILE_COLS - 1) / TILE_COLS);
    EffFetch ahead = eff_fetch_begin(io->ahead, (size_t)(n_tiles * (io->ch_end - io->ch_begin) / 16));
    Tile t = {
        .ahead = &ahead,
        .op = op,
        .io = io,
        .quad = eff_quads_stride(io->quads),
        .column = multiples((size_t)io->quads->ch_stride * 4),
        .pixel = (size_t)eff_ch_pad(op->channels) * form_bytes(form),
    };
    t.line = (size_t)io->out_cols * t.pixel;
    shared.g_shift = 1; /* its vector says by how much: a product with 1 is cheaper than a branch */
    for (int y = io->row_begin; y < io->row_end; y += 4) {
        if (stride == 2 && io->row_end - y <= 2)
            dw_row_of_tiles(&t, &shared, mode, form, kernel, stride, 2, y);
        else
            dw_row_of_tiles(&t, &shared, mode, form, kernel, stride, 4, y);
    }
}

static EFF_ALWAYS_INLINE void dw_windows(const EffDw *op, const EffDwIo *io, Mode mode, Form form)
{
    if (op->kernel == 3 && op->stride == 1)
        dw_rows(op, io, mode, form, 3, 1);
    else if (op->kernel == 3)
        dw_rows(op, io, mode, form, 3, 2);
    else if (op->stride == 1)
        dw_rows(op, io, mode, form, 5, 1);
    else
        dw_rows(op, io, mode, form, 5, 2);
}

static EFF_NOINLINE void dw_clamp(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_CLAMP, FORM_U8);
}

static EFF_NOINLINE void dw_linear_u8(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_LINEAR, FORM_U8);
}

static EFF_NOINLINE void dw_linear_s16(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_LINEAR, FORM_S16);
}

static EFF_NOINLINE void dw_stair_u8(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_STAIR, FORM_U8);
}

static EFF_NOINLINE void dw_stair_s16(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_STAIR, FORM_S16);
}

static EFF_NOINLINE void dw_interp_u8(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_INTERP, FORM_U8);
}

static EFF_NOINLINE void dw_interp_s16(const EffDw *op, const EffDwIo *io)
{
    dw_windows(op, io, MODE_INTERP, FORM_S16);
}

/* Both u8 and s16 are made by two runs: layers of the family want one of them. */
static void dw_run(const EffDw *op, const EffDwIo *io)
{
    static void (*const run_u8[])(const EffDw *, const EffDwIo *) = {[MODE_CLAMP] = dw_clamp,
                                                                     [MODE_LINEAR] = dw_linear_u8,
                                                                     [MODE_STAIR] = dw_stair_u8,
                                                                     [MODE_INTERP] = dw_interp_u8};
    static void (*const run_s16[])(const EffDw *, const EffDwIo *) = {
        [MODE_LINEAR] = dw_linear_s16, [MODE_STAIR] = dw_stair_s16, [MODE_INTERP] = dw_interp_s16};
    assert(io->row_begin % (4 / op->stride) == 0 && io->ch_end - io->ch_begin <= io->quads->ch_stride);
    if (op->kernel == 7) {
        eff_dw_u8s8_c.run(op, io);
        return;
    }
    const Mode mode = epilogue_mode(&op->epi);
    if (io->dst_u8)
        run_u8[mode](op, io);
    if (mode != MODE_CLAMP && (io->dst_s16 || io->pool))
        run_s16[mode](op, io);
}

#endif
