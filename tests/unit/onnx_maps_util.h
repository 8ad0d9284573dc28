/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small ONNX models around one operator on a map, and what they have to give: every number is that of the importer's
 * own evaluator, which ONNX's node tests hold to the standard; the compiled network has the bits of the reference at
 * every level, and an exported one comes back as the same plan.
 */
#ifndef EFFNET_TESTS_ONNX_MAPS_UTIL_H
#define EFFNET_TESTS_ONNX_MAPS_UTIL_H

#include "graph_util.h"

#include "base/cpu.h"
#include "base/file.h"
#include "export/onnx_export.h"
#include "format/bin.h"
#include "import/onnx/onnx_eval.h"
#include "onnx_fixture.h"
#include "runtime/session.h"
#include "same_plan.h"

#include <math.h>

enum { CH = 6, SIZE = 9, MAX_OUT = 8 * SIZE * SIZE };

/* ---- Models: picture -> 1x1 convolution "x" [CH] -> what a case adds, to "y" -> every number of y as a logit ---- */

static inline Proto begin(void)
{
    Proto graph = {0};
    float w[CH * 3];
    for (int i = 0; i < CH * 3; i++)
        w[i] = (float)(i * 7 % 11 - 5) * 0.5f;
    onnx_value(&graph, 11, "picture", 4, (const int64_t[]){1, 3, SIZE, SIZE});
    onnx_weights(&graph, "w", w, 4, (const int64_t[]){CH, 3, 1, 1});
    onnx_plain(&graph, "Conv", "expand", "picture", "w", "x");
    return graph;
}

/* Node `op` from the inputs to `out`, with lists of integers: name, n, numbers. */
typedef struct List {
    const char *name;
    int n;
    int64_t v[8];
} List;

static inline void node(Proto *graph, const char *op, const char *const *in, const char *out, const List *lists)
{
    Proto p = {0};
    onnx_node_begin(&p, op, out, in, out);
    for (; lists != NULL && lists->name != NULL; lists++) {
        if (lists->n > 0)
            onnx_ints(&p, lists->name, lists->n, lists->v);
        else
            onnx_int(&p, lists->name, lists->v[0]);
    }
    proto_message(graph, 1, &p);
}

static inline Proto end(Proto *graph, const char *y, int opset, int c, int h, int w)
{
    const int64_t n = (int64_t)c * h * w;
    float *all = calloc((size_t)(n * n), sizeof *all);
    assert_non_null(all);
    for (int64_t i = 0; i < n; i++)
        all[i * n + i] = 1;
    onnx_weights(graph, "all", all, 4, (const int64_t[]){n, c, h, w});
    onnx_weights(graph, "none", all + 1, 1, (const int64_t[]){n > 1 ? n : 0}); /* n zeros */
    node(graph, "Conv", (const char *const[]){y, "all", n > 1 ? "none" : NULL, NULL}, "logits", NULL);
    onnx_value(graph, 12, "logits", 4, (const int64_t[]){1, n, 1, 1});
    free(all);
    return onnx_model(graph, opset);
}

#define IN(...)    ((const char *const[]){__VA_ARGS__, NULL})
#define LISTS(...) ((const List[]){__VA_ARGS__, {0}})

static inline void pool(Proto *graph, const char *op, int64_t kernel, int64_t stride, const int64_t pads[4],
                        int64_t ceil_mode, int64_t counts)
{
    const List lists[] = {{"kernel_shape", 2, {kernel, kernel}},
                          {"strides", 2, {stride, stride}},
                          {"pads", 4, {pads[0], pads[1], pads[2], pads[3]}},
                          {"ceil_mode", 0, {ceil_mode}},
                          {strcmp(op, "MaxPool") != 0 ? "count_include_pad" : NULL, 0, {counts}},
                          {0}};
    node(graph, op, IN("x"), "y", lists);
}

static inline void slice(Proto *graph, const char *in, const char *out, int n, const int64_t *from, const int64_t *to,
                         const int64_t *axes, const int64_t *steps)
{
    char names[4][24];
    static const char *const leaves[4] = {"from", "to", "axes", "steps"};
    const int64_t *const lists[4] = {from, to, axes, steps};
    for (int i = 0; i < 4; i++) {
        snprintf(names[i], sizeof names[i], "%.8s.%s", out, leaves[i]);
        onnx_int64s(graph, names[i], n, lists[i]);
    }
    node(graph, "Slice", IN(in, names[0], names[1], names[2], names[3]), out, NULL);
}

static inline void transpose(Proto *graph, const char *in, const char *out, bool to_nhwc)
{
    node(graph, "Transpose", IN(in), out,
         to_nhwc ? LISTS({"perm", 4, {0, 2, 3, 1}}) : LISTS({"perm", 4, {0, 3, 1, 2}}));
}

/* ---- What they give ---- */

