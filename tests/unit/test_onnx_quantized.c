/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Importing models that are quantized already: executors give what ONNX says, number for number, pairs are left out
 * where that is asked for, and what cannot be is refused.
 */
#include "unit.h"

#include "graph_util.h"

#include "compile/lower.h"
#include "graph/ir.h"
#include "import/onnx/onnx_eval.h"
#include "onnx_fixture.h"

#include <math.h>

enum { SIZE = 4, CH = 3, CLASSES = 2 };

/* A constant of a type of one byte. */
static void bytes(Proto *graph, const char *name, EffOnnxType type, const void *data, int rank, const int64_t *dims)
{
    Proto t = {0};
    size_t n = 1;
    for (int i = 0; i < rank; i++) {
        proto_int(&t, 1, dims[i]);
        n *= (size_t)dims[i];
    }
    proto_int(&t, 2, type);
    proto_text(&t, 8, name);
    proto_field(&t, 9, data, n);
    proto_message(graph, 5, &t);
}

static void scale(Proto *graph, const char *name, float v)
{
    onnx_weights(graph, name, &v, 0, NULL);
}

static void linear(Proto *graph, const char *op, const char *x, const char *step, const char *zero, const char *y)
{
    Proto node = {0};
    char name[64];
    snprintf(name, sizeof name, "/%s", y);
    onnx_node_begin(&node, op, name, (const char *const[]){x, step, zero, NULL}, y);
    if (strcmp(x, "wq") == 0)
        onnx_int(&node, "axis", 0);
    proto_message(graph, 1, &node);
}

/* x, quantized and back, is called `y`. */
static void pair(Proto *graph, const char *x, const char *step, const char *zero, const char *y)
{
    char q[32];
    snprintf(q, sizeof q, "%s_q", y);
    linear(graph, "QuantizeLinear", x, step, zero, q);
    linear(graph, "DequantizeLinear", q, step, zero, y);
}

/*
 * As quantizers write: no activation behind the convolution, whose pair starts at 0; SiLU of a quantized value, its
 * factors in pairs of their own. All steps are powers of 2, so that floats hold every sum exactly but SiLU's.
 */
static Proto ending(const char *first_step, bool softmax)
{
    static const int8_t w[CH * CH] = {9, -7, 3, -128, 127, 50, 2, 1, -3};
    static const float ws[CH] = {0.25f, 0.125f, 0.5f}, fc[CLASSES * CH] = {1, -2, 0.5f, 3, 1, -1};
    static const uint8_t zero = 0, middle = 120;
    static const int8_t less = -5;
    Proto g = {0}, gemm = {0}, flat = {0};
    onnx_value(&g, 11, "picture", 4, (const int64_t[]){1, CH, SIZE, SIZE});
    scale(&g, "half", 0.5f);
    scale(&g, "quarter", 0.25f);
    scale(&g, "fine", 1.0f / 64);
    scale(&g, "none", 0);
    onnx_weights(&g, "ws", ws, 1, (const int64_t[]){CH});
    onnx_weights(&g, "fc", fc, 2, (const int64_t[]){CLASSES, CH});
    bytes(&g, "wq", EFF_ONNX_INT8, w, 4, (const int64_t[]){CH, CH, 1, 1});
    bytes(&g, "wz", EFF_ONNX_INT8, (const int8_t[CH]){0, 0, 0}, 1, (const int64_t[]){CH});
    bytes(&g, "zero", EFF_ONNX_UINT8, &zero, 0, NULL);
    bytes(&g, "middle", EFF_ONNX_UINT8, &middle, 0, NULL);
    bytes(&g, "less", EFF_ONNX_INT8, &less, 0, NULL);
    pair(&g, "picture", first_step, "middle", "p");
    linear(&g, "DequantizeLinear", "wq", "ws", "wz", "w");
    onnx_plain(&g, "Conv", "/conv", "p", "w", "c");
    pair(&g, "c", "half", "zero", "r"); /* a ReLU */
    onnx_plain(&g, "Sigmoid", "/sigmoid", "r", NULL, "s");
    pair(&g, "s", "fine", "less", "sd");
    onnx_plain(&g, "Mul", "/silu", "r", "sd", "m");
    pair(&g, "m", "quarter", "less", "md");
    onnx_plain(&g, "GlobalAveragePool", "/pool", "md", NULL, "a");
    onnx_node_begin(&flat, "Flatten", "/flatten", (const char *const[]){"a", NULL}, "flat");
    proto_message(&g, 1, &flat);
    onnx_node_begin(&gemm, "Gemm", "/fc", (const char *const[]){"flat", "fc", NULL}, "l");
    onnx_int(&gemm, "transB", 1);
    proto_message(&g, 1, &gemm);
    if (softmax)
        onnx_plain(&g, "Softmax", "/softmax", "l", NULL, "share");
    pair(&g, softmax ? "share" : "l", "quarter", "less", "logits");
    onnx_value(&g, 12, "logits", 2, (const int64_t[]){1, CLASSES});
    return onnx_model(&g, 13);
}

