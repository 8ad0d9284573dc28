/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exporting quantized models: the importer's evaluator runs what is written, and finds the logits of the compiled
 * model; weights and values stand between QuantizeLinear and DequantizeLinear; what is refused; memory that runs out.
 */
#include "unit.h"

#include "compiled_util.h"
#include "graph_util.h"

#include "base/rng.h"
#include "export/onnx_export.h"
#include "graph/ir.h"
#include "import/onnx/onnx_eval.h"
#include "runtime/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 48, CLASSES = 20 };

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    (void)ctx;
    eff_synthetic_picture(pixels, SIZE, 100 + i);
    return EFF_OK;
}

static EffGraph *narrow(const char *name)
{
    EffArch arch;
    EffGraph *g = NULL;
    ok(eff_arch_find(&arch, name));
    arch.pre.size = SIZE;
    arch.n_classes = CLASSES;
    arch.width *= 0.4;
    ok(eff_graph_build(&g, &arch));
    ok(eff_graph_randomize(g, 7));
    ok(eff_graph_optimize(g));
    return g;
}

/* A convolution of variance 1 / fan-in, and what follows it. */
static int conv(EffGraph *g, EffRng *rng, const char *name, int x, EffConv how, EffActivation a)
{
    EffNode n = {.op = EFF_OP_CONV, .conv = how};
    const int fan_in = how.in_ch / how.groups * how.kernel_h * how.kernel_h;
    char act[32];
    n.conv.kernel_w = how.kernel_h;
    n.conv.has_bias = true;
    n.conv.pad_top = n.conv.pad_left = n.conv.pad_bottom = n.conv.pad_right = (how.kernel_h - 1) / 2;
    ok(eff_param_alloc(&n.conv.wgt, (size_t)(how.out_ch * fan_in)));
    ok(eff_param_alloc(&n.conv.bias, (size_t)how.out_ch));
    for (size_t i = 0; i < n.conv.wgt.n; i++)
        n.conv.wgt.data[i] = eff_rng_normal(rng) * 1.5f / sqrtf((float)fan_in);
    for (size_t i = 0; i < n.conv.bias.n; i++)
        n.conv.bias.data[i] = 0.3f * eff_rng_normal(rng);
    x = add(g, n, name, x, -1);
    snprintf(act, sizeof act, "%s/act", name);
    return a == EFF_ACTIVATION_NONE ? x : add(g, (EffNode){.op = EFF_OP_ACT, .act = a}, act, x, -1);
}

/* Few layers, so that little is lost on the way, with every table, a gate and a residual. */
static EffGraph *swishes(void)
{
    EffGraph *g = NULL;
    EffRng rng;
    const EffNode mean = {.op = EFF_OP_GLOBAL_AVGPOOL};
    eff_rng_init(&rng, 3);
    ok(eff_graph_create(&g, "swishes", (EffShape){SIZE, SIZE, 3}));
    g->pre = (EffPreprocess){.size = SIZE, .crop = 1, .interpolation = EFF_INTERP_BICUBIC};
    for (int c = 0; c < 3; c++) { /* no bytes */
        g->pre.mean[c] = 123.675f - 7 * (float)c;
        g->pre.std[c] = 58.395f;
    }
    int x = conv(g, &rng, "stem", g->input, (EffConv){3, 12, 1, .kernel_h = 3, .stride = 2}, EFF_ACTIVATION_SILU);
    x = conv(g, &rng, "dw", x, (EffConv){12, 12, 12, .kernel_h = 3, .stride = 1}, EFF_ACTIVATION_SILU);
    int s = add(g, mean, "squeeze", x, -1);
    s = conv(g, &rng, "reduce", s, (EffConv){12, 4, 1, .kernel_h = 1, .stride = 1}, EFF_ACTIVATION_SILU);
    s = conv(g, &rng, "expand", s, (EffConv){4, 12, 1, .kernel_h = 1, .stride = 1}, EFF_ACTIVATION_SIGMOID);
    x = add(g, (EffNode){.op = EFF_OP_MUL}, "gate", x, s);
    x = conv(g, &rng, "project", x, (EffConv){12, 16, 1, .kernel_h = 1, .stride = 1}, EFF_ACTIVATION_NONE);
    s = conv(g, &rng, "wide", x, (EffConv){16, 32, 1, .kernel_h = 1, .stride = 1}, EFF_ACTIVATION_HSWISH);
    s = conv(g, &rng, "dw2", s, (EffConv){32, 32, 32, .kernel_h = 5, .stride = 1}, EFF_ACTIVATION_HSWISH);
    s = conv(g, &rng, "back", s, (EffConv){32, 16, 1, .kernel_h = 1, .stride = 1}, EFF_ACTIVATION_NONE);
    x = add(g, (EffNode){.op = EFF_OP_ADD}, "sum", x, s);
    x = conv(g, &rng, "head", x, (EffConv){16, 24, 1, .kernel_h = 1, .stride = 1}, EFF_ACTIVATION_RELU);
    x = add(g, mean, "pool", x, -1);
    g->n_classes = CLASSES;
    g->output =
        conv(g, &rng, "classifier", x, (EffConv){24, CLASSES, 1, .kernel_h = 1, .stride = 1}, EFF_ACTIVATION_NONE);
    ok(eff_graph_infer_shapes(g));
    return g;
}

