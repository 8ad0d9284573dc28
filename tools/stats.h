/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of evaluations. */
#ifndef EFFNET_TOOLS_STATS_H
#define EFFNET_TOOLS_STATS_H

#include <stddef.h>

typedef struct Interval {
    double low, high;
} Interval;

/* 95 % interval of a share k of n (Wilson 1927, "Probable inference, the law of succession"), in [0, 1]; n > 0. */
Interval stats_wilson(size_t k, size_t n);

/* Exact two-sided McNemar test (1947): the chance that b + c fair coins split at least as unevenly as b and c. */
double stats_mcnemar(size_t b, size_t c);

/* Share of a standard normal variable below x. */
double stats_normal_cdf(double x);

/*
 * The smallest true difference that a two-sided test at 5 % finds four times in five, of an estimate with standard
 * error `se`: (1.960 + 0.842) se (Cohen 1988, "Statistical power analysis", chapter 2).
 */
double stats_detectable(double se);

/* Quantile of `sorted`, n >= 1 ascending values, linear between ranks (type 7 of Hyndman & Fan 1996, as numpy's). */
double stats_quantile(const double *sorted, size_t n, double share);

/* For qsort(). */
int stats_compare_doubles(const void *a, const void *b);

/* Softmax in double, largest subtracted first. */
void stats_softmax(double *dst, const float *logits, int n);

/* Indices of the `k` largest values, largest first; ties go to the lower index. */
void stats_top(int *dst, int k, const float *values, int n);

#endif
