/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointwise convolution on ymm registers: the body of the levels avx2, avxvnni and avx512vl, which differ in their dot
 * products. A file includes its dot_....h first.
 *
 * Microkernel: 4 pixels by 24 channels, 12 accumulators; a dword of DOT_K input channels of a pixel is broadcast
 * against 8 output channels. The four pixels are neighbours in NHWC, and rows of a column in row quads, whose bytes
 * vpackuswb brings together. Tiles of 16 or 8 channels end a layer, tiles of 1 to 3 pixels an image.
 *
 * Without VNNI the pixels are widened to s16 first, once for all output channels, in a panel on the stack.
 *
 * Packed weights: 8 output channels after the other, [in_ch / DOT_K][8][DOT_K]; in_ch is rounded up to 4, and what lies
 * beyond in_ch and out_ch is 0.
 */
#ifndef EFF_KERNELS_X86_PW_U8S8_AVX2_H
#define EFF_KERNELS_X86_PW_U8S8_AVX2_H

#include "kernels/table.h"
#include "kernels/x86/epilogue_avx2.h"

#include <assert.h>
#include <string.h>

enum {
    TILE_PX = 4,
    TILE_VECTORS = 3,
    WIDEN = DOT_K == 2,    /* pixels go through a panel */
    STEPS = 4 / DOT_K,     /* steps that four input channels take */
    PANEL_BYTES = 32768,   /* of the stack */
    PANEL_IN_CH = 4096,    /* input channels of four pixels that fit it */
    PIXELS_BYTES = 16384,  /* pixels, as the tiles read them, that stay in L1 while the weights pass by */
    WEIGHT_BYTES = 131072, /* weights that stay in L2 while the pixels pass by */
};

_Static_assert((int)PANEL_BYTES == (int)PANEL_IN_CH * (int)TILE_PX * 2, "a tile fits the panel");

/* Input channels, as source and packed weights hold them. */
static size_t pw_depth(int in_ch)
{
    return ((size_t)in_ch + 3) / 4 * 4;
}

/* Bytes of the weights of 8 output channels. */
static size_t pw_vector_bytes(int in_ch)
{
    return pw_depth(in_ch) * VECTOR_CH * sizeof(DotWgt);
}

static int pw_vectors(int out_ch)
{
    return (out_ch + VECTOR_CH - 1) / VECTOR_CH;
}

static size_t pw_packed_bytes(int in_ch, int out_ch)
{
    return (size_t)pw_vectors(out_ch) * pw_vector_bytes(in_ch);
}

static void pw_pack(void *packed, const int8_t *wgt, int in_ch, int out_ch)
{
    const size_t vector = pw_depth(in_ch) * VECTOR_CH;
    DotWgt *to = packed;
    memset(packed, 0, pw_packed_bytes(in_ch, out_ch));
    for (size_t o = 0; o < (size_t)out_ch; o++) {
        for (size_t i = 0; i < (size_t)in_ch; i++)
            to[o / VECTOR_CH * vector + (i / DOT_K * VECTOR_CH + o % VECTOR_CH) * DOT_K + i % DOT_K] =
                wgt[o * (size_t)in_ch + i];
    }
}

typedef Y Acc[TILE_PX * TILE_VECTORS]; /* [pixel][vector] */

/*
 * A tile's sums: of pixels at row, row + pitch .., over n_fours times four input channels. Pixel r starts at start[r],
 * which is the channels' bias, or sums so far, and goes to acc[TILE_VECTORS r] and on. `wgt` has 8 output channels, the
 * next are vector_bytes further.
 */
typedef struct Gemm {
    const uint8_t *row;
    size_t pitch;
    const int32_t *start[TILE_PX];
    Y *acc;
    const DotWgt *wgt;
    size_t vector_bytes;
    size_t n_fours;
} Gemm;

static EFF_ALWAYS_INLINE Y broadcast4(const uint8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}

