/* SPDX-License-Identifier: Apache-2.0 */
/* The mathematics of choosing weights: factors, moments, roundings; against plain loops, and any threads. */
#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "quant/cholesky.h"
#include "quant/gram.h"
#include "quant/round_dw.h"
#include "quant/round_gptq.h"

#include <math.h>
#include <string.h>

enum { N = 150, N_OUT = 13, N_SAMPLES = 700, TAPS = 25, CHANNELS = 19 };

static double *random_matrix(EffRng *rng, size_t n)
{
    double *a = eff_calloc(n, sizeof *a);
    assert_non_null(a);
    for (size_t i = 0; i < n; i++)
        a[i] = (double)eff_rng_normal(rng);
    return a;
}

/* Samples whose inputs move together: each is a mix of few sources. */
static EffSamples make_samples(void)
{
    EffRng rng;
    EffSamples s;
    eff_rng_init(&rng, 5);
    double *mix = random_matrix(&rng, (size_t)N * 20);
    assert_int_equal(eff_samples_create(&s, N_SAMPLES, N, N_OUT), EFF_OK);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        double source[20];
        for (size_t k = 0; k < 20; k++)
            source[k] = (double)eff_rng_normal(&rng);
        for (size_t c = 0; c < N; c++) {
            double v = 100 + 2 * (double)eff_rng_normal(&rng);
            for (size_t k = 0; k < 20; k++)
                v += 6 * mix[c * 20 + k] * source[k];
            s.x[i * N + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
        for (size_t o = 0; o < N_OUT; o++)
            s.f[i * N_OUT + o] = (float)source[o] - 3;
    }
    eff_free(mix);
    return s;
}

static void cholesky_gives_the_factor(void **state)
{
    (void)state;
    EffRng rng;
    eff_rng_init(&rng, 1);
    double known[9] = {4, 0, 0, 12, 37, 0, -16, -43, 98}; /* a textbook's: 2 0 0, 6 1 0, -8 5 3 */
    assert_int_equal(eff_cholesky(known, 3, NULL), EFF_OK);
    const double wanted[9] = {2, 0, 0, 6, 1, 0, -8, 5, 3};
    for (int i = 0; i < 9; i++)
        assert_true(fabs(known[i] - wanted[i]) < 1e-12);

    double *b = random_matrix(&rng, (size_t)N * N), *a = eff_calloc((size_t)N * N, sizeof *a);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < N; k++) {
            for (size_t p = 0; p < N; p++)
                a[i * N + k] += b[i * N + p] * b[k * N + p];
        }
        a[i * N + i] += 1;
    }
    double *one = eff_calloc((size_t)N * N, sizeof *one), *three = eff_calloc((size_t)N * N, sizeof *three);
    memcpy(one, a, (size_t)N * N * sizeof *a);
    memcpy(three, a, (size_t)N * N * sizeof *a);
    EffPool *pool = NULL;
    assert_int_equal(eff_pool_create(&pool, 3), EFF_OK);
    assert_int_equal(eff_cholesky(one, N, NULL), EFF_OK);
    assert_int_equal(eff_cholesky(three, N, pool), EFF_OK);
    assert_memory_equal(one, three, (size_t)N * N * sizeof *one);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < N; k++) {
            double v = 0;
            for (size_t p = 0; p < N; p++)
                v += one[i * N + p] * one[k * N + p];
            assert_true(fabs(v - a[i * N + k]) < 1e-9 * N);
        }
    }
    double not_positive[4] = {1, 2, 2, 1};
    assert_int_equal(eff_cholesky(not_positive, 2, NULL), EFF_ERR_ARG);
    eff_pool_destroy(pool);
    eff_free(a);
    eff_free(b);
    eff_free(one);
    eff_free(three);
}

static void moments_are_exact(void **state)
{
    (void)state;
    EffSamples s = make_samples();
    EffPool *pool = NULL;
    assert_int_equal(eff_pool_create(&pool, 3), EFF_OK);
    double *cov = eff_calloc((size_t)N * N, sizeof *cov), *again = eff_calloc((size_t)N * N, sizeof *again);
    double mean[N], f_mean[N_OUT];
    assert_int_equal(eff_gram(cov, mean, &s, NULL), EFF_OK);
    assert_int_equal(eff_gram(again, mean, &s, pool), EFF_OK);
    assert_memory_equal(cov, again, (size_t)N * N * sizeof *cov);
    eff_column_means(f_mean, &s);
    for (size_t a = 0; a < N; a += 7) {
        for (size_t b = 0; b < N; b++) {
            double v = 0;
            for (size_t i = 0; i < N_SAMPLES; i++)
                v += (s.x[i * N + a] - mean[a]) * (s.x[i * N + b] - mean[b]);
            assert_true(fabs(v - cov[a * N + b]) < 1e-6 * N_SAMPLES);
        }
    }
    for (size_t o = 0; o < N_OUT; o++) {
        double sum = 0;
        for (size_t i = 0; i < N_SAMPLES; i++)
            sum += (double)s.f[i * N_OUT + o];
        assert_true(fabs(sum / N_SAMPLES - f_mean[o]) < 1e-4);
    }
    eff_pool_destroy(pool);
    eff_samples_free(&s);
    eff_free(cov);
    eff_free(again);
}

