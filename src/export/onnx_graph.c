/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network as an ONNX model, as the importer reads it back: one node of the graph is one of ONNX under its own name,
 * but SiLU is Sigmoid and Mul, and the classifier a Gemm behind a Flatten. Maps are [1][c][h][w].
 */
#include "base/mem.h"
#include "base/status.h"
#include "export/onnx_export.h"
#include "export/onnx_file.h"
#include "graph/ir.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names of values and constants are those of nodes, or of their modules, with an ending. */
enum { ENDING_BYTES = 40 };

typedef struct Exporter {
    EffOnnxFile f;
    const EffGraph *g;
    bool numbered; /* some nodes share a name: the endings have numbers */
    bool has_clip; /* the bounds of ReLU6 are constants of the graph */
} Exporter;

/* ---- Names ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static EffStatus find_duplicates(Exporter *e)
{
    const char **names = eff_malloc((size_t)e->g->n_nodes * sizeof *names + 1);
    if (names == NULL)
        return eff_fail_nomem((size_t)e->g->n_nodes * sizeof *names, "names");
    for (int i = 0; i < e->g->n_nodes; i++)
        names[i] = e->g->nodes[i].name;
    if (e->g->n_nodes > 1)
        qsort(names, (size_t)e->g->n_nodes, sizeof *names, compare_names);
    for (int i = 1; i < e->g->n_nodes; i++)
        e->numbered = e->numbered || strcmp(names[i - 1], names[i]) == 0;
    eff_free(names);
    return EFF_OK;
}

/* "_output", or "_output_12" where names alone don't tell nodes apart; `what` is "_output". */
static const char *ending(char buffer[ENDING_BYTES], const Exporter *e, const EffNode *n, const char *what)
{
    if (e->numbered)
        snprintf(buffer, ENDING_BYTES, "_%d%s", n->out, what);
    else
        snprintf(buffer, ENDING_BYTES, "%s", what);
    return buffer;
}

/* A reference to value v: an input or output of a node. */
static void put_value(Exporter *e, uint32_t field, int v)
{
    char end[ENDING_BYTES];
    const int producer = e->g->values[v].producer;
    if (producer < 0) {
        eff_proto_text(&e->f.p, field, "data");
        return;
    }
    const EffNode *n = &e->g->nodes[producer];
    eff_proto_text2(&e->f.p, field, n->name, ending(end, e, n, "_output"));
}

/* A reference to a constant of node n: ".weight". */
static void put_constant(Exporter *e, uint32_t field, const EffNode *n, const char *leaf)
{
    char end[ENDING_BYTES];
    eff_proto_text2(&e->f.p, field, n->module != NULL ? n->module : n->name, ending(end, e, n, leaf));
}

/* ---- Attributes, constants, nodes ---- */

static void vector(Exporter *e, const EffNode *n, const char *leaf, const EffParam *param)
{
    eff_onnx_begin_constant(&e->f, EFF_ONNX_FLOAT, 1, (const int64_t[]){(int64_t)param->n});
    put_constant(e, EFF_ONNX_TENSOR_NAME, n, leaf);
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)param->n * sizeof *param->data);
    if (at != NULL)
        memcpy(at, param->data, param->n * sizeof *param->data);
    eff_proto_end(&e->f.p);
}

/* [O][KH][KW][I] as [O][I][KH][KW], or [O][I] for a Gemm. */
static void kernel(Exporter *e, const EffNode *n, bool gemm)
{
    const EffConv *c = &n->conv;
    const size_t taps = (size_t)c->kernel_h * (size_t)c->kernel_w, in = (size_t)(c->in_ch / c->groups);
    eff_onnx_begin_constant(&e->f, EFF_ONNX_FLOAT, gemm ? 2 : 4,
                            (const int64_t[]){c->out_ch, (int64_t)in, c->kernel_h, c->kernel_w});
    put_constant(e, EFF_ONNX_TENSOR_NAME, n, ".weight");
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)c->wgt.n * sizeof *c->wgt.data);
    for (size_t o = 0; at != NULL && o < (size_t)c->out_ch; o++) {
        for (size_t i = 0; i < in; i++) {
            for (size_t k = 0; k < taps; k++, at += sizeof *c->wgt.data)
                memcpy(at, &c->wgt.data[(o * taps + k) * in + i], sizeof *c->wgt.data);
        }
    }
    eff_proto_end(&e->f.p);
}