/* name NULL: swishes(). type: of every convolution that can have it ("int16", "f32"); NULL: none. */
static EffModel *quantized(const char *name, const char *type)
{
    const EffPictures pictures = {.n = 6, .get = get_synthetic};
    EffGraph *g = name != NULL ? narrow(name) : swishes();
    EffCompiled *c = NULL;
    EffModel *m = NULL;
    EffQuantizeOptions options = {.n_threads = 1, .n_report = 2, .no_gptq = 1};
    ok(eff_quantize(&c, g, &pictures, &options));
    if (type != NULL) {
        char *table = all_with_type(eff_compiled_table(c), g, type);
        options.table = table;
        eff_compiled_free(c);
        ok(eff_quantize(&c, g, &pictures, &options));
        free(table);
    }
    ok(eff_compiled_model(&m, c, NULL));
    eff_compiled_free(c);
    eff_graph_free(g);
    return m;
}

/* ---- Running a file ---- */

typedef struct File {
    EffBytes bytes;
    EffOnnxModel m;
} File;

static void encoded(File *f, const EffModel *model, int opset)
{
    EffOnnxFiles none = {0};
    EffOnnxSize size;
    ok(eff_onnx_encode_plan(&f->bytes, &size, eff_model_plan(model), &(EffOnnxExport){.opset = opset}));
    assert_int_equal(size.file_bytes, f->bytes.size);
    ok(eff_onnx_model_read(&f->m, f->bytes.data, f->bytes.size, &none));
    assert_int_equal(f->m.n_nodes, size.n_nodes);
    assert_int_equal(f->m.opset, opset);
}

static void free_file(File *f)
{
    eff_onnx_model_free(&f->m);
    eff_free(f->bytes.data);
}

/* "data" as the file's readers make it: (v - mean) / std, planes. */
static void give_picture(EffOnnxModel *m, const EffPreprocess *pre, const uint8_t *pixels)
{
    EffOnnxTensor *t = &m->values[m->input].t;
    const int64_t dims[] = {1, 3, SIZE, SIZE};
    eff_onnx_free(t);
    *t = (EffOnnxTensor){.type = EFF_ONNX_FLOAT};
    ok(eff_onnx_set_dims(t, 4, dims));
    ok(eff_onnx_alloc(t));
    for (size_t i = 0; i < t->n; i++) {
        const size_t c = i / (SIZE * SIZE), at = i % (SIZE * SIZE);
        eff_onnx_put(t, i, ((double)pixels[3 * at + c] - (double)pre->mean[c]) / (double)pre->std[c]);
    }
    m->values[m->input].is_known = true;
}

static void evaluate(EffOnnxModel *m, double *logits)
{
    EffOnnxBudget budget = {1 << 28, (int64_t)1 << 34};
    for (int i = 0; i < m->n_nodes; i++) {
        const EffOnnxNode *node = &m->nodes[i];
        EffOnnxTensor out = {0};
        EffOnnxCall call = {
            .model = m, .node = node, .opset = m->opset, .n_in = node->n_inputs, .budget = &budget, .out = &out};
        for (int k = 0; k < node->n_inputs; k++) {
            const int v = eff_onnx_in(m, node, k);
            call.in[k] = v >= 0 ? &m->values[v].t : NULL;
        }
        ok(eff_onnx_eval(&call));
        EffOnnxTensor *t = &m->values[eff_onnx_out(m, node, 0)].t;
        assert_non_null(out.data);
        eff_onnx_free(t);
        *t = out;
    }
    const EffOnnxTensor *t = &m->values[m->output].t;
    assert_int_equal(t->n, CLASSES);
    for (size_t i = 0; i < t->n; i++)
        logits[i] = eff_onnx_get(t, i);
}

