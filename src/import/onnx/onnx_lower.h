/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an ONNX model to the graph IR: constants and shapes are computed away, what depends on the picture becomes nodes
 * in [h][w][c]. Transpose, Reshape and their like cost nothing: each value knows which of its axes are rows, columns
 * and channels.
 */
#ifndef EFF_IMPORT_ONNX_LOWER_H
#define EFF_IMPORT_ONNX_LOWER_H

#include "graph/ir.h"
#include "import/onnx/onnx_model.h"

/* What became of a node of the file. */
typedef enum EffOnnxFate {
    EFF_ONNX_UNUSED,  /* nothing that reaches the output reads it */
    EFF_ONNX_FOLDED,  /* a constant */
    EFF_ONNX_FREE,    /* another view of the same values */
    EFF_ONNX_LOWERED, /* a node of the graph */
    EFF_ONNX_BLOCKED  /* not supported: `why` */
} EffOnnxFate;

/* Told of every node, in order; `why` is "" or the reason of a blocked one. */
typedef void eff_onnx_fate_fn(void *ctx, const char *name, const char *op, EffOnnxFate fate, const char *why);

typedef struct EffOnnxLowerOptions {
    int n_dims;
    int64_t dims[EFF_MAX_RANK]; /* of the input; n_dims 0: as the model declares it, batch 1 */
    eff_onnx_fate_fn *fate;     /* NULL; otherwise blocked nodes do not end the work, and their outputs block others */
    void *ctx;
} EffOnnxLowerOptions;

/*
 * The graph before any pass: activations in the exporter's spelling, BatchNorms as they are, products and sums with
 * constants as BatchNorms. Its preprocessing has the size of the input alone.
 * @return EFF_OK (eff_graph_free), EFF_ERR_UNSUPPORTED (names the node, the operator, the operator set, and what to
 *         do), EFF_ERR_FORMAT, EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_onnx_lower(EffGraph **out, EffOnnxModel *m, const EffOnnxLowerOptions *options);

#endif
