/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs groups of steps tile by tile. A tile's place is a thread's scratch; the kernels and what they compute are those
 * of the steps alone, so that every tile gives the same bits.
 */
#include "runtime/exec.h"

#include <assert.h>
#include <string.h>

/* Pixels [begin, end) of a PW step; src: its input from pixel `begin` on. */
static void project(const EffRun *pw, const uint8_t *src, size_t begin, size_t end, EffAhead ahead)
{
    const size_t at = begin * eff_tensor_ch(pw->to);
    eff_pw_pixels(pw, src, pw->dst[0] ? (uint8_t *)pw->dst[0] + at : NULL,
                  pw->dst[1] ? (int16_t *)pw->dst[1] + at : NULL, begin, end, ahead);
}

/* ---- Depthwise: row quads, the convolution, and the pool or the projection ---- */

/* First quads [begin, end) of the strips; `at_start`: of a segment. */
typedef struct Strip {
    int begin, end;
    bool at_start;
} Strip;

static const EffRun *dw_of(const EffGroupRun *g)
{
    return &g->run[1];
}

static Strip segment_of(const EffTile *t, size_t i)
{
    const size_t n = (size_t)t->n_strip_quads, n_segments = (size_t)t->n_segments;
    return (Strip){.begin = (int)(i * n / n_segments), .end = (int)((i + 1) * n / n_segments)};
}

/* The strip of a segment that begins at quad `begin`. */
static Strip strip_at(const EffTile *t, Strip segment, int begin)
{
    const int end = begin + t->strip;
    return (Strip){.begin = begin, .end = end < segment.end ? end : segment.end, .at_start = begin == segment.begin};
}

/* First output row of a first quad, and how many a strip has. */
static int row_of(const EffGroupRun *g, int quad)
{
    const int row = quad * eff_dw_rows_a_quad(&dw_of(g)->layer->dw);
    return row < dw_of(g)->to->h ? row : dw_of(g)->to->h;
}

/*
 * A block of channels of a strip: its row quads, then the convolution.
 *
 * @param quads  the block's place; holds what the strip before left there.
 * @param u8     output row row_of(strip.begin), or NULL; the s16 output is whole.
 */
static void block_of_strip(const EffGroupRun *g, Strip strip, int block, uint8_t *quads, uint8_t *u8, int worker)
{
    const EffTile *t = g->tile;
    const EffRun *dw = dw_of(g);
    const EffSession *s = dw->session;
    const size_t line = (size_t)dw->to->w * eff_tensor_ch(dw->to);
    EffQuads q = dw->layer->quads;
    EffQuadRange range = {.quad_begin = strip.begin, .quad_end = strip.end + t->halo};
    /* What the next steps read: half of this block's part with the quads, half with the convolution. */
    const size_t n_strips = (size_t)(t->n_strip_quads + t->strip - 1) / (size_t)t->strip;
    const size_t part = 2 * ((size_t)block * n_strips + (size_t)(strip.begin / t->strip));
    const size_t n_parts = 2 * n_strips * (size_t)t->n_blocks;
    range.ahead = eff_ahead_part(g->ahead, part, n_parts);
    eff_tile_block(q.ch_stride, t->n_blocks, block, &range.ch_begin, &range.ch_end);
    q.ch_stride = range.ch_end - range.ch_begin;
    const size_t stride = eff_quads_stride(&q), halo = (size_t)t->halo * stride;
    uint8_t *made = quads;
    if (!strip.at_start) {
        memmove(quads, quads + (size_t)t->strip * stride, halo);
        range.quad_begin += t->halo;
        made += halo;
    }
    eff_make_quads(&g->run[0], &q, made, range, eff_scratch(s, worker));

    const int row = row_of(g, strip.begin);
    const EffSums sums =
        g->group->pool != EFF_PLAN_NONE ? eff_sums_at(s, worker, t->sums_at, eff_tensor_ch(dw->to)) : (EffSums){0};
    const EffDwIo io = {
        .src = quads,
        .quads = &q,
        .dst_u8 = u8,
        .dst_s16 = dw->dst[1] != NULL ? (int16_t *)dw->dst[1] + (size_t)row * line : NULL,
        .pool = sums.piece,
        .out_cols = dw->to->w,
        .row_begin = row,
        .row_end = row_of(g, strip.end),
        .ch_begin = range.ch_begin,
        .ch_end = range.ch_end,
        .ahead = eff_ahead_part(g->ahead, part + 1, n_parts),
    };
    eff_run_kernels(dw)->dw_u8s8.run(&dw->layer->dw, &io);
    if (sums.piece != NULL)
        eff_sums_add(sums, (size_t)range.ch_begin, (size_t)range.ch_end);
}

static uint8_t *quads_of(const EffGroupRun *g, int worker)
{
    return eff_scratch(dw_of(g)->session, worker) + g->tile->quads_at;
}

/* Items are (block, segment): a block goes through all strips of a segment. */
static void dw_blocks(void *ctx, size_t begin, size_t end, int worker)
{
    const EffGroupRun *g = ctx;
    const EffTile *t = g->tile;
    const EffRun *dw = dw_of(g);
    uint8_t *map = dw->dst[0] != NULL || !t->whole ? dw->dst[0] : dw->session->shared;
    for (size_t i = begin; i < end; i++) {
        const Strip segment = segment_of(t, i % (size_t)t->n_segments);
        for (int q = segment.begin; q < segment.end; q += t->strip) {
            uint8_t *u8 = map != NULL ? map + (size_t)row_of(g, q) * (size_t)dw->to->w * eff_tensor_ch(dw->to) : NULL;
            block_of_strip(g, strip_at(t, segment, q), (int)(i / (size_t)t->n_segments), quads_of(g, worker), u8,
                           worker);
        }
    }
}

