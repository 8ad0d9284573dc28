/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each pass alone keeps the float output: one network that has something for every pass is run before and after, and
 * the pass has done what it is for.
 */
#include "unit.h"

#include "graph_util.h"

#include "base/rng.h"
#include "graph/ir.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 13, CLASSES = 5 };

static EffRng rng;

static EffParam drawn(size_t n, float middle, float spread)
{
    EffParam p;
    ok(eff_param_alloc(&p, n));
    for (size_t i = 0; i < n; i++)
        p.data[i] = middle + spread * eff_rng_normal(&rng);
    return p;
}

static int conv(EffGraph *g, const char *name, int x, int in_ch, int out_ch, int kernel, bool has_bias)
{
    EffNode n = {.op = EFF_OP_CONV};
    const int groups = kernel > 1 && in_ch == out_ch ? in_ch : 1, fan_in = in_ch / groups * kernel * kernel;
    n.conv = (EffConv){.in_ch = in_ch,
                       .out_ch = out_ch,
                       .groups = groups,
                       .kernel_h = kernel,
                       .kernel_w = kernel,
                       .stride = 1,
                       .has_bias = has_bias};
    n.conv.pad_top = n.conv.pad_left = n.conv.pad_bottom = n.conv.pad_right = groups > 1 ? kernel / 2 : 0;
    n.conv.wgt = drawn((size_t)(out_ch * fan_in), 0, 1.5f / sqrtf((float)fan_in));
    if (has_bias)
        n.conv.bias = drawn((size_t)out_ch, 0, 0.3f);
    return add(g, n, name, x, -1);
}

/* spread 0: x * scale + shift, the same in all channels. */
static int batchnorm(EffGraph *g, const char *name, int x, size_t n_ch, float scale, float shift, float spread)
{
    EffNode n = {.op = EFF_OP_BATCHNORM};
    n.bn.gamma = drawn(n_ch, scale, spread);
    n.bn.beta = drawn(n_ch, shift, spread);
    n.bn.mean = drawn(n_ch, 0, spread);
    n.bn.var = drawn(n_ch, 1, 0);
    return add(g, n, name, x, -1);
}

static int act(EffGraph *g, const char *name, int x, EffActivation a)
{
    return add(g, (EffNode){.op = EFF_OP_ACT, .act = a}, name, x, -1);
}

/* relu6(x + 3) / 6 */
static int hard_sigmoid(EffGraph *g, const char *name, int x, size_t n_ch)
{
    char part[3][64];
    for (int i = 0; i < 3; i++)
        snprintf(part[i], sizeof part[i], "%s/%d", name, i);
    x = batchnorm(g, part[0], x, n_ch, 1, 3, 0);
    x = act(g, part[1], x, EFF_ACTIVATION_RELU6);
    return batchnorm(g, part[2], x, n_ch, 1.0f / 6, 0, 0);
}

/* QuantizeLinear to int16 and DequantizeLinear, in steps that are fine enough to compare. */
static int pair(EffGraph *g, int x, int n_ch)
{
    static const float zero = -100;
    const float step = 2e-4f;
    EffNode q = {.op = EFF_OP_ROUND}, back = {.op = EFF_OP_ROUND};
    ok(eff_round_init(&q.round, EFF_ROUNDING_EVEN, n_ch));
    ok(eff_round_init(&back.round, EFF_ROUNDING_NONE, n_ch));
    for (int c = 0; c < n_ch; c++) {
        eff_round_row(&q.round, EFF_ROUND_DIV)[c] = eff_round_row(&back.round, EFF_ROUND_MUL)[c] = step;
        eff_round_row(&q.round, EFF_ROUND_LOW)[c] = -32768 - zero;
        eff_round_row(&q.round, EFF_ROUND_HIGH)[c] = 32767 - zero;
        eff_round_row(&q.round, EFF_ROUND_ADD)[c] = zero;
        eff_round_row(&back.round, EFF_ROUND_ADD)[c] = -zero;
    }
    return add(g, back, "dequantize", add(g, q, "quantize", x, -1), -1);
}

