/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the walk over a model (onnx_lower.c) and the operators that it lowers share. Those are in onnx_lower_ops.c
 * (single values), onnx_lower_conv.c, onnx_lower_pool.c, onnx_lower_maps.c (parts of maps) and onnx_lower_round.c.
 */
#ifndef EFF_IMPORT_ONNX_LOWER_OPS_H
#define EFF_IMPORT_ONNX_LOWER_OPS_H

#include "graph/ir.h"
#include "import/onnx/onnx_eval.h"

#include <string.h>

/* Where a value of the model is in the graph, and which of its axes are rows, columns and channels; -1 for none, which
 * is fine where there is one of them. */
typedef struct EffOnnxSpot {
    int value; /* -1: a constant, or not lowered */
    int axis[3];
} EffOnnxSpot;

typedef struct EffOnnxLowerer {
    EffOnnxModel *m;
    EffGraph *g;
    EffOnnxSpot *spots; /* [m->n_values] */
    EffOnnxBudget budget;
    size_t n_made; /* weights of convolutions that eff_onnx_make_weights() gave, so that a small file cannot ask for
                      much */
    bool rounds;   /* quantized already: what ends up between integers is kept as it is */
} EffOnnxLowerer;

/* Whether the axes of value v are these. */
bool eff_onnx_spots_fit(const EffOnnxLowerer *l, int v, int row, int column, int channel);

/* The node with the tensors of its inputs, for eff_onnx_eval() and those who read lists as it does. */
EffStatus eff_onnx_call_of(EffOnnxLowerer *l, const EffOnnxNode *node, EffOnnxCall *out);

/*
 * Add what a node becomes, and say where its output is; of a Split, all outputs, whose shapes are known.
 * @return EFF_OK, EFF_ERR_UNSUPPORTED, ... without its name.
 */
EffStatus eff_onnx_lower_op(EffOnnxLowerer *l, const EffOnnxNode *node);

/* ---- For the operators' files ---- */

/* The most numbers that a convolution gets which the file writes shorter, or not as a convolution; and all of these. */
enum { EFF_ONNX_MOST_WEIGHTS = 16 << 20, EFF_ONNX_MOST_MADE = 256 << 20, EFF_ONNX_MOST_WINDOW = EFF_PLAN_MAX_KERNEL };
/*
 * n zeros for such a convolution, `fixed` of which no training has seen.
 * @return EFF_OK (eff_param_free), EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_onnx_make_weights(EffOnnxLowerer *l, EffConv *c, size_t n, size_t fixed);

/* The node's input i in the graph, or -1. */
static inline int eff_onnx_source(const EffOnnxLowerer *l, const EffOnnxNode *node, int i)
{
    const int v = eff_onnx_in(l->m, node, i);
    return v >= 0 ? l->spots[v].value : -1;
}

/* The tensor of its input i, or NULL. */
static inline const EffOnnxTensor *eff_onnx_operand(const EffOnnxLowerer *l, const EffOnnxNode *node, int i)
{
    const int v = eff_onnx_in(l->m, node, i);
    return v >= 0 ? &l->m->values[v].t : NULL;
}

/* Weights are many, and nearly always float: this is where importing spends its time. */
static inline float eff_onnx_element(const EffOnnxTensor *t, size_t i)
{
    float v;
    if (t->stored != EFF_ONNX_FLOAT)
        return (float)eff_onnx_get(t, i);
    memcpy(&v, t->data + i * sizeof v, sizeof v);
    return v;
}

bool eff_onnx_all_finite(const float *v, size_t n);
EffStatus eff_onnx_not_finite(void);
/* A parameter from a constant; @return EFF_OK (eff_param_free), EFF_ERR_FORMAT, EFF_ERR_NOMEM. */
EffStatus eff_onnx_load(EffParam *p, const EffOnnxTensor *t);

/* Element of a constant for channel c of value v; false if it is not the same all over a channel. */
bool eff_onnx_per_channel(const EffOnnxLowerer *l, int v, const EffOnnxTensor *t, int c, double *out);

/*
 * Append a node, whose parameters become the graph's, or are freed after a failure. Its name is that of ONNX node
 * `from`, with an ending where it is not the last of several; its output goes to *out.
 */
EffStatus eff_onnx_add(EffOnnxLowerer *l, const EffOnnxNode *from, const char *ending, EffNode *node, EffShape shape,
                       int *out);
/* The same, with the output of `from` in the axes given. */
EffStatus eff_onnx_append(EffOnnxLowerer *l, const EffOnnxNode *from, EffNode *node, EffShape shape, const int axis[3]);

EffStatus eff_onnx_lower_conv(EffOnnxLowerer *l, const EffOnnxNode *node);
EffStatus eff_onnx_lower_matrix(EffOnnxLowerer *l, const EffOnnxNode *node, bool gemm);
EffStatus eff_onnx_lower_global_pool(EffOnnxLowerer *l, const EffOnnxNode *node);
EffStatus eff_onnx_lower_window_pool(EffOnnxLowerer *l, const EffOnnxNode *node, EffPooling how);
EffStatus eff_onnx_lower_pad(EffOnnxLowerer *l, const EffOnnxNode *node);
EffStatus eff_onnx_lower_slice(EffOnnxLowerer *l, const EffOnnxNode *node);
EffStatus eff_onnx_lower_split(EffOnnxLowerer *l, const EffOnnxNode *node);
EffStatus eff_onnx_lower_concat(EffOnnxLowerer *l, const EffOnnxNode *node);

/* A window with its weights, the same for every channel, and pads, onto `shape`: see eff_onnx_add_window(). */
typedef struct EffOnnxWeights {
    int kernel_h, kernel_w; /* what is needed: the window is a square, with zeros below and to the right */
    int at[2];              /* the row and column of the only weight that is no 0; or ... */
    bool all;               /* ... all have the value */
    float value;
    int stride, pad[2], size[2]; /* rows, columns of padding before the map, and of the output */
} EffOnnxWeights;
/*
 * A depthwise convolution with these weights.
 * @return EFF_OK, EFF_ERR_UNSUPPORTED (beyond EFF_ONNX_MOST_WINDOW), EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_onnx_add_window(EffOnnxLowerer *l, const EffOnnxNode *from, const char *ending, int value,
                              const EffOnnxWeights *w, int *out);

/* Of models that are quantized already. */
EffStatus eff_onnx_lower_floor(EffOnnxLowerer *l, const EffOnnxNode *node);
/* Bounds a channel: either may be NULL. */
EffStatus eff_onnx_lower_clamp(EffOnnxLowerer *l, const EffOnnxNode *node, int v, const EffOnnxTensor *low,
                               const EffOnnxTensor *high);
EffStatus eff_onnx_lower_quantize(EffOnnxLowerer *l, const EffOnnxNode *node, bool back);

#endif
