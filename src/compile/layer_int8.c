/* SPDX-License-Identifier: Apache-2.0 */
/* One convolution in int8. The formulas stand in doc/quantization.md. */
#include "compile/layer_int8.h"
#include "base/mem.h"
#include "base/status.h"
#include "kernels/act_tables.h"
#include "quant/requantize.h"

#include <math.h>
#include <string.h>

/* ---- Quantization of a tensor ---- */

EffStatus eff_quant_info_alloc(EffQuantInfo *q, int c)
{
    q->scale = eff_calloc((size_t)c, sizeof *q->scale);
    q->zero = eff_calloc((size_t)c, sizeof *q->zero);
    q->c = c;
    return q->scale != NULL && q->zero != NULL ? EFF_OK : eff_fail_nomem((size_t)c * sizeof *q->scale, "scales");
}

void eff_quant_info_free(EffQuantInfo *q)
{
    eff_free(q->scale);
    eff_free(q->zero);
    *q = (EffQuantInfo){0};
}

EffStatus eff_quant_info_describe(EffPlan *plan, EffPlanTensor *tensor, const EffQuantInfo *q)
{
    const int n = q->per_channel ? q->c : 1;
    float *scale = eff_malloc((size_t)n * sizeof *scale);
    uint8_t *zero = eff_malloc((size_t)n);
    EffStatus st = scale != NULL && zero != NULL ? EFF_OK : eff_fail_nomem((size_t)n * sizeof *scale, "scales");
    EffPlanData at = {0};
    for (int i = 0; i < n && st == EFF_OK; i++) {
        scale[i] = (float)q->scale[i];
        zero[i] = (uint8_t)q->zero[i];
    }
    if (st == EFF_OK)
        st = eff_plan_add_data(plan, &at, scale, (size_t)n * sizeof *scale);
    tensor->scale = at.offset;
    if (st == EFF_OK && tensor->type == EFF_TENSOR_U8) {
        st = eff_plan_add_data(plan, &at, zero, (size_t)n);
        tensor->zero = at.offset;
    }
    tensor->n_scales = n;
    eff_free(scale);
    eff_free(zero);
    return st;
}

/* ---- What was decided ---- */

void eff_conv_tuning_free(EffConvTuning *t)
{
    eff_free(t->scaled);
    eff_free(t->acc_min);
    eff_free(t->q);
    eff_free(t->bias);
    *t = (EffConvTuning){0};
}

void eff_layer_numbers_free(EffLayerNumbers *n)
{
    eff_free(n->scaled);
    eff_free(n->acc_min);
    eff_free(n->acc_unit);
    eff_free(n->zero);
    *n = (EffLayerNumbers){0};
}

/* ---- Units ---- */

/* Real weight of output o, tap-and-channel k, times the scale of what it multiplies. */
static double scaled_weight(const EffInt8Layer *l, size_t o, size_t k)
{
    if (l->tuning != NULL && l->tuning->scaled != NULL)
        return l->tuning->scaled[o * l->fan_in + k];
    const size_t per_group = (size_t)(l->conv->in_ch / l->conv->groups);
    const size_t in = per_group == 1 && l->conv->groups > 1 ? o : k % per_group;
    return (double)l->conv->wgt.data[o * l->fan_in + k] * l->in->scale[in];
}

EffStatus eff_int8_layer_begin(EffInt8Layer *l)
{
    const size_t n_out = (size_t)l->conv->out_ch;
    l->fan_in = l->conv->wgt.n / n_out;
    l->acc_min = eff_calloc(n_out, sizeof *l->acc_min);
    l->acc_unit = eff_calloc(n_out, sizeof *l->acc_unit);
    l->shift = eff_calloc(n_out, sizeof *l->shift);
    if (l->acc_min == NULL || l->acc_unit == NULL || l->shift == NULL)
        return eff_fail_nomem(n_out * sizeof *l->acc_min, "a layer");
    for (size_t o = 0; o < n_out; o++) {
        if (l->tuning != NULL && l->tuning->acc_min != NULL) {
            l->acc_min[o] = l->tuning->acc_min[o];
            continue;
        }
        double max = 0;
        for (size_t k = 0; k < l->fan_in && !l->in_float && (!l->sketch || l->numbers != NULL); k++) {
            const double w = fabs(scaled_weight(l, o, k));
            max = w > max ? w : max;
        }
        l->acc_min[o] = max / l->wgt_max;
    }
    return EFF_OK;
}

/* A channel of no or next to no weight: with a unit this large its bias still fits the accumulator. */
static double at_least(double acc_min, double useful)
{
    return fmax(acc_min, useful / 268435456.0);
}

