/* SPDX-License-Identifier: Apache-2.0 */
/* Timing a model. */
#include "timing.h"

#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = 10000000 };
static const double warm_seconds = 0.3;

struct Timer {
    Timing timing;
    const TimingInputs *inputs;
    EffPool *pool;         /* of the sessions; NULL for one */
    EffSession **sessions; /* [n_sessions] */
    float *logits;         /* [n_sessions][n_classes] */
    int *last_input;       /* [n_sessions]; -1 before the first run */
    atomic_bool unstable;
    double *ms; /* where the times of the loop at work go; NULL: to nobody */
    int n_done; /* runs so far */
};

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double percentile(const double *sorted, int n, double p)
{
    const int rank = (int)ceil(p * n / 100 - 1e-9); /* 99.9 % of 1000 is 999, whatever the rounding */
    return sorted[rank > 0 ? rank - 1 : 0];
}

static double middle(const double *sorted, int n)
{
    return n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

TimeStats timing_stats(double *ms, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += ms[i];
    qsort(ms, (size_t)n, sizeof *ms, compare_doubles);
    return (TimeStats){.min = ms[0],
                       .mean = sum / n,
                       .median = middle(ms, n),
                       .p90 = percentile(ms, n, 90),
                       .p99 = percentile(ms, n, 99),
                       .p999 = percentile(ms, n, 99.9)};
}

double timing_median(const double *values, int n)
{
    double sorted[TIMING_ROUNDS];
    assert(n > 0 && n <= TIMING_ROUNDS);
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
    return middle(sorted, n);
}

static uint64_t fnv1a(uint64_t hash, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

void timing_picture(uint8_t *pixels, int size, int i)
{
    eff_synthetic_picture(pixels, size, (uint64_t)i);
}

EffStatus timing_inputs_init(TimingInputs *inputs, const EffModel *m)
{
    const EffModelInfo *info = eff_model_info(m);
    const size_t n_bytes = (size_t)info->pre.size * (size_t)info->pre.size * 3;
    TimingInputs in = {.info = info, .digest = 0xcbf29ce484222325u};
    EffSession *s = NULL;
    EffStatus st = eff_session_create(&s, m, 1);
    for (int i = 0; i < TIMING_INPUTS && st == EFF_OK; i++) {
        in.pixels[i] = eff_malloc(n_bytes);
        in.logits[i] = eff_calloc((size_t)info->n_classes, sizeof **in.logits);
        if (in.pixels[i] == NULL || in.logits[i] == NULL) {
            st = eff_fail_nomem(n_bytes, "pictures");
            break;
        }
        timing_picture(in.pixels[i], info->pre.size, i);
        eff_session_run(s, in.pixels[i], in.logits[i]);
        in.digest = fnv1a(in.digest, in.logits[i], (size_t)info->n_classes * sizeof **in.logits);
    }
    eff_session_destroy(s);
    if (st != EFF_OK)
        timing_inputs_free(&in);
    else
        *inputs = in;
    return st;
}

void timing_inputs_free(TimingInputs *inputs)
{
    for (int i = 0; i < TIMING_INPUTS; i++) {
        eff_free(inputs->pixels[i]);
        eff_free(inputs->logits[i]);
    }
    *inputs = (TimingInputs){0};
}

static float *logits_of(const Timer *t, int session)
{
    return t->logits + (size_t)session * (size_t)t->inputs->info->n_classes;
}

/* Are the logits of the session's last run those of its picture? */
static void check_last(Timer *t, int session)
{
    const size_t n_bytes = (size_t)t->inputs->info->n_classes * sizeof *t->logits;
    const int input = t->last_input[session];
    if (input >= 0 && memcmp(logits_of(t, session), t->inputs->logits[input], n_bytes) != 0)
        atomic_store(&t->unstable, true);
}

static void run_one(Timer *t, int session, size_t picture)
{
    const int input = (int)(picture % TIMING_INPUTS);
    eff_session_run(t->sessions[session], t->inputs->pixels[input], logits_of(t, session));
    t->last_input[session] = input;
}

/* Pictures [begin, end) of a loop. What is checked is the run before, outside of its time. */
static void run_pictures(void *ctx, size_t begin, size_t end, int worker)
{
    Timer *t = ctx;
    for (size_t i = begin; i < end; i++) {
        check_last(t, worker);
        const double start = eff_now();
        run_one(t, worker, i);
        if (t->ms != NULL)
            t->ms[i] = 1e3 * (eff_now() - start);
    }
}

/* `n` runs. Returns how long they took in seconds, checks included where pictures run one by one. */
static double run_many(Timer *t, double *ms, int n)
{
    const int batch = t->timing.work.batch;
    const double start = eff_now();
    if (batch == 0) {
        t->ms = ms;
        eff_pool_run(t->pool, (size_t)n, 1, run_pictures, t);
        return eff_now() - start;
    }
    t->ms = NULL;
    for (int i = 0; i < n; i++) {
        const double before = eff_now();
        eff_pool_run(t->pool, (size_t)batch, 1, run_pictures, t);
        if (ms != NULL)
            ms[i] = 1e3 * (eff_now() - before);
    }
    return eff_now() - start;
}

/* Warm up; then how many runs fit in `seconds`. */
static int warm_up(Timer *t, double seconds)
{
    const int at_a_time = t->timing.work.batch == 0 ? t->timing.work.n_sessions : 1;
    const double started = eff_now();
    double best = INFINITY; /* seconds a run */
    do {
        const double took = run_many(t, NULL, at_a_time) / at_a_time;
        best = took < best ? took : best;
    } while (eff_now() - started < warm_seconds);
    const double n = seconds / best;
    return n < TIMING_ROUNDS ? TIMING_ROUNDS : n > MAX_RUNS ? MAX_RUNS : (int)n;
}

EffStatus timing_session(EffSession **out, const EffModel *m, const Workload *work)
{
    return work->unfused ? eff_session_create_unfused(out, m, work->n_threads)
                         : eff_session_create(out, m, work->n_threads);
}

EffStatus timer_create(Timer **out, const EffModel *m, const TimingInputs *inputs, const Workload *work, int n_runs,
                       double seconds)
{
    Timer *t = eff_calloc(1, sizeof *t);
    if (t == NULL)
        return eff_fail_nomem(sizeof *t, "the measurement");
    const size_t n = (size_t)work->n_sessions;
    t->inputs = inputs;
    t->timing.work = *work;
    t->sessions = eff_calloc(n, sizeof *t->sessions);
    t->logits = eff_calloc(n * (size_t)inputs->info->n_classes, sizeof *t->logits);
    t->last_input = eff_calloc(n, sizeof *t->last_input);
    EffStatus st = EFF_OK;
    if (t->sessions == NULL || t->logits == NULL || t->last_input == NULL)
        st = eff_fail_nomem(n * (size_t)inputs->info->n_classes * sizeof *t->logits, "the measurement");
    for (size_t i = 0; i < n && st == EFF_OK; i++) {
        t->last_input[i] = -1;
        st = timing_session(&t->sessions[i], m, work);
    }
    if (st == EFF_OK && n > 1)
        st = eff_pool_create(&t->pool, work->n_sessions);
    if (st == EFF_OK) {
        t->timing.memory = eff_session_memory(t->sessions[0]);
        const int fits = warm_up(t, seconds);
        t->timing.n_runs = seconds > 0 ? fits : n_runs;
        t->timing.ms = eff_calloc((size_t)t->timing.n_runs, sizeof *t->timing.ms);
        if (t->timing.ms == NULL)
            st = eff_fail_nomem((size_t)t->timing.n_runs * sizeof *t->timing.ms, "times");
    }
    if (st != EFF_OK) {
        timer_destroy(t);
        return st;
    }
    *out = t;
    return EFF_OK;
}

void timer_round(Timer *t, int r)
{
    Timing *timing = &t->timing;
    const int64_t total = timing->n_runs;
    const int until = (int)(total * (r + 1) / TIMING_ROUNDS), n = until - t->n_done;
    if (n < 1)
        return;
    double *ms = timing->ms + t->n_done;
    const double seconds = run_many(t, ms, n);
    t->n_done = until;
    const int pictures = timing->work.batch > 0 ? n * timing->work.batch : n;
    timing->round_rate[timing->n_rounds] = pictures / seconds;
    timing->round_median[timing->n_rounds] = timing_stats(ms, n).median;
    timing->n_rounds++;
}

const Timing *timer_finish(Timer *t)
{
    Timing *timing = &t->timing;
    for (int i = 0; i < timing->work.n_sessions; i++)
        check_last(t, i);
    timing->stable = !atomic_load(&t->unstable);
    timing->stats = timing_stats(timing->ms, timing->n_runs);
    timing->rate = timing_median(timing->round_rate, timing->n_rounds);
    return timing;
}

void timer_destroy(Timer *t)
{
    if (t == NULL)
        return;
    for (int i = 0; t->sessions != NULL && i < t->timing.work.n_sessions; i++)
        eff_session_destroy(t->sessions[i]);
    eff_pool_destroy(t->pool);
    eff_free(t->sessions);
    eff_free(t->logits);
    eff_free(t->last_input);
    eff_free(t->timing.ms);
    eff_free(t);
}
