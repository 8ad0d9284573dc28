/* SPDX-License-Identifier: Apache-2.0 */
/* src/quant/debug.c: a compiled model beside float, node by node and channel by channel. */
#include "unit.h"

#include "effnet/compile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIZE = 40 };

static EffGraph *network(const char *name, int size)
{
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
    arch.pre.size = size;
    arch.n_classes = 10;
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_randomize(g, 7), EFF_OK);
    assert_int_equal(eff_graph_optimize(g), EFF_OK);
    return g;
}

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    (void)ctx;
    eff_synthetic_picture(pixels, SIZE, 100 + i);
    return EFF_OK;
}

static const EffPictures pictures = {.n = 5, .get = get_synthetic};

static EffModel *quantized(const EffGraph *g, const char *table, EffCompiled **c)
{
    const EffQuantizeOptions options = {.n_threads = 1, .n_report = 5, .table = table, .no_gptq = 1};
    EffModel *m = NULL;
    assert_int_equal(eff_quantize(c, g, &pictures, &options), EFF_OK);
    assert_int_equal(eff_compiled_model(&m, *c, NULL), EFF_OK);
    return m;
}

/* On the quantizer's own pictures it says what the quantizer's report said, for any number of threads. */
static void it_agrees_with_the_report(void **state)
{
    (void)state;
    EffGraph *g = network("b0", SIZE);
    EffCompiled *c = NULL;
    EffModel *m = quantized(g, NULL, &c);
    EffDebug *one = NULL, *three = NULL;
    assert_int_equal(eff_debug_run(&one, m, g, &pictures, &(EffQuantizeOptions){.n_threads = 1}), EFF_OK);
    assert_int_equal(eff_debug_run(&three, m, g, &pictures, &(EffQuantizeOptions){.n_threads = 3}), EFF_OK);
    const EffNodeReport *row;
    size_t n = 0;
    for (; (row = eff_compiled_report(c, n)) != NULL; n++) {
        const EffDebugNode *a = eff_debug_node(one, n), *b = eff_debug_node(three, n);
        assert_non_null(a);
        assert_string_equal(a->name, row->name);
        assert_string_equal(a->type, row->type);
        assert_true(fabs(a->all.sqnr_db - row->sqnr_db) < 1e-9 && fabs(a->all.cosine - row->cosine) < 1e-9);
        assert_memory_equal(&a->all, &b->all, sizeof a->all);
        assert_memory_equal(a->channels, b->channels, (size_t)a->n_channels * sizeof *a->channels);
        float error = 0, least = INFINITY;
        for (int k = 0; k < a->n_channels; k++) {
            const EffDebugError *e = &a->channels[k];
            error = fmaxf(error, e->max_error);
            least = fminf(least, e->used_min);
            assert_true(e->seen_min <= e->seen_max && e->used_min <= 0 && e->used_max >= 0 && e->cosine <= 1 + 1e-9);
            assert_true(strcmp(a->type, "u8") != 0 || e->cut_off == 0); /* the pictures it was made on */
        }
        assert_true(error == a->all.max_error && least == a->all.used_min);
    }
    assert_true(n > 100);
    assert_null(eff_debug_node(one, n));
    assert_true(isnan(eff_debug_node(one, 0)->input_sqnr_db)); /* it reads the picture */
    assert_true(eff_debug_node(one, 1)->input_sqnr_db == eff_debug_node(one, 0)->all.sqnr_db);
    eff_debug_free(one);
    eff_debug_free(three);
    eff_model_close(m);
    eff_compiled_free(c);
    eff_graph_free(g);
}

/* A range cut in half by a table shows where it was cut, and in no channel that it spares. */
static void narrow_ranges_show(void **state)
{
    (void)state;
    EffGraph *g = network("lite0", SIZE);
    EffCompiled *c = NULL, *plain = NULL;
    EffModel *m = quantized(g, NULL, &plain);
    EffDebug *before = NULL, *after = NULL;
    assert_int_equal(eff_debug_run(&before, m, g, &pictures, NULL), EFF_OK);
    const EffDebugNode *node = eff_debug_node(before, 0);
    assert_string_equal(node->name, "/bn1/act/Clip");
    assert_true(node->all.cut_off == 0 && node->per_channel);
    const float limit = node->all.seen_max / 2;
    eff_model_close(m);
    char table[128];
    snprintf(table, sizeof table, "effnet-table 1\n/bn1/act/Clip u8 tensor 0 %.9g\n", (double)limit);
    m = quantized(g, table, &c);
    assert_int_equal(eff_debug_run(&after, m, g, &pictures, NULL), EFF_OK);
    const EffDebugNode *cut = eff_debug_node(after, 0);
    assert_true(cut->all.cut_off > 0 && cut->all.cut_off < 0.5 && cut->all.sqnr_db < node->all.sqnr_db - 5);
    assert_true(fabsf(cut->all.used_max - limit) < 1e-3f * limit);
    assert_true(cut->all.seen_max == node->all.seen_max);
    assert_true(cut->all.max_error > 0.9f * limit);
    for (int k = 0; k < cut->n_channels; k++)
        assert_true((cut->channels[k].cut_off > 0) == (cut->channels[k].seen_max > limit * (1 + 0.5f / 255)));
    eff_debug_free(before);
    eff_debug_free(after);
    eff_model_close(m);
    eff_compiled_free(c);
    eff_compiled_free(plain);
    eff_graph_free(g);
}

