/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network as an ONNX model, as the importer reads it back: one node of the graph is one of ONNX under its own name,
 * but SiLU is Sigmoid and Mul, and the classifier a Gemm behind a Flatten. Maps are [1][c][h][w].
 */
#include "base/mem.h"
#include "base/status.h"
#include "export/onnx_export.h"
#include "export/onnx_write.h"
#include "graph/ir.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Field numbers of onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto */
enum { MODEL_IR_VERSION = 1, MODEL_PRODUCER = 2, MODEL_PRODUCER_VERSION = 3, MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { MODEL_METADATA = 14, OPSET_VERSION = 2, ENTRY_KEY = 1, ENTRY_VALUE = 2 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_F = 2, ATTRIBUTE_I = 3, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20 };
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_INTS = 7 };
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9, FLOAT = 1, INT64 = 7 };

/* Names of values and constants are those of nodes, or of their modules, with an ending. */
enum { ENDING_BYTES = 40 };

typedef struct Exporter {
    EffProto p;
    const EffGraph *g;
    const EffOnnxExport *options;
    int opset;
    bool numbered; /* some nodes share a name: the endings have numbers */
    bool has_clip; /* the bounds of ReLU6 are constants of the graph */
    EffOnnxSize size;
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
        eff_proto_text(&e->p, field, "data");
        return;
    }
    const EffNode *n = &e->g->nodes[producer];
    eff_proto_text2(&e->p, field, n->name, ending(end, e, n, "_output"));
}

/* A reference to a constant of node n: ".weight". */
static void put_constant(Exporter *e, uint32_t field, const EffNode *n, const char *leaf)
{
    char end[ENDING_BYTES];
    eff_proto_text2(&e->p, field, n->module != NULL ? n->module : n->name, ending(end, e, n, leaf));
}

/* ---- Attributes, constants, nodes ---- */

static void put_int(Exporter *e, const char *name, int64_t v)
{
    eff_proto_begin(&e->p, NODE_ATTRIBUTE);
    eff_proto_text(&e->p, ATTRIBUTE_NAME, name);
    eff_proto_int(&e->p, ATTRIBUTE_I, v);
    eff_proto_int(&e->p, ATTRIBUTE_TYPE, TYPE_INT);
    eff_proto_end(&e->p);
}

static void put_float(Exporter *e, const char *name, float v)
{
    eff_proto_begin(&e->p, NODE_ATTRIBUTE);
    eff_proto_text(&e->p, ATTRIBUTE_NAME, name);
    eff_proto_float(&e->p, ATTRIBUTE_F, v);
    eff_proto_int(&e->p, ATTRIBUTE_TYPE, TYPE_FLOAT);
    eff_proto_end(&e->p);
}

static void put_ints(Exporter *e, const char *name, int n, const int64_t *v)
{
    eff_proto_begin(&e->p, NODE_ATTRIBUTE);
    eff_proto_text(&e->p, ATTRIBUTE_NAME, name);
    for (int i = 0; i < n; i++)
        eff_proto_int(&e->p, ATTRIBUTE_INTS, v[i]);
    eff_proto_int(&e->p, ATTRIBUTE_TYPE, TYPE_INTS);
    eff_proto_end(&e->p);
}

/* What stands before the name and the bytes of a constant. */
static void begin_constant(Exporter *e, int type, int rank, const int64_t *dims)
{
    uint64_t n = 1;
    eff_proto_begin(&e->p, GRAPH_INITIALIZER);
    for (int i = 0; i < rank; i++) {
        eff_proto_int(&e->p, TENSOR_DIMS, dims[i]);
        n *= (uint64_t)dims[i];
    }
    eff_proto_int(&e->p, TENSOR_TYPE, type);
    e->size.initializers += n;
}

static void number(Exporter *e, const char *name, float v)
{
    begin_constant(e, FLOAT, 0, NULL);
    eff_proto_text(&e->p, TENSOR_NAME, name);
    uint8_t *at = eff_proto_bytes(&e->p, TENSOR_RAW, sizeof v);
    if (at != NULL)
        memcpy(at, &v, sizeof v);
    eff_proto_end(&e->p);
}

