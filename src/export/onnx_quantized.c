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
#include "export/onnx_file.h"
#include "export/real.h"
#include "runtime/session.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_WITH_INT16 = 21, NAME_BYTES = EFF_PLAN_NAME_BYTES + 64 };

typedef struct Exporter {
    EffOnnxFile f;
    const EffPlan *plan;
    EffRealLayer *layers; /* [n_steps]; zeroed where a step has no weights */
    int *same_as;         /* [n_tensors]: the tensor whose values it lays out in another way, or itself */
    bool *in_steps;       /* [n_tensors]: u8 that is computed in steps less zero, which rounds exactly, not real */
    bool has_relu6;
    unsigned pre_shifts; /* bit L: one that occurs */
} Exporter;

/* ---- Names: a node's name, what it is, and the number of the tensor or step, which makes it unique ---- */

static const char *name_of(char buffer[NAME_BYTES], const char *node, const char *what, int number)
{
    snprintf(buffer, NAME_BYTES, "%s%s_%d", node, what, number);
    return buffer;
}

static void put_name(Exporter *e, uint32_t field, const char *node, const char *what, int number)
{
    char name[NAME_BYTES];
    eff_proto_text(&e->f.p, field, name_of(name, node, what, number));
}

static const char *tensor_name(const Exporter *e, int t)
{
    return t == 0 ? "data" : e->plan->tensors[t].name;
}

/* Whether tensor t stands between a QuantizeLinear and a DequantizeLinear. */
static bool is_quantized(const Exporter *e, int t)
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
    return tensor->type == EFF_TENSOR_U8 || (tensor->type == EFF_TENSOR_S16 && e->f.opset >= FIRST_WITH_INT16);
}

/* The value of tensor t before it is quantized. */
static void put_real(Exporter *e, uint32_t field, int t)
{
    if (t == 0)
        eff_proto_text(&e->f.p, field, "data");
    else
        put_name(e, field, tensor_name(e, t), "_output", t);
}

/* The value of tensor t as its readers take it. */
static void put_value(Exporter *e, uint32_t field, int t)
{
    t = e->same_as[t];
    if (is_quantized(e, t))
        put_name(e, field, tensor_name(e, t), "_dequantized", t);
    else
        put_real(e, field, t);
}

/* ---- Constants ---- */

static void floats(Exporter *e, const char *node, const char *what, int number, int rank, const int64_t *dims,
                   double (*value)(const Exporter *, int, int))
{
    int n = 1;
    for (int i = 0; i < rank; i++)
        n *= (int)dims[i];
    eff_onnx_begin_constant(&e->f, EFF_ONNX_FLOAT, rank, dims);
    put_name(e, EFF_ONNX_TENSOR_NAME, node, what, number);
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)n * sizeof(float));
    for (int i = 0; at != NULL && i < n; i++) {
        const float v = (float)value(e, number, i);
        memcpy(at + (size_t)i * sizeof v, &v, sizeof v);
    }
    eff_proto_end(&e->f.p);
}

/* ---- Activations ---- */

static double scale_at(const Exporter *e, int t, int c)
{
    return eff_real_scale(e->plan, t, c);
}

static void pair(Exporter *e, const char *op, int t, bool last)
{
    char name[NAME_BYTES];
    eff_onnx_begin_node(&e->f);
    if (!last)
        put_real(e, EFF_ONNX_INPUT, t);
    else
        put_name(e, EFF_ONNX_INPUT, tensor_name(e, t), "_quantized", t);
    put_name(e, EFF_ONNX_INPUT, tensor_name(e, t), !last && e->in_steps[t] ? "_step" : "_scale", t);
    put_name(e, EFF_ONNX_INPUT, tensor_name(e, t), "_zero_point", t);
    put_name(e, EFF_ONNX_OUTPUT, tensor_name(e, t), last ? "_dequantized" : "_quantized", t);
    char ending[32];
    snprintf(ending, sizeof ending, "/%s", op);
    eff_onnx_end_node(&e->f, name_of(name, tensor_name(e, t), ending, t), op);
    if (eff_real_per_channel(e->plan, t))
        eff_onnx_attr_int(&e->f, "axis", 1);
    eff_proto_end(&e->f.p);
}

