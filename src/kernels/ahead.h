/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that will be read next, fetched into the caches a few lines at a time while a kernel computes. All at once
 * would fill the core's miss buffers, and what the kernel itself reads would wait.
 */
#ifndef EFF_KERNELS_AHEAD_H
#define EFF_KERNELS_AHEAD_H

#include <stddef.h>
#include <stdint.h>

/** Bytes [at, end); {0} for none. */
typedef struct EffAhead {
    const uint8_t *at, *end;
} EffAhead;

/* Part i of n, which is as long as the others but for rounding. */
static inline EffAhead eff_ahead_part(EffAhead a, size_t i, size_t n)
{
    const size_t bytes = (size_t)(a.end - a.at);
    return n == 0 ? a : (EffAhead){a.at + bytes * i / n, a.at + bytes * (i + 1) / n};
}

/* A fetch in progress. */
typedef struct EffFetch {
    const uint8_t *at, *due, *end;
    size_t step; /* bytes that become due with every tick */
} EffFetch;

static inline EffFetch eff_fetch_begin(EffAhead a, size_t n_ticks)
{
    const size_t bytes = (size_t)(a.end - a.at);
    return (EffFetch){.at = a.at, .due = a.at, .end = a.end, .step = n_ticks > 0 ? (bytes + n_ticks - 1) / n_ticks : 0};
}

static inline void eff_fetch_tick(EffFetch *f)
{
    enum { LINE = 64 };
    if (f->at == f->end)
        return;
    f->due = (size_t)(f->end - f->due) > f->step ? f->due + f->step : f->end;
    for (; f->at<f->due; f->at = (size_t)(f->end - f->at)> LINE ? f->at + LINE : f->end)
        __builtin_prefetch(f->at, 0, 2); /* to the second level: the first is the kernel's */
}

#endif