/* ---- The nodes of the graph ---- */

/* Name of a node that helps n: the last part of the name, where it is `part`, becomes `helper`. */
static const char *helper_name(char *buffer, size_t n_bytes, const EffNode *n, const char *part, const char *helper)
{
    size_t length = strlen(n->name);
    const size_t last = strlen(part);
    if (length > last && strcmp(n->name + length - last, part) == 0)
        length -= last;
    snprintf(buffer, n_bytes, "%.*s%s", length < n_bytes ? (int)length : (int)n_bytes, n->name, helper);
    return buffer;
}

static void put_helper(Exporter *e, uint32_t field, const EffNode *n, const char *what)
{
    char end[ENDING_BYTES];
    eff_proto_text2(&e->f.p, field, n->name, ending(end, e, n, what));
}

/* The last node, if it is a fully connected layer that nothing else reads. */
static const EffNode *classifier(const EffGraph *g)
{
    const EffValue *out = &g->values[g->output];
    if (out->producer < 0 || out->n_consumers > 0)
        return NULL;
    const EffNode *n = &g->nodes[out->producer];
    const EffShape in = g->values[n->in[0]].shape;
    return n->op == EFF_OP_CONV && eff_conv_is_pointwise(&n->conv) && in.h == 1 && in.w == 1 ? n : NULL;
}

static void flatten(Exporter *e, const EffNode *n, bool before)
{
    char name[600];
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, before ? n->in[0] : n->out);
    if (before)
        put_helper(e, EFF_ONNX_OUTPUT, n, "_flat");
    else
        eff_proto_text(&e->f.p, EFF_ONNX_OUTPUT, "output");
    eff_onnx_end_node(&e->f, helper_name(name, sizeof name, n, "/Gemm", "/Flatten"), "Flatten");
    eff_proto_end(&e->f.p);
}

static void conv_node(Exporter *e, const EffNode *n)
{
    const EffConv *c = &n->conv;
    const bool gemm = n == classifier(e->g);
    if (gemm)
        flatten(e, n, true);
    eff_onnx_begin_node(&e->f);
    if (gemm)
        put_helper(e, EFF_ONNX_INPUT, n, "_flat");
    else
        put_value(e, EFF_ONNX_INPUT, n->in[0]);
    put_constant(e, EFF_ONNX_INPUT, n, ".weight");
    if (c->has_bias || (gemm && e->f.opset < 11)) /* Gemm could not do without before set 11 */
        put_constant(e, EFF_ONNX_INPUT, n, ".bias");
    if (gemm)
        eff_proto_text(&e->f.p, EFF_ONNX_OUTPUT, "output");
    else
        put_value(e, EFF_ONNX_OUTPUT, n->out);
    eff_onnx_end_node(&e->f, n->name, gemm ? "Gemm" : "Conv");
    if (gemm) {
        eff_onnx_attr_int(&e->f, "transB", 1);
    } else {
        eff_onnx_attr_ints(&e->f, "kernel_shape", 2, (const int64_t[]){c->kernel_h, c->kernel_w});
        eff_onnx_attr_ints(&e->f, "strides", 2, (const int64_t[]){c->stride, c->stride});
        eff_onnx_attr_ints(&e->f, "pads", 4, (const int64_t[]){c->pad_top, c->pad_left, c->pad_bottom, c->pad_right});
        eff_onnx_attr_ints(&e->f, "dilations", 2, (const int64_t[]){1, 1});
        eff_onnx_attr_int(&e->f, "group", c->groups);
    }
    eff_proto_end(&e->f.p);
}

