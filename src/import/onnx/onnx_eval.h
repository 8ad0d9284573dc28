/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an ONNX operator gives: the shape of its output from the shapes of its inputs, and its elements where those of
 * the inputs are known. One function an operator does both, so that a shape rule is written once. Clear and slow: the
 * importer folds constants and shape arithmetic with it, and tests take it for the truth.
 */
#ifndef EFF_IMPORT_ONNX_EVAL_H
#define EFF_IMPORT_ONNX_EVAL_H

#include "import/onnx/onnx_model.h"

enum { EFF_ONNX_MAX_INPUTS = 64, EFF_ONNX_MAX_SPLIT = 64 };

/* What the evaluation of a whole model may cost, so that a small file cannot ask for much. */
typedef struct EffOnnxBudget {
    int64_t elements; /* that may still be made */
    int64_t work;     /* multiply-adds, or elements read, that may still be done */
} EffOnnxBudget;

typedef struct EffOnnxCall {
    const EffOnnxModel *model;
    const EffOnnxNode *node;
    int64_t opset;
    const EffOnnxTensor *in[EFF_ONNX_MAX_INPUTS]; /* NULL: left out */
    int n_in;
    int which;    /* the output that is asked for: of Split; 0 of the others */
    bool compute; /* the elements of all inputs are known */
    EffOnnxBudget *budget;
    EffOnnxTensor *out;
} EffOnnxCall;

/*
 * Evaluate a node's output `which`. `out` has data when those of all the inputs that it needs are known.
 * @return EFF_OK (eff_onnx_free), EFF_ERR_UNSUPPORTED (an operator, or an attribute of it, that is not known),
 *         EFF_ERR_FORMAT (inputs that do not fit), EFF_ERR_LIMIT, EFF_ERR_NOMEM. The message names no node.
 */
EffStatus eff_onnx_eval(EffOnnxCall *call);

/* Whether there is an operator of that name. */
bool eff_onnx_knows(EffWire op);

/* ---- For the operators' files ---- */

typedef EffStatus eff_onnx_op_fn(EffOnnxCall *c);
typedef struct EffOnnxOp {
    const char *name;
    eff_onnx_op_fn *run;
    int min_inputs;
} EffOnnxOp;
extern const EffOnnxOp eff_onnx_shape_ops[], eff_onnx_math_ops[], eff_onnx_nn_ops[]; /* end with a NULL name */

/* Give the output its type and shape, and room when it is to be computed. */
EffStatus eff_onnx_result(EffOnnxCall *c, EffOnnxType type, int rank, const int64_t *dims);
/* Take n units of the budget's work. */
EffStatus eff_onnx_spend(EffOnnxCall *c, int64_t n);
static inline const EffOnnxTensor *eff_onnx_arg(const EffOnnxCall *c, int i)
{
    return i < c->n_in ? c->in[i] : NULL;
}
/* An axis that may count from the end; false outside the rank. */
bool eff_onnx_axis(int64_t axis, int rank, int *out);
/*
 * A list of integers from an attribute, or from input `i`, whose elements must be known. *n is -1 when it is missing
 * in both.
 */
EffStatus eff_onnx_list(const EffOnnxCall *c, const char *attribute, int i, int64_t *out, int max, int *n);
EffStatus eff_onnx_misfit(const char *what);

/* Strides of a row-major tensor for broadcasting to `rank` dimensions: 0 along repeated ones. */
void eff_onnx_strides(const EffOnnxTensor *t, int rank, size_t *strides);
/* The next index of a shape; returns false after the last one. */
bool eff_onnx_step(int rank, const int64_t *dims, int64_t *index);

/* Elements begin, begin + step, ... of each axis, dims of them: what Slice takes of its input, or an output of Split.
 */
typedef struct EffOnnxSlice {
    int64_t begin[EFF_MAX_RANK], step[EFF_MAX_RANK], dims[EFF_MAX_RANK];
} EffOnnxSlice;
EffStatus eff_onnx_slice(const EffOnnxCall *c, EffOnnxSlice *out);
EffStatus eff_onnx_split(const EffOnnxCall *c, EffOnnxSlice *out); /* of output c->which */

/* Windows of convolutions and pools: sizes along each spatial axis, after auto_pad. */
typedef struct EffOnnxWindow {
    int n; /* spatial axes */
    int64_t kernel[EFF_MAX_RANK], stride[EFF_MAX_RANK], dilation[EFF_MAX_RANK];
    int64_t before[EFF_MAX_RANK], after[EFF_MAX_RANK], out[EFF_MAX_RANK];
} EffOnnxWindow;
/* `kernel` from the weights, or NULL for the attribute. */
EffStatus eff_onnx_window(EffOnnxWindow *w, const EffOnnxNode *node, const EffOnnxTensor *x, const int64_t *kernel);

#endif