/* A float model is float: no range, no error. */
static void float_models_are_equal(void **state)
{
    (void)state;
    EffGraph *g = network("b0", SIZE);
    EffCompiled *c = NULL;
    EffModel *m = NULL;
    EffDebug *d = NULL;
    assert_int_equal(eff_compile_float(&c, g), EFF_OK);
    assert_int_equal(eff_compiled_model(&m, c, NULL), EFF_OK);
    assert_int_equal(eff_debug_run(&d, m, g, &pictures, NULL), EFF_OK);
    const EffDebugNode *node;
    size_t n = 0;
    for (; (node = eff_debug_node(d, n)) != NULL; n++) {
        assert_string_equal(node->type, "f32");
        assert_true(node->all.sqnr_db > 80 && isinf(node->all.used_max) && node->all.cut_off == 0);
    }
    assert_true(n > 100);
    eff_debug_free(d);
    eff_model_close(m);
    eff_compiled_free(c);
    eff_graph_free(g);
}

static int stop_at_once(void *ctx, const char *phase, size_t done, size_t total)
{
    (void)ctx;
    (void)phase;
    return done <= total;
}

static void failures_are_reported(void **state)
{
    (void)state;
    EffGraph *g = network("lite0", SIZE), *larger = network("lite0", 48), *bare = NULL;
    EffArch arch;
    EffCompiled *c = NULL;
    EffModel *m = quantized(g, NULL, &c);
    EffDebug *d = NULL;
    const EffPictures none = {.get = get_synthetic};
    assert_int_equal(eff_debug_run(&d, m, g, &none, NULL), EFF_ERR_ARG);
    assert_int_equal(eff_debug_run(&d, m, larger, &pictures, NULL), EFF_ERR_ARG);
    assert_non_null(strstr(eff_last_message(), "takes 40 x 40 pixels, but the float network 48 x 48"));
    assert_int_equal(eff_debug_run(&d, m, g, &pictures, &(EffQuantizeOptions){.progress = stop_at_once}),
                     EFF_ERR_INTERRUPTED);
    assert_int_equal(eff_arch_find(&arch, "lite0"), EFF_OK);
    arch.pre.size = SIZE;
    assert_int_equal(eff_graph_build(&bare, &arch), EFF_OK);
    assert_int_not_equal(eff_debug_run(&d, m, bare, &pictures, NULL), EFF_OK); /* no weights */
    assert_null(d);
    eff_debug_free(NULL);
    eff_model_close(m);
    eff_compiled_free(c);
    eff_graph_free(g);
    eff_graph_free(larger);
    eff_graph_free(bare);
}

typedef struct Once {
    const EffModel *m;
    const EffGraph *g;
} Once;

static EffStatus run_once(void *ctx)
{
    const Once *once = ctx;
    const EffPictures one = {.n = 1, .get = get_synthetic};
    EffDebug *d = NULL;
    const EffStatus st = eff_debug_run(&d, once->m, once->g, &one, &(EffQuantizeOptions){.n_threads = 1});
    eff_debug_free(d);
    return st;
}

static void memory_may_be_short(void **state)
{
    (void)state;
    EffGraph *g = network("lite0", SIZE);
    EffCompiled *c = NULL;
    Once once = {.m = quantized(g, NULL, &c), .g = g};
    sweep_allocations(run_once, &once);
    eff_model_close((EffModel *)(uintptr_t)once.m);
    eff_compiled_free(c);
    eff_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_the_report), cmocka_unit_test(narrow_ranges_show),
        cmocka_unit_test(float_models_are_equal),    cmocka_unit_test(failures_are_reported),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
