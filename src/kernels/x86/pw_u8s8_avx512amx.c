/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointwise convolution on AMX: tile registers multiply 16 pixels by 64 input channels by 16 output channels in 16
 * cycles, eight times what VNNI does, beside the vector units.
 *
 * A block in NHWC is 32 pixels by 32 channels; in row quads 16 columns of four rows by 16 channels. Where fewer pixels
 * remain than a tile has, it moves back over some that are done, and they are not stored again. Three blocks are on
 * their way at a time, so that none waits for another (results leave a tile some 100 cycles after its inputs entered,
 * and a store of tiles is not forwarded to loads):
 *
 *   the tiles of the block before go to one of two buffers;
 *   this block's products begin;
 *   the epilogue of the block before the one before.
 *
 *   packed weights   [out_ch / 16][step][k / 4][16][4], k = min(64, in_ch rounded up to 4) input channels a step
 *
 * The last step ends with the last input channel, so that no pixel is read beyond its end; what it has in common with
 * the step before has weights of 0.
 */
#include "kernels/levels.h"
#include "kernels/table.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/lookup_avx512vbmi.h"
#include "kernels/x86/quads_avx512.h"

#include <assert.h>
#include <string.h>

enum {
    BLOCK_TILES = 2, /* of pixels, and of channels, of an NHWC block */
    BLOCK_CH = BLOCK_TILES * TILE_CH,
    SRC_BLOCK_BYTES = 24576, /* pixels that are kept in L1 while the weights pass by */
    FEW_CH = 16              /* up to here moving sums through memory costs more than VNNI's products */
};

/* For layers with few input channels. */
static const EffPwKernel *const vnni = &eff_pw_u8s8_12x32_avx512vbmi;

/* How the input channels are cut. */
typedef struct Steps {
    int n, k; /* k input channels each */
    int last; /* where the last one begins */
} Steps;

static Steps steps_of(int in_ch)
{
    const int n_in = (in_ch + 3) / 4 * 4, k = n_in < TILE_K ? n_in : TILE_K;
    return (Steps){(n_in + k - 1) / k, k, n_in - k};
}

static size_t tile_bytes(const Steps *s)
{
    return (size_t)s->k * TILE_CH;
}

static size_t packed_bytes(int in_ch, int out_ch)
{
    if (in_ch <= FEW_CH)
        return vnni->packed_bytes(in_ch, out_ch);
    const Steps s = steps_of(in_ch);
    return (size_t)(eff_ch_pad(out_ch) / TILE_CH * s.n) * tile_bytes(&s);
}

static void pack(void *packed, const int8_t *wgt, int in_ch, int out_ch)
{
    if (in_ch <= FEW_CH) {
        vnni->pack(packed, wgt, in_ch, out_ch);
        return;
    }
    const Steps s = steps_of(in_ch);
    memset(packed, 0, packed_bytes(in_ch, out_ch));
    for (int o = 0; o < out_ch; o++) {
        const int8_t *from = wgt + (size_t)o * (size_t)in_ch;
        int8_t *to = (int8_t *)packed + (size_t)(o / TILE_CH * s.n) * tile_bytes(&s) + (size_t)(o % TILE_CH * 4);
        for (int step = 0; step < s.n; step++, to += tile_bytes(&s)) {
            const bool is_last = step == s.n - 1;
            const int first = step * s.k, end = is_last ? in_ch : first + s.k, begin = is_last ? s.last : first;
            int i = first;
            for (; i + 4 <= end; i += 4)
                memcpy(to + (size_t)(i - begin) * TILE_CH, from + i, 4);
            memcpy(to + (size_t)(i - begin) * TILE_CH, from + i, (size_t)(end - i));
        }
    }
}

/* Sums of a block. NHWC: row 32 n + p has pixel p and the n-th 16 channels; row quads: row 16 r + x has row r of
 * column x. */
typedef struct Sums {
    _Alignas(64) int32_t at[4 * TILE_PIXELS][TILE_CH];
} Sums;

static EFF_ALWAYS_INLINE Z sum_of(const Sums *s, int row)
{
    return _mm512_load_si512(s->at[row]);
}

/* ---- NHWC ---- */

enum { SECOND_CH = BLOCK_TILES * TILE_PIXELS }; /* row of sums where the second 16 channels begin */

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
    int tile; /* pixels of a tile */
} Nhwc;

