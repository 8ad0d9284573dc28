/* SPDX-License-Identifier: Apache-2.0 */
/* Channels that nothing can change go, and the output stays; those that something can change stay. */
#include "unit.h"

#include "base/rng.h"
#include "graph/ir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 32 };

static EffGraph *network(const char *name)
{
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
    arch.pre.size = SIZE;
    arch.n_classes = 10;
    arch.width *= 0.25; /* channels enough, and quick */
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_randomize(g, 1), EFF_OK);
    assert_int_equal(eff_graph_optimize(g), EFF_OK);
    return g;
}

static float *run(const EffGraph *g)
{
    const size_t n = eff_shape_count(g->values[g->input].shape);
    EffReference *r = NULL;
    EffReferenceSession *s = NULL;
    uint8_t *pixels = calloc(n, 1);
    float *in = calloc(n, sizeof *in), *out = calloc(eff_shape_count(g->values[g->output].shape), sizeof *out);
    assert_non_null(pixels);
    assert_non_null(in);
    assert_non_null(out);
    eff_synthetic_picture(pixels, g->pre.size, 1);
    eff_graph_normalize(g, in, pixels);
    assert_int_equal(eff_reference_create(&r, g, "c"), EFF_OK);
    assert_int_equal(eff_reference_session_create(&s, r, 1), EFF_OK);
    eff_reference_run(s, in, out);
    eff_reference_session_free(s);
    eff_reference_free(r);
    free(in);
    free(pixels);
    return out;
}

/*
 * Ends the network at the projection of the depthwise convolution dw. Behind it, 16 blocks of random weights magnify
 * the rounding of a bias a thousandfold: one unit in the last place of these biases moves the logits by 2e-4.
 */
static void cut(EffGraph *g, int dw)
{
    int node = dw + 1;
    while (g->nodes[node].op != EFF_OP_CONV || g->values[g->nodes[node].in[0]].shape.h == 1)
        node++;
    g->output = g->nodes[node].out;
    assert_int_equal(eff_pass_drop_dead(g), EFF_OK);
}

/* Sum of all channels of convolutions. */
static int count(const EffGraph *g)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == EFF_OP_CONV ? g->nodes[i].conv.out_ch : 0;
    return n;
}

static void same_output(EffGraph *g, int fewer)
{
    double most = 0, error = 0;
    const int n = count(g);
    float *before = run(g);
    int dropped = -1;
    assert_int_equal(eff_graph_drop_constant_channels(g, &dropped), EFF_OK);
    assert_int_equal(dropped, fewer);
    assert_int_equal(n - count(g), fewer);
    float *after = run(g);
    for (size_t k = 0; k < eff_shape_count(g->values[g->output].shape); k++) {
        most = fmax(most, fabs((double)before[k]));
        error = fmax(error, fabs((double)before[k] - (double)after[k]));
    }
    free(before);
    free(after);
    if (!(most > 0 && error <= 1e-5 * most))
        fail_msg("%d fewer: the output is off by %g of %g", fewer, error, most);
}

/* Output channel o of a convolution is `bias`, whatever it reads. */
static void deaden(EffGraph *g, int node, int o, float bias)
{
    EffConv *c = &g->nodes[node].conv;
    const size_t n = c->wgt.n / (size_t)c->out_ch;
    for (size_t k = 0; k < n; k++)
        c->wgt.data[(size_t)o * n + k] = 0;
    c->bias.data[o] = bias;
}

/* The i-th depthwise convolution. */
static int depthwise(const EffGraph *g, int i)
{
    for (int k = 0; k < g->n_nodes; k++) {
        if (g->nodes[k].op == EFF_OP_CONV && eff_conv_is_depthwise(&g->nodes[k].conv) && i-- == 0)
            return k;
    }
    fail();
    return -1;
}

static int expand_of(const EffGraph *g, int dw)
{
    int node = g->values[g->nodes[dw].in[0]].producer;
    while (g->nodes[node].op != EFF_OP_CONV)
        node = g->values[g->nodes[node].in[0]].producer;
    return node;
}

static void test_nothing(void **state)
{
    (void)state;
    EffGraph *g = network("lite0");
    same_output(g, 0);
    eff_graph_free(g);
}

/* Lite0: a depthwise channel that is a number, and takes that of the expansion along. */
static void test_depthwise(void **state)
{
    (void)state;
    static const float biases[] = {0, 0.7f, -3, 9};
    for (size_t i = 0; i < EFF_COUNT(biases); i++) {
        EffGraph *g = network("lite0");
        deaden(g, depthwise(g, 2), 5, biases[i]);
        cut(g, depthwise(g, 2));
        same_output(g, 2);
        eff_graph_free(g);
    }
}

