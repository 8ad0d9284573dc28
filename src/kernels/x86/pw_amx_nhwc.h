/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs in NHWC. A block is 32 pixels by 32 channels. Where fewer pixels remain than a tile has, it moves back over
 * some that are done, and they are not stored again. Static, for pw_u8s8_avx512amx.c only.
 */
#ifndef EFF_KERNELS_X86_PW_AMX_NHWC_H
#define EFF_KERNELS_X86_PW_AMX_NHWC_H

#include "kernels/x86/pw_amx.h"

enum {
    BLOCK_TILES = 2, /* of pixels, and of channels */
    BLOCK_CH = BLOCK_TILES * TILE_CH,
    SRC_BLOCK_BYTES = 24576,              /* pixels that are kept in L1 while the weights pass by */
    SECOND_CH = BLOCK_TILES * TILE_PIXELS /* row of sums where the second 16 channels begin; pixel after pixel */
};

/* Pixels [at, at + n_pixels), of which the first `skip` have been stored; n_vectors of 16 channels from c on. */
typedef struct Block {
    size_t at;
    int n_pixels, skip, c, n_vectors;
} Block;

typedef struct Nhwc {
    const EffPw *op;
    const EffPwIo *io;
    Shared shared;
    const int32_t *bias;
    Steps steps;
    size_t stride;
    int tile;        /* pixels of a tile */
    EffFetch *ahead; /* a tick a step */
} Nhwc;

/* Tiles 0 and 1 have the first pixels, 2 and 3 the second; 0 and 2 the first channels, 1 and 3 the second. */
static EFF_ALWAYS_INLINE bool has_tile(const Nhwc *x, const Block *b, int t)
{
    return b->n_vectors > t % 2 && (t < 2 || b->n_pixels > x->tile);
}

/* Sums of tile t, constant at each call: those of the block before leave for memory, and its own begin. */
#define TILE_BEGIN(t, is_used)                                                                                         \
    do {                                                                                                               \
        if (has_tile(x, before, t))                                                                                    \
            tile_store(t, saved->at[(t) % 2 * SECOND_CH + (t) / 2 * x->tile], 64);                                     \
        if (is_used)                                                                                                   \
            tile_load(t, x->bias + b->c + (t) % 2 * TILE_CH, 0);                                                       \
    } while (0)

/* The tiles of a block that has been multiplied. */
static EFF_ALWAYS_INLINE void nhwc_save(const Nhwc *x, const Block *before, Sums *saved)
{
    const Block *b = before;
    TILE_BEGIN(0, false);
    TILE_BEGIN(1, false);
    TILE_BEGIN(2, false);
    TILE_BEGIN(3, false);
    (void)b;
}

/* Constant at each call: tiles of pixels and of channels. Tiles are saved and begun one by one, between products:
 * together they take twice as long. */
static EFF_ALWAYS_INLINE void nhwc_gemm(const Nhwc *x, const Block *b, int pixels, int channels, const Block *before,
                                        Sums *saved)
{
    const size_t src_stride = x->io->src_stride, bytes = tile_bytes(&x->steps);
    const uint8_t *src = x->io->src + b->at * src_stride;
    const int8_t *w0 = (const int8_t *)x->op->packed + (size_t)(b->c / TILE_CH * x->steps.n) * bytes;
    const int8_t *w1 = w0 + (size_t)x->steps.n * bytes;
    const size_t second = (size_t)x->tile * src_stride;
    for (int i = 0; i < x->steps.n; i++, w0 += bytes, w1 += bytes) {
        const uint8_t *from = src + (i == x->steps.n - 1 ? x->steps.last : i * x->steps.k);
        eff_fetch_tick(x->ahead);
        if (i == 0)
            TILE_BEGIN(0, true);
        tile_load(6, w0, 64);
        tile_load(4, from, src_stride);
        tile_multiply(0, 4, 6);
        if (i == 0)
            TILE_BEGIN(1, channels > 1);
        if (channels > 1) {
            tile_load(7, w1, 64);
            tile_multiply(1, 4, 7);
        }
        if (i == 0)
            TILE_BEGIN(2, pixels > 1);
        if (pixels > 1) {
            tile_load(5, from + second, src_stride);
            tile_multiply(2, 5, 6);
        }
        if (i == 0)
            TILE_BEGIN(3, pixels > 1 && channels > 1);
        if (pixels > 1 && channels > 1)
            tile_multiply(3, 5, 7);
    }
}
#undef TILE_BEGIN

/* Multiplies block b; the one before leaves its tiles for `saved`. */
static EFF_ALWAYS_INLINE void nhwc_multiply(const Nhwc *x, const Block *b, const Block *before, Sums *saved)
{
    const bool two = b->n_pixels > x->tile;
    if (b->n_vectors > 1 && two)
        nhwc_gemm(x, b, 2, 2, before, saved);
    else if (b->n_vectors > 1)
        nhwc_gemm(x, b, 1, 2, before, saved);
    else if (two)
        nhwc_gemm(x, b, 2, 1, before, saved);
    else
        nhwc_gemm(x, b, 1, 1, before, saved);
}

