/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions that run in float: how they are asked for, what they gain, and the same logits everywhere. */
#include "unit.h"

#include "promote_util.h"

#include "base/mem.h"
#include "quant/requantize.h"
#include "runtime/session.h"

#include <math.h>

#define DW "/blocks/blocks.0/blocks.0.0/conv_dw/Conv"
#define PW "/blocks/blocks.1/blocks.1.0/conv_pw/Conv"

static void logits_are_the_same_at_every_level(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-b0"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffGraph *g = network(names[i]);
        EffCompiled *plain = quantize(g, (EffQuantizeOptions){.no_gptq = 1});
        char *table = all_with_type(eff_compiled_table(plain), g, "f32");
        EffCompiled *c = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .table = table});
        same_logits_everywhere(c, g);
        free(table);
        eff_compiled_free(plain);
        eff_compiled_free(c);
        eff_graph_free(g);
    }
}

/* Outputs of early layers; late ones have the magnified errors of all before. */
static void float_nodes_come_nearest_to_float(void **state)
{
    (void)state;
    static const char *const types[] = {"int16", "f32"};
    static const char *const outputs[] = {"/blocks/blocks.0/blocks.0.0/bn1/act/Clip",
                                          "/blocks/blocks.0/blocks.0.0/conv_pw/Conv"};
    EffGraph *g = network("efficientnet-lite0");
    EffCompiled *c[3] = {quantize(g, (EffQuantizeOptions){.no_gptq = 1})};
    for (int t = 0; t < 2; t++) {
        char *table = all_with_type(eff_compiled_table(c[0]), g, types[t]);
        c[t + 1] = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .table = table});
        free(table);
    }
    for (size_t k = 0; k < EFF_COUNT(outputs); k++) {
        const double db[3] = {sqnr_of(c[0], outputs[k]), sqnr_of(c[1], outputs[k]), sqnr_of(c[2], outputs[k])};
        if (!(db[2] > db[1] + 2 && db[2] > db[0] + 4))
            fail_msg("%s: int8 %.1f dB, int16 %.1f dB, float %.1f dB", outputs[k], db[0], db[1], db[2]);
    }
    for (int t = 0; t < 3; t++)
        eff_compiled_free(c[t]);
    eff_graph_free(g);
}

/* A float node's weights are the network's, in units of its inputs, which are powers of two; so is its activation. */
static void weights_keep_every_bit(void **state)
{
    (void)state;
    EffGraph *g = network("efficientnet-b0");
    EffCompiled *c = quantize(g, (EffQuantizeOptions){.float_nodes = DW "," PW});
    EffModel *m = NULL;
    int n_found = 0;
    assert_int_equal(eff_compiled_model(&m, c, "c"), EFF_OK);
    const EffPlan *plan = eff_model_plan(m);
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *s = &plan->steps[i];
        if (!eff_step_is_float_node(s->op))
            continue;
        const EffNode *node = g->nodes;
        while (strcmp(node->name, s->name) != 0)
            node++;
        assert_int_equal(s->fact, EFF_ACTIVATION_SILU); /* no table */
        assert_int_equal(s->out_kind, EFF_OUT_S16);
        const EffPlanTensor *in = &plan->tensors[s->in[0]];
        const float *unit = (const float *)(const void *)(plan->data + in->scale);
        const float *wgt = eff_plan_data(plan, s, EFF_DATA_FWGT), *bias = eff_plan_data(plan, s, EFF_DATA_FBIAS);
        const size_t fan_in = node->conv.wgt.n / (size_t)s->out_ch;
        for (size_t k = 0; k < node->conv.wgt.n; k++) {
            const size_t ch = s->op == EFF_STEP_DW_F32 ? k / fan_in : k % fan_in;
            assert_true(wgt[k] / unit[in->n_scales > 1 ? ch : 0] == node->conv.wgt.data[k]);
        }
        assert_memory_equal(bias, node->conv.bias.data, (size_t)s->out_ch * sizeof *bias);
        n_found++;
    }
    assert_int_equal(n_found, 2);
    eff_model_close(m);
    eff_compiled_free(c);
    eff_graph_free(g);
}

static void same_bytes(const EffCompiled *a, const EffCompiled *b)
{
    EffBytes x = written(a), y = written(b);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    eff_free(x.data);
    eff_free(y.data);
}

static const EffNodeRank *rank_of(const EffCompiled *c, const char *name)
{
    const EffNodeRank *r;
    for (size_t i = 0; (r = eff_compiled_rank(c, i)) != NULL; i++) {
        if (strcmp(r->name, name) == 0)
            return r;
    }
    fail_msg("%s is not named", name);
    return NULL;
}

static const char *act_of(const EffCompiled *c, const char *name)
{
    const EffNodeReport *row;
    for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++) {
        if (strcmp(row->name, name) == 0)
            return row->act;
    }
    fail_msg("no row of %s", name);
    return NULL;
}

