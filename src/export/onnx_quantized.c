/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compiled int8 model as an ONNX model: float operators between pairs of QuantizeLinear and DequantizeLinear that
 * hold the plan's own scales and zero points. Weights are the plan's integers behind DequantizeLinear; where the input
 * of a dense layer has a step a channel, a Mul by the reciprocal steps on that constant makes them real again. 16-bit
 * activations are pairs too from operator set 21 on, and stay float before it, which has no int16 there.
 *
 * Single steps that round otherwise spread over a whole network, so convolutions are followed by the plan's own
 * arithmetic (kernels/epilogue.h) in float operators that are exact: nothing in between needs more than 24 bits. Bytes
 * are quantized in their own steps, with a scale of 1, since a division by a real scale would round once more.
 */
#include "base/mem.h"
#include "base/status.h"
#include "export/onnx_export.h"
#include "export/onnx_qdq.h"
#include "runtime/session.h"

#include <math.h>
#include <stdio.h>

/* ---- Names: a node's name, what it is, and the number of the tensor or step, which makes it unique ---- */

const char *eff_qdq_name(char buffer[EFF_QDQ_NAME_BYTES], const char *node, const char *what, int number)
{
    snprintf(buffer, EFF_QDQ_NAME_BYTES, "%s%s_%d", node, what, number);
    return buffer;
}

void eff_qdq_put_name(EffQdq *e, uint32_t field, const char *node, const char *what, int number)
{
    char name[EFF_QDQ_NAME_BYTES];
    eff_proto_text(&e->f.p, field, eff_qdq_name(name, node, what, number));
}

const char *eff_qdq_tensor_name(const EffQdq *e, int t)
{
    return t == 0 ? "data" : e->plan->tensors[t].name;
}

/* Whether tensor t stands between a QuantizeLinear and a DequantizeLinear. */
bool eff_qdq_is_quantized(const EffQdq *e, int t)
{
    const EffPlanTensor *tensor = &e->plan->tensors[t];
    if (t == 0) { /* bytes are the picture, if its mean is one */
        for (int c = 0; c < tensor->c; c++) {
            const double mean = eff_real_zero(e->plan, 0, c);
            if (mean != floor(mean) || mean < 0 || mean > 255)
                return false;
        }
        return true;
    }
    return tensor->type == EFF_TENSOR_U8 || (tensor->type == EFF_TENSOR_S16 && e->f.opset >= EFF_QDQ_FIRST_WITH_INT16);
}

/* ---- The file ---- */

static EffStatus check_scales(const EffPlan *plan)
{
    for (int t = 1; t < plan->n_tensors; t++) {
        const EffPlanTensor *tensor = &plan->tensors[t];
        for (int c = 0; c < tensor->c && tensor->type != EFF_TENSOR_F32; c++) {
            if (tensor->n_scales == 0 || !(eff_real_scale(plan, t, c) > 0) || !isfinite(eff_real_scale(plan, t, c)))
                return eff_fail(EFF_ERR_UNSUPPORTED, "tensor %d (%s): no valid scale, so its real values are unknown",
                                t, tensor->name);
        }
    }
    return EFF_OK;
}

static void release(EffQdq *e)
{
    for (int i = 0; e->layers != NULL && i < e->plan->n_steps; i++)
        eff_real_layer_free(&e->layers[i]);
    eff_free(e->layers);
    eff_free(e->same_as);
    eff_free(e->in_steps);
}

