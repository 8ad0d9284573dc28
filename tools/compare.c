/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing the logits of two models. */
#include "compare.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_RESAMPLES = 2000 };

static double kl_divergence(const float *a, const float *b, double *p, double *q, int n)
{
    double kl = 0;
    stats_softmax(p, a, n);
    stats_softmax(q, b, n);
    for (int i = 0; i < n; i++) {
        if (p[i] > 0)
            kl += p[i] * log(p[i] / fmax(q[i], 1e-300));
    }
    return fmax(kl, 0);
}

static double sqnr_db(const float *a, const float *b, int n)
{
    double signal = 0, noise = 0;
    for (int i = 0; i < n; i++) {
        const double d = (double)b[i] - (double)a[i];
        signal += (double)a[i] * (double)a[i];
        noise += d * d;
    }
    return noise > 0 ? 10 * log10(fmax(signal, 1e-300) / noise) : 200;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Linear between ranks; `sorted` has n >= 1 values. */
static double quantile(const double *sorted, size_t n, double share)
{
    const double at = share * (double)(n - 1);
    const size_t below = (size_t)at;
    const size_t above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

static Interval interval_of(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return (Interval){quantile(values, n, 0.025), quantile(values, n, 0.975)};
}

/* Percentile bootstrap (Efron & Tibshirani 1993, chapter 13) of a mean and two quantiles over pictures. */
static EffStatus bootstrap(Comparison *c, const double *kl, const double *sqnr)
{
    double *work = eff_calloc(c->n + 3 * N_RESAMPLES, sizeof *work);
    if (work == NULL)
        return eff_fail_nomem((c->n + 3 * N_RESAMPLES) * sizeof *work, "the bootstrap");
    double *means = work + c->n, *p50 = means + N_RESAMPLES, *p5 = p50 + N_RESAMPLES;
    EffRng rng;
    eff_rng_init(&rng, 1);
    for (size_t r = 0; r < N_RESAMPLES; r++) {
        double sum = 0;
        for (size_t i = 0; i < c->n; i++) {
            const size_t k = (size_t)eff_rng_below(&rng, c->n);
            sum += kl[k];
            work[i] = sqnr[k];
        }
        qsort(work, c->n, sizeof *work, compare_doubles);
        means[r] = sum / (double)c->n;
        p50[r] = quantile(work, c->n, 0.5);
        p5[r] = quantile(work, c->n, 0.05);
    }
    c->kl_ci = interval_of(means, N_RESAMPLES);
    c->sqnr_p50_ci = interval_of(p50, N_RESAMPLES);
    c->sqnr_p5_ci = interval_of(p5, N_RESAMPLES);
    eff_free(work);
    return EFF_OK;
}

EffStatus compare(Comparison *out, const Evaluation *a, const Evaluation *b, const int *labels, size_t n)
{
    const int n_classes = a->n_classes;
    if (b->n_classes != n_classes)
        return eff_fail(EFF_ERR_ARG, "the models have %d and %d classes; compare models of the same task", n_classes,
                        b->n_classes);
    double *work = eff_calloc(2 * (size_t)n_classes + 3 * n, sizeof *work);
    if (work == NULL)
        return eff_fail_nomem(3 * n * sizeof *work, "the comparison");
    double *p = work, *q = p + n_classes, *kl = q + n_classes, *sqnr = kl + n, *sorted = sqnr + n;
    Comparison c = {.n = n};
    for (size_t i = 0; i < n; i++) {
        const float *x = a->logits + i * (size_t)n_classes, *y = b->logits + i * (size_t)n_classes;
        int best_a, best_b;
        stats_top(&best_a, 1, x, n_classes);
        stats_top(&best_b, 1, y, n_classes);
        c.agree += best_a == best_b;
        c.lost += best_a == labels[i] && best_b != labels[i];
        c.gained += best_a != labels[i] && best_b == labels[i];
        kl[i] = kl_divergence(x, y, p, q, n_classes);
        sqnr[i] = sqnr_db(x, y, n_classes);
        c.kl_mean += kl[i] / (double)n;
    }
    memcpy(sorted, sqnr, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    c.sqnr_p50 = quantile(sorted, n, 0.5);
    c.sqnr_p5 = quantile(sorted, n, 0.05);
    c.mcnemar_p = stats_mcnemar(c.lost, c.gained);
    const EffStatus st = bootstrap(&c, kl, sqnr);
    eff_free(work);
    if (st == EFF_OK)
        *out = c;
    return st;
}
