/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing the logits of two models. */
#include "compare.h"
#include "bootstrap.h"
#include "logit_noise.h"

#include "base/mem.h"
#include "base/status.h"

#include <math.h>

/* What is known of every photo (means over its views) and of every view. */
typedef struct Table {
    double *agree, *kl, *diff;  /* [n] */
    double *sqnr;               /* [n][n_views] */
    double *right[2], *same[2]; /* [n][n_views] margins of the label and of A's answer, in A and in B */
    double *p, *q;              /* [n_classes] softmaxes */
} Table;

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

/* Count and measure; fills the table's per-photo means. */
static void measure(Comparison *c, Table *t, const Evaluation *a, const Evaluation *b, const int *labels)
{
    const int n_classes = a->n_classes;
    const double share = 1 / (double)c->n_views;
    for (size_t i = 0; i < c->n; i++) {
        int net = 0;
        for (size_t v = i * c->n_views; v < (i + 1) * c->n_views; v++) {
            const float *x = a->logits + v * (size_t)n_classes, *y = b->logits + v * (size_t)n_classes;
            int best_a, best_b;
            stats_top(&best_a, 1, x, n_classes);
            stats_top(&best_b, 1, y, n_classes);
            const bool lost = best_a == labels[i] && best_b != labels[i];
            const bool gained = best_a != labels[i] && best_b == labels[i];
            c->lost += lost;
            c->gained += gained;
            net += gained - lost;
            t->sqnr[v] = sqnr_db(x, y, n_classes);
            t->agree[i] += share * (best_a == best_b);
            t->kl[i] += share * kl_divergence(x, y, t->p, t->q, n_classes);
            t->right[0][v] = noise_margin(x, n_classes, labels[i]);
            t->right[1][v] = noise_margin(y, n_classes, labels[i]);
            t->same[0][v] = noise_margin(x, n_classes, best_a);
            t->same[1][v] = noise_margin(y, n_classes, best_a);
        }
        t->diff[i] = share * net;
        c->photos_lost += net < 0;
        c->photos_gained += net > 0;
    }
}

static EffStatus find_intervals(Comparison *c, const Table *t)
{
    BootstrapMean means[] = {{.values = t->kl}, {.values = t->agree}, {.values = t->diff}};
    BootstrapQuantile quantiles[] = {{.values = t->sqnr, .share = 0.5}, {.values = t->sqnr, .share = 0.05}};
    const EffStatus st = bootstrap(c->n, c->n_views, means, 3, quantiles, 2);
    if (st != EFF_OK)
        return st;
    Estimate *const of_means[] = {&c->kl, &c->agree, &c->top1_diff};
    for (int i = 0; i < 3; i++)
        *of_means[i] = (Estimate){means[i].mean, means[i].ci};
    c->sqnr_p50 = (Estimate){quantiles[0].quantile, quantiles[0].ci};
    c->sqnr_p5 = (Estimate){quantiles[1].quantile, quantiles[1].ci};
    /* Of photos that are all alike a bootstrap makes no interval at all; another photo may be different even so. */
    if (c->n_views == 1 || !(means[1].se > 0))
        c->agree.ci = stats_wilson((size_t)lround(c->agree.value * (double)c->n), c->n);
    const double n = (double)c->n;
    /* Nothing lost and nothing gained: up to three photos of n would have (the rule of three). */
    const double se = means[2].se > 0 ? means[2].se : sqrt(3) / n;
    c->detect_top1 = c->n < COMPARE_FEWEST ? 1 : fmin(stats_detectable(se), 1);
    return EFF_OK;
}

static EffStatus find_expected(Comparison *c, const Table *t)
{
    const MarginPairs right = {.x = t->right[0], .y = t->right[1], .n_photos = c->n, .n_views = c->n_views};
    const MarginPairs same = {.x = t->same[0], .y = t->same[1], .n_photos = c->n, .n_views = c->n_views};
    Expectation e;
    EffStatus st = noise_expect(&e, &same);
    if (st != EFF_OK)
        return st;
    c->expected_agree = e.share;
    st = noise_expect(&e, &right);
    if (st != EFF_OK)
        return st;
    c->expected_diff = (Estimate){e.change, e.ci};
    c->detect_expected = c->n < COMPARE_FEWEST ? 1 : fmin(stats_detectable(e.se), 1);
    return EFF_OK;
}

EffStatus compare(Comparison *out, const Evaluation *a, const Evaluation *b, const int *labels, size_t n)
{
    const size_t n_classes = (size_t)a->n_classes, n_views = (size_t)a->n_views, n_all = n * n_views;
    if (b->n_classes != a->n_classes)
        return eff_fail(EFF_ERR_ARG, "the models have %d and %d classes; compare models of the same task", a->n_classes,
                        b->n_classes);
    double *work = eff_calloc(2 * n_classes + 3 * n + 5 * n_all, sizeof *work);
    if (work == NULL)
        return eff_fail_nomem((3 * n + 5 * n_all) * sizeof *work, "the comparison");
    Table t = {.p = work, .q = work + n_classes};
    t.agree = t.q + n_classes;
    t.kl = t.agree + n;
    t.diff = t.kl + n;
    t.sqnr = t.diff + n;
    for (size_t m = 0; m < 2; m++) {
        t.right[m] = t.sqnr + (1 + m) * n_all;
        t.same[m] = t.sqnr + (3 + m) * n_all;
    }
    Comparison c = {.n = n, .n_views = n_views};
    measure(&c, &t, a, b, labels);
    c.mcnemar_p = stats_mcnemar(c.photos_lost, c.photos_gained);
    EffStatus st = find_intervals(&c, &t);
    if (st == EFF_OK)
        st = find_expected(&c, &t);
    eff_free(work);
    if (st == EFF_OK)
        *out = c;
    return st;
}
