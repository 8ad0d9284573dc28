/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Second moments of samples, as exact integers: the order in which they are added, and so the number of threads, cannot
 * change them. Layer inputs are u8 anyway; float targets are written in 16 bits, a unit a column.
 */
#ifndef EFF_QUANT_GRAM_H
#define EFF_QUANT_GRAM_H

#include "base/threads.h"

#include <stdbool.h>
#include <stdint.h>

/* n samples of the input of a layer, and of what goes with them in float. */
typedef struct EffSamples {
    size_t n;
    int n_x, n_f;
    uint8_t *x; /* [n][n_x] */
    float *f;   /* [n][n_f] */
} EffSamples;

EffStatus eff_samples_create(EffSamples *out, size_t n, int n_x, int n_f);
void eff_samples_free(EffSamples *s);

/**
 * Centred second moments: cov[a][b] = sum over samples of (x[a] - mean[a]) * (x[b] - mean[b]).
 * @param cov  [n_x][n_x].   @param mean  [n_x].   @return EFF_OK, EFF_ERR_NOMEM.
 */
EffStatus eff_gram(double *cov, double *mean, const EffSamples *s, EffPool *pool);

/** f_mean [n_f]: means of the columns of f, each value rounded to 1/32767 of its column's largest magnitude. */
void eff_column_means(double *f_mean, const EffSamples *s);

#endif
