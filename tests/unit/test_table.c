/* SPDX-License-Identifier: Apache-2.0 */
/* src/quant/table.c: tables of ranges, read back and edited. */
#include "unit.h"

#include "compiled_util.h"

#include "base/file.h"
#include "effnet/compile.h"
#include "quant/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 40 };

static EffGraph *narrow_network(const char *name, double width)
{
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
    arch.pre.size = SIZE;
    arch.n_classes = 10;
    arch.width *= width;
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_randomize(g, 7), EFF_OK);
    assert_int_equal(eff_graph_optimize(g), EFF_OK);
    return g;
}

static EffGraph *network(const char *name)
{
    return narrow_network(name, 1);
}

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    (void)ctx;
    eff_synthetic_picture(pixels, SIZE, 100 + i);
    return EFF_OK;
}

/* Weights are rounded, or chosen: what the choice depends on must be in the table too. */
static EffStatus quantize_how(EffCompiled **out, const EffGraph *g, const char *table, bool choose)
{
    const EffPictures pictures = {.n = 4, .get = get_synthetic};
    const EffQuantizeOptions options = {
        .n_threads = 2, .n_report = 1, .table = table, .table_name = "t", .no_gptq = !choose};
    return eff_quantize(out, g, &pictures, &options);
}

static EffStatus quantize(EffCompiled **out, const EffGraph *g, const char *table)
{
    return quantize_how(out, g, table, false);
}

/* `text` with the first `from` after `after` made `to`; free(). */
static char *edited(const char *text, const char *after, const char *from, const char *to)
{
    const char *at = strstr(text, after);
    at = at != NULL ? strstr(at, from) : NULL;
    assert_non_null(at);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(out);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void unedited_tables_change_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-b0"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        const bool choose = i == 1; /* which takes seconds, by the cube of the width */
        EffGraph *g = narrow_network(names[i], choose ? 0.4 : 1);
        EffCompiled *a = NULL, *b = NULL, *c = NULL;
        assert_int_equal(quantize_how(&a, g, NULL, choose), EFF_OK);
        const char *table = eff_compiled_table(a);
        assert_int_equal(quantize_how(&b, g, table, choose), EFF_OK);
        /* A part of it does no harm either: the rest is observed again. */
        char *part = strdup(table), *cut = strstr(part, "/blocks/blocks.3/blocks.3.0");
        assert_non_null(cut);
        *cut = '\0';
        assert_int_equal(quantize_how(&c, g, part, choose), EFF_OK);
        EffBytes x = written(a), y = written(b), z = written(c);
        assert_int_equal(x.size, y.size);
        assert_memory_equal(x.data, y.data, x.size);
        assert_int_equal(x.size, z.size);
        assert_memory_equal(x.data, z.data, x.size);
        assert_string_equal(eff_compiled_table(b), table);
        assert_string_equal(eff_compiled_table(c), table);
        eff_free(x.data);
        eff_free(y.data);
        eff_free(z.data);
        free(part);
        eff_compiled_free(a);
        eff_compiled_free(b);
        eff_compiled_free(c);
        eff_graph_free(g);
    }
}