/* All nodes of a file by the evaluator, on a picture [SIZE][SIZE][3]. */
static inline void evaluate(const Proto *file, const float *picture, float *out, size_t n_out)
{
    EffOnnxModel m;
    EffOnnxFiles files = {0};
    EffOnnxBudget budget = {.elements = 1 << 28, .work = (int64_t)1 << 32};
    ok(eff_onnx_model_read(&m, file->data, file->n, &files));
    EffOnnxValue *input = &m.values[m.input];
    input->t = (EffOnnxTensor){.type = EFF_ONNX_FLOAT};
    ok(eff_onnx_set_dims(&input->t, 4, (const int64_t[]){1, 3, SIZE, SIZE}));
    ok(eff_onnx_alloc(&input->t));
    for (size_t i = 0; i < input->t.n; i++)
        eff_onnx_put(&input->t, i, (double)picture[i % (SIZE * SIZE) * 3 + i / (SIZE * SIZE)]);
    for (int i = 0; i < m.n_nodes; i++) {
        for (int k = 0; k < m.nodes[i].n_outputs; k++) {
            EffOnnxTensor t = {0};
            EffOnnxCall call = {.model = &m, .node = &m.nodes[i], .opset = m.opset, .budget = &budget, .out = &t};
            call.which = k;
            call.n_in = m.nodes[i].n_inputs;
            for (int in = 0; in < call.n_in; in++)
                call.in[in] = &m.values[eff_onnx_in(&m, &m.nodes[i], in)].t;
            ok(eff_onnx_eval(&call));
            m.values[eff_onnx_out(&m, &m.nodes[i], k)].t = t;
        }
    }
    assert_int_equal(m.values[m.output].t.n, n_out);
    for (size_t i = 0; i < n_out; i++)
        out[i] = (float)eff_onnx_get(&m.values[m.output].t, i);
    eff_onnx_model_free(&m);
}

/* The plan of a graph through a .bin, at every level: the bits of the reference. */
static inline void same_compiled(const EffGraph *g, const uint8_t *pixels, const float *wanted)
{
    for (size_t i = 0; eff_cpu_level_at(i) != NULL; i++) {
        EffPlan plan = {0};
        EffBytes bin = {0};
        EffModel *m = NULL;
        EffSession *s = NULL;
        unsigned flags;
        float got[MAX_OUT];
        if (eff_cpu_level_find(&flags, eff_cpu_level_at(i)) != EFF_OK)
            continue;
        ok(eff_lower_f32(&plan, g, true));
        ok(eff_bin_write(&bin, &plan));
        eff_plan_free(&plan);
        ok(eff_model_read(&m, bin.data, bin.size, "test.bin", eff_cpu_level_at(i)));
        ok(eff_session_create(&s, m, 1 + (int)i % 3));
        eff_session_run(s, pixels, got);
        assert_memory_equal(got, wanted, (size_t)g->n_classes * sizeof *got);
        eff_session_destroy(s);
        eff_model_close(m);
        eff_free(bin.data);
    }
}

/* What is exported, in any set, comes back as the same plan. */
static inline void same_exported(const EffGraph *g)
{
    for (int opset = 9; opset <= 21; opset += 3) {
        EffBytes file;
        EffGraph *back = NULL;
        ok(eff_onnx_encode(&file, g, &(EffOnnxExport){.opset = opset}));
        ok(eff_onnx_read(&back, file.data, file.size, "back.onnx", NULL));
        assert_same_plan(g, back);
        eff_graph_free(back);
        eff_free(file.data);
    }
}

static inline int count_op(const EffGraph *g, EffOp op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

/* Frees the graph. `pools`: nodes of that kind; what holds none is exact but for means. */
static inline void same_numbers(Proto *graph, const char *y, int opset, int c, int h, int w, int pools, bool exact)
{
    EffGraph *g = NULL;
    uint8_t pixels[SIZE * SIZE * 3];
    float picture[SIZE * SIZE * 3], wanted[MAX_OUT], got[MAX_OUT];
    const size_t n = (size_t)(c * h * w);
    Proto file = end(graph, y, opset, c, h, w);
    assert_true(n <= MAX_OUT);
    ok(eff_onnx_read(&g, file.data, file.n, "test.onnx", NULL));
    eff_synthetic_picture(pixels, SIZE, 5);
    eff_graph_normalize(g, picture, pixels);
    evaluate(&file, picture, wanted, n);
    run(g, picture, got);
    for (size_t i = 0; i < n; i++) {
        const double error = fabs((double)got[i] - (double)wanted[i]);
        if (error > (exact ? 1e-6 : 2e-6) * fmax(1, fabs((double)wanted[i])))
            fail_msg("%zu of %dx%dx%d is %g, not %g", i, c, h, w, (double)got[i], (double)wanted[i]);
    }
    assert_int_equal(count_op(g, EFF_OP_POOL), pools);
    if (h == w) {
        same_compiled(g, pixels, got);
        same_exported(g);
    }
    eff_graph_free(g);
    free(file.data);
}

static inline void refused_as(Proto *graph, EffStatus wanted, const char *part)
{
    EffGraph *g = NULL;
    Proto file = end(graph, "y", 13, 1, 1, 1);
    const EffStatus st = eff_onnx_read(&g, file.data, file.n, "test.onnx", NULL);
    if (st != wanted || strstr(eff_last_message(), part) == NULL)
        fail_msg("'%s' is not in: %s: %s", part, eff_status_name(st), eff_last_message());
    free(file.data);
}

static inline void refused(Proto *graph, const char *part)
{
    refused_as(graph, EFF_ERR_UNSUPPORTED, part);
}

/* Bounds on sizes: of a larger picture. */
static inline Proto begin_large(int64_t size, int64_t channels)
{
    Proto graph = {0};
    float *w = calloc((size_t)channels * 3, sizeof *w);
    assert_non_null(w);
    onnx_value(&graph, 11, "picture", 4, (const int64_t[]){1, 3, size, size});
    onnx_weights(&graph, "w", w, 4, (const int64_t[]){channels, 3, 1, 1});
    free(w);
    onnx_plain(&graph, "Conv", "expand", "picture", "w", "x");
    return graph;
}

#endif