/* Soft colours that were seen, others, and noise that drives everything to its bounds. */
enum { SEEN = 3, ALL = 7 };
static void draw(uint8_t *pixels, int k)
{
    eff_synthetic_picture(pixels, SIZE, (k < SEEN ? 100 : 500) + (uint64_t)k);
    for (int i = 0; i < SIZE * SIZE * 3 && k >= 5; i++)
        pixels[i] = (uint8_t)(pixels[i] & 1 ? 255 : 0);
}

/* Signal to noise in dB, the worst of n pictures. */
static double compare(const EffModel *model, int opset, int n)
{
    File f;
    EffSession *s = NULL;
    uint8_t *pixels = malloc(SIZE * SIZE * 3);
    double worst = HUGE_VAL, got[CLASSES];
    float wanted[CLASSES];
    assert_non_null(pixels);
    encoded(&f, model, opset);
    ok(eff_session_create(&s, model, 1));
    for (int k = 0; k < n; k++) {
        double signal = 0, noise = 1e-30;
        draw(pixels, k);
        eff_session_run(s, pixels, wanted);
        give_picture(&f.m, &eff_model_plan(model)->pre, pixels);
        evaluate(&f.m, got);
        for (int i = 0; i < CLASSES; i++) {
            signal += (double)wanted[i] * (double)wanted[i];
            noise += (got[i] - (double)wanted[i]) * (got[i] - (double)wanted[i]);
        }
        worst = fmin(worst, 10 * log10(signal / noise));
    }
    eff_session_destroy(s);
    free(pixels);
    free_file(&f);
    return worst;
}

/* No table and no gate: the file rounds as the plan does, and what is left is the float of the last sums. */
static void test_exact(void **state)
{
    (void)state;
    EffModel *m = quantized("efficientnet-lite0", NULL);
    const double with_int16 = compare(m, 21, ALL), without = compare(m, 13, ALL);
    if (with_int16 < 110 || without < 60) /* the pooled values are not rounded to 16 bits before set 21 */
        fail_msg("%.1f dB at operator set 21, %.1f dB at 13", with_int16, without);
    eff_model_close(m);
}

/* SiLU and sigmoids are the functions here, tables there. */
static void test_tables(void **state)
{
    (void)state;
    EffModel *m = quantized(NULL, NULL);
    const double with_int16 = compare(m, 21, SEEN), without = compare(m, 13, SEEN);
    if (with_int16 < 35 || without < 35)
        fail_msg("%.1f dB at operator set 21, %.1f dB at 13", with_int16, without);
    eff_model_close(m);
}

/* 16-bit inputs of pointwise and depthwise convolutions, and a gate that leaves 16 bits. */
static void test_int16(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", NULL};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffModel *m = quantized(names[i], "int16");
        bool has[EFF_N_STEP_OPS] = {0};
        for (int k = 0; k < eff_model_plan(m)->n_steps; k++)
            has[eff_model_plan(m)->steps[k].op] = true;
        assert_true(has[EFF_STEP_PW16] && has[EFF_STEP_DW16] && (names[i] != NULL || has[EFF_STEP_GATE]));
        const double least = names[i] != NULL ? 60 : 35, with_int16 = compare(m, 21, SEEN),
                     without = compare(m, 13, SEEN);
        if (with_int16 < least || without < least)
            fail_msg("%.1f dB at operator set 21, %.1f dB at 13", with_int16, without);
        eff_model_close(m);
    }
}

/* ---- And back ---- */

