/* SPDX-License-Identifier: Apache-2.0 */
/* Importing ONNX: a built network comes back as the same plan, each spelling as the same operator, damage as an error.
 */
#include "unit.h"

#include "graph_util.h"

#include "onnx_fixture.h"
#include "same_plan.h"

#include <math.h>

static EffGraph *built(const char *name, int size)
{
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
    arch.pre.size = size;
    arch.n_classes = 10;
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_randomize(g, 1), EFF_OK);
    return g;
}

static void same_plan(const char *name, int size)
{
    EffGraph *g = built(name, size), *back = NULL;
    Proto file = onnx_of_graph(g);
    const EffOnnxOptions options = {.pre = eff_graph_preprocess(g)};
    ok(eff_onnx_read(&back, file.data, file.n, "test.onnx", &options));
    free(file.data);
    ok(eff_graph_optimize(g));
    assert_same_plan(g, back);
    eff_graph_free(g);
    eff_graph_free(back);
}

static void test_same_plan(void **state)
{
    (void)state;
    same_plan("efficientnet-b0", 64);
    same_plan("efficientnet-lite0", 64);
    same_plan("tf-efficientnet-b1", 80);
}

/* ---- Small models ---- */

enum { CH = 4, SIZE = 5 };

/* picture -> 1x1 convolution "expand" [CH] "x" -> what the test adds, from "x" to "y" -> mean -> Gemm */
static Proto begin(void)
{
    Proto graph = {0};
    float w[CH * 3], fc[2 * CH];
    for (int i = 0; i < CH * 3; i++)
        w[i] = (float)(i * 7 % 11 - 5) * 0.5f;
    for (int i = 0; i < 2 * CH; i++)
        fc[i] = (float)(i * 5 % 7 - 3);
    onnx_value(&graph, 11, "picture", 4, (const int64_t[]){1, 3, SIZE, SIZE});
    onnx_weights(&graph, "w", w, 4, (const int64_t[]){CH, 3, 1, 1});
    onnx_weights(&graph, "fc", fc, 2, (const int64_t[]){2, CH});
    onnx_plain(&graph, "Conv", "expand", "picture", "w", "x");
    return graph;
}

static void number(Proto *graph, const char *name, float v)
{
    onnx_weights(graph, name, &v, 0, NULL);
}

static Proto end(Proto *graph)
{
    Proto node = {0}, flat = {0};
    onnx_plain(graph, "GlobalAveragePool", "pool", "y", NULL, "pooled");
    onnx_node_begin(&flat, "Flatten", "flatten", (const char *const[]){"pooled", NULL}, "flat");
    proto_message(graph, 1, &flat);
    onnx_node_begin(&node, "Gemm", "fc", (const char *const[]){"flat", "fc", NULL}, "logits");
    onnx_int(&node, "transB", 1);
    proto_message(graph, 1, &node);
    onnx_value(graph, 12, "logits", 2, (const int64_t[]){1, 2});
    return onnx_model(graph, 13);
}

static EffStatus read(EffGraph **out, Proto *file, const EffOnnxOptions *options)
{
    const EffStatus st = eff_onnx_read(out, file->data, file->n, "test.onnx", options);
    free(file->data);
    return st;
}

/* The graph of "y = act(x)" in some spelling: one activation, named as the last node of the spelling. */
static void is_act(Proto *graph, EffActivation act, const char *name)
{
    EffGraph *g = NULL;
    Proto file = end(graph);
    ok(read(&g, &file, NULL));
    assert_int_equal(g->n_nodes, 4);
    assert_string_equal(g->nodes[0].name, "expand");
    assert_int_equal(g->nodes[1].op, EFF_OP_ACT);
    assert_int_equal(g->nodes[1].act, act);
    assert_string_equal(g->nodes[1].name, name);
    eff_graph_free(g);
}

static void hard_sigmoid(Proto *graph, const char *in, const char *out)
{
    Proto node = {0};
    onnx_node_begin(&node, "HardSigmoid", "gate", (const char *const[]){in, NULL}, out);
    onnx_float(&node, "alpha", 1.0f / 6);
    proto_message(graph, 1, &node);
}

static void clip(Proto *graph, const char *in, const char *out)
{
    Proto node = {0};
    onnx_node_begin(&node, "Clip", "clip", (const char *const[]){in, "zero", "six", NULL}, out);
    proto_message(graph, 1, &node);
}

