/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intervals of means and quantiles over pictures with several views each.
 *
 * Views of one photo are alike, so they are no sample of their own: a resample draws whole photos, each with all its
 * views (the cluster bootstrap; Davison & Hinkley 1997, section 3.8). 2000 resamples, percentile intervals, a fixed
 * seed: the same numbers give the same interval.
 */
#ifndef EFFNET_TOOLS_BOOTSTRAP_H
#define EFFNET_TOOLS_BOOTSTRAP_H

#include "stats.h"

#include "effnet/base.h"

typedef struct BootstrapMean {
    const double *values; /* [n_photos]: of each photo, the mean over its views */
    double mean, se;      /* out: the estimate and its standard error */
    Interval ci;          /* out: 95 % */
} BootstrapMean;

typedef struct BootstrapQuantile {
    const double *values; /* [n_photos][n_views] */
    double share;         /* 0.5 for the median */
    double quantile;      /* out: the estimate */
    Interval ci;          /* out: 95 % */
} BootstrapQuantile;

/* Fill in what is marked `out`. n_photos, n_views >= 1. @return EFF_OK, EFF_ERR_NOMEM. */
EffStatus bootstrap(size_t n_photos, size_t n_views, BootstrapMean *means, size_t n_means, BootstrapQuantile *quantiles,
                    size_t n_quantiles);

#endif
