/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights of a layer with many inputs, chosen for its output: integers, one after the other, each making up for the
 * errors of those before it on the inputs as the quantized network makes them (GPTQ; in the form of Babai's nearest
 * plane).
 */
#ifndef EFF_QUANT_ROUND_GPTQ_H
#define EFF_QUANT_ROUND_GPTQ_H

#include "base/threads.h"

#include <stdint.h>

/* The second moments of the inputs, made ready. Inputs that move least come first: those that move most are rounded
 * first, from the last one down. */
typedef struct EffMoments {
    size_t n;
    double damping; /* added to the diagonal */
    size_t *order;  /* [n] input at each place */
    double *h, *l;  /* [n][n] in that order: damped moments, and their Cholesky factor */
} EffMoments;

/**
 * @param cov      [n][n] of centred inputs (eff_gram()).
 * @param damping  share of the mean of the diagonal, 0.01.
 * @return EFF_OK (eff_moments_free), EFF_ERR_NOMEM, EFF_ERR_ARG (not finite).
 */
EffStatus eff_moments_create(EffMoments *out, const double *cov, size_t n, double damping, EffPool *pool);
void eff_moments_free(EffMoments *m);

/**
 * Round: minimises (unit q - wgt) H (unit q - wgt)^T a row, by nearest plane and then by steps of single weights. Never
 * worse than plain rounding.
 * @param q      [n_out][n], in [-q_max, q_max].
 * @param unit   [n_out] of a weight.
 * @param plain, chosen  [n_out] receive that sum for plainly rounded weights and for q; may be NULL.
 */
EffStatus eff_moments_round(const EffMoments *m, int16_t *q, const double *wgt, const double *unit, int q_max,
                            size_t n_out, double *plain, double *chosen, EffPool *pool);

#endif