/* Squared error of the outputs on the samples, a mean and no damping: what all this is for. */
static double output_error(const EffSamples *s, const double *wgt, const int16_t *q, double unit)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < s->n; i++) {
        double e = 0;
        for (size_t c = 0; c < N; c++)
            e += (unit * q[c] - wgt[c]) * s->x[i * N + c];
        sum += e;
        square += e * e;
    }
    return square - sum * sum / (double)s->n;
}

static void chosen_weights_beat_rounded_ones(void **state)
{
    (void)state;
    EffSamples s = make_samples();
    EffPool *pool = NULL;
    EffMoments m;
    EffRng rng;
    eff_rng_init(&rng, 9);
    assert_int_equal(eff_pool_create(&pool, 3), EFF_OK);
    double *cov = eff_calloc((size_t)N * N, sizeof *cov), mean[N];
    assert_int_equal(eff_gram(cov, mean, &s, pool), EFF_OK);
    assert_int_equal(eff_moments_create(&m, cov, N, 0.01, pool), EFF_OK);
    double *wgt = random_matrix(&rng, (size_t)N_OUT * N), unit[N_OUT], plain[N_OUT], chosen[N_OUT];
    int16_t *q = eff_calloc((size_t)N_OUT * N, sizeof *q), *again = eff_calloc((size_t)N_OUT * N, sizeof *again);
    double sum_plain = 0, sum_chosen = 0;
    for (size_t o = 0; o < N_OUT; o++)
        unit[o] = 0.2 + 0.05 * (double)o; /* coarse, and for the last ones a limit that weights run into */
    assert_int_equal(eff_moments_round(&m, q, wgt, unit, 5, N_OUT, plain, chosen, pool), EFF_OK);
    assert_int_equal(eff_moments_round(&m, again, wgt, unit, 5, N_OUT, plain, chosen, NULL), EFF_OK);
    assert_memory_equal(q, again, (size_t)N_OUT * N * sizeof *q);
    for (size_t o = 0; o < N_OUT; o++) {
        int16_t rounded[N];
        for (size_t c = 0; c < N; c++) {
            rounded[c] = (int16_t)lround(fmax(-5, fmin(5, wgt[o * N + c] / unit[o])));
            assert_in_range(q[o * N + c] + 5, 0, 10);
        }
        assert_true(chosen[o] <= plain[o]);
        sum_plain += output_error(&s, wgt + o * N, rounded, unit[o]);
        sum_chosen += output_error(&s, wgt + o * N, q + o * N, unit[o]);
    }
    print_message("pointwise: chosen weights are %.1f dB better\n", 10 * log10(sum_plain / sum_chosen));
    assert_true(sum_chosen < 0.2 * sum_plain);
    eff_moments_free(&m);
    eff_pool_destroy(pool);
    eff_samples_free(&s);
    eff_free(cov);
    eff_free(wgt);
    eff_free(q);
    eff_free(again);
}

static void depthwise_weights_are_searched(void **state)
{
    (void)state;
    EffRng rng;
    EffDwMoments m, part;
    eff_rng_init(&rng, 4);
    assert_int_equal(eff_dw_moments_create(&m, CHANNELS, TAPS), EFF_OK);
    assert_int_equal(eff_dw_moments_create(&part, CHANNELS, TAPS), EFF_OK);
    double *truth = random_matrix(&rng, CHANNELS * TAPS);
    double unit[CHANNELS], plain[CHANNELS], chosen[CHANNELS];
    for (int i = 0; i < 2000; i++) {
        int16_t x[TAPS * CHANNELS], f[CHANNELS], weight[CHANNELS];
        for (size_t c = 0; c < CHANNELS; c++) {
            const double base = 90 + 40 * (double)eff_rng_normal(&rng);
            double sum = 0;
            for (size_t t = 0; t < TAPS; t++) {
                const double v = base + 12 * (double)eff_rng_normal(&rng);
                x[t * CHANNELS + c] = (int16_t)fmax(0, fmin(255, v));
                sum += truth[c * TAPS + t] * x[t * CHANNELS + c];
            }
            f[c] = (int16_t)fmax(-32767, fmin(32767, sum * 4));
            weight[c] = c > 0; /* nothing is known of channel 0 */
        }
        eff_dw_moments_add(i % 2 ? &m : &part, x, f, weight);
    }
    eff_dw_moments_merge(&m, &part);
    assert_true(m.n[0] == 0 && m.n[1] == 2000);
    for (size_t c = 0; c < CHANNELS; c++)
        unit[c] = 0.4;
    const EffDwRounding r = {.m = &m, .damping = 0.01, .q_max = 127};
    int16_t q[CHANNELS * TAPS];
    eff_dw_round(&r, q, truth, unit, plain, chosen, NULL);
    double sum_plain = 0, sum_chosen = 0;
    for (size_t c = 1; c < CHANNELS; c++) {
        assert_true(chosen[c] <= plain[c]);
        sum_plain += plain[c];
        sum_chosen += chosen[c];
    }
    print_message("depthwise: chosen weights are %.1f dB better\n", 10 * log10(sum_plain / sum_chosen));
    assert_true(sum_chosen < 0.5 * sum_plain);
    eff_dw_moments_free(&m);
    eff_dw_moments_free(&part);
    eff_free(truth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cholesky_gives_the_factor),
        cmocka_unit_test(moments_are_exact),
        cmocka_unit_test(chosen_weights_beat_rounded_ones),
        cmocka_unit_test(depthwise_weights_are_searched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