static double one_step(const Exporter *e, int t, int c)
{
    (void)e, (void)t, (void)c;
    return 1;
}

/* Tensor t is computed: what its readers take. */
static void quantize(Exporter *e, int t)
{
    if (!is_quantized(e, t)) {
        e->f.size.n_int16_left_float += e->plan->tensors[t].type == EFF_TENSOR_S16;
        return;
    }
    pair(e, "QuantizeLinear", t, false);
    pair(e, "DequantizeLinear", t, true);
}

static void quantize_constants(Exporter *e, int t)
{
    if (e->same_as[t] != t || !is_quantized(e, t))
        return;
    const EffPlanTensor *tensor = &e->plan->tensors[t];
    const bool per_channel = eff_real_per_channel(e->plan, t), wide = tensor->type == EFF_TENSOR_S16;
    const int64_t n = per_channel ? tensor->c : 1;
    floats(e, tensor_name(e, t), "_scale", t, per_channel, &n, scale_at);
    if (e->in_steps[t])
        floats(e, tensor_name(e, t), "_step", t, per_channel, &n, one_step);
    eff_onnx_begin_constant(&e->f, wide ? EFF_ONNX_INT16 : EFF_ONNX_UINT8, per_channel, &n);
    put_name(e, EFF_ONNX_TENSOR_NAME, tensor_name(e, t), "_zero_point", t);
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)(n * (wide ? 2 : 1)));
    for (int c = 0; at != NULL && c < n * (wide ? 2 : 1); c++)
        at[c] = wide ? 0 : (uint8_t)eff_real_zero(e->plan, t, c);
    eff_proto_end(&e->f.p);
}

/* ---- Layers ---- */

/* Whether a dense layer's input channels have steps that differ, which no scale an output can hold. */
static bool steps_differ(const Exporter *e, const EffPlanStep *s)
{
    if (s->op == EFF_STEP_DW)
        return false;
    for (int c = 1; c < s->in_ch; c++) {
        if (eff_real_scale(e->plan, s->in[0], c) != eff_real_scale(e->plan, s->in[0], 0))
            return true;
    }
    return false;
}

static int index_of(const Exporter *e, const EffPlanStep *s)
{
    return (int)(s - e->plan->steps);
}

/* In halves of the accumulator's unit. */
static bool bias_is_int(const Exporter *e, const EffPlanStep *s)
{
    const EffRealLayer *l = &e->layers[index_of(e, s)];
    for (int o = 0; o < l->n_out; o++) {
        if (2 * l->bias[o] != floor(2 * l->bias[o]) || fabs(l->bias[o]) > INT32_MAX / 2)
            return false;
    }
    return s->op != EFF_STEP_HEAD;
}

static double weight_scale(const Exporter *e, int step, int o)
{
    const EffPlanStep *s = &e->plan->steps[step];
    const double unit = e->layers[step].unit[o];
    return steps_differ(e, s) ? unit : unit / eff_real_scale(e->plan, s->in[0], s->op == EFF_STEP_DW ? o : 0);
}

static double bias_scale(const Exporter *e, int step, int o)
{
    return e->layers[step].unit[o] / 2;
}

static double float_bias(const Exporter *e, int step, int o)
{
    const EffRealLayer *l = &e->layers[step];
    return e->plan->steps[step].op == EFF_STEP_HEAD ? l->bias[o] : l->bias[o] * l->unit[o];
}

static double reciprocal_step(const Exporter *e, int step, int i)
{
    return 1 / eff_real_scale(e->plan, e->plan->steps[step].in[0], i);
}

/* ---- Requantization: constants ---- */

