/* SPDX-License-Identifier: Apache-2.0 */
/* Exporting ONNX: what is written comes back as the same plan, at every operator set; limits; memory that runs out. */
#include "unit.h"

#include "graph_util.h"

#include "base/file.h"
#include "export/onnx_export.h"
#include "graph/ir.h"
#include "same_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static EffGraph *built(const char *name, int size, int channels)
{
    EffArch arch;
    EffGraph *g = NULL;
    ok(eff_arch_find(&arch, name));
    arch.pre.size = size;
    arch.in_channels = channels;
    arch.n_classes = 10;
    ok(eff_graph_build(&g, &arch));
    ok(eff_graph_randomize(g, 1));
    return g;
}

/* Write g and read it again; the passes run over it unless `as_written`. */
static EffGraph *through_file(const EffGraph *g, int opset, bool as_written)
{
    const EffOnnxExport how = {.opset = opset};
    const EffOnnxOptions options = {.keep_spelling = as_written};
    EffBytes file;
    EffOnnxSize size;
    EffGraph *back = NULL;
    ok(eff_onnx_encode(&file, g, &how));
    ok(eff_onnx_size(&size, g, &how));
    assert_int_equal(size.file_bytes, file.size);
    assert_int_equal(size.opset, opset != 0 ? opset : 13);
    ok(eff_onnx_read(&back, file.data, file.size, "test.onnx", &options));
    eff_free(file.data);
    return back;
}

/* Frees g. */
static void same_plan(EffGraph *g)
{
    EffGraph *back = through_file(g, 0, false);
    EffGraphStats a, b;
    eff_graph_stats(g, &a);
    eff_graph_stats(back, &b);
    assert_int_equal(a.params, b.params);
    assert_int_equal(a.macs, b.macs);
    ok(eff_graph_optimize(g));
    assert_same_plan(g, back);
    eff_graph_free(back);
    back = through_file(g, 0, false); /* folded before it was written */
    assert_same_plan(g, back);
    eff_graph_free(back);
    eff_graph_free(g);
}

static void test_same_plan(void **state)
{
    (void)state;
    same_plan(built("efficientnet-b0", 64, 3));
    same_plan(built("efficientnet-b0", 32, 1));
    same_plan(built("tf-efficientnet-b1", 80, 3));
    same_plan(built("efficientnet-lite3", 65, 3)); /* bilinear; SAME pads that differ from side to side */
}

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    eff_synthetic_picture(pixels, *(int *)ctx, 100 + i);
    return EFF_OK;
}

/* The .bin of a network in int8. */
static EffBytes quantized(const EffGraph *g)
{
    char path[] = "/tmp/effnet-export-XXXXXX";
    int size = g->pre.size;
    const EffPictures pictures = {.n = 4, .get = get_synthetic, .ctx = &size};
    const EffQuantizeOptions options = {.n_threads = 1, .n_report = 2, .no_gptq = 1};
    EffCompiled *c = NULL;
    EffBytes bytes = {0};
    ok(eff_quantize(&c, g, &pictures, &options));
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    ok(eff_compiled_write(c, path));
    ok(eff_file_read(&bytes, path, SIZE_MAX / 2));
    unlink(path);
    eff_compiled_free(c);
    return bytes;
}

/* Calibration, rounding and the plan see nothing of the way through ONNX. */
static void same_int8(const char *name)
{
    EffArch arch;
    EffGraph *g = NULL;
    ok(eff_arch_find(&arch, name));
    arch.pre.size = 64;
    arch.n_classes = 10;
    arch.width *= 0.5;
    ok(eff_graph_build(&g, &arch));
    ok(eff_graph_randomize(g, 7));
    EffGraph *back = through_file(g, 0, false);
    ok(eff_graph_optimize(g));
    EffBytes built_bin = quantized(g), back_bin = quantized(back);
    assert_int_equal(built_bin.size, back_bin.size);
    assert_memory_equal(built_bin.data, back_bin.data, built_bin.size);
    eff_free(built_bin.data);
    eff_free(back_bin.data);
    eff_graph_free(back);
    eff_graph_free(g);
}

static void test_same_int8(void **state)
{
    (void)state;
    same_int8("efficientnet-b0");
    same_int8("efficientnet-lite0");
}

