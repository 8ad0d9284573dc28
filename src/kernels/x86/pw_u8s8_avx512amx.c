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
#include <limits.h>
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

enum { MAX_TILES = 4, MAX_PIECES = 3 };

/* Columns of a quad that are to be stored. Its rows outside of the image receive zero[c]. */
typedef struct Piece {
    uint8_t *dst; /* its first column at the first channel */
    int n_cols;
    __mmask64 inside; /* of 16 channels: the bytes of those rows */
    int row[4];       /* of the sums: where those of the quad's rows begin; for rows outside any that has sums */
} Piece;

/* How the pixels of a call are cut. */
typedef struct Cut {
    bool flat;    /* small maps: a block has all pixels of some quads, row after row; else `tile` columns of a quad */
    int n_rows;   /* most rows of a block */
    int tile;     /* pixels of a tile */
    int n_groups; /* of quads, where it is flat */
} Cut;

/* Rows of the image that quad j has: [lo, hi) of its four, the first of which is `top`. */
typedef struct QuadRows {
    int top, lo, hi;
} QuadRows;

static QuadRows quad_rows(const EffQuads *g, int j)
{
    const int top = 4 * j - g->pad_top;
    return (QuadRows){.top = top, .lo = top < 0 ? -top : 0, .hi = g->rows - top < 4 ? g->rows - top : 4};
}

/* The tiles of a block of a quad, or of some, at its first column and channel. */
typedef struct Shape {
    int n_tiles, n_pieces;
    const uint8_t *src[MAX_TILES]; /* the tiles' first pixels */
    int at[MAX_TILES];             /* rows of the sums that they go to */
    const int32_t *bias[MAX_TILES];
    Piece piece[MAX_PIECES];
} Shape;

typedef struct QuadBlock {
    const Shape *shape;
    int c;
    int n_cols; /* of all pieces, to be stored */
    int skip;   /* columns that are not, since the block before has done so */
    size_t src_at, dst_at;
} QuadBlock;

typedef struct QuadRun {
    const EffPw *op;
    const EffPwQuadIo *io;
    Shared shared;
    Steps steps;
    Cut cut;
    int n_cols;
    EffFetch *ahead;                /* a tick a step */
    size_t column;                  /* bytes a column of dst */
    size_t pixel, line, step, last; /* of what the tiles read: bytes from one to the next, and to the last step */
} QuadRun;

/* What the epilogue of a block has yet to do. */
typedef struct Drain {
    const Piece *piece;
    int left, n_cols;                 /* pieces; columns of the first that are left */
    const uint8_t *r0, *r1, *r2, *r3; /* sums of its next column */
    uint8_t *dst;
    __mmask64 inside;
} Drain;

static EFF_ALWAYS_INLINE void drain_piece(Drain *d, const QuadBlock *b, const Sums *sums)
{
    const Piece *p = d->piece;
    d->n_cols = p->n_cols - b->skip;
    d->r0 = (const uint8_t *)sums->at[p->row[0] + b->skip];
    d->r1 = (const uint8_t *)sums->at[p->row[1] + b->skip];
    d->r2 = (const uint8_t *)sums->at[p->row[2] + b->skip];
    d->r3 = (const uint8_t *)sums->at[p->row[3] + b->skip];
    d->dst = p->dst + b->dst_at;
    d->inside = p->inside;
}

/* Sums of tile r, constant at each call: those of the block before leave for memory, and its own begin. */
#define TILE_BEGIN(r)                                                                                                  \
    do {                                                                                                               \
        if ((r) < n_before)                                                                                            \
            tile_store(r, saved->at[before->shape->at[r]], 64);                                                        \
        if ((r) < n_tiles)                                                                                             \
            tile_load(r, b->shape->bias[r] + b->c, 0);                                                                 \
    } while (0)

#define TILE_MULTIPLY(r, pixels)                                                                                       \
    do {                                                                                                               \
        tile_load(pixels, b->shape->src[r] + at, x->pixel);                                                            \
        tile_multiply(r, pixels, 6);                                                                                   \
    } while (0)