static EFF_ALWAYS_INLINE void gemm(const Gemm *m, int rows, int vectors)
{
    const uint8_t *row[TILE_PX];
    const char *w = (const char *)m->wgt;
    const size_t vector_bytes = m->vector_bytes, end = m->n_fours * 4 * STEPS;
    Y z[TILE_VECTORS][TILE_PX];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        row[r] = m->row + (size_t)r * m->pitch;
#pragma GCC unroll 3
        for (int n = 0; n < vectors; n++)
            z[n][r] = load32(m->start[r] + VECTOR_CH * n);
    }
    for (size_t k = 0; k < end; k += 4 * STEPS) {
#pragma GCC unroll 2
        for (int step = 0; step < STEPS; step++) {
            const Y w0 = load32(w), w1 = vectors > 1 ? load32(w + vector_bytes) : w0;
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                const Y v = broadcast4(row[r] + k + 4 * step);
                z[0][r] = dot(z[0][r], v, w0);
                if (vectors > 1)
                    z[1][r] = dot(z[1][r], v, w1);
                if (vectors > 2)
                    z[2][r] = dot_mem(z[2][r], v, w + 2 * vector_bytes);
            }
            w += VECTOR_BYTES;
        }
    }
#pragma GCC unroll 3
    for (int n = 0; n < vectors; n++) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            m->acc[TILE_VECTORS * r + n] = z[n][r];
    }
}

/* One function a shape: inlined into an epilogue, GCC spills accumulators inside the loop to the profit of what follows
 * (tests/kcheck/check_objects.py watches). */
#define GEMM(rows, vectors)                                                                                            \
    static EFF_NOINLINE void gemm_##rows##x##vectors(const Gemm *m)                                                    \
    {                                                                                                                  \
        gemm(m, rows, vectors);                                                                                        \
    }
GEMM(1, 1)
GEMM(2, 1)
GEMM(3, 1)
GEMM(4, 1)
GEMM(1, 2)
GEMM(2, 2)
GEMM(3, 2)
GEMM(4, 2)
GEMM(1, 3)
GEMM(2, 3)
GEMM(3, 3)
GEMM(4, 3)
#undef GEMM

typedef void gemm_fn(const Gemm *m);
static gemm_fn *const gemms[TILE_VECTORS][TILE_PX] = {{gemm_1x1, gemm_2x1, gemm_3x1, gemm_4x1},
                                                      {gemm_1x2, gemm_2x2, gemm_3x2, gemm_4x2},
                                                      {gemm_1x3, gemm_2x3, gemm_3x3, gemm_4x3}};

/* u8 to s16, a multiple of four; reads nothing beyond. */
static inline void widen(int16_t *dst, const uint8_t *src, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        store32(dst + i, _mm256_cvtepu8_epi16(load16(src + i)));
    if (i + 8 <= n) {
        _mm_storeu_si128((__m128i *)(dst + i), _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(src + i))));
        i += 8;
    }
    if (i < n) {
        int32_t four;
        memcpy(&four, src + i, sizeof four);
        _mm_storel_epi64((__m128i *)(dst + i), _mm_cvtepu8_epi16(_mm_cvtsi32_si128(four)));
    }
}

/* Up to four pixels on their way through a layer, and its scratch. */
typedef struct Layer {
    const EffPw *op;
    size_t depth, vector_bytes;
    int n_vectors; /* that have weights */
    int16_t *panel;
} Layer;

static inline Layer pw_layer(const EffPw *op, int16_t *panel)
{
    return (Layer){op, pw_depth(op->in_ch), pw_vector_bytes(op->in_ch), pw_vectors(op->out_ch), panel};
}

/* Whether a panel holds whole pixels. */
static inline bool panel_is_whole(const Layer *l)
{
    return l->depth <= PANEL_IN_CH;
}

/* Pixels that a panel, or L1, is to hold: at least a tile's. */
static inline size_t pixels_at_once(const Layer *l)
{
    const size_t n = PIXELS_BYTES / (l->depth * (WIDEN ? 2 : 1)) / TILE_PX * TILE_PX;
    return n < TILE_PX ? TILE_PX : n;
}

/* Where the tiles read pixel `at` of the panel. */
static EFF_ALWAYS_INLINE const uint8_t *in_panel(const Layer *l, size_t at)
{
    return (const uint8_t *)(l->panel + at * l->depth);
}

