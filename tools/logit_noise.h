/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a second model's noise costs on average, rather than what it happened to cost on these pictures.
 *
 * Of 500 pictures a good int8 model answers a handful differently, and which of those few become right or wrong is
 * chance. Yet every picture says how large the noise is. So every answer is averaged over noise like that measured. The
 * variable is the margin, the logit of a class less the best of all others: the class is the answer where it is above
 * 0. With x the first model's margin and y the second's,
 *
 *     y = gain * (x + mean(x) + deviation(x) * z),    z normal
 *
 * gain by least squares (it moves no answer), mean and deviation over the pictures whose x is nearest: a quarter of all
 * for the mean, a tenth for the deviation, at least 100 and 50. They depend on x, since noise is larger where classes
 * compete; in the covariance of all logits that is lost, and answers seem safer than they are. The average over z is
 * the normal distribution function: no draws, and none of their scatter.
 */
#ifndef EFFNET_TOOLS_LOGIT_NOISE_H
#define EFFNET_TOOLS_LOGIT_NOISE_H

#include "stats.h"

#include "effnet/base.h"

/* Margins of two models, [n_photos][n_views]. */
typedef struct MarginPairs {
    const double *x, *y;
    size_t n_photos, n_views;
} MarginPairs;

typedef struct Expectation {
    double share;  /* of y above 0, as expected */
    double change; /* less the share of x above 0 */
    double se;     /* standard error of `change`: all of it is fitted again to 500 resamples of photos */
    Interval ci;   /* 95 % interval of `change`, from the same */
} Expectation;

/* @return EFF_OK, EFF_ERR_NOMEM. */
EffStatus noise_expect(Expectation *out, const MarginPairs *pairs);

/* The margin of a class: its logit less the largest other one; 0 of a single class. */
double noise_margin(const float *logits, int n_classes, int of);

#endif
