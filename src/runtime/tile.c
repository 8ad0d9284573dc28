/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing tiles; doc/kernels.md has the measurements. All sizes are at most those of whole tensors, which fit. */
#include "runtime/tile.h"
#include "base/mem.h"
#include "runtime/exec.h"

#include <math.h>

const EffTileLimits eff_tile_limits = {
    .block_bytes = (size_t)256 << 10,
    .strip_bytes = (size_t)256 << 10,
    .whole_bytes = (size_t)256 << 10,
    .pixel_bytes = (size_t)64 << 10,
};

enum {
    BLOCKS_A_THREAD = 4, /* where there are channels enough: splitting them costs nothing */
    MAX_SEGMENTS = 4,    /* a thread */
    PIXEL_UNIT = 12      /* divides by all kernels' tiles */
};

static size_t at_least(size_t n, size_t least)
{
    return n > least ? n : least;
}

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

/* How many units of `unit` bytes fit, less `used` of them; at least 1, at most `most`. */
static size_t fitting(size_t bytes, size_t unit, size_t used, size_t most)
{
    const size_t n = bytes / unit;
    return at_most(n > used ? n - used : 1, most);
}

/*
 * Segments of `n_quads` first quads for threads that share them and `n_blocks` blocks: the fewest that take the least
 * time. Every segment but the first makes `halo` quads again, which is most of the work.
 */
static size_t choose_segments(size_t n_quads, size_t halo, size_t n_blocks, size_t n_threads)
{
    size_t best = 1;
    double best_time = HUGE_VAL;
    for (size_t n = 1; n <= MAX_SEGMENTS * n_threads && n <= n_quads; n++) {
        const size_t n_items = n * n_blocks, rounds = (n_items + n_threads - 1) / n_threads;
        const double time = (double)rounds / (double)n_items * (double)(n_quads + (n - 1) * halo);
        if (time < best_time * 0.99) {
            best_time = time;
            best = n;
        }
    }
    return best;
}

static void choose_dw(EffTile *t, const EffPlan *plan, const EffLayer *layers, const EffGroup *g,
                      const EffTileLimits *limits, size_t n_threads)
{
    const EffPlanStep *first = &plan->steps[g->first], *dw = first + 1;
    const EffLayer *layer = &layers[g->first + 1];
    const EffPlanTensor *out = eff_step_output(plan, dw);
    const size_t rows = (size_t)eff_dw_rows_a_quad(&layer->dw), n_ch = (size_t)layer->quads.ch_stride;
    const size_t n_quads = ((size_t)out->h + rows - 1) / rows;
    const size_t halo = ((rows - 1) * (size_t)dw->stride + (size_t)dw->kernel - 1) / 4;
    const size_t a_channel = 4 * (size_t)layer->quads.n_cols; /* bytes of a quad */
    const size_t line = (size_t)out->w * n_ch;                /* bytes of an output row in u8 */
    const bool stem = first->op == EFF_STEP_STEM, pool = g->pool != EFF_PLAN_NONE;
    const bool project = g->project != EFF_PLAN_NONE, whole = project && (size_t)out->h * line <= limits->whole_bytes;
    const bool strips = project && !whole; /* through all blocks */
    /* The rows of a strip must not pool too much for 32 bits. */
    const size_t most = pool ? at_most(n_quads, EFF_DW_POOL_MAX / ((size_t)out->w * rows)) : n_quads;

    /* Blocks: as many channels as a whole map leaves room for, or else the fewest. */
    const size_t units = at_least(n_ch / EFF_TILE_CH, 1);
    const size_t width = fitting(limits->block_bytes, EFF_TILE_CH * a_channel * (n_quads + halo), 0, units);
    size_t n_blocks = (units + width - 1) / width;
    if (n_threads > 1 && !strips)
        n_blocks = at_least(n_blocks, n_threads * BLOCKS_A_THREAD);
    n_blocks = stem ? 1 : at_most(n_blocks, units);
    /* The widest block is the first of the longer ones, or the last, with what is left over. */
    const size_t left = n_ch % EFF_TILE_CH;
    const size_t block_ch = at_most((units + n_blocks - 1) / n_blocks * EFF_TILE_CH + left, n_ch);

    size_t strip = strips ? fitting(limits->strip_bytes, a_channel * n_ch + rows * line, halo, most)
                          : fitting(limits->block_bytes, a_channel * block_ch, halo, most);
    if (dw->stride == 2 && strip > 1)
        strip -= strip % 2; /* kernels make the rows of two first quads a step */
    const size_t segments = choose_segments(n_quads, halo, strips ? 1 : n_blocks, n_threads);
    t->strip = (int)strip;
    t->n_strip_quads = (int)n_quads;
    t->halo = (int)halo;
    t->n_blocks = (int)n_blocks;
    t->n_segments = (int)segments;
    t->whole = whole;
    t->quads_at = stem ? eff_align_up(eff_stem_workspace_bytes(&layers[g->first].stem)) : 0;
    t->quads_bytes = eff_align_up((strip + halo) * block_ch * a_channel);
    t->map_at = t->quads_at + (strips ? n_blocks : 1) * t->quads_bytes;
    t->sums_at = t->map_at + (strips ? eff_align_up(strip * rows * line) : 0);
    t->each_bytes = t->sums_at + (pool ? eff_sums_bytes(n_ch) : 0);
    t->shared_bytes = whole ? (size_t)out->h * line : 0;
}

static void choose_pixels(EffTile *t, const EffPlan *plan, const EffGroup *g, const EffTileLimits *limits)
{
    const EffPlanStep *s = &plan->steps[g->first];
    const EffPlanTensor *map = eff_step_output(plan, s);
    const size_t n_ch = eff_tensor_ch(map), a_pixel = n_ch * (map->type == EFF_TENSOR_S16 ? sizeof(int16_t) : 1);
    const size_t n = limits->pixel_bytes / a_pixel / PIXEL_UNIT * PIXEL_UNIT;
    t->n_pixels = at_most(at_most(at_least(n, PIXEL_UNIT), EFF_DW_POOL_MAX), eff_tensor_pixels(map));
    t->sums_at = eff_align_up(t->n_pixels * a_pixel);
    t->each_bytes = t->sums_at + (g->form == EFF_GROUP_MEAN ? eff_sums_bytes(n_ch) : 0);
    t->shared_bytes = g->form == EFF_GROUP_GATED ? (size_t)eff_param_pad(map->c) * sizeof(int16_t) : 0;
}

void eff_tile_choose(EffTile *out, const EffPlan *plan, const EffLayer *layers, const EffGroup *g,
                     const EffTileLimits *limits, int n_threads)
{
    *out = (EffTile){0};
    if (g->form == EFF_GROUP_DW)
        choose_dw(out, plan, layers, g, limits, (size_t)n_threads);
    else
        choose_pixels(out, plan, g, limits);
}
