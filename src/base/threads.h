/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of threads that share one loop at a time. */
#ifndef EFF_BASE_THREADS_H
#define EFF_BASE_THREADS_H

#include "effnet/base.h"

typedef struct EffPool EffPool;

enum { EFF_MAX_THREADS = 256 };

/** Work on items [begin, end). `worker` is 0 for the caller and below eff_pool_size() for the others. */
typedef void eff_task_fn(void *ctx, size_t begin, size_t end, int worker);

/**
 * CPUs that this process may use, at least 1: those of its affinity mask, and no more than its control group's quota
 * (see cpu_quota.h), rounded down.
 */
int eff_cpu_count(void);

/** Monotonic clock, seconds. */
double eff_now(void);

/**
 * Start `n_threads` - 1 threads; the caller of eff_pool_run() is the last one. 0 means eff_cpu_count().
 * More threads than that are allowed; they give way while they wait.
 * @return EFF_OK, EFF_ERR_ARG (outside 0..EFF_MAX_THREADS), EFF_ERR_NOMEM, EFF_ERR_IO.
 */
EffStatus eff_pool_create(EffPool **out, int n_threads);
int eff_pool_size(const EffPool *pool);

/**
 * Call fn for all of [0, n_items) in pieces of at most `grain` items, in any order, and return when all are done.
 * One caller at a time; a NULL pool runs everything in the caller.
 */
void eff_pool_run(EffPool *pool, size_t n_items, size_t grain, eff_task_fn *fn, void *ctx);

void eff_pool_destroy(EffPool *pool);

#endif