/* The same, of the file that is read as a network again; both float executors. */
static double compare_imported(const EffModel *model, int opset, int n)
{
    EffBytes bytes;
    EffOnnxSize size;
    EffGraph *g = NULL;
    EffCompiled *c = NULL;
    EffModel *back = NULL;
    EffSession *s = NULL, *again = NULL;
    uint8_t *pixels = malloc(SIZE * SIZE * 3);
    float wanted[CLASSES], got[CLASSES];
    double worst = HUGE_VAL;
    assert_non_null(pixels);
    ok(eff_onnx_encode_plan(&bytes, &size, eff_model_plan(model), &(EffOnnxExport){.opset = opset}));
    ok(eff_onnx_read(&g, bytes.data, bytes.size, "back.onnx",
                     &(const EffOnnxOptions){.pre = &eff_model_plan(model)->pre}));
    eff_free(bytes.data);
    ok(eff_compile_float(&c, g));
    ok(eff_compiled_model(&back, c, NULL));
    ok(eff_session_create(&s, model, 1));
    ok(eff_session_create(&again, back, 1));
    for (int k = 0; k < n; k++) {
        double signal = 0, noise = 1e-30;
        draw(pixels, k);
        eff_session_run(s, pixels, wanted);
        eff_session_run(again, pixels, got);
        for (int i = 0; i < CLASSES; i++) {
            signal += (double)wanted[i] * (double)wanted[i];
            noise += ((double)got[i] - (double)wanted[i]) * ((double)got[i] - (double)wanted[i]);
        }
        worst = fmin(worst, 10 * log10(signal / noise));
    }
    eff_session_destroy(s);
    eff_session_destroy(again);
    eff_model_close(back);
    eff_compiled_free(c);
    eff_graph_free(g);
    free(pixels);
    return worst;
}

static void test_back(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool wide;
        int n;
        double least_21, least_13;
    } cases[] = {{"efficientnet-lite0", false, ALL, 110, 60},
                 {NULL, false, SEEN, 35, 35},
                 {"efficientnet-lite0", true, SEEN, 60, 60},
                 {NULL, true, SEEN, 35, 35}};
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        EffModel *m = quantized(cases[i].name, cases[i].wide ? "int16" : NULL);
        const double at_21 = compare_imported(m, 21, cases[i].n), at_13 = compare_imported(m, 13, cases[i].n);
        if (at_21 < cases[i].least_21 || at_13 < cases[i].least_13)
            fail_msg("case %zu: %.1f dB at operator set 21, %.1f dB at 13", i, at_21, at_13);
        eff_model_close(m);
    }
}

/* ---- Structure ---- */

static const EffOnnxNode *producer(const EffOnnxModel *m, int value)
{
    return value >= 0 && m->values[value].producer >= 0 ? &m->nodes[m->values[value].producer] : NULL;
}

/* Weights are int8 or wider behind DequantizeLinear, and a Mul by the steps of the inputs at most. */
static void check_weights(const EffOnnxModel *m, const EffOnnxNode *node, int opset)
{
    const EffOnnxNode *p = producer(m, eff_onnx_in(m, node, 1));
    assert_non_null(p);
    if (eff_onnx_is(p, "Mul"))
        p = producer(m, eff_onnx_in(m, p, 0));
    assert_non_null(p);
    assert_true(eff_onnx_is(p, "DequantizeLinear"));
    const EffOnnxValue *w = &m->values[eff_onnx_in(m, p, 0)], *scale = &m->values[eff_onnx_in(m, p, 1)];
    assert_true(w->is_initializer && scale->is_initializer);
    assert_true(w->t.type == EFF_ONNX_INT8 || w->t.type == (opset >= 21 ? EFF_ONNX_INT16 : EFF_ONNX_INT32));
    assert_int_equal(scale->t.n, w->t.dims[0]); /* an output */
    assert_int_equal(eff_onnx_int(p, "axis", -1), 0);
}

/* What is quantized is read through a DequantizeLinear with the same zero points; scales are positive. */
static void check_pair(const EffOnnxModel *m, const EffOnnxNode *node)
{
    const EffOnnxNode *q = producer(m, eff_onnx_in(m, node, 0));
    const EffOnnxTensor *scale = &m->values[eff_onnx_in(m, node, 1)].t;
    for (size_t i = 0; i < scale->n; i++)
        assert_true(eff_onnx_get(scale, i) > 0 && isfinite(eff_onnx_get(scale, i)));
    if (q == NULL)
        return;
    assert_true(eff_onnx_is(q, "QuantizeLinear"));
    assert_int_equal(eff_onnx_in(m, q, 2), eff_onnx_in(m, node, 2));
    assert_int_equal(m->values[eff_onnx_in(m, q, 1)].t.n, scale->n);
    assert_int_equal(eff_onnx_int(q, "axis", -1), eff_onnx_int(node, "axis", -1));
}

