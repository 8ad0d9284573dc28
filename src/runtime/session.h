/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a model and a session: for the executors (exec.h), and for the compiler, which runs plans that are no files
 * yet and looks at their activations.
 */
#ifndef EFF_RUNTIME_SESSION_H
#define EFF_RUNTIME_SESSION_H

#include "effnet/runtime.h"
#include "base/threads.h"
#include "format/layer.h"
#include "runtime/tile.h"

struct EffModel {
    EffPlan plan;
    EffModelInfo info;
    EffKernels kernels;
    EffLayer *layers;                    /* [plan.n_steps] */
    EffGroup *groups;                    /* [plan.n_groups] */
    int *local;                          /* [plan.n_tensors]: eff_plan_find_locals() */
    uint8_t *params;                     /* what the layers point to, in the order in which it is used */
    size_t *params_end;                  /* [plan.n_steps]: where in it those of a layer end */
    size_t scratch_each, scratch_shared; /* of the steps, run one by one */
};

struct EffSession {
    const EffModel *model;
    EffPool *pool;
    EffTile *tiles;    /* [plan.n_groups]; NULL where steps run one by one */
    uint64_t *offsets; /* [plan.n_tensors]: places in the arena */
    uint8_t *arena;
    uint8_t *image;  /* a copy of the pixels, followed by EFF_OVERREAD bytes */
    uint8_t *each;   /* scratch, each_bytes a thread */
    uint8_t *shared; /* scratch of a step, whoever works on it */
    size_t each_bytes, shared_bytes;
    uint64_t arena_bytes;
    size_t fetched;     /* of this run, the model's parameters up to here */
    EffStepTime *times; /* [n_times]: of each item that runs at a time */
    const char **names; /* [plan.n_steps]: what the times point to */
    size_t n_times;
};

static inline uint8_t *eff_scratch(const EffSession *s, int worker)
{
    return s->each + (size_t)worker * s->each_bytes;
}

/** eff_session_create() with other tiles, which must not change a bit: for tests and measurements. */
EffStatus eff_session_create_tiled(EffSession **out, const EffModel *m, int n_threads, const EffTileLimits *limits);

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

/** eff_session_run() with a look at every activation; tap may be NULL. A tap needs a session that is not fused
 *  (eff_session_create_unfused()): otherwise tensors that are local to a group are never whole. */
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
