/* SPDX-License-Identifier: Apache-2.0 */
/* Lowering what makes vectors of maps, and gates of vectors: pooling, squeeze-excite, the classifier. */
#include "base/mem.h"
#include "base/status.h"
#include "compile/lower_int8.h"
#include "kernels/act_tables.h"
#include "quant/requantize.h"

#include <math.h>

EffStatus eff_lower_pool(EffLower *l, const EffNode *node)
{
    const EffForms *in = &l->forms[node->in[0]];
    EffForms *out = &l->forms[node->out];
    const EffRange *range = &l->ranges->values[node->out];
    const EffShape shape = l->g->values[node->out].shape;
    EffPlanStep step = eff_lower_step(node->name, EFF_STEP_POOL, shape.c, shape.c);
    step.in[0] = in->s16 != EFF_PLAN_NONE ? in->s16 : in->u8;
    if (step.in[0] == EFF_PLAN_NONE)
        return eff_lower_unsupported(node, "its input has no integer form");
    EffStatus st;
    if (in->s16 != EFF_PLAN_NONE) {
        while (step.frac_bits < 7 &&
               1.25 * (double)eff_range_abs(range) * eff_pow2(in->frac_bits + step.frac_bits + 1) <= 32767)
            step.frac_bits++;
        out->frac_bits = in->frac_bits + step.frac_bits;
        st = eff_lower_add_s16(l, &out->vector, node->name, EFF_LAYOUT_VECTOR, shape, out->frac_bits);
    } else {
        step.frac_bits = 7; /* 255 * 2^7 fits */
        st = eff_quant_info_alloc(&out->quant, shape.c);
        for (int c = 0; c < shape.c && st == EFF_OK; c++)
            out->quant.scale[c] = in->quant.scale[c] / 128;
        out->quant.per_channel = true;
        if (st == EFF_OK)
            st = eff_lower_add_tensor(l, &out->vector, node->name, EFF_TENSOR_S16, EFF_LAYOUT_VECTOR, shape,
                                      &out->quant);
    }
    step.out[1] = out->vector;
    return st == EFF_OK ? eff_plan_add_step(l->plan, &step) : st;
}

/* Scales of a pooled or fully connected vector, a channel each. */
static EffStatus vector_quant(EffQuantInfo *q, const EffForms *in, int c)
{
    const EffStatus st = eff_quant_info_alloc(q, c);
    for (int i = 0; i < c && st == EFF_OK; i++)
        q->scale[i] = in->quant.scale != NULL ? in->quant.scale[i] : eff_pow2(-in->frac_bits);
    return st;
}

static EffStatus add_sigmoid(EffLower *l, EffPlanStep *step, int frac_bits, double range)
{
    int16_t table[2][EFF_KNOTS];
    EffAct act = {0};
    const int y_max = (int)eff_round_clamp(1.25 * range * eff_pow2(frac_bits), 1, 32767);
    eff_act_build_interp(&act, table[0], table[1], EFF_FN_SIGMOID, frac_bits, y_max);
    step->sigmoid_h = act.h;
    return eff_plan_add_data(l->plan, &step->data[EFF_DATA_SIGMOID], table, sizeof table);
}

/* A layer of squeeze-excite: 16-bit weights, then ReLU, SiLU or hard-swish, or the sigmoid that makes the gate. */
EffStatus eff_lower_fc(EffLower *l, const EffNode *node)
{
    const EffNode *act = eff_lower_only_reader(l, node->out, EFF_OP_ACT);
    const EffNode *last = act != NULL ? act : node;
    const EffForms *in = &l->forms[node->in[0]];
    EffForms *out = &l->forms[last->out];
    const EffActivation fn = act != NULL ? act->act : EFF_ACTIVATION_NONE;
    const double before = (double)eff_range_before(&l->ranges->values[node->out], fn);
    const bool sigmoid = act != NULL && act->act == EFF_ACTIVATION_SIGMOID;
    EffActKind kind = EFF_ACT_NONE;
    if (act != NULL && !sigmoid)
        kind = act->act == EFF_ACTIVATION_RELU ? EFF_ACT_RELU : EFF_ACT_INTERP;
    if (act != NULL && act->act == EFF_ACTIVATION_RELU6)
        return eff_lower_unsupported(act, "no int8 form of this activation here");
    if (act != NULL)
        l->done[eff_lower_node_index(l, act)] = true;
    EffQuantInfo quant = {0};
    EffInt8Layer layer = {.plan = l->plan, .conv = &node->conv, .in = &quant, .wgt_max = 32767};
    layer.step = eff_lower_step(node->name, EFF_STEP_FC, node->conv.in_ch, node->conv.out_ch);
    layer.step.wgt_bits = 16;
    layer.step.in[0] = in->vector;
    EffStatus st = vector_quant(&quant, in, node->conv.in_ch);
    if (st == EFF_OK)
        st = eff_int8_layer_begin(&layer);
    EffFixedPoint y = {.frac_bits = eff_choose_frac_bits(before, sigmoid ? 11 : EFF_MAX_ACT_FRAC_BITS),
                       .range = before};
    if (st == EFF_OK)
        st = eff_int8_layer_to_s16(&layer, &y, kind, fn);
    out->frac_bits = y.frac_bits;
    if (st == EFF_OK && sigmoid) {
        st = add_sigmoid(l, &layer.step, out->frac_bits, before);
        out->frac_bits = 15;
    }
    if (st == EFF_OK)
        st = eff_int8_layer_finish(&layer, NULL, 0);
    if (st == EFF_OK)
        st = eff_lower_add_s16(l, &out->vector, last->name, EFF_LAYOUT_VECTOR, l->g->values[last->out].shape,
                               out->frac_bits);
    layer.step.out[1] = out->vector;
    if (st == EFF_OK)
        st = eff_plan_add_step(l->plan, &layer.step);
    eff_int8_layer_free(&layer);
    eff_quant_info_free(&quant);
    return st;
}