static void check_structure(const EffModel *model, int opset)
{
    File f;
    int n_conv = 0, n_u8 = 0, n_s16 = 0, n_heads = 0, u8_steps = 0;
    const EffPlan *plan = eff_model_plan(model);
    encoded(&f, model, opset);
    const EffOnnxModel *m = &f.m;
    for (int v = 0; v < m->n_values; v++) {
        const EffOnnxTensor *t = &m->values[v].t;
        for (size_t i = 0; m->values[v].is_initializer && i < t->n; i++)
            assert_true(isfinite(eff_onnx_get(t, i)));
    }
    for (int i = 0; i < m->n_nodes; i++) {
        const EffOnnxNode *node = &m->nodes[i];
        const bool conv = eff_onnx_is(node, "Conv"), head = eff_onnx_is(node, "Gemm");
        n_conv += conv;
        n_heads += head;
        if (conv || head)
            check_weights(m, node, opset);
        if (eff_onnx_is(node, "DequantizeLinear"))
            check_pair(m, node);
        if (!eff_onnx_is(node, "QuantizeLinear"))
            continue;
        n_u8 += m->values[eff_onnx_in(m, node, 2)].t.type == EFF_ONNX_UINT8;
        n_s16 += m->values[eff_onnx_in(m, node, 2)].t.type == EFF_ONNX_INT16;
        for (int k = 0; k < i; k++)
            assert_false(eff_wire_size(node->name) == eff_wire_size(m->nodes[k].name) &&
                         memcmp(node->name.at, m->nodes[k].name.at, eff_wire_size(node->name)) == 0);
    }
    int weighted = 0;
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *s = &plan->steps[i];
        weighted += s->data[EFF_DATA_WGT].n_bytes > 0;
        u8_steps += s->op != EFF_STEP_QUADS && s->op != EFF_STEP_HEAD && s->out[0] != EFF_PLAN_NONE;
    }
    assert_int_equal(n_heads, 1);
    assert_int_equal(n_conv, weighted - 1);
    assert_true(n_u8 == u8_steps || n_u8 == u8_steps + 1); /* the picture, if its means are bytes */
    assert_int_equal(n_s16 > 0, opset >= 21);
    free_file(&f);
}

static void test_structure(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-b0"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffModel *m = quantized(names[i], NULL);
        for (int opset = 13; opset <= 21; opset += 4)
            check_structure(m, opset);
        eff_model_close(m);
    }
}

/* ---- Refusals, memory ---- */

static void refused(const EffModel *m, int opset, EffStatus wanted, const char *why)
{
    EffBytes bytes;
    EffOnnxSize size;
    assert_int_equal(eff_onnx_encode_plan(&bytes, &size, eff_model_plan(m), &(EffOnnxExport){.opset = opset}), wanted);
    if (strstr(eff_last_message(), why) == NULL)
        fail_msg("'%s' is not in '%s'", why, eff_last_message());
}

static void test_refused(void **state)
{
    (void)state;
    EffModel *m = quantized("efficientnet-lite0", NULL);
    refused(m, 12, EFF_ERR_ARG, "needs 13 to 21");
    refused(m, 22, EFF_ERR_ARG, "use 9 to 21");
    EffPlan *plan = &m->plan;
    const int hidden = plan->steps[1].in[0], n_scales = plan->tensors[hidden].n_scales;
    plan->tensors[hidden].n_scales = 0;
    refused(m, 13, EFF_ERR_UNSUPPORTED, "scale");
    plan->tensors[hidden].n_scales = n_scales;
    eff_model_close(m);

    m = quantized("efficientnet-b0", "f32");
    refused(m, 21, EFF_ERR_UNSUPPORTED, "quantize without --float-nodes");
    eff_model_close(m);

    EffGraph *g = narrow("efficientnet-lite0");
    EffCompiled *c = NULL;
    ok(eff_compile_float(&c, g));
    ok(eff_compiled_model(&m, c, NULL));
    refused(m, 13, EFF_ERR_UNSUPPORTED, "a float model");
    eff_model_close(m);
    eff_compiled_free(c);
    eff_graph_free(g);
}

static EffStatus encode_once(void *ctx)
{
    EffBytes bytes;
    EffOnnxSize size;
    const EffStatus st = eff_onnx_encode_plan(&bytes, &size, eff_model_plan(ctx), &(EffOnnxExport){.opset = 21});
    if (st == EFF_OK)
        eff_free(bytes.data);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    EffModel *m = quantized("efficientnet-b0", NULL);
    sweep_allocations(encode_once, m);
    eff_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),     cmocka_unit_test(test_tables),  cmocka_unit_test(test_int16),
        cmocka_unit_test(test_structure), cmocka_unit_test(test_refused), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
