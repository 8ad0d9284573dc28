/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles of a group: how much of its local tensors exists at a time. Chosen when a session is created, for its number
 * of threads; results do not depend on it.
 */
#ifndef EFF_RUNTIME_TILE_H
#define EFF_RUNTIME_TILE_H

#include "format/group.h"
#include "format/layer.h"

/* Blocks of channels are multiples of this: of EFF_PARAM_ALIGN, at which kernels can be cut, and of the 24, 32 and 48
 * channels that their tiles are wide, so that a cut costs them nothing. */
enum { EFF_TILE_CH = 96 };

/* Bytes that tiles should stay below; they may be above where the smallest tile is. */
typedef struct EffTileLimits {
    size_t block_bytes; /* row quads of one block of channels */
    size_t strip_bytes; /* row quads and convolution output of a strip, all channels, before a projection */
    size_t whole_bytes; /* a convolution's output that is kept whole before its projection, since that splits better */
    size_t pixel_bytes; /* pixels of a local NHWC tensor */
} EffTileLimits;

extern const EffTileLimits eff_tile_limits;

/*
 * DW   strips of `strip` first quads (the rows that come from them, 4 / stride a quad), `n_blocks` blocks of channels.
 *      Without a projection, and with `whole`, a block goes through all strips, else a strip through all blocks. The
 *      quads that a strip shares with the next one are moved, not made again; a segment starts anew.
 * GATED, MEAN   `n_pixels` pixels.
 */
typedef struct EffTile {
    int strip, n_strip_quads, halo; /* n_strip_quads: first quads of all strips; halo: quads read beyond */
    int n_blocks, n_segments;
    bool whole;
    size_t n_pixels;
    /* Scratch of a thread: stem's workspace | row quads of a block, or of all | convolution's output | sums. */
    size_t quads_at, quads_bytes, map_at, sums_at; /* quads_bytes: of one block */
    size_t each_bytes, shared_bytes;
} EffTile;

/* Channels [begin, end) of block i of `n_blocks`; n_ch is padded. */
static inline void eff_tile_block(int n_ch, int n_blocks, int i, int *begin, int *end)
{
    const int units = n_ch / EFF_TILE_CH; /* what is left over goes to the last block */
    *begin = (int)((int64_t)i * units / n_blocks) * EFF_TILE_CH;
    *end = i == n_blocks - 1 ? n_ch : (int)((int64_t)(i + 1) * units / n_blocks) * EFF_TILE_CH;
}

/* layers: [plan->n_steps]. */
void eff_tile_choose(EffTile *out, const EffPlan *plan, const EffLayer *layers, const EffGroup *group,
                     const EffTileLimits *limits, int n_threads);

#endif
