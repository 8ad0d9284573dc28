/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: the fixtures are proven, every kind of defect is refused with a message that names it. */
#include "unit.h"

#include "plan_fixture.h"

/* Steps of fx_int8(), by what they do. */
enum { STEM, DW1, PW1, PW2, TO_QUADS, DW2, POOL_U8, EXPAND, DW3, POOL, REDUCE, GATE, QUANT, LAST, FEATURES, HEAD };

/* Steps of fx_int16() and fx_nodes(). */
enum { WIDE_DW = 1, WIDE_GATE = 5, WIDE_PW, WIDE_SUM, WIDE_CLAMP, NARROW_PW };

static void expect(EffPlan *plan, EffStatus want, const char *text)
{
    const EffStatus st = eff_plan_check(plan);
    if (st != want || (want != EFF_OK && strstr(eff_last_message(), text) == NULL))
        fail_msg("%s instead of %s: %s; expected '%s'", eff_status_name(st), eff_status_name(want), eff_last_message(),
                 text);
}

static void the_fixtures_are_proven(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        EffPlan plan;
        fx_int8(&plan, seed);
        expect(&plan, EFF_OK, "");
        assert_int_equal(plan.steps[PW2].op, EFF_STEP_PW);
        assert_int_equal(plan.steps[QUANT].op, EFF_STEP_QUANT);
        eff_plan_free(&plan);
        fx_f32(&plan, seed);
        expect(&plan, EFF_OK, "");
        eff_plan_free(&plan);
        fx_pools(&plan, seed);
        expect(&plan, EFF_OK, "");
        assert_int_equal(plan.steps[FX_MAXPOOL].op, EFF_STEP_F32_MAXPOOL);
        assert_int_equal(plan.steps[FX_AVGPOOL].op, EFF_STEP_F32_AVGPOOL);
        eff_plan_free(&plan);
        fx_int16(&plan, seed);
        expect(&plan, EFF_OK, "");
        assert_int_equal(plan.steps[WIDE_SUM].op, EFF_STEP_PW16);
        assert_int_equal(plan.steps[WIDE_GATE].op, EFF_STEP_GATE);
        assert_int_equal(plan.n_groups, 1); /* steps with 16-bit inputs are alone */
        assert_int_equal(plan.groups[0].first, NARROW_PW);
        eff_plan_free(&plan);
        fx_nodes(&plan, seed);
        expect(&plan, EFF_OK, "");
        assert_int_equal(plan.steps[WIDE_DW].op, EFF_STEP_DW_F32);
        assert_int_equal(plan.steps[WIDE_SUM].op, EFF_STEP_PW_F32);
        assert_int_equal(plan.n_groups, 1);
        assert_int_equal(plan.groups[0].first, NARROW_PW);
        eff_plan_free(&plan);
    }
}

static void a_sum_takes_the_place_of_its_residual(void **state)
{
    (void)state;
    EffPlan plan;
    fx_int8(&plan, 1);
    const EffPlanStep *sum = &plan.steps[PW2];
    assert_true(sum->in[1] != sum->out[1]);
    assert_int_equal(plan.tensors[sum->in[1]].arena_offset, plan.tensors[sum->out[1]].arena_offset);
    /* The same tensor is as good. */
    plan.steps[PW2].out[1] = sum->in[1];
    expect(&plan, EFF_OK, "");
    eff_plan_free(&plan);
}

/* One change, and what the check says of it. */
typedef struct Defect {
    void (*make)(EffPlan *plan);
    EffStatus status;
    const char *text;
} Defect;

static int16_t *data16(EffPlan *p, int step, EffDataSlot slot)
{
    return (int16_t *)(void *)(p->data + p->steps[step].data[slot].offset);
}

static int32_t *data32(EffPlan *p, int step, EffDataSlot slot)
{
    return (int32_t *)(void *)(p->data + p->steps[step].data[slot].offset);
}

static float *floats(EffPlan *p, int step, EffDataSlot slot)
{
    return (float *)(void *)(p->data + p->steps[step].data[slot].offset);
}

#define DEFECT(name, body)                                                                                             \
    static void name(EffPlan *p)                                                                                       \
    {                                                                                                                  \
        body;                                                                                                          \
    }