/* Output channels of the tile that starts at vector v: no narrow tile where two of 16 channels do. */
static inline int tile_vectors(int v, int end)
{
    const int left = end - v;
    return left == 4 || left == 2 ? 2 : left == 1 ? 1 : TILE_VECTORS;
}

/* Pixels of a tile in the image, the bias of each at channel 0. */
typedef struct Source {
    const uint8_t *at;
    size_t pitch;
    const int32_t *bias[TILE_PX];
} Source;

/* What all tiles of a block of channels share; acc as in Gemm. */
static inline Gemm block_gemm(const Layer *l, Y *acc, const Source *src, int v)
{
    Gemm m = {.pitch = WIDEN ? l->depth * 2 : src->pitch,
              .acc = acc,
              .wgt = (const DotWgt *)((const char *)l->op->packed + (size_t)v * l->vector_bytes),
              .vector_bytes = l->vector_bytes,
              .n_fours = l->depth / 4};
    for (int r = 0; r < TILE_PX; r++)
        m.start[r] = src->bias[r] + v * VECTOR_CH;
    return m;
}

/* Layers of more input channels than a panel takes: part by part. */
static EFF_NOINLINE void deep_sums(const Layer *l, Gemm m, gemm_fn *fn, const Source *src, int rows)
{
    m.pitch = PANEL_IN_CH * 2;
    for (size_t k = 0; k < l->depth; k += PANEL_IN_CH) {
        const size_t n_in = l->depth - k < PANEL_IN_CH ? l->depth - k : PANEL_IN_CH;
        for (int r = 0; r < rows; r++)
            widen(l->panel + (size_t)r * PANEL_IN_CH, src->at + (size_t)r * src->pitch + k, n_in);
        m.row = in_panel(l, 0);
        m.n_fours = n_in / 4;
        fn(&m);
        m.wgt += n_in * VECTOR_CH;
        for (int r = 0; r < rows; r++)
            m.start[r] = (const int32_t *)(m.acc + TILE_VECTORS * r);
    }
}

/* Sums of a tile, whose first pixel is number `at` in the panel where that is whole, and at src->at in the image. */
static EFF_ALWAYS_INLINE void tile_sums(const Layer *l, Gemm *m, gemm_fn *fn, const Source *src, size_t at, int rows)
{
    if (WIDEN && !panel_is_whole(l)) {
        deep_sums(l, *m, fn, src, rows);
        return;
    }
    m->row = WIDEN ? in_panel(l, at) : src->at;
    fn(m);
}

/* Four pixels at vector n. */
static EFF_ALWAYS_INLINE void four_pixels(Y four[TILE_PX], const Y *acc, int n)
{
    for (int r = 0; r < TILE_PX; r++)
        four[r] = acc[TILE_VECTORS * r + n];
}

/* ---- NHWC ---- */

typedef struct Nhwc {
    const Layer *layer;
    const EffPwIo *io;
    const Shared *shared;
    const int32_t *bias;
    size_t stride; /* channels of the output */
} Nhwc;

static EFF_ALWAYS_INLINE void nhwc_store(const Nhwc *b, Mode mode, const Channels *ch, const Pixels *to, int c,
                                         const Y acc[TILE_PX])
{
    const EffPwIo *io = b->io;
    if (mode == MODE_RAW) {
        for (int r = 0; r < to->n; r++)
            store32(io->dst_s32 + to->at[r] + c, acc[r]);
        return;
    }
    if (mode == MODE_CLAMP) {
        store_u8_p4c8(io->dst_u8 + c, to, epilogue_p4c8(b->shared, ch, mode, acc));
        return;
    }
    const Words y = epilogue_words(b->shared, ch, mode, acc);
    Words q = {pairs_to_pixels(y.p01), pairs_to_pixels(y.p23)};
    if (mode == MODE_LINEAR && io->residual) {
        q.p01 = add_residual(io->residual + c, to, 0, q.p01);
        q.p23 = add_residual(io->residual + c, to, 2, q.p23);
    }
    if (io->dst_s16) {
        store_s16_two(io->dst_s16 + c, to, 0, q.p01);
        store_s16_two(io->dst_s16 + c, to, 2, q.p23);
    }
    if (io->dst_u8) {
        q = shift_left(q, b->shared->post);
        q.p01 = _mm256_adds_epi16(_mm256_mulhrs_epi16(q.p01, ch->last), ch->zero);
        q.p23 = _mm256_adds_epi16(_mm256_mulhrs_epi16(q.p23, ch->last), ch->zero);
        /* Lanes hold pixels 0, 2 and 1, 3. */
        const Y u8 = _mm256_packus_epi16(q.p01, q.p23);
        const __m128i p02 = _mm256_castsi256_si128(u8), p13 = _mm256_extracti128_si256(u8, 1);
        uint8_t *dst = io->dst_u8 + c;
        _mm_storel_epi64((__m128i *)(dst + to->at[0]), p02);
        if (to->n > 1)
            _mm_storel_epi64((__m128i *)(dst + to->at[1]), p13);
        if (to->n > 2)
            _mm_storeh_pd((double *)(dst + to->at[2]), _mm_castsi128_pd(p02));
        if (to->n > 3)
            _mm_storeh_pd((double *)(dst + to->at[3]), _mm_castsi128_pd(p13));
    }
}