static EffStatus add_s16(EffInt8Layer *l, EffDataSlot slot, const int16_t *values, size_t n)
{
    return eff_plan_add_data(l->plan, &l->step.data[slot], values, n * sizeof *values);
}

EffStatus eff_int8_layer_to_u8(EffInt8Layer *l, const EffQuantInfo *out, double top_real)
{
    const size_t n = (size_t)l->conv->out_ch;
    int16_t *mult = eff_calloc(2 * n, sizeof *mult), *top = mult + n;
    if (mult == NULL)
        return eff_fail_nomem(2 * n * sizeof *mult, "a layer");
    l->step.out_kind = EFF_OUT_U8_CLAMP;
    for (size_t o = 0; o < n; o++) {
        const double useful = 255 * out->scale[o];
        const EffRequantU8 r = eff_requantize_u8(at_least(l->acc_min[o], useful), out->scale[o], useful);
        l->shift[o] = r.shift;
        l->acc_unit[o] = r.acc_unit;
        mult[o] = r.mult;
        top[o] = (int16_t)eff_round_clamp(top_real / out->scale[o], 0, 32767);
    }
    EffStatus st = add_s16(l, EFF_DATA_MULT, mult, n);
    if (st == EFF_OK)
        st = add_s16(l, EFF_DATA_TOP, top, n);
    if (st == EFF_OK)
        st = add_s16(l, EFF_DATA_ZERO, out->zero, n);
    eff_free(mult);
    return st;
}

static EffStatus add_act(EffInt8Layer *l, int frac_bits, EffActKind kind, EffActivation fn, double range)
{
    EffAct act = {.kind = kind};
    uint8_t stair[EFF_STAIR_SIZE];
    int16_t knot[EFF_KNOTS], slope[EFF_KNOTS];
    const EffActFn which = fn == EFF_ACTIVATION_HSWISH ? EFF_FN_HARD_SWISH : EFF_FN_SILU;
    const int y_max = (int)eff_round_clamp(1.25 * range * eff_pow2(frac_bits), 1, 32767);
    EffStatus st = EFF_OK;
    if (kind == EFF_ACT_STAIR) {
        eff_act_build_stair(&act, stair, which, frac_bits, y_max);
        st = eff_plan_add_data(l->plan, &l->step.data[EFF_DATA_STAIR], stair, sizeof stair);
    } else if (kind == EFF_ACT_INTERP) {
        eff_act_build_interp(&act, knot, slope, which, frac_bits, y_max);
        st = add_s16(l, EFF_DATA_KNOT, knot, EFF_KNOTS);
        if (st == EFF_OK)
            st = add_s16(l, EFF_DATA_SLOPE, slope, EFF_KNOTS);
    }
    if (kind == EFF_ACT_RELU6)
        act.h = frac_bits;
    l->step.act = (int32_t)kind;
    l->step.act_h = act.h;
    l->step.act_g_shift = act.g_shift;
    return st;
}

static int bits_of(const EffFixedPoint *y, size_t c)
{
    return y->frac_bits + (y->finer != NULL ? y->finer[c] : 0);
}

/*
 * A channel so steep that one step of one input drives it through about the whole range is one bit: silent, or cut off
 * (a loud picture's, see quant/loud.h). It must not make the unit coarse for all others, so it gets a unit that they
 * can bear, and its slope is smaller by the factor that is returned: it is still silent, or cut off.
 */
static double flatten_steep(double *acc_min, double range)
{
    if (!(*acc_min * 128 > range) || !(range > 0))
        return 1;
    const double factor = *acc_min * 1024 / range;
    *acc_min = range / 1024;
    return factor;
}

EffStatus eff_int8_layer_to_s16(EffInt8Layer *l, EffFixedPoint *y, EffActKind act, EffActivation fn)
{
    const size_t n = (size_t)l->conv->out_ch;
    EffRequantS16 *r = eff_calloc(n, sizeof *r);
    int16_t *mult = eff_calloc(n, sizeof *mult);
    double *steep = eff_calloc(n, sizeof *steep);
    if (r == NULL || mult == NULL || steep == NULL) {
        eff_free(r);
        eff_free(steep);
        eff_free(mult);
        return eff_fail_nomem(n * sizeof *r, "a layer");
    }
    for (size_t o = 0; o < n; o++) {
        l->acc_min[o] = at_least(l->acc_min[o], eff_pow2(EFF_Y_BITS - bits_of(y, o)));
        steep[o] = y->finer == NULL ? flatten_steep(&l->acc_min[o], y->range) : 1;
    }
    l->step.out_kind = act != EFF_ACT_NONE ? EFF_OUT_ACT : EFF_OUT_S16;
    l->step.pre_shift = eff_requantize_s16(r, l->acc_min, y->finer, (int)n, &y->frac_bits);
    for (size_t o = 0; o < n; o++) {
        l->shift[o] = r[o].shift;
        l->acc_unit[o] = r[o].acc_unit * steep[o];
        l->acc_min[o] *= steep[o];
        mult[o] = r[o].mult;
    }
    eff_free(steep);
    EffStatus st = add_s16(l, EFF_DATA_MULT, mult, n);
    if (st == EFF_OK)
        st = add_act(l, y->frac_bits, act, fn, y->range);
    eff_free(r);
    eff_free(mult);
    return st;
}