/* Named or written in the table, with one thread or with three: the same file. */
static void naming_nodes_is_writing_them_in_the_table(void **state)
{
    (void)state;
    EffGraph *g = network("efficientnet-b0");
    EffCompiled *named = quantize(g, (EffQuantizeOptions){.n_threads = 1, .float_nodes = PW "," DW});
    assert_string_equal(rank_of(named, DW)->type, "f32");
    assert_string_equal(rank_of(named, DW)->reason, "option");
    assert_string_equal(act_of(named, "/blocks/blocks.0/blocks.0.0/bn1/act/Mul"), "f32");
    assert_string_equal(act_of(named, "/blocks/blocks.1/blocks.1.0/bn1/act/Mul"), "f32");
    assert_string_not_equal(act_of(named, "/bn1/act/Mul"), "f32");
    EffCompiled *plain = quantize(g, (EffQuantizeOptions){.no_gptq = 1});
    char *one = with_type(eff_compiled_table(plain), DW, "f32"), *both = with_type(one, PW, "f32");
    EffCompiled *listed = quantize(g, (EffQuantizeOptions){.n_threads = 3, .table = both});
    assert_string_equal(rank_of(listed, PW)->type, "f32");
    assert_string_equal(rank_of(listed, PW)->reason, "table");
    EffCompiled *mixed = quantize(g, (EffQuantizeOptions){.table = one, .float_nodes = PW});
    EffCompiled *again = quantize(g, (EffQuantizeOptions){.table = eff_compiled_table(named)});
    same_bytes(named, listed);
    same_bytes(named, mixed);
    same_bytes(named, again);
    EffCompiled *all[] = {named, plain, listed, mixed, again};
    for (size_t i = 0; i < EFF_COUNT(all); i++)
        eff_compiled_free(all[i]);
    free(one);
    free(both);
    eff_graph_free(g);
}

/* A float node is not ranked, and the others are beside it. */
static void others_may_be_promoted(void **state)
{
    (void)state;
    EffGraph *g = network("efficientnet-lite0");
    EffCompiled *c = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .int16_nodes = 1000, .float_nodes = DW});
    const EffNodeRank *r;
    size_t n_int16 = 0, n_float = 0;
    for (size_t i = 0; (r = eff_compiled_rank(c, i)) != NULL; i++) {
        n_int16 += strcmp(r->type, "int16") == 0;
        n_float += strcmp(r->type, "f32") == 0;
        assert_true(strcmp(r->name, DW) != 0 || strcmp(r->reason, "option") == 0);
    }
    assert_int_equal(n_float, 1);
    assert_int_equal(n_int16, eff_compiled_promotion(c).n_promoted);
    assert_true(n_int16 > 3);
    same_logits_everywhere(c, g);
    eff_compiled_free(c);
    eff_graph_free(g);
}

static void what_cannot_run_in_float_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *names, *message;
    } cases[] = {
        {"/conv_stem/Conv", "float nodes: /conv_stem/Conv can't run in float; name pointwise or depthwise"},
        {DW ",/blocks/blocks.0/blocks.0.0/se/conv_reduce/Conv", "se/conv_reduce/Conv can't run in float"},
        {"/bn1/act/Mul", "/bn1/act/Mul can't run in float"},
        {"/blocks/blocks.0/blocks.0.0/conv_dv/Conv",
         "efficientnet-b0 has no node '/blocks/blocks.0/blocks.0.0/conv_dv/Conv'; did you mean '" DW "'?"},
        {"x", "efficientnet-b0 has no node 'x'; its nodes stand in the table that quantize writes"},
        {DW ",", "has no node ''"},
        {"", "has no node ''"},
    };
    EffGraph *g = network("efficientnet-b0");
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        EffCompiled *c = NULL;
        const EffQuantizeOptions o = {.no_gptq = 1, .float_nodes = cases[i].names};
        if (eff_quantize(&c, g, &pictures, &o) != EFF_ERR_ARG || strstr(eff_last_message(), cases[i].message) == NULL)
            fail_msg("case %zu: should say '%s', not '%s'", i, cases[i].message, eff_last_message());
        assert_null(c);
    }
    static const char *const words[] = {"/conv_stem/Conv acc", "/bn1/act/Mul u8+s16"};
    for (size_t i = 0; i < EFF_COUNT(words); i++) {
        char table[128], name[64], type[8];
        assert_int_equal(sscanf(words[i], "%63s %7s", name, type), 2);
        snprintf(table, sizeof table, "effnet-table 1\n%s f32 tensor -1 1\n", name);
        EffCompiled *c = NULL;
        const EffQuantizeOptions o = {.no_gptq = 1, .table = table, .table_name = "t"};
        assert_int_equal(eff_quantize(&c, g, &pictures, &o), EFF_ERR_FORMAT);
        char wanted[128];
        snprintf(wanted, sizeof wanted, "%s can't be f32: what reads it needs %s; write that", name, type);
        if (strstr(eff_last_message(), wanted) == NULL)
            fail_msg("should say '%s', not '%s'", wanted, eff_last_message());
    }
    eff_graph_free(g);
}

/* Any range that a table may hold: next to nothing, next to everything, nothing. */
static void extreme_ranges_still_compile(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-b0"};
    static const char *const ranges[] = {"0 0", "-1e-30 1e-30", "-4e8 4e8", "-1e12 1e12", "0 1e-40"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffGraph *g = network(names[i]);
        for (size_t r = 0; r < EFF_COUNT(ranges); r++) {
            char table[512];
            snprintf(table, sizeof table, "effnet-table 1\n%s f32 tensor %s\n%s f32 tensor %s\n", DW, ranges[r],
                     "/blocks/blocks.1/blocks.1.0/conv_pwl/Conv", ranges[r]);
            EffCompiled *c = quantize(g, (EffQuantizeOptions){.no_gptq = 1, .table = table});
            EffModel *m = NULL;
            assert_int_equal(eff_compiled_model(&m, c, "c"), EFF_OK);
            eff_model_close(m);
            eff_compiled_free(c);
        }
        eff_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_the_same_at_every_level),
        cmocka_unit_test(float_nodes_come_nearest_to_float),
        cmocka_unit_test(weights_keep_every_bit),
        cmocka_unit_test(naming_nodes_is_writing_them_in_the_table),
        cmocka_unit_test(others_may_be_promoted),
        cmocka_unit_test(what_cannot_run_in_float_is_refused),
        cmocka_unit_test(extreme_ranges_still_compile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