/* release() is due after a failure too. */
static EffStatus prepare(EffQdq *e, EffOnnxContent *content, const EffPlan *plan, const EffOnnxExport *options)
{
    static const EffOnnxExport defaults;
    const EffOnnxExport *o = options != NULL ? options : &defaults;
    const EffPlanTensor *pixels = &plan->tensors[0];
    *e = (EffQdq){.plan = plan};
    *content = (EffOnnxContent){.name = plan->name,
                                .pre = &plan->pre,
                                .labels = o->labels != NULL ? o->labels : (const char *const *)plan->labels,
                                .n_classes = plan->n_classes,
                                .input = {pixels->h, pixels->w, pixels->c},
                                .put_nodes = eff_qdq_put_nodes,
                                .put_constants = eff_qdq_put_constants,
                                .ctx = e};
    EffStatus st = eff_onnx_file_init(&e->f, o->opset);
    if (st == EFF_OK && e->f.opset < EFF_EXPORT_MIN_QUANTIZED_OPSET)
        st = eff_fail(EFF_ERR_ARG, "operator set %d; a quantized model needs %d to %d (a scale a channel)", e->f.opset,
                      EFF_EXPORT_MIN_QUANTIZED_OPSET, EFF_EXPORT_MAX_OPSET);
    for (int i = 0; i < plan->n_steps && st == EFF_OK; i++) {
        if (eff_step_is_float_node(plan->steps[i].op))
            st = eff_fail(EFF_ERR_UNSUPPORTED,
                          "%s: a node that runs in float, which is not exported; quantize without --float-nodes, and "
                          "without f32 on its line of the table",
                          plan->steps[i].name);
        else if (eff_step_is_float(plan->steps[i].op))
            st = eff_fail(EFF_ERR_UNSUPPORTED, "%s: a float model; export the weights that it was compiled from",
                          plan->name);
    }
    if (st == EFF_OK)
        st = check_scales(plan);
    if (st != EFF_OK)
        return st;
    e->layers = eff_calloc((size_t)plan->n_steps, sizeof *e->layers);
    e->same_as = eff_calloc((size_t)plan->n_tensors, sizeof *e->same_as);
    e->in_steps = eff_calloc((size_t)plan->n_tensors, sizeof *e->in_steps);
    if (e->layers == NULL || e->same_as == NULL || e->in_steps == NULL)
        return eff_fail_nomem((size_t)plan->n_steps * sizeof *e->layers, "layers");
    for (int t = 0; t < plan->n_tensors; t++)
        e->same_as[t] = t;
    for (int i = 0; i < plan->n_steps && st == EFF_OK; i++) {
        const EffPlanStep *s = &plan->steps[i];
        if (s->op == EFF_STEP_QUADS)
            e->same_as[s->out[0]] = e->same_as[s->in[0]];
        if (s->out[0] != EFF_PLAN_NONE)
            e->in_steps[s->out[0]] = eff_qdq_is_exact(s) || (s->op == EFF_STEP_QUANT && s->in[1] == EFF_PLAN_NONE);
        if (eff_qdq_is_exact(s) && !eff_qdq_clamps(s))
            e->pre_shifts |= 1u << s->pre_shift;
        if (eff_qdq_has_weights(s))
            st = eff_real_layer(&e->layers[i], plan, s);
        e->has_relu6 = e->has_relu6 || e->layers[i].act == EFF_ACTIVATION_RELU6;
    }
    return st;
}

EffStatus eff_onnx_encode_plan(EffBytes *out, EffOnnxSize *size, const EffPlan *plan, const EffOnnxExport *options)
{
    EffQdq e;
    EffOnnxContent content;
    EffStatus st = prepare(&e, &content, plan, options);
    if (st == EFF_OK)
        st = eff_onnx_file_encode(out, &e.f, &content);
    if (st == EFF_OK)
        *size = e.f.size;
    release(&e);
    return st;
}

EffStatus eff_onnx_write_model(EffOnnxSize *size, const EffModel *m, const char *path, const EffOnnxExport *options)
{
    EffBytes bytes;
    EffStatus st = eff_onnx_encode_plan(&bytes, size, eff_model_plan(m), options);
    if (st != EFF_OK)
        return st;
    st = eff_file_write_atomic(path, bytes.data, bytes.size);
    eff_free(bytes.data);
    return st;
}
