/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of onnx_quantized.c: constants and nodes of a quantized ONNX model that is made from a plan. */
#ifndef EFF_EXPORT_ONNX_QDQ_H
#define EFF_EXPORT_ONNX_QDQ_H

#include "export/onnx_file.h"
#include "export/real.h"

enum { EFF_QDQ_FIRST_WITH_INT16 = 21, EFF_QDQ_NAME_BYTES = EFF_PLAN_NAME_BYTES + 64 };

typedef struct EffQdq {
    EffOnnxFile f;
    const EffPlan *plan;
    EffRealLayer *layers; /* [n_steps]; zeroed where a step has no weights */
    int *same_as;         /* [n_tensors]: the tensor whose values it lays out in another way, or itself */
    bool *in_steps;       /* [n_tensors]: u8 that is computed in steps less zero, which rounds exactly, not real */
    bool has_relu6;
    unsigned pre_shifts; /* bit L: one that occurs */
} EffQdq;

/* ---- Names: a node's name, what it is, and the number of the tensor or step, which makes it unique ---- */

const char *eff_qdq_name(char buffer[EFF_QDQ_NAME_BYTES], const char *node, const char *what, int number);
void eff_qdq_put_name(EffQdq *e, uint32_t field, const char *node, const char *what, int number);
const char *eff_qdq_tensor_name(const EffQdq *e, int t);

/* ---- What is so ---- */

/* Whether tensor t stands between a QuantizeLinear and a DequantizeLinear. */
bool eff_qdq_is_quantized(const EffQdq *e, int t);
int eff_qdq_index(const EffQdq *e, const EffPlanStep *s);
bool eff_qdq_has_weights(const EffPlanStep *s);
/* Whether a dense layer's input channels have steps that differ, which no scale an output can hold. */
bool eff_qdq_steps_differ(const EffQdq *e, const EffPlanStep *s);
/* Whether biases are integers in halves of the accumulator's unit. */
bool eff_qdq_bias_is_int(const EffQdq *e, const EffPlanStep *s);
bool eff_qdq_clamps(const EffPlanStep *s);
/* A convolution whose sums and what follows them are computed as the plan does, to the bit; with 16-bit inputs as far
 * as its sums fit 24 bits. */
bool eff_qdq_is_exact(const EffPlanStep *s);
/* Whether bytes reach further than 16 bits and the clamp do, above or below. */
bool eff_qdq_ends_early(const EffQdq *e, const EffPlanStep *s, bool above);

/* ---- Contents of the file: EffOnnxContent, ctx an EffQdq ---- */

void eff_qdq_put_nodes(void *ctx);
void eff_qdq_put_constants(void *ctx);

#endif