/* Constant at each call: tiles of pixels and of channels. */
static EFF_ALWAYS_INLINE void nhwc_gemm(const Nhwc *x, const Block *b, int pixels, int channels)
{
    const size_t src_stride = x->io->src_stride, bytes = tile_bytes(&x->steps);
    const uint8_t *src = x->io->src + b->at * src_stride;
    const int8_t *w0 = (const int8_t *)x->op->packed + (size_t)(b->c / TILE_CH * x->steps.n) * bytes;
    const int8_t *w1 = w0 + (size_t)x->steps.n * bytes;
    const size_t second = (size_t)x->tile * src_stride;
    tile_load(0, x->bias + b->c, 0);
    if (channels > 1)
        tile_load(1, x->bias + b->c + TILE_CH, 0);
    if (pixels > 1)
        tile_load(2, x->bias + b->c, 0);
    if (pixels > 1 && channels > 1)
        tile_load(3, x->bias + b->c + TILE_CH, 0);
    for (int i = 0; i < x->steps.n; i++, w0 += bytes, w1 += bytes) {
        const uint8_t *from = src + (i == x->steps.n - 1 ? x->steps.last : i * x->steps.k);
        tile_load(6, w0, 64);
        tile_load(4, from, src_stride);
        tile_multiply(0, 4, 6);
        if (channels > 1) {
            tile_load(7, w1, 64);
            tile_multiply(1, 4, 7);
        }
        if (pixels > 1) {
            tile_load(5, from + second, src_stride);
            tile_multiply(2, 5, 6);
            if (channels > 1)
                tile_multiply(3, 5, 7);
        }
    }
}

/* The tiles of a block that has been multiplied. */
static EFF_ALWAYS_INLINE void nhwc_save(const Nhwc *x, const Block *b, Sums *sums)
{
    const bool second = b->n_pixels > x->tile;
    if (b->n_vectors == 0)
        return;
    tile_store(0, sums->at[0], 64);
    if (second)
        tile_store(2, sums->at[x->tile], 64);
    if (b->n_vectors > 1) {
        tile_store(1, sums->at[SECOND_CH], 64);
        if (second)
            tile_store(3, sums->at[SECOND_CH + x->tile], 64);
    }
}

static EFF_ALWAYS_INLINE void nhwc_multiply(const Nhwc *x, const Block *b)
{
    const bool two = b->n_pixels > x->tile;
    if (b->n_vectors > 1 && two)
        nhwc_gemm(x, b, 2, 2);
    else if (b->n_vectors > 1)
        nhwc_gemm(x, b, 1, 2);
    else if (two)
        nhwc_gemm(x, b, 2, 1);
    else
        nhwc_gemm(x, b, 1, 1);
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
    const Nhwc x = {.op = op,
                    .io = io,
                    .shared = load_shared(&op->epi, mode),
                    .bias = io->bias ? io->bias : op->epi.bias,
                    .steps = steps_of(op->in_ch),
                    .stride = (size_t)n_ch,
                    .tile = io->n_pixels < TILE_PIXELS ? (int)io->n_pixels : TILE_PIXELS};
    const TileConfig config = tile_config(x.tile, x.steps.k);
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
                nhwc_save(&x, &before, &sums[turn]);
                nhwc_multiply(&x, &b);
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

static void run(const EffPw *op, const EffPwIo *io)
{
    assert(io->src_stride >= (size_t)(op->in_ch + 3) / 4 * 4);
    assert(io->residual == NULL || op->epi.kind == EFF_OUT_S16);
    if (op->in_ch <= FEW_CH) {
        vnni->run(op, io);
        return;
    }
    if (io->n_pixels == 0)
        return;
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: nhwc_clamp(op, io); break;
    case MODE_LINEAR: nhwc_linear(op, io); break;
    case MODE_STAIR: nhwc_stair(op, io); break;
    case MODE_INTERP: nhwc_interp(op, io); break;
    case MODE_RAW: nhwc_raw(op, io); break;
    }
}

/* ---- Row quads ---- */

/* Columns of a quad. Its rows [lo, hi) are in the image: tile i has row lo + i. All others receive zero[c]. */
typedef struct QuadBlock {
    const uint8_t *src; /* the first row in the image, first column */
    uint8_t *dst;       /* first column, channel c */
    int lo, hi;
    int n_cols, skip; /* the first `skip` columns have been stored */
    int c;
    const int32_t *bias[4]; /* of the tiles, at channel 0 */
} QuadBlock;

typedef struct QuadRun {
    const EffPw *op;
    const EffPwQuadIo *io;
    Shared shared;
    Steps steps;
    size_t column;                  /* bytes a column of dst */
    size_t pixel, line, step, last; /* of what the tiles read: bytes from one to the next, and to the last step */
} QuadRun;