static int16_t entry(const Exporter *e, int step, EffDataSlot slot, int o)
{
    return ((const int16_t *)eff_plan_data(e->plan, &e->plan->steps[step], slot))[o];
}

static bool clamps(const EffPlanStep *s)
{
    return s->op != EFF_STEP_QUANT && s->out_kind == EFF_OUT_U8_CLAMP;
}

/* The multiplier to u8 in steps of that u8 tensor: of t, or of the 16 bits before they are shifted by post_shift. */
static double to_u8(const Exporter *e, int step, int o)
{
    return ldexp(entry(e, step, clamps(&e->plan->steps[step]) ? EFF_DATA_MULT : EFF_DATA_OMULT, o), -15);
}

/* Real value of a step of the 16-bit tensor that a u8 copy is made of. */
static double copied_unit(const Exporter *e, int step, int o)
{
    const EffPlanStep *s = &e->plan->steps[step];
    return s->op == EFF_STEP_QUANT ? eff_real_scale(e->plan, s->in[0], o) : e->layers[step].y_unit[o];
}

static double u8_factor(const Exporter *e, int step, int o)
{
    const EffPlanStep *s = &e->plan->steps[step];
    return clamps(s) ? to_u8(e, step, o) : ldexp(to_u8(e, step, o), s->post_shift) / copied_unit(e, step, o);
}

/* Where 16 bits, or a clamp, end in steps of the u8 tensor. */
static double u8_most(const Exporter *e, int step, int o)
{
    const double most = INT16_MAX * to_u8(e, step, o);
    return clamps(&e->plan->steps[step]) ? fmin(most, entry(e, step, EFF_DATA_TOP, o)) : most;
}

static double u8_least(const Exporter *e, int step, int o)
{
    return INT16_MIN * to_u8(e, step, o);
}

/* Whether bytes reach further than 16 bits and the clamp do, above or below. */
static bool ends_early(const Exporter *e, const EffPlanStep *s, bool above)
{
    const int k = index_of(e, s);
    for (int o = 0; o < s->out_ch; o++) {
        const int zero = entry(e, k, EFF_DATA_ZERO, o);
        if (above ? u8_most(e, k, o) + zero < 255 : u8_least(e, k, o) + zero > 0)
            return true;
    }
    return false;
}

/* The multiplier to y as two of 8 bits: products with 16 bits are exact in float. */
static double mult_high(const Exporter *e, int step, int o)
{
    return ldexp(entry(e, step, EFF_DATA_MULT, o) >> 8, e->plan->steps[step].pre_shift - 7);
}

static double mult_low(const Exporter *e, int step, int o)
{
    return ldexp(entry(e, step, EFF_DATA_MULT, o) & 255, e->plan->steps[step].pre_shift - 8);
}

static double y_unit(const Exporter *e, int step, int o)
{
    return e->layers[step].y_unit[o];
}

/* A convolution whose sums and what follows them are computed as the plan does, to the bit. */
static bool is_exact(const EffPlanStep *s)
{
    return s->op == EFF_STEP_STEM || s->op == EFF_STEP_PW || s->op == EFF_STEP_DW;
}

static void requant_constants(Exporter *e, const EffPlanStep *s)
{
    const int k = index_of(e, s);
    const int64_t dims[] = {1, s->out_ch, 1, 1};
    if (is_exact(s) && !clamps(s)) {
        floats(e, s->name, ".mult_high", k, 4, dims, mult_high);
        floats(e, s->name, ".mult_low", k, 4, dims, mult_low);
        floats(e, s->name, ".unit", k, 4, dims, y_unit);
    }
    if (s->out[0] == EFF_PLAN_NONE || !e->in_steps[s->out[0]])
        return;
    floats(e, s->name, ".to_u8", k, 4, dims, u8_factor);
    if (ends_early(e, s, true))
        floats(e, s->name, ".most", k, 4, dims, u8_most);
    if (ends_early(e, s, false))
        floats(e, s->name, ".least", k, 4, dims, u8_least);
}

