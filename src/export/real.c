/* SPDX-License-Identifier: Apache-2.0 */
/* Integers of a plan as real numbers. */
#include "export/real.h"
#include "base/mem.h"
#include "base/status.h"
#include "format/layer.h"
#include "kernels/act_tables.h"

#include <math.h>
#include <string.h>

double eff_real_scale(const EffPlan *plan, int tensor, int channel)
{
    const EffPlanTensor *t = &plan->tensors[tensor];
    if (tensor == 0)
        return 1 / (double)plan->pre.std[channel];
    const float *scale = (const float *)(const void *)(plan->data + t->scale);
    return (double)scale[t->n_scales > 1 ? channel : 0];
}

double eff_real_zero(const EffPlan *plan, int tensor, int channel)
{
    const EffPlanTensor *t = &plan->tensors[tensor];
    if (tensor == 0)
        return (double)plan->pre.mean[channel];
    if (t->type != EFF_TENSOR_U8)
        return 0;
    return (plan->data + t->zero)[t->n_scales > 1 ? channel : 0];
}

bool eff_real_per_channel(const EffPlan *plan, int tensor)
{
    for (int c = 1; c < plan->tensors[tensor].c; c++) {
        if (eff_real_scale(plan, tensor, c) != eff_real_scale(plan, tensor, 0) ||
            eff_real_zero(plan, tensor, c) != eff_real_zero(plan, tensor, 0))
            return true;
    }
    return false;
}

/* ---- Units ---- */

/* The power of two that is nearest. Scales of s16 tensors are powers of two, in float exactly; what is derived from a
 * rounded u8 scale is one but for a rounding. */
static double power_of_two(double v)
{
    int e;
    const double m = frexp(v, &e);
    return ldexp(1, m > 0.7071 ? e : e - 1);
}

/*
 * Unit of y, what the multiplier makes of the accumulator's 16 bits, of channel c: that of the s16 output; without one,
 * what the u8 copy's multiplier says: scale = 2^15 unit / (omult 2^post_shift).
 */
static double unit_of_y(const EffPlan *plan, const EffPlanStep *s, int c)
{
    if (s->out[1] != EFF_PLAN_NONE)
        return eff_real_scale(plan, s->out[1], c);
    const int16_t *omult = eff_plan_data(plan, s, EFF_DATA_OMULT);
    if (omult[c] == 0)
        return 0;
    return power_of_two(eff_real_scale(plan, s->out[0], c) * omult[c] * ldexp(1, s->post_shift - 15));
}

/* ---- Which function a table holds ---- */

/* Largest difference of a table from a function on y in steps of `unit`, in multiples of what is allowed: a step of the
 * table and 2 % of the function's largest value there. */
static double misfit(const EffPlan *plan, const EffPlanStep *s, EffActFn fn, double unit)
{
    double worst = 0, most = 0;
    if (s->act == EFF_ACT_STAIR) {
        const uint8_t *stair = eff_plan_data(plan, s, EFF_DATA_STAIR);
        for (int i = 0; i < EFF_STAIR_SIZE; i++) {
            const double g = eff_act_g(fn, (i + 0.5) * ldexp(unit, s->act_h));
            worst = fmax(worst, fabs((double)(stair[i] << s->act_g_shift) * unit - g));
            most = fmax(most, g);
        }
        return worst / (0.02 * most + ldexp(unit, s->act_g_shift));
    }
    const int16_t *knot = eff_plan_data(plan, s, EFF_DATA_KNOT);
    for (int i = 0; i < EFF_KNOTS; i++) {
        const double g = eff_act_g(fn, i * ldexp(unit, s->act_h));
        worst = fmax(worst, fabs(knot[i] * unit - g));
        most = fmax(most, g);
    }
    return worst / (0.02 * most + unit);
}

static EffStatus find_act(EffRealLayer *l, const EffPlan *plan, const EffPlanStep *s)
{
    if (s->act == EFF_ACT_NONE || s->act == EFF_ACT_RELU) {
        l->act = s->act == EFF_ACT_RELU ? EFF_ACTIVATION_RELU : EFF_ACTIVATION_NONE;
        return EFF_OK;
    }
    if (s->act == EFF_ACT_RELU6) {
        l->act = EFF_ACTIVATION_RELU6;
        return EFF_OK;
    }
    const double silu = misfit(plan, s, EFF_FN_SILU, l->step), hswish = misfit(plan, s, EFF_FN_HARD_SWISH, l->step);
    if (fmin(silu, hswish) > 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s: an activation table that is neither SiLU's nor hard-swish's",
                        s->name);
    l->act = silu <= hswish ? EFF_ACTIVATION_SILU : EFF_ACTIVATION_HSWISH;
    return EFF_OK;
}

/*
 * Unit of what goes into the sigmoid, which no tensor has: the one at which the table is the sigmoid's. Knots 2^h units
 * apart fall off with it, so one power of two fits best by far.
 */
static EffStatus find_sigmoid(EffRealLayer *l, const EffPlan *plan, const EffPlanStep *s)
{
    const int16_t *knot = eff_plan_data(plan, s, EFF_DATA_SIGMOID);
    double best = HUGE_VAL;
    for (int f = -16; f <= 24; f++) {
        double worst = 0;
        for (int i = 0; i < EFF_KNOTS; i++)
            worst = fmax(worst, fabs(knot[i] / 32768.0 - eff_act_g(EFF_FN_SIGMOID, i * ldexp(1, s->sigmoid_h - f))));
        if (worst < best) {
            best = worst;
            l->step = ldexp(1, -f);
        }
    }
    l->act = EFF_ACTIVATION_SIGMOID;
    if (best > 1.0 / 1024)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s: a gate's table that is not the sigmoid's", s->name);
    return EFF_OK;
}