/* Vectors [v, v + n) of pixels [begin, end); has_weights is false where both are padding of the output. */
static EFF_ALWAYS_INLINE void nhwc_block(const Nhwc *b, Mode mode, size_t begin, size_t end, int v, int n,
                                         bool has_weights)
{
    const EffPwIo *io = b->io;
    Source src = {io->src + begin * io->src_stride, io->src_stride, {b->bias, b->bias, b->bias, b->bias}};
    Channels ch[TILE_VECTORS];
    Acc acc = {_mm256_setzero_si256()};
    Gemm m = block_gemm(b->layer, acc, &src, v);
    Pixels to = {.n = TILE_PX};
    for (int i = 0; i < n && mode != MODE_RAW; i++)
        ch[i] = load_channels(&b->layer->op->epi, mode, (v + i) * VECTOR_CH, io->dst_u8 != NULL,
                              mode == MODE_CLAMP ? ORDER_PAIRS : ORDER_PIXELS);
    for (int r = 0; r < TILE_PX; r++)
        to.at[r] = (begin + (size_t)r) * b->stride;
    for (size_t p = begin; p < end; p += TILE_PX) {
        to.n = end - p < TILE_PX ? (int)(end - p) : TILE_PX;
        if (has_weights)
            tile_sums(b->layer, &m, gemms[n - 1][to.n - 1], &src, p - begin, to.n);
        for (int i = 0; i < n; i++) {
            Y four[TILE_PX];
            four_pixels(four, acc, i);
            nhwc_store(b, mode, &ch[i], &to, (v + i) * VECTOR_CH, four);
        }
        src.at += TILE_PX * io->src_stride;
        for (int r = 0; r < TILE_PX; r++)
            to.at[r] += TILE_PX * b->stride;
    }
}