static EffGraph *sample(bool quantized)
{
    const EffNode mean = {.op = EFF_OP_GLOBAL_AVGPOOL}, mul = {.op = EFF_OP_MUL};
    EffNode pad = {.op = EFF_OP_PAD, .conv = {.pad_top = 0, .pad_left = 1, .pad_bottom = 2, .pad_right = 1}};
    EffGraph *g = NULL;
    eff_rng_init(&rng, 11);
    ok(eff_graph_create(&g, "sample", (EffShape){SIZE, SIZE, 3}));
    g->pre = (EffPreprocess){.size = SIZE, .crop = 1, .interpolation = EFF_INTERP_BICUBIC};
    for (int c = 0; c < 3; c++) {
        g->pre.mean[c] = 120 - 10 * (float)c;
        g->pre.std[c] = 60 + (float)c;
    }
    int x = batchnorm(g, "input", g->input, 3, 1, 0.1f, 0.05f);
    x = conv(g, "stem", add(g, pad, "pad", x, -1), 3, 8, 3, false);
    x = batchnorm(g, "stem/bn", x, 8, 1, 0, 0.2f);
    const int silu = x = add(g, mul, "stem/silu", act(g, "stem/sigmoid", x, EFF_ACTIVATION_SIGMOID), x);
    x = batchnorm(g, "dw/bn", conv(g, "dw", x, 8, 8, 3, true), 8, 1, 0, 0.2f);
    x = add(g, mul, "dw/hswish", x, hard_sigmoid(g, "dw/act", x, 8));
    int s = act(g, "se/act", conv(g, "se/reduce", add(g, mean, "se/mean", x, -1), 8, 4, 1, true), EFF_ACTIVATION_RELU);
    s = hard_sigmoid(g, "se/gate", conv(g, "se/expand", s, 4, 8, 1, true), 8);
    x = conv(g, "project", add(g, mul, "se/mul", x, s), 8, 8, 1, false);
    act(g, "dead/act", conv(g, "dead", x, 8, 6, 1, true), EFF_ACTIVATION_SILU);
    x = add(g, (EffNode){.op = EFF_OP_ADD}, "sum", batchnorm(g, "project/bn", x, 8, 1, 0, 0.2f), silu);
    x = act(g, "clip", act(g, "relu", x, EFF_ACTIVATION_RELU), EFF_ACTIVATION_RELU6);
    x = batchnorm(g, "affine", x, 8, 0.7f, 0.2f, 0.1f);
    x = conv(g, "head", x, 8, 12, 1, true);
    EffConv *head = &g->nodes[g->values[x].producer].conv; /* two outputs that no picture changes, after the ReLU */
    for (int i = 0; i < 8; i++)
        head->wgt.data[3 * 8 + i] = head->wgt.data[5 * 8 + i] = 0;
    head->bias.data[3] = -1;
    head->bias.data[5] = 0.7f;
    x = act(g, "head/act", x, EFF_ACTIVATION_RELU);
    EffNode pool = {.op = EFF_OP_POOL, .pooling = EFF_POOLING_MAX};
    pool.conv = (EffConv){.kernel_h = 3, .kernel_w = 3, .stride = 1, .pad_top = 1, .pad_left = 2, .pad_right = 1};
    x = add(g, pool, "largest", x, -1);
    pool.pooling = EFF_POOLING_MEAN;
    x = add(g, pool, "average", x, -1);
    x = add(g, mean, "mean", quantized ? pair(g, x, 12) : x, -1);
    g->output = conv(g, "classifier", x, 12, CLASSES, 1, true);
    g->n_classes = CLASSES;
    ok(eff_graph_infer_shapes(g));
    return g;
}

/* BatchNorms and pads as depthwise convolutions, which the executor has. */
static void make_runnable(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *n = &g->nodes[i];
        if (n->op != EFF_OP_BATCHNORM && n->op != EFF_OP_PAD)
            continue;
        const int c = g->values[n->in[0]].shape.c;
        EffConv how = n->conv;
        how.in_ch = how.out_ch = how.groups = c;
        how.kernel_h = how.kernel_w = how.stride = 1;
        how.has_bias = true;
        how.wgt = drawn((size_t)c, 1, 0);
        how.bias = drawn((size_t)c, 0, 0);
        for (int k = 0; k < c && n->op == EFF_OP_BATCHNORM; k++) {
            how.wgt.data[k] = n->bn.gamma.data[k] / sqrtf(n->bn.var.data[k] + n->bn.eps);
            how.bias.data[k] = n->bn.beta.data[k] - n->bn.mean.data[k] * how.wgt.data[k];
        }
        eff_node_free_params(n);
        n->op = EFF_OP_CONV;
        n->conv = how;
    }
}

