/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of a quantized ONNX model: pairs around activations, layers, and the arithmetic between them. */
#include "export/onnx_qdq.h"

#include <stdio.h>

/* ---- Values ---- */

/* The value of tensor t before it is quantized. */
static void put_real(EffQdq *e, uint32_t field, int t)
{
    if (t == 0)
        eff_proto_text(&e->f.p, field, "data");
    else
        eff_qdq_put_name(e, field, eff_qdq_tensor_name(e, t), "_output", t);
}

/* The value of tensor t as its readers take it. */
static void put_value(EffQdq *e, uint32_t field, int t)
{
    t = e->same_as[t];
    if (eff_qdq_is_quantized(e, t))
        eff_qdq_put_name(e, field, eff_qdq_tensor_name(e, t), "_dequantized", t);
    else
        put_real(e, field, t);
}

static void pair(EffQdq *e, const char *op, int t, bool last)
{
    char name[EFF_QDQ_NAME_BYTES];
    eff_onnx_begin_node(&e->f);
    if (!last)
        put_real(e, EFF_ONNX_INPUT, t);
    else
        eff_qdq_put_name(e, EFF_ONNX_INPUT, eff_qdq_tensor_name(e, t), "_quantized", t);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, eff_qdq_tensor_name(e, t), !last && e->in_steps[t] ? "_step" : "_scale", t);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, eff_qdq_tensor_name(e, t), "_zero_point", t);
    eff_qdq_put_name(e, EFF_ONNX_OUTPUT, eff_qdq_tensor_name(e, t), last ? "_dequantized" : "_quantized", t);
    char ending[32];
    snprintf(ending, sizeof ending, "/%s", op);
    eff_onnx_end_node(&e->f, eff_qdq_name(name, eff_qdq_tensor_name(e, t), ending, t), op);
    if (eff_real_per_channel(e->plan, t))
        eff_onnx_attr_int(&e->f, "axis", 1);
    eff_proto_end(&e->f.p);
}

/* Tensor t is computed: what its readers take. */
static void quantize(EffQdq *e, int t)
{
    if (!eff_qdq_is_quantized(e, t)) {
        e->f.size.n_int16_left_float += e->plan->tensors[t].type == EFF_TENSOR_S16;
        return;
    }
    pair(e, "QuantizeLinear", t, false);
    pair(e, "DequantizeLinear", t, true);
}

/* ---- Layers ---- */

/* A constant of a step behind its DequantizeLinear, a scale an output. */
static void dequantize_constant(EffQdq *e, const EffPlanStep *s, const char *from, const char *scale, const char *to)
{
    char name[EFF_QDQ_NAME_BYTES];
    const int k = eff_qdq_index(e, s);
    eff_onnx_begin_node(&e->f);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, from, k);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, scale, k);
    eff_qdq_put_name(e, EFF_ONNX_OUTPUT, s->name, to, k);
    char what[48];
    snprintf(what, sizeof what, "%s/DequantizeLinear", to);
    eff_onnx_end_node(&e->f, eff_qdq_name(name, s->name, what, k), "DequantizeLinear");
    eff_onnx_attr_int(&e->f, "axis", 0);
    eff_proto_end(&e->f.p);
}

/* The real constants of a layer. */
static void constant_nodes(EffQdq *e, const EffPlanStep *s)
{
    char name[EFF_QDQ_NAME_BYTES];
    const int k = eff_qdq_index(e, s);
    const bool differ = eff_qdq_steps_differ(e, s);
    dequantize_constant(e, s, ".weight_quantized", ".weight_scale", differ ? ".weight_in_steps" : ".weight");
    if (differ) {
        eff_onnx_begin_node(&e->f);
        eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, ".weight_in_steps", k);
        eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, ".input_steps", k);
        eff_qdq_put_name(e, EFF_ONNX_OUTPUT, s->name, ".weight", k);
        eff_onnx_end_node(&e->f, eff_qdq_name(name, s->name, ".weight/Mul", k), "Mul");
        eff_proto_end(&e->f.p);
    }
    if (eff_qdq_bias_is_int(e, s))
        dequantize_constant(e, s, ".bias_quantized", ".bias_scale", ".bias");
}

