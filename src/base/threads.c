/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread pool: workers take pieces of the loop from a shared counter. Between loops they spin for some microseconds,
 * since the next one usually follows at once, and then sleep on a condition. The caller waits for those that have
 * joined the loop, not for those that come too late: on a busy machine that may be a time slice.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/threads.h"
#include "base/mem.h"
#include "base/status.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

/* Rounds of waiting before a thread sleeps: about 50 microseconds. */
enum { SPINS = 2000 };

struct EffPool {
    int n_threads;
    int n_started; /* of the n_threads - 1 */
    pthread_t threads[EFF_MAX_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    atomic_uint_fast64_t generation; /* of the loop; each new one wakes the workers */
    atomic_bool stop;
    bool open;           /* workers may still join this generation */
    atomic_int n_joined; /* workers at work on it */
    eff_task_fn *fn;
    void *ctx;
    size_t n_items, grain;
    atomic_size_t next;
};

typedef struct Worker {
    EffPool *pool;
    int index;
} Worker;

int eff_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    const int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > EFF_MAX_THREADS ? EFF_MAX_THREADS : n;
}

double eff_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void take_pieces(EffPool *pool, int worker)
{
    for (;;) {
        const size_t begin = atomic_fetch_add(&pool->next, pool->grain);
        if (begin >= pool->n_items)
            return;
        const size_t left = pool->n_items - begin;
        pool->fn(pool->ctx, begin, begin + (left < pool->grain ? left : pool->grain), worker);
    }
}

static void *worker_main(void *arg)
{
    const Worker me = *(Worker *)arg;
    EffPool *pool = me.pool;
    eff_free(arg);
    uint64_t seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&pool->generation) == seen && !atomic_load(&pool->stop); i++)
            eff_cpu_relax();
        pthread_mutex_lock(&pool->lock);
        while (atomic_load(&pool->generation) == seen && !atomic_load(&pool->stop))
            pthread_cond_wait(&pool->start, &pool->lock);
        seen = atomic_load(&pool->generation);
        const bool join = pool->open;
        if (join)
            atomic_fetch_add(&pool->n_joined, 1);
        pthread_mutex_unlock(&pool->lock);
        if (atomic_load(&pool->stop))
            return NULL;
        if (!join)
            continue;
        take_pieces(pool, me.index);
        if (atomic_fetch_sub(&pool->n_joined, 1) == 1) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

EffStatus eff_pool_create(EffPool **out, int n_threads)
{
    if (n_threads < 0 || n_threads > EFF_MAX_THREADS)
        return eff_fail(EFF_ERR_ARG, "%d threads; use 1 to %d, or 0 for one a CPU", n_threads, EFF_MAX_THREADS);
    EffPool *pool = eff_calloc(1, sizeof *pool);
    if (pool == NULL)
        return eff_fail_nomem(sizeof *pool, "the thread pool");
    pool->n_threads = n_threads ? n_threads : eff_cpu_count();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (int i = 1; i < pool->n_threads; i++) {
        Worker *w = eff_malloc(sizeof *w);
        if (w == NULL) {
            eff_pool_destroy(pool);
            return eff_fail_nomem(sizeof *w, "a thread");
        }
        *w = (Worker){.pool = pool, .index = i};
        const int err = pthread_create(&pool->threads[i], NULL, worker_main, w);
        if (err != 0) {
            eff_free(w);
            eff_pool_destroy(pool);
            return eff_fail(EFF_ERR_IO, "cannot start thread %d: %s; use fewer threads", i, strerror(err));
        }
        pool->n_started++;
    }
    *out = pool;
    return EFF_OK;
}

int eff_pool_size(const EffPool *pool)
{
    return pool != NULL ? pool->n_threads : 1;
}

void eff_pool_run(EffPool *pool, size_t n_items, size_t grain, eff_task_fn *fn, void *ctx)
{
    if (grain == 0)
        grain = 1;
    if (pool == NULL || pool->n_threads == 1 || n_items <= grain) {
        for (size_t i = 0; i < n_items; i += grain)
            fn(ctx, i, i + grain < n_items ? i + grain : n_items, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->fn = fn;
    pool->ctx = ctx;
    pool->n_items = n_items;
    pool->grain = grain;
    atomic_store(&pool->next, 0);
    pool->open = true;
    atomic_fetch_add(&pool->generation, 1);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    take_pieces(pool, 0);
    pthread_mutex_lock(&pool->lock);
    pool->open = false;
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < SPINS && atomic_load(&pool->n_joined) > 0; i++)
        eff_cpu_relax();
    if (atomic_load(&pool->n_joined) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->n_joined) > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void eff_pool_destroy(EffPool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i <= pool->n_started; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->lock);
    eff_free(pool);
}
