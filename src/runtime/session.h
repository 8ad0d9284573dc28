/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a model and a session: for the executors, and for the compiler, which runs plans that are no files yet and
 * looks at their activations.
 */
#ifndef EFF_RUNTIME_SESSION_H
#define EFF_RUNTIME_SESSION_H

#include "effnet/runtime.h"
#include "base/threads.h"
#include "format/layer.h"

struct EffModel {
    EffPlan plan;
    EffModelInfo info;
    EffKernels kernels;
    EffLayer *layers; /* [plan.n_steps] */
    uint8_t *params;  /* what the layers point to, in the order in which it is used */
    size_t scratch_each, scratch_shared;
};

struct EffSession {
    const EffModel *model;
    EffPool *pool;
    uint8_t *arena;
    uint8_t *image;  /* a copy of the pixels, followed by EFF_OVERREAD bytes */
    uint8_t *each;   /* scratch, scratch_each bytes a thread */
    uint8_t *shared; /* scratch of a step, whoever works on it */
    EffStepTime *times;
};

/* A step at work: what its tasks share. */
typedef struct EffRun {
    EffSession *session;
    const EffPlanStep *step;
    const EffLayer *layer;
    const EffPlanTensor *in, *to; /* shapes of in[0] and of the outputs */
    const void *src[2];           /* NULL where there is no tensor */
    void *dst[2];
} EffRun;

void eff_exec_int8(EffRun *run);
void eff_exec_f32(EffRun *run);

static inline void *eff_scratch(const EffSession *s, int worker)
{
    return s->each + (size_t)worker * s->model->scratch_each;
}

/**
 * A model from a plan in memory, which is checked here.
 *
 * @param plan  taken over on success, and zeroed; the caller's on failure.
 * @param cpu   as in eff_model_open().
 * @return as eff_model_open().
 */
EffStatus eff_model_from_plan(EffModel **out, EffPlan *plan, const char *cpu);

/* The model's plan, borrowed. */
const EffPlan *eff_model_plan(const EffModel *m);

/** What a step has written: called after the step, once an output. `data` is valid during the call. */
typedef void eff_step_tap_fn(void *ctx, int step, const EffPlanTensor *tensor, const void *data);

/** eff_session_run() with a look at every activation; tap may be NULL. */
void eff_session_run_tapped(EffSession *s, const uint8_t *pixels, float *logits, eff_step_tap_fn *tap, void *ctx);

/* Steps [begin, end) alone: the caller has put what they read into the tensors. */
void eff_session_run_steps(EffSession *s, int begin, int end);
/* A tensor's bytes in the session; tensor 0: the pixels. */
void *eff_session_tensor(EffSession *s, int tensor);

/**
 * A tensor as real numbers, by its scales.
 *
 * @param tensor  index in the plan.   @param data  as a tap sees it; of tensor 0, the pixels.
 * @param dst     receives [h][w][c].
 * @return EFF_OK, or EFF_ERR_UNSUPPORTED for an integer tensor without scales.
 */
EffStatus eff_tensor_to_f32(const EffPlan *plan, int tensor, const void *data, float *dst);

#endif