static void begin_step_node(EffQdq *e, const EffPlanStep *s, const char *from)
{
    eff_onnx_begin_node(&e->f);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, from, eff_qdq_index(e, s));
}

/* Ends a node that makes a value called `to` of the step. */
static void end_step_node(EffQdq *e, const EffPlanStep *s, const char *to, const char *op)
{
    char name[EFF_QDQ_NAME_BYTES], what[48];
    const int k = eff_qdq_index(e, s);
    eff_qdq_put_name(e, EFF_ONNX_OUTPUT, s->name, to, k);
    snprintf(what, sizeof what, "%s/%s", to, op);
    eff_onnx_end_node(&e->f, eff_qdq_name(name, s->name, what, k), op);
    eff_proto_end(&e->f.p);
}

/* to = op(from, operand), both of the step; operand NULL: op(from). */
static void step_node(EffQdq *e, const EffPlanStep *s, const char *op, const char *from, const char *operand,
                      const char *to)
{
    begin_step_node(e, s, from);
    if (operand != NULL)
        eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, operand, eff_qdq_index(e, s));
    end_step_node(e, s, to, op);
}

/* The same with a number that all steps share. */
static void number_node(EffQdq *e, const EffPlanStep *s, const char *op, const char *from, const char *number,
                        const char *to)
{
    begin_step_node(e, s, from);
    eff_proto_text(&e->f.p, EFF_ONNX_INPUT, number);
    end_step_node(e, s, to, op);
}

/* Steps of tensor out[0], less its zero point, of a value of the step called `from` that has been multiplied. */
static void steps_of_u8(EffQdq *e, const EffPlanStep *s, const char *from)
{
    const char *at = from;
    if (eff_qdq_ends_early(e, s, true))
        step_node(e, s, "Min", at, ".most", "_not_above"), at = "_not_above";
    if (eff_qdq_ends_early(e, s, false))
        step_node(e, s, "Max", at, ".least", "_not_below"), at = "_not_below";
    begin_step_node(e, s, at);
    eff_proto_text(&e->f.p, EFF_ONNX_INPUT, "half_up");
    put_real(e, EFF_ONNX_OUTPUT, s->out[0]);
    char name[EFF_QDQ_NAME_BYTES];
    eff_onnx_end_node(&e->f, eff_qdq_name(name, eff_qdq_tensor_name(e, s->out[0]), "/Add", s->out[0]), "Add");
    eff_proto_end(&e->f.p);
}

/*
 * y = (t m + 2^14) >> 15 in real numbers, called "_y". With m = 256 high + low it is
 * (t high + ((t low + 2^14) >> 8)) >> 7, and no intermediate has more than 24 bits.
 */
static void multiply_t(EffQdq *e, const EffPlanStep *s)
{
    char bound[32];
    begin_step_node(e, s, "_t");
    for (int i = 0; i < 2; i++) {
        snprintf(bound, sizeof bound, i ? "s16.max_%d" : "s16.min_%d", s->pre_shift);
        eff_proto_text(&e->f.p, EFF_ONNX_INPUT, bound);
    }
    end_step_node(e, s, "_t16", "Clip");
    step_node(e, s, "Mul", "_t16", ".mult_low", "_low");
    number_node(e, s, "Add", "_low", "low.half", "_low_half");
    step_node(e, s, "Floor", "_low_half", NULL, "_low_floor");
    number_node(e, s, "Mul", "_low_floor", "low.weight", "_low_weighted");
    step_node(e, s, "Mul", "_t16", ".mult_high", "_high");
    step_node(e, s, "Add", "_high", "_low_weighted", "_product");
    step_node(e, s, "Floor", "_product", NULL, "_y_steps");
    step_node(e, s, "Mul", "_y_steps", ".unit", "_y");
}

/* Where the 16-bit result of a layer goes: its tensor, or a value of the step that only a u8 copy is made of. */
static void put_result(EffQdq *e, const EffPlanStep *s)
{
    if (s->out[1] != EFF_PLAN_NONE)
        put_real(e, EFF_ONNX_OUTPUT, s->out[1]);
    else
        eff_qdq_put_name(e, EFF_ONNX_OUTPUT, s->name, "_16", eff_qdq_index(e, s));
}