static void vector(Exporter *e, const EffNode *n, const char *leaf, const EffParam *param)
{
    begin_constant(e, FLOAT, 1, (const int64_t[]){(int64_t)param->n});
    put_constant(e, TENSOR_NAME, n, leaf);
    uint8_t *at = eff_proto_bytes(&e->p, TENSOR_RAW, (uint64_t)param->n * sizeof *param->data);
    if (at != NULL)
        memcpy(at, param->data, param->n * sizeof *param->data);
    eff_proto_end(&e->p);
}

/* [O][KH][KW][I] as [O][I][KH][KW], or [O][I] for a Gemm. */
static void kernel(Exporter *e, const EffNode *n, bool gemm)
{
    const EffConv *c = &n->conv;
    const size_t taps = (size_t)c->kernel_h * (size_t)c->kernel_w, in = (size_t)(c->in_ch / c->groups);
    begin_constant(e, FLOAT, gemm ? 2 : 4, (const int64_t[]){c->out_ch, (int64_t)in, c->kernel_h, c->kernel_w});
    put_constant(e, TENSOR_NAME, n, ".weight");
    uint8_t *at = eff_proto_bytes(&e->p, TENSOR_RAW, (uint64_t)c->wgt.n * sizeof *c->wgt.data);
    for (size_t o = 0; at != NULL && o < (size_t)c->out_ch; o++) {
        for (size_t i = 0; i < in; i++) {
            for (size_t k = 0; k < taps; k++, at += sizeof *c->wgt.data)
                memcpy(at, &c->wgt.data[(o * taps + k) * in + i], sizeof *c->wgt.data);
        }
    }
    eff_proto_end(&e->p);
}

/* A node goes: begin_node(), its inputs, its output, end_node(), its attributes, eff_proto_end(). */
static void begin_node(Exporter *e)
{
    eff_proto_begin(&e->p, GRAPH_NODE);
    e->size.n_nodes++;
}

static void end_node(Exporter *e, const char *name, const char *op)
{
    eff_proto_text(&e->p, NODE_NAME, name);
    eff_proto_text(&e->p, NODE_OP, op);
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
    eff_proto_text2(&e->p, field, n->name, ending(end, e, n, what));
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
    begin_node(e);
    put_value(e, NODE_INPUT, before ? n->in[0] : n->out);
    if (before)
        put_helper(e, NODE_OUTPUT, n, "_flat");
    else
        eff_proto_text(&e->p, NODE_OUTPUT, "output");
    end_node(e, helper_name(name, sizeof name, n, "/Gemm", "/Flatten"), "Flatten");
    eff_proto_end(&e->p);
}

static void conv_node(Exporter *e, const EffNode *n)
{
    const EffConv *c = &n->conv;
    const bool gemm = n == classifier(e->g);
    if (gemm)
        flatten(e, n, true);
    begin_node(e);
    if (gemm)
        put_helper(e, NODE_INPUT, n, "_flat");
    else
        put_value(e, NODE_INPUT, n->in[0]);
    put_constant(e, NODE_INPUT, n, ".weight");
    if (c->has_bias || (gemm && e->opset < 11)) /* Gemm could not do without before set 11 */
        put_constant(e, NODE_INPUT, n, ".bias");
    if (gemm)
        eff_proto_text(&e->p, NODE_OUTPUT, "output");
    else
        put_value(e, NODE_OUTPUT, n->out);
    end_node(e, n->name, gemm ? "Gemm" : "Conv");
    if (gemm) {
        put_int(e, "transB", 1);
    } else {
        put_ints(e, "kernel_shape", 2, (const int64_t[]){c->kernel_h, c->kernel_w});
        put_ints(e, "strides", 2, (const int64_t[]){c->stride, c->stride});
        put_ints(e, "pads", 4, (const int64_t[]){c->pad_top, c->pad_left, c->pad_bottom, c->pad_right});
        put_ints(e, "dilations", 2, (const int64_t[]){1, 1});
        put_int(e, "group", c->groups);
    }
    eff_proto_end(&e->p);
}