EffStatus eff_int8_layer_copy_u8(EffPlan *plan, EffPlanStep *step, EffQuantInfo *out, const float *min,
                                 const float *max, const EffFixedPoint *y)
{
    const size_t n = (size_t)out->c;
    int16_t *mult = eff_calloc(n, sizeof *mult);
    if (mult == NULL)
        return eff_fail_nomem(n * sizeof *mult, "a layer");
    step->post_shift = eff_choose_post_shift(y->range, y->frac_bits);
    for (size_t c = 0; c < n; c++) {
        const size_t k = out->per_channel ? c : 0;
        const int bits = bits_of(y, c);
        const EffRequantCopy copy = eff_requantize_copy(
            (double)min[k], (double)max[k], y->range * eff_pow2(y->frac_bits - bits), bits, step->post_shift);
        mult[c] = copy.mult;
        out->zero[c] = copy.zero;
        out->scale[c] = copy.scale;
    }
    EffStatus st = eff_plan_add_data(plan, &step->data[EFF_DATA_OMULT], mult, n * sizeof *mult);
    if (st == EFF_OK)
        st = eff_plan_add_data(plan, &step->data[EFF_DATA_ZERO], out->zero, n * sizeof *out->zero);
    eff_free(mult);
    return st;
}

/* ---- Weights and biases ---- */

/* Sum over the taps inside the case of zero * weight: what the accumulator must not count. */
static double zero_sum(const EffInt8Layer *l, const int16_t *wgt, size_t o, const EffBorderCase *inside)
{
    const EffConv *c = l->conv;
    const size_t per_group = (size_t)(c->in_ch / c->groups);
    double sum = 0;
    for (size_t k = 0; k < l->fan_in; k++) {
        const size_t ch = k % per_group;
        if (inside == NULL) {
            sum += (double)l->in->zero[c->groups > 1 ? o : ch] * wgt[k];
            continue;
        }
        const int tap = (int)(k / per_group), y = tap / c->kernel_w, x = tap % c->kernel_w;
        if (y >= inside->y_first && y < inside->y_end && x >= inside->x_first && x < inside->x_end)
            sum += (double)l->stem_mean[ch] * wgt[k];
    }
    return sum;
}

static int32_t bias_of(const EffInt8Layer *l, const int16_t *wgt, size_t o, const EffBorderCase *inside)
{
    const double own = l->conv->has_bias ? (double)l->conv->bias.data[o] : 0;
    const double bias = l->tuning != NULL && l->tuning->bias != NULL ? l->tuning->bias[o] : own;
    const int64_t rounding = l->shift[o] > 0 ? (int64_t)1 << (l->shift[o] - 1) : 0;
    const double exact = bias / l->acc_unit[o] - zero_sum(l, wgt, o, inside);
    return (int32_t)(eff_round_clamp(exact, -(1 << 30), 1 << 30) + rounding);
}

static EffStatus tell_numbers(const EffInt8Layer *l)
{
    const size_t n_out = (size_t)l->conv->out_ch, n = n_out * l->fan_in;
    const size_t per_group = (size_t)(l->conv->in_ch / l->conv->groups);
    EffLayerNumbers *to = l->numbers;
    eff_layer_numbers_free(to);
    *to = (EffLayerNumbers){.n_out = n_out, .fan_in = l->fan_in};
    to->scaled = eff_calloc(n, sizeof *to->scaled);
    to->acc_min = eff_calloc(n_out, sizeof *to->acc_min);
    to->acc_unit = eff_calloc(n_out, sizeof *to->acc_unit);
    to->zero = eff_calloc(n_out > l->fan_in ? n_out : l->fan_in, sizeof *to->zero);
    if (to->scaled == NULL || to->acc_min == NULL || to->acc_unit == NULL || to->zero == NULL) {
        eff_layer_numbers_free(to);
        return eff_fail_nomem(n * sizeof *to->scaled, "a layer's numbers");
    }
    for (size_t o = 0; o < n_out; o++) {
        to->acc_min[o] = l->acc_min[o];
        to->acc_unit[o] = l->acc_unit[o];
        for (size_t k = 0; k < l->fan_in; k++)
            to->scaled[o * l->fan_in + k] = scaled_weight(l, o, k);
    }
    for (size_t k = 0; k < (l->conv->groups > 1 ? n_out : l->fan_in); k++) {
        const size_t ch = l->conv->groups > 1 ? k : k % per_group;
        to->zero[k] = l->stem_mean != NULL ? (double)l->stem_mean[ch] : (double)l->in->zero[ch];
    }
    return EFF_OK;
}

