/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/stats.c, bootstrap.c, logit_noise.c and compare.c. Numbers without a comment are SciPy 1.17's: stats.norm.cdf,
 * stats.binomtest (McNemar is binomtest(b, b + c), Wilson its proportion_ci(method='wilson')), numpy.quantile,
 * stats.bootstrap(method='percentile', n_resamples=400000), special.rel_entr of two special.softmax.
 */
#include "unit.h"

#include "../../tools/bootstrap.h"
#include "../../tools/compare.h"
#include "../../tools/logit_noise.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void near(double got, double wanted, double tolerance)
{
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("%.17g should be %.17g within %g", got, wanted, tolerance);
}

static void closed_forms_are_scipys(void **state)
{
    (void)state;
    near(stats_normal_cdf(-3), 0.0013498980316300933, 1e-15);
    near(stats_normal_cdf(-1.5), 0.06680720126885807, 1e-15);
    near(stats_normal_cdf(0.3), 0.6179114221889526, 1e-15);
    near(stats_normal_cdf(2), 0.9772498680518208, 1e-15);
    near(stats_mcnemar(3, 7), 0.34375, 1e-12);
    near(stats_mcnemar(4, 1), 0.375, 1e-12);
    near(stats_mcnemar(55, 25), 0.0010527348573533446, 1e-12);
    near(stats_mcnemar(5, 5), 1, 0);
    near(stats_mcnemar(0, 0), 1, 0);
    static const struct {
        size_t k, n;
        double low, high;
    } wilson[] = {{0, 10, 0, 0.27753279986288926},
                  {9, 10, 0.5958499732047615, 0.9821237869049271},
                  {245, 250, 0.9540443568684315, 0.9914276756159418},
                  {250, 250, 0.9848667005045555, 1}};
    for (size_t i = 0; i < EFF_COUNT(wilson); i++) {
        const Interval got = stats_wilson(wilson[i].k, wilson[i].n);
        near(got.low, wilson[i].low, 1e-12);
        near(got.high, wilson[i].high, 1e-12);
    }
    static const double sorted[] = {1, 2, 4, 8, 16};
    near(stats_quantile(sorted, 5, 0.05), 1.2, 1e-12);
    near(stats_quantile(sorted, 5, 0.3), 2.4, 1e-12);
    near(stats_quantile(sorted, 5, 0.5), 4, 0);
    near(stats_quantile(sorted, 5, 0.975), 15.2, 1e-12);
    near(stats_quantile(sorted, 1, 0.975), 1, 0);
    /* 25 of 1000 pictures answered differently, as many lost as gained: a standard error of 0.5 points. */
    near(stats_detectable(0.005), 0.014007926, 1e-9);
}

/* ---- Bootstrap ---- */

static void bootstrap_is_scipys(void **state)
{
    (void)state;
    double x[40];
    for (int i = 0; i < 40; i++)
        x[i] = (i + 1) * (i + 1) / 100.0;
    BootstrapMean mean = {.values = x};
    BootstrapQuantile median = {.values = x, .share = 0.5};
    assert_int_equal(bootstrap(40, 1, &mean, 1, &median, 1), EFF_OK);
    near(mean.mean, 5.535, 1e-12);
    near(mean.se, 0.7717673744921326, 0.03); /* of 2000 resamples: 1.6 % of it */
    near(mean.ci.low, 4.0605, 0.1);
    near(mean.ci.high, 7.08125, 0.1);
    near(median.quantile, 4.205, 1e-12);
    near(median.ci.low, 2.105, 0.15);
    near(median.ci.high, 7.025, 0.25);
}