static void edits_are_followed(void **state)
{
    (void)state;
    EffGraph *g = network("b0");
    EffCompiled *plain = NULL, *c = NULL;
    assert_int_equal(quantize(&plain, g, NULL), EFF_OK);
    const char *node = "/bn1/act/Mul";
    /* The node's own line bounds all of its channels: a tenth of the range, and most values are cut off. */
    char table[256];
    snprintf(table, sizeof table, "effnet-table 1 b0\n%s u8 tensor -0.01 0.05\n", node);
    assert_int_equal(quantize(&c, g, table), EFF_OK);
    assert_true(sqnr_of(c, node) < 10 && sqnr_of(plain, node) > 25);
    eff_compiled_free(c);
    /* A hundred times the range: six to seven bits less. */
    snprintf(table, sizeof table, "effnet-table 1 b0 # a comment\n\n%s u8 tensor -0.3 400 # wide\n", node);
    assert_int_equal(quantize(&c, g, table), EFF_OK);
    assert_true(sqnr_of(c, node) < sqnr_of(plain, node) - 10);
    eff_compiled_free(c);
    /* The form of an activation. */
    static const char *const kinds[] = {"stair", "interp"};
    for (size_t k = 0; k < 2; k++) {
        snprintf(table, sizeof table, "effnet-table 1 b0\n%s u8 tensor -0.3 8 %s\n", node, kinds[k]);
        assert_int_equal(quantize(&c, g, table), EFF_OK);
        const EffNodeReport *row;
        for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++) {
            if (strcmp(row->name, node) == 0)
                assert_string_equal(row->act, kinds[k]);
        }
        char *line = strstr(eff_compiled_table(c), node);
        assert_non_null(line);
        line[strcspn(line, "\n")] = '\0';
        assert_non_null(strstr(line, kinds[k]));
        eff_compiled_free(c);
    }
    eff_compiled_free(plain);
    eff_graph_free(g);
}

/* An activation that is added to something keeps the sum's unit, however its own range was chosen. */
static void activations_may_be_added(void **state)
{
    (void)state;
    static const char *const ranges[] = {"-8 8", "-40 40", "-400 400", "-0.5 0.5"};
    EffGraph *g = narrow_network("b0", 0.2); /* so narrow that the first block keeps the channels */
    const char *sum = "/blocks/blocks.0/blocks.0.0/Add";
    EffCompiled *plain = NULL;
    assert_int_equal(quantize(&plain, g, NULL), EFF_OK);
    assert_true(sqnr_of(plain, sum) > 20);
    for (size_t i = 0; i < EFF_COUNT(ranges); i++) {
        EffCompiled *c = NULL;
        char table[128];
        snprintf(table, sizeof table, "effnet-table 1\n/conv_stem/Conv acc tensor %s\n", ranges[i]);
        assert_int_equal(quantize(&c, g, table), EFF_OK);
        if (sqnr_of(c, sum) < sqnr_of(c, "/bn1/act/Mul") - 15)
            fail_msg("%s: %.1f dB before, %.1f dB after the addition", ranges[i], sqnr_of(c, "/bn1/act/Mul"),
                     sqnr_of(c, sum));
        eff_compiled_free(c);
    }
    eff_compiled_free(plain);
    eff_graph_free(g);
}

/* Any range that can be read makes a model that proves itself: next to nothing, next to everything, nothing. */
static void extreme_ranges_still_compile(void **state)
{
    (void)state;
    static const char *const names[] = {"lite0", "b0"}, *const ranges[] = {"0 0", "-1e-30 1e-30", "-4e8 4e8",
                                                                           "0 1e-40"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffGraph *g = network(names[i]);
        for (size_t r = 0; r < EFF_COUNT(ranges); r++) {
            static const char *const nodes[] = {"/conv_stem/Conv", "/blocks/blocks.1/blocks.1.0/conv_pwl/Conv",
                                                "/blocks/blocks.2/blocks.2.0/conv_dw/Conv"};
            EffCompiled *c = NULL;
            EffModel *m = NULL;
            char table[512];
            int n = snprintf(table, sizeof table, "effnet-table 1\n");
            for (size_t k = 0; k < EFF_COUNT(nodes); k++)
                n += snprintf(table + n, sizeof table - (size_t)n, "%s %s tensor %s\n", nodes[k],
                              strstr(nodes[k], "pwl") != NULL ? "u8+s16" : "acc", ranges[r]);
            const EffStatus st = quantize(&c, g, table);
            if (st == EFF_ERR_UNSUPPORTED) { /* sums too coarse for what they are added to: said, not miscomputed */
                assert_non_null(strstr(eff_last_message(), "too coarse"));
                continue;
            }
            if (st != EFF_OK)
                fail_msg("%s, %s: %s", names[i], ranges[r], eff_last_message());
            assert_int_equal(eff_compiled_model(&m, c, "c"), EFF_OK);
            eff_model_close(m);
            eff_compiled_free(c);
        }
        eff_graph_free(g);
    }
}