static void test_spellings(void **state)
{
    (void)state;
    Proto g = begin();
    onnx_plain(&g, "Sigmoid", "s", "x", NULL, "s");
    onnx_plain(&g, "Mul", "mul", "s", "x", "y"); /* either order */
    is_act(&g, EFF_ACTIVATION_SILU, "mul");
    g = begin();
    onnx_plain(&g, "HardSwish", "hs", "x", NULL, "y");
    is_act(&g, EFF_ACTIVATION_HSWISH, "hs");
    g = begin();
    hard_sigmoid(&g, "x", "s");
    onnx_plain(&g, "Mul", "mul", "x", "s", "y");
    is_act(&g, EFF_ACTIVATION_HSWISH, "mul");
    g = begin(); /* x * relu6(x + 3) / 6 */
    number(&g, "three", 3);
    number(&g, "zero", 0);
    number(&g, "six", 6);
    onnx_plain(&g, "Add", "add", "x", "three", "a");
    clip(&g, "a", "c");
    onnx_plain(&g, "Mul", "mul", "x", "c", "m");
    onnx_plain(&g, "Div", "div", "m", "six", "y");
    is_act(&g, EFF_ACTIVATION_HSWISH, "div");
    g = begin(); /* x * (relu6(3 + x) * 0.16666667) */
    number(&g, "three", 3);
    number(&g, "zero", 0);
    number(&g, "six", 6);
    number(&g, "sixth", 0.16666667f);
    onnx_plain(&g, "Add", "add", "three", "x", "a");
    clip(&g, "a", "c");
    onnx_plain(&g, "Mul", "scale", "sixth", "c", "m");
    onnx_plain(&g, "Mul", "mul", "m", "x", "y");
    is_act(&g, EFF_ACTIVATION_HSWISH, "mul");
    g = begin();
    number(&g, "zero", 0);
    number(&g, "six", 6);
    onnx_plain(&g, "Max", "max", "x", "zero", "a");
    onnx_plain(&g, "Min", "min", "six", "a", "y");
    is_act(&g, EFF_ACTIVATION_RELU6, "min");
    g = begin();
    number(&g, "zero", 0);
    number(&g, "six", 6);
    onnx_plain(&g, "Min", "min", "x", "six", "a");
    onnx_plain(&g, "Max", "max", "a", "zero", "y");
    is_act(&g, EFF_ACTIVATION_RELU6, "max");
}

/* ---- Passes keep the output ---- */

static const float picture[SIZE * SIZE * 3] = {[0] = 1, [4] = -2, [17] = 3, [30] = -1, [44] = 0.5f, [74] = 2};

/* A scale and a shift a channel between two layers, as constants: folded to the front and to the back. */
static void test_affine(void **state)
{
    (void)state;
    static const float w[CH * CH] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const float gain[CH] = {1, -2, 3, 0.5f}, move[CH] = {1, 2, -3, 0};
    float plain[2], folded[2];
    EffGraph *g = NULL;
    Proto graph = begin();
    onnx_weights(&graph, "w2", w, 4, (const int64_t[]){CH, CH, 1, 1});
    onnx_weights(&graph, "gain", gain, 3, (const int64_t[]){CH, 1, 1});
    onnx_weights(&graph, "move", move, 4, (const int64_t[]){1, CH, 1, 1});
    onnx_plain(&graph, "Relu", "relu", "x", NULL, "r");
    onnx_plain(&graph, "Mul", "gain", "r", "gain", "a");
    onnx_plain(&graph, "Sub", "move", "a", "move", "b");
    onnx_plain(&graph, "Conv", "last", "b", "w2", "y");
    Proto file = end(&graph);
    ok(read(&g, &file, NULL));
    assert_int_equal(g->n_nodes, 5); /* two convolutions, ReLU, pool, classifier */
    run(g, picture, folded);
    eff_graph_free(g);
    /* By hand. */
    double sums[CH] = {0};
    for (int p = 0; p < SIZE * SIZE; p++) {
        double mid[CH];
        for (int c = 0; c < CH; c++) {
            double v = 0;
            for (int i = 0; i < 3; i++)
                v += (double)picture[p * 3 + i] * ((c * 3 + i) * 7 % 11 - 5) * 0.5;
            mid[c] = (v > 0 ? v : 0) * (double)gain[c] - (double)move[c];
        }
        for (int o = 0; o < CH; o++) {
            for (int i = 0; i < CH; i++)
                sums[o] += mid[i] * (double)w[o * CH + i] / (SIZE * SIZE);
        }
    }
    for (int k = 0; k < 2; k++) {
        double v = 0;
        for (int c = 0; c < CH; c++)
            v += sums[c] * ((k * CH + c) * 5 % 7 - 3);
        plain[k] = (float)v;
        assert_true(fabs((double)(plain[k] - folded[k])) <= 1e-4 * fmax(fabs(v), 1));
    }
}

