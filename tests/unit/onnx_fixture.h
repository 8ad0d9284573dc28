/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a graph as an ONNX file, the way torch.onnx does: NCHW, SiLU as Sigmoid and Mul, a Gemm behind a Flatten. */
#ifndef EFFNET_TESTS_ONNX_FIXTURE_H
#define EFFNET_TESTS_ONNX_FIXTURE_H

#include "graph/ir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Proto {
    uint8_t *data;
    size_t n, capacity;
} Proto;

static inline void proto_bytes(Proto *p, const void *bytes, size_t n)
{
    while (p->n + n > p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 256;
        p->data = realloc(p->data, p->capacity);
        if (p->data == NULL)
            abort();
    }
    if (n > 0)
        memcpy(p->data + p->n, bytes, n);
    p->n += n;
}

static inline void proto_varint(Proto *p, uint64_t v)
{
    for (; v > 127; v >>= 7)
        proto_bytes(p, &(uint8_t){(uint8_t)(v | 128)}, 1);
    proto_bytes(p, &(uint8_t){(uint8_t)v}, 1);
}

static inline void proto_int(Proto *p, unsigned field, int64_t v)
{
    proto_varint(p, field << 3);
    proto_varint(p, (uint64_t)v);
}

static inline void proto_field(Proto *p, unsigned field, const void *bytes, size_t n)
{
    proto_varint(p, field << 3 | 2);
    proto_varint(p, n);
    proto_bytes(p, bytes, n);
}

static inline void proto_text(Proto *p, unsigned field, const char *text)
{
    proto_field(p, field, text, strlen(text));
}

/* Appends a message as a field, and frees it. */
static inline void proto_message(Proto *p, unsigned field, Proto *inner)
{
    proto_field(p, field, inner->data, inner->n);
    free(inner->data);
    *inner = (Proto){0};
}

static inline void onnx_weights(Proto *graph, const char *name, const float *data, int rank, const int64_t *dims)
{
    Proto t = {0};
    size_t n = 1;
    for (int i = 0; i < rank; i++) {
        proto_int(&t, 1, dims[i]);
        n *= (size_t)dims[i];
    }
    proto_int(&t, 2, 1);
    proto_text(&t, 8, name);
    proto_field(&t, 9, data, n * sizeof *data);
    proto_message(graph, 5, &t);
}

static inline void onnx_int64s(Proto *graph, const char *name, int n, const int64_t *v)
{
    Proto t = {0};
    proto_int(&t, 1, n);
    proto_int(&t, 2, 7);
    for (int i = 0; i < n; i++)
        proto_int(&t, 7, v[i]);
    proto_text(&t, 8, name);
    proto_message(graph, 5, &t);
}

static inline void onnx_node_begin(Proto *node, const char *op, const char *name, const char *const *in,
                                   const char *out)
{
    for (; *in != NULL; in++)
        proto_text(node, 1, *in);
    proto_text(node, 2, out);
    proto_text(node, 3, name);
    proto_text(node, 4, op);
}

static inline void onnx_ints(Proto *node, const char *name, int n, const int64_t *v)
{
    Proto a = {0};
    proto_text(&a, 1, name);
    for (int i = 0; i < n; i++)
        proto_int(&a, 8, v[i]);
    proto_int(&a, 20, 7);
    proto_message(node, 5, &a);
}

static inline void onnx_int(Proto *node, const char *name, int64_t v)
{
    Proto a = {0};
    proto_text(&a, 1, name);
    proto_int(&a, 3, v);
    proto_int(&a, 20, 2);
    proto_message(node, 5, &a);
}

static inline void onnx_float(Proto *node, const char *name, float v)
{
    Proto a = {0};
    proto_text(&a, 1, name);
    proto_varint(&a, 2 << 3 | 5);
    proto_bytes(&a, &v, 4);
    proto_int(&a, 20, 1);
    proto_message(node, 5, &a);
}

static inline void onnx_value(Proto *graph, unsigned field, const char *name, int rank, const int64_t *dims)
{
    Proto shape = {0}, tensor = {0}, type = {0}, value = {0};
    for (int i = 0; i < rank; i++) {
        Proto dim = {0};
        if (dims[i] > 0)
            proto_int(&dim, 1, dims[i]);
        else
            proto_text(&dim, 2, "N");
        proto_message(&shape, 1, &dim);
    }
    proto_int(&tensor, 1, 1);
    proto_message(&tensor, 2, &shape);
    proto_message(&type, 1, &tensor);
    proto_text(&value, 1, name);
    proto_message(&value, 2, &type);
    proto_message(graph, field, &value);
}

/* A whole file around a graph, which is freed. */
static inline Proto onnx_model(Proto *graph, int opset)
{
    Proto model = {0}, set = {0};
    proto_int(&model, 1, 8);
    proto_text(&model, 2, "test");
    proto_message(&model, 7, graph);
    proto_int(&set, 2, opset);
    proto_message(&model, 8, &set);
    return model;
}