DEFECT(no_steps, p->n_steps = 0)
DEFECT(no_classes, p->n_classes = 0)
DEFECT(huge_size, p->pre.size = 5000)
DEFECT(zero_crop, p->pre.crop = 0)
DEFECT(nan_crop, p->pre.crop = (double)NAN)
DEFECT(zero_std, p->pre.std[1] = 0)
DEFECT(nan_mean, p->pre.mean[2] = NAN)
DEFECT(interpolation_9, p->pre.interpolation = (EffInterpolation)9)
DEFECT(open_name, memset(p->name, 'x', sizeof p->name))
DEFECT(name_with_tail, p->name[90] = 'x')
DEFECT(step_name_escape, strcpy(p->steps[2].name, "\x1b[2J"))
DEFECT(tensor_name_latin1, strcpy(p->tensors[2].name, "\xe4"))
DEFECT(label_newline, p->labels[1][0] = '\n')
DEFECT(provenance_escape, p->provenance[0] = '\x1b')
DEFECT(output_none, p->output = -1)
DEFECT(output_u8, p->output = 1)
DEFECT(input_size, p->tensors[0].h = 21)
DEFECT(tensor_type, p->tensors[2].type = 7)
DEFECT(tensor_layout, p->tensors[2].layout = -1)
DEFECT(tensor_rows, p->tensors[2].h = 1 << 20)
DEFECT(tensor_channels, p->tensors[2].c = 0)
DEFECT(tensor_scales, p->tensors[2].n_scales = 5)
DEFECT(scales_outside, p->tensors[2].scale = p->data_bytes / 64 * 64)
DEFECT(scale_misaligned, p->tensors[2].scale += 4)
DEFECT(scale_negative, *(float *)(void *)(p->data + p->tensors[2].scale) = -1)
DEFECT(op_99, p->steps[1].op = 99)
DEFECT(input_index, p->steps[1].in[0] = 9999)
DEFECT(input_missing, p->steps[1].in[0] = EFF_PLAN_NONE)
DEFECT(input_kind, p->steps[DW1].in[0] = p->steps[PW1].in[0])
DEFECT(output_missing, p->steps[LAST].out[1] = EFF_PLAN_NONE)
DEFECT(output_input, p->steps[LAST].out[1] = 0)
DEFECT(unused_kernel, p->steps[PW1].kernel = 3)
DEFECT(unused_frac, p->steps[PW1].frac_bits = 1)
DEFECT(unused_fact, p->steps[PW1].fact = 1)
DEFECT(kernel_8, p->steps[STEM].kernel = 8)
DEFECT(kernel_even, p->steps[DW1].kernel = 4)
DEFECT(stride_5, p->steps[DW1].stride = 5)
DEFECT(pad_3, p->steps[DW1].pad_top = 3)
DEFECT(pad_negative, p->steps[DW1].pad_left = -1)
DEFECT(bits_12, p->steps[HEAD].wgt_bits = 12)
DEFECT(frac_8, p->steps[POOL].frac_bits = 8)
DEFECT(clamp_to_s16, p->steps[LAST].out_kind = EFF_OUT_U8_CLAMP)
DEFECT(residual_of_act, p->steps[PW2].out_kind = EFF_OUT_ACT)
DEFECT(act_of_s16, p->steps[PW1].act = EFF_ACT_RELU)
DEFECT(channels_in, p->steps[PW1].in_ch = 13)
DEFECT(channels_out, p->tensors[p->steps[DW3].out[1]].c = 99)
DEFECT(weights_short, p->steps[PW1].data[EFF_DATA_WGT].n_bytes--)
DEFECT(weights_outside, p->steps[PW1].data[EFF_DATA_WGT].offset = UINT64_MAX / 64 * 64)
DEFECT(bias_missing, (p->steps[PW1].data[EFF_DATA_BIAS] = (EffPlanData){0}))
DEFECT(table_extra, p->steps[PW1].data[EFF_DATA_STAIR] = p->steps[STEM].data[EFF_DATA_STAIR])
DEFECT(weight_lowest, *(int8_t *)(p->data + p->steps[PW1].data[EFF_DATA_WGT].offset) = -128)
DEFECT(bias_overflow, *data32(p, PW1, EFF_DATA_BIAS) = INT32_MAX)
DEFECT(stem_bias_overflow, data32(p, STEM, EFF_DATA_BIAS)[20] = INT32_MIN)
DEFECT(shift_25, *data32(p, DW1, EFF_DATA_SHIFT) = 25)
DEFECT(mult_negative, *data16(p, DW3, EFF_DATA_MULT) = -1)
DEFECT(zero_256, *data16(p, DW1, EFF_DATA_ZERO) = 256)
DEFECT(padding_negative, *data16(p, TO_QUADS, EFF_DATA_ZERO) = -1)
DEFECT(omult_negative, *data16(p, QUANT, EFF_DATA_OMULT) = -1)
DEFECT(step_16, p->steps[STEM].act_h = 16)
DEFECT(sigmoid_10, p->steps[GATE].sigmoid_h = 10)
DEFECT(fc_weight_lowest, *data16(p, GATE, EFF_DATA_WGT) = INT16_MIN)
DEFECT(head_nan, *floats(p, HEAD, EFF_DATA_SCALE) = NAN)
DEFECT(pre_shift_9, p->steps[PW2].pre_shift = 9)
DEFECT(arena_short, p->arena_bytes -= 64)
DEFECT(arena_long, p->arena_bytes += 64)
DEFECT(offset_misaligned, p->tensors[3].arena_offset += 8)
DEFECT(offset_outside, p->tensors[3].arena_offset = UINT64_MAX / 64 * 64)
DEFECT(written_over_input, p->tensors[p->steps[PW2].in[0]].arena_offset = p->tensors[p->steps[PW2].out[0]].arena_offset)
DEFECT(read_before_write, p->steps[DW1].in[0] = p->steps[DW3].in[0])
DEFECT(outputs_overlap, p->tensors[p->steps[DW2].out[0]].arena_offset = p->tensors[p->steps[DW2].out[1]].arena_offset)

