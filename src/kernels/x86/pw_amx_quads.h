/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs in row quads. A block is up to four tiles by 16 channels: up to 16 columns of the four rows of a quad, or, in
 * small maps, all pixels of one or more quads. Where fewer pixels remain than a tile has, it moves back over some that
 * another has. The epilogue of an earlier block runs a few columns at a time between the products, so that both fit the
 * window of instructions that the CPU looks at; a clamp is short enough to follow them. Static, for pw_u8s8_avx512amx.c
 * only.
 */
#ifndef EFF_KERNELS_X86_PW_AMX_QUADS_H
#define EFF_KERNELS_X86_PW_AMX_QUADS_H

#include "kernels/x86/pw_amx.h"

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

/* Up to n columns of what the epilogue of `old` has yet to do. */
static EFF_ALWAYS_INLINE void drain_columns(const QuadRun *x, Drain *d, const QuadBlock *old, const Sums *sums,
                                            const Channels *ch, Z zero, Mode mode, int n)
{
    const Z turn = turn_rows(0);
    while (n > 0 && d->left > 0) {
        const int now = n < d->n_cols ? n : d->n_cols;
        n -= now;
        d->n_cols -= now;
        for (int i = 0; i < now; i++) {
            const Z px[4] = {_mm512_load_si512(d->r0), _mm512_load_si512(d->r1), _mm512_load_si512(d->r2),
                             _mm512_load_si512(d->r3)};
            const Z quad = _mm512_shuffle_epi8(epilogue_p4c16(&x->shared, ch, mode, px), turn);
            _mm512_storeu_si512(d->dst, _mm512_mask_mov_epi8(zero, d->inside, quad));
            d->r0 += 64;
            d->r1 += 64;
            d->r2 += 64;
            d->r3 += 64;
            d->dst += x->column;
        }
        if (d->n_cols == 0) {
            d->piece++;
            if (--d->left > 0)
                drain_piece(d, old, sums);
        }
    }
}

/* Tile r, constant at each call, in a step. In the first its sums begin: those of the block before leave for memory. */
#define TILE_STEP(r, pixels)                                                                                           \
    do {                                                                                                               \
        if (i == 0 && (r) < n_before)                                                                                  \
            tile_store(r, saved->at[before->shape->at[r]], 64);                                                        \
        if ((r) < n_tiles) {                                                                                           \
            if (i == 0)                                                                                                \
                tile_load(r, b->shape->bias[r] + b->c, 0);                                                             \
            tile_load(pixels, b->shape->src[r] + at, x->pixel);                                                        \
            tile_multiply(r, pixels, 6);                                                                               \
            drain_columns(x, &d, old, sums, &ch, zero, mode, each);                                                    \
        }                                                                                                              \
    } while (0)

/*
 * Multiplies block b. The one before leaves its tiles for `saved`; `old`, whose sums those are, has its epilogue: some
 * columns after each product or, where it is short, all at the end.
 */
static EFF_ALWAYS_INLINE void quad_block(const QuadRun *x, const QuadBlock *b, const QuadBlock *before, Sums *saved,
                                         const QuadBlock *old, const Sums *sums, Mode mode)
{
    const size_t bytes = tile_bytes(&x->steps);
    const int n_tiles = b->shape->n_tiles, n_before = before->shape->n_tiles, n_steps = n_tiles > 0 ? x->steps.n : 1;
    const int8_t *wgt = (const int8_t *)x->op->packed + (size_t)(b->c / TILE_CH * x->steps.n) * bytes;
    const Z zero = zero_quads(x->op->epi.zero + old->c);
    const Channels ch = load_channels(&x->op->epi, mode, old->c, true, ORDER_PAIRS);
    const int n_parts = n_steps * n_tiles;
    const int each = mode == MODE_CLAMP || n_parts == 0 ? 0 : (old->n_cols + n_parts - 1) / n_parts;
    Drain d = {.piece = old->shape->piece, .left = old->shape->n_pieces};
    if (d.left > 0)
        drain_piece(&d, old, sums);
    for (int i = 0; i < n_steps; i++, wgt += bytes) {
        const size_t at = b->src_at + (i == x->steps.n - 1 ? x->last : (size_t)i * x->step);
        eff_fetch_tick(x->ahead);
        if (n_tiles > 0)
            tile_load(6, wgt, 64);
        TILE_STEP(0, 4);
        TILE_STEP(1, 5);
        TILE_STEP(2, 4);
        TILE_STEP(3, 5);
    }
    drain_columns(x, &d, old, sums, &ch, zero, mode, old->n_cols);
}
#undef TILE_STEP

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
        for (int j = io->quad_begin; j < io->quad_end;) {
            int n_rows;
            const int n = flat_quads(io, j, MAX_TILES * tile, &n_rows);
            j += n > 0 ? n : 1;
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

/* All channels of the quads of a shape. */
static EFF_ALWAYS_INLINE void flow_channels(const QuadRun *x, Flow *f, const Shape *shape, Mode mode)
{
    const EffPwQuadIo *io = x->io;
    const int tile = x->cut.tile, last = x->n_cols - tile, n_blocks = x->cut.flat ? 1 : (x->n_cols + tile - 1) / tile;
    for (int c = io->ch_begin; c < io->ch_end; c += TILE_CH) {
        for (int i = 0; i < n_blocks; i++) {
            const int begin = i * tile, col = x->cut.flat || begin < last ? begin : last, skip = begin - col;
            const QuadBlock b = {.shape = shape,
                                 .c = c,
                                 .n_cols = x->cut.flat ? shape->n_pieces * x->n_cols : tile - skip,
                                 .skip = skip,
                                 .src_at = (size_t)col * x->pixel,
                                 .dst_at = (size_t)begin * x->column + (size_t)(c - io->ch_begin) * 4};
            flow(x, f, b, mode);
        }
    }
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
        flow_channels(&x, &f, shape, mode);
    }
    /* The last two blocks. */
    const QuadBlock none = {.shape = &no_shape, .c = io->ch_begin};
    flow(&x, &f, none, mode);
    flow(&x, &f, none, mode);
    tiles_release();
}

#endif