/* A network that normalizes its picture itself: (v / 255 - m) / s ends up in the preprocessing. */
static void test_input(void **state)
{
    (void)state;
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    EffGraph *g = NULL;
    Proto graph = {0}, node = {0};
    float w[2 * 3] = {1, 2, 3, 4, 5, 6};
    onnx_value(&graph, 11, "picture", 4, (const int64_t[]){0, SIZE, SIZE, 3}); /* NHWC, symbolic batch */
    number(&graph, "bytes", 255);
    onnx_weights(&graph, "mean", mean, 1, (const int64_t[]){3});
    onnx_weights(&graph, "std", std, 1, (const int64_t[]){3});
    onnx_weights(&graph, "w", w, 4, (const int64_t[]){2, 3, 1, 1});
    onnx_plain(&graph, "Div", "rescale", "picture", "bytes", "a");
    onnx_plain(&graph, "Sub", "centre", "a", "mean", "b");
    onnx_plain(&graph, "Div", "spread", "b", "std", "c");
    onnx_node_begin(&node, "Transpose", "to_nchw", (const char *const[]){"c", NULL}, "d");
    onnx_ints(&node, "perm", 4, (const int64_t[]){0, 3, 1, 2});
    proto_message(&graph, 1, &node);
    onnx_plain(&graph, "Conv", "conv", "d", "w", "e");
    onnx_plain(&graph, "GlobalAveragePool", "pool", "e", NULL, "logits");
    onnx_value(&graph, 12, "logits", 4, (const int64_t[]){0, 2, 1, 1});
    Proto file = onnx_model(&graph, 17);
    ok(read(&g, &file, NULL));
    assert_int_equal(g->n_nodes, 2);
    for (int c = 0; c < 3; c++) {
        assert_true(fabs((double)g->pre.mean[c] - 255 * (double)mean[c]) < 1e-3);
        assert_true(fabs((double)g->pre.std[c] - 255 * (double)std[c]) < 1e-3);
    }
    eff_graph_free(g);
}

/* TensorFlow's SAME as a Pad before the convolution. */
static void test_pad(void **state)
{
    (void)state;
    EffGraph *g = NULL;
    static const int64_t pads[8] = {0, 0, 0, 1, 0, 0, 1, 2};
    float w[CH * CH * 9];
    Proto graph = begin(), node = {0};
    for (int i = 0; i < CH * CH * 9; i++)
        w[i] = 1;
    onnx_weights(&graph, "w2", w, 4, (const int64_t[]){CH, CH, 3, 3});
    onnx_int64s(&graph, "pads", 8, pads);
    onnx_plain(&graph, "Pad", "pad", "x", "pads", "p");
    onnx_node_begin(&node, "Conv", "dw", (const char *const[]){"p", "w2", NULL}, "y");
    onnx_ints(&node, "strides", 2, (const int64_t[]){2, 2});
    proto_message(&graph, 1, &node);
    Proto file = end(&graph);
    ok(read(&g, &file, NULL));
    const EffConv *c = &g->nodes[1].conv;
    assert_int_equal(g->n_nodes, 4);
    assert_int_equal(c->pad_top * 1000 + c->pad_left * 100 + c->pad_bottom * 10 + c->pad_right, 112);
    eff_graph_free(g);
}

/* ---- Refusals ---- */

static void refused(Proto *graph, EffStatus wanted, const char *part)
{
    EffGraph *g = NULL;
    Proto file = end(graph);
    assert_int_equal(read(&g, &file, NULL), wanted);
    if (strstr(eff_last_message(), part) == NULL)
        fail_msg("'%s' is not in: %s", part, eff_last_message());
}

