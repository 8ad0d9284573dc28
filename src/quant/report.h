/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring a quantized model's tensors against the float network's. */
#ifndef EFF_QUANT_REPORT_H
#define EFF_QUANT_REPORT_H

#include "format/plan.h"
#include "quant/observe.h"

/* Sums over all pictures of a tensor x and its float original r. */
typedef struct EffTensorError {
    int node;             /* of the graph; -1: the tensor has no original */
    double signal, error; /* sum r^2, sum (x - r)^2 */
    double dot, power;    /* sum x r, sum x^2 */
} EffTensorError;

double eff_error_sqnr_db(const EffTensorError *e);
double eff_error_cosine(const EffTensorError *e);

/*
 * Compare every named tensor of a plan, run by `model`, with the node of that name.
 * @param out  [plan->n_tensors]
 */
EffStatus eff_compare_tensors(EffTensorError *out, const EffPlan *plan, const EffModel *model, const EffGraph *g,
                              const EffReference *reference, const EffPictures *pictures,
                              const EffQuantizeOptions *options);

#endif
