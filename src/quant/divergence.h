/* SPDX-License-Identifier: Apache-2.0 */
/* How far apart two classifications are. */
#ifndef EFF_QUANT_DIVERGENCE_H
#define EFF_QUANT_DIVERGENCE_H

#include <stddef.h>

/*
 * Kullback-Leibler divergence of softmax(b) from softmax(a), sum p_a (ln p_a - ln p_b), n logits each, in nats. Without
 * libm, so that decisions that rest on it are the same on every machine.
 */
double eff_softmax_kl(const float *a, const float *b, size_t n);

/* ln s for s in 1..2^60, without libm. */
double eff_ln(double s);

/* Index of the largest of n logits; of equal ones the first. */
size_t eff_best_class(const float *logits, size_t n);

#endif