/* Groups of fx_int8(): stem dw pw | quads dw | pw dw pool | quant pw. */
DEFECT(group_of_4, p->groups[0].n_steps = 4)
DEFECT(group_of_1, p->groups[1].n_steps = 1)
DEFECT(group_before_first, p->groups[0].first = -1)
DEFECT(group_overlaps, p->groups[1].first = 2)
DEFECT(group_after_last, p->groups[3].first = HEAD)
DEFECT(group_far_away, p->groups[3].first = INT32_MAX)
DEFECT(group_without_form, (p->groups[0] = (EffPlanGroup){DW1, 2}))
DEFECT(group_of_residual, (p->groups[1] = (EffPlanGroup){PW2, 3}))
DEFECT(group_cut_short, p->groups[0].n_steps = 2)
DEFECT(group_pools_u8, p->groups[1].n_steps = 3)
DEFECT(group_left_out, p->n_groups = 3)
DEFECT(local_in_arena, p->tensors[p->steps[EXPAND].out[0]].arena_offset = 64)
DEFECT(written_over_input_of_group,
       p->tensors[p->steps[DW3].out[1]].arena_offset = p->tensors[p->steps[EXPAND].in[0]].arena_offset)
DEFECT(written_over_gate,
       p->tensors[p->steps[QUANT].in[1]].arena_offset = p->tensors[p->steps[LAST].out[1]].arena_offset)
DEFECT(outputs_of_group_overlap,
       p->tensors[p->steps[POOL].out[1]].arena_offset = p->tensors[p->steps[DW3].out[1]].arena_offset)

/* Of fx_int16(). The bound of the sums of output 0 with 16-bit inputs just beyond 32 bits; both bytes' own are within.
 */
static void bias_beyond(EffPlan *p, int step)
{
    const EffPlanStep *s = &p->steps[step];
    const uint64_t fan_in = s->data[EFF_DATA_WGT].n_bytes / (uint64_t)s->out_ch;
    int32_t sum = 0;
    for (uint64_t i = 0; i < fan_in; i++)
        sum += abs(((const int8_t *)p->data)[s->data[EFF_DATA_WGT].offset + i]);
    *data32(p, step, EFF_DATA_BIAS) = INT32_MAX - 256 * sum;
}

DEFECT(wide_sum_overflow, bias_beyond(p, WIDE_PW))
DEFECT(wide_dw_overflow, bias_beyond(p, WIDE_DW))
DEFECT(wide_weight_lowest, *(int8_t *)(p->data + p->steps[WIDE_PW].data[EFF_DATA_WGT].offset) = -128)
DEFECT(wide_weights_short, p->steps[WIDE_PW].data[EFF_DATA_WGT].n_bytes--)
DEFECT(wide_dw_weights_missing, (p->steps[WIDE_DW].data[EFF_DATA_WGT] = (EffPlanData){0}))
DEFECT(wide_bias_missing, (p->steps[WIDE_DW].data[EFF_DATA_BIAS] = (EffPlanData){0}))
DEFECT(wide_of_u8, p->steps[WIDE_SUM].in[0] = p->steps[WIDE_PW].out[0])
DEFECT(wide_dw_of_u8, p->steps[WIDE_CLAMP].in[0] = p->steps[WIDE_PW].out[0])
DEFECT(wide_dw_to_quads, p->tensors[p->steps[WIDE_CLAMP].out[0]].layout = EFF_LAYOUT_QUADS)
DEFECT(narrow_of_s16, p->steps[NARROW_PW].in[0] = p->steps[WIDE_SUM].out[1])
DEFECT(narrow_made_wide, p->steps[NARROW_PW].op = EFF_STEP_PW16)
DEFECT(wide_kernel_even, p->steps[WIDE_DW].kernel = 4)
DEFECT(wide_pad, p->steps[WIDE_DW].pad_left = 5)
DEFECT(wide_residual_of_gate, p->steps[WIDE_SUM].in[1] = p->steps[WIDE_GATE].in[1])
DEFECT(wide_bits_16, p->steps[WIDE_PW].wgt_bits = 16)
DEFECT(gate_missing, p->steps[WIDE_GATE].in[1] = EFF_PLAN_NONE)
DEFECT(gate_of_map, p->steps[WIDE_GATE].in[1] = p->steps[WIDE_GATE].in[0])
DEFECT(gate_of_others, p->steps[WIDE_GATE].in[1] = p->steps[3].out[1])
DEFECT(gate_to_u8, p->steps[WIDE_GATE].out[0] = p->steps[WIDE_PW].out[0])
DEFECT(gate_shift_9, p->steps[WIDE_GATE].post_shift = 9)
DEFECT(gate_shift_negative, p->steps[WIDE_GATE].post_shift = -1)
DEFECT(gate_with_weights, p->steps[WIDE_GATE].data[EFF_DATA_WGT] = p->steps[WIDE_PW].data[EFF_DATA_WGT])
DEFECT(wide_over_input,
       p->tensors[p->steps[WIDE_PW].out[0]].arena_offset = p->tensors[p->steps[WIDE_PW].in[0]].arena_offset)
DEFECT(wide_in_group, p->groups[0] = ((EffPlanGroup){WIDE_PW, 2}))

