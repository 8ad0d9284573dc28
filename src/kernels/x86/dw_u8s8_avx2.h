/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution on row quads and ymm registers: the body of the levels avx2, avxvnni and avx512vl, which differ
 * in their dot products. A file includes its dot_....h first.
 *
 * 8 channels a vector; a dword holds DOT_K rows of a channel, from row 2 i on (two_rows()), so one dot product takes
 * DOT_K rows of a column of the window. An output row whose window starts at row s takes
 *
 *     first vector   i = s / 2, or with DOT_K = 4 the whole quad s / 4 where that needs no more vectors
 *     weights        `phase` zeros (s less the first vector's first row), w0, w1 .. and zeros at the end
 *
 *     3x3, stride 1, DOT_K = 2      rows  0  1  2  3  4  5          DOT_K = 4     0  1  2  3  4  5
 *       output row 0                     (w0 w1)(w2  0)                          (w0 w1 w2  0)
 *       output row 1                     (0  w0)(w1 w2)                          (0  w0 w1 w2)
 *       output row 2                           (w0 w1)(w2  0)                          (w0 w1 w2  0)
 *       output row 3                           (0  w0)(w1 w2)                          (0  w0 w1 w2)
 *
 * A step makes 4 rows of 2 columns with stride 1, and 2 rows of 4 columns with stride 2: 8 accumulators. Each column
 * of the input is loaded and unpacked once for all outputs of the step.
 *
 * Packed weights: [channels / 8][column of the window][phase][vector][8][DOT_K].
 */
#ifndef EFF_KERNELS_X86_DW_U8S8_AVX2_H
#define EFF_KERNELS_X86_DW_U8S8_AVX2_H

#include "kernels/table.h"
#include "kernels/x86/epilogue_avx2.h"

#include <assert.h>
#include <string.h>

enum { STEP_PX = 8, MAX_KERNEL = 7, MAX_TWO_ROWS = 6 };

/* What an output row takes whose window starts at row s of the step. */
typedef struct Taps {
    int first; /* two_rows() of its first vector */
    int phase; /* rows of that vector before the window */
    int n;     /* vectors */
} Taps;

static EFF_ALWAYS_INLINE Taps taps_of(int kernel, int s)
{
    const int half = (s % 2 + kernel + DOT_K - 1) / DOT_K, whole = (s % 4 + kernel + DOT_K - 1) / DOT_K;
    if (DOT_K == 4 && whole <= half)
        return (Taps){s / 4 * 2, s % 4, whole};
    return (Taps){s / 2, s % 2, half};
}

/* Most phases and vectors of any output row: the extent of the packed weights. */
static EFF_ALWAYS_INLINE Taps most_taps(int kernel, int stride)
{
    Taps most = {0, 0, 0};
    for (int s = 0; s < 4; s += stride) {
        const Taps t = taps_of(kernel, s);
        most.phase = t.phase > most.phase ? t.phase : most.phase;
        most.n = t.n > most.n ? t.n : most.n;
    }
    return most;
}

/* Vectors of weights of 8 channels. */
static EFF_ALWAYS_INLINE int dw_vectors(int kernel, int stride)
{
    const Taps most = most_taps(kernel, stride);
    return kernel * (most.phase + 1) * most.n;
}

static size_t dw_packed_bytes(int channels, int kernel, int stride)
{
    return (size_t)eff_ch_pad(channels) / VECTOR_CH * (size_t)dw_vectors(kernel, stride) * VECTOR_BYTES;
}

static void dw_pack(void *packed, const int8_t *wgt, int channels, int kernel, int stride)
{
    const Taps most = most_taps(kernel, stride);
    DotWgt *to = packed;
    for (int c = 0; c < eff_ch_pad(channels); c += VECTOR_CH) {
        for (int v = 0; v < dw_vectors(kernel, stride); v++) {
            const int column = v / most.n / (most.phase + 1), phase = v / most.n % (most.phase + 1), at = v % most.n;
            for (int i = 0; i < VECTOR_CH * DOT_K; i++) {
                const int ch = c + i / DOT_K, row = at * DOT_K + i % DOT_K - phase;
                const bool used = ch < channels && row >= 0 && row < kernel;
                *to++ = used ? wgt[(ch * kernel + row) * kernel + column] : 0;
            }
        }
    }
}

/* A step's source and weights at 8 channels. */
typedef struct DwStep {
    const uint8_t *q[3]; /* its quads, at its first column */
    size_t column;       /* bytes */
    const char *wgt;
    const int32_t *bias;
} DwStep;

/* The step's pixels stand in acc column by column with stride 1, row by row with stride 2. */
static EFF_ALWAYS_INLINE int dw_index(int stride, int cols, int row, int col)
{
    return stride == 1 ? col * 4 + row : row * cols + col;
}

static EFF_ALWAYS_INLINE void dw_sums(const DwStep *d, Y acc[STEP_PX], int kernel, int stride, int cols)
{
    const int rows = 4 / stride;
    const Taps most = most_taps(kernel, stride);
    const Taps end = taps_of(kernel, (rows - 1) * stride);
    const int n_rows = (end.first * 2 + end.n * DOT_K + 3) / 4; /* quads */
    const Y b = load32(d->bias);
    const uint8_t *q0 = d->q[0], *q1 = d->q[1], *q2 = d->q[2];
    Y z[STEP_PX];
#pragma GCC unroll 8
    for (int i = 0; i < rows * cols; i++)
        z[i] = b;
#pragma GCC unroll 13
    for (int x = 0; x < (cols - 1) * stride + kernel; x++) {
        const Y c0 = load32(q0), c1 = n_rows > 1 ? load32(q1) : c0, c2 = n_rows > 2 ? load32(q2) : c1;
        Y two[MAX_TWO_ROWS];
#pragma GCC unroll 6
        for (int i = 0; i < MAX_TWO_ROWS; i++)
            two[i] = two_rows(c0, c1, c2, i);
#pragma GCC unroll 7
        for (int k = 0; k < kernel; k++) {
            const int at = x - k, col = at / stride;
            if (at < 0 || at % stride != 0 || col >= cols)
                continue;
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                const Taps t = taps_of(kernel, r * stride);
                const int i = dw_index(stride, cols, r, col);
#pragma GCC unroll 4
                for (int j = 0; j < t.n; j++)
                    z[i] = dot_mem(z[i], two[t.first + j * DOT_K / 2],
                                   d->wgt + ((k * (most.phase + 1) + t.phase) * most.n + j) * VECTOR_BYTES);
            }
        }
        q0 += d->column;
        q1 += d->column;
        q2 += d->column;
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows * cols; i++)
        acc[i] = z[i];
}