/* The activation of what is called `from`, to the real value of tensor t. */
static void activate(EffQdq *e, const EffPlanStep *s, const char *from, int t)
{
    static const char *const plain[] = {[EFF_ACTIVATION_NONE] = "Identity", [EFF_ACTIVATION_RELU] = "Relu",
                                        [EFF_ACTIVATION_RELU6] = "Clip",    [EFF_ACTIVATION_SIGMOID] = "Sigmoid",
                                        [EFF_ACTIVATION_SILU] = "Sigmoid",  [EFF_ACTIVATION_HSWISH] = "HardSigmoid"};
    const EffRealLayer *l = &e->layers[eff_qdq_index(e, s)];
    const bool twice = l->act == EFF_ACTIVATION_SILU || l->act == EFF_ACTIVATION_HSWISH;
    char name[EFF_QDQ_NAME_BYTES];
    begin_step_node(e, s, from);
    if (l->act == EFF_ACTIVATION_RELU6) {
        eff_proto_text(&e->f.p, EFF_ONNX_INPUT, "clip.min");
        eff_proto_text(&e->f.p, EFF_ONNX_INPUT, "clip.max");
    }
    if (twice)
        eff_qdq_put_name(e, EFF_ONNX_OUTPUT, s->name, "_gate", eff_qdq_index(e, s));
    else
        put_result(e, s);
    if (twice)
        eff_onnx_end_node(&e->f, eff_qdq_name(name, eff_qdq_tensor_name(e, t), "_gate", t), plain[l->act]);
    else if (l->act == EFF_ACTIVATION_NONE) /* the convolution has the name */
        eff_onnx_end_node(&e->f, eff_qdq_name(name, eff_qdq_tensor_name(e, t), "/Identity", t), plain[l->act]);
    else
        eff_onnx_end_node(&e->f, eff_qdq_tensor_name(e, t), plain[l->act]);
    if (l->act == EFF_ACTIVATION_HSWISH) {
        eff_onnx_attr_float(&e->f, "alpha", 1.0f / 6);
        eff_onnx_attr_float(&e->f, "beta", 0.5f);
    }
    eff_proto_end(&e->f.p);
    if (!twice)
        return;
    begin_step_node(e, s, from);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, "_gate", eff_qdq_index(e, s));
    put_result(e, s);
    eff_onnx_end_node(&e->f, eff_qdq_tensor_name(e, t), "Mul");
    eff_proto_end(&e->f.p);
}

static void window(EffQdq *e, const EffPlanStep *s, int t)
{
    const EffPlanTensor *in = &e->plan->tensors[s->in[0]], *out = &e->plan->tensors[t];
    const int64_t bottom = (out->h - 1) * s->stride + s->kernel - s->pad_top - in->h;
    const int64_t right = (out->w - 1) * s->stride + s->kernel - s->pad_left - in->w;
    const int64_t pads[] = {s->pad_top, s->pad_left, bottom > 0 ? bottom : 0, right > 0 ? right : 0};
    eff_onnx_attr_ints(&e->f, "kernel_shape", 2, (const int64_t[]){s->kernel, s->kernel});
    eff_onnx_attr_ints(&e->f, "strides", 2, (const int64_t[]){s->stride, s->stride});
    eff_onnx_attr_ints(&e->f, "pads", 4, pads);
    eff_onnx_attr_ints(&e->f, "dilations", 2, (const int64_t[]){1, 1});
    eff_onnx_attr_int(&e->f, "group", eff_step_is_dw(s->op) ? s->in_ch : 1);
}

/* The tensor that is nearest to the step's real value: the 16-bit one, if there is one. */
static int real_output(const EffPlanStep *s)
{
    return s->out[1] != EFF_PLAN_NONE ? s->out[1] : s->out[0];
}

/* What is computed leaves: a u8 copy is made of the 16-bit values, `from` of the step where they are no tensor. */
static void leave(EffQdq *e, const EffPlanStep *s)
{
    if (s->out[1] != EFF_PLAN_NONE)
        quantize(e, s->out[1]);
    if (s->out[0] == EFF_PLAN_NONE)
        return;
    if (e->in_steps[s->out[0]] && !eff_qdq_clamps(s)) {
        eff_onnx_begin_node(&e->f);
        if (s->out[1] != EFF_PLAN_NONE)
            put_value(e, EFF_ONNX_INPUT, s->out[1]);
        else if (s->op == EFF_STEP_QUANT)
            put_value(e, EFF_ONNX_INPUT, s->in[0]);
        else
            eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, "_16", eff_qdq_index(e, s));
        eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, ".to_u8", eff_qdq_index(e, s));
        end_step_node(e, s, "_copied", "Mul");
        steps_of_u8(e, s, "_copied");
    }
    quantize(e, s->out[0]);
}

