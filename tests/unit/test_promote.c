/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions with 16-bit inputs: what they gain, who is chosen, the same logits everywhere, and their plans' proof.
 */
#include "unit.h"

#include "promote_util.h"

#include "kernels/table.h"

#include <math.h>

static size_t n_promoted(const EffCompiled *c)
{
    const EffNodeRank *r;
    size_t n = 0;
    for (size_t i = 0; (r = eff_compiled_rank(c, i)) != NULL; i++)
        n += r->reason[0] != '\0';
    return n;
}

/*
 * Of a whole network with random weights only what is measured holds: it magnifies whatever is lost early, so that
 * promotions do not add up. The gain that is reported is what the promotion saves.
 */
static void gains_are_what_promoting_saves(void **state)
{
    (void)state;
    EffGraph *g = network("efficientnet-lite0");
    EffCompiled *none = quantize(g, (EffQuantizeOptions){.no_gptq = 1});
    EffCompiled *one = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .int16_nodes = 1});
    const double kl = divergence(none, g, NULL, 1, CALIBRATION, NULL);
    const EffNodeRank *r = eff_compiled_rank(one, 0);
    assert_int_equal(n_promoted(none), 0);
    assert_int_equal(n_promoted(one), 1);
    assert_string_equal(r->reason, "gain");
    assert_true(r->gain > 0);
    assert_true(fabs(eff_compiled_promotion(one).kl - kl) < 0.001 * kl);
    assert_true(fabs(kl - divergence(one, g, NULL, 1, CALIBRATION, NULL) - r->gain) < 0.01 * r->gain);
    for (size_t i = 1; (r = eff_compiled_rank(one, i)) != NULL; i++) {
        assert_true(r->gain <= eff_compiled_rank(one, i - 1)->gain);
        assert_string_equal(r->reason, "");
    }
    eff_compiled_free(none);
    eff_compiled_free(one);
    eff_graph_free(g);
}

static void logits_are_the_same_at_every_level(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-b0"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffGraph *g = network(names[i]);
        EffCompiled *c = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .int16_nodes = 1000});
        same_logits_everywhere(c, g);
        eff_compiled_free(c);
        eff_graph_free(g);
    }
}

/* With weights chosen on 16-bit inputs too. */
static void bytes_do_not_depend_on_threads(void **state)
{
    (void)state;
    EffGraph *g = network("efficientnet-b0");
    EffCompiled *one = quantize(g, (EffQuantizeOptions){.n_threads = 1, .int16_nodes = 6});
    EffCompiled *three = quantize(g, (EffQuantizeOptions){.n_threads = 3, .int16_nodes = 6});
    EffBytes a = written(one), b = written(three);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    eff_free(a.data);
    eff_free(b.data);
    eff_compiled_free(one);
    eff_compiled_free(three);
    eff_graph_free(g);
}

/*
 * Every convolution that can has 16-bit inputs: early layers, before errors are magnified, come nearer to float. With
 * one scale a tensor before pointwise layers, whose quiet channels 8 bits hardly see, they come much nearer.
 */
static void wide_inputs_bring_layers_nearer_to_float(void **state)
{
    (void)state;
    static const char *const outputs[] = {
        "/blocks/blocks.0/blocks.0.0/bn1/act/Clip", "/blocks/blocks.0/blocks.0.0/conv_pw/Conv",
        "/blocks/blocks.1/blocks.1.0/bn1/act/Clip", "/blocks/blocks.1/blocks.1.0/bn2/act/Clip"};
    EffGraph *g = network("efficientnet-lite0");
    for (int one_scale = 0; one_scale < 2; one_scale++) {
        EffCompiled *none = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .no_migration = one_scale});
        char *table = all_with_type(eff_compiled_table(none), g, "int16");
        EffCompiled *all = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .no_migration = one_scale, .table = table});
        for (size_t i = 0; i < EFF_COUNT(outputs); i++)
            assert_true(sqnr_of(all, outputs[i]) > sqnr_of(none, outputs[i]) + (one_scale && i > 0 ? 4.5 : 2));
        free(table);
        eff_compiled_free(none);
        eff_compiled_free(all);
    }
    eff_graph_free(g);
}

