/* SPDX-License-Identifier: Apache-2.0 */
/* A session: the memory and the threads of one run at a time. */
#include "runtime/session.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>

static size_t image_bytes(const EffPlan *plan)
{
    return (size_t)plan->pre.size * (size_t)plan->pre.size * EFF_STEM_CH;
}

EffStatus eff_session_create(EffSession **out, const EffModel *m, int n_threads)
{
    EffSession *s = eff_calloc(1, sizeof *s);
    if (s == NULL)
        return eff_fail_nomem(sizeof *s, "a session");
    s->model = m;
    EffStatus st = eff_pool_create(&s->pool, n_threads);
    if (st == EFF_OK) {
        s->arena = eff_malloc((size_t)m->plan.arena_bytes);
        s->image = eff_calloc(1, image_bytes(&m->plan) + EFF_OVERREAD);
        s->each = eff_calloc((size_t)eff_pool_size(s->pool), m->scratch_each);
        s->shared = eff_calloc(1, m->scratch_shared);
        if (s->arena == NULL || s->image == NULL || s->each == NULL || s->shared == NULL)
            st = eff_fail_nomem((size_t)m->plan.arena_bytes, "activations");
    }
    if (st != EFF_OK) {
        eff_session_destroy(s);
        return st;
    }
    *out = s;
    return EFF_OK;
}

void eff_session_destroy(EffSession *s)
{
    if (s == NULL)
        return;
    eff_pool_destroy(s->pool);
    eff_free(s->arena);
    eff_free(s->image);
    eff_free(s->each);
    eff_free(s->shared);
    eff_free(s->times);
    eff_free(s);
}

void *eff_session_tensor(EffSession *s, int tensor)
{
    if (tensor == EFF_PLAN_NONE)
        return NULL;
    return tensor == 0 ? s->image : s->arena + s->model->plan.tensors[tensor].arena_offset;
}

static void run_step(EffSession *s, int index)
{
    const EffPlan *plan = &s->model->plan;
    const EffPlanStep *step = &plan->steps[index];
    EffRun run = {.session = s,
                  .step = step,
                  .layer = &s->model->layers[index],
                  .in = &plan->tensors[step->in[0]],
                  .to = eff_step_output(plan, step),
                  .src = {eff_session_tensor(s, step->in[0]), eff_session_tensor(s, step->in[1])},
                  .dst = {eff_session_tensor(s, step->out[0]), eff_session_tensor(s, step->out[1])}};
    if (step->op < EFF_STEP_F32_INPUT)
        eff_exec_int8(&run);
    else
        eff_exec_f32(&run);
}

void eff_session_run_steps(EffSession *s, int begin, int end)
{
    for (int i = begin; i < end; i++)
        run_step(s, i);
}

void eff_session_run_tapped(EffSession *s, const uint8_t *pixels, float *logits, eff_step_tap_fn *tap, void *ctx)
{
    const EffPlan *plan = &s->model->plan;
    memcpy(s->image, pixels, image_bytes(plan));
    for (int i = 0; i < plan->n_steps; i++) {
        const double start = s->times != NULL ? eff_now() : 0;
        run_step(s, i);
        if (s->times != NULL) {
            EffStepTime *time = &s->times[i];
            const double took = eff_now() - start;
            time->seconds += took;
            time->best = time->best == 0 || took < time->best ? took : time->best;
        }
        for (int k = 0; tap != NULL && k < 2; k++) {
            const int out = plan->steps[i].out[k];
            if (out != EFF_PLAN_NONE)
                tap(ctx, i, &plan->tensors[out], eff_session_tensor(s, out));
        }
    }
    memcpy(logits, eff_session_tensor(s, plan->output), (size_t)plan->n_classes * sizeof *logits);
}

void eff_session_run(EffSession *s, const uint8_t *pixels, float *logits)
{
    eff_session_run_tapped(s, pixels, logits, NULL, NULL);
}

EffStatus eff_session_profile(EffSession *s)
{
    const EffPlan *plan = &s->model->plan;
    const size_t n = (size_t)plan->n_steps;
    if (s->times == NULL)
        s->times = eff_calloc(n, sizeof *s->times);
    if (s->times == NULL)
        return eff_fail_nomem(n * sizeof *s->times, "the profile");
    for (size_t i = 0; i < n; i++)
        s->times[i] = (EffStepTime){
            .name = plan->steps[i].name, .op = eff_step_op_name(plan->steps[i].op), .macs = s->model->layers[i].macs};
    return EFF_OK;
}

const EffStepTime *eff_session_times(const EffSession *s)
{
    return s->times;
}