/* Multiplies block b. The one before leaves its tiles for `saved`; `old`, whose sums those are, has its epilogue. */
static EFF_ALWAYS_INLINE void quad_block(const QuadRun *x, const QuadBlock *b, const QuadBlock *before, Sums *saved,
                                         const QuadBlock *old, const Sums *sums, Mode mode)
{
    const size_t bytes = tile_bytes(&x->steps);
    const int n_tiles = b->shape->n_tiles, n_before = before->shape->n_tiles;
    const int8_t *wgt = (const int8_t *)x->op->packed + (size_t)(b->c / TILE_CH * x->steps.n) * bytes;
    const Z turn = turn_rows(0), zero = zero_quads(x->op->epi.zero + old->c);
    const Channels ch = load_channels(&x->op->epi, mode, old->c, true, ORDER_PAIRS);
    const int n_parts = n_tiles > 0 ? x->steps.n * n_tiles : MAX_TILES;
    const int each = (old->n_cols + n_parts - 1) / n_parts;
    Drain d = {.piece = old->shape->piece, .left = old->shape->n_pieces};
    if (d.left > 0)
        drain_piece(&d, old, sums);
    for (int part = 0, r = 0, i = 0; part < n_parts; part++) {
        const size_t at = b->src_at + (i == x->steps.n - 1 ? x->last : (size_t)i * x->step);
        if (r == 0)
            eff_fetch_tick(x->ahead);
        if (r == 0 && n_tiles > 0)
            tile_load(6, wgt + (size_t)i * bytes, 64);
        if (i == 0) {
            switch (r) {
            case 0: TILE_BEGIN(0); break;
            case 1: TILE_BEGIN(1); break;
            case 2: TILE_BEGIN(2); break;
            default: TILE_BEGIN(3); break;
            }
        }
        if (n_tiles > 0) {
            switch (r) {
            case 0: TILE_MULTIPLY(0, 4); break;
            case 1: TILE_MULTIPLY(1, 5); break;
            case 2: TILE_MULTIPLY(2, 4); break;
            default: TILE_MULTIPLY(3, 5); break;
            }
        }
        if (++r == n_tiles) {
            if (i == 0) {
                for (; r < n_before; r++) {
                    switch (r) {
                    case 1: TILE_BEGIN(1); break;
                    case 2: TILE_BEGIN(2); break;
                    default: TILE_BEGIN(3); break;
                    }
                }
            }
            r = 0;
            i++;
        }
        for (int todo = each; todo > 0 && d.left > 0;) {
            int n = todo < d.n_cols ? todo : d.n_cols;
            todo -= n;
            d.n_cols -= n;
            for (; n > 0; n--) {
                const Z px[4] = {_mm512_load_si512(d.r0), _mm512_load_si512(d.r1), _mm512_load_si512(d.r2),
                                 _mm512_load_si512(d.r3)};
                const Z quad = _mm512_shuffle_epi8(epilogue_p4c16(&x->shared, &ch, mode, px), turn);
                _mm512_storeu_si512(d.dst, _mm512_mask_mov_epi8(zero, d.inside, quad));
                d.r0 += 64;
                d.r1 += 64;
                d.r2 += 64;
                d.r3 += 64;
                d.dst += x->column;
            }
            if (d.n_cols == 0) {
                d.piece++;
                if (--d.left > 0)
                    drain_piece(&d, old, sums);
            }
        }
    }
}
#undef TILE_BEGIN
#undef TILE_MULTIPLY

/*
 * A tile takes four times as long to load where its rows cross cache lines. Where that happens, and many channels
 * follow, the rows of a block are copied first: [step][row][column][64].
 */
enum { PANEL_BYTES = 32768, PANEL_MIN_CH = 96 };

static bool wants_panel(const QuadRun *x)
{
    const size_t stride = x->io->src_stride, line = TILE_K;
    const bool crosses = stride > line ? stride % line != 0 : line % stride != 0;
    const size_t bytes = (size_t)(x->cut.n_rows * x->steps.n * x->n_cols) * line;
    return crosses && bytes <= PANEL_BYTES && x->io->ch_end - x->io->ch_begin >= PANEL_MIN_CH;
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
            for (int col = 0; col < x->n_cols; col++, from += io->src_stride, to += TILE_K)
                _mm512_store_si512(to, _mm512_maskz_loadu_epi8(k, from));
        }
    }
    tiles_see(panel);
}

/* Quads from j on that a flat block of at most n_pixels takes; *n_rows: the rows of the image that they have. */
static int flat_quads(const EffPwQuadIo *io, int j, int n_pixels, int *n_rows)
{
    const int n_cols = io->col_end - io->col_begin;
    int n = 0;
    *n_rows = 0;
    for (; n < MAX_PIECES && j + n < io->quad_end; n++) {
        const QuadRows q = quad_rows(io->quads, j + n);
        if (q.lo >= q.hi || (*n_rows + q.hi - q.lo) * n_cols > n_pixels)
            break;
        *n_rows += q.hi - q.lo;
    }
    return n;
}