static Proto network(const char *first_step)
{
    return ending(first_step, false);
}

/* Multiples of an eighth: many are halves of a step; some are outside the range. */
static void draw(float picture[SIZE * SIZE * CH])
{
    for (int i = 0; i < SIZE * SIZE * CH; i++)
        picture[i] = (float)((i * 37 + 11) % 199 - 99) / 8 * (i % 7 == 0 ? 8 : 1);
}

/* By the operators themselves. */
static void evaluated(const Proto *file, const float *picture, double *logits)
{
    EffOnnxModel m;
    EffOnnxFiles none = {0};
    EffOnnxBudget budget = {1 << 20, 1 << 20};
    ok(eff_onnx_model_read(&m, file->data, file->n, &none));
    EffOnnxTensor *x = &m.values[m.input].t;
    *x = (EffOnnxTensor){.type = EFF_ONNX_FLOAT};
    ok(eff_onnx_set_dims(x, 4, (const int64_t[]){1, CH, SIZE, SIZE}));
    ok(eff_onnx_alloc(x));
    for (size_t i = 0; i < SIZE * SIZE * CH; i++)
        eff_onnx_put(x, i % CH * SIZE * SIZE + i / CH, (double)picture[i]);
    for (int i = 0; i < m.n_nodes; i++) {
        EffOnnxTensor out = {0};
        EffOnnxCall call = {.model = &m,
                            .node = &m.nodes[i],
                            .opset = m.opset,
                            .n_in = m.nodes[i].n_inputs,
                            .budget = &budget,
                            .out = &out};
        for (int k = 0; k < m.nodes[i].n_inputs; k++)
            call.in[k] = &m.values[eff_onnx_in(&m, &m.nodes[i], k)].t;
        ok(eff_onnx_eval(&call));
        EffOnnxTensor *y = &m.values[eff_onnx_out(&m, &m.nodes[i], 0)].t;
        eff_onnx_free(y);
        *y = out;
    }
    for (size_t i = 0; i < CLASSES; i++)
        logits[i] = eff_onnx_get(&m.values[m.output].t, i);
    eff_onnx_model_free(&m);
}

static void rounds_as_onnx_says(void **state)
{
    (void)state;
    Proto file = network("half");
    EffGraph *g = NULL;
    float picture[SIZE * SIZE * CH], got[CLASSES];
    double wanted[CLASSES];
    draw(picture);
    evaluated(&file, picture, wanted);
    ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", NULL));
    assert_true(eff_graph_rounds(g));
    run(g, picture, got);
    for (int i = 0; i < CLASSES; i++) {
        if ((double)got[i] != wanted[i] || wanted[i] == 0)
            fail_msg("class %d: %g, not %g", i, (double)got[i], wanted[i]);
    }
    eff_graph_free(g);
    free(file.data);
}