static void conv_constants(Exporter *e, const EffNode *n)
{
    static const float nothing;
    const EffConv *c = &n->conv;
    const bool gemm = n == classifier(e->g);
    kernel(e, n, gemm);
    e->f.size.params += c->wgt.n - c->n_fixed;
    if (c->has_bias) {
        vector(e, n, ".bias", &c->bias);
        e->f.size.params += c->bias.n;
    } else if (gemm && e->f.opset < 11) {
        vector(e, n, ".bias", &(EffParam){.data = (float *)(uintptr_t)&nothing, .n = 1}); /* broadcast */
    }
}

static const char *const bn_leaves[] = {".weight", ".bias", ".running_mean", ".running_var"};

static void batchnorm_node(Exporter *e, const EffNode *n)
{
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, n->in[0]);
    for (size_t i = 0; i < EFF_COUNT(bn_leaves); i++)
        put_constant(e, EFF_ONNX_INPUT, n, bn_leaves[i]);
    put_value(e, EFF_ONNX_OUTPUT, n->out);
    eff_onnx_end_node(&e->f, n->name, "BatchNormalization");
    eff_onnx_attr_float(&e->f, "epsilon", n->bn.eps);
    eff_proto_end(&e->f.p);
}

static void batchnorm_constants(Exporter *e, const EffNode *n)
{
    const EffParam *const params[] = {&n->bn.gamma, &n->bn.beta, &n->bn.mean, &n->bn.var};
    for (size_t i = 0; i < EFF_COUNT(params); i++)
        vector(e, n, bn_leaves[i], params[i]);
    e->f.size.params += n->bn.gamma.n + n->bn.beta.n;
}

static void plain(Exporter *e, const EffNode *n, const char *op)
{
    eff_onnx_begin_node(&e->f);
    for (int i = 0; i < n->n_inputs; i++)
        put_value(e, EFF_ONNX_INPUT, n->in[i]);
    put_value(e, EFF_ONNX_OUTPUT, n->out);
    eff_onnx_end_node(&e->f, n->name, op);
    eff_proto_end(&e->f.p);
}

/* x times a function of x, in two nodes: the second has the name. */
static void times_itself(Exporter *e, const EffNode *n, const char *op, const char *helper)
{
    char name[600];
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, n->in[0]);
    put_helper(e, EFF_ONNX_OUTPUT, n, "_gate");
    eff_onnx_end_node(&e->f, helper_name(name, sizeof name, n, "/Mul", helper), op);
    if (strcmp(op, "HardSigmoid") == 0) {
        eff_onnx_attr_float(&e->f, "alpha", 1.0f / 6);
        eff_onnx_attr_float(&e->f, "beta", 0.5f);
    }
    eff_proto_end(&e->f.p);
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, n->in[0]);
    put_helper(e, EFF_ONNX_INPUT, n, "_gate");
    put_value(e, EFF_ONNX_OUTPUT, n->out);
    eff_onnx_end_node(&e->f, n->name, "Mul");
    eff_proto_end(&e->f.p);
}

static void clip(Exporter *e, const EffNode *n)
{
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, n->in[0]);
    if (e->f.opset >= 11) {
        eff_proto_text(&e->f.p, EFF_ONNX_INPUT, "clip.min");
        eff_proto_text(&e->f.p, EFF_ONNX_INPUT, "clip.max");
    }
    put_value(e, EFF_ONNX_OUTPUT, n->out);
    eff_onnx_end_node(&e->f, n->name, "Clip");
    if (e->f.opset < 11) {
        eff_onnx_attr_float(&e->f, "min", 0);
        eff_onnx_attr_float(&e->f, "max", 6);
    }
    eff_proto_end(&e->f.p);
}