#define SUMS(kernel, stride, cols)                                                                                     \
    static EFF_NOINLINE void sums_##kernel##s##stride##_##cols(const DwStep *d, Y acc[STEP_PX])                        \
    {                                                                                                                  \
        dw_sums(d, acc, kernel, stride, cols);                                                                         \
    }
SUMS(3, 1, 1)
SUMS(3, 1, 2)
SUMS(3, 2, 1)
SUMS(3, 2, 2)
SUMS(3, 2, 4)
SUMS(5, 1, 1)
SUMS(5, 1, 2)
SUMS(5, 2, 1)
SUMS(5, 2, 2)
SUMS(5, 2, 4)
SUMS(7, 1, 1)
SUMS(7, 1, 2)
SUMS(7, 2, 1)
SUMS(7, 2, 2)
SUMS(7, 2, 4)
#undef SUMS

typedef void sums_fn(const DwStep *d, Y acc[STEP_PX]);
enum { WIDTHS = 3 }; /* 1, 2 and 4 columns */
static sums_fn *const sums[3][2][WIDTHS] = {{{sums_3s1_1, sums_3s1_2, NULL}, {sums_3s2_1, sums_3s2_2, sums_3s2_4}},
                                            {{sums_5s1_1, sums_5s1_2, NULL}, {sums_5s2_1, sums_5s2_2, sums_5s2_4}},
                                            {{sums_7s1_1, sums_7s1_2, NULL}, {sums_7s2_1, sums_7s2_2, sums_7s2_4}}};

