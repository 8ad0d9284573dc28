/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread pool: workers take pieces of the loop from a shared counter. Between loops they spin for some microseconds,
 * since the next one usually follows at once, and then sleep on a condition. The caller waits for those that have
 * joined the loop, not for those that come too late: on a busy machine that may be a time slice.
 *
 * One word says which loop it is, whether it may still be joined, and how many are at work on it; so a loop that finds
 * everybody awake takes no lock. Who spins gives way now and then, and in a pool of more threads than CPUs always: what
 * is waited for may be waiting for this very CPU.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/threads.h"
#include "base/cpu_quota.h"
#include "base/mem.h"
#include "base/status.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

/* Rounds of waiting before a thread sleeps: about 50 microseconds; YIELDS where every one gives way. */
enum { SPINS = 2000, YIELDS = 100, YIELD_EVERY = 64 };

/* The word: loop number, open bit, threads at work besides the caller. */
enum { JOINED_MASK = 0xffff, OPEN = 0x10000, LOOP_SHIFT = 17 };

struct EffPool {
    int n_threads;
    int n_started; /* of the n_threads - 1 */
    int spins;
    bool yields; /* when it spins: to whoever is waited for and has no CPU */
    pthread_t threads[EFF_MAX_THREADS];
    pthread_mutex_t lock; /* for sleeping */
    pthread_cond_t start, done;
    atomic_uint_fast64_t word;
    atomic_int n_sleeping;     /* workers */
    atomic_bool caller_sleeps; /* until nobody is at work */
    atomic_bool stop;
    eff_task_fn *fn; /* these four change only while nobody is at work */
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
    int n = CPU_COUNT(&set);
    const double quota = eff_cpu_quota("");
    if (quota > 0 && quota < n)
        n = (int)(quota + 0.01); /* down: with more threads than quota all stop until the period is over */
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

/* Round i of waiting. Now and then the CPU is offered to others: what is waited for may be on the same one. */
static void relax(const EffPool *pool, int i)
{
    if (pool->yields || i % YIELD_EVERY == YIELD_EVERY - 1)
        sched_yield();
    else
        eff_cpu_relax();
}

static uint64_t loop_of(uint64_t word)
{
    return word >> LOOP_SHIFT;
}

/* Wait for another loop than `seen`, or the end. */
static void wait_for_loop(EffPool *pool, uint64_t seen)
{
    for (int i = 0; i < pool->spins; i++) {
        if (loop_of(atomic_load(&pool->word)) != seen || atomic_load(&pool->stop))
            return;
        relax(pool, i);
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_sleeping, 1); /* before looking: the caller looks here after it has changed the word */
    while (loop_of(atomic_load(&pool->word)) == seen && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->start, &pool->lock);
    atomic_fetch_sub(&pool->n_sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
}

/* Join the loop if that is still possible; `seen` becomes its number either way. */
static bool join_loop(EffPool *pool, uint64_t *seen)
{
    uint64_t word = atomic_load(&pool->word);
    while ((word & OPEN) != 0) {
        if (atomic_compare_exchange_weak(&pool->word, &word, word + 1)) {
            *seen = loop_of(word);
            return true;
        }
    }
    *seen = loop_of(word);
    return false;
}

static void leave_loop(EffPool *pool)
{
    const uint64_t before = atomic_fetch_sub(&pool->word, 1);
    if ((before & (OPEN | JOINED_MASK)) != 1 || !atomic_load(&pool->caller_sleeps))
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg)
{
    const Worker me = *(Worker *)arg;
    EffPool *pool = me.pool;
    eff_free(arg);
    uint64_t seen = 0;
    for (;;) {
        wait_for_loop(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        if (!join_loop(pool, &seen))
            continue;
        take_pieces(pool, me.index);
        leave_loop(pool);
    }
}

EffStatus eff_pool_create(EffPool **out, int n_threads)
{
    if (n_threads < 0 || n_threads > EFF_MAX_THREADS)
        return eff_fail(EFF_ERR_ARG, "%d threads; use 1 to %d, or 0 for one a CPU", n_threads, EFF_MAX_THREADS);
    EffPool *pool = eff_calloc(1, sizeof *pool);
    if (pool == NULL)
        return eff_fail_nomem(sizeof *pool, "the thread pool");
    const int n_cpus = eff_cpu_count();
    pool->n_threads = n_threads ? n_threads : n_cpus;
    pool->yields = pool->n_threads > n_cpus;
    pool->spins = pool->yields ? YIELDS : SPINS;
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
    pool->fn = fn;
    pool->ctx = ctx;
    pool->n_items = n_items;
    pool->grain = grain;
    atomic_store(&pool->next, 0);
    const uint64_t loop = loop_of(atomic_load(&pool->word)) + 1;
    atomic_store(&pool->word, loop << LOOP_SHIFT | OPEN);
    if (atomic_load(&pool->n_sleeping) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->start);
        pthread_mutex_unlock(&pool->lock);
    }
    take_pieces(pool, 0);
    atomic_fetch_and(&pool->word, ~(uint_fast64_t)OPEN);
    for (int i = 0; i < pool->spins && (atomic_load(&pool->word) & JOINED_MASK) > 0; i++)
        relax(pool, i);
    if ((atomic_load(&pool->word) & JOINED_MASK) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_sleeps, true); /* before looking: who leaves looks here afterwards */
    while ((atomic_load(&pool->word) & JOINED_MASK) > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->caller_sleeps, false);
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