static inline void onnx_conv(Proto *graph, const EffNode *n, const char *name, const char *in, const char *out,
                             bool gemm)
{
    const EffConv *c = &n->conv;
    const size_t taps = (size_t)c->kernel_h * (size_t)c->kernel_w, inner = (size_t)(c->in_ch / c->groups);
    float *w = malloc(c->wgt.n * sizeof *w);
    char weight[160], bias[160];
    Proto node = {0};
    if (w == NULL)
        abort();
    for (size_t o = 0; o < (size_t)c->out_ch; o++) {
        for (size_t i = 0; i < inner; i++) {
            for (size_t k = 0; k < taps; k++)
                w[(o * inner + i) * taps + k] = c->wgt.data[(o * taps + k) * inner + i];
        }
    }
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    onnx_weights(graph, weight, w, gemm ? 2 : 4,
                 (const int64_t[]){c->out_ch, (int64_t)inner, c->kernel_h, c->kernel_w});
    free(w);
    if (c->has_bias)
        onnx_weights(graph, bias, c->bias.data, 1, (const int64_t[]){c->out_ch});
    onnx_node_begin(&node, gemm ? "Gemm" : "Conv", name,
                    (const char *const[]){in, weight, c->has_bias ? bias : NULL, NULL}, out);
    if (gemm) {
        onnx_int(&node, "transB", 1);
    } else {
        onnx_ints(&node, "kernel_shape", 2, (const int64_t[]){c->kernel_h, c->kernel_w});
        onnx_ints(&node, "strides", 2, (const int64_t[]){c->stride, c->stride});
        onnx_ints(&node, "pads", 4, (const int64_t[]){c->pad_top, c->pad_left, c->pad_bottom, c->pad_right});
        onnx_int(&node, "group", c->groups);
    }
    proto_message(graph, 1, &node);
}

static inline void onnx_batchnorm(Proto *graph, const EffNode *n, const char *name, const char *in, const char *out)
{
    static const char *const leaves[] = {"gamma", "beta", "mean", "var"};
    const EffParam *const params[] = {&n->bn.gamma, &n->bn.beta, &n->bn.mean, &n->bn.var};
    char names[4][160];
    Proto node = {0};
    for (int i = 0; i < 4; i++) {
        snprintf(names[i], sizeof names[i], "%s.%s", name, leaves[i]);
        onnx_weights(graph, names[i], params[i]->data, 1, (const int64_t[]){(int64_t)params[i]->n});
    }
    onnx_node_begin(&node, "BatchNormalization", name,
                    (const char *const[]){in, names[0], names[1], names[2], names[3], NULL}, out);
    onnx_float(&node, "epsilon", n->bn.eps);
    proto_message(graph, 1, &node);
}

static inline void onnx_plain(Proto *graph, const char *op, const char *name, const char *a, const char *b,
                              const char *out)
{
    Proto node = {0};
    onnx_node_begin(&node, op, name, (const char *const[]){a, b, NULL}, out);
    proto_message(graph, 1, &node);
}

static inline Proto onnx_of_graph(const EffGraph *g)
{
    Proto graph = {0};
    const EffShape in = g->values[g->input].shape;
    proto_text(&graph, 2, g->name);
    onnx_value(&graph, 11, "v0", 4, (const int64_t[]){0, in.c, in.h, in.w});
    onnx_weights(&graph, "six", &(float){6}, 0, NULL);
    onnx_weights(&graph, "zero", &(float){0}, 0, NULL);
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *n = &g->nodes[i];
        char a[16], b[16], out[16], extra[200];
        snprintf(a, sizeof a, "v%d", n->in[0]);
        snprintf(b, sizeof b, "v%d", n->in[1]);
        snprintf(out, sizeof out, "v%d", n->out);
        switch (n->op) {
        case EFF_OP_CONV:
            if (n->out == g->output) { /* the classifier */
                Proto node = {0};
                onnx_node_begin(&node, "Flatten", "flatten", (const char *const[]){a, NULL}, "flat");
                proto_message(&graph, 1, &node);
                onnx_conv(&graph, n, n->name, "flat", out, true);
            } else {
                onnx_conv(&graph, n, n->name, a, out, false);
            }
            break;
        case EFF_OP_BATCHNORM: onnx_batchnorm(&graph, n, n->name, a, out); break;
        case EFF_OP_GLOBAL_AVGPOOL: onnx_plain(&graph, "GlobalAveragePool", n->name, a, NULL, out); break;
        case EFF_OP_ADD: onnx_plain(&graph, "Add", n->name, a, b, out); break;
        case EFF_OP_MUL: onnx_plain(&graph, "Mul", n->name, a, b, out); break;
        case EFF_OP_ACT:
            snprintf(extra, sizeof extra, "%s.sigmoid", n->name);
            if (n->act == EFF_ACTIVATION_SILU) {
                onnx_plain(&graph, "Sigmoid", extra, a, NULL, extra);
                onnx_plain(&graph, "Mul", n->name, a, extra, out);
            } else if (n->act == EFF_ACTIVATION_RELU6) {
                Proto node = {0};
                onnx_node_begin(&node, "Clip", n->name, (const char *const[]){a, "zero", "six", NULL}, out);
                proto_message(&graph, 1, &node);
            } else {
                onnx_plain(&graph, n->act == EFF_ACTIVATION_SIGMOID ? "Sigmoid" : "Relu", n->name, a, NULL, out);
            }
            break;
        case EFF_OP_PAD:
        case EFF_OP_POOL:
        case EFF_OP_ROUND: abort();
        }
    }
    char last[16];
    snprintf(last, sizeof last, "v%d", g->output);
    onnx_value(&graph, 12, last, 2, (const int64_t[]){0, g->n_classes});
    return onnx_model(&graph, 13);
}

/* Read a file, a Proto, and forget it: for sweeps over what may fail. */
static inline EffStatus onnx_read_once(void *ctx)
{
    const Proto *file = ctx;
    EffGraph *g = NULL;
    const EffStatus st = eff_onnx_read(&g, file->data, file->n, "test.onnx", NULL);
    eff_graph_free(st == EFF_OK ? g : NULL);
    return st;
}

#endif
