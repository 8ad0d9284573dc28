/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: one arena and its threads, the loop over the steps, and what they took. */
#include "runtime/session.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>

static size_t pixel_bytes(const EffModel *m)
{
    return (size_t)m->plan.pre.size * (size_t)m->plan.pre.size * 3;
}

EffStatus eff_session_create(EffSession **out, const EffModel *m, int n_threads)
{
    EffSession *s = eff_calloc(1, sizeof *s);
    if (s == NULL)
        return eff_fail_nomem(sizeof *s, "a session");
    s->model = m;
    EffStatus st = eff_pool_create(&s->pool, n_threads);
    if (st == EFF_OK) {
        s->n_threads = eff_pool_size(s->pool);
        s->arena = eff_calloc(1, m->plan.arena_bytes + EFF_OVERREAD);
        s->pixels = eff_calloc(1, pixel_bytes(m) + EFF_OVERREAD);
        s->each = eff_calloc((size_t)s->n_threads, m->each_bytes);
        s->shared = eff_calloc(1, m->shared_bytes);
        if (s->arena == NULL || s->pixels == NULL || s->each == NULL || s->shared == NULL)
            st = eff_fail_nomem(m->plan.arena_bytes, "activations");
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
    eff_free(s->pixels);
    eff_free(s->each);
    eff_free(s->shared);
    eff_free(s->times);
    eff_free(s);
}

void eff_session_run_tapped(EffSession *s, const uint8_t *pixels, float *logits, eff_step_tap_fn *tap, void *ctx)
{
    const EffPlan *plan = &s->model->plan;
    memcpy(s->pixels, pixels, pixel_bytes(s->model));
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *step = &plan->steps[i];
        const double started = s->times != NULL ? eff_now() : 0;
        if (step->op < EFF_STEP_F32_INPUT)
            eff_exec_int8(s, i);
        else
            eff_exec_f32(s, i);
        if (s->times != NULL)
            s->times[i].seconds += eff_now() - started;
        for (int k = 0; k < 2 && tap != NULL; k++) {
            if (step->out[k] != EFF_PLAN_NONE)
                tap(ctx, i, &plan->tensors[step->out[k]], eff_session_data(s, step->out[k]));
        }
    }
    memcpy(logits, eff_session_data(s, plan->output), (size_t)plan->n_classes * sizeof *logits);
}

void eff_session_run(EffSession *s, const uint8_t *pixels, float *logits)
{
    eff_session_run_tapped(s, pixels, logits, NULL, NULL);
}

EffStatus eff_session_profile(EffSession *s)
{
    const EffPlan *plan = &s->model->plan;
    if (s->times == NULL)
        s->times = eff_calloc((size_t)plan->n_steps, sizeof *s->times);
    if (s->times == NULL)
        return eff_fail_nomem((size_t)plan->n_steps * sizeof *s->times, "the profile");
    for (int i = 0; i < plan->n_steps; i++)
        s->times[i] = (EffStepTime){
            .name = plan->steps[i].name, .op = eff_step_op_name(plan->steps[i].op), .macs = s->model->layers[i].macs};
    return EFF_OK;
}

const EffStepTime *eff_session_times(const EffSession *s)
{
    return s->times;
}

/* ---- Real values, for reports ---- */

/* Offset, in elements, of [y][x][c] in a tensor's layout. */
static size_t element(const EffModel *m, int tensor, int y, int x, int c)
{
    const EffPlanTensor *t = &m->plan.tensors[tensor];
    const size_t row = (size_t)t->w;
    switch (t->layout) {
    case EFF_LAYOUT_NHWC: return ((size_t)y * row + (size_t)x) * (size_t)eff_ch_pad(t->c) + (size_t)c;
    case EFF_LAYOUT_QUADS: {
        EffQuads q;
        eff_plan_quads(&q, &m->plan, &m->plan.steps[m->readers[tensor]]);
        const int padded = y + q.pad_top;
        return (size_t)(padded / 4) * eff_quads_stride(&q) +
               ((size_t)(x + q.pad_left) * (size_t)q.ch_stride + (size_t)c) * 4 + (size_t)(padded % 4);
    }
    default: return ((size_t)y * row + (size_t)x) * (size_t)t->c + (size_t)c;
    }
}

void eff_tensor_to_f32(const EffModel *m, int tensor, const void *data, float *dst)
{
    const EffPlanTensor *t = &m->plan.tensors[tensor];
    const float *scales = t->n_scales > 0 ? (const float *)(const void *)(m->plan.data + t->scale) : NULL;
    const uint8_t *zeros = t->n_scales > 0 && t->type == EFF_TENSOR_U8 ? m->plan.data + t->zero : NULL;
    for (int y = 0; y < t->h; y++) {
        for (int x = 0; x < t->w; x++) {
            for (int c = 0; c < t->c; c++) {
                const size_t at = element(m, tensor, y, x, c), k = t->n_scales > 1 ? (size_t)c : 0;
                float q;
                if (t->type == EFF_TENSOR_F32)
                    q = ((const float *)data)[at];
                else if (t->type == EFF_TENSOR_S16)
                    q = ((const int16_t *)data)[at];
                else
                    q = ((const uint8_t *)data)[at];
                if (scales != NULL)
                    q = scales[k] * (q - (zeros != NULL ? zeros[k] : 0));
                *dst++ = q;
            }
        }
    }
}