static void wide_defects_are_named(void **state)
{
    static const Defect defects[] = {
        {wide_sum_overflow, EFF_ERR_FORMAT, "step 6 (step 6, pw16): output 0 with 16-bit inputs"},
        {wide_dw_overflow, EFF_ERR_FORMAT, "step 1 (step 1, dw16): output 0 with 16-bit inputs"},
        {wide_weight_lowest, EFF_ERR_FORMAT, "weight [0][0] is -128"},
        {wide_weights_short, EFF_ERR_FORMAT, "weights: 239 bytes"},
        {wide_dw_weights_missing, EFF_ERR_FORMAT, "weights: 0 bytes"},
        {wide_bias_missing, EFF_ERR_FORMAT, "bias: 0 bytes"},
        {wide_of_u8, EFF_ERR_FORMAT, "step 7 (step 7, pw16): in[0]"},
        {wide_dw_of_u8, EFF_ERR_FORMAT, "step 8 (step 8, dw16): in[0]"},
        {wide_dw_to_quads, EFF_ERR_FORMAT, "step 8 (step 8, dw16): out[0]"},
        {narrow_of_s16, EFF_ERR_FORMAT, "step 9 (step 9, pw): in[0]"},
        {narrow_made_wide, EFF_ERR_FORMAT, "step 9 (step 9, pw16): in[0]"},
        {wide_kernel_even, EFF_ERR_FORMAT, "kernel 4"},
        {wide_pad, EFF_ERR_FORMAT, "shapes"},
        {wide_residual_of_gate, EFF_ERR_FORMAT, "step 7 (step 7, pw16): in[1]"},
        {wide_bits_16, EFF_ERR_FORMAT, "doesn't use"},
        {gate_missing, EFF_ERR_FORMAT, "step 5 (step 5, gate): in[1]"},
        {gate_of_map, EFF_ERR_FORMAT, "step 5 (step 5, gate): in[1]"},
        {gate_of_others, EFF_ERR_FORMAT, "shapes"},
        {gate_to_u8, EFF_ERR_FORMAT, "step 5 (step 5, gate): out[0]"},
        {gate_shift_9, EFF_ERR_FORMAT, "gate: shift 9"},
        {gate_shift_negative, EFF_ERR_FORMAT, "gate: shift -1"},
        {gate_with_weights, EFF_ERR_FORMAT, "weights: 240 bytes"},
        {wide_over_input, EFF_ERR_FORMAT, "over its input"},
        {wide_in_group, EFF_ERR_FORMAT, "no form"},
    };
    (void)state;
    for (size_t i = 0; i < EFF_COUNT(defects); i++) {
        EffPlan plan;
        fx_int16(&plan, i);
        defects[i].make(&plan);
        expect(&plan, defects[i].status, defects[i].text);
        eff_plan_free(&plan);
    }
}

/* Of fx_nodes(). Weights of output 0, each fine, whose products may come to 2^121. */
static void sum_beyond(EffPlan *p, int step)
{
    float *wgt = floats(p, step, EFF_DATA_FWGT);
    const int fan_in = (int)(p->steps[step].data[EFF_DATA_FWGT].n_bytes / sizeof *wgt) / p->steps[step].out_ch;
    for (int i = 0; i < fan_in; i++)
        wgt[i] = (i % 2 ? -1 : 1) * ldexpf(1, 121 - 15) / (float)fan_in;
}

DEFECT(node_sum_overflow, sum_beyond(p, WIDE_PW))
DEFECT(node_dw_overflow, sum_beyond(p, WIDE_DW))
DEFECT(node_bias_overflow, floats(p, WIDE_SUM, EFF_DATA_FBIAS)[3] = -0x1p120f)
DEFECT(node_weight_nan, floats(p, WIDE_PW, EFF_DATA_FWGT)[7] = NAN)
DEFECT(node_bias_infinite, floats(p, WIDE_DW, EFF_DATA_FBIAS)[2] = INFINITY)
DEFECT(node_scale_nan, floats(p, WIDE_DW, EFF_DATA_SCALE)[5] = NAN)
DEFECT(node_scale_0, floats(p, WIDE_DW, EFF_DATA_SCALE)[5] = 0)
DEFECT(node_scale_negative, floats(p, WIDE_PW, EFF_DATA_SCALE)[19] = -1)
DEFECT(node_weights_short, p->steps[WIDE_PW].data[EFF_DATA_FWGT].n_bytes -= 4)
DEFECT(node_dw_weights_long, p->steps[WIDE_DW].data[EFF_DATA_FWGT].n_bytes += 4)
DEFECT(node_bias_missing, (p->steps[WIDE_DW].data[EFF_DATA_FBIAS] = (EffPlanData){0}))
DEFECT(node_scale_missing, (p->steps[WIDE_SUM].data[EFF_DATA_SCALE] = (EffPlanData){0}))
DEFECT(node_mult_negative, *data16(p, WIDE_PW, EFF_DATA_MULT) = -1)
DEFECT(node_with_shift, p->steps[WIDE_PW].data[EFF_DATA_SHIFT] = p->steps[WIDE_PW].data[EFF_DATA_SCALE])
DEFECT(node_with_bias, p->steps[WIDE_DW].data[EFF_DATA_BIAS] = p->steps[WIDE_DW].data[EFF_DATA_SCALE])
DEFECT(node_with_integers, p->steps[WIDE_DW].data[EFF_DATA_WGT] = p->steps[NARROW_PW].data[EFF_DATA_WGT])
DEFECT(node_of_u8, p->steps[WIDE_SUM].in[0] = p->steps[WIDE_PW].out[0])
DEFECT(node_dw_to_quads, p->tensors[p->steps[WIDE_CLAMP].out[0]].layout = EFF_LAYOUT_QUADS)
DEFECT(node_with_groups, p->steps[WIDE_DW].groups = 12)
DEFECT(node_activation_6, p->steps[WIDE_PW].fact = EFF_ACTIVATION_SIGMOID + 1)
DEFECT(node_stride_3, p->steps[WIDE_DW].stride = 3)
DEFECT(node_kernel_9, p->steps[WIDE_DW].kernel = 9)
DEFECT(node_clamp_to_s16, p->steps[WIDE_SUM].out_kind = EFF_OUT_U8_CLAMP)
DEFECT(integers_made_node, p->steps[NARROW_PW].op = EFF_STEP_PW_F32)