/* What one run writes: u8, s16 and the pool, or sums. */
typedef enum Form { FORM_U8, FORM_S16 } Form;

typedef struct Tile {
    const EffDw *op;
    const EffDwIo *io;
    const Shared *shared;
    const uint8_t *src;  /* its first quad, at its first column */
    size_t quad, column; /* bytes of the source */
    size_t dst;          /* its first pixel, in channels */
    Pixels px[2];        /* its pixels, four at a time, from there */
} Tile;

/* Sums over the stored ones of four pixels, added to 8 s32 in channel order: interleaving pixels 0 with 2 and 1 with 3
 * brings the two words of a channel into one dword. */
static EFF_ALWAYS_INLINE Y pool_words(Y sum, Words y, const Y mask[2])
{
    const Y p01 = _mm256_and_si256(y.p01, mask[0]), p23 = _mm256_and_si256(y.p23, mask[1]);
    const Y one = _mm256_set1_epi16(1);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_unpacklo_epi16(p01, p23), one));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_unpackhi_epi16(p01, p23), one));
}

static EFF_ALWAYS_INLINE void dw_store(const Tile *t, Mode mode, Form form, int c, const Y acc[STEP_PX], int n_groups)
{
    const EffDwIo *io = t->io;
    const size_t at = t->dst + (size_t)c;
    const Channels ch = load_channels(&t->op->epi, mode, c, form == FORM_U8, ORDER_PAIRS);
    Y sum = _mm256_setzero_si256();
    for (int g = 0; g < n_groups && t->px[g].n > 0; g++) {
        const Pixels *to = &t->px[g];
        if (form == FORM_U8) {
            store_u8_p4c8(io->dst_u8 + at, to, epilogue_p4c8(t->shared, &ch, mode, acc + 4 * g));
            continue;
        }
        const Words y = epilogue_words(t->shared, &ch, mode, acc + 4 * g);
        if (io->dst_s16) {
            store_s16_two(io->dst_s16 + at, to, 0, pairs_to_pixels(y.p01));
            store_s16_two(io->dst_s16 + at, to, 2, pairs_to_pixels(y.p23));
        }
        if (io->pool) {
            const long long all = -1;
            const Y mask[2] = {
                _mm256_set_epi64x(to->n > 1 ? all : 0, all, to->n > 1 ? all : 0, all),
                _mm256_set_epi64x(to->n > 3 ? all : 0, to->n > 2 ? all : 0, to->n > 3 ? all : 0, to->n > 2 ? all : 0)};
            sum = pool_words(sum, y, mask);
        }
    }
    if (form == FORM_S16 && io->pool)
        store32(io->pool + c, _mm256_add_epi32(load32(io->pool + c), sum));
}

/* A step, all channels. */
static EFF_ALWAYS_INLINE void dw_tile(const Tile *t, Mode mode, Form form, sums_fn *fn, size_t wgt_bytes, int n_groups)
{
    const EffDwIo *io = t->io;
    DwStep d = {.q = {t->src, t->src + t->quad, t->src + 2 * t->quad}, .column = t->column};
    Y acc[STEP_PX] = {_mm256_setzero_si256()};
    for (int c = io->ch_begin; c < io->ch_end; c += VECTOR_CH) {
        d.wgt = (const char *)t->op->packed + (size_t)(c / VECTOR_CH) * wgt_bytes;
        d.bias = t->op->epi.bias + c;
        fn(&d, acc);
        dw_store(t, mode, form, c, acc, n_groups);
        for (int i = 0; i < 3; i++)
            d.q[i] += VECTOR_BYTES;
    }
}

