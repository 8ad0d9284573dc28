/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring a quantized model's tensors against the float network's. */
#ifndef EFF_QUANT_REPORT_H
#define EFF_QUANT_REPORT_H

#include "format/plan.h"
#include "quant/observe.h"

/* Sums over all pictures of a channel of a tensor x and its float original r. */
typedef struct EffErrorSums {
    double signal, error;      /* sum r^2, sum (x - r)^2 */
    double dot, power;         /* sum x r, sum x^2 */
    double n, cut_off;         /* values, and those of r that the tensor's range does not hold */
    float max_error, min, max; /* largest |x - r|; of r */
} EffErrorSums;

/* A tensor against its original. */
typedef struct EffTensorError {
    int node; /* of the graph; -1: the tensor has no original */
    int c;
    EffErrorSums *channels; /* [c], in the storage of the errors */
} EffTensorError;

/* All tensors of a plan. */
typedef struct EffTensorErrors {
    EffTensorError *tensors; /* [n_tensors] */
    EffErrorSums *storage;
    size_t n_sums;
    int n_tensors;
    size_t n_pictures, n_agree; /* with the same best class */
    double kl;                  /* sum over pictures of the softmax's divergence from float's */
} EffTensorErrors;

double eff_error_sqnr_db(const EffErrorSums *e);
double eff_error_cosine(const EffErrorSums *e);
/* Of all channels together. */
EffErrorSums eff_error_total(const EffTensorError *e);

/* What the integers of a channel of an integer tensor hold. */
void eff_tensor_range(const EffPlan *plan, int tensor, int channel, float *min, float *max);

/*
 * Compare every named tensor of a plan, run by `model`, with the node of that name.
 * @return EFF_OK (eff_tensor_errors_free), or what went wrong.
 */
EffStatus eff_compare_tensors(EffTensorErrors *out, const EffPlan *plan, const EffModel *model, const EffGraph *g,
                              const EffReference *reference, const EffPictures *pictures,
                              const EffQuantizeOptions *options);
void eff_tensor_errors_free(EffTensorErrors *e);

#endif