static void node_defects_are_named(void **state)
{
    static const Defect defects[] = {
        {node_sum_overflow, EFF_ERR_FORMAT, "step 6 (step 6, pw_f32): output 0 in float: the sum may reach"},
        {node_dw_overflow, EFF_ERR_FORMAT, "step 1 (step 1, dw_f32): output 0 in float: the sum may reach"},
        {node_bias_overflow, EFF_ERR_FORMAT, "step 7 (step 7, pw_f32): output 3 in float: the sum may reach"},
        {node_weight_nan, EFF_ERR_FORMAT, "float weights [7] is"},
        {node_bias_infinite, EFF_ERR_FORMAT, "float bias [2] is inf"},
        {node_scale_nan, EFF_ERR_FORMAT, "float scale [5] is"},
        {node_scale_0, EFF_ERR_FORMAT, "output 5 in float: scale 0"},
        {node_scale_negative, EFF_ERR_FORMAT, "output 19 in float: scale -1"},
        {node_weights_short, EFF_ERR_FORMAT, "float weights: 956 bytes"},
        {node_dw_weights_long, EFF_ERR_FORMAT, "float weights: 1204 bytes"},
        {node_bias_missing, EFF_ERR_FORMAT, "float bias: 0 bytes"},
        {node_scale_missing, EFF_ERR_FORMAT, "float scale: 0 bytes"},
        {node_mult_negative, EFF_ERR_FORMAT, "mult[0] is -1"},
        {node_with_shift, EFF_ERR_FORMAT, "shift: 80 bytes"},
        {node_with_bias, EFF_ERR_FORMAT, "bias: 48 bytes"},
        {node_with_integers, EFF_ERR_FORMAT, "weights: 1400 bytes"},
        {node_of_u8, EFF_ERR_FORMAT, "step 7 (step 7, pw_f32): in[0]"},
        {node_dw_to_quads, EFF_ERR_FORMAT, "step 8 (step 8, dw_f32): out[0]"},
        {node_with_groups, EFF_ERR_FORMAT, "doesn't use"},
        {node_activation_6, EFF_ERR_FORMAT, "activation 6 is unknown"},
        {node_stride_3, EFF_ERR_FORMAT, "stride 3"},
        {node_kernel_9, EFF_ERR_FORMAT, "kernel 9"},
        {node_clamp_to_s16, EFF_ERR_FORMAT, "8 bits only"},
        {integers_made_node, EFF_ERR_FORMAT, "step 9 (step 9, pw_f32): in[0]"},
        {wide_pad, EFF_ERR_FORMAT, "shapes"},
        {wide_residual_of_gate, EFF_ERR_FORMAT, "step 7 (step 7, pw_f32): in[1]"},
        {wide_over_input, EFF_ERR_FORMAT, "over its input"},
        {wide_in_group, EFF_ERR_FORMAT, "no form"},
    };
    (void)state;
    for (size_t i = 0; i < EFF_COUNT(defects); i++) {
        EffPlan plan;
        fx_nodes(&plan, i);
        defects[i].make(&plan);
        expect(&plan, defects[i].status, defects[i].text);
        eff_plan_free(&plan);
    }
}

/* ---- Pools ---- */

static void pool_channels(EffPlan *p)
{
    p->steps[FX_AVGPOOL].out_ch = p->tensors[p->steps[FX_AVGPOOL].out[0]].c = 36;
}

static void pool_pad(EffPlan *p) /* a first window of padding alone */
{
    p->steps[FX_MAXPOOL].pad_top = 3;
}

static void pool_rows(EffPlan *p) /* a last one */
{
    p->tensors[p->steps[FX_MAXPOOL].out[0]].h = 11;
}

static void pool_kernel(EffPlan *p)
{
    p->steps[FX_MAXPOOL].kernel = 65;
}

static void pool_activation(EffPlan *p)
{
    p->steps[FX_MAXPOOL].fact = EFF_ACTIVATION_RELU;
}

static void pool_of_two(EffPlan *p)
{
    p->steps[FX_AVGPOOL].in[1] = p->steps[FX_AVGPOOL].in[0];
}

static void pool_defects_are_named(void **state)
{
    static const Defect defects[] = {
        {pool_channels, EFF_ERR_FORMAT, "step 3 (step 3, f32_avgpool): the shapes"},
        {pool_pad, EFF_ERR_FORMAT, "step 2 (step 2, f32_maxpool): the shapes"},
        {pool_rows, EFF_ERR_FORMAT, "step 2 (step 2, f32_maxpool): the shapes"},
        {pool_kernel, EFF_ERR_FORMAT, "kernel 65"},
        {pool_activation, EFF_ERR_FORMAT, "a field that it doesn't use"},
        {pool_of_two, EFF_ERR_FORMAT, "in[1]"},
    };
    (void)state;
    for (size_t i = 0; i < EFF_COUNT(defects); i++) {
        EffPlan plan;
        fx_pools(&plan, i);
        defects[i].make(&plan);
        expect(&plan, defects[i].status, defects[i].text);
        eff_plan_free(&plan);
    }
}

