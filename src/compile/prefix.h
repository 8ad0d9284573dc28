/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calibration pictures half way through a network, in int8 and in float side by side. When a layer's weights are
 * chosen, every picture has to be taken to that layer; what both networks hold at a place where they hold little is
 * kept for each picture, so that the next layer starts from there and not from the pixels.
 */
#ifndef EFF_COMPILE_PREFIX_H
#define EFF_COMPILE_PREFIX_H

#include "graph/reference_f32.h"
#include "quant/observe.h"
#include "runtime/session.h"

typedef struct EffPrefix EffPrefix;

/**
 * Read all pictures.
 * @param most_bytes  that what is kept for all pictures may take; the pixels are kept even beyond it.
 * @return EFF_OK (eff_prefix_free), EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED, or what the picture source returned.
 */
EffStatus eff_prefix_create(EffPrefix **out, const EffGraph *g, const EffReference *reference,
                            const EffPictures *pictures, const EffQuantizeOptions *options, size_t most_bytes);
void eff_prefix_free(EffPrefix *p);
size_t eff_prefix_n_pictures(const EffPrefix *p);
EffPool *eff_prefix_pool(const EffPrefix *p);

/* A picture before a step: its tensors by eff_session_tensor(), the float values by eff_reference_value(). */
typedef void eff_prefix_visit_fn(void *ctx, size_t picture, int worker, EffSession *s, EffReferenceSession *r);

/**
 * Take all pictures to `step` of a model, in float through node `last`, and call visit for each, from several threads.
 * Models of successive calls have the same steps and tensors; steps before an earlier call's have not changed since.
 *
 * @param node_after  first node that has not run when the state is kept: that of the next step.
 */
EffStatus eff_prefix_run(EffPrefix *p, const EffModel *model, int step, int last, int node_after,
                         eff_prefix_visit_fn *visit, void *ctx);

#endif