/* ---- Layers: constants ---- */

/* [o][ky][kx][i] as [o][i][ky][kx]. 16-bit weights are int32 where DequantizeLinear does not take int16. */
static void weights(Exporter *e, const EffPlanStep *s)
{
    const bool wide = s->wgt_bits == 16, gemm = s->op == EFF_STEP_HEAD;
    const int type = !wide ? EFF_ONNX_INT8 : e->f.opset >= FIRST_WITH_INT16 ? EFF_ONNX_INT16 : EFF_ONNX_INT32;
    const size_t each = type == EFF_ONNX_INT8 ? 1 : type == EFF_ONNX_INT16 ? 2 : 4;
    const size_t taps = (size_t)(s->kernel * s->kernel), in = s->op == EFF_STEP_DW ? 1 : (size_t)s->in_ch;
    eff_onnx_begin_constant(&e->f, type, gemm ? 2 : 4, (const int64_t[]){s->out_ch, (int64_t)in, s->kernel, s->kernel});
    put_name(e, EFF_ONNX_TENSOR_NAME, s->name, ".weight_quantized", index_of(e, s));
    const void *wgt = eff_plan_data(e->plan, s, EFF_DATA_WGT);
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)s->out_ch * in * taps * each);
    for (size_t o = 0; at != NULL && o < (size_t)s->out_ch; o++) {
        for (size_t i = 0; i < in; i++) {
            for (size_t k = 0; k < taps; k++, at += each) {
                const size_t from = (o * taps + k) * in + i;
                const int32_t v = wide ? ((const int16_t *)wgt)[from] : ((const int8_t *)wgt)[from];
                memcpy(at, &v, each); /* little-endian */
            }
        }
    }
    eff_proto_end(&e->f.p);
}

static void layer_constants(Exporter *e, const EffPlanStep *s)
{
    const int k = index_of(e, s);
    const EffRealLayer *l = &e->layers[k];
    const int64_t n = s->out_ch;
    weights(e, s);
    floats(e, s->name, ".weight_scale", k, 1, &n, weight_scale);
    e->f.size.params += eff_plan_data(e->plan, s, EFF_DATA_WGT) != NULL
                            ? s->data[EFF_DATA_WGT].n_bytes / (uint64_t)(s->wgt_bits / 8) + (uint64_t)n
                            : 0;
    if (steps_differ(e, s))
        floats(e, s->name, ".input_steps", k, s->op == EFF_STEP_HEAD ? 2 : 4, (const int64_t[]){1, s->in_ch, 1, 1},
               reciprocal_step);
    if (!bias_is_int(e, s)) {
        floats(e, s->name, ".bias", k, 1, &n, float_bias);
        return;
    }
    floats(e, s->name, ".bias_scale", k, 1, &n, bias_scale);
    eff_onnx_begin_constant(&e->f, EFF_ONNX_INT32, 1, &n);
    put_name(e, EFF_ONNX_TENSOR_NAME, s->name, ".bias_quantized", k);
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)n * sizeof(int32_t));
    for (int64_t o = 0; at != NULL && o < n; o++) {
        const int32_t v = (int32_t)(2 * l->bias[o]);
        memcpy(at + (size_t)o * sizeof v, &v, sizeof v);
    }
    eff_proto_end(&e->f.p);
}

/* A constant of a step behind its DequantizeLinear, a scale an output. */
static void dequantize_constant(Exporter *e, const EffPlanStep *s, const char *from, const char *scale, const char *to)
{
    char name[NAME_BYTES];
    const int k = index_of(e, s);
    eff_onnx_begin_node(&e->f);
    put_name(e, EFF_ONNX_INPUT, s->name, from, k);
    put_name(e, EFF_ONNX_INPUT, s->name, scale, k);
    put_name(e, EFF_ONNX_OUTPUT, s->name, to, k);
    char what[48];
    snprintf(what, sizeof what, "%s/DequantizeLinear", to);
    eff_onnx_end_node(&e->f, name_of(name, s->name, what, k), "DequantizeLinear");
    eff_onnx_attr_int(&e->f, "axis", 0);
    eff_proto_end(&e->f.p);
}