/* `rows` tiles, constant at each call. */
static EFF_ALWAYS_INLINE void quad_gemm(const QuadRun *x, const QuadBlock *b, int rows)
{
    const size_t bytes = tile_bytes(&x->steps), pixel = x->pixel, line = x->line;
    const int8_t *wgt = (const int8_t *)x->op->packed + (size_t)(b->c / TILE_CH * x->steps.n) * bytes;
    tile_load(0, b->bias[0] + b->c, 0);
    if (rows > 1)
        tile_load(1, b->bias[1] + b->c, 0);
    if (rows > 2)
        tile_load(2, b->bias[2] + b->c, 0);
    if (rows > 3)
        tile_load(3, b->bias[3] + b->c, 0);
    for (int i = 0; i < x->steps.n; i++, wgt += bytes) {
        const uint8_t *src = b->src + (i == x->steps.n - 1 ? x->last : (size_t)i * x->step);
        tile_load(6, wgt, 64);
        tile_load(4, src, pixel);
        tile_multiply(0, 4, 6);
        if (rows > 1) {
            tile_load(5, src + line, pixel);
            tile_multiply(1, 5, 6);
        }
        if (rows > 2) {
            tile_load(4, src + 2 * line, pixel);
            tile_multiply(2, 4, 6);
        }
        if (rows > 3) {
            tile_load(5, src + 3 * line, pixel);
            tile_multiply(3, 5, 6);
        }
    }
}

static EFF_ALWAYS_INLINE void quad_save(const QuadBlock *b, Sums *sums)
{
    const int rows = b->hi - b->lo;
    if (rows == 0)
        return;
    tile_store(0, sums->at[0], 64);
    if (rows > 1)
        tile_store(1, sums->at[TILE_PIXELS], 64);
    if (rows > 2)
        tile_store(2, sums->at[2 * TILE_PIXELS], 64);
    if (rows > 3)
        tile_store(3, sums->at[3 * TILE_PIXELS], 64);
}

static EFF_ALWAYS_INLINE void quad_multiply(const QuadRun *x, const QuadBlock *b)
{
    switch (b->hi - b->lo) {
    case 1: quad_gemm(x, b, 1); break;
    case 2: quad_gemm(x, b, 2); break;
    case 3: quad_gemm(x, b, 3); break;
    default: quad_gemm(x, b, 4); break;
    }
}

static EFF_ALWAYS_INLINE void quad_store(const QuadRun *x, const QuadBlock *b, const Sums *sums, Mode mode, bool whole)
{
    const Channels ch = load_channels(&x->op->epi, mode, b->c, true, ORDER_PAIRS);
    const Z turn = turn_rows(0), zero = zero_quads(x->op->epi.zero + b->c);
    const __mmask64 inside = rows_mask(b->lo, b->hi);
    int row[4];
    for (int r = 0; r < 4; r++) {
        const int within = r < b->lo ? b->lo : r < b->hi ? r : b->hi - 1;
        row[r] = (whole ? r : within - b->lo) * TILE_PIXELS;
    }
    uint8_t *dst = b->dst + (size_t)b->skip * x->column;
    for (int col = b->skip; col < b->n_cols; col++, dst += x->column) {
        const Z px[4] = {sum_of(sums, row[0] + col), sum_of(sums, row[1] + col), sum_of(sums, row[2] + col),
                         sum_of(sums, row[3] + col)};
        Z quad = _mm512_shuffle_epi8(epilogue_p4c16(&x->shared, &ch, mode, px), turn);
        if (!whole)
            quad = _mm512_mask_mov_epi8(zero, inside, quad);
        _mm512_storeu_si512(dst, quad);
    }
}

static EFF_ALWAYS_INLINE void quad_finish(const QuadRun *x, const QuadBlock *b, const Sums *sums, Mode mode)
{
    if (b->hi - b->lo == 4)
        quad_store(x, b, sums, mode, true);
    else if (b->hi > b->lo)
        quad_store(x, b, sums, mode, false);
}

/*
 * A tile takes four times as long to load where its rows cross cache lines. Where that happens, and many channels
 * follow, the rows of a quad are copied first: [row][step][column][64].
 */
enum { PANEL_BYTES = 32768, PANEL_MIN_CH = 96 };

static bool wants_panel(const EffPwQuadIo *io, const Steps *steps)
{
    const size_t stride = io->src_stride, line = TILE_K;
    const bool crosses = stride > line ? stride % line != 0 : line % stride != 0;
    const size_t bytes = (size_t)(4 * steps->n * (io->col_end - io->col_begin)) * line;
    return crosses && bytes <= PANEL_BYTES && io->ch_end - io->ch_begin >= PANEL_MIN_CH;
}

/* All columns of n_rows rows. */
static void copy_rows(const QuadRun *x, uint8_t *panel, const uint8_t *src, int n_rows)
{
    const EffPwQuadIo *io = x->io;
    const __mmask64 k = ~(__mmask64)0 >> (TILE_K - x->steps.k);
    for (int r = 0; r < n_rows; r++, src += io->src_row_stride) {
        for (int i = 0; i < x->steps.n; i++) {
            const uint8_t *from = src + (i == x->steps.n - 1 ? x->steps.last : i * x->steps.k);
            uint8_t *to = panel + (size_t)r * x->line + (size_t)i * x->step;
            for (int col = io->col_begin; col < io->col_end; col++, from += io->src_stride, to += TILE_K)
                _mm512_store_si512(to, _mm512_maskz_loadu_epi8(k, from));
        }
    }
    tiles_see(panel);
}

