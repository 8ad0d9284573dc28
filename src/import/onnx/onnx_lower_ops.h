/* SPDX-License-Identifier: Apache-2.0 */
/* What the walk over a model (onnx_lower.c) and the operators it lowers (onnx_lower_ops.c) share. */
#ifndef EFF_IMPORT_ONNX_LOWER_OPS_H
#define EFF_IMPORT_ONNX_LOWER_OPS_H

#include "graph/ir.h"
#include "import/onnx/onnx_eval.h"

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
    bool rounds; /* quantized already: what ends up between integers is kept as it is */
} EffOnnxLowerer;

/* Whether the axes of value v are these. */
bool eff_onnx_spots_fit(const EffOnnxLowerer *l, int v, int row, int column, int channel);

/* Add what a node becomes, and say where its output is. @return EFF_OK, EFF_ERR_UNSUPPORTED, ... without its name. */
EffStatus eff_onnx_lower_op(EffOnnxLowerer *l, const EffOnnxNode *node);

#endif
