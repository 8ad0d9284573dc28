/* SPDX-License-Identifier: Apache-2.0 */
/* Running a model over many pictures, several at a time. */
#include "evaluate.h"
#include "progress.h"

#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"

#include <pthread.h>
#include <string.h>

typedef struct Job {
    const Dataset *d;
    ModelSession *sessions; /* one a worker */
    Evaluation *e;
    bool apply_orientation;
    pthread_mutex_t lock; /* for what follows */
    Progress progress;
    size_t n_done;
    size_t failed_at; /* lowest index that failed, so that the message does not depend on threads */
    EffStatus status;
    char message[1024];
} Job;

static void run_pictures(void *ctx, size_t begin, size_t end, int worker)
{
    Job *job = ctx;
    ModelSession *s = &job->sessions[worker];
    for (size_t i = begin; i < end; i++) {
        pthread_mutex_lock(&job->lock);
        const bool skip = job->status != EFF_OK && job->failed_at < i;
        pthread_mutex_unlock(&job->lock);
        if (skip)
            return;
        const EffStatus st = model_session_run(s, job->d->paths[i], job->apply_orientation);
        if (st == EFF_OK)
            memcpy(job->e->logits + i * (size_t)job->e->n_classes, s->logits,
                   (size_t)job->e->n_classes * sizeof *s->logits);
        pthread_mutex_lock(&job->lock);
        if (st != EFF_OK && (job->status == EFF_OK || i < job->failed_at)) {
            job->status = st;
            job->failed_at = i;
            strncpy(job->message, eff_last_message(), sizeof job->message - 1);
        }
        progress_update(&job->progress, ++job->n_done);
        pthread_mutex_unlock(&job->lock);
    }
}

EffStatus evaluate(Evaluation *out, const Model *m, const Dataset *d, const EvaluateOptions *o)
{
    EffPool *pool = NULL;
    EffStatus st = eff_pool_create(&pool, o->n_threads);
    if (st != EFF_OK)
        return st;
    const int n_workers = eff_pool_size(pool);
    Evaluation e = {.n_classes = m->info->n_classes, .n_threads = n_workers};
    Job job = {.d = d, .e = &e, .apply_orientation = o->apply_orientation, .lock = PTHREAD_MUTEX_INITIALIZER};
    e.logits = eff_calloc(d->n * (size_t)m->info->n_classes, sizeof *e.logits);
    job.sessions = eff_calloc((size_t)n_workers, sizeof *job.sessions);
    if (e.logits == NULL || job.sessions == NULL)
        st = eff_fail_nomem(d->n * (size_t)m->info->n_classes * sizeof *e.logits, "logits");
    for (int i = 0; i < n_workers && st == EFF_OK; i++) {
        st = model_session_create(&job.sessions[i], m, 1);
        if (st == EFF_OK)
            job.sessions[i].fast_decode = o->fast_decode;
    }
    if (st == EFF_OK) {
        job.progress = progress_begin("pictures", d->n, o->quiet);
        const double started = eff_now();
        eff_pool_run(pool, d->n, 1, run_pictures, &job);
        e.seconds = eff_now() - started;
        progress_end(&job.progress);
        if (job.status != EFF_OK)
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