/* The layer's own error: weights chosen on the moments of 16-bit inputs against rounded ones. */
static void chosen_weights_suit_wide_inputs(void **state)
{
    (void)state;
    static const char *const nodes[] = {"/blocks/blocks.1/blocks.1.0/conv_pw/Conv",
                                        "/blocks/blocks.0/blocks.0.0/conv_dw/Conv"};
    static const char *const outputs[] = {"/blocks/blocks.1/blocks.1.0/bn1/act/Clip",
                                          "/blocks/blocks.0/blocks.0.0/bn1/act/Clip"};
    EffGraph *g = network("efficientnet-lite0");
    EffCompiled *plain = quantize(g, (EffQuantizeOptions){.no_gptq = 1});
    for (size_t i = 0; i < EFF_COUNT(nodes); i++) {
        char *table = with_type(eff_compiled_table(plain), nodes[i], "int16");
        EffCompiled *rounded = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .table = table});
        EffCompiled *chosen = quantize(g, (EffQuantizeOptions){.table = table});
        assert_int_equal(n_promoted(rounded), 1);
        assert_string_equal(eff_compiled_rank(rounded, 0)->reason, "table");
        assert_non_null(strstr(eff_compiled_table(chosen), " int16 "));
        assert_true(sqnr_of(chosen, outputs[i]) > sqnr_of(rounded, outputs[i]) + 0.1);
        free(table);
        eff_compiled_free(rounded);
        eff_compiled_free(chosen);
    }
    eff_compiled_free(plain);
    eff_graph_free(g);
}

static void a_drop_is_reached_or_not_and_says_so(void **state)
{
    (void)state;
    EffGraph *g = network("efficientnet-b0");
    EffCompiled *easy = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .has_max_drop = 1, .max_drop = 100});
    const EffPromotionSummary s = eff_compiled_promotion(easy);
    assert_int_equal(s.n_promoted, 0);
    assert_int_equal(s.n_held_back, 2);
    assert_int_equal(s.n_pictures, 6);
    assert_true(s.reached && s.drop == s.drop_before);
    eff_compiled_free(easy);
    EffCompiled *c = NULL;
    const EffPictures few = {.n = 7, .get = get_synthetic};
    const EffQuantizeOptions hard = {.no_gptq = 1, .has_max_drop = 1};
    assert_int_equal(eff_quantize(&c, g, &few, &hard), EFF_ERR_ARG);
    assert_non_null(strstr(eff_last_message(), "there are 7"));
    eff_graph_free(g);
}

static void bytes_come_apart_and_together(void **state)
{
    (void)state;
    enum { N = 65536 };
    int16_t *x = malloc(N * sizeof *x);
    uint8_t *hi = malloc(N), *lo = malloc(N);
    assert_true(x != NULL && hi != NULL && lo != NULL);
    for (int i = 0; i < N; i++)
        x[i] = (int16_t)(i - 32768);
    eff_split_s16(hi, lo, x, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(256 * (hi[i] - 128) + lo[i], x[i]);
    free(x);
    free(hi);
    free(lo);
}

static void sums_that_leave_32_bits_are_refused(void **state)
{
    (void)state;
    enum { N = 16384 };
    static int8_t wgt[N];
    memset(wgt, 127, sizeof wgt);
    const int32_t room = (int32_t)(INT32_MAX - 256ll * 127 * N - 1);
    int32_t bias = room;
    assert_int_equal(eff_wide_check(wgt, &bias, 1, N), EFF_OK);
    bias = room + 1;
    assert_int_equal(eff_wide_check(wgt, &bias, 1, N), EFF_ERR_FORMAT);
    bias = -room - 1;
    assert_int_equal(eff_wide_check(wgt, &bias, 1, N), EFF_ERR_FORMAT);
}

static void divergence_is_that_of_libm(void **state)
{
    (void)state;
    const float a[4] = {1, 2.5f, -3, 700}, b[4] = {0.5f, 2, -1, 0.25f};
    for (size_t n = 1; n <= 3; n++) {
        double za = 0, zb = 0, kl = 0;
        for (size_t i = 0; i < n; i++) {
            za += exp((double)a[i]);
            zb += exp((double)b[i]);
        }
        for (size_t i = 0; i < n; i++)
            kl += exp((double)a[i]) / za * ((double)a[i] - log(za) - (double)b[i] + log(zb));
        assert_true(fabs(eff_softmax_kl(a, b, n) - kl) < 1e-13);
    }
    assert_true(eff_softmax_kl(a, a, 4) == 0);
    assert_true(isfinite(eff_softmax_kl(a, b, 4)) && eff_softmax_kl(a, b, 4) > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_apart_and_together),
        cmocka_unit_test(sums_that_leave_32_bits_are_refused),
        cmocka_unit_test(divergence_is_that_of_libm),
        cmocka_unit_test(gains_are_what_promoting_saves),
        cmocka_unit_test(logits_are_the_same_at_every_level),
        cmocka_unit_test(bytes_do_not_depend_on_threads),
        cmocka_unit_test(wide_inputs_bring_layers_nearer_to_float),
        cmocka_unit_test(chosen_weights_suit_wide_inputs),
        cmocka_unit_test(a_drop_is_reached_or_not_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