/* The same resamples, made the slow way: every view of every drawn photo is listed and sorted. */
static void quantiles_count_whole_photos(void **state)
{
    (void)state;
    enum { N = 17, K = 3, RESAMPLES = 2000 };
    static const double shares[] = {0, 0.05, 0.5, 0.77, 1};
    double values[N * K];
    EffRng rng;
    eff_rng_init(&rng, 5);
    for (int i = 0; i < N * K; i++)
        values[i] = (double)eff_rng_below(&rng, 20); /* with ties */
    BootstrapQuantile q[EFF_COUNT(shares)];
    for (size_t s = 0; s < EFF_COUNT(shares); s++)
        q[s] = (BootstrapQuantile){.values = values, .share = shares[s]};
    assert_int_equal(bootstrap(N, K, NULL, 0, q, EFF_COUNT(shares)), EFF_OK);
    static double listed[N * K], found[EFF_COUNT(shares)][RESAMPLES];
    eff_rng_init(&rng, 1);
    for (int r = 0; r < RESAMPLES; r++) {
        for (int i = 0; i < N; i++)
            memcpy(listed + i * K, values + eff_rng_below(&rng, N) * K, K * sizeof *values);
        qsort(listed, N * K, sizeof *listed, stats_compare_doubles);
        for (size_t s = 0; s < EFF_COUNT(shares); s++)
            found[s][r] = stats_quantile(listed, N * K, shares[s]);
    }
    memcpy(listed, values, sizeof values);
    qsort(listed, N * K, sizeof *listed, stats_compare_doubles);
    for (size_t s = 0; s < EFF_COUNT(shares); s++) {
        qsort(found[s], RESAMPLES, sizeof *found[s], stats_compare_doubles);
        near(q[s].quantile, stats_quantile(listed, N * K, shares[s]), 1e-12);
        near(q[s].ci.low, stats_quantile(found[s], RESAMPLES, 0.025), 1e-12);
        near(q[s].ci.high, stats_quantile(found[s], RESAMPLES, 0.975), 1e-12);
    }
}

/* Twenty views that are all alike are no more evidence than one: the interval must not shrink. */
static void copies_add_nothing(void **state)
{
    (void)state;
    enum { N = 50, K = 20 };
    double one[N], copies[N * K];
    EffRng rng;
    eff_rng_init(&rng, 3);
    for (int i = 0; i < N; i++) {
        one[i] = (double)eff_rng_normal(&rng);
        for (int k = 0; k < K; k++)
            copies[i * K + k] = one[i];
    }
    BootstrapQuantile a = {.values = one, .share = 0.5}, b = {.values = copies, .share = 0.5};
    assert_int_equal(bootstrap(N, 1, NULL, 0, &a, 1), EFF_OK);
    assert_int_equal(bootstrap(N, K, NULL, 0, &b, 1), EFF_OK);
    assert_true(b.ci.high - b.ci.low > 0.9 * (a.ci.high - a.ci.low));
}

/* Of many samples of photos whose views go together, about 95 % of the intervals hold the true mean. */
static void intervals_cover_the_truth(void **state)
{
    (void)state;
    enum { N = 60, K = 4, TRIALS = 300 };
    int covered = 0;
    EffRng rng;
    eff_rng_init(&rng, 11);
    for (int t = 0; t < TRIALS; t++) {
        double means[N] = {0};
        for (int i = 0; i < N; i++) {
            const double photo = (double)eff_rng_normal(&rng);
            for (int k = 0; k < K; k++)
                means[i] += (photo + 0.3 * (double)eff_rng_normal(&rng)) / K;
        }
        BootstrapMean m = {.values = means};
        assert_int_equal(bootstrap(N, K, &m, 1, NULL, 0), EFF_OK);
        covered += m.ci.low <= 0 && m.ci.high >= 0;
    }
    print_message("%d of %d intervals cover the mean\n", covered, TRIALS);
    assert_in_range(covered, 270, 295); /* 285 less and more 2.5 standard deviations of a binomial, and a bias of 1 % */
}

/* ---- Expected answers ---- */

enum { PAIRS = 20000 };

/* Margins evenly over [-0.5, 1], or all 0.5, and noise of a deviation that may depend on them. */
static double expected_share(bool spread, double deviation, double slope)
{
    double *x = malloc(2 * PAIRS * sizeof *x), *y = x + PAIRS;
    assert_non_null(x);
    EffRng rng;
    eff_rng_init(&rng, 9);
    for (int i = 0; i < PAIRS; i++) {
        x[i] = spread ? -0.5 + 1.5 * (i + 0.5) / PAIRS : 0.5;
        y[i] = 0.8 * (x[i] + (deviation + slope * fabs(x[i])) * (double)eff_rng_normal(&rng));
    }
    const MarginPairs pairs = {.x = x, .y = y, .n_photos = PAIRS / 4, .n_views = 4};
    Expectation e;
    assert_int_equal(noise_expect(&e, &pairs), EFF_OK);
    near(e.change, e.share - (spread ? 2.0 / 3 : 1), 1e-3);
    assert_true(e.ci.low <= e.change && e.change <= e.ci.high);
    free(x);
    return e.share;
}