/* The real constants of a layer. */
static void constant_nodes(Exporter *e, const EffPlanStep *s)
{
    char name[NAME_BYTES];
    const int k = index_of(e, s);
    const bool differ = steps_differ(e, s);
    dequantize_constant(e, s, ".weight_quantized", ".weight_scale", differ ? ".weight_in_steps" : ".weight");
    if (differ) {
        eff_onnx_begin_node(&e->f);
        put_name(e, EFF_ONNX_INPUT, s->name, ".weight_in_steps", k);
        put_name(e, EFF_ONNX_INPUT, s->name, ".input_steps", k);
        put_name(e, EFF_ONNX_OUTPUT, s->name, ".weight", k);
        eff_onnx_end_node(&e->f, name_of(name, s->name, ".weight/Mul", k), "Mul");
        eff_proto_end(&e->f.p);
    }
    if (bias_is_int(e, s))
        dequantize_constant(e, s, ".bias_quantized", ".bias_scale", ".bias");
}

static void begin_step_node(Exporter *e, const EffPlanStep *s, const char *from)
{
    eff_onnx_begin_node(&e->f);
    put_name(e, EFF_ONNX_INPUT, s->name, from, index_of(e, s));
}

/* Ends a node that makes a value called `to` of the step. */
static void end_step_node(Exporter *e, const EffPlanStep *s, const char *to, const char *op)
{
    char name[NAME_BYTES], what[48];
    const int k = index_of(e, s);
    put_name(e, EFF_ONNX_OUTPUT, s->name, to, k);
    snprintf(what, sizeof what, "%s/%s", to, op);
    eff_onnx_end_node(&e->f, name_of(name, s->name, what, k), op);
    eff_proto_end(&e->f.p);
}

/* to = op(from, operand), both of the step; operand NULL: op(from). */
static void step_node(Exporter *e, const EffPlanStep *s, const char *op, const char *from, const char *operand,
                      const char *to)
{
    begin_step_node(e, s, from);
    if (operand != NULL)
        put_name(e, EFF_ONNX_INPUT, s->name, operand, index_of(e, s));
    end_step_node(e, s, to, op);
}

/* The same with a number that all steps share. */
static void number_node(Exporter *e, const EffPlanStep *s, const char *op, const char *from, const char *number,
                        const char *to)
{
    begin_step_node(e, s, from);
    eff_proto_text(&e->f.p, EFF_ONNX_INPUT, number);
    end_step_node(e, s, to, op);
}

/* Steps of tensor out[0], less its zero point, of a value of the step called `from` that has been multiplied. */
static void steps_of_u8(Exporter *e, const EffPlanStep *s, const char *from)
{
    const char *at = from;
    if (ends_early(e, s, true))
        step_node(e, s, "Min", at, ".most", "_not_above"), at = "_not_above";
    if (ends_early(e, s, false))
        step_node(e, s, "Max", at, ".least", "_not_below"), at = "_not_below";
    begin_step_node(e, s, at);
    eff_proto_text(&e->f.p, EFF_ONNX_INPUT, "half_up");
    put_real(e, EFF_ONNX_OUTPUT, s->out[0]);
    char name[NAME_BYTES];
    eff_onnx_end_node(&e->f, name_of(name, tensor_name(e, s->out[0]), "/Add", s->out[0]), "Add");
    eff_proto_end(&e->f.p);
}

/*
 * y = (t m + 2^14) >> 15 in real numbers, called "_y". With m = 256 high + low it is
 * (t high + ((t low + 2^14) >> 8)) >> 7, and no intermediate has more than 24 bits.
 */