/* Sums just below the bound stay finite with every input at its end, and so does the proof. */
static void sums_that_leave_the_floats_are_refused(void **state)
{
    (void)state;
    const float scale = 1, bias = 0;
    float wgt[8];
    for (int i = 0; i < 8; i++)
        wgt[i] = ldexpf(1, 120 - 15 - 3);
    assert_int_equal(eff_float_node_check(wgt, &bias, &scale, 1, 8), EFF_ERR_FORMAT);
    wgt[7] = 0;
    assert_int_equal(eff_float_node_check(wgt, &bias, &scale, 1, 8), EFF_OK);
    const float rest = ldexpf(1, 120 - 3);
    assert_int_equal(eff_float_node_check(wgt, &rest, &scale, 1, 8), EFF_ERR_FORMAT);
}

static void defects_are_named(void **state)
{
    static const Defect defects[] = {
        {no_steps, EFF_ERR_LIMIT, "0 steps"},
        {no_classes, EFF_ERR_LIMIT, "0 classes"},
        {huge_size, EFF_ERR_FORMAT, "preprocessing: size 5000"},
        {zero_crop, EFF_ERR_FORMAT, "preprocessing: crop 0"},
        {nan_crop, EFF_ERR_FORMAT, "preprocessing: crop"},
        {zero_std, EFF_ERR_FORMAT, "std 0 of channel 1"},
        {nan_mean, EFF_ERR_FORMAT, "of channel 2"},
        {interpolation_9, EFF_ERR_FORMAT, "interpolation 9"},
        {open_name, EFF_ERR_FORMAT, "the model's name"},
        {name_with_tail, EFF_ERR_FORMAT, "the model's name"},
        {step_name_escape, EFF_ERR_FORMAT, "step 2: its name"},
        {tensor_name_latin1, EFF_ERR_FORMAT, "tensor 2: its name"},
        {label_newline, EFF_ERR_FORMAT, "label 1"},
        {provenance_escape, EFF_ERR_FORMAT, "provenance"},
        {output_none, EFF_ERR_FORMAT, "output: tensor -1"},
        {output_u8, EFF_ERR_FORMAT, "output: tensor 1"},
        {input_size, EFF_ERR_FORMAT, "tensor 0: the input"},
        {tensor_type, EFF_ERR_FORMAT, "tensor 2 (tensor 2): type 7"},
        {tensor_layout, EFF_ERR_FORMAT, "layout -1"},
        {tensor_rows, EFF_ERR_FORMAT, "tensor 2 (tensor 2): 1048576x10x12"},
        {tensor_channels, EFF_ERR_FORMAT, "10x10x0"},
        {tensor_scales, EFF_ERR_FORMAT, "5 scales for 12 channels"},
        {scales_outside, EFF_ERR_FORMAT, "scales outside"},
        {scale_misaligned, EFF_ERR_FORMAT, "scales outside"},
        {scale_negative, EFF_ERR_FORMAT, "scale [0] is -1"},
        {op_99, EFF_ERR_FORMAT, "step 1 (step 1): operation 99"},
        {input_index, EFF_ERR_FORMAT, "in[0] is tensor 9999"},
        {input_missing, EFF_ERR_FORMAT, "in[0] is tensor -1"},
        {input_kind, EFF_ERR_FORMAT, "step 1 (step 1, dw): in[0]"},
        {output_missing, EFF_ERR_FORMAT, "no output"},
        {output_input, EFF_ERR_FORMAT, "out[1] is tensor 0"},
        {unused_kernel, EFF_ERR_FORMAT, "step 2 (step 2, pw): a field that it doesn't use"},
        {unused_frac, EFF_ERR_FORMAT, "doesn't use"},
        {unused_fact, EFF_ERR_FORMAT, "doesn't use"},
        {kernel_8, EFF_ERR_FORMAT, "kernel 8"},
        {kernel_even, EFF_ERR_FORMAT, "kernel 4"},
        {stride_5, EFF_ERR_FORMAT, "stride 5"},
        {pad_3, EFF_ERR_FORMAT, "shapes"},
        {pad_negative, EFF_ERR_FORMAT, "shapes"},
        {bits_12, EFF_ERR_FORMAT, "12-bit weights"},
        {frac_8, EFF_ERR_FORMAT, "8 more fraction bits"},
        {clamp_to_s16, EFF_ERR_FORMAT, "8 bits only"},
        {residual_of_act, EFF_ERR_FORMAT, "residual"},
        {act_of_s16, EFF_ERR_FORMAT, "activation 1 with output kind 1"},
        {channels_in, EFF_ERR_FORMAT, "shapes"},
        {channels_out, EFF_ERR_FORMAT, "shapes"},
        {weights_short, EFF_ERR_FORMAT, "weights: 239 bytes"},
        {weights_outside, EFF_ERR_FORMAT, "240 within"},
        {bias_missing, EFF_ERR_FORMAT, "bias: 0 bytes"},
        {table_extra, EFF_ERR_FORMAT, "stair: 256 bytes"},
        {weight_lowest, EFF_ERR_FORMAT, "step 2 (step 2, pw): pointwise weight [0][0] is -128"},
        {bias_overflow, EFF_ERR_FORMAT, "beyond 32 bits"},
        {stem_bias_overflow, EFF_ERR_FORMAT, "bias 20 is beyond 2^30"},
        {shift_25, EFF_ERR_FORMAT, "shift[0] is 25"},
        {mult_negative, EFF_ERR_FORMAT, "mult[0] is -1"},
        {zero_256, EFF_ERR_FORMAT, "zero[0] is 256"},
        {padding_negative, EFF_ERR_FORMAT, "zero point -1 of channel 0"},
        {omult_negative, EFF_ERR_FORMAT, "multiplier -1"},
        {step_16, EFF_ERR_FORMAT, "step 2^16"},
        {sigmoid_10, EFF_ERR_FORMAT, "step 2^10"},
        {fc_weight_lowest, EFF_ERR_FORMAT, "lowest value"},
        {head_nan, EFF_ERR_FORMAT, "float scale [0] is nan"},
        {pre_shift_9, EFF_ERR_FORMAT, "shifts 9"},
        {arena_short, EFF_ERR_FORMAT, "arena"},
        {arena_long, EFF_ERR_FORMAT, "arena"},
        {offset_misaligned, EFF_ERR_FORMAT, "tensor 3 (tensor 3)"},
        {offset_outside, EFF_ERR_FORMAT, "outside the arena"},
        {written_over_input, EFF_ERR_FORMAT, "over its input"},
        {read_before_write, EFF_ERR_FORMAT, "step 1"},
        {outputs_overlap, EFF_ERR_FORMAT, "overlap"},
        {group_of_4, EFF_ERR_FORMAT, "group 0: 4 steps from step 0; 2..3 steps"},
        {group_of_1, EFF_ERR_FORMAT, "group 1: 1 steps"},
        {group_before_first, EFF_ERR_FORMAT, "group 0: 3 steps from step -1"},
        {group_overlaps, EFF_ERR_FORMAT, "group 1: 2 steps from step 2; 2..3 steps from 3 on"},
        {group_after_last, EFF_ERR_FORMAT, "group 3"},
        {group_far_away, EFF_ERR_FORMAT, "group 3"},
        {group_without_form, EFF_ERR_FORMAT, "group 0 (from step 1, step 1): no form"},
        {group_of_residual, EFF_ERR_FORMAT, "group 1 (from step 3, step 3): no form"},
        {group_cut_short, EFF_ERR_FORMAT, "tensor"},
        {group_pools_u8, EFF_ERR_FORMAT, "group 1 (from step 4, step 4): its pool is not"},
        {group_left_out, EFF_ERR_FORMAT, "tensor"},
        {local_in_arena, EFF_ERR_FORMAT, "local to group 2, and at 64"},
        {written_over_input_of_group, EFF_ERR_FORMAT, "over its input"},
        {written_over_gate, EFF_ERR_FORMAT, "over its input"},
        {outputs_of_group_overlap, EFF_ERR_FORMAT, "its outputs overlap"},
    };
    (void)state;
    for (size_t i = 0; i < EFF_COUNT(defects); i++) {
        EffPlan plan;
        fx_int8(&plan, i);
        const int n_classes = plan.n_classes;
        defects[i].make(&plan);
        expect(&plan, defects[i].status, defects[i].text);
        plan.n_classes = n_classes; /* how many labels there are to free */
        eff_plan_free(&plan);
    }
}