/* A float plan of it, and one that was written and read, give the bits of the reference. */
static void compiles(void **state)
{
    (void)state;
    static const EffPreprocess pre = {.mean = {9, 100, 200}, .std = {8, 8, 16}, .crop = 1};
    Proto file = network("half");
    EffGraph *g = NULL;
    EffCompiled *c = NULL;
    EffModel *m = NULL;
    EffSession *s = NULL;
    uint8_t pixels[SIZE * SIZE * CH];
    float src[SIZE * SIZE * CH], wanted[CLASSES], got[CLASSES];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 91 + 5);
    ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", &(const EffOnnxOptions){.pre = &pre}));
    eff_graph_normalize(g, src, pixels);
    run(g, src, wanted);
    ok(eff_compile_float(&c, g));
    ok(eff_compiled_model(&m, c, NULL));
    ok(eff_session_create(&s, m, 2));
    eff_session_run(s, pixels, got);
    assert_memory_equal(got, wanted, sizeof got);
    eff_session_destroy(s);
    eff_model_close(m);
    eff_compiled_free(c);
    eff_graph_free(g);
    free(file.data);
}

/* A last Softmax goes, and the pair behind it: it would round logits in steps of shares. */
static void softmax_is_left_out(void **state)
{
    (void)state;
    Proto file = ending("half", true);
    EffGraph *g = NULL;
    ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", NULL));
    assert_int_equal(g->n_classes, CLASSES);
    assert_string_equal(g->nodes[g->n_nodes - 1].name, "/fc");
    assert_int_equal(g->nodes[g->n_nodes - 1].out, g->output);
    eff_graph_free(g);
    free(file.data);
}

/* Defects of a step that rounds. */
static void plans_are_proven(void **state)
{
    (void)state;
    static const char *const texts[] = {"rounding 3 is unknown", "float weights [1] is 0; positive",
                                        "float weights: 56 bytes", "shapes"};
    for (int k = -1; k < (int)EFF_COUNT(texts); k++) {
        Proto file = network("half");
        EffGraph *g = NULL;
        EffPlan plan;
        ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", NULL));
        ok(eff_lower_f32(&plan, g, true));
        int i = 0, product = 0;
        while (plan.steps[i].op != EFF_STEP_F32_ROUND)
            i++;
        while (plan.steps[product].op != EFF_STEP_F32_MUL)
            product++;
        EffPlanData *table = &plan.steps[i].data[EFF_DATA_FWGT];
        if (k == 0)
            plan.steps[i].fact = 3;
        else if (k == 1)
            ((float *)(void *)(plan.data + table->offset))[1] = 0;
        else if (k == 2)
            table->n_bytes -= 4;
        else if (k == 3) /* a row of numbers is neither a gate nor a map */
            plan.tensors[plan.steps[product].in[1]].h = 1;
        const EffStatus st = eff_plan_check(&plan);
        assert_int_equal(st, k < 0 ? EFF_OK : EFF_ERR_FORMAT);
        if (k >= 0 && strstr(eff_last_message(), texts[k]) == NULL)
            fail_msg("'%s' is not in: %s", texts[k], eff_last_message());
        eff_plan_free(&plan);
        eff_graph_free(g);
        free(file.data);
    }
}

static EffStatus no_picture(void *ctx, size_t i, uint8_t *pixels)
{
    (void)ctx, (void)i, (void)pixels;
    fail_msg("a picture was asked for");
    return EFF_ERR_ARG;
}

/* Without its pairs it is a float network: convolution, the ReLU that its pair stood for, SiLU, mean, classifier. */
static void pairs_are_dropped(void **state)
{
    (void)state;
    static const EffActivation acts[] = {EFF_ACTIVATION_NONE, EFF_ACTIVATION_RELU, EFF_ACTIVATION_SILU};
    Proto file = network("half");
    EffGraph *g = NULL;
    EffCompiled *c = NULL;
    int n = 0;
    const EffPictures pictures = {.n = 1, .get = no_picture};
    ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", NULL));
    assert_int_equal(eff_quantize(&c, g, &pictures, NULL), EFF_ERR_UNSUPPORTED);
    assert_non_null(strstr(eff_last_message(), "quantized already"));
    eff_graph_free(g);
    ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", &(const EffOnnxOptions){.drop_pairs = &n}));
    assert_int_equal(n, 5);
    assert_int_equal(g->n_nodes, 5);
    for (int i = 0; i < 3; i++)
        assert_int_equal(g->nodes[i].act, acts[i]);
    assert_true(g->nodes[0].conv.wgt.data[3] == -128 * 0.125f); /* as the other tool rounded it */
    eff_graph_free(g);
    free(file.data);
}