static void wrong_tables_are_refused(void **state)
{
    (void)state;
    EffGraph *g = network("lite0");
#define HEAD "effnet-table 1 x\n"
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t:1: the table is empty"},
        {"# only a comment\n", "t:2: the table is empty"},
        {"/conv_stem/Conv acc tensor 0 1\n", "t:1: not a table of ranges"},
        {"effnet-table one\n", "t:1: 'one' is no version; write 1"},
        {HEAD "/conv_sten/Conv acc tensor 0 1\n",
         "t:2: efficientnet-lite0 has no node '/conv_sten/Conv'; did you mean '/conv_stem/Conv'?"},
        {HEAD "nothing acc tensor 0 1\n",
         "t:2: efficientnet-lite0 has no node 'nothing'; is the table of another network?"},
        {HEAD "/conv_stem/Conv acc tensor 0\n", "t:2: 4 words, not NODE TYPE GRAIN MIN MAX [ACTIVATION]"},
        {HEAD "/conv_stem/Conv acc tensor 0 1 stair more\n", "t:2: 7 words"},
        {HEAD "/conv_stem/Conv s8 tensor 0 1\n", "t:2: 's8' is no type; use u8"},
        {HEAD "/conv_stem/Conv acc row 0 1\n", "t:2: 'row' is neither 'tensor' nor 'channel'"},
        {HEAD "\n\n/conv_stem/Conv acc tensor 0 1,5\n", "t:4: '1,5' is not a number; write it as"},
        {HEAD "/conv_stem/Conv acc tensor 0 nan\n", "t:2: 'nan' is beyond"},
        {HEAD "/conv_stem/Conv acc tensor -inf 0\n", "t:2: '-inf' is beyond"},
        {HEAD "/conv_stem/Conv acc tensor 0 1e39\n", "t:2: '1e39' is beyond 1e+12, the most that int8 covers"},
        {HEAD "/conv_stem/Conv acc tensor -1.1e12 0\n", "t:2: '-1.1e12' is beyond 1e+12"},
        {HEAD "/conv_stem/Conv acc tensor 1 -1\n", "t:2: min 1 is above max -1; swap them"},
        {HEAD "/conv_stem/Conv acc tensor 1 2\n", "t:2: 0 is not between 1 and 2"},
        {HEAD "/conv_stem/Conv acc tensor 0 1 curve\n", "t:2: 'curve' is no form of an activation"},
        {HEAD "/conv_stem/Conv acc tensor 0 1 stair\n", "t:2: /conv_stem/Conv has no activation by table"},
        {HEAD "/conv_stem/Conv u8 tensor 0 1\n",
         "t:2: /conv_stem/Conv can't be u8: what reads it needs acc; write that"},
        {HEAD "/conv_stem/Conv acc tensor 0 1\n/conv_stem/Conv acc tensor 0 1\n",
         "t:3: /conv_stem/Conv stands in line 2 already; remove one of the two"},
        {HEAD "/bn1/act/Clip u8 tensor 0 1\n/conv_stem/Conv acc tensor 0 1\n",
         "t:3: /conv_stem/Conv comes before /bn1/act/Clip (line 2) in the network; keep the order"},
        {HEAD " 0 0 1\n", "t:2: a line of a channel, but no node stands before it; remove it"},
        {HEAD "/conv_stem/Conv acc tensor 0 1\n 0 0 1\n",
         "t:3: a line of a channel, but no more belong to /conv_stem/Conv; remove it"},
        {HEAD "/bn1/act/Clip u8 channel 0 1\n 0 0 1\n 2 0 1\n",
         "t:4: channel '2' of /bn1/act/Clip, but 1 comes next; list all of them in order"},
        {HEAD "/bn1/act/Clip u8 channel 0 1\n 0 0 1\n",
         "only 1 of 32 channels of /bn1/act/Clip are listed; add the others"},
        {HEAD "/bn1/act/Clip u8 channel 0 1\n 0 0 1 2\n", "t:3: 4 words, not CHANNEL MIN MAX"},
        {HEAD "/bn1/act/Clip u8 channel 0 1\n 0 0.5 1\n", "t:3: 0 is not between 0.5 and 1"},
    };
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        EffCompiled *c = NULL;
        if (quantize(&c, g, cases[i].text) != EFF_ERR_FORMAT || strstr(eff_last_message(), cases[i].message) == NULL)
            fail_msg("case %zu: should say '%s', not '%s'", i, cases[i].message, eff_last_message());
        assert_null(c);
    }
    EffCompiled *c = NULL;
    assert_int_equal(quantize(&c, g, "effnet-table 2\n"), EFF_ERR_VERSION);
    eff_graph_free(g);
}

