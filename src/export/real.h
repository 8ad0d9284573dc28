/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the integers of a proven int8 plan mean in real numbers: units of accumulators, weights, biases, and which
 * function an activation's table holds. The plan stores integers that define the units (doc/quantization.md, "integers
 * first, scales after") and the scales of tensors, so everything else follows from these two.
 */
#ifndef EFF_EXPORT_REAL_H
#define EFF_EXPORT_REAL_H

#include "effnet/base.h"
#include "format/plan.h"

/* real = scale * (q - zero), an entry a channel of a tensor (1 where all are alike). Tensor 0: 1 / std and the mean. */
double eff_real_scale(const EffPlan *plan, int tensor, int channel);
double eff_real_zero(const EffPlan *plan, int tensor, int channel);
/* Whether channels of a tensor have steps of their own that differ. */
bool eff_real_per_channel(const EffPlan *plan, int tensor);

/*
 * A convolution, fully connected layer or head; owned. A weight is unit[o] * q / in_step(i), with 16-bit inputs a 256th
 * of it, since the accumulator counts 256 input steps. The sum of a convolution is t of doc/quantization.md before it
 * is rounded down, to within half an accumulator's unit (which keeps float sums from the edges); that of a fully
 * connected layer or head is real.
 */
typedef struct EffRealLayer {
    int n_out;
    double *unit;      /* [n_out] of the accumulator */
    double *bias;      /* [n_out] in units of the accumulator; integers and a half, unless the input's zeros are none */
    double *y_unit;    /* [n_out] real value of a step of y, a power of two; 1 where there is none */
    EffActivation act; /* what follows y */
    double step;       /* the largest y_unit */
} EffRealLayer;

/*
 * @return EFF_OK (eff_real_layer_free()), EFF_ERR_NOMEM, EFF_ERR_UNSUPPORTED: a table that is of no known function, or
 * tensors without scales.
 */
EffStatus eff_real_layer(EffRealLayer *out, const EffPlan *plan, const EffPlanStep *step);
void eff_real_layer_free(EffRealLayer *l);

#endif