static void layer_node(EffQdq *e, const EffPlanStep *s)
{
    const int k = eff_qdq_index(e, s), t = real_output(s);
    const bool adds = s->in[1] != EFF_PLAN_NONE;
    constant_nodes(e, s);
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, s->in[0]);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, ".weight", k);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, ".bias", k);
    eff_qdq_put_name(e, EFF_ONNX_OUTPUT, s->name, "_sum", k);
    eff_onnx_end_node(&e->f, s->name, "Conv");
    window(e, s, t);
    eff_proto_end(&e->f.p);
    if (!eff_qdq_is_exact(s)) {
        activate(e, s, "_sum", t);
        leave(e, s);
        return;
    }
    step_node(e, s, "Floor", "_sum", NULL, "_t");
    if (eff_qdq_clamps(s)) {
        step_node(e, s, "Mul", "_t", ".to_u8", "_multiplied");
        steps_of_u8(e, s, "_multiplied");
        leave(e, s);
        return;
    }
    multiply_t(e, s);
    if (adds) {
        begin_step_node(e, s, "_y");
        put_value(e, EFF_ONNX_INPUT, s->in[1]);
        put_result(e, s);
        eff_onnx_end_node(&e->f, eff_qdq_tensor_name(e, t), "Add");
        eff_proto_end(&e->f.p);
    } else {
        activate(e, s, "_y", t);
    }
    leave(e, s);
}

static void head_node(EffQdq *e, const EffPlanStep *s)
{
    char name[EFF_QDQ_NAME_BYTES];
    const int k = eff_qdq_index(e, s);
    constant_nodes(e, s);
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, s->in[0]);
    eff_qdq_put_name(e, EFF_ONNX_OUTPUT, s->name, "_flat", k);
    eff_onnx_end_node(&e->f, eff_qdq_name(name, s->name, "/Flatten", k), "Flatten");
    eff_proto_end(&e->f.p);
    eff_onnx_begin_node(&e->f);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, "_flat", k);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, ".weight", k);
    eff_qdq_put_name(e, EFF_ONNX_INPUT, s->name, ".bias", k);
    eff_proto_text(&e->f.p, EFF_ONNX_OUTPUT, "output");
    eff_onnx_end_node(&e->f, s->name, "Gemm");
    eff_onnx_attr_int(&e->f, "transB", 1);
    eff_proto_end(&e->f.p);
}

/* A step without weights: its inputs as they are. */
static void plain(EffQdq *e, const EffPlanStep *s, const char *op)
{
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, s->in[0]);
    if (s->in[1] != EFF_PLAN_NONE)
        put_value(e, EFF_ONNX_INPUT, s->in[1]);
    put_real(e, EFF_ONNX_OUTPUT, real_output(s));
    eff_onnx_end_node(&e->f, s->name, op);
    eff_proto_end(&e->f.p);
    leave(e, s);
}

void eff_qdq_put_nodes(void *ctx)
{
    EffQdq *e = ctx;
    if (eff_qdq_is_quantized(e, 0))
        quantize(e, 0);
    for (int i = 0; i < e->plan->n_steps; i++) {
        const EffPlanStep *s = &e->plan->steps[i];
        switch (s->op) {
        case EFF_STEP_QUADS: break; /* another layout of the same values */
        case EFF_STEP_POOL: plain(e, s, "GlobalAveragePool"); break;
        case EFF_STEP_GATE: plain(e, s, "Mul"); break;
        case EFF_STEP_QUANT:
            if (s->in[1] != EFF_PLAN_NONE)
                plain(e, s, "Mul");
            else
                leave(e, s);
            break;
        case EFF_STEP_HEAD: head_node(e, s); break;
        default: layer_node(e, s);
        }
    }
}