static void refused(Proto *file, EffStatus wanted, const char *part)
{
    EffGraph *g = NULL;
    assert_int_equal(eff_onnx_read(&g, file->data, file->n, "test.onnx", NULL), wanted);
    if (strstr(eff_last_message(), part) == NULL)
        fail_msg("'%s' is not in: %s", part, eff_last_message());
    free(file->data);
}

static void bad_scales_are_refused(void **state)
{
    (void)state;
    Proto file = network("none");
    refused(&file, EFF_ERR_FORMAT, "/p_q (QuantizeLinear, opset 13): a scale of 0");
    file = network("picture");
    refused(&file, EFF_ERR_FORMAT, "scales for another number of channels");
}

/* Bounds a channel, Floor, and a product that no convolution takes in, between a pair and the end. */
static Proto with_bounds(int rank, const int64_t *dims, const float *bounds)
{
    static const float k[CH] = {0, -1.5f, 0.25f}, b[CH] = {3, 0, 1};
    static const uint8_t middle = 120;
    Proto g = {0};
    onnx_value(&g, 11, "picture", 4, (const int64_t[]){1, CH, SIZE, SIZE});
    scale(&g, "half", 0.5f);
    bytes(&g, "middle", EFF_ONNX_UINT8, &middle, 0, NULL);
    onnx_weights(&g, "bounds", bounds, rank, dims);
    onnx_weights(&g, "k", k, 3, (const int64_t[]){CH, 1, 1});
    onnx_weights(&g, "b", b, 3, (const int64_t[]){CH, 1, 1});
    pair(&g, "picture", "half", "middle", "p");
    onnx_plain(&g, "Min", "/min", "bounds", "p", "below");
    onnx_plain(&g, "Mul", "/mul", "below", "k", "scaled");
    onnx_plain(&g, "Floor", "/floor", "scaled", NULL, "whole");
    onnx_plain(&g, "Add", "/add", "whole", "b", "moved");
    onnx_plain(&g, "GlobalAveragePool", "/pool", "moved", NULL, "logits");
    onnx_value(&g, 12, "logits", 4, (const int64_t[]){1, CH, 1, 1});
    return onnx_model(&g, 13);
}

static void what_stands_between_pairs_is_kept(void **state)
{
    (void)state;
    static const float bounds[CH] = {2.5f, -1, 40};
    Proto file = with_bounds(3, (const int64_t[]){CH, 1, 1}, bounds);
    EffGraph *g = NULL;
    float picture[SIZE * SIZE * CH], got[CH];
    double sums[CH] = {0};
    draw(picture);
    for (int i = 0; i < SIZE * SIZE * CH; i++) {
        static const double k[CH] = {0, -1.5, 0.25}, b[CH] = {3, 0, 1};
        const double p = fmin(fmax(nearbyint((double)picture[i] / 0.5), -120), 135) * 0.5;
        sums[i % CH] += floor(fmin(p, (double)bounds[i % CH]) * k[i % CH]) + b[i % CH];
    }
    ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", NULL));
    run(g, picture, got);
    for (int c = 0; c < CH; c++)
        assert_true((double)got[c] == sums[c] / (SIZE * SIZE));
    eff_graph_free(g);
    free(file.data);
    file = with_bounds(5, (const int64_t[]){1, 1, 1, 1, 1}, bounds);
    refused(&file, EFF_ERR_UNSUPPORTED, "/min (Min, opset 13): bounds that are larger");
    file = with_bounds(1, (const int64_t[]){SIZE}, (const float[SIZE]){1, 2, 3, 4});
    refused(&file, EFF_ERR_UNSUPPORTED, "bounds that differ from pixel to pixel");
    int n;
    file = with_bounds(3, (const int64_t[]){CH, 1, 1}, bounds);
    assert_int_equal(eff_onnx_read(&g, file.data, file.n, "test.onnx", &(const EffOnnxOptions){.drop_pairs = &n}),
                     EFF_ERR_UNSUPPORTED);
    assert_non_null(strstr(eff_last_message(), "/min: rounds or clamps inside"));
    free(file.data);
}