static void conv_constants(Exporter *e, const EffNode *n)
{
    static const float nothing;
    const EffConv *c = &n->conv;
    const bool gemm = n == classifier(e->g);
    kernel(e, n, gemm);
    e->size.params += c->wgt.n;
    if (c->has_bias) {
        vector(e, n, ".bias", &c->bias);
        e->size.params += c->bias.n;
    } else if (gemm && e->opset < 11) {
        vector(e, n, ".bias", &(EffParam){.data = (float *)(uintptr_t)&nothing, .n = 1}); /* broadcast */
    }
}

static const char *const bn_leaves[] = {".weight", ".bias", ".running_mean", ".running_var"};

static void batchnorm_node(Exporter *e, const EffNode *n)
{
    begin_node(e);
    put_value(e, NODE_INPUT, n->in[0]);
    for (size_t i = 0; i < EFF_COUNT(bn_leaves); i++)
        put_constant(e, NODE_INPUT, n, bn_leaves[i]);
    put_value(e, NODE_OUTPUT, n->out);
    end_node(e, n->name, "BatchNormalization");
    put_float(e, "epsilon", n->bn.eps);
    eff_proto_end(&e->p);
}

static void batchnorm_constants(Exporter *e, const EffNode *n)
{
    const EffParam *const params[] = {&n->bn.gamma, &n->bn.beta, &n->bn.mean, &n->bn.var};
    for (size_t i = 0; i < EFF_COUNT(params); i++)
        vector(e, n, bn_leaves[i], params[i]);
    e->size.params += n->bn.gamma.n + n->bn.beta.n;
}

static void plain(Exporter *e, const EffNode *n, const char *op)
{
    begin_node(e);
    for (int i = 0; i < n->n_inputs; i++)
        put_value(e, NODE_INPUT, n->in[i]);
    put_value(e, NODE_OUTPUT, n->out);
    end_node(e, n->name, op);
    eff_proto_end(&e->p);
}

/* x times a function of x, in two nodes: the second has the name. */
static void times_itself(Exporter *e, const EffNode *n, const char *op, const char *helper)
{
    char name[600];
    begin_node(e);
    put_value(e, NODE_INPUT, n->in[0]);
    put_helper(e, NODE_OUTPUT, n, "_gate");
    end_node(e, helper_name(name, sizeof name, n, "/Mul", helper), op);
    if (strcmp(op, "HardSigmoid") == 0) {
        put_float(e, "alpha", 1.0f / 6);
        put_float(e, "beta", 0.5f);
    }
    eff_proto_end(&e->p);
    begin_node(e);
    put_value(e, NODE_INPUT, n->in[0]);
    put_helper(e, NODE_INPUT, n, "_gate");
    put_value(e, NODE_OUTPUT, n->out);
    end_node(e, n->name, "Mul");
    eff_proto_end(&e->p);
}

static void clip(Exporter *e, const EffNode *n)
{
    begin_node(e);
    put_value(e, NODE_INPUT, n->in[0]);
    if (e->opset >= 11) {
        eff_proto_text(&e->p, NODE_INPUT, "clip.min");
        eff_proto_text(&e->p, NODE_INPUT, "clip.max");
    }
    put_value(e, NODE_OUTPUT, n->out);
    end_node(e, n->name, "Clip");
    if (e->opset < 11) {
        put_float(e, "min", 0);
        put_float(e, "max", 6);
    }
    eff_proto_end(&e->p);
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
        if (e->opset >= 14)
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
    begin_node(e);
    put_value(e, NODE_INPUT, n->in[0]);
    if (e->opset >= 11)
        put_constant(e, NODE_INPUT, n, ".pads");
    put_value(e, NODE_OUTPUT, n->out);
    end_node(e, n->name, "Pad");
    if (e->opset < 11)
        put_ints(e, "pads", 8, pads);
    eff_proto_end(&e->p);
}

