/* SPDX-License-Identifier: Apache-2.0 */
/* Averaging answers over the noise of their margins. */
#include "logit_noise.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_RESAMPLES = 500, LEAST_FOR_MEAN = 100, LEAST_FOR_DEVIATION = 50 };

typedef struct Pair {
    double x, y;
    size_t photo;
} Pair;

/* Pairs in the order of x, and room for what is fitted to them. */
typedef struct Fit {
    Pair *pairs;
    size_t n;
    double *noise, *sums; /* [n], [n + 1] */
} Fit;

double noise_margin(const float *logits, int n_classes, int of)
{
    double best = -HUGE_VAL;
    for (int c = 0; c < n_classes; c++)
        best = c != of && (double)logits[c] > best ? (double)logits[c] : best;
    return n_classes > 1 ? (double)logits[of] - best : 0;
}

static int compare_pairs(const void *a, const void *b)
{
    const Pair *p = a, *q = b;
    const int by_x = stats_compare_doubles(&p->x, &q->x);
    return by_x != 0 ? by_x : p->photo < q->photo ? -1 : p->photo > q->photo; /* the same order on every machine */
}

static double fit_gain(const Fit *f)
{
    double cross = 0, power = 0;
    for (size_t i = 0; i < f->n; i++) {
        cross += f->pairs[i].x * f->pairs[i].y;
        power += f->pairs[i].x * f->pairs[i].x;
    }
    return cross > 0 && power > 0 ? cross / power : 1;
}

/* Mean of the k values around i of which sums[] are the running sums. */
static double mean_around(const Fit *f, size_t i, size_t k)
{
    size_t first = i > k / 2 ? i - k / 2 : 0;
    first = first + k > f->n ? f->n - k : first;
    return (f->sums[first + k] - f->sums[first]) / (double)k;
}

static size_t neighbours(size_t n, size_t share, size_t least)
{
    const size_t k = n / share > least ? n / share : least;
    return k < n ? k : n;
}

/* Share of y above 0, expected; and of x. */
static double expect(double *share_of_x, Fit *f)
{
    const double gain = fit_gain(f);
    const size_t of_mean = neighbours(f->n, 4, LEAST_FOR_MEAN),
                 of_deviation = neighbours(f->n, 10, LEAST_FOR_DEVIATION);
    double sum = 0, above = 0;
    for (size_t i = 0; i < f->n; i++) {
        f->noise[i] = f->pairs[i].y / gain - f->pairs[i].x;
        f->sums[i + 1] = f->sums[i] + f->noise[i];
    }
    for (size_t i = 0; i < f->n; i++) /* the mean goes over to the pair, its noise is what remains */
        f->noise[i] -= mean_around(f, i, of_mean);
    for (size_t i = 0; i < f->n; i++) {
        const double centre = f->pairs[i].y / gain - f->noise[i];
        above += f->pairs[i].x > 0;
        f->sums[i + 1] = f->sums[i] + f->noise[i] * f->noise[i];
        f->noise[i] = centre;
    }
    for (size_t i = 0; i < f->n; i++) {
        const double deviation = sqrt(fmax(mean_around(f, i, of_deviation), 0)), centre = f->noise[i];
        sum += deviation > 0 ? stats_normal_cdf(centre / deviation) : centre > 0 ? 1 : centre < 0 ? 0 : 0.5;
    }
    *share_of_x = above / (double)f->n;
    return sum / (double)f->n;
}

/* Photos drawn with all their views; the order of x is kept, so that nothing is sorted again. */
static void resample(Fit *out, const Fit *all, unsigned *drawn, size_t n_photos, EffRng *rng)
{
    memset(drawn, 0, n_photos * sizeof *drawn);
    for (size_t i = 0; i < n_photos; i++)
        drawn[eff_rng_below(rng, n_photos)]++;
    out->n = 0;
    for (size_t i = 0; i < all->n; i++) {
        for (unsigned k = 0; k < drawn[all->pairs[i].photo]; k++)
            out->pairs[out->n++] = all->pairs[i];
    }
}

EffStatus noise_expect(Expectation *out, const MarginPairs *p)
{
    const size_t n = p->n_photos * p->n_views;
    Pair *pairs = eff_calloc(2 * n, sizeof *pairs);
    double *numbers = eff_calloc(2 * n + 1, sizeof *numbers);
    unsigned *drawn = eff_calloc(p->n_photos, sizeof *drawn);
    if (pairs == NULL || numbers == NULL || drawn == NULL) {
        eff_free(pairs);
        eff_free(numbers);
        eff_free(drawn);
        return eff_fail_nomem(2 * n * sizeof *pairs, "the margins");
    }
    Fit all = {.pairs = pairs, .n = n, .noise = numbers, .sums = numbers + n}, again = all;
    again.pairs += n;
    for (size_t i = 0; i < n; i++)
        pairs[i] = (Pair){p->x[i], p->y[i], i / p->n_views};
    qsort(pairs, n, sizeof *pairs, compare_pairs);
    double share_of_x, changes[N_RESAMPLES], mean = 0, squares = 0;
    Expectation e = {.share = expect(&share_of_x, &all)};
    e.change = e.share - share_of_x;
    EffRng rng;
    eff_rng_init(&rng, 1);
    for (int r = 0; r < N_RESAMPLES; r++) {
        resample(&again, &all, drawn, p->n_photos, &rng);
        changes[r] = expect(&share_of_x, &again);
        changes[r] -= share_of_x;
        mean += changes[r] / N_RESAMPLES;
    }
    for (int r = 0; r < N_RESAMPLES; r++)
        squares += (changes[r] - mean) * (changes[r] - mean);
    qsort(changes, N_RESAMPLES, sizeof *changes, stats_compare_doubles);
    e.se = sqrt(squares / (N_RESAMPLES - 1));
    e.ci = (Interval){stats_quantile(changes, N_RESAMPLES, 0.025), stats_quantile(changes, N_RESAMPLES, 0.975)};
    eff_free(pairs);
    eff_free(numbers);
    eff_free(drawn);
    *out = e;
    return EFF_OK;
}