static EFF_ALWAYS_INLINE void nhwc_store(const Nhwc *x, const Block *b, const Sums *sums, Mode mode, int vectors)
{
    const EffPwIo *io = x->io;
    Channels ch[BLOCK_TILES];
    if (mode != MODE_RAW) {
#pragma GCC unroll 2
        for (int n = 0; n < vectors; n++)
            ch[n] = load_channels(&x->op->epi, mode, b->c + TILE_CH * n, mode == MODE_CLAMP || io->dst_u8 != NULL,
                                  mode == MODE_CLAMP ? ORDER_PAIRS : ORDER_PIXELS);
    }
    for (int p = b->skip; p < b->n_pixels; p += 4) {
        const size_t at = (b->at + (size_t)p) * x->stride;
        const Pixels to = {
            .u8 = io->dst_u8 ? io->dst_u8 + at : NULL,
            .s16 = mode != MODE_CLAMP && io->dst_s16 ? io->dst_s16 + at : NULL,
            .residual = mode == MODE_LINEAR && io->residual ? io->residual + at : NULL,
            .s32 = mode == MODE_RAW ? io->dst_s32 + at : NULL,
            .stride = x->stride,
            .n = b->n_pixels - p < 4 ? b->n_pixels - p : 4,
        };
        Four f[BLOCK_TILES];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            const int pixel = p + (r < to.n ? r : 0);
#pragma GCC unroll 2
            for (int n = 0; n < vectors; n++)
                f[n].px[r] = sum_of(sums, n * SECOND_CH + pixel);
        }
        store_fours(&x->shared, ch, mode, &to, b->c, f, vectors);
    }
}

static EFF_ALWAYS_INLINE void nhwc_finish(const Nhwc *x, const Block *b, const Sums *sums, Mode mode)
{
    if (b->n_vectors > 1)
        nhwc_store(x, b, sums, mode, 2);
    else if (b->n_vectors > 0)
        nhwc_store(x, b, sums, mode, 1);
}

/* Two tiles of pixels, or one; where too few remain it reaches back. */
static Block nhwc_block(const Nhwc *x, size_t p, size_t end)
{
    const size_t tile = (size_t)x->tile, left = end - p, n = left > tile ? 2 * tile : tile;
    const size_t whole = x->io->n_pixels < n ? tile : n, back = left < whole ? whole - left : 0;
    return (Block){.at = p - back, .n_pixels = (int)whole, .skip = (int)back};
}

static EFF_ALWAYS_INLINE void run_nhwc(const EffPw *op, const EffPwIo *io, Mode mode)
{
    const int n_ch = eff_ch_pad(op->out_ch);
    Nhwc x = {.op = op,
              .io = io,
              .shared = load_shared(&op->epi, mode),
              .bias = io->bias ? io->bias : op->epi.bias,
              .steps = steps_of(op->in_ch),
              .stride = (size_t)n_ch,
              .tile = io->n_pixels < TILE_PIXELS ? (int)io->n_pixels : TILE_PIXELS};
    const TileConfig config = tile_config(x.tile, x.steps.k);
    const size_t n_blocks =
        (io->n_pixels + 2 * (size_t)x.tile - 1) / (2 * (size_t)x.tile) * (size_t)((n_ch + BLOCK_CH - 1) / BLOCK_CH);
    EffFetch ahead = eff_fetch_begin(io->ahead, n_blocks * (size_t)x.steps.n);
    x.ahead = &ahead;
    const size_t two = 2 * (size_t)x.tile;
    size_t block = SRC_BLOCK_BYTES / io->src_stride / two * two;
    block = block < two ? two : block;
    Sums sums[2];
    Block before = {0}, two_before = {0};
    int turn = 0;
    tiles_configure(&config);
    for (size_t first = 0, end; first < io->n_pixels; first = end) {
        end = io->n_pixels - first < block + block / 2 ? io->n_pixels : first + block;
        for (int c = 0; c < n_ch; c += BLOCK_CH) {
            for (size_t p = first; p < end; turn ^= 1) {
                Block b = nhwc_block(&x, p, end);
                b.c = c;
                b.n_vectors = n_ch - c < BLOCK_CH ? 1 : BLOCK_TILES;
                nhwc_multiply(&x, &b, &before, &sums[turn]);
                nhwc_finish(&x, &two_before, &sums[turn ^ 1], mode);
                two_before = before;
                before = b;
                p = b.at + (size_t)b.n_pixels;
            }
        }
    }
    nhwc_save(&x, &before, &sums[turn]);
    tiles_release();
    nhwc_finish(&x, &two_before, &sums[turn ^ 1], mode);
    nhwc_finish(&x, &before, &sums[turn], mode);
}

#endif