/* Small maps: all tiles of all blocks full, if need be by moving the last one back. */
static Cut cut_flat(const EffPwQuadIo *io)
{
    const int n_cols = io->col_end - io->col_begin;
    int tile = TILE_PIXELS, least, most, n_groups;
    do {
        least = tile;
        most = n_groups = 0;
        for (int j = io->quad_begin, n; j<io->quad_end; j += n> 0 ? n : 1) {
            int n_rows;
            n = flat_quads(io, j, MAX_TILES * tile, &n_rows);
            if (n > 0 && n_rows * n_cols < least)
                least = n_rows * n_cols;
            most = n_rows > most ? n_rows : most;
            n_groups += n > 0;
        }
    } while (least < tile && (tile = least));
    return (Cut){.flat = true, .n_rows = most, .tile = tile, .n_groups = n_groups};
}

static Cut cut_rows(const EffPwQuadIo *io)
{
    const int n_cols = io->col_end - io->col_begin, n_tiles = (n_cols + TILE_PIXELS - 1) / TILE_PIXELS;
    return (Cut){.n_rows = 4, .tile = (n_cols + n_tiles - 1) / n_tiles};
}

/* Three blocks are on their way: see the top of the file. */
typedef struct Flow {
    Shape shape[3];
    QuadBlock block[3];
    Sums sums[2];
    int n_shapes, n;
} Flow;

static const Shape no_shape;

static void flow_start(Flow *f)
{
    for (int i = 0; i < 3; i++)
        f->block[i] = (QuadBlock){.shape = &no_shape};
    f->n_shapes = f->n = 0;
}

/* A shape for the next blocks; those of the two blocks before stay. */
static Shape *flow_shape(Flow *f)
{
    return &f->shape[f->n_shapes++ % 3];
}

static EFF_ALWAYS_INLINE void flow(const QuadRun *x, Flow *f, QuadBlock b, Mode mode)
{
    f->block[f->n % 3] = b;
    quad_block(x, &f->block[f->n % 3], &f->block[(f->n + 2) % 3], &f->sums[f->n % 2], &f->block[(f->n + 1) % 3],
               &f->sums[(f->n + 1) % 2], mode);
    f->n++;
}

/* The row of a quad that stands for row r: itself, or one that has sums. Counted from lo. */
static int within(int r, int lo, int hi)
{
    return (r < lo ? lo : r < hi ? r : hi - 1) - lo;
}

/* n quads from j on, whose n_rows rows begin at src. */
static void flat_shape(Shape *s, const QuadRun *x, int j, int n, int n_rows, const uint8_t *src, uint8_t *dst)
{
    const int n_pixels = n_rows * x->n_cols, tile = x->cut.tile;
    s->n_tiles = (n_pixels + tile - 1) / tile;
    s->n_pieces = n;
    for (int i = 0; i < s->n_tiles; i++) {
        s->at[i] = i < s->n_tiles - 1 ? i * tile : n_pixels - tile;
        s->src[i] = src + (size_t)s->at[i] * x->pixel;
        s->bias[i] = x->op->epi.bias;
    }
    for (int i = 0, row = 0; i < n; i++) {
        const QuadRows q = quad_rows(x->io->quads, j + i);
        Piece *p = &s->piece[i];
        p->dst = dst + (size_t)i * eff_quads_stride(x->io->quads);
        p->n_cols = x->n_cols;
        p->inside = rows_mask(q.lo, q.hi);
        for (int r = 0; r < 4; r++)
            p->row[r] = (row + within(r, q.lo, q.hi)) * x->n_cols;
        row += q.hi - q.lo;
    }
}

/* The first columns of quad q, whose rows begin at src. */
static void row_shape(Shape *s, const QuadRun *x, QuadRows q, const int32_t *const *row_bias, const uint8_t *src,
                      uint8_t *dst)
{
    s->n_tiles = q.hi - q.lo;
    s->n_pieces = 1;
    for (int i = 0; i < s->n_tiles; i++) {
        s->at[i] = i * TILE_PIXELS;
        s->src[i] = src + (size_t)i * x->line;
        s->bias[i] = row_bias ? row_bias[i] : x->op->epi.bias;
    }
    s->piece[0] = (Piece){.dst = dst, .n_cols = x->cut.tile, .inside = rows_mask(q.lo, q.hi)};
    for (int r = 0; r < 4; r++)
        s->piece[0].row[r] = within(r, q.lo, q.hi) * TILE_PIXELS;
}