static void act_node(Exporter *e, const EffNode *n)
{
    switch (n->act) {
    case EFF_ACTIVATION_NONE: plain(e, n, "Identity"); break;
    case EFF_ACTIVATION_RELU: plain(e, n, "Relu"); break;
    case EFF_ACTIVATION_RELU6: clip(e, n); break;
    case EFF_ACTIVATION_SIGMOID: plain(e, n, "Sigmoid"); break;
    case EFF_ACTIVATION_SILU: times_itself(e, n, "Sigmoid", "/Sigmoid"); break;
    case EFF_ACTIVATION_HSWISH:
        if (e->f.opset >= 14)
            plain(e, n, "HardSwish");
        else
            times_itself(e, n, "HardSigmoid", "/HardSigmoid");
        break;
    default: assert(false);
    }
}

static void pad_amounts(int64_t out[8], const EffConv *c)
{
    const int64_t pads[8] = {0, 0, c->pad_top, c->pad_left, 0, 0, c->pad_bottom, c->pad_right};
    memcpy(out, pads, sizeof pads);
}

static void pad_node(Exporter *e, const EffNode *n)
{
    int64_t pads[8];
    pad_amounts(pads, &n->conv);
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, n->in[0]);
    if (e->f.opset >= 11)
        put_constant(e, EFF_ONNX_INPUT, n, ".pads");
    put_value(e, EFF_ONNX_OUTPUT, n->out);
    eff_onnx_end_node(&e->f, n->name, "Pad");
    if (e->f.opset < 11)
        eff_onnx_attr_ints(&e->f, "pads", 8, pads);
    eff_proto_end(&e->f.p);
}

static void pad_constants(Exporter *e, const EffNode *n)
{
    int64_t pads[8];
    pad_amounts(pads, &n->conv);
    if (e->f.opset < 11)
        return;
    eff_onnx_begin_constant(&e->f, EFF_ONNX_INT64, 1, (const int64_t[]){8});
    put_constant(e, EFF_ONNX_TENSOR_NAME, n, ".pads");
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, sizeof pads);
    if (at != NULL)
        memcpy(at, pads, sizeof pads);
    eff_proto_end(&e->f.p);
}

/* Set 7's form of AveragePool and set 1's of MaxPool: later sets only add attributes. */
static void pool_node(Exporter *e, const EffNode *n)
{
    const EffConv *c = &n->conv;
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, n->in[0]);
    put_value(e, EFF_ONNX_OUTPUT, n->out);
    eff_onnx_end_node(&e->f, n->name, n->pooling == EFF_POOLING_MAX ? "MaxPool" : "AveragePool");
    eff_onnx_attr_ints(&e->f, "kernel_shape", 2, (const int64_t[]){c->kernel_h, c->kernel_w});
    eff_onnx_attr_ints(&e->f, "strides", 2, (const int64_t[]){c->stride, c->stride});
    eff_onnx_attr_ints(&e->f, "pads", 4, (const int64_t[]){c->pad_top, c->pad_left, c->pad_bottom, c->pad_right});
    eff_proto_end(&e->f.p);
}

static void put_node(Exporter *e, const EffNode *n)
{
    switch (n->op) {
    case EFF_OP_CONV: conv_node(e, n); break;
    case EFF_OP_BATCHNORM: batchnorm_node(e, n); break;
    case EFF_OP_ACT: act_node(e, n); break;
    case EFF_OP_GLOBAL_AVGPOOL: plain(e, n, "GlobalAveragePool"); break;
    case EFF_OP_ADD: plain(e, n, "Add"); break;
    case EFF_OP_MUL: plain(e, n, "Mul"); break;
    case EFF_OP_PAD: pad_node(e, n); break;
    case EFF_OP_POOL: pool_node(e, n); break;
    case EFF_OP_ROUND: break; /* refused before */
    }
}