static EFF_ALWAYS_INLINE void run_quads(const EffPw *op, const EffPwQuadIo *io, Mode mode)
{
    const EffQuads *g = io->quads;
    QuadRun x = {.op = op,
                 .io = io,
                 .shared = load_shared(&op->epi, mode),
                 .steps = steps_of(op->in_ch),
                 .column = (size_t)g->ch_stride * 4,
                 .pixel = io->src_stride,
                 .line = io->src_row_stride};
    const int n_cols = io->col_end - io->col_begin, n_tiles = (n_cols + TILE_PIXELS - 1) / TILE_PIXELS;
    const int tile = (n_cols + n_tiles - 1) / n_tiles;
    const int first_top = 4 * io->quad_begin - g->pad_top, row0 = first_top > 0 ? first_top : 0;
    const TileConfig config = tile_config(tile, x.steps.k);
    _Alignas(64) uint8_t panel[PANEL_BYTES];
    const bool copies = wants_panel(io, &x.steps);
    x.step = copies ? (size_t)n_cols * TILE_K : (size_t)x.steps.k;
    x.last = copies ? (size_t)(x.steps.n - 1) * x.step : (size_t)x.steps.last;
    if (copies) {
        x.pixel = TILE_K;
        x.line = (size_t)x.steps.n * x.step;
    }
    Sums sums[2];
    QuadBlock before = {0}, two_before = {0};
    int turn = 0;
    tiles_configure(&config);
    for (int j = io->quad_begin; j < io->quad_end; j++) {
        const int top = 4 * j - g->pad_top, lo = top < 0 ? -top : 0, hi = g->rows - top < 4 ? g->rows - top : 4;
        uint8_t *dst = io->dst + (size_t)(j - io->quad_begin) * eff_quads_stride(g) + (size_t)g->pad_left * x.column;
        if (lo >= hi) {
            zero_columns(op, io, dst, x.column);
            continue;
        }
        QuadBlock b = {.lo = lo, .hi = hi, .n_cols = tile};
        for (int r = 0; r < 4; r++)
            b.bias[r] = io->row_bias && lo + r < hi ? io->row_bias[top + lo + r - row0] : op->epi.bias;
        const uint8_t *src =
            io->src + (size_t)(top + lo - row0) * io->src_row_stride + (size_t)io->col_begin * io->src_stride;
        if (copies) {
            copy_rows(&x, panel, src, hi - lo);
            src = panel;
        }
        for (b.c = io->ch_begin; b.c < io->ch_end; b.c += TILE_CH) {
            for (int begin = io->col_begin; begin < io->col_end; begin += tile, turn ^= 1) {
                const int col = begin + tile < io->col_end ? begin : io->col_end - tile;
                b.src = src + (size_t)(col - io->col_begin) * x.pixel;
                b.dst = dst + (size_t)col * x.column + (size_t)(b.c - io->ch_begin) * 4;
                b.skip = begin - col;
                quad_save(&before, &sums[turn]);
                quad_multiply(&x, &b);
                quad_finish(&x, &two_before, &sums[turn ^ 1], mode);
                two_before = before;
                before = b;
            }
        }
    }
    quad_save(&before, &sums[turn]);
    tiles_release();
    quad_finish(&x, &two_before, &sums[turn ^ 1], mode);
    quad_finish(&x, &before, &sums[turn], mode);
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

static void run_all_quads(const EffPw *op, const EffPwQuadIo *io)
{
    assert(io->ch_begin % EFF_PARAM_ALIGN == 0 && io->ch_end - io->ch_begin <= io->quads->ch_stride);
    assert(io->ch_end % EFF_PARAM_ALIGN == 0 || io->ch_end == eff_ch_pad(op->out_ch));
    assert(io->col_begin >= 0 && io->col_end <= io->quads->cols && io->quad_end <= io->quads->n_quads);
    if (op->in_ch <= FEW_CH) {
        vnni->run_quads(op, io);
        return;
    }
    if (io->col_begin >= io->col_end)
        return;
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: quads_clamp(op, io); break;
    case MODE_LINEAR: quads_linear(op, io); break;
    case MODE_STAIR: quads_stair(op, io); break;
    case MODE_INTERP: quads_interp(op, io); break;
    case MODE_RAW: assert(!"quads of sums"); break;
    }
}

/* Joining the bytes of 16-bit inputs has no products: that is the next lower level's. */
const EffPwKernel eff_pw_u8s8_32x32_avx512amx = {
    "pw_u8s8_32x32_avx512amx", packed_bytes, pack, run, run_all_quads, NULL};