/* Quantizers put a pair behind a Pad too; the pad has to get past it to its convolution. */
static void pads_pass_pairs(void **state)
{
    (void)state;
    static const uint8_t middle = 120;
    static const int64_t pads[8] = {0, 0, 0, 1, 0, 0, 1, 0};
    EffGraph *g = NULL;
    Proto file, graph = {0}, list = {0}, node = {0};
    float w[2 * CH * 9], picture[SIZE * SIZE * CH], got[CLASSES];
    double wanted[CLASSES];
    for (int i = 0; i < 2 * CH * 9; i++)
        w[i] = (float)(i * 5 % 17 - 8) / 4;
    onnx_value(&graph, 11, "picture", 4, (const int64_t[]){1, CH, SIZE, SIZE});
    onnx_weights(&graph, "w", w, 4, (const int64_t[]){2, CH, 3, 3});
    scale(&graph, "half", 0.5f);
    bytes(&graph, "middle", EFF_ONNX_UINT8, &middle, 0, NULL);
    proto_int(&list, 1, 8);
    proto_int(&list, 2, 7);
    for (int i = 0; i < 8; i++)
        proto_int(&list, 7, pads[i]);
    proto_text(&list, 8, "pads");
    proto_message(&graph, 5, &list);
    pair(&graph, "picture", "half", "middle", "p");
    onnx_plain(&graph, "Pad", "/pad", "p", "pads", "padded");
    pair(&graph, "padded", "half", "middle", "q");
    onnx_node_begin(&node, "Conv", "/conv", (const char *const[]){"q", "w", NULL}, "c");
    onnx_ints(&node, "strides", 2, (const int64_t[]){2, 2});
    proto_message(&graph, 1, &node);
    onnx_plain(&graph, "GlobalAveragePool", "/pool", "c", NULL, "logits");
    onnx_value(&graph, 12, "logits", 4, (const int64_t[]){1, 2, 1, 1});
    file = onnx_model(&graph, 13);
    draw(picture);
    evaluated(&file, picture, wanted);
    ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", NULL));
    assert_int_equal(g->n_nodes, 4);
    run(g, picture, got);
    for (int i = 0; i < CLASSES; i++)
        assert_true((double)got[i] == wanted[i] && wanted[i] != 0);
    eff_graph_free(g);
    free(file.data);
}

static EffStatus once(void *ctx)
{
    const Proto *file = ctx;
    EffGraph *g = NULL;
    int n;
    EffStatus st = eff_onnx_read(&g, file->data, file->n, "test.onnx", NULL);
    if (st == EFF_OK) {
        eff_graph_free(g);
        st = eff_onnx_read(&g, file->data, file->n, "test.onnx", &(const EffOnnxOptions){.drop_pairs = &n});
    }
    if (st == EFF_OK)
        eff_graph_free(g);
    return st;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    Proto file = network("half");
    sweep_allocations(once, &file);
    free(file.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_as_onnx_says),
        cmocka_unit_test(pads_pass_pairs),
        cmocka_unit_test(what_stands_between_pairs_is_kept),
        cmocka_unit_test(softmax_is_left_out),
        cmocka_unit_test(compiles),
        cmocka_unit_test(pairs_are_dropped),
        cmocka_unit_test(bad_scales_are_refused),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(plans_are_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