static void multiply_t(Exporter *e, const EffPlanStep *s)
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
static void put_result(Exporter *e, const EffPlanStep *s)
{
    if (s->out[1] != EFF_PLAN_NONE)
        put_real(e, EFF_ONNX_OUTPUT, s->out[1]);
    else
        put_name(e, EFF_ONNX_OUTPUT, s->name, "_16", index_of(e, s));
}

/* The activation of what is called `from`, to the real value of tensor t. */
static void activate(Exporter *e, const EffPlanStep *s, const char *from, int t)
{
    static const char *const plain[] = {[EFF_ACTIVATION_NONE] = "Identity", [EFF_ACTIVATION_RELU] = "Relu",
                                        [EFF_ACTIVATION_RELU6] = "Clip",    [EFF_ACTIVATION_SIGMOID] = "Sigmoid",
                                        [EFF_ACTIVATION_SILU] = "Sigmoid",  [EFF_ACTIVATION_HSWISH] = "HardSigmoid"};
    const EffRealLayer *l = &e->layers[index_of(e, s)];
    const bool twice = l->act == EFF_ACTIVATION_SILU || l->act == EFF_ACTIVATION_HSWISH;
    char name[NAME_BYTES];
    begin_step_node(e, s, from);
    if (l->act == EFF_ACTIVATION_RELU6) {
        eff_proto_text(&e->f.p, EFF_ONNX_INPUT, "clip.min");
        eff_proto_text(&e->f.p, EFF_ONNX_INPUT, "clip.max");
    }
    if (twice)
        put_name(e, EFF_ONNX_OUTPUT, s->name, "_gate", index_of(e, s));
    else
        put_result(e, s);
    if (twice)
        eff_onnx_end_node(&e->f, name_of(name, tensor_name(e, t), "_gate", t), plain[l->act]);
    else if (l->act == EFF_ACTIVATION_NONE) /* the convolution has the name */
        eff_onnx_end_node(&e->f, name_of(name, tensor_name(e, t), "/Identity", t), plain[l->act]);
    else
        eff_onnx_end_node(&e->f, tensor_name(e, t), plain[l->act]);
    if (l->act == EFF_ACTIVATION_HSWISH) {
        eff_onnx_attr_float(&e->f, "alpha", 1.0f / 6);
        eff_onnx_attr_float(&e->f, "beta", 0.5f);
    }
    eff_proto_end(&e->f.p);
    if (!twice)
        return;
    begin_step_node(e, s, from);
    put_name(e, EFF_ONNX_INPUT, s->name, "_gate", index_of(e, s));
    put_result(e, s);
    eff_onnx_end_node(&e->f, tensor_name(e, t), "Mul");
    eff_proto_end(&e->f.p);
}

static void window(Exporter *e, const EffPlanStep *s, int t)
{
    const EffPlanTensor *in = &e->plan->tensors[s->in[0]], *out = &e->plan->tensors[t];
    const int64_t bottom = (out->h - 1) * s->stride + s->kernel - s->pad_top - in->h;
    const int64_t right = (out->w - 1) * s->stride + s->kernel - s->pad_left - in->w;
    const int64_t pads[] = {s->pad_top, s->pad_left, bottom > 0 ? bottom : 0, right > 0 ? right : 0};
    eff_onnx_attr_ints(&e->f, "kernel_shape", 2, (const int64_t[]){s->kernel, s->kernel});
    eff_onnx_attr_ints(&e->f, "strides", 2, (const int64_t[]){s->stride, s->stride});
    eff_onnx_attr_ints(&e->f, "pads", 4, pads);
    eff_onnx_attr_ints(&e->f, "dilations", 2, (const int64_t[]){1, 1});
    eff_onnx_attr_int(&e->f, "group", s->op == EFF_STEP_DW ? s->in_ch : 1);
}

/* The tensor that is nearest to the step's real value: the 16-bit one, if there is one. */
static int real_output(const EffPlanStep *s)
{
    return s->out[1] != EFF_PLAN_NONE ? s->out[1] : s->out[0];
}