/* The versions of the format that belong to operator sets, and the counts by both rules. */
static void test_size(void **state)
{
    (void)state;
    static const int versions[][2] = {{9, 4}, {10, 5}, {11, 6}, {12, 7}, {14, 7}, {15, 8}, {18, 8}, {19, 9}, {21, 10}};
    EffGraph *g = built("efficientnet-b2", 32, 3);
    EffOnnxSize size;
    for (size_t i = 0; i < EFF_COUNT(versions); i++) {
        ok(eff_onnx_size(&size, g, &(EffOnnxExport){.opset = versions[i][0]}));
        assert_int_equal(size.ir_version, versions[i][1]);
    }
    uint64_t bn = 0;
    for (int i = 0; i < g->n_nodes; i++)
        bn += g->nodes[i].bn.gamma.n;
    const int head = 990 * (1408 + 1); /* classes that this one lacks */
    assert_int_equal(size.params + (uint64_t)head, 9109994);
    assert_int_equal(size.initializers, size.params + 2 * bn);
    ok(eff_graph_optimize(g));
    ok(eff_onnx_size(&size, g, NULL));
    assert_int_equal(size.params + (uint64_t)head, 9076210);
    assert_int_equal(size.initializers, size.params);
    eff_graph_free(g);
}

/* ---- Operators that no built network has ---- */

static EffParam numbers(size_t n, float first, float step)
{
    EffParam p = {0};
    ok(eff_param_alloc(&p, n));
    for (size_t i = 0; i < n; i++)
        p.data[i] = first + step * (float)(i % 7);
    return p;
}

static int conv(EffGraph *g, const char *name, int x, int in, int out, int kernel)
{
    EffNode n = {.op = EFF_OP_CONV};
    n.conv = (EffConv){.in_ch = in, .out_ch = out, .groups = 1, .kernel_h = kernel, .kernel_w = kernel, .stride = 1};
    n.conv.wgt = numbers((size_t)(out * in * kernel * kernel), -0.3f, 0.11f);
    return add(g, n, name, x, -1);
}

static int batchnorm(EffGraph *g, const char *name, int x, int c, float scale, float shift)
{
    EffNode n = {.op = EFF_OP_BATCHNORM};
    n.bn = (EffBatchNorm){.gamma = numbers((size_t)c, scale, 0),
                          .beta = numbers((size_t)c, shift, 0),
                          .mean = numbers((size_t)c, 0, 0),
                          .var = numbers((size_t)c, 1, 0)};
    return add(g, n, name, x, -1);
}

static int act(EffGraph *g, const char *name, int x, EffActivation a)
{
    return add(g, (EffNode){.op = EFF_OP_ACT, .act = a}, name, x, -1);
}

/* Pads, hard-swish, ReLU, no activation, a gate in three nodes of one name, and a classifier without bias, or none. */
static EffGraph *odd_graph(bool with_classifier, bool with_identity)
{
    EffGraph *g = NULL;
    EffNode pad = {.op = EFF_OP_PAD, .conv = {.pad_top = 1, .pad_left = 0, .pad_bottom = 2, .pad_right = 2}};
    const EffNode mean = {.op = EFF_OP_GLOBAL_AVGPOOL};
    ok(eff_graph_create(&g, "odd", (EffShape){9, 9, 3}));
    g->pre = (EffPreprocess){.size = 9, .crop = 1.0 / 3, .interpolation = EFF_INTERP_HAMMING};
    for (int c = 0; c < 3; c++)
        g->pre.std[c] = 1;
    int x = add(g, pad, "pad", g->input, -1);
    x = conv(g, "first", x, 3, 4, 3);
    if (with_identity)
        x = act(g, "nothing", x, EFF_ACTIVATION_NONE);
    x = act(g, "hard/Mul", x, EFF_ACTIVATION_HSWISH);
    x = conv(g, "second", x, 4, 5, 1);
    x = act(g, "relu", x, EFF_ACTIVATION_RELU);
    int s = add(g, mean, "squeeze", x, -1);
    s = conv(g, "gate", s, 5, 5, 1);
    s = batchnorm(g, "hard_sigmoid", s, 5, 1, 3);
    s = act(g, "hard_sigmoid", s, EFF_ACTIVATION_RELU6);
    s = batchnorm(g, "hard_sigmoid", s, 5, 1.0f / 6, 0);
    x = add(g, (EffNode){.op = EFF_OP_MUL}, "scale", x, s);
    x = conv(g, "third", x, 5, 6, 1);
    EffNode pool = {.op = EFF_OP_POOL, .pooling = EFF_POOLING_MAX};
    pool.conv = (EffConv){.kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_top = 1, .pad_left = 1, .pad_right = 2};
    x = add(g, pool, "largest", x, -1);
    pool = (EffNode){.op = EFF_OP_POOL, .pooling = EFF_POOLING_MEAN};
    pool.conv = (EffConv){.kernel_h = 2, .kernel_w = 2, .stride = 1, .pad_left = 1, .pad_bottom = 1};
    x = add(g, pool, "average", x, -1);
    x = add(g, mean, "pool", x, -1);
    g->n_classes = 6;
    if (with_classifier) {
        x = conv(g, "classifier", x, 6, 2, 1);
        g->n_classes = 2;
    }
    g->output = x;
    ok(eff_graph_infer_shapes(g));
    return g;
}