/* The classifier: logits in float, one multiply and one add after the integer sum. */
EffStatus eff_lower_head(EffLower *l, const EffNode *node)
{
    const EffConv *c = &node->conv;
    const size_t n_in = (size_t)c->in_ch, n_out = (size_t)c->out_ch;
    EffQuantInfo quant = {0};
    EffPlanStep step = eff_lower_step(node->name, EFF_STEP_HEAD, c->in_ch, c->out_ch);
    int16_t *wgt = eff_calloc(n_in * n_out, sizeof *wgt);
    float *scale = eff_calloc(2 * n_out, sizeof *scale), *bias = scale + n_out;
    EffStatus st = vector_quant(&quant, &l->forms[node->in[0]], c->in_ch);
    if (wgt == NULL || scale == NULL)
        st = eff_fail_nomem(n_in * n_out * sizeof *wgt, "the classifier");
    for (size_t o = 0; o < n_out && st == EFF_OK && !eff_lower_is_sketch(l, node); o++) {
        double max = 0;
        for (size_t i = 0; i < n_in; i++)
            max = fmax(max, fabs((double)c->wgt.data[o * n_in + i] * quant.scale[i]));
        const double unit = max > 0 ? max / 32767 : 1;
        for (size_t i = 0; i < n_in; i++)
            wgt[o * n_in + i] =
                (int16_t)eff_round_clamp((double)c->wgt.data[o * n_in + i] * quant.scale[i] / unit, -32767, 32767);
        scale[o] = (float)unit;
        bias[o] = c->has_bias ? c->bias.data[o] : 0;
    }
    step.in[0] = l->forms[node->in[0]].vector;
    step.wgt_bits = 16;
    const EffShape shape = l->g->values[node->out].shape;
    if (st == EFF_OK)
        st = eff_lower_add_tensor(l, &step.out[0], node->name, EFF_TENSOR_F32, EFF_LAYOUT_IMAGE, shape, NULL);
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &step.data[EFF_DATA_WGT], wgt, n_in * n_out * sizeof *wgt);
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &step.data[EFF_DATA_SCALE], scale, n_out * sizeof *scale);
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &step.data[EFF_DATA_FBIAS], bias, n_out * sizeof *bias);
    if (st == EFF_OK)
        st = eff_plan_add_step(l->plan, &step);
    l->plan->output = step.out[0];
    eff_free(wgt);
    eff_free(scale);
    eff_quant_info_free(&quant);
    return st;
}

/* x * gate in 16 bits. */
static EffStatus lower_wide_gate(EffLower *l, const EffNode *node)
{
    const EffForms *x = &l->forms[node->in[0]];
    EffForms *out = &l->forms[node->out];
    const EffShape shape = l->g->values[node->out].shape;
    EffPlanStep step = eff_lower_step(node->name, EFF_STEP_GATE, shape.c, shape.c);
    step.in[0] = x->s16;
    step.in[1] = l->forms[node->in[1]].vector;
    step.post_shift = eff_choose_post_shift((double)eff_range_abs(&l->ranges->values[node->in[0]]), x->frac_bits);
    out->frac_bits = x->frac_bits + step.post_shift;
    const EffStatus st = eff_lower_add_s16(l, &out->s16, node->name, EFF_LAYOUT_NHWC, shape, out->frac_bits);
    step.out[1] = out->s16;
    return st == EFF_OK ? eff_plan_add_step(l->plan, &step) : st;
}

/* x * gate, straight to the u8 input of the projection. */
EffStatus eff_lower_gate(EffLower *l, const EffNode *node)
{
    const EffForms *x = &l->forms[node->in[0]], *gate = &l->forms[node->in[1]];
    EffForms *out = &l->forms[node->out];
    const EffShape shape = l->g->values[node->out].shape;
    if (x->s16 == EFF_PLAN_NONE || gate->vector == EFF_PLAN_NONE || gate->frac_bits != 15 ||
        (l->reads[node->out] != EFF_READ_PW && l->reads[node->out] != EFF_READ_WIDE))
        return eff_lower_unsupported(node, "a product is the gate of squeeze-excite, before a pointwise convolution");
    if (l->reads[node->out] == EFF_READ_WIDE)
        return lower_wide_gate(l, node);
    EffPlanStep step = eff_lower_step(node->name, EFF_STEP_QUANT, shape.c, shape.c);
    step.in[0] = x->s16;
    step.in[1] = gate->vector;
    EffStatus st = eff_quant_info_alloc(&out->quant, shape.c);
    float *min = NULL, *max = NULL;
    const EffFixedPoint y = {.frac_bits = x->frac_bits,
                             .range = (double)eff_range_abs(&l->ranges->values[node->in[0]])};
    if (st == EFF_OK)
        st = eff_lower_u8_range(l, node->out, &min, &max);
    if (st == EFF_OK)
        st = eff_int8_layer_copy_u8(l->plan, &step, &out->quant, min, max, &y);
    eff_free(min);
    if (st == EFF_OK)
        st = eff_lower_add_tensor(l, &out->u8, node->name, EFF_TENSOR_U8, EFF_LAYOUT_NHWC, shape, &out->quant);
    step.out[0] = out->u8;
    return st == EFF_OK ? eff_plan_add_step(l->plan, &step) : st;
}