/* Items are segments: a strip goes through all blocks, and is projected. */
static void dw_strips(void *ctx, size_t begin, size_t end, int worker)
{
    const EffGroupRun *g = ctx;
    const EffTile *t = g->tile;
    const EffRun *dw = dw_of(g), *pw = &g->run[2];
    uint8_t *map = eff_scratch(dw->session, worker) + t->map_at;
    for (size_t i = begin; i < end; i++) {
        const Strip segment = segment_of(t, i);
        for (int q = segment.begin; q < segment.end; q += t->strip) {
            const Strip strip = strip_at(t, segment, q);
            for (int block = 0; block < t->n_blocks; block++)
                block_of_strip(g, strip, block, quads_of(g, worker) + (size_t)block * t->quads_bytes, map, worker);
            const size_t first = (size_t)row_of(g, strip.begin) * (size_t)dw->to->w;
            const size_t last = (size_t)row_of(g, strip.end) * (size_t)dw->to->w;
            project(pw, map, first, last, (EffAhead){0});
        }
    }
}

static void run_dw(EffGroupRun *g)
{
    const EffTile *t = g->tile;
    EffPool *pool = g->run[0].session->pool;
    if (g->group->project != EFF_PLAN_NONE && !t->whole) {
        eff_pool_run(pool, (size_t)t->n_segments, 1, dw_strips, g);
        return;
    }
    if (g->group->pool != EFF_PLAN_NONE)
        eff_sums_clear(&g->run[2], t->sums_at);
    eff_pool_run(pool, (size_t)t->n_blocks * (size_t)t->n_segments, 1, dw_blocks, g);
    if (g->group->pool != EFF_PLAN_NONE) {
        eff_sums_mean(&g->run[2], t->sums_at);
    } else if (g->group->project != EFF_PLAN_NONE) {
        g->run[2].src[0] = g->run[2].session->shared;
        eff_run_pw(&g->run[2]);
    }
}

/* The share of pixels [begin, end) in what the next steps read. */
static EffAhead pixels_ahead(const EffGroupRun *g, const EffRun *pw, size_t begin, size_t end)
{
    const size_t n = eff_tensor_pixels(pw->to);
    return (EffAhead){eff_ahead_part(g->ahead, begin, n).at, eff_ahead_part(g->ahead, end - 1, n).end};
}

/* ---- Gated: u8 tiles that are projected ---- */

typedef struct GatedRun {
    const EffGroupRun *group;
    EffQuant quant;
} GatedRun;

static void gated_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const GatedRun *gated = ctx;
    const EffRun *quant = &gated->group->run[0], *pw = &gated->group->run[1];
    const size_t n = eff_tensor_ch(quant->to), tile = gated->group->tile->n_pixels;
    uint8_t *u8 = eff_scratch(quant->session, worker);
    for (size_t next; begin < end; begin = next) {
        next = end - begin > tile ? begin + tile : end;
        eff_run_kernels(quant)->quant_s16u8(&gated->quant, (const int16_t *)quant->src[0] + begin * n, u8,
                                            next - begin);
        project(pw, u8, begin, next, pixels_ahead(gated->group, pw, begin, next));
    }
}

static void run_gated(EffGroupRun *g)
{
    GatedRun gated = {.group = g, .quant = eff_gated_quant(&g->run[0])};
    const size_t n = eff_tensor_pixels(g->run[1].to);
    eff_pool_run(g->run[0].session->pool, n, eff_pw_grain(&g->run[1], n), gated_pixels, &gated);
}

/* ---- Mean: tiles of a map that are added up ---- */

static void mean_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffGroupRun *g = ctx;
    const EffRun *pw = &g->run[0], *pool = &g->run[1];
    const size_t n = eff_tensor_ch(pw->to);
    uint8_t *map = eff_scratch(pw->session, worker);
    const bool to_u8 = pool->in->type == EFF_TENSOR_U8;
    const EffSums sums = eff_sums_at(pw->session, worker, g->tile->sums_at, n);
    for (size_t next; begin < end; begin = next) {
        next = end - begin > g->tile->n_pixels ? begin + g->tile->n_pixels : end;
        eff_pw_pixels(pw, (const uint8_t *)pw->src[0] + begin * eff_tensor_ch(pw->in), to_u8 ? map : NULL,
                      to_u8 ? NULL : (int16_t *)(void *)map, begin, next, pixels_ahead(g, pw, begin, next));
        if (to_u8)
            eff_run_kernels(pool)->pool_u8(sums.piece, map, (int)n, next - begin);
        else
            eff_run_kernels(pool)->pool_s16(sums.piece, (const int16_t *)(const void *)map, (int)n, next - begin);
        eff_sums_add(sums, 0, n);
    }
}

static void run_mean(EffGroupRun *g)
{
    const size_t n = eff_tensor_pixels(g->run[0].to);
    eff_sums_clear(&g->run[1], g->tile->sums_at);
    eff_pool_run(g->run[0].session->pool, n, eff_pw_grain(&g->run[0], n), mean_pixels, g);
    eff_sums_mean(&g->run[1], g->tile->sums_at);
}

void eff_exec_group(EffGroupRun *g)
{
    switch (g->group->form) {
    case EFF_GROUP_DW: run_dw(g); break;
    case EFF_GROUP_GATED: run_gated(g); break;
    case EFF_GROUP_MEAN: run_mean(g); break;
    }
}