static void pad_constants(Exporter *e, const EffNode *n)
{
    int64_t pads[8];
    pad_amounts(pads, &n->conv);
    if (e->opset < 11)
        return;
    begin_constant(e, INT64, 1, (const int64_t[]){8});
    put_constant(e, TENSOR_NAME, n, ".pads");
    uint8_t *at = eff_proto_bytes(&e->p, TENSOR_RAW, sizeof pads);
    if (at != NULL)
        memcpy(at, pads, sizeof pads);
    eff_proto_end(&e->p);
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

/* ValueInfoProto, down to TypeProto.Tensor and TensorShapeProto. */
static void put_info(Exporter *e, uint32_t field, const char *name, int rank, const int64_t *dims)
{
    eff_proto_begin(&e->p, field);
    eff_proto_text(&e->p, 1, name);
    eff_proto_begin(&e->p, 2);
    eff_proto_begin(&e->p, 1);
    eff_proto_int(&e->p, 1, FLOAT);
    eff_proto_begin(&e->p, 2);
    for (int i = 0; i < rank; i++) {
        eff_proto_begin(&e->p, 1);
        eff_proto_int(&e->p, 1, dims[i]);
        eff_proto_end(&e->p);
    }
    for (int i = 0; i < 4; i++)
        eff_proto_end(&e->p);
}

static void put_entry(Exporter *e, const char *key, const char *value)
{
    eff_proto_begin(&e->p, MODEL_METADATA);
    eff_proto_text(&e->p, ENTRY_KEY, key);
    eff_proto_text(&e->p, ENTRY_VALUE, value);
    eff_proto_end(&e->p);
}

/* Three numbers of 0..255 as shares of 1, as people write them; the importer tells by the largest. */
static void put_three(Exporter *e, const char *key, const float v[3], bool shares)
{
    char text[128];
    double out[3];
    for (int c = 0; c < 3; c++)
        out[c] = (double)v[c] / (shares ? 255 : 1);
    snprintf(text, sizeof text, "%.9g,%.9g,%.9g", out[0], out[1], out[2]);
    for (int c = 0; c < 3; c++) { /* enough digits? the importer multiplies in double */
        double back[3];
        if (sscanf(text, "%lf,%lf,%lf", &back[0], &back[1], &back[2]) != 3 ||
            (float)(back[c] * (shares ? 255 : 1)) != v[c])
            snprintf(text, sizeof text, "%.17g,%.17g,%.17g", out[0], out[1], out[2]);
    }
    put_entry(e, key, text);
}

static void put_preprocess(Exporter *e)
{
    const EffPreprocess *pre = &e->g->pre;
    char text[64];
    const float *m = pre->mean, *s = pre->std;
    const bool shares = m[0] <= 255 && m[1] <= 255 && m[2] <= 255 && s[0] <= 255;
    put_three(e, "mean", m, shares);
    put_three(e, "std", s, shares);
    snprintf(text, sizeof text, "%d", pre->size);
    put_entry(e, "size", text);
    snprintf(text, sizeof text, "%.17g", pre->crop);
    char brief[64];
    snprintf(brief, sizeof brief, "%.6g", pre->crop);
    put_entry(e, "crop", strtod(brief, NULL) == pre->crop ? brief : text);
    put_entry(e, "interpolation", eff_interpolation_name(pre->interpolation));
}

/* Lines, as a file of labels has them. */
static void put_labels(Exporter *e)
{
    const char *const *labels = e->options->labels != NULL ? e->options->labels : eff_graph_labels(e->g);
    size_t n = 0;
    if (labels == NULL)
        return;
    for (int i = 0; i < e->g->n_classes; i++)
        n += strlen(labels[i]) + 1;
    eff_proto_begin(&e->p, MODEL_METADATA);
    eff_proto_text(&e->p, ENTRY_KEY, "labels");
    uint8_t *at = eff_proto_bytes(&e->p, ENTRY_VALUE, n);
    for (int i = 0; at != NULL && i < e->g->n_classes; i++) {
        const size_t length = strlen(labels[i]);
        memcpy(at, labels[i], length);
        at[length] = '\n';
        at += length + 1;
    }
    eff_proto_end(&e->p);
}

static void put_graph(Exporter *e)
{
    const EffGraph *g = e->g;
    const EffShape in = g->values[g->input].shape;
    for (int i = 0; i < g->n_nodes; i++)
        put_node(e, &g->nodes[i]);
    if (classifier(g) == NULL)
        flatten(e, &g->nodes[g->values[g->output].producer], false);
    eff_proto_text(&e->p, GRAPH_NAME, g->name);
    for (int i = 0; i < g->n_nodes; i++)
        put_constants(e, &g->nodes[i]);
    if (e->has_clip && e->opset >= 11) {
        number(e, "clip.min", 0);
        number(e, "clip.max", 6);
    }
    put_info(e, GRAPH_INPUT, "data", 4, (const int64_t[]){1, in.c, in.h, in.w});
    put_info(e, GRAPH_OUTPUT, "output", 2, (const int64_t[]){1, g->n_classes});
}

static void put_model(Exporter *e)
{
    e->size = (EffOnnxSize){.opset = e->opset, .ir_version = e->size.ir_version};
    eff_proto_int(&e->p, MODEL_IR_VERSION, e->size.ir_version);
    eff_proto_text(&e->p, MODEL_PRODUCER, "effnet");
    eff_proto_text(&e->p, MODEL_PRODUCER_VERSION, EFF_VERSION);
    eff_proto_begin(&e->p, MODEL_GRAPH);
    put_graph(e);
    eff_proto_end(&e->p);
    eff_proto_begin(&e->p, MODEL_OPSET);
    eff_proto_int(&e->p, OPSET_VERSION, e->opset);
    eff_proto_end(&e->p);
    put_preprocess(e);
    put_labels(e);
    e->size.file_bytes = e->p.n_bytes;
}

/* The version of the format that came with an operator set: https://github.com/onnx/onnx/blob/main/docs/Versioning.md
 */
static int ir_version(int opset)
{
    static const int from_9[] = {4, 5, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10};
    return from_9[opset - EFF_EXPORT_MIN_OPSET];
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
    }
    return EFF_OK;
}