static void test_refusals(void **state)
{
    (void)state;
    Proto g = begin();
    onnx_plain(&g, "Erf", "/act/Erf", "x", NULL, "y");
    refused(&g, EFF_ERR_UNSUPPORTED, "/act/Erf (Erf, opset 13): ");
    g = begin();
    onnx_plain(&g, "Relu", "r", "nothing", NULL, "y");
    refused(&g, EFF_ERR_FORMAT, "computed by nothing");
    g = begin();
    onnx_plain(&g, "Mul", "square", "x", "x", "y");
    refused(&g, EFF_ERR_UNSUPPORTED, "square: a product of two maps");
    g = begin();
    number(&g, "inf", INFINITY);
    onnx_plain(&g, "Mul", "m", "x", "inf", "y");
    refused(&g, EFF_ERR_FORMAT, "not finite");
    g = begin();
    onnx_plain(&g, "Relu", "a", "x", NULL, "y");
    onnx_plain(&g, "Relu", "b", "x", NULL, "y");
    refused(&g, EFF_ERR_FORMAT, "twice");
    g = begin();
    onnx_weights(&g, "none", NULL, 1, (const int64_t[]){0});
    number(&g, "six", 6);
    Proto node = {0};
    onnx_node_begin(&node, "Clip", "clip", (const char *const[]){"x", "none", "six", NULL}, "y");
    proto_message(&g, 1, &node);
    refused(&g, EFF_ERR_FORMAT, "clip (Clip, opset 13): a bound of more than one element");
    g = begin();
    static const float pads[8] = {0};
    onnx_weights(&g, "pads", pads, 1, (const int64_t[]){8});
    onnx_plain(&g, "GlobalAveragePool", "mean", "x", NULL, "m");
    node = (Proto){0};
    onnx_node_begin(&node, "Pad", "pad", (const char *const[]){"x", "pads", "m", NULL}, "y"); /* filled with a mean */
    proto_message(&g, 1, &node);
    refused(&g, EFF_ERR_UNSUPPORTED, "depend on the picture");
}

static void count_blocked(void *ctx, const char *node, const char *op, const char *fate, const char *why)
{
    (void)node, (void)op, (void)why;
    *(int *)ctx += strcmp(fate, "blocked") == 0;
}

/* Where all fates are asked for, what reads a blocked node is blocked too, beside a map as well. */
static void test_blocked(void **state)
{
    (void)state;
    int n = 0;
    EffGraph *net = NULL;
    Proto g = begin();
    onnx_plain(&g, "GlobalAveragePool", "mean", "x", NULL, "m");
    onnx_plain(&g, "Exp", "exp", "m", NULL, "e"); /* one number a channel, as a constant may have */
    onnx_plain(&g, "Add", "sum", "m", "e", "y");
    Proto file = end(&g);
    const EffOnnxOptions options = {.fate = count_blocked, .ctx = &n};
    assert_int_equal(read(&net, &file, &options), EFF_ERR_UNSUPPORTED);
    assert_int_equal(n, 5); /* exp, sum, pool, flatten, fc */
}

/* Every cut is refused, and no allocation that fails is missed. */
static void test_damage(void **state)
{
    (void)state;
    Proto graph = begin();
    onnx_plain(&graph, "Sigmoid", "s", "x", NULL, "s");
    onnx_plain(&graph, "Mul", "mul", "s", "x", "y");
    Proto file = end(&graph);
    ok(onnx_read_once(&file));
    sweep_allocations(onnx_read_once, &file);
    const size_t n = file.n;
    for (file.n = 0; file.n < n; file.n++) {
        uint8_t *exact = malloc(file.n ? file.n : 1); /* so that a sanitizer sees a read past the end */
        assert_non_null(exact);
        memcpy(exact, file.data, file.n);
        Proto cut = {exact, file.n, file.n};
        const EffStatus st = onnx_read_once(&cut);
        if (st != EFF_ERR_FORMAT)
            fail_msg("%zu of %zu bytes: %s: %s", file.n, n, eff_status_name(st), eff_last_message());
        free(exact);
    }
    free(file.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_plan), cmocka_unit_test(test_spellings), cmocka_unit_test(test_affine),
        cmocka_unit_test(test_input),     cmocka_unit_test(test_pad),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_blocked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