/* Of a picture, which its own preprocessing makes floats of. */
static void logits_of(EffGraph *g, float dst[CLASSES])
{
    uint8_t pixels[SIZE * SIZE * 3];
    float src[SIZE * SIZE * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * i * 7 + 31 * i);
    eff_graph_normalize(g, src, pixels);
    make_runnable(g);
    ok(eff_graph_infer_shapes(g));
    run(g, src, dst);
}

static int count(const EffGraph *g, EffOp op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

static size_t outputs(const EffGraph *g)
{
    size_t n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == EFF_OP_CONV ? (size_t)g->nodes[i].conv.out_ch : 0;
    return n;
}

typedef struct Case {
    const char *name;
    EffStatus (*pass)(EffGraph *);
    bool quantized, after_others; /* which network, and whether all passes have run over it */
    int n_gone;                   /* nodes that the pass takes away */
    EffOp op;                     /* of which so many are left */
    int n_left;
    size_t n_outputs; /* of convolutions, that it takes away */
} Case;

static const Case cases[] = {
    {"drop_dead", eff_pass_drop_dead, false, false, 2, EFF_OP_CONV, 7, 6},
    /* Sigmoid; three nodes of a hard-swish; ReLU before ReLU6; two dead ones. */
    {"recognize_act", eff_pass_recognize_act, false, false, 7, EFF_OP_MUL, 1, 6},
    {"fold_pad", eff_pass_fold_pad, false, false, 3, EFF_OP_PAD, 0, 6},
    {"absorb_input", eff_pass_absorb_input, false, false, 1, EFF_OP_BATCHNORM, 8, 0},
    /* Two, and the sum with 3 behind se/expand; "project" has another reader until dead nodes go. */
    {"fold_batchnorm", eff_pass_fold_batchnorm, false, false, 3, EFF_OP_BATCHNORM, 6, 0},
    /* "affine" into "head"; the sixth of the gate, past the product, into "project". */
    {"fold_affine", eff_pass_fold_affine, false, false, 2, EFF_OP_BATCHNORM, 7, 0},
    {"join_pairs", eff_pass_join_pairs, true, false, 3, EFF_OP_ROUND, 1, 6},
    {"keep_affine", eff_pass_keep_affine, true, false, 0, EFF_OP_BATCHNORM, 0, 0},
    {"keep_affine, of floats", eff_pass_keep_affine, false, false, 0, EFF_OP_ROUND, 0, 0},
    /* Two of "head", and one that the draw gave. */
    {"drop_constant_channels", eff_pass_drop_constant_channels, false, true, 0, EFF_OP_CONV, 7, 3},
    {"all", eff_graph_optimize, false, false, 15, EFF_OP_CONV, 7, 6},
    {"all, quantized", eff_graph_optimize, true, false, 16, EFF_OP_CONV, 7, 6},
};

static void passes_keep_the_output(void **state)
{
    (void)state;
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        const Case *c = &cases[i];
        float before[CLASSES], after[CLASSES], most = 0, apart = 0;
        EffGraph *plain = sample(c->quantized), *g = sample(c->quantized);
        if (c->after_others) {
            ok(eff_graph_optimize(g));
            ok(eff_graph_infer_shapes(g));
        }
        const int n_nodes = g->n_nodes;
        const size_t n_outputs = outputs(g);
        ok(c->pass(g));
        if (n_nodes - g->n_nodes != c->n_gone || count(g, c->op) != c->n_left || n_outputs - outputs(g) != c->n_outputs)
            fail_msg("%s: %d nodes and %zu outputs are gone, %d of operator %d are left", c->name, n_nodes - g->n_nodes,
                     n_outputs - outputs(g), count(g, c->op), (int)c->op);
        logits_of(plain, before);
        logits_of(g, after);
        for (int k = 0; k < CLASSES; k++) {
            most = fmaxf(most, fabsf(before[k]));
            apart = fmaxf(apart, fabsf(before[k] - after[k]));
        }
        if (!(most > 0.1f) || !(apart <= 1e-4f * most))
            fail_msg("%s: the output moves by %g of %g", c->name, (double)apart, (double)most);
        eff_graph_free(plain);
        eff_graph_free(g);
    }
}

