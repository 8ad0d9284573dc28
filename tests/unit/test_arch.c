/* SPDX-License-Identifier: Apache-2.0 */
/* src/arch and src/graph: sizes against timm's, block strings, shapes, names, passes. */
#include "unit.h"

#include "base/sha256.h"

#include "arch/blocks.h"
#include "graph/ir.h"

#include <stdio.h>
#include <string.h>

static void counts_equal_timm(void **state)
{
    (void)state;
    FILE *file = fopen("tests/model/timm_counts.txt", "r");
    assert_non_null(file);
    char line[256], name[64];
    int size, n = 0;
    unsigned long long params, macs;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%63s %d %llu %llu", name, &size, &params, &macs) != 4 || line[0] == '#')
            continue;
        EffArch arch;
        EffGraph *g = NULL;
        EffGraphStats stats;
        assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
        arch.pre.size = size;
        if (strncmp(name, "efficientnet_lite", 17) == 0) /* timm's own Lite pads as PyTorch does */
            arch.padding = EFF_PADDING_SYMMETRIC;
        assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
        eff_graph_stats(g, &stats);
        if (stats.params != params || stats.macs != macs)
            fail_msg("%s at %d: %llu parameters and %llu MACs, timm has %llu and %llu", name, size,
                     (unsigned long long)stats.params, (unsigned long long)stats.macs, params, macs);
        eff_graph_free(g);
        n++;
    }
    fclose(file);
    assert_true(n >= 30);
}

static void names_are_understood(void **state)
{
    (void)state;
    EffArch arch;
    assert_int_equal(eff_arch_find(&arch, "TF_EfficientNet_B3"), EFF_OK);
    assert_string_equal(arch.name, "tf-efficientnet-b3");
    assert_int_equal(arch.padding, EFF_PADDING_SAME);
    assert_int_equal(eff_arch_find(&arch, "b3"), EFF_OK);
    assert_string_equal(arch.name, "efficientnet-b3");
    assert_int_equal(arch.padding, EFF_PADDING_SYMMETRIC);
    assert_int_equal(arch.pre.size, 300);
    assert_int_equal(eff_arch_find(&arch, "efficientnet-liet0"), EFF_ERR_ARG);
    assert_non_null(strstr(eff_last_message(), "did you mean 'efficientnet-lite0'?"));
    assert_int_equal(eff_arch_find(&arch, ""), EFF_ERR_ARG);
    assert_int_equal(eff_arch_find(&arch, "b10"), EFF_ERR_ARG);
    for (size_t i = 0; eff_arch_name(i) != NULL; i++)
        assert_int_equal(eff_arch_find(&arch, eff_arch_name(i)), EFF_OK);
}

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    EffArch good, bad;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&good, "efficientnet-b0"), EFF_OK);
    bad = good;
    bad.n_classes = 0;
    assert_int_equal(eff_graph_build(&g, &bad), EFF_ERR_ARG);
    bad = good;
    bad.in_channels = 2;
    assert_int_equal(eff_graph_build(&g, &bad), EFF_ERR_ARG);
    bad = good;
    bad.pre.size = 5000;
    assert_int_equal(eff_graph_build(&g, &bad), EFF_ERR_ARG);
    bad = good;
    bad.pre.std[1] = 0;
    assert_int_equal(eff_graph_build(&g, &bad), EFF_ERR_ARG);
    bad = good;
    bad.bn_eps = 0;
    assert_int_equal(eff_graph_build(&g, &bad), EFF_ERR_ARG);
    bad = good;
    bad.width = 0.0 / 1e9;
    assert_int_equal(eff_graph_build(&g, &bad), EFF_ERR_ARG);
    assert_null(g);
    /* One pixel goes through: every padded kernel fits. */
    good.pre.size = 1;
    assert_int_equal(eff_graph_build(&g, &good), EFF_OK);
    eff_graph_free(g);
}