static EFF_ALWAYS_INLINE void run_quads(const EffPw *op, const EffPwQuadIo *io, Mode mode)
{
    const EffQuads *g = io->quads;
    QuadRun x = {.op = op,
                 .io = io,
                 .shared = load_shared(&op->epi, mode),
                 .steps = steps_of(op->in_ch),
                 .n_cols = io->col_end - io->col_begin,
                 .column = (size_t)g->ch_stride * 4,
                 .pixel = io->src_stride,
                 .line = io->src_row_stride,
                 .step = (size_t)steps_of(op->in_ch).k,
                 .last = (size_t)steps_of(op->in_ch).last};
    _Alignas(64) uint8_t panel[PANEL_BYTES];
    x.cut = x.n_cols <= TILE_PIXELS && io->row_bias == NULL ? cut_flat(io) : cut_rows(io);
    const bool copies = wants_panel(&x);
    if (copies) {
        x.pixel = TILE_K;
        x.line = (size_t)x.n_cols * TILE_K;
        x.step = (size_t)x.cut.n_rows * x.line;
        x.last = (size_t)(x.steps.n - 1) * x.step;
    } else if (x.cut.flat && x.line != (size_t)x.n_cols * x.pixel) {
        x.cut = cut_rows(io);
    }
    const int n_groups =
        x.cut.flat ? x.cut.n_groups : (io->quad_end - io->quad_begin) * ((x.n_cols + x.cut.tile - 1) / x.cut.tile);
    EffFetch ahead =
        eff_fetch_begin(io->ahead, (size_t)(n_groups * ((io->ch_end - io->ch_begin) / TILE_CH) * x.steps.n));
    x.ahead = &ahead;
    const TileConfig config = tile_config(x.cut.tile, x.steps.k);
    const int row0 = quad_rows(g, io->quad_begin).top > 0 ? quad_rows(g, io->quad_begin).top : 0;
    Flow f;
    flow_start(&f);
    tiles_configure(&config);
    for (int j = io->quad_begin, n = 1; j < io->quad_end; j += n) {
        const QuadRows q = quad_rows(g, j);
        uint8_t *dst = io->dst + (size_t)(j - io->quad_begin) * eff_quads_stride(g) + (size_t)g->pad_left * x.column;
        n = 1;
        if (q.lo >= q.hi) {
            zero_columns(op, io, dst, x.column);
            continue;
        }
        int n_rows = q.hi - q.lo;
        if (x.cut.flat)
            n = flat_quads(io, j, MAX_TILES * x.cut.tile, &n_rows);
        dst += (size_t)io->col_begin * x.column;
        const size_t row = (size_t)(q.top + q.lo - row0);
        const uint8_t *src = io->src + row * io->src_row_stride + (size_t)io->col_begin * io->src_stride;
        if (copies) {
            copy_rows(&x, panel, src, n_rows);
            src = panel;
        }
        Shape *shape = flow_shape(&f);
        if (x.cut.flat)
            flat_shape(shape, &x, j, n, n_rows, src, dst);
        else
            row_shape(shape, &x, q, io->row_bias ? io->row_bias + row : NULL, src, dst);
        const int n_blocks = x.cut.flat ? 1 : (x.n_cols + x.cut.tile - 1) / x.cut.tile;
        for (int c = io->ch_begin; c < io->ch_end; c += TILE_CH) {
            for (int i = 0; i < n_blocks; i++) {
                const int begin = i * x.cut.tile, last = x.n_cols - x.cut.tile;
                const int col = x.cut.flat || begin < last ? begin : last, skip = begin - col;
                const QuadBlock b = {.shape = shape,
                                     .c = c,
                                     .n_cols = x.cut.flat ? n * x.n_cols : x.cut.tile - skip,
                                     .skip = skip,
                                     .src_at = (size_t)col * x.pixel,
                                     .dst_at = (size_t)begin * x.column + (size_t)(c - io->ch_begin) * 4};
                flow(&x, &f, b, mode);
            }
        }
    }
    /* The last two blocks. */
    const QuadBlock none = {.shape = &no_shape, .c = io->ch_begin};
    flow(&x, &f, none, mode);
    flow(&x, &f, none, mode);
    tiles_release();
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