static void test_opsets(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-b0", "efficientnet-lite0"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffGraph *g = built(names[i], 32, 3), *folded = built(names[i], 32, 3);
        ok(eff_graph_optimize(folded));
        for (int opset = 9; opset <= 21; opset++) {
            EffGraph *back = through_file(g, opset, false);
            assert_same_plan(folded, back);
            eff_graph_free(back);
        }
        eff_graph_free(g);
        eff_graph_free(folded);
    }
    EffGraph *g = odd_graph(true, false);
    EffOnnxSize size;
    for (int i = 0; i < 2; i++) {
        const EffOnnxExport how = {.opset = i ? 22 : 8};
        assert_int_equal(eff_onnx_size(&size, g, &how), EFF_ERR_ARG);
        assert_non_null(strstr(eff_last_message(), "use 9 to 21"));
    }
    eff_graph_free(g);
}

static void test_operators(void **state)
{
    (void)state;
    for (int opset = 9; opset <= 21; opset += 2) {
        for (int with_classifier = 0; with_classifier < 2; with_classifier++) {
            EffGraph *g = odd_graph(with_classifier, true), *back = through_file(g, opset, true);
            /* Identity and Flatten are views; hard-swish is x * (relu6(x + 3) / 6) before 14. */
            assert_int_equal(back->n_nodes, g->n_nodes - 1 + (opset < 14 ? 3 : 0));
            eff_graph_free(back);
            back = through_file(g, opset, false);
            eff_graph_free(g);
            g = odd_graph(with_classifier, false);
            ok(eff_graph_optimize(g));
            bool found = false;
            for (int i = 0; i < back->n_nodes; i++)
                found = found || (back->nodes[i].act == EFF_ACTIVATION_HSWISH && back->nodes[i].op == EFF_OP_ACT &&
                                  strcmp(back->nodes[i].name, "hard/Mul") == 0);
            assert_true(found);
            if (opset >= 11 || !with_classifier) /* before, Gemm needs a bias: zeros */
                assert_same_plan(g, back);
            eff_graph_free(back);
            eff_graph_free(g);
        }
    }
}

/* ---- Metadata ---- */

static void same_preprocess(EffGraph *g, float mean, float std)
{
    for (int c = 0; c < 3; c++) {
        g->pre.mean[c] = mean * (float)(c + 1);
        g->pre.std[c] = std / (float)(c + 1);
    }
    EffGraph *back = through_file(g, 13, false);
    assert_memory_equal(g->pre.mean, back->pre.mean, sizeof g->pre.mean);
    assert_memory_equal(g->pre.std, back->pre.std, sizeof g->pre.std);
    assert_true(g->pre.crop == back->pre.crop);
    assert_int_equal(g->pre.interpolation, back->pre.interpolation);
    eff_graph_free(back);
}

static void test_preprocess(void **state)
{
    (void)state;
    static const float odd[] = {0, 1, 255, 255.00002f, 256, 0.1f, -3.7f, 127.5f, 84.99999f, 1e5f, 1e-3f, 123.675f};
    EffGraph *g = odd_graph(true, false);
    for (size_t i = 0; i < EFF_COUNT(odd); i++) {
        for (size_t k = 0; k < EFF_COUNT(odd); k++) {
            if (odd[k] > 0)
                same_preprocess(g, odd[i], odd[k]);
        }
    }
    eff_graph_free(g);
}