/* What is computed leaves: a u8 copy is made of the 16-bit values, `from` of the step where they are no tensor. */
static void leave(Exporter *e, const EffPlanStep *s)
{
    if (s->out[1] != EFF_PLAN_NONE)
        quantize(e, s->out[1]);
    if (s->out[0] == EFF_PLAN_NONE)
        return;
    if (e->in_steps[s->out[0]] && !clamps(s)) {
        eff_onnx_begin_node(&e->f);
        if (s->out[1] != EFF_PLAN_NONE)
            put_value(e, EFF_ONNX_INPUT, s->out[1]);
        else if (s->op == EFF_STEP_QUANT)
            put_value(e, EFF_ONNX_INPUT, s->in[0]);
        else
            put_name(e, EFF_ONNX_INPUT, s->name, "_16", index_of(e, s));
        put_name(e, EFF_ONNX_INPUT, s->name, ".to_u8", index_of(e, s));
        end_step_node(e, s, "_copied", "Mul");
        steps_of_u8(e, s, "_copied");
    }
    quantize(e, s->out[0]);
}

static void layer_node(Exporter *e, const EffPlanStep *s)
{
    const int k = index_of(e, s), t = real_output(s);
    const bool adds = s->in[1] != EFF_PLAN_NONE;
    constant_nodes(e, s);
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, s->in[0]);
    put_name(e, EFF_ONNX_INPUT, s->name, ".weight", k);
    put_name(e, EFF_ONNX_INPUT, s->name, ".bias", k);
    put_name(e, EFF_ONNX_OUTPUT, s->name, "_sum", k);
    eff_onnx_end_node(&e->f, s->name, "Conv");
    window(e, s, t);
    eff_proto_end(&e->f.p);
    if (!is_exact(s)) {
        activate(e, s, "_sum", t);
        leave(e, s);
        return;
    }
    step_node(e, s, "Floor", "_sum", NULL, "_t");
    if (clamps(s)) {
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
        eff_onnx_end_node(&e->f, tensor_name(e, t), "Add");
        eff_proto_end(&e->f.p);
    } else {
        activate(e, s, "_y", t);
    }
    leave(e, s);
}

static void head_node(Exporter *e, const EffPlanStep *s)
{
    char name[NAME_BYTES];
    const int k = index_of(e, s);
    constant_nodes(e, s);
    eff_onnx_begin_node(&e->f);
    put_value(e, EFF_ONNX_INPUT, s->in[0]);
    put_name(e, EFF_ONNX_OUTPUT, s->name, "_flat", k);
    eff_onnx_end_node(&e->f, name_of(name, s->name, "/Flatten", k), "Flatten");
    eff_proto_end(&e->f.p);
    eff_onnx_begin_node(&e->f);
    put_name(e, EFF_ONNX_INPUT, s->name, "_flat", k);
    put_name(e, EFF_ONNX_INPUT, s->name, ".weight", k);
    put_name(e, EFF_ONNX_INPUT, s->name, ".bias", k);
    eff_proto_text(&e->f.p, EFF_ONNX_OUTPUT, "output");
    eff_onnx_end_node(&e->f, s->name, "Gemm");
    eff_onnx_attr_int(&e->f, "transB", 1);
    eff_proto_end(&e->f.p);
}

/* A step without weights: its inputs as they are. */
static void plain(Exporter *e, const EffPlanStep *s, const char *op)
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

static bool has_weights(const EffPlanStep *s)
{
    return s->data[EFF_DATA_WGT].n_bytes > 0;
}