/* Measure. What must be freed is e->p.lengths, on failure too. */
static EffStatus measure(Exporter *e, const EffGraph *g, const EffOnnxExport *options)
{
    static const EffOnnxExport defaults;
    *e = (Exporter){.g = g, .options = options != NULL ? options : &defaults};
    e->opset = e->options->opset != 0 ? e->options->opset : EFF_EXPORT_DEFAULT_OPSET;
    if (e->opset < EFF_EXPORT_MIN_OPSET || e->opset > EFF_EXPORT_MAX_OPSET)
        return eff_fail(EFF_ERR_ARG, "operator set %d; use %d to %d", e->opset, EFF_EXPORT_MIN_OPSET,
                        EFF_EXPORT_MAX_OPSET);
    EffStatus st = check(g);
    if (st == EFF_OK)
        st = find_duplicates(e);
    if (st != EFF_OK)
        return st;
    for (int i = 0; i < g->n_nodes; i++)
        e->has_clip = e->has_clip || (g->nodes[i].op == EFF_OP_ACT && g->nodes[i].act == EFF_ACTIVATION_RELU6);
    e->size.ir_version = ir_version(e->opset);
    put_model(e);
    return e->p.status;
}

EffStatus eff_onnx_size(EffOnnxSize *out, const EffGraph *g, const EffOnnxExport *options)
{
    Exporter e;
    const EffStatus st = measure(&e, g, options);
    eff_free(e.p.lengths);
    if (st == EFF_OK)
        *out = e.size;
    return st;
}

EffStatus eff_onnx_encode(EffBytes *out, const EffGraph *g, const EffOnnxExport *options)
{
    Exporter e;
    uint8_t *data = NULL;
    EffStatus st = measure(&e, g, options);
    if (st == EFF_OK && e.size.file_bytes > INT32_MAX)
        st = eff_fail(EFF_ERR_LIMIT,
                      "%s: %llu bytes as ONNX, which ends at 2 GB (Protocol Buffers); export a smaller network",
                      g->name, (unsigned long long)e.size.file_bytes);
    const size_t n = st == EFF_OK ? (size_t)e.size.file_bytes : 0;
    if (st == EFF_OK && (data = eff_malloc(n)) == NULL)
        st = eff_fail_nomem(n, "the ONNX model");
    if (st == EFF_OK) {
        eff_proto_start_writing(&e.p, data);
        put_model(&e);
        assert(e.size.file_bytes == n);
        *out = (EffBytes){data, n};
    }
    eff_free(e.p.lengths);
    return st;
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