/* Where the pixels of a step of `cols` columns go, as they stand in acc; n_rows of its rows exist. */
static inline void dw_pixels(Tile *t, int cols, int n_rows)
{
    const int stride = t->op->stride, rows = 4 / stride;
    const size_t pixel = (size_t)eff_ch_pad(t->op->channels), line = pixel * (size_t)t->io->out_cols;
    t->px[0].n = t->px[1].n = 0;
    for (int row = 0; row < rows; row++) {
        for (int col = 0; col < cols; col++) {
            const int i = dw_index(stride, cols, row, col);
            t->px[i / 4].at[i % 4] = (size_t)row * line + (size_t)col * pixel;
            if (row < n_rows)
                t->px[i / 4].n++;
        }
    }
}

static EFF_ALWAYS_INLINE void dw_rows(const EffDw *op, const EffDwIo *io, Mode mode, Form form)
{
    const int stride = op->stride, step = 4 / stride;
    const size_t wgt_bytes = (size_t)dw_vectors(op->kernel, stride) * VECTOR_BYTES;
    const size_t pixel = (size_t)eff_ch_pad(op->channels);
    sums_fn *const *const fns = sums[op->kernel / 2 - 1][stride - 1];
    Shared shared;
    load_shared(&shared, &op->epi, mode);
    Tile t = {.op = op,
              .io = io,
              .shared = &shared,
              .quad = eff_quads_stride(io->quads),
              .column = (size_t)io->quads->ch_stride * 4};
    for (int y = io->row_begin; y < io->row_end; y += step) {
        const size_t row = (size_t)(y - io->row_begin);
        const int n_rows = io->row_end - y < step ? io->row_end - y : step;
        for (int x = 0, cols, width; x < io->out_cols; x += cols) {
            const int left = io->out_cols - x;
            width = left >= 4 && stride == 2 ? 2 : left >= 2 ? 1 : 0;
            cols = 1 << width;
            t.src = io->src + row * (size_t)stride / 4 * t.quad + (size_t)(x * stride) * t.column;
            t.dst = (row * (size_t)io->out_cols + (size_t)x) * pixel;
            dw_pixels(&t, cols, n_rows);
            dw_tile(&t, mode, form, fns[width], wgt_bytes, (step * cols + 3) / 4);
        }
    }
}

static EFF_NOINLINE void dw_clamp(const EffDw *op, const EffDwIo *io)
{
    dw_rows(op, io, MODE_CLAMP, FORM_U8);
}

static EFF_NOINLINE void dw_linear_u8(const EffDw *op, const EffDwIo *io)
{
    dw_rows(op, io, MODE_LINEAR, FORM_U8);
}

static EFF_NOINLINE void dw_linear_s16(const EffDw *op, const EffDwIo *io)
{
    dw_rows(op, io, MODE_LINEAR, FORM_S16);
}

static EFF_NOINLINE void dw_stair_u8(const EffDw *op, const EffDwIo *io)
{
    dw_rows(op, io, MODE_STAIR, FORM_U8);
}

static EFF_NOINLINE void dw_stair_s16(const EffDw *op, const EffDwIo *io)
{
    dw_rows(op, io, MODE_STAIR, FORM_S16);
}

static EFF_NOINLINE void dw_interp_u8(const EffDw *op, const EffDwIo *io)
{
    dw_rows(op, io, MODE_INTERP, FORM_U8);
}

static EFF_NOINLINE void dw_interp_s16(const EffDw *op, const EffDwIo *io)
{
    dw_rows(op, io, MODE_INTERP, FORM_S16);
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
    const Mode mode = epilogue_mode(&op->epi);
    if (io->dst_u8)
        run_u8[mode](op, io);
    if (mode != MODE_CLAMP && (io->dst_s16 || io->pool))
        run_s16[mode](op, io);
}

#endif