static void put_nodes(void *ctx)
{
    Exporter *e = ctx;
    if (is_quantized(e, 0))
        quantize(e, 0);
    for (int i = 0; i < e->plan->n_steps; i++) {
        const EffPlanStep *s = &e->plan->steps[i];
        switch (s->op) {
        case EFF_STEP_QUADS: break; /* another layout of the same values */
        case EFF_STEP_POOL: plain(e, s, "GlobalAveragePool"); break;
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

static void put_constants(void *ctx)
{
    Exporter *e = ctx;
    for (int t = 0; t < e->plan->n_tensors; t++)
        quantize_constants(e, t);
    for (int i = 0; i < e->plan->n_steps; i++) {
        if (has_weights(&e->plan->steps[i]))
            layer_constants(e, &e->plan->steps[i]);
        requant_constants(e, &e->plan->steps[i]);
    }
    eff_onnx_number(&e->f, "half_up", ldexpf(1, -16)); /* half of the finest that a product with 15 bits has */
    eff_onnx_number(&e->f, "low.half", 64);
    eff_onnx_number(&e->f, "low.weight", 1.0f / 128);
    for (int shift = 0; shift <= EFF_MAX_PRE_SHIFT; shift++) {
        char name[32];
        for (int i = 0; i < 2 && (e->pre_shifts >> shift & 1); i++) {
            snprintf(name, sizeof name, i ? "s16.max_%d" : "s16.min_%d", shift);
            eff_onnx_number(&e->f, name, ldexpf(i ? INT16_MAX : INT16_MIN, -shift));
        }
    }
    if (e->has_relu6) {
        eff_onnx_number(&e->f, "clip.min", 0);
        eff_onnx_number(&e->f, "clip.max", 6);
    }
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

static void release(Exporter *e)
{
    for (int i = 0; e->layers != NULL && i < e->plan->n_steps; i++)
        eff_real_layer_free(&e->layers[i]);
    eff_free(e->layers);
    eff_free(e->same_as);
    eff_free(e->in_steps);
}

/* release() is due after a failure too. */
static EffStatus prepare(Exporter *e, EffOnnxContent *content, const EffPlan *plan, const EffOnnxExport *options)
{
    static const EffOnnxExport defaults;
    const EffOnnxExport *o = options != NULL ? options : &defaults;
    const EffPlanTensor *pixels = &plan->tensors[0];
    *e = (Exporter){.plan = plan};
    *content = (EffOnnxContent){.name = plan->name,
                                .pre = &plan->pre,
                                .labels = o->labels != NULL ? o->labels : (const char *const *)plan->labels,
                                .n_classes = plan->n_classes,
                                .input = {pixels->h, pixels->w, pixels->c},
                                .put_nodes = put_nodes,
                                .put_constants = put_constants,
                                .ctx = e};
    EffStatus st = eff_onnx_file_init(&e->f, o->opset);
    if (st == EFF_OK && e->f.opset < EFF_EXPORT_MIN_QUANTIZED_OPSET)
        st = eff_fail(EFF_ERR_ARG, "operator set %d; a quantized model needs %d to %d (a scale a channel)", e->f.opset,
                      EFF_EXPORT_MIN_QUANTIZED_OPSET, EFF_EXPORT_MAX_OPSET);
    for (int i = 0; i < plan->n_steps && st == EFF_OK; i++) {
        if (eff_step_is_wide(plan->steps[i].op) || plan->steps[i].op == EFF_STEP_GATE)
            st = eff_fail(EFF_ERR_UNSUPPORTED,
                          "%s: a node with 16-bit inputs, which is not exported; quantize without "
                          "--int16-nodes",
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
            e->in_steps[s->out[0]] = is_exact(s) || (s->op == EFF_STEP_QUANT && s->in[1] == EFF_PLAN_NONE);
        if (is_exact(s) && !clamps(s))
            e->pre_shifts |= 1u << s->pre_shift;
        if (has_weights(s))
            st = eff_real_layer(&e->layers[i], plan, s);
        e->has_relu6 = e->has_relu6 || e->layers[i].act == EFF_ACTIVATION_RELU6;
    }
    return st;
}

EffStatus eff_onnx_encode_plan(EffBytes *out, EffOnnxSize *size, const EffPlan *plan, const EffOnnxExport *options)
{
    Exporter e;
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