/* An expansion's channel: 0 is padded with zeros, and the channel behind it a number; another number has borders. */
static void test_expand(void **state)
{
    (void)state;
    EffGraph *g = network("lite0");
    deaden(g, expand_of(g, depthwise(g, 2)), 5, -1); /* ReLU6 makes 0 of it */
    cut(g, depthwise(g, 2));
    same_output(g, 2);
    eff_graph_free(g);
    g = network("lite0");
    deaden(g, expand_of(g, depthwise(g, 2)), 5, 1);
    cut(g, depthwise(g, 2));
    same_output(g, 0);
    eff_graph_free(g);
}

/* Weights that are not 0, but a bias that ReLU6 never lets through: its inputs lie in 0..6. */
static void test_clipped(void **state)
{
    (void)state;
    EffGraph *g = network("lite0");
    cut(g, depthwise(g, 2));
    EffConv *c = &g->nodes[depthwise(g, 2)].conv;
    double most = 0, least = 0;
    const size_t n = c->wgt.n / (size_t)c->out_ch;
    for (size_t k = 0; k < n; k++) {
        most += fmax(0, 6 * (double)c->wgt.data[5 * n + k]);
        least += fmin(0, 6 * (double)c->wgt.data[5 * n + k]);
    }
    c->bias.data[5] = (float)(-most - 0.01); /* below 0 */
    for (size_t k = 0; k < n; k++)
        assert_true(c->wgt.data[5 * n + k] != 0);
    same_output(g, 2);
    c->bias.data[5] = (float)(6 - least + 0.01); /* the next channel, which has come down: above 6 */
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += fmin(0, 6 * (double)c->wgt.data[5 * n + k]);
    c->bias.data[5] = (float)(6 - sum + 0.01);
    same_output(g, 2);
    c->bias.data[5] = 1; /* and now one that lets something through */
    same_output(g, 0);
    eff_graph_free(g);
}

/* B0, with squeeze-excite: 0 stays 0 whatever the gate; another number times a gate is none. */
static void test_gated(void **state)
{
    (void)state;
    EffGraph *g = network("efficientnet-b0");
    deaden(g, depthwise(g, 2), 5, 0);
    cut(g, depthwise(g, 2));
    same_output(g, 3); /* with the gate's */
    eff_graph_free(g);
    g = network("efficientnet-b0");
    deaden(g, depthwise(g, 2), 5, 0.7f);
    cut(g, depthwise(g, 2));
    same_output(g, 0);
    eff_graph_free(g);
}

/* The last map's channel goes into the classifier. A residual one goes only where all that is added is a number. */
static void test_ends(void **state)
{
    (void)state;
    EffGraph *g = network("lite0");
    int head = -1;
    for (int i = 0; i < g->n_nodes; i++)
        head = g->nodes[i].op == EFF_OP_GLOBAL_AVGPOOL ? g->values[g->nodes[i].in[0]].producer : head;
    while (g->nodes[head].op != EFF_OP_CONV)
        head = g->values[g->nodes[head].in[0]].producer;
    deaden(g, head, 3, 2);
    same_output(g, 1);
    int add = 0;
    while (g->nodes[add].op != EFF_OP_ADD)
        add++;
    const int a = g->values[g->nodes[add].in[0]].producer, b = g->values[g->nodes[add].in[1]].producer;
    deaden(g, g->nodes[a].op == EFF_OP_CONV ? a : b, 1, 0.5f);
    same_output(g, 0);
    eff_graph_free(g);
}

/* Allocation *ctx of the pass fails. */
static EffStatus once(void *ctx)
{
    EffGraph *g = network("lite0");
    deaden(g, depthwise(g, 2), 5, 0.7f);
    eff_mem_fail_after(*(const long *)ctx);
    const EffStatus st = eff_pass_drop_constant_channels(g);
    eff_mem_fail_after(-1);
    eff_graph_free(g);
    return st;
}

static void test_no_weights(void **state)
{
    (void)state;
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, "lite0"), EFF_OK);
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_drop_constant_channels(g, NULL), EFF_ERR_ARG);
    assert_non_null(strstr(eff_last_message(), "no weights"));
    eff_graph_free(g);
}

static void test_memory(void **state)
{
    (void)state;
    for (long k = 0; k < 30; k += 3)
        assert_int_equal(once(&k), EFF_ERR_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_depthwise),  cmocka_unit_test(test_expand),
        cmocka_unit_test(test_clipped), cmocka_unit_test(test_gated),      cmocka_unit_test(test_ends),
        cmocka_unit_test(test_memory),  cmocka_unit_test(test_no_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
