/* SPDX-License-Identifier: Apache-2.0 */
/* Arena planning: greedy by size, as in Pisarchyk & Lee, arXiv 2001.03288, algorithm 3. */
#include "base/arena.h"
#include "base/mem.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    const EffArenaBlock *x = *(EffArenaBlock *const *)a, *y = *(EffArenaBlock *const *)b;
    if (x->n_bytes != y->n_bytes)
        return x->n_bytes > y->n_bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int by_offset(const void *a, const void *b)
{
    const EffArenaBlock *x = *(EffArenaBlock *const *)a, *y = *(EffArenaBlock *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* The lowest offset at which `b` fits between the placed blocks that live at the same time. */
static bool place(EffArenaBlock *b, EffArenaBlock **live, size_t n_live)
{
    const size_t need = eff_align_up(b->n_bytes);
    size_t at = 0;
    if (n_live > 1)
        qsort(live, n_live, sizeof *live, by_offset);
    for (size_t i = 0; i < n_live; i++) {
        size_t end;
        if (!eff_add_size(&end, at, need))
            return false;
        if (end <= live[i]->offset)
            break;
        const size_t after = live[i]->offset + eff_align_up(live[i]->n_bytes);
        at = after > at ? after : at;
    }
    b->offset = at;
    return true;
}

EffStatus eff_arena_plan(EffArenaBlock *blocks, size_t n, size_t *out_bytes)
{
    EffArenaBlock **order = eff_calloc(2 * n, sizeof *order);
    if (order == NULL)
        return eff_fail_nomem(2 * n * sizeof *order, "the memory plan");
    EffArenaBlock **live = order + n;
    for (size_t i = 0; i < n; i++)
        order[i] = &blocks[i];
    if (n > 1)
        qsort(order, n, sizeof *order, by_size);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        EffArenaBlock *b = order[i];
        size_t n_live = 0, end = 0;
        for (size_t k = 0; k < i; k++) {
            if (order[k]->n_bytes > 0 && order[k]->first <= b->last && b->first <= order[k]->last)
                live[n_live++] = order[k];
        }
        if (b->n_bytes > SIZE_MAX / 4 || !place(b, live, n_live) ||
            !eff_add_size(&end, b->offset, eff_align_up(b->n_bytes))) {
            eff_free(order);
            return eff_fail(EFF_ERR_LIMIT,
                            "the network's activations do not fit the address space; use a smaller --size");
        }
        if (b->n_bytes > 0 && end > total)
            total = end;
    }
    eff_free(order);
    *out_bytes = total;
    return EFF_OK;
}
