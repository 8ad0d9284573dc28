/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster bootstrap. */
#include "bootstrap.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_RESAMPLES = 2000 };

/* A value and the photo that it belongs to: sorted once, a resample's quantile is found by counting. */
typedef struct Owned {
    double value;
    size_t photo;
} Owned;

static int compare_owned(const void *a, const void *b)
{
    return stats_compare_doubles(&((const Owned *)a)->value, &((const Owned *)b)->value);
}

/* As stats_quantile(), of the values that each occur as often as their photo was drawn. */
static double quantile_of(const Owned *sorted, size_t n, const unsigned *drawn, double share)
{
    const double at = share * (double)(n - 1);
    const size_t below = (size_t)at;
    size_t before = 0, i = 0;
    while (before + drawn[sorted[i].photo] <= below)
        before += drawn[sorted[i++].photo];
    size_t k = i; /* the value at rank below + 1, which may be the same one */
    before += drawn[sorted[k].photo];
    while (before <= below + 1 && before < n)
        before += drawn[sorted[++k].photo];
    if (below + 1 >= n)
        k = i;
    return sorted[i].value + (at - (double)below) * (sorted[k].value - sorted[i].value);
}

static double mean_of(const double *values, size_t n, const unsigned *drawn)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (drawn != NULL ? (double)drawn[i] : 1.0) * values[i];
    return sum / (double)n;
}

static Interval interval_of(double *resampled)
{
    qsort(resampled, N_RESAMPLES, sizeof *resampled, stats_compare_doubles);
    return (Interval){stats_quantile(resampled, N_RESAMPLES, 0.025), stats_quantile(resampled, N_RESAMPLES, 0.975)};
}

static double deviation_of(const double *values, size_t n)
{
    const double mean = mean_of(values, n, NULL);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (values[i] - mean) * (values[i] - mean);
    return sqrt(sum / (double)(n - 1));
}

EffStatus bootstrap(size_t n_photos, size_t n_views, BootstrapMean *means, size_t n_means, BootstrapQuantile *quantiles,
                    size_t n_quantiles)
{
    const size_t n = n_photos * n_views;
    unsigned *drawn = eff_calloc(n_photos, sizeof *drawn);
    Owned *sorted = eff_calloc(n * n_quantiles, sizeof *sorted);
    double *resampled = eff_calloc((n_means + n_quantiles) * N_RESAMPLES, sizeof *resampled);
    EffStatus st = EFF_OK;
    if (drawn == NULL || sorted == NULL || resampled == NULL) {
        st = eff_fail_nomem(n * n_quantiles * sizeof *sorted, "the bootstrap");
        goto end;
    }
    for (size_t q = 0; q < n_quantiles; q++) {
        for (size_t i = 0; i < n; i++)
            sorted[q * n + i] = (Owned){quantiles[q].values[i], i / n_views};
        qsort(sorted + q * n, n, sizeof *sorted, compare_owned);
    }
    EffRng rng;
    eff_rng_init(&rng, 1);
    for (size_t r = 0; r < N_RESAMPLES; r++) {
        memset(drawn, 0, n_photos * sizeof *drawn);
        for (size_t i = 0; i < n_photos; i++)
            drawn[eff_rng_below(&rng, n_photos)]++;
        double *at = resampled + r;
        for (size_t m = 0; m < n_means; m++, at += N_RESAMPLES)
            *at = mean_of(means[m].values, n_photos, drawn);
        for (size_t q = 0; q < n_quantiles; q++, at += N_RESAMPLES)
            *at = quantile_of(sorted + q * n, n, drawn, quantiles[q].share);
    }
    double *at = resampled;
    for (size_t m = 0; m < n_means; m++, at += N_RESAMPLES) {
        means[m].mean = mean_of(means[m].values, n_photos, NULL);
        means[m].se = deviation_of(at, N_RESAMPLES);
        means[m].ci = interval_of(at);
    }
    for (unsigned i = 0; i < n_photos; i++)
        drawn[i] = 1;
    for (size_t q = 0; q < n_quantiles; q++, at += N_RESAMPLES) {
        quantiles[q].quantile = quantile_of(sorted + q * n, n, drawn, quantiles[q].share);
        quantiles[q].ci = interval_of(at);
    }
end:
    eff_free(drawn);
    eff_free(sorted);
    eff_free(resampled);
    return st;
}
