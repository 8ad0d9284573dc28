/* SPDX-License-Identifier: Apache-2.0 */
/* Models and sessions from inside: what the compiler, the reports and the tests need beyond effnet/runtime.h. */
#ifndef EFF_RUNTIME_SESSION_H
#define EFF_RUNTIME_SESSION_H

#include "base/threads.h"
#include "effnet/runtime.h"
#include "format/layer.h"
#include "format/plan.h"
#include "kernels/table.h"

struct EffModel {
    EffPlan plan;
    EffModelInfo info;
    EffKernels kernels;
    EffLayer *layers;                /* [n_steps] */
    int *readers;                    /* [n_tensors], eff_plan_quads_readers() */
    uint8_t *params;                 /* what the layers point to: packed weights, padded parameters */
    size_t each_bytes, shared_bytes; /* scratch of the step that takes most */
};

struct EffSession {
    const EffModel *model;
    EffPool *pool;
    int n_threads;
    uint8_t *arena;
    uint8_t *pixels;    /* the input with room to read past it */
    uint8_t *each;      /* scratch [n_threads][each_bytes] */
    uint8_t *shared;    /* scratch */
    EffStepTime *times; /* NULL unless profiled */
};

/** A model from a plan, without a file: the plan is taken over on success. It must pass eff_plan_check(). */
EffStatus eff_model_from_plan(EffModel **out, EffPlan *plan, const char *cpu);

/** An output of step `step`, in its layout; valid during the call. */
typedef void eff_step_tap_fn(void *ctx, int step, const EffPlanTensor *tensor, const void *data);

/** eff_session_run(), calling `tap` (unless NULL) after every step, once for each of its outputs. */
void eff_session_run_tapped(EffSession *s, const uint8_t *pixels, float *logits, eff_step_tap_fn *tap, void *ctx);

/** The real values of a tensor, dst [h][w][c]: scale * (q - zero) where the plan has scales, the stored values
 * elsewhere. */
void eff_tensor_to_f32(const EffModel *m, int tensor, const void *data, float *dst);

/** Execute one step. exec_int8.c and exec_f32.c */
void eff_exec_int8(EffSession *s, int step);
void eff_exec_f32(EffSession *s, int step);

/** Where a tensor's data lies; NULL for EFF_PLAN_NONE. */
static inline void *eff_session_data(const EffSession *s, int tensor)
{
    if (tensor == EFF_PLAN_NONE)
        return NULL;
    return tensor == 0 ? s->pixels : s->arena + s->model->plan.tensors[tensor].arena_offset;
}

/** Pieces for the pool: `n` items of work, at least `least` together, in a few pieces a thread. */
static inline size_t eff_session_grain(const EffSession *s, size_t n, size_t least)
{
    if (s->n_threads == 1)
        return n > 0 ? n : 1;
    const size_t grain = (n + (size_t)(4 * s->n_threads) - 1) / (size_t)(4 * s->n_threads);
    return (grain + least - 1) / least * least;
}

#endif
