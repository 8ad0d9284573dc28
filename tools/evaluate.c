/* SPDX-License-Identifier: Apache-2.0 */
/* Running a model over many pictures, several at a time. */
#include "evaluate.h"
#include "interrupt.h"
#include "progress.h"
#include "views.h"

#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"

#include <pthread.h>
#include <string.h>

typedef struct Job {
    const Dataset *d;
    ModelSession *sessions; /* one a worker */
    Evaluation *e;
    const EvaluateOptions *options;
    pthread_mutex_t lock; /* for what follows */
    Progress progress;
    size_t n_done;
    size_t failed_at; /* lowest index that failed, so that the message does not depend on threads */
    EffStatus status;
    char message[1024];
} Job;

/* All views of picture i, which is decoded once. */
static EffStatus run_views(Job *job, ModelSession *s, size_t i)
{
    const EffDecodeOptions decode = {.apply_orientation = job->options->apply_orientation};
    const size_t n_views = (size_t)job->e->n_views, n_classes = (size_t)job->e->n_classes;
    const char *path = job->d->paths[i];
    EffImage image = {0};
    EffStatus st = eff_image_open(&image, path, &decode);
    if (st != EFF_OK)
        return st;
    float *logits = job->e->logits + i * n_views * n_classes;
    for (size_t v = 0; v < n_views && st == EFF_OK && !interrupt_seen(); v++, logits += n_classes) {
        st = views_evaluate(s->pixels, &image, &s->model->info->pre, (int)v);
        if (st == EFF_OK)
            eff_session_run(s->session, s->pixels, logits);
        else
            eff_fail_in(st, "%s", path);
    }
    eff_image_free(&image);
    return st;
}

static void run_pictures(void *ctx, size_t begin, size_t end, int worker)
{
    Job *job = ctx;
    ModelSession *s = &job->sessions[worker];
    for (size_t i = begin; i < end; i++) {
        pthread_mutex_lock(&job->lock);
        const bool skip = job->status != EFF_OK && job->failed_at < i;
        pthread_mutex_unlock(&job->lock);
        if (skip || interrupt_seen())
            return;
        const EffStatus st = run_views(job, s, i);
        pthread_mutex_lock(&job->lock);
        if (st != EFF_OK && (job->status == EFF_OK || i < job->failed_at)) {
            job->status = st;
            job->failed_at = i;
            strncpy(job->message, eff_last_message(), sizeof job->message - 1);
        }
        job->n_done += !interrupt_seen();
        progress_update(&job->progress, job->n_done);
        pthread_mutex_unlock(&job->lock);
    }
}

EffStatus evaluate(Evaluation *out, const Model *m, const Dataset *d, const EvaluateOptions *options)
{
    EffPool *pool = NULL;
    EffStatus st = eff_pool_create(&pool, options->n_threads);
    if (st != EFF_OK)
        return st;
    const int n_workers = eff_pool_size(pool);
    Evaluation e = {.n_views = options->n_views, .n_classes = m->info->n_classes, .n_threads = n_workers};
    Job job = {.d = d, .e = &e, .options = options, .lock = PTHREAD_MUTEX_INITIALIZER};
    const size_t n_rows = d->n * (size_t)options->n_views, n_classes = (size_t)e.n_classes;
    e.logits = eff_calloc(n_rows, n_classes * sizeof *e.logits);
    job.sessions = eff_calloc((size_t)n_workers, sizeof *job.sessions);
    if (e.logits == NULL || job.sessions == NULL)
        st = eff_fail_nomem(n_rows * n_classes * sizeof *e.logits, "logits");
    for (int i = 0; i < n_workers && st == EFF_OK; i++) {
        st = model_session_create(&job.sessions[i], m, 1);
        if (st == EFF_OK)
            job.sessions[i].fast_decode = options->fast_decode;
    }
    if (st == EFF_OK) {
        job.progress = progress_begin("pictures", d->n, options->quiet);
        const double started = eff_now();
        eff_pool_run(pool, d->n, 1, run_pictures, &job);
        e.seconds = eff_now() - started;
        progress_end(&job.progress);
        if (interrupt_seen())
            st = eff_fail(EFF_ERR_INTERRUPTED, "interrupted after %zu of %zu pictures", job.n_done, d->n);
        else if (job.status != EFF_OK)
            st = eff_fail(job.status, "%s", job.message);
    }
    for (int i = 0; job.sessions != NULL && i < n_workers; i++)
        model_session_free(&job.sessions[i]);
    eff_free(job.sessions);
    eff_pool_destroy(pool);
    pthread_mutex_destroy(&job.lock);
    if (st != EFF_OK) {
        evaluation_free(&e);
        return st;
    }
    *out = e;
    return EFF_OK;
}

void evaluation_free(Evaluation *e)
{
    eff_free(e->logits);
    *e = (Evaluation){0};
}