static void put_constants(Exporter *e, const EffNode *n)
{
    switch (n->op) {
    case EFF_OP_CONV: conv_constants(e, n); break;
    case EFF_OP_BATCHNORM: batchnorm_constants(e, n); break;
    case EFF_OP_PAD: pad_constants(e, n); break;
    default: break;
    }
}

/* ---- The file ---- */

static void put_nodes(void *ctx)
{
    Exporter *e = ctx;
    const EffGraph *g = e->g;
    for (int i = 0; i < g->n_nodes; i++)
        put_node(e, &g->nodes[i]);
    if (classifier(g) == NULL)
        flatten(e, &g->nodes[g->values[g->output].producer], false);
}

static void put_all_constants(void *ctx)
{
    Exporter *e = ctx;
    for (int i = 0; i < e->g->n_nodes; i++)
        put_constants(e, &e->g->nodes[i]);
    if (e->has_clip && e->f.opset >= 11) {
        eff_onnx_number(&e->f, "clip.min", 0);
        eff_onnx_number(&e->f, "clip.max", 6);
    }
}

static EffStatus check(const EffGraph *g)
{
    if (g->values[g->output].producer < 0)
        return eff_fail(EFF_ERR_ARG, "%s: a network without nodes; there is nothing to export", g->name);
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *n = &g->nodes[i];
        const bool bare = (n->op == EFF_OP_CONV && (n->conv.wgt.data == NULL || n->conv.wgt.n == 0)) ||
                          (n->op == EFF_OP_BATCHNORM && n->bn.gamma.data == NULL);
        if (bare)
            return eff_fail(EFF_ERR_ARG, "%s: the network has no weights yet; load some first", n->name);
        if (n->op == EFF_OP_ROUND)
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "%s: the model is quantized already, and ONNX; export the float one that it was made from",
                            n->name);
    }
    return EFF_OK;
}

/* Everything but the file's contents. */
static EffStatus prepare(Exporter *e, EffOnnxContent *content, const EffGraph *g, const EffOnnxExport *options)
{
    static const EffOnnxExport defaults;
    const EffOnnxExport *o = options != NULL ? options : &defaults;
    *e = (Exporter){.g = g};
    *content = (EffOnnxContent){.name = g->name,
                                .pre = &g->pre,
                                .labels = o->labels != NULL ? o->labels : eff_graph_labels(g),
                                .n_classes = g->n_classes,
                                .input = g->values[g->input].shape,
                                .put_nodes = put_nodes,
                                .put_constants = put_all_constants,
                                .ctx = e};
    EffStatus st = eff_onnx_file_init(&e->f, o->opset);
    if (st == EFF_OK)
        st = check(g);
    if (st == EFF_OK)
        st = find_duplicates(e);
    for (int i = 0; i < g->n_nodes; i++)
        e->has_clip = e->has_clip || (g->nodes[i].op == EFF_OP_ACT && g->nodes[i].act == EFF_ACTIVATION_RELU6);
    return st;
}

EffStatus eff_onnx_size(EffOnnxSize *out, const EffGraph *g, const EffOnnxExport *options)
{
    Exporter e;
    EffOnnxContent content;
    const EffStatus st = prepare(&e, &content, g, options);
    return st == EFF_OK ? eff_onnx_file_measure(out, &e.f, &content) : st;
}

EffStatus eff_onnx_encode(EffBytes *out, const EffGraph *g, const EffOnnxExport *options)
{
    Exporter e;
    EffOnnxContent content;
    const EffStatus st = prepare(&e, &content, g, options);
    return st == EFF_OK ? eff_onnx_file_encode(out, &e.f, &content) : st;
}

EffStatus eff_onnx_write(const EffGraph *g, const char *path, const EffOnnxExport *options)
{
    EffBytes bytes;
    EffStatus st = eff_onnx_encode(&bytes, g, options);
    if (st != EFF_OK)
        return st;
    st = eff_file_write_atomic(path, bytes.data, bytes.size);
    eff_free(bytes.data);
    return st;
}
