/* SPDX-License-Identifier: Apache-2.0 */
/* Planning an arena: offsets for blocks whose lifetimes are known ahead. */
#ifndef EFF_BASE_ARENA_H
#define EFF_BASE_ARENA_H

#include "effnet/base.h"

/* A block that is needed from step `first` to step `last`, both included. */
typedef struct EffArenaBlock {
    size_t n_bytes;
    int first, last;
    size_t offset; /* set by eff_arena_plan(), a multiple of EFF_ALIGN */
} EffArenaBlock;

/**
 * Give every block an offset so that blocks alive at the same step do not overlap: largest first, each at the lowest
 * offset that is free for its whole life. Blocks with n_bytes = 0 take no room. Deterministic.
 *
 * @param out_bytes  receives the size of the arena.   @return EFF_OK, EFF_ERR_LIMIT (size overflows), EFF_ERR_NOMEM.
 */
EffStatus eff_arena_plan(EffArenaBlock *blocks, size_t n, size_t *out_bytes);

#endif