static void expected_answers_are_integrals(void **state)
{
    (void)state;
    near(expected_share(false, 1, 0), 0.6914624612740131, 0.01); /* norm.cdf(0.5) */
    /* scipy.integrate.quad of norm.cdf(x / 0.2), and of norm.cdf(x / (0.1 + 0.5 |x|)), over [-0.5, 1], by 1.5 */
    near(expected_share(true, 0.2, 0), 0.666399455504337, 0.002);
    near(expected_share(true, 0.1, 0.5), 0.6470781548667722, 0.002);
}

static void what_moves_no_answer_costs_nothing(void **state)
{
    (void)state;
    enum { N = 1000 };
    static double x[N], y[N];
    const MarginPairs pairs = {.x = x, .y = y, .n_photos = N, .n_views = 1};
    Expectation e;
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < N; i++) {
            x[i] = (i - 400.5) / 500;
            y[i] = kind == 0 ? x[i] : kind == 1 ? 0.25 * x[i] : x[i] - 0.1; /* the same, a gain, all a bit lower */
        }
        assert_int_equal(noise_expect(&e, &pairs), EFF_OK);
        near(e.change, kind < 2 ? 0 : -0.05, kind < 2 ? 1e-6 : 0.002); /* 50 of 1000 margins lie within 0.1 of 0 */
        assert_true(kind == 2 || e.se < 1e-6);
    }
}

static void margins_of_classes(void **state)
{
    (void)state;
    static const float logits[4] = {1, 5, 3, 5};
    near(noise_margin(logits, 4, 0), -4, 0);
    near(noise_margin(logits, 4, 1), 0, 0);
    near(noise_margin(logits, 3, 1), 2, 0);
    near(noise_margin(logits, 1, 0), 0, 0);
}

/* ---- Comparison ---- */

/* Photos of a synthetic task, `n_views` views each that share most of their logits. */
static void make_task(Evaluation *a, Evaluation *b, int *labels, int n, int n_views, float noise, uint64_t seed)
{
    enum { C = 10 };
    EffRng rng;
    eff_rng_init(&rng, seed);
    *a = *b = (Evaluation){.n_views = n_views, .n_classes = C};
    a->logits = malloc((size_t)(n * n_views * C) * sizeof *a->logits);
    b->logits = malloc((size_t)(n * n_views * C) * sizeof *b->logits);
    assert_true(a->logits != NULL && b->logits != NULL);
    for (int i = 0; i < n; i++) {
        float photo[C];
        labels[i] = (int)eff_rng_below(&rng, C);
        for (int c = 0; c < C; c++)
            photo[c] = eff_rng_normal(&rng) + (c == labels[i] ? 2.0f : 0.0f);
        for (int k = 0; k < n_views * C; k++) {
            a->logits[i * n_views * C + k] = photo[k % C] + 0.3f * eff_rng_normal(&rng);
            b->logits[i * n_views * C + k] = a->logits[i * n_views * C + k] + noise * eff_rng_normal(&rng);
        }
    }
}

static void free_task(Evaluation *a, Evaluation *b)
{
    free(a->logits);
    free(b->logits);
}

static void comparison_by_hand(void **state)
{
    (void)state;
    float x[2][3] = {{1, 2, 3}, {3, 1, 0}}, y[2][3] = {{1.5f, 2, 2.5f}, {1, 3, 0}};
    const Evaluation a = {.logits = x[0], .n_views = 1, .n_classes = 3},
                     b = {.logits = y[0], .n_views = 1, .n_classes = 3};
    const int labels[2] = {2, 0};
    Comparison c;
    assert_int_equal(compare(&c, &a, &b, labels, 1), EFF_OK);
    near(c.kl.value, 0.06026889749957487, 1e-12);
    near(c.sqnr_p50.value, 14.471580313422193, 1e-9);
    near(c.agree.value, 1, 0);
    near(c.agree.ci.low, stats_wilson(1, 1).low, 1e-12);
    assert_int_equal(compare(&c, &a, &b, labels, 2), EFF_OK);
    assert_int_equal(c.lost, 1);
    assert_int_equal(c.gained, 0);
    near(c.agree.value, 0.5, 0);
    near(c.top1_diff.value, -0.5, 0);
    near(c.mcnemar_p, 1, 0);
    /* Nothing differs: there is still a difference that two pictures could not show. */
    assert_int_equal(compare(&c, &a, &a, labels, 2), EFF_OK);
    near(c.detect_top1, 1, 0);
    near(c.expected_diff.value, 0, 0);
    near(c.expected_agree, 1, 0);
}