static void test_labels(void **state)
{
    (void)state;
    static const char *const labels[] = {"redshank, Tringa totanus", "\xc3\xa9toile"}, *const others[] = {"", "b"};
    EffGraph *g = odd_graph(true, false);
    assert_null(eff_graph_labels(g));
    EffGraph *back = through_file(g, 13, false);
    assert_null(eff_graph_labels(back));
    eff_graph_free(back);
    ok(eff_graph_set_labels(g, others));
    ok(eff_graph_set_labels(g, labels));
    back = through_file(g, 13, false);
    for (int i = 0; i < 2; i++)
        assert_string_equal(eff_graph_labels(back)[i], labels[i]);
    EffCompiled *c = NULL;
    EffModel *m = NULL;
    ok(eff_compile_float(&c, back)); /* they travel on */
    ok(eff_compiled_model(&m, c, "c"));
    assert_string_equal(eff_model_info(m)->labels[1], labels[1]);
    eff_model_close(m);
    eff_compiled_free(c);
    eff_graph_free(back);
    /* Those given come first; too many, or ones that no terminal should see, are left alone. */
    static const char *const hostile[][2] = {{"a\nb", "c"}, {"a", "\x1b[2J"}, {"a", "\xff"}};
    for (size_t i = 0; i < EFF_COUNT(hostile); i++) {
        EffBytes file;
        ok(eff_onnx_encode(&file, g, &(EffOnnxExport){.labels = hostile[i]}));
        ok(eff_onnx_read(&back, file.data, file.size, "test.onnx", NULL));
        assert_null(eff_graph_labels(back));
        eff_free(file.data);
        eff_graph_free(back);
    }
    eff_graph_free(g);
}

/* ---- Limits, files, memory ---- */

static void test_limit(void **state)
{
    (void)state;
    EffGraph *g = odd_graph(true, false);
    EffBytes file;
    EffConv *c = &g->nodes[g->n_nodes - 1].conv;
    const EffConv kept = *c;
    const EffOnnxExport how = {0};
    EffOnnxSize size;
    c->wgt.n = (size_t)1 << 29; /* 2 GiB, of which nothing is read */
    ok(eff_onnx_size(&size, g, &how));
    assert_true(size.file_bytes > (uint64_t)1 << 31);
    assert_int_equal(eff_onnx_encode(&file, g, &how), EFF_ERR_LIMIT);
    assert_non_null(strstr(eff_last_message(), "2 GB"));
    *c = kept;
    eff_graph_free(g);
}

static void test_no_weights(void **state)
{
    (void)state;
    EffArch arch;
    EffGraph *g = NULL;
    EffBytes file;
    ok(eff_arch_find(&arch, "lite0"));
    ok(eff_graph_build(&g, &arch));
    assert_int_equal(eff_onnx_encode(&file, g, NULL), EFF_ERR_ARG);
    assert_non_null(strstr(eff_last_message(), "no weights"));
    eff_graph_free(g);
    ok(eff_graph_create(&g, "empty", (EffShape){8, 8, 3}));
    assert_int_equal(eff_onnx_encode(&file, g, NULL), EFF_ERR_ARG);
    eff_graph_free(g);
}

static void test_write(void **state)
{
    (void)state;
    char folder[] = "/tmp/effnet-export-XXXXXX", path[64], sub[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.onnx", folder);
    EffGraph *g = odd_graph(true, false), *back = NULL;
    ok(eff_onnx_write(g, path, NULL));
    ok(eff_onnx_open(&back, path, NULL));
    eff_graph_free(back);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0); /* a folder of that name: nothing is left beside it */
    assert_int_equal(eff_onnx_write(g, path, NULL), EFF_ERR_IO);
    rmdir(path);
    assert_int_equal(rmdir(folder), 0);
    snprintf(sub, sizeof sub, "%s/x.onnx", folder);
    assert_int_equal(eff_onnx_write(g, sub, NULL), EFF_ERR_IO);
    eff_graph_free(g);
}

static EffStatus encode_once(void *ctx)
{
    EffBytes file;
    const EffStatus st = eff_onnx_encode(&file, ctx, NULL);
    if (st == EFF_OK)
        eff_free(file.data);
    return st;
}

/* Labels too, which the importer copies. */
static EffStatus read_once(void *ctx)
{
    const EffBytes *file = ctx;
    EffGraph *g = NULL;
    const EffStatus st = eff_onnx_read(&g, file->data, file->size, "test.onnx", NULL);
    eff_graph_free(st == EFF_OK ? g : NULL);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    static const char *const labels[] = {"one", "two"};
    EffGraph *g = odd_graph(true, false),
             *big = built("efficientnet-b0", 32, 3); /* more messages than a first list holds */
    EffBytes file;
    sweep_allocations(encode_once, g);
    sweep_allocations(encode_once, big);
    ok(eff_onnx_encode(&file, g, &(EffOnnxExport){.labels = labels}));
    sweep_allocations(read_once, &file);
    eff_free(file.data);
    eff_graph_free(big);
    eff_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_plan),  cmocka_unit_test(test_opsets),    cmocka_unit_test(test_size),
        cmocka_unit_test(test_operators),  cmocka_unit_test(test_labels),    cmocka_unit_test(test_limit),
        cmocka_unit_test(test_no_weights), cmocka_unit_test(test_write),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_preprocess), cmocka_unit_test(test_same_int8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
