/* SPDX-License-Identifier: Apache-2.0 */
/* Constants of a quantized ONNX model: scales, zero points, weights, biases, and what requantizing needs. */
#include "export/onnx_qdq.h"
#include "kernels/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- What is so ---- */

/* Whether a dense layer's input channels have steps that differ, which no scale an output can hold. */
bool eff_qdq_steps_differ(const EffQdq *e, const EffPlanStep *s)
{
    if (eff_step_is_dw(s->op))
        return false;
    for (int c = 1; c < s->in_ch; c++) {
        if (eff_real_scale(e->plan, s->in[0], c) != eff_real_scale(e->plan, s->in[0], 0))
            return true;
    }
    return false;
}

int eff_qdq_index(const EffQdq *e, const EffPlanStep *s)
{
    return (int)(s - e->plan->steps);
}

/* In halves of the accumulator's unit. */
bool eff_qdq_bias_is_int(const EffQdq *e, const EffPlanStep *s)
{
    const EffRealLayer *l = &e->layers[eff_qdq_index(e, s)];
    for (int o = 0; o < l->n_out; o++) {
        if (2 * l->bias[o] != floor(2 * l->bias[o]) || fabs(l->bias[o]) > INT32_MAX / 2)
            return false;
    }
    return s->op != EFF_STEP_HEAD;
}

bool eff_qdq_has_weights(const EffPlanStep *s)
{
    return s->data[EFF_DATA_WGT].n_bytes > 0;
}

/* ---- Numbers ---- */

static void floats(EffQdq *e, const char *node, const char *what, int number, int rank, const int64_t *dims,
                   double (*value)(const EffQdq *, int, int))
{
    int n = 1;
    for (int i = 0; i < rank; i++)
        n *= (int)dims[i];
    eff_onnx_begin_constant(&e->f, EFF_ONNX_FLOAT, rank, dims);
    eff_qdq_put_name(e, EFF_ONNX_TENSOR_NAME, node, what, number);
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)n * sizeof(float));
    for (int i = 0; at != NULL && i < n; i++) {
        const float v = (float)value(e, number, i);
        memcpy(at + (size_t)i * sizeof v, &v, sizeof v);
    }
    eff_proto_end(&e->f.p);
}

static double weight_scale(const EffQdq *e, int step, int o)
{
    const EffPlanStep *s = &e->plan->steps[step];
    const double unit = ldexp(e->layers[step].unit[o], eff_step_is_wide(s->op) ? -8 : 0);
    return eff_qdq_steps_differ(e, s) ? unit : unit / eff_real_scale(e->plan, s->in[0], eff_step_is_dw(s->op) ? o : 0);
}

static double bias_scale(const EffQdq *e, int step, int o)
{
    return e->layers[step].unit[o] / 2;
}

static double float_bias(const EffQdq *e, int step, int o)
{
    const EffRealLayer *l = &e->layers[step];
    return e->plan->steps[step].op == EFF_STEP_HEAD ? l->bias[o] : l->bias[o] * l->unit[o];
}

static double reciprocal_step(const EffQdq *e, int step, int i)
{
    return 1 / eff_real_scale(e->plan, e->plan->steps[step].in[0], i);
}

static int16_t entry(const EffQdq *e, int step, EffDataSlot slot, int o)
{
    return ((const int16_t *)eff_plan_data(e->plan, &e->plan->steps[step], slot))[o];
}

bool eff_qdq_clamps(const EffPlanStep *s)
{
    return s->op != EFF_STEP_QUANT && s->out_kind == EFF_OUT_U8_CLAMP;
}

/* The multiplier to u8 in steps of that u8 tensor: of t, or of the 16 bits before they are shifted by post_shift. */
static double to_u8(const EffQdq *e, int step, int o)
{
    return ldexp(entry(e, step, eff_qdq_clamps(&e->plan->steps[step]) ? EFF_DATA_MULT : EFF_DATA_OMULT, o), -15);
}