/*
 * Over many sets of photos the expected loss must be right on average, and scatter less than the difference that is
 * counted; more views must make both steadier, but by less than as many more photos.
 */
static void expected_loss_is_steadier(void **state)
{
    (void)state;
    enum { N = 150, TRIALS = 40 };
    static int labels[N];
    double mean[2][2] = {{0}}, square[2][2] = {{0}}, agree = 0, expected_agree = 0, se = 0;
    for (int t = 0; t < TRIALS; t++) {
        for (int many = 0; many < 2; many++) {
            Evaluation a, b;
            Comparison c;
            make_task(&a, &b, labels, N, many ? 8 : 1, 0.5f, (uint64_t)(100 + t));
            assert_int_equal(compare(&c, &a, &b, labels, N), EFF_OK);
            const double v[2] = {-c.top1_diff.value, -c.expected_diff.value};
            for (int k = 0; k < 2; k++) {
                mean[many][k] += v[k] / TRIALS;
                square[many][k] += v[k] * v[k] / TRIALS;
            }
            agree += many ? c.agree.value / TRIALS : 0;
            expected_agree += many ? c.expected_agree / TRIALS : 0;
            se += many ? c.detect_expected / 2.8015852181129683 / TRIALS : 0;
            free_task(&a, &b);
        }
    }
    double deviation[2][2];
    for (int many = 0; many < 2; many++) {
        for (int k = 0; k < 2; k++)
            deviation[many][k] = sqrt(square[many][k] - mean[many][k] * mean[many][k]);
    }
    print_message("loss %.4f counted, %.4f expected; scatter %.4f and %.4f, with 8 views %.4f and %.4f (said %.4f); "
                  "agreement %.4f, expected %.4f\n",
                  mean[1][0], mean[1][1], deviation[0][0], deviation[0][1], deviation[1][0], deviation[1][1], se, agree,
                  expected_agree);
    near(mean[1][1], mean[1][0], 4 * deviation[1][0] / sqrt(TRIALS));
    near(expected_agree, agree, 0.01);
    assert_true(mean[1][1] > 0.005);                                       /* noise costs something */
    assert_true(deviation[0][1] < 0.9 * deviation[0][0]);                  /* the expected loss is the steadier one */
    assert_true(deviation[1][0] < 0.8 * deviation[0][0]);                  /* more views help */
    assert_true(se > 0.7 * deviation[1][1] && se < 1.4 * deviation[1][1]); /* and the interval knows how much */
}

static EffStatus compare_once(void *ctx)
{
    Evaluation *e = ctx;
    static const int labels[4] = {0, 1, 2, 3};
    Comparison c;
    return compare(&c, &e[0], &e[1], labels, 4);
}

static void memory_may_be_short(void **state)
{
    (void)state;
    int labels[4];
    Evaluation e[2];
    make_task(&e[0], &e[1], labels, 4, 2, 0.5f, 1);
    sweep_allocations(compare_once, e);
    Comparison c;
    e[1].n_classes = 9;
    assert_int_equal(compare(&c, &e[0], &e[1], labels, 4), EFF_ERR_ARG);
    free_task(&e[0], &e[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms_are_scipys),
        cmocka_unit_test(bootstrap_is_scipys),
        cmocka_unit_test(quantiles_count_whole_photos),
        cmocka_unit_test(copies_add_nothing),
        cmocka_unit_test(intervals_cover_the_truth),
        cmocka_unit_test(expected_answers_are_integrals),
        cmocka_unit_test(what_moves_no_answer_costs_nothing),
        cmocka_unit_test(margins_of_classes),
        cmocka_unit_test(comparison_by_hand),
        cmocka_unit_test(expected_loss_is_steadier),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