/* Pairs go, and where a range ends at 0 behind a convolution the clamp stays. */
static void pairs_are_dropped(void **state)
{
    (void)state;
    static const struct {
        float low, high, step;
        EffActivation left;
    } pairs[] = {{-128, 127, 0.1f, EFF_ACTIVATION_NONE},
                 {0, 255, 0.1f, EFF_ACTIVATION_RELU},
                 {0, 255, 6.0f / 255, EFF_ACTIVATION_RELU6}};
    for (size_t i = 0; i < EFF_COUNT(pairs); i++) {
        EffGraph *g = NULL;
        EffNode q = {.op = EFF_OP_ROUND};
        int n = -1;
        eff_rng_init(&rng, 1);
        ok(eff_graph_create(&g, "pairs", (EffShape){2, 2, 3}));
        int x = conv(g, "conv", g->input, 3, 4, 1, true);
        ok(eff_round_init(&q.round, EFF_ROUNDING_EVEN, 4));
        for (int c = 0; c < 4; c++) {
            eff_round_row(&q.round, EFF_ROUND_DIV)[c] = eff_round_row(&q.round, EFF_ROUND_MUL)[c] = pairs[i].step;
            eff_round_row(&q.round, EFF_ROUND_LOW)[c] = pairs[i].low;
            eff_round_row(&q.round, EFF_ROUND_HIGH)[c] = pairs[i].high;
        }
        g->output = add(g, q, "pair", x, -1);
        ok(eff_pass_drop_pairs(g, &n));
        assert_int_equal(n, 1);
        assert_int_equal(g->n_nodes, pairs[i].left == EFF_ACTIVATION_NONE ? 1 : 2);
        assert_int_equal(g->nodes[g->n_nodes - 1].act, pairs[i].left);
        assert_int_equal(g->nodes[g->n_nodes - 1].out, g->output);
        eff_graph_free(g);
    }
}

/* Where nothing is below 0 anyway, such as behind a hard sigmoid, no ReLU comes in the way of recognizing more. */
static void pairs_of_gates_leave_nothing(void **state)
{
    (void)state;
    EffGraph *g = NULL;
    EffNode q = {.op = EFF_OP_ROUND};
    int n = -1;
    eff_rng_init(&rng, 1);
    ok(eff_graph_create(&g, "gates", (EffShape){2, 2, 3}));
    const int x = conv(g, "conv", g->input, 3, 4, 1, true), gate = hard_sigmoid(g, "gate", x, 4);
    ok(eff_round_init(&q.round, EFF_ROUNDING_EVEN, 4));
    for (int c = 0; c < 4; c++) {
        eff_round_row(&q.round, EFF_ROUND_DIV)[c] = eff_round_row(&q.round, EFF_ROUND_MUL)[c] = 1.0f / 255;
        eff_round_row(&q.round, EFF_ROUND_LOW)[c] = 0;
        eff_round_row(&q.round, EFF_ROUND_HIGH)[c] = 255;
    }
    g->output = add(g, (EffNode){.op = EFF_OP_MUL}, "mul", x, add(g, q, "pair", gate, -1));
    ok(eff_pass_drop_pairs(g, &n));
    assert_int_equal(n, 1);
    ok(eff_pass_recognize_act(g));
    assert_int_equal(g->n_nodes, 2);
    assert_int_equal(g->nodes[1].act, EFF_ACTIVATION_HSWISH);
    eff_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_keep_the_output),
        cmocka_unit_test(pairs_are_dropped),
        cmocka_unit_test(pairs_of_gates_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