/* ---- Groups ---- */

static void every_form_of_group_is_found(void **state)
{
    (void)state;
    static const char *const wanted[] = {"stem+dw+pw", "pw+dw+pw", "quads+dw", "pw+dw+pool", "quant+pw",
                                         "pw+dw+pool", "quant+pw", "pw+dw+pw", "pw+pool"};
    EffPlan plan;
    fx_blocks(&plan, 1);
    assert_int_equal(plan.n_groups, EFF_COUNT(wanted));
    for (int i = 0; i < plan.n_groups; i++) {
        char ops[64] = "";
        for (int k = 0; k < plan.groups[i].n_steps; k++) {
            strcat(ops, k > 0 ? "+" : "");
            strcat(ops, eff_step_op_name(plan.steps[plan.groups[i].first + k].op));
        }
        assert_string_equal(ops, wanted[i]);
    }
    /* What passes inside of groups has no place; it is a large part. */
    int local[64], n_local = 0;
    assert_true(plan.n_tensors <= 64);
    eff_plan_find_locals(&plan, local);
    for (int t = 1; t < plan.n_tensors; t++) {
        n_local += local[t] != EFF_PLAN_NONE;
        assert_true(local[t] == EFF_PLAN_NONE || plan.tensors[t].arena_offset == 0);
        assert_true(plan.tensors[t].layout != EFF_LAYOUT_QUADS || local[t] != EFF_PLAN_NONE);
    }
    assert_int_equal(n_local, 6 + 3 + 2 + 1); /* row quads, before projections, gated, averaged */
    eff_plan_free(&plan);
}

/* Places for steps that run one by one are right too. */
static void plans_run_without_groups(void **state)
{
    (void)state;
    void (*const makers[])(EffPlan *, uint64_t) = {fx_int8, fx_wide, fx_blocks, fx_f32, fx_pools};
    for (size_t i = 0; i < EFF_COUNT(makers); i++) {
        EffPlan plan;
        uint64_t offsets[64];
        makers[i](&plan, i);
        assert_true(plan.n_tensors <= 64);
        assert_int_equal(eff_plan_layout(&plan, false, offsets, &plan.arena_bytes), EFF_OK);
        for (int t = 0; t < plan.n_tensors; t++)
            plan.tensors[t].arena_offset = offsets[t];
        if (plan.n_groups > 0)
            expect(&plan, EFF_ERR_FORMAT, "in the arena");
        plan.n_groups = 0;
        expect(&plan, EFF_OK, "");
        eff_plan_free(&plan);
    }
}