static void block_strings_parse(void **state)
{
    (void)state;
    EffBlockArgs a;
    assert_int_equal(eff_block_parse(&a, "ir_r4_k5_s2_e6_c192_se0.25"), EFF_OK);
    assert_true(a.expand && a.repeats == 4 && a.kernel == 5 && a.stride == 2 && a.expansion == 6);
    assert_int_equal(a.out_ch, 192);
    assert_true(a.se_ratio == 0.25);
    assert_int_equal(eff_block_parse(&a, "ds_r1_k3_s1_e1_c16"), EFF_OK);
    assert_true(!a.expand && a.se_ratio == 0);
    static const char *const bad[] = {"",           "xx_r1_k3_c8", "ir_r1_k4_c8", "ir_r0_k3_c8",        "ir_k3",
                                      "ir_k3_c8_q", "ir_k3_c8x",   "ir_k3_s3_c8", "ir_k3_c99999999999", "ir_k3_c",
                                      "irk3_c8",    "ir_k3_c-8",   "ir__k3_c8"};
    for (size_t i = 0; i < EFF_COUNT(bad); i++)
        assert_int_equal(eff_block_parse(&a, bad[i]), EFF_ERR_ARG);
    assert_int_equal(eff_round_channels(32, 1.1), 32);
    assert_int_equal(eff_round_channels(24, 1.4), 32);
    assert_int_equal(eff_round_channels(8, 0.5), 8);
    assert_int_equal(eff_round_repeats(3, 1.4), 5);
}

static void same_padding_puts_the_odd_unit_last(void **state)
{
    (void)state;
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, "efficientnet-lite0"), EFF_OK);
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    const EffConv *stem = &g->nodes[0].conv;
    assert_string_equal(g->nodes[0].name, "/conv_stem/Conv");
    assert_int_equal(stem->pad_top, 0);
    assert_int_equal(stem->pad_bottom, 1);
    assert_int_equal(g->values[g->nodes[0].out].shape.h, 112);
    eff_graph_free(g);
    arch.pre.size = 225;
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(g->nodes[0].conv.pad_top, 1);
    assert_int_equal(g->nodes[0].conv.pad_bottom, 1);
    assert_int_equal(g->values[g->nodes[0].out].shape.h, 113);
    eff_graph_free(g);
}

static void nodes_have_exported_names(void **state)
{
    (void)state;
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, "b2"), EFF_OK);
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    static const char *const wanted[] = {
        "/blocks/blocks.0/blocks.0.0/conv_dw/Conv", "/blocks/blocks.5/blocks.5.0/conv_pwl/Conv",
        "/blocks/blocks.6/blocks.6.0/se/ReduceMean", "/blocks/blocks.6/blocks.6.0/se/Mul", "/classifier/Gemm"};
    for (size_t i = 0; i < EFF_COUNT(wanted); i++) {
        int found = 0;
        for (int n = 0; n < g->n_nodes; n++)
            found += strcmp(g->nodes[n].name, wanted[i]) == 0;
        assert_int_equal(found, 1);
    }
    eff_graph_free(g);
}

static EffStatus build_once(void *ctx)
{
    EffGraph *g = NULL;
    const EffStatus st = eff_graph_build(&g, ctx);
    eff_graph_free(g);
    return st;
}

static void allocation_failures_are_clean(void **state)
{
    (void)state;
    EffArch arch;
    assert_int_equal(eff_arch_find(&arch, "lite0"), EFF_OK);
    sweep_allocations(build_once, &arch);
}

/* The same bytes everywhere; and like photos, neighbours are alike and distant pixels are not. */
static void leaves_look_like_photos(void **state)
{
    (void)state;
    enum { SIDE = 96 };
    static uint8_t pixels[SIDE * SIDE * 3];
    char hex[EFF_SHA256_HEX];
    double near = 0, far = 0, mean = 0, power = 0;
    const int n = 8;
    for (int seed = 0; seed < n; seed++) {
        assert_int_equal(eff_leaves_picture(pixels, SIDE, (uint64_t)seed), EFF_OK);
        for (int y = 0; y < SIDE; y++) {
            for (int x = 0; x + 32 < SIDE; x++) {
                const double v = pixels[(y * SIDE + x) * 3], a = v - pixels[(y * SIDE + x + 1) * 3],
                             b = v - pixels[(y * SIDE + x + 32) * 3];
                near += a * a;
                far += b * b;
                mean += v;
                power += v * v;
            }
        }
    }
    const double count = n * SIDE * (SIDE - 32);
    const double variance = power / count - mean * mean / count / count;
    assert_true(variance > 1000 && variance < 6000);
    assert_true(near / count < 0.3 * variance && far / count > 1.2 * variance);
    eff_sha256_hex(hex, pixels, sizeof pixels);
    assert_string_equal(hex, "a4e3a7dc2b44bb75278cf3b2d1b1b42621a3abfb202c850568687f45ec6a970a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_look_like_photos),   cmocka_unit_test(counts_equal_timm),
        cmocka_unit_test(names_are_understood),      cmocka_unit_test(bad_parameters_are_refused),
        cmocka_unit_test(block_strings_parse),       cmocka_unit_test(same_padding_puts_the_odd_unit_last),
        cmocka_unit_test(nodes_have_exported_names), cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