static EFF_ALWAYS_INLINE void run_nhwc(const EffPw *op, const EffPwIo *io, Mode mode)
{
    int16_t panel[WIDEN ? PANEL_BYTES / 2 : 1];
    const Layer l = pw_layer(op, panel);
    const size_t at_once = pixels_at_once(&l);
    Shared shared;
    load_shared(&shared, &op->epi, mode);
    const Nhwc b = {&l, io, &shared, io->bias ? io->bias : op->epi.bias, (size_t)eff_ch_pad(op->out_ch)};
    const size_t fit = WEIGHT_BYTES / l.vector_bytes / 6 * 6;
    const int group = fit < 6 ? 6 : fit < (size_t)l.n_vectors ? (int)fit : l.n_vectors;
    for (int first = 0; first < l.n_vectors; first += group) {
        const int last = l.n_vectors - first < group ? l.n_vectors : first + group;
        for (size_t p = 0, end; p < io->n_pixels; p = end) {
            end = io->n_pixels - p < at_once ? io->n_pixels : p + at_once;
            for (size_t i = p; WIDEN && panel_is_whole(&l) && i < end; i++)
                widen(panel + (i - p) * l.depth, io->src + i * io->src_stride, l.depth);
            for (int v = first, n; v < last; v += n) {
                n = tile_vectors(v, last);
                nhwc_block(&b, mode, p, end, v, n, true);
            }
            if (last == l.n_vectors && last % 2 != 0)
                nhwc_block(&b, mode, p, end, last, 1, false);
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
    assert(io->src_stride >= pw_depth(op->in_ch));
    assert(io->residual == NULL || op->epi.kind == EFF_OUT_S16);
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: nhwc_clamp(op, io); break;
    case MODE_LINEAR: nhwc_linear(op, io); break;
    case MODE_STAIR: nhwc_stair(op, io); break;
    case MODE_INTERP: nhwc_interp(op, io); break;
    case MODE_RAW: nhwc_raw(op, io); break;
    }
}

/* ---- Row quads ---- */

/* One quad: rows [lo, hi) of it are in the image, the others receive zero[c]. */
typedef struct Quad {
    const Layer *layer;
    const EffPwQuadIo *io;
    const Shared *shared;
    Source src;    /* image column 0 of the rows from lo on */
    uint8_t *dst;  /* image column 0, channel ch_begin */
    size_t column; /* bytes a column */
    int lo, rows;
    Y outside; /* 255 in bytes of rows that are not in the image */
} Quad;

/* Bytes of P4C8 to row quads. */
static EFF_ALWAYS_INLINE Y turn_rows(Y p4c8)
{
    return _mm256_shuffle_epi8(
        p4c8, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
}

/* Zero points of 8 channels as row quads: a byte below 256 times 0x01010101. */
static EFF_ALWAYS_INLINE Y zero_quads(const int16_t *zero)
{
    const Y z = _mm256_cvtepi16_epi32(load16(zero));
    return _mm256_shuffle_epi8(
        z, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12)));
}

/* Vectors [v, v + n) of columns [begin, end). */
static EFF_ALWAYS_INLINE void quad_block(const Quad *q, Mode mode, int begin, int end, int v, int n, bool has_weights)
{
    const EffEpilogue *e = &q->layer->op->epi;
    Source src = q->src;
    Channels ch[TILE_VECTORS];
    Y zero[TILE_VECTORS];
    Acc acc = {_mm256_setzero_si256()};
    Gemm m = block_gemm(q->layer, acc + TILE_VECTORS * q->lo, &src, v);
    gemm_fn *const fn = gemms[n - 1][q->rows - 1];
    for (int i = 0; i < n; i++) {
        ch[i] = load_channels(e, mode, (v + i) * VECTOR_CH, true, ORDER_PAIRS);
        zero[i] = zero_quads(e->zero + (v + i) * VECTOR_CH);
    }
    src.at += (size_t)begin * q->io->src_stride;
    uint8_t *dst = q->dst + (size_t)begin * q->column + (size_t)(v * VECTOR_CH - q->io->ch_begin) * 4;
    for (int x = begin; x < end; x++) {
        if (has_weights)
            tile_sums(q->layer, &m, fn, &src, (size_t)((x - begin) * q->rows), q->rows);
        for (int i = 0; i < n; i++) {
            Y four[TILE_PX];
            four_pixels(four, acc, i);
            Y rows = turn_rows(epilogue_p4c8(q->shared, &ch[i], mode, four));
            if (q->rows < TILE_PX)
                rows = _mm256_blendv_epi8(rows, zero[i], q->outside);
            store32(dst + i * VECTOR_BYTES, rows);
        }
        src.at += q->io->src_stride;
        dst += q->column;
    }
}

/* A quad that lies in the padding. */
static void zero_columns(const EffPw *op, const EffPwQuadIo *io, uint8_t *dst, size_t column)
{
    for (int x = io->col_begin; x < io->col_end; x++) {
        for (int c = io->ch_begin; c < io->ch_end; c += VECTOR_CH)
            store32(dst + (size_t)x * column + (size_t)(c - io->ch_begin) * 4, zero_quads(op->epi.zero + c));
    }
}