/* Another step that reads what should be local. */
static void read_again(int group_step, EffStepOp op, const char *text)
{
    EffPlan plan;
    fx_int8(&plan, 6);
    EffPlanStep again = plan.steps[group_step];
    if (op == EFF_STEP_POOL) {
        EffPlanTensor mean = plan.tensors[plan.steps[POOL].out[1]];
        mean.c = again.in_ch;
        mean.n_scales = 0;
        mean.scale = mean.arena_offset = 0;
        again = plan.steps[POOL];
        again.in[0] = plan.steps[group_step].in[0];
        again.in_ch = again.out_ch = mean.c;
        assert_int_equal(eff_plan_add_tensor(&plan, &mean, &again.out[1]), EFF_OK);
    }
    assert_int_equal(eff_plan_add_step(&plan, &again), EFF_OK);
    expect(&plan, EFF_ERR_FORMAT, text);
    eff_plan_free(&plan);
}

static void local_tensors_have_no_other_readers(void **state)
{
    (void)state;
    read_again(PW1, EFF_STEP_POOL, "group 0 (from step 0, step 0): its depthwise output is not for its projection");
    read_again(DW3, EFF_STEP_DW, "group 2 (from step 7, step 7): its row quads are not for its depthwise step");
    read_again(LAST, EFF_STEP_PW, "group 3 (from step 12, step 12): its 8-bit tensor is not for its projection");
}

static void the_output_is_never_local(void **state)
{
    (void)state;
    EffPlan plan;
    int local[64];
    fx_int8(&plan, 6);
    plan.output = plan.steps[DW1].in[0];
    eff_plan_find_locals(&plan, local);
    assert_int_equal(local[plan.output], EFF_PLAN_NONE);
    assert_int_equal(local[plan.steps[PW1].in[0]], 0);
    eff_plan_free(&plan);
}

/* Move every tensor somewhere else: whatever overlaps while both are needed is found. */
static void overlaps_are_found(void **state)
{
    (void)state;
    EffPlan plan;
    int n_refused = 0, n_kept = 0;
    fx_blocks(&plan, 3);
    for (int t = 1; t < plan.n_tensors; t++) {
        const uint64_t right = plan.tensors[t].arena_offset;
        for (int other = 1; other < plan.n_tensors; other++) {
            if (plan.tensors[other].arena_offset == right)
                continue;
            plan.tensors[t].arena_offset = plan.tensors[other].arena_offset;
            const EffStatus st = eff_plan_check(&plan);
            assert_true(st == EFF_OK || st == EFF_ERR_FORMAT);
            n_refused += st != EFF_OK;
            n_kept += st == EFF_OK;
        }
        plan.tensors[t].arena_offset = right;
    }
    assert_true(n_refused > 20 && n_kept > 5);
    expect(&plan, EFF_OK, "");
    eff_plan_free(&plan);
}

static EffStatus check_plan_once(void *ctx)
{
    EffStatus st = eff_plan_layout_arena(ctx);
    return st != EFF_OK ? st : eff_plan_check(ctx);
}

static void allocation_failures_are_clean(void **state)
{
    (void)state;
    EffPlan plan;
    fx_int8(&plan, 4);
    sweep_allocations(check_plan_once, &plan);
    eff_plan_free(&plan);
}

static void steps_cannot_unfold_a_small_file(void **state)
{
    (void)state;
    EffPlan plan;
    fx_int8(&plan, 5);
    const EffPlanStep again = plan.steps[DW3];
    for (int i = 0; i < 200; i++)
        assert_int_equal(eff_plan_add_step(&plan, &again), EFF_OK);
    expect(&plan, EFF_ERR_LIMIT, "up to 4 times");
    eff_plan_free(&plan);
}

static void stem_cases_are_those_that_occur(void **state)
{
    (void)state;
    int cases[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL];
    assert_int_equal(eff_stem_cases(cases, 3, 2, 0, 224, 112), 2); /* taps [0, 2) at the end, else [0, 3) */
    assert_int_equal(cases[0], 1);
    assert_int_equal(cases[1], 2);
    assert_int_equal(eff_stem_cases(cases, 3, 2, 1, 224, 112), 2); /* [1, 3) at the start */
    assert_int_equal(cases[0], 2);
    assert_int_equal(cases[1], 5);
    assert_int_equal(eff_stem_cases(cases, 3, 1, 1, 1, 1), 1); /* [1, 2) */
    assert_int_equal(cases[0], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fixtures_are_proven),
        cmocka_unit_test(a_sum_takes_the_place_of_its_residual),
        cmocka_unit_test(defects_are_named),
        cmocka_unit_test(wide_defects_are_named),
        cmocka_unit_test(node_defects_are_named),
        cmocka_unit_test(pool_defects_are_named),
        cmocka_unit_test(sums_that_leave_the_floats_are_refused),
        cmocka_unit_test(every_form_of_group_is_found),
        cmocka_unit_test(plans_run_without_groups),
        cmocka_unit_test(local_tensors_have_no_other_readers),
        cmocka_unit_test(the_output_is_never_local),
        cmocka_unit_test(overlaps_are_found),
        cmocka_unit_test(allocation_failures_are_clean),
        cmocka_unit_test(steps_cannot_unfold_a_small_file),
        cmocka_unit_test(stem_cases_are_those_that_occur),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