/* Channels count, and a node's own line bounds them. */
static void channels_are_read(void **state)
{
    (void)state;
    EffGraph *g = network("lite0");
    EffCompiled *c = NULL;
    EffTable t;
    assert_int_equal(quantize(&c, g, NULL), EFF_OK);
    char *text = edited(eff_compiled_table(c), "/bn1/act/Clip", "\n  0 ", "\n  0 -1e-3 123.5 # and the old words: ");
    char *bounded = edited(text, "/bn1/act/Clip", "channel 0 ", "channel -5e-4 1e2 # ");
    const int node = 1;
    assert_string_equal(g->nodes[node].name, "/bn1/act/Clip");
    assert_int_equal(eff_table_parse(&t, text, "t", g), EFF_OK);
    assert_true(eff_table_is_complete(&t, g));
    assert_true(t.rows[node].min[0] == 0 && t.rows[node].max[0] < 123.5f); /* its line says 0 to 6 or so */
    eff_table_free(&t);
    assert_int_equal(eff_table_parse(&t, bounded, "t", g), EFF_OK);
    assert_true(t.rows[node].min[0] == -5e-4f && t.rows[node].max[0] == 100);
    assert_true(t.rows[node].min[1] == 0 && t.rows[node].max[1] > 0 && t.rows[node].max[1] <= 6.01f);
    eff_table_free(&t);
    free(text);
    free(bounded);
    eff_compiled_free(c);
    eff_graph_free(g);
}

static EffStatus parse_once(void *ctx)
{
    EffTable t;
    const EffStatus st = eff_table_parse(&t, HEAD "/conv_stem/Conv acc tensor 0 1\n", "t", ctx);
    if (st == EFF_OK)
        eff_table_free(&t);
    return st;
}

static EffStatus write_once(void *ctx)
{
    EffGraph *g = ctx;
    EffRanges r;
    EffPlan plan = {0};
    char *text = NULL;
    EffStatus st = eff_ranges_create(&r, g);
    if (st != EFF_OK)
        return st;
    st = eff_table_write(&text, g, &r, NULL, 0, &plan);
    eff_free(text);
    eff_ranges_free(&r);
    return st;
}

static void memory_may_be_short(void **state)
{
    (void)state;
    EffGraph *g = network("lite0");
    sweep_allocations(parse_once, g);
    sweep_allocations(write_once, g);
    eff_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unedited_tables_change_nothing),
        cmocka_unit_test(edits_are_followed),
        cmocka_unit_test(activations_may_be_added),
        cmocka_unit_test(extreme_ranges_still_compile),
        cmocka_unit_test(wrong_tables_are_refused),
        cmocka_unit_test(channels_are_read),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