/* Real value of a step of the 16-bit tensor that a u8 copy is made of. */
static double copied_unit(const EffQdq *e, int step, int o)
{
    const EffPlanStep *s = &e->plan->steps[step];
    return s->op == EFF_STEP_QUANT ? eff_real_scale(e->plan, s->in[0], o) : e->layers[step].y_unit[o];
}

static double u8_factor(const EffQdq *e, int step, int o)
{
    const EffPlanStep *s = &e->plan->steps[step];
    return eff_qdq_clamps(s) ? to_u8(e, step, o) : ldexp(to_u8(e, step, o), s->post_shift) / copied_unit(e, step, o);
}

/* Where 16 bits, or a clamp, end in steps of the u8 tensor. */
static double u8_most(const EffQdq *e, int step, int o)
{
    const double most = INT16_MAX * to_u8(e, step, o);
    return eff_qdq_clamps(&e->plan->steps[step]) ? fmin(most, entry(e, step, EFF_DATA_TOP, o)) : most;
}

static double u8_least(const EffQdq *e, int step, int o)
{
    return INT16_MIN * to_u8(e, step, o);
}

/* Whether bytes reach further than 16 bits and the clamp do, above or below. */
bool eff_qdq_ends_early(const EffQdq *e, const EffPlanStep *s, bool above)
{
    const int k = eff_qdq_index(e, s);
    for (int o = 0; o < s->out_ch; o++) {
        const int zero = entry(e, k, EFF_DATA_ZERO, o);
        if (above ? u8_most(e, k, o) + zero < 255 : u8_least(e, k, o) + zero > 0)
            return true;
    }
    return false;
}

/* The multiplier to y as two of 8 bits: products with 16 bits are exact in float. */
static double mult_high(const EffQdq *e, int step, int o)
{
    return ldexp(entry(e, step, EFF_DATA_MULT, o) >> 8, e->plan->steps[step].pre_shift - 7);
}

static double mult_low(const EffQdq *e, int step, int o)
{
    return ldexp(entry(e, step, EFF_DATA_MULT, o) & 255, e->plan->steps[step].pre_shift - 8);
}

static double y_unit(const EffQdq *e, int step, int o)
{
    return e->layers[step].y_unit[o];
}

/* A convolution whose sums and what follows them are computed as the plan does, to the bit. */
bool eff_qdq_is_exact(const EffPlanStep *s)
{
    return s->op == EFF_STEP_STEM || s->op == EFF_STEP_PW || s->op == EFF_STEP_DW || eff_step_is_wide(s->op);
}

static void requant_constants(EffQdq *e, const EffPlanStep *s)
{
    const int k = eff_qdq_index(e, s);
    const int64_t dims[] = {1, s->out_ch, 1, 1};
    if (eff_qdq_is_exact(s) && !eff_qdq_clamps(s)) {
        floats(e, s->name, ".mult_high", k, 4, dims, mult_high);
        floats(e, s->name, ".mult_low", k, 4, dims, mult_low);
        floats(e, s->name, ".unit", k, 4, dims, y_unit);
    }
    if (s->out[0] == EFF_PLAN_NONE || !e->in_steps[s->out[0]])
        return;
    floats(e, s->name, ".to_u8", k, 4, dims, u8_factor);
    if (eff_qdq_ends_early(e, s, true))
        floats(e, s->name, ".most", k, 4, dims, u8_most);
    if (eff_qdq_ends_early(e, s, false))
        floats(e, s->name, ".least", k, 4, dims, u8_least);
}

/* ---- Tensors ---- */

static double scale_at(const EffQdq *e, int t, int c)
{
    return eff_real_scale(e->plan, t, c);
}

static double one_step(const EffQdq *e, int t, int c)
{
    (void)e, (void)t, (void)c;
    return 1;
}