/* ---- Layers ---- */

/* Bias of output o, less what was added for rounding, plus what stands for the input's zero points. */
static double real_bias(const EffPlan *plan, const EffPlanStep *s, int o)
{
    const int32_t *bias = eff_plan_data(plan, s, EFF_DATA_BIAS), *shift = eff_plan_data(plan, s, EFF_DATA_SHIFT);
    double sum = (double)bias[o] - (shift[o] > 0 ? ldexp(1, shift[o] - 1) : 0);
    const bool depthwise = eff_step_is_dw(s->op);
    const size_t taps = (size_t)(s->kernel * s->kernel), n_in = depthwise ? 1 : (size_t)s->in_ch;
    int y_first = 0, y_end = s->kernel, x_first = 0, x_end = s->kernel;
    if (s->op == EFF_STEP_FC)
        return sum;
    if (s->op == EFF_STEP_STEM) { /* the bias of the first border case counts the taps that lie inside there */
        const EffPlanTensor *in = &plan->tensors[0], *out = &plan->tensors[s->out[s->out[0] == EFF_PLAN_NONE]];
        int cases[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL];
        eff_stem_cases(cases, s->kernel, s->stride, s->pad_top, in->h, out->h);
        y_first = cases[0] / s->kernel, y_end = cases[0] % s->kernel + 1;
        eff_stem_cases(cases, s->kernel, s->stride, s->pad_left, in->w, out->w);
        x_first = cases[0] / s->kernel, x_end = cases[0] % s->kernel + 1;
    }
    const int8_t *wgt = eff_plan_data(plan, s, EFF_DATA_WGT);
    for (size_t t = 0; t < taps; t++) {
        const int y = (int)t / s->kernel, x = (int)t % s->kernel;
        for (size_t i = 0; i < n_in && y >= y_first && y < y_end && x >= x_first && x < x_end; i++)
            sum += (eff_step_is_wide(s->op) ? 128 : eff_real_zero(plan, s->in[0], depthwise ? o : (int)i)) *
                   wgt[((size_t)o * taps + t) * n_in + i];
    }
    return sum;
}

static EffStatus find_units(EffRealLayer *l, const EffPlan *plan, const EffPlanStep *s)
{
    const int32_t *shift = eff_plan_data(plan, s, EFF_DATA_SHIFT);
    const int16_t *mult = eff_plan_data(plan, s, EFF_DATA_MULT);
    const bool gate = eff_plan_data(plan, s, EFF_DATA_SIGMOID) != NULL, fc = s->op == EFF_STEP_FC;
    EffStatus st = EFF_OK;
    if (gate)
        st = find_sigmoid(l, plan, s);
    for (int o = 0; o < s->out_ch; o++) {
        const double y = s->out_kind == EFF_OUT_U8_CLAMP ? 0 : gate ? l->step : unit_of_y(plan, s, o);
        if (!gate)
            l->step = fmax(l->step, y);
        l->y_unit[o] = y > 0 ? y : 1;
        l->unit[o] = fc ? mult[o] * y * ldexp(1, s->pre_shift - shift[o] - 15) : ldexp(1, -shift[o]);
        l->bias[o] = real_bias(plan, s, o);
        if (!fc) /* t rounds half up by what the shift cuts off */
            l->bias[o] += 0.5 + (shift[o] > 0 ? ldexp(1, shift[o] - 1) : 0);
    }
    if (s->out_kind == EFF_OUT_U8_CLAMP)
        l->act = EFF_ACTIVATION_NONE;
    else if (st == EFF_OK && !gate)
        st = find_act(l, plan, s);
    return st;
}

static EffStatus need_scales(const EffPlan *plan, const EffPlanStep *s)
{
    const int tensors[] = {s->in[0], s->in[1], s->out[0], s->out[1]};
    for (size_t i = 0; i < EFF_COUNT(tensors); i++) {
        if (tensors[i] > 0 && plan->tensors[tensors[i]].type != EFF_TENSOR_F32 &&
            plan->tensors[tensors[i]].n_scales == 0)
            return eff_fail(EFF_ERR_UNSUPPORTED, "%s: a tensor without scales, so its real values are unknown",
                            s->name);
    }
    return EFF_OK;
}

EffStatus eff_real_layer(EffRealLayer *out, const EffPlan *plan, const EffPlanStep *s)
{
    const size_t n = (size_t)s->out_ch;
    EffStatus st = need_scales(plan, s);
    *out = (EffRealLayer){.n_out = s->out_ch};
    if (st != EFF_OK)
        return st;
    out->unit = eff_calloc(3 * n, sizeof *out->unit);
    if (out->unit == NULL)
        return eff_fail_nomem(3 * n * sizeof *out->unit, "a layer");
    out->bias = out->unit + n;
    out->y_unit = out->unit + 2 * n;
    if (s->op == EFF_STEP_HEAD) {
        const float *scale = eff_plan_data(plan, s, EFF_DATA_SCALE), *bias = eff_plan_data(plan, s, EFF_DATA_FBIAS);
        for (size_t o = 0; o < n; o++) {
            out->unit[o] = (double)scale[o];
            out->bias[o] = (double)bias[o];
        }
        return EFF_OK;
    }
    st = find_units(out, plan, s);
    if (st != EFF_OK)
        eff_real_layer_free(out);
    return st;
}

void eff_real_layer_free(EffRealLayer *l)
{
    eff_free(l->unit);
    *l = (EffRealLayer){0};
}