/*
 * The accumulator of a float layer has no smallest unit, so that its shift was chosen for a sum far finer than 16 bits.
 * What is left after that shift is what the sum is rounded to.
 */
static EffStatus finish_in_float(EffInt8Layer *l)
{
    const size_t n_out = (size_t)l->conv->out_ch, n = n_out * l->fan_in;
    float *wgt = eff_calloc(n, sizeof *wgt), *bias = eff_calloc(2 * n_out, sizeof *bias), *scale = bias + n_out;
    EffStatus st = EFF_OK;
    if (wgt == NULL || bias == NULL)
        st = eff_fail_nomem(n * sizeof *wgt, "a layer's weights");
    for (size_t o = 0; o < n_out && st == EFF_OK; o++) {
        for (size_t k = 0; k < l->fan_in && !l->sketch; k++)
            wgt[o * l->fan_in + k] = (float)scaled_weight(l, o, k);
        bias[o] = l->conv->has_bias && !l->sketch ? l->conv->bias.data[o] : 0;
        scale[o] = (float)fmin(fmax(1 / (l->acc_unit[o] * eff_pow2(l->shift[o])), 1e-30), 1e30);
    }
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &l->step.data[EFF_DATA_SCALE], scale, n_out * sizeof *scale);
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &l->step.data[EFF_DATA_FBIAS], bias, n_out * sizeof *bias);
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &l->step.data[EFF_DATA_FWGT], wgt, n * sizeof *wgt);
    eff_free(wgt);
    eff_free(bias);
    return st;
}

EffStatus eff_int8_layer_finish(EffInt8Layer *l, const EffBorderCase *cases, size_t n_cases)
{
    if (l->in_float)
        return finish_in_float(l);
    const size_t n_out = (size_t)l->conv->out_ch, n_sets = cases != NULL ? n_cases : 1;
    int16_t *row = eff_calloc(l->fan_in, sizeof *row);
    int16_t *wide = eff_calloc(n_out * l->fan_in, sizeof *wide);
    int8_t *narrow = eff_calloc(n_out * l->fan_in, sizeof *narrow);
    int32_t *bias = eff_calloc(n_sets * n_out, sizeof *bias);
    EffStatus st = EFF_OK;
    if (row == NULL || wide == NULL || narrow == NULL || bias == NULL)
        st = eff_fail_nomem(n_out * l->fan_in * 3, "a layer's weights");
    for (size_t o = 0; o < n_out && st == EFF_OK; o++) {
        for (size_t k = 0; k < l->fan_in && !l->sketch; k++) {
            const size_t at = o * l->fan_in + k;
            row[k] = l->tuning != NULL && l->tuning->q != NULL
                         ? l->tuning->q[at]
                         : (int16_t)eff_round_clamp(scaled_weight(l, o, k) / l->acc_unit[o], -l->wgt_max, l->wgt_max);
            wide[o * l->fan_in + k] = row[k];
            narrow[o * l->fan_in + k] = (int8_t)(row[k] < -127 ? -127 : row[k] > 127 ? 127 : row[k]);
        }
        for (size_t s = 0; s < n_sets && !l->sketch; s++)
            bias[s * n_out + o] = bias_of(l, row, o, cases != NULL ? &cases[s] : NULL);
    }
    if (st == EFF_OK && l->wgt_max > 127)
        st = eff_plan_add_data(l->plan, &l->step.data[EFF_DATA_WGT], wide, n_out * l->fan_in * sizeof *wide);
    else if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &l->step.data[EFF_DATA_WGT], narrow, n_out * l->fan_in);
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &l->step.data[EFF_DATA_BIAS], bias, n_sets * n_out * sizeof *bias);
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &l->step.data[EFF_DATA_SHIFT], l->shift, n_out * sizeof *l->shift);
    if (st == EFF_OK && l->numbers != NULL)
        st = tell_numbers(l);
    eff_free(row);
    eff_free(wide);
    eff_free(narrow);
    eff_free(bias);
    return st;
}

void eff_int8_layer_free(EffInt8Layer *l)
{
    eff_free(l->acc_min);
    eff_free(l->acc_unit);
    eff_free(l->shift);
}