static void quantize_constants(EffQdq *e, int t)
{
    if (e->same_as[t] != t || !eff_qdq_is_quantized(e, t))
        return;
    const EffPlanTensor *tensor = &e->plan->tensors[t];
    const bool per_channel = eff_real_per_channel(e->plan, t), wide = tensor->type == EFF_TENSOR_S16;
    const int64_t n = per_channel ? tensor->c : 1;
    floats(e, eff_qdq_tensor_name(e, t), "_scale", t, per_channel, &n, scale_at);
    if (e->in_steps[t])
        floats(e, eff_qdq_tensor_name(e, t), "_step", t, per_channel, &n, one_step);
    eff_onnx_begin_constant(&e->f, wide ? EFF_ONNX_INT16 : EFF_ONNX_UINT8, per_channel, &n);
    eff_qdq_put_name(e, EFF_ONNX_TENSOR_NAME, eff_qdq_tensor_name(e, t), "_zero_point", t);
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)(n * (wide ? 2 : 1)));
    for (int c = 0; at != NULL && c < n * (wide ? 2 : 1); c++)
        at[c] = wide ? 0 : (uint8_t)eff_real_zero(e->plan, t, c);
    eff_proto_end(&e->f.p);
}

/* ---- Layers ---- */

/* [o][ky][kx][i] as [o][i][ky][kx]. 16-bit weights are int32 where DequantizeLinear does not take int16. */
static void weights(EffQdq *e, const EffPlanStep *s)
{
    const bool wide = s->wgt_bits == 16, gemm = s->op == EFF_STEP_HEAD;
    const int type = !wide ? EFF_ONNX_INT8 : e->f.opset >= EFF_QDQ_FIRST_WITH_INT16 ? EFF_ONNX_INT16 : EFF_ONNX_INT32;
    const size_t each = type == EFF_ONNX_INT8 ? 1 : type == EFF_ONNX_INT16 ? 2 : 4;
    const size_t taps = (size_t)(s->kernel * s->kernel), in = eff_step_is_dw(s->op) ? 1 : (size_t)s->in_ch;
    eff_onnx_begin_constant(&e->f, type, gemm ? 2 : 4, (const int64_t[]){s->out_ch, (int64_t)in, s->kernel, s->kernel});
    eff_qdq_put_name(e, EFF_ONNX_TENSOR_NAME, s->name, ".weight_quantized", eff_qdq_index(e, s));
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

static void layer_constants(EffQdq *e, const EffPlanStep *s)
{
    const int k = eff_qdq_index(e, s);
    const EffRealLayer *l = &e->layers[k];
    const int64_t n = s->out_ch;
    weights(e, s);
    floats(e, s->name, ".weight_scale", k, 1, &n, weight_scale);
    e->f.size.params += eff_plan_data(e->plan, s, EFF_DATA_WGT) != NULL
                            ? s->data[EFF_DATA_WGT].n_bytes / (uint64_t)(s->wgt_bits / 8) + (uint64_t)n
                            : 0;
    if (eff_qdq_steps_differ(e, s))
        floats(e, s->name, ".input_steps", k, s->op == EFF_STEP_HEAD ? 2 : 4, (const int64_t[]){1, s->in_ch, 1, 1},
               reciprocal_step);
    if (!eff_qdq_bias_is_int(e, s)) {
        floats(e, s->name, ".bias", k, 1, &n, float_bias);
        return;
    }
    floats(e, s->name, ".bias_scale", k, 1, &n, bias_scale);
    eff_onnx_begin_constant(&e->f, EFF_ONNX_INT32, 1, &n);
    eff_qdq_put_name(e, EFF_ONNX_TENSOR_NAME, s->name, ".bias_quantized", k);
    uint8_t *at = eff_proto_bytes(&e->f.p, EFF_ONNX_TENSOR_RAW, (uint64_t)n * sizeof(int32_t));
    for (int64_t o = 0; at != NULL && o < n; o++) {
        const int32_t v = (int32_t)(2 * l->bias[o]);
        memcpy(at + (size_t)o * sizeof v, &v, sizeof v);
    }
    eff_proto_end(&e->f.p);
}

void eff_qdq_put_constants(void *ctx)
{
    EffQdq *e = ctx;
    for (int t = 0; t < e->plan->n_tensors; t++)
        quantize_constants(e, t);
    for (int i = 0; i < e->plan->n_steps; i++) {
        if (eff_qdq_has_weights(&e->plan->steps[i]))
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