static EFF_ALWAYS_INLINE void quad_columns(const Quad *q, Mode mode)
{
    const EffPwQuadIo *io = q->io;
    const Layer *l = q->layer;
    const int at_once = (int)(pixels_at_once(l) / (size_t)q->rows);
    const int first = io->ch_begin / VECTOR_CH, all = io->ch_end / VECTOR_CH,
              last = all < l->n_vectors ? all : l->n_vectors;
    for (int x = io->col_begin, end; x < io->col_end; x = end) {
        end = io->col_end - x < at_once ? io->col_end : x + at_once;
        for (int i = 0; WIDEN && panel_is_whole(l) && i < (end - x) * q->rows; i++)
            widen(l->panel + (size_t)i * l->depth,
                  q->src.at + (size_t)(i % q->rows) * q->src.pitch + (size_t)(x + i / q->rows) * io->src_stride,
                  l->depth);
        for (int v = first, n; v < last; v += n) {
            n = tile_vectors(v, last);
            quad_block(q, mode, x, end, v, n, true);
        }
        if (last < all)
            quad_block(q, mode, x, end, last, 1, false);
    }
}

static EFF_ALWAYS_INLINE void run_quads(const EffPw *op, const EffPwQuadIo *io, Mode mode)
{
    int16_t panel[WIDEN ? PANEL_BYTES / 2 : 1];
    const EffQuads *g = io->quads;
    const Layer l = pw_layer(op, panel);
    Shared shared;
    load_shared(&shared, &op->epi, mode);
    const int first_top = 4 * io->quad_begin - g->pad_top, row0 = first_top > 0 ? first_top : 0;
    for (int j = io->quad_begin; j < io->quad_end; j++) {
        const int top = 4 * j - g->pad_top, lo = top < 0 ? -top : 0, hi = g->rows - top < 4 ? g->rows - top : 4;
        Quad q = {
            .layer = &l,
            .io = io,
            .shared = &shared,
            .column = (size_t)g->ch_stride * 4,
            .lo = lo,
            .rows = hi - lo,
        };
        q.dst = io->dst + (size_t)(j - io->quad_begin) * eff_quads_stride(g) + (size_t)g->pad_left * q.column;
        if (lo >= hi) {
            zero_columns(op, io, q.dst, q.column);
            continue;
        }
        uint32_t outside = 0;
        q.src.at = io->src + (size_t)(top + lo - row0) * io->src_row_stride;
        q.src.pitch = io->src_row_stride;
        for (int r = 0; r < TILE_PX; r++) {
            const int row = lo + r < hi ? top + lo + r - row0 : 0;
            q.src.bias[r] = io->row_bias ? io->row_bias[row] : op->epi.bias;
            outside |= r >= lo && r < hi ? 0 : (uint32_t)255 << (8 * r);
        }
        q.outside = _mm256_set1_epi32((int32_t)outside);
        quad_columns(&q, mode);
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

static EFF_ALWAYS_INLINE void join(const EffEpilogue *e, int channels, const EffJoinIo *from, Mode mode)
{
    const size_t stride = (size_t)eff_ch_pad(channels);
    const EffPwIo io = {.dst_u8 = from->dst_u8, .dst_s16 = from->dst_s16, .residual = from->residual};
    const Y half = _mm256_set1_epi32(128);
    Shared shared;
    load_shared(&shared, e, mode);
    const Nhwc b = {.io = &io, .shared = &shared};
    for (size_t c = 0; c < stride; c += VECTOR_CH) {
        const Channels ch =
            load_channels(e, mode, (int)c, io.dst_u8 != NULL, mode == MODE_CLAMP ? ORDER_PAIRS : ORDER_PIXELS);
        const Y bias = load32(e->bias + c);
        for (size_t p = 0; p < from->n_pixels; p += TILE_PX) {
            Pixels to = {.n = from->n_pixels - p < TILE_PX ? (int)(from->n_pixels - p) : TILE_PX};
            Y acc[TILE_PX];
            for (int r = 0; r < TILE_PX; r++) {
                to.at[r] = (p + (size_t)r) * stride;
                const size_t at = to.at[r < to.n ? r : 0] + c;
                const Y lo = _mm256_srai_epi32(_mm256_add_epi32(load32(from->lo + at), half), 8);
                acc[r] = _mm256_add_epi32(_mm256_add_epi32(bias, load32(from->hi + at)), lo);
            }
            nhwc_store(&b, mode, &ch, &to, (int)c, acc);
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
