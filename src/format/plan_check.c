/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof of a plan. First tables say what each operation reads and writes: tensors, fields, data; then shapes, then
 * the kernels' own checks of the values. plan_memory.c proves the arena.
 */
#include "format/group.h"
#include "format/layer.h"
#include "format/plan_memory.h"
#include "format/utf8.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "kernels/round_f32.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- What each operation takes ---- */

/* Kinds of tensors; a port of a step admits some. */
enum {
    NONE = 1 << 0, /* there may be no tensor */
    PIXELS = 1 << 1,
    U8 = 1 << 2, /* NHWC */
    QUADS = 1 << 3,
    S16 = 1 << 4, /* NHWC */
    VECTOR = 1 << 5,
    F32 = 1 << 6
};

/* How the output's shape follows from in[0]. */
typedef enum ShapeRule { SAME, CHANNELS, WINDOW, MEAN } ShapeRule; /* CHANNELS: same rows and columns */

/* Fields that an operation uses; the others have their neutral values. */
enum {
    USES_WINDOW = 1 << 0,
    USES_GROUPS = 1 << 1,
    USES_BITS = 1 << 2,
    USES_EPILOGUE = 1 << 3,
    USES_POST_SHIFT = 1 << 4,
    USES_FRAC = 1 << 5,
    USES_FACT = 1 << 6
};

typedef struct OpRule {
    int in[2], out[2];
    ShapeRule shape;
    unsigned uses;
} OpRule;

static const OpRule rules[EFF_N_STEP_OPS] = {
    [EFF_STEP_STEM] = {{PIXELS, NONE}, {U8 | QUADS | NONE, S16 | NONE}, WINDOW, USES_WINDOW | USES_EPILOGUE},
    [EFF_STEP_PW] = {{U8, S16 | NONE}, {U8 | QUADS | NONE, S16 | NONE}, CHANNELS, USES_EPILOGUE},
    [EFF_STEP_DW] = {{QUADS, NONE}, {U8 | NONE, S16 | NONE}, WINDOW, USES_WINDOW | USES_EPILOGUE},
    [EFF_STEP_QUADS] = {{U8, NONE}, {QUADS, NONE}, SAME, 0},
    [EFF_STEP_POOL] = {{U8 | S16, NONE}, {NONE, VECTOR}, MEAN, USES_FRAC},
    [EFF_STEP_FC] = {{VECTOR, NONE}, {NONE, VECTOR}, CHANNELS, USES_BITS | USES_EPILOGUE},
    [EFF_STEP_QUANT] = {{S16, VECTOR | NONE}, {U8, NONE}, SAME, USES_POST_SHIFT},
    [EFF_STEP_HEAD] = {{VECTOR, NONE}, {F32, NONE}, CHANNELS, USES_BITS},
    [EFF_STEP_F32_INPUT] = {{PIXELS, NONE}, {F32, NONE}, SAME, 0},
    [EFF_STEP_F32_CONV] = {{F32, NONE}, {F32, NONE}, WINDOW, USES_WINDOW | USES_GROUPS | USES_FACT},
    [EFF_STEP_F32_POOL] = {{F32, NONE}, {F32, NONE}, MEAN, 0},
    [EFF_STEP_F32_ADD] = {{F32, F32}, {F32, NONE}, SAME, 0},
    [EFF_STEP_F32_MUL] = {{F32, F32}, {F32, NONE}, SAME, 0},
    [EFF_STEP_F32_ACT] = {{F32, NONE}, {F32, NONE}, SAME, USES_FACT},
    [EFF_STEP_PW16] = {{S16, S16 | NONE}, {U8 | NONE, S16 | NONE}, CHANNELS, USES_EPILOGUE},
    [EFF_STEP_DW16] = {{S16, NONE}, {U8 | NONE, S16 | NONE}, WINDOW, USES_WINDOW | USES_EPILOGUE},
    [EFF_STEP_GATE] = {{S16, VECTOR}, {NONE, S16}, SAME, USES_POST_SHIFT},
    [EFF_STEP_PW_F32] = {{S16, S16 | NONE}, {U8 | NONE, S16 | NONE}, CHANNELS, USES_EPILOGUE | USES_FACT},
    [EFF_STEP_DW_F32] = {{S16, NONE}, {U8 | NONE, S16 | NONE}, WINDOW, USES_WINDOW | USES_EPILOGUE | USES_FACT},
    [EFF_STEP_F32_ROUND] = {{F32, NONE}, {F32, NONE}, SAME, USES_FACT},
    [EFF_STEP_F32_MAXPOOL] = {{F32, NONE}, {F32, NONE}, WINDOW, USES_WINDOW},
    [EFF_STEP_F32_AVGPOOL] = {{F32, NONE}, {F32, NONE}, WINDOW, USES_WINDOW},
};

/* Elements that a slot of a step must have; 0 for none. SIGMOID and the bias of F32_CONV may be left out. */
static uint64_t slot_elements(const EffPlan *plan, const EffPlanStep *s, EffDataSlot slot)
{
    const uint64_t in = (uint64_t)s->in_ch, out = (uint64_t)s->out_ch, taps = (uint64_t)(s->kernel * s->kernel);
    const bool epilogue = (rules[s->op].uses & USES_EPILOGUE) != 0, to_u8 = s->out[0] != EFF_PLAN_NONE;
    const bool clamp = epilogue && s->out_kind == EFF_OUT_U8_CLAMP;
    const bool fc = s->op == EFF_STEP_FC || s->op == EFF_STEP_HEAD, real = eff_step_is_float_node(s->op);
    switch (slot) {
    case EFF_DATA_WGT:
        if (eff_step_is_dw(s->op))
            return real ? 0 : out * taps;
        return s->op == EFF_STEP_STEM || s->op == EFF_STEP_PW || s->op == EFF_STEP_PW16 || fc ? out * in * taps : 0;
    case EFF_DATA_BIAS:
        if (s->op == EFF_STEP_STEM)
            return out * (uint64_t)eff_stem_n_cases(plan, s);
        return epilogue && !real ? out : 0;
    case EFF_DATA_SHIFT: return epilogue && !real ? out : 0;
    case EFF_DATA_MULT: return epilogue ? out : 0;
    case EFF_DATA_TOP: return clamp ? out : 0;
    case EFF_DATA_ZERO: return (epilogue && to_u8) || s->op == EFF_STEP_QUADS || s->op == EFF_STEP_QUANT ? out : 0;
    case EFF_DATA_OMULT: return (epilogue && to_u8 && !clamp) || s->op == EFF_STEP_QUANT ? out : 0;
    case EFF_DATA_STAIR: return epilogue && s->act == EFF_ACT_STAIR ? EFF_STAIR_SIZE : 0;
    case EFF_DATA_KNOT:
    case EFF_DATA_SLOPE: return epilogue && s->act == EFF_ACT_INTERP ? EFF_KNOTS : 0;
    case EFF_DATA_SIGMOID: return s->op == EFF_STEP_FC ? 2 * EFF_KNOTS : 0;
    case EFF_DATA_SCALE: return s->op == EFF_STEP_HEAD || real ? out : 0;
    case EFF_DATA_FBIAS: return s->op == EFF_STEP_HEAD || s->op == EFF_STEP_F32_CONV || real ? out : 0;
    case EFF_DATA_FWGT:
        if (real)
            return s->op == EFF_STEP_DW_F32 ? out * taps : out * in;
        if (s->op == EFF_STEP_F32_ROUND)
            return EFF_ROUND_ROWS * out;
        return s->op == EFF_STEP_F32_CONV ? out * taps * (in / (uint64_t)s->groups) : 0;
    case EFF_N_DATA_SLOTS: break;
    }
    return 0;
}

static uint64_t slot_element_bytes(const EffPlanStep *s, EffDataSlot slot)
{
    switch (slot) {
    case EFF_DATA_WGT: return (uint64_t)s->wgt_bits / 8;
    case EFF_DATA_STAIR: return 1;
    case EFF_DATA_MULT:
    case EFF_DATA_TOP:
    case EFF_DATA_ZERO:
    case EFF_DATA_OMULT:
    case EFF_DATA_KNOT:
    case EFF_DATA_SLOPE:
    case EFF_DATA_SIGMOID: return 2;
    default: return 4;
    }
}

static const char *const slot_names[EFF_N_DATA_SLOTS] = {
    "weights", "bias", "shift", "mult",    "top",         "zero",       "omult",
    "stair",   "knot", "slope", "sigmoid", "float scale", "float bias", "float weights"};

/* ---- The plan itself ---- */

static bool name_ok(const char name[EFF_PLAN_NAME_BYTES])
{
    const char *end = memchr(name, '\0', EFF_PLAN_NAME_BYTES);
    for (const char *p = end; p != NULL && p < name + EFF_PLAN_NAME_BYTES; p++) {
        if (*p != '\0')
            return false;
    }
    return end != NULL && eff_utf8_is_clean(name, (size_t)(end - name), false);
}

static EffStatus check_preprocess(const EffPreprocess *p)
{
    if (p->size < 1 || p->size > EFF_PLAN_MAX_SIZE)
        return eff_fail(EFF_ERR_FORMAT, "preprocessing: size %d; 1..%d is valid", p->size, EFF_PLAN_MAX_SIZE);
    if (!(p->crop > 0 && p->crop <= 1))
        return eff_fail(EFF_ERR_FORMAT, "preprocessing: crop %g; above 0 to 1 is valid", p->crop);
    if ((int)p->interpolation < EFF_INTERP_BOX || p->interpolation > EFF_INTERP_LANCZOS)
        return eff_fail(EFF_ERR_FORMAT, "preprocessing: interpolation %d is unknown", (int)p->interpolation);
    for (int c = 0; c < 3; c++) {
        if (!isfinite(p->mean[c]) || !isfinite(p->std[c]) || p->std[c] <= 0)
            return eff_fail(EFF_ERR_FORMAT,
                            "preprocessing: mean %g and std %g of channel %d; finite is valid, and "
                            "a positive std",
                            (double)p->mean[c], (double)p->std[c], c);
    }
    return EFF_OK;
}

static EffStatus check_texts(const EffPlan *plan)
{
    if (!name_ok(plan->name))
        return eff_fail(EFF_ERR_FORMAT, "the model's name is not clean UTF-8 that ends within %d bytes",
                        EFF_PLAN_NAME_BYTES);
    for (int i = 0; plan->labels != NULL && i < plan->n_classes; i++) {
        if (!eff_utf8_is_clean(plan->labels[i], strlen(plan->labels[i]), false))
            return eff_fail(EFF_ERR_FORMAT, "label %d is not clean UTF-8", i);
    }
    if (plan->provenance != NULL && !eff_utf8_is_clean(plan->provenance, strlen(plan->provenance), true))
        return eff_fail(EFF_ERR_FORMAT, "the provenance is not clean UTF-8");
    return EFF_OK;
}

static bool data_ok(const EffPlan *plan, uint64_t offset, uint64_t n_bytes)
{
    return offset % EFF_ALIGN == 0 && offset <= plan->data_bytes && n_bytes <= plan->data_bytes - offset;
}

static EffStatus check_floats(const EffPlan *plan, uint64_t offset, uint64_t n, bool positive, const char *what)
{
    const float *x = (const float *)(const void *)(plan->data + offset);
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || (positive && x[i] <= 0))
            return eff_fail(EFF_ERR_FORMAT, "%s [%llu] is %g; %sfinite is valid", what, (unsigned long long)i,
                            (double)x[i], positive ? "positive and " : "");
    }
    return EFF_OK;
}

/* ---- Tensors ---- */

/* One of the kinds above; 0 where type and layout don't go together. */
static int tensor_kind(const EffPlan *plan, int tensor)
{
    if (tensor == EFF_PLAN_NONE)
        return NONE;
    const EffPlanTensor *t = &plan->tensors[tensor];
    if (tensor == 0)
        return PIXELS;
    switch (t->layout) {
    case EFF_LAYOUT_IMAGE: return t->type == EFF_TENSOR_F32 ? F32 : 0;
    case EFF_LAYOUT_NHWC: return t->type == EFF_TENSOR_U8 ? U8 : t->type == EFF_TENSOR_S16 ? S16 : 0;
    case EFF_LAYOUT_QUADS: return t->type == EFF_TENSOR_U8 ? QUADS : 0;
    case EFF_LAYOUT_VECTOR: return t->type == EFF_TENSOR_S16 && t->h == 1 && t->w == 1 ? VECTOR : 0;
    default: return 0;
    }
}

static EffStatus check_tensor(const EffPlan *plan, int index)
{
    const EffPlanTensor *t = &plan->tensors[index];
    if (!name_ok(t->name))
        return eff_fail(EFF_ERR_FORMAT, "tensor %d: its name is not clean UTF-8 that ends within %d bytes", index,
                        EFF_PLAN_NAME_BYTES);
    if (tensor_kind(plan, index) == 0)
        return eff_fail(EFF_ERR_FORMAT, "tensor %d (%s): type %d, layout %d, %dx%d don't go together", index, t->name,
                        t->type, t->layout, t->h, t->w);
    const int max_ch = t->type == EFF_TENSOR_F32 ? EFF_PLAN_MAX_CHANNELS : EFF_MAX_CH;
    if (t->h < 1 || t->h > EFF_PLAN_MAX_EXTENT || t->w < 1 || t->w > EFF_PLAN_MAX_EXTENT || t->c < 1 || t->c > max_ch)
        return eff_fail(EFF_ERR_FORMAT, "tensor %d (%s): %dx%dx%d; up to %dx%dx%d is valid", index, t->name, t->h, t->w,
                        t->c, EFF_PLAN_MAX_EXTENT, EFF_PLAN_MAX_EXTENT, max_ch);
    if (t->n_scales != 0 && t->n_scales != 1 && t->n_scales != t->c)
        return eff_fail(EFF_ERR_FORMAT, "tensor %d (%s): %d scales for %d channels; 0, 1 or one a channel is valid",
                        index, t->name, t->n_scales, t->c);
    if (t->n_scales == 0 && (t->scale != 0 || t->zero != 0))
        return eff_fail(EFF_ERR_FORMAT, "tensor %d (%s): scales without a number of scales", index, t->name);
    const uint64_t n = (uint64_t)t->n_scales;
    const bool has_zero = t->type == EFF_TENSOR_U8;
    if (!data_ok(plan, t->scale, n * sizeof(float)) || !data_ok(plan, t->zero, has_zero ? n : 0) ||
        (!has_zero && t->zero != 0))
        return eff_fail(EFF_ERR_FORMAT, "tensor %d (%s): scales outside the data section", index, t->name);
    const EffStatus st = check_floats(plan, t->scale, n, true, "scale");
    return st == EFF_OK ? st : eff_fail_in(st, "tensor %d (%s)", index, t->name);
}

static EffStatus check_input(const EffPlan *plan)
{
    const EffPlanTensor *t = &plan->tensors[0];
    if (t->type != EFF_TENSOR_U8 || t->layout != EFF_LAYOUT_IMAGE || t->h != plan->pre.size || t->w != plan->pre.size ||
        t->c != EFF_STEM_CH || t->arena_offset != 0)
        return eff_fail(EFF_ERR_FORMAT, "tensor 0: the input is not %dx%dx%d pixels of 8 bits", plan->pre.size,
                        plan->pre.size, EFF_STEM_CH);
    return EFF_OK;
}

static EffStatus check_output(const EffPlan *plan)
{
    if (plan->output < 1 || plan->output >= plan->n_tensors)
        return eff_fail(EFF_ERR_FORMAT, "output: tensor %d of %d does not exist", plan->output, plan->n_tensors);
    const EffPlanTensor *t = &plan->tensors[plan->output];
    if (tensor_kind(plan, plan->output) != F32 || t->h != 1 || t->w != 1 || t->c != plan->n_classes)
        return eff_fail(EFF_ERR_FORMAT, "output: tensor %d (%s) is %dx%dx%d; 1x1x%d float32 is valid", plan->output,
                        t->name, t->h, t->w, t->c, plan->n_classes);
    return EFF_OK;
}

/* ---- Steps ---- */

static EffStatus check_ports(const EffPlan *plan, const EffPlanStep *s)
{
    const OpRule *rule = &rules[s->op];
    for (int k = 0; k < 4; k++) {
        const int tensor = k < 2 ? s->in[k] : s->out[k - 2];
        const int admitted = k < 2 ? rule->in[k] : rule->out[k - 2];
        if (tensor < EFF_PLAN_NONE || tensor >= plan->n_tensors || (tensor_kind(plan, tensor) & admitted) == 0)
            return eff_fail(EFF_ERR_FORMAT, "%s[%d] is tensor %d, which is missing or not of a kind it takes",
                            k < 2 ? "in" : "out", k % 2, tensor);
    }
    if (s->out[0] == EFF_PLAN_NONE && s->out[1] == EFF_PLAN_NONE)
        return eff_fail(EFF_ERR_FORMAT, "it has no output");
    return EFF_OK;
}

static bool fields_are_neutral(const EffPlanStep *s, unsigned uses)
{
    const bool window = s->kernel == 1 && s->stride == 1 && s->pad_top == 0 && s->pad_left == 0;
    const bool epilogue = s->out_kind == 0 && s->pre_shift == 0 && s->act == 0 && s->act_h == 0 && s->act_g_shift == 0;
    return (window || (uses & USES_WINDOW)) && (s->groups == 1 || (uses & USES_GROUPS)) &&
           (s->wgt_bits == 8 || (uses & USES_BITS)) && (epilogue || (uses & USES_EPILOGUE)) &&
           (s->post_shift == 0 || (uses & (USES_EPILOGUE | USES_POST_SHIFT))) &&
           (s->sigmoid_h == 0 || s->op == EFF_STEP_FC) && (s->frac_bits == 0 || (uses & USES_FRAC)) &&
           (s->fact == 0 || (uses & USES_FACT));
}

static EffStatus check_fields(const EffPlan *plan, const EffPlanStep *s)
{
    const unsigned uses = rules[s->op].uses;
    const bool small = s->op == EFF_STEP_STEM || eff_step_is_dw(s->op);
    const int max_kernel = small ? EFF_STEM_MAX_KERNEL : EFF_PLAN_MAX_KERNEL;
    if (!fields_are_neutral(s, uses))
        return eff_fail(EFF_ERR_FORMAT, "a field that it doesn't use has a value");
    if (s->kernel < 1 || s->kernel > max_kernel || s->stride < 1 || s->stride > max_kernel)
        return eff_fail(EFF_ERR_FORMAT, "kernel %d, stride %d; 1..%d is valid", s->kernel, s->stride, max_kernel);
    if (eff_step_is_dw(s->op) && (s->stride > 2 || s->kernel % 2 == 0 || s->kernel == 1))
        return eff_fail(EFF_ERR_FORMAT, "kernel %d, stride %d; 3, 5, 7 and 1, 2 are valid", s->kernel, s->stride);
    if (s->wgt_bits != 8 && s->wgt_bits != 16)
        return eff_fail(EFF_ERR_FORMAT, "%d-bit weights; 8 or 16 is valid", s->wgt_bits);
    if (s->frac_bits < 0 || s->frac_bits > 7)
        return eff_fail(EFF_ERR_FORMAT, "%d more fraction bits; 0..7 is valid", s->frac_bits);
    const bool rounds = s->op == EFF_STEP_F32_ROUND;
    if (s->fact < 0 || s->fact > (rounds ? (int)EFF_ROUNDING_EVEN : (int)EFF_ACTIVATION_SIGMOID))
        return eff_fail(EFF_ERR_FORMAT, "%s %d is unknown", rounds ? "rounding" : "activation", s->fact);
    const bool depthwise = s->groups == s->in_ch && s->groups == s->out_ch;
    if (s->groups != 1 && !depthwise)
        return eff_fail(EFF_ERR_FORMAT, "%d groups for %d to %d channels; dense or depthwise is valid", s->groups,
                        s->in_ch, s->out_ch);
    if (!(uses & USES_EPILOGUE))
        return EFF_OK;
    const bool clamp = s->out_kind == EFF_OUT_U8_CLAMP;
    const bool quads = s->out[0] != EFF_PLAN_NONE && plan->tensors[s->out[0]].layout == EFF_LAYOUT_QUADS;
    if ((clamp && (s->out[0] == EFF_PLAN_NONE || s->out[1] != EFF_PLAN_NONE)) || (quads && s->out[1] != EFF_PLAN_NONE))
        return eff_fail(EFF_ERR_FORMAT, "its kind of output is 8 bits only");
    if (s->in[1] != EFF_PLAN_NONE && (s->out_kind != EFF_OUT_S16 || quads))
        return eff_fail(EFF_ERR_FORMAT, "a residual is added to 16-bit outputs without activation only");
    if (s->act != EFF_ACT_NONE && s->out_kind != EFF_OUT_ACT)
        return eff_fail(EFF_ERR_FORMAT, "activation %d with output kind %d", s->act, s->out_kind);
    return EFF_OK;
}

/* Nothing cropped: what the window leaves over is less than a stride, what it lacks less than itself. */
static bool window_ok(int kernel, int stride, int pad, int in, int out)
{
    const int pad_after = (out - 1) * stride + kernel - pad - in;
    return pad >= 0 && pad < kernel && pad_after > -stride && pad_after < kernel;
}

static bool same_shape(const EffPlanTensor *a, const EffPlanTensor *b)
{
    return a->h == b->h && a->w == b->w && a->c == b->c;
}

static bool shapes_ok(const EffPlan *plan, const EffPlanStep *s)
{
    const EffPlanTensor *in = &plan->tensors[s->in[0]], *out = eff_step_output(plan, s);
    if (in->c != s->in_ch || out->c != s->out_ch)
        return false;
    if (s->out[0] != EFF_PLAN_NONE && s->out[1] != EFF_PLAN_NONE && !same_shape(out, &plan->tensors[s->out[1]]))
        return false;
    if (s->in[1] != EFF_PLAN_NONE) {
        const EffPlanTensor *other = &plan->tensors[s->in[1]];
        const bool float_mul = s->op == EFF_STEP_F32_MUL;
        const bool gates = s->op == EFF_STEP_QUANT || s->op == EFF_STEP_GATE || float_mul;
        const bool gate_ok = gates && other->h == 1 && other->w == 1 && other->c == out->c;
        if (!gate_ok && ((gates && !float_mul) || !same_shape(other, out)))
            return false;
    }
    switch (rules[s->op].shape) {
    case SAME: return same_shape(in, out);
    case MEAN: return out->h == 1 && out->w == 1 && out->c == in->c;
    case CHANNELS: return in->h == out->h && in->w == out->w;
    case WINDOW:
        if ((eff_step_is_dw(s->op) || eff_step_is_float_pool(s->op)) && in->c != out->c)
            return false;
        return window_ok(s->kernel, s->stride, s->pad_top, in->h, out->h) &&
               window_ok(s->kernel, s->stride, s->pad_left, in->w, out->w);
    }
    return false;
}

static EffStatus check_data(const EffPlan *plan, const EffPlanStep *s)
{
    for (int slot = 0; slot < EFF_N_DATA_SLOTS; slot++) {
        const EffPlanData *d = &s->data[slot];
        const uint64_t n = slot_elements(plan, s, (EffDataSlot)slot);
        const bool optional = slot == EFF_DATA_SIGMOID || (slot == EFF_DATA_FBIAS && s->op == EFF_STEP_F32_CONV);
        const uint64_t need = optional && d->n_bytes == 0 ? 0 : n * slot_element_bytes(s, (EffDataSlot)slot);
        if (d->n_bytes != need || !data_ok(plan, d->offset, d->n_bytes) || (need == 0 && d->offset != 0))
            return eff_fail(EFF_ERR_FORMAT, "%s: %llu bytes at %llu of the data; %llu within %llu are valid",
                            slot_names[slot], (unsigned long long)d->n_bytes, (unsigned long long)d->offset,
                            (unsigned long long)need, (unsigned long long)plan->data_bytes);
        if (slot >= EFF_DATA_SCALE) {
            EffStatus st = check_floats(plan, d->offset, need / sizeof(float), false, slot_names[slot]);
            if (st == EFF_OK && s->op == EFF_STEP_F32_ROUND && slot == EFF_DATA_FWGT) /* what it divides by */
                st = check_floats(plan, d->offset, (uint64_t)s->out_ch, true, slot_names[slot]);
            if (st != EFF_OK)
                return st;
        }
    }
    return EFF_OK;
}

/* ---- Values: the kernels' checks ---- */

static EffStatus check_stem(const EffPlan *plan, const EffPlanStep *s, const EffLayer *l, bool to_u8)
{
    EffStatus st = eff_pw_check(&l->stem.pw, eff_plan_data(plan, s, EFF_DATA_WGT), to_u8);
    if (st != EFF_OK)
        return st;
    const int32_t *bias = eff_plan_data(plan, s, EFF_DATA_BIAS);
    const uint64_t n = s->data[EFF_DATA_BIAS].n_bytes / sizeof *bias;
    for (uint64_t i = 0; i < n; i++) {
        if (bias[i] < -(1 << 30) || bias[i] > 1 << 30)
            return eff_fail(EFF_ERR_FORMAT, "bias %llu is beyond 2^30", (unsigned long long)i);
    }
    /* eff_stem_check() looks at the biases of every pixel, hours for a hostile shape; that is done, so without. */
    EffStem geometry = l->stem;
    geometry.pw.out_ch = 0;
    return eff_stem_check(&geometry);
}

static EffStatus check_fc(const EffPlan *plan, const EffPlanStep *s, const EffLayer *l)
{
    EffStatus st = eff_fc_check(&l->fc.op, eff_plan_data(plan, s, EFF_DATA_WGT));
    if (st != EFF_OK || s->op == EFF_STEP_HEAD)
        return st;
    if (s->out_kind == EFF_OUT_U8_CLAMP)
        return eff_fail(EFF_ERR_FORMAT, "a fully connected layer has 16-bit outputs");
    if ((st = eff_epilogue_check(&l->fc.epi.epi, s->out_ch, 0)) != EFF_OK || l->fc.epi.sigmoid == NULL)
        return st;
    return eff_act_check(l->fc.epi.sigmoid);
}

static EffStatus check_padding(const EffPlanStep *s, const int16_t *zero)
{
    for (int c = 0; c < s->out_ch; c++) {
        if (zero[c] < 0 || zero[c] > 255)
            return eff_fail(EFF_ERR_FORMAT, "zero point %d of channel %d; 0..255 is valid", zero[c], c);
    }
    return EFF_OK;
}

static EffStatus check_wide(const EffPlan *plan, const EffPlanStep *s, const EffLayer *l, bool to_u8)
{
    const int8_t *wgt = eff_plan_data(plan, s, EFF_DATA_WGT);
    const bool dw = s->op == EFF_STEP_DW16;
    const EffDw bytes = {.channels = s->out_ch, .kernel = s->kernel, .stride = s->stride, .epi = l->dw16.epi};
    const EffStatus st = dw ? eff_dw_check(&bytes, wgt, to_u8) : eff_pw_check(&l->pw, wgt, to_u8);
    if (st != EFF_OK)
        return st;
    return dw ? eff_wide_check(wgt, l->dw16.epi.bias, s->out_ch, s->kernel * s->kernel)
              : eff_wide_check(wgt, l->pw.epi.bias, s->out_ch, s->in_ch);
}

static EffStatus check_float_node(const EffPlan *plan, const EffPlanStep *s, const EffLayer *l, bool to_u8)
{
    const EffStatus st = eff_epilogue_check(&l->node.epi, s->out_ch, to_u8);
    const int fan_in = s->op == EFF_STEP_DW_F32 ? s->kernel * s->kernel : s->in_ch;
    return st != EFF_OK ? st
                        : eff_float_node_check(eff_plan_data(plan, s, EFF_DATA_FWGT), l->node.bias, l->node.scale,
                                               s->out_ch, fan_in);
}

/* A gate of a hostile file may be negative: its own step keeps to 16 bits, so that only the shift matters. */
static EffStatus check_gate(const EffPlanStep *s)
{
    if (s->post_shift < 0 || s->post_shift > EFF_MAX_PRE_SHIFT)
        return eff_fail(EFF_ERR_FORMAT, "gate: shift %d; 0..%d is valid", s->post_shift, EFF_MAX_PRE_SHIFT);
    return EFF_OK;
}

static EffStatus check_values(const EffPlan *plan, const EffPlanStep *s, const EffLayer *l)
{
    const bool to_u8 = s->out[0] != EFF_PLAN_NONE;
    switch (s->op) {
    case EFF_STEP_STEM: return check_stem(plan, s, l, to_u8);
    case EFF_STEP_PW: return eff_pw_check(&l->pw, eff_plan_data(plan, s, EFF_DATA_WGT), to_u8);
    case EFF_STEP_DW: return eff_dw_check(&l->dw, eff_plan_data(plan, s, EFF_DATA_WGT), to_u8);
    case EFF_STEP_PW16:
    case EFF_STEP_DW16: return check_wide(plan, s, l, to_u8);
    case EFF_STEP_PW_F32:
    case EFF_STEP_DW_F32: return check_float_node(plan, s, l, to_u8);
    case EFF_STEP_GATE: return check_gate(s);
    case EFF_STEP_QUADS: return check_padding(s, l->quant.zero);
    case EFF_STEP_FC:
    case EFF_STEP_HEAD: return check_fc(plan, s, l);
    case EFF_STEP_QUANT: return eff_quant_check(&l->quant);
    default: return EFF_OK;
    }
}

static EffStatus check_layer(const EffPlan *plan, const EffPlanStep *s, const int *readers)
{
    EffLayer layer;
    EffLayerMem mem = {0};
    size_t each, shared;
    eff_layer_build(&layer, &mem, plan, s, readers, NULL);
    const size_t n_bytes = mem.used;
    mem = (EffLayerMem){.base = eff_calloc(1, n_bytes)};
    if (mem.base == NULL)
        return eff_fail_nomem(n_bytes, "a layer's parameters");
    eff_layer_build(&layer, &mem, plan, s, readers, NULL);
    EffStatus st = check_values(plan, s, &layer);
    if (st == EFF_OK && !eff_layer_scratch(&each, &shared, &layer, s))
        st =
            eff_fail(EFF_ERR_LIMIT, "it needs more than %llu bytes of scratch", (unsigned long long)EFF_PLAN_MAX_ARENA);
    eff_free(mem.base);
    return st;
}

/* All that can be said of a step without the others. */
static EffStatus check_step(const EffPlan *plan, const EffPlanStep *s)
{
    EffStatus st;
    if ((st = check_ports(plan, s)) != EFF_OK || (st = check_fields(plan, s)) != EFF_OK)
        return st;
    if (!shapes_ok(plan, s))
        return eff_fail(EFF_ERR_FORMAT, "the shapes of its inputs and outputs don't go together");
    return check_data(plan, s);
}

static EffStatus fail_in_step(EffStatus st, const EffPlan *plan, int i)
{
    return eff_fail_in(st, "step %d (%s, %s)", i, plan->steps[i].name, eff_step_op_name(plan->steps[i].op));
}

static EffStatus check_steps(const EffPlan *plan, int *readers)
{
    uint64_t n_bytes = 0;
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *s = &plan->steps[i];
        if (!name_ok(s->name))
            return eff_fail(EFF_ERR_FORMAT, "step %d: its name is not clean UTF-8 that ends within %d bytes", i,
                            EFF_PLAN_NAME_BYTES);
        if (s->op < 0 || s->op >= EFF_N_STEP_OPS)
            return eff_fail(EFF_ERR_FORMAT, "step %d (%s): operation %d is unknown", i, s->name, s->op);
        const EffStatus st = check_step(plan, s);
        if (st != EFF_OK)
            return fail_in_step(st, plan, i);
        for (int slot = 0; slot < EFF_N_DATA_SLOTS; slot++)
            n_bytes += s->data[slot].n_bytes;
    }
    /* Steps may share tables; but a small file must not unfold into hours of checking and packing. */
    if (n_bytes / 4 > plan->data_bytes)
        return eff_fail(EFF_ERR_LIMIT, "the steps use %llu bytes of data; up to 4 times the %llu there are is valid",
                        (unsigned long long)n_bytes, (unsigned long long)plan->data_bytes);
    eff_plan_quads_readers(plan, readers);
    for (int i = 0; i < plan->n_steps; i++) {
        const int to = plan->steps[i].out[0];
        if (to != EFF_PLAN_NONE && plan->tensors[to].layout == EFF_LAYOUT_QUADS && readers[to] == EFF_PLAN_NONE)
            return fail_in_step(eff_fail(EFF_ERR_FORMAT, "no depthwise step reads its row quads"), plan, i);
        const EffStatus st = check_layer(plan, &plan->steps[i], readers);
        if (st != EFF_OK)
            return fail_in_step(st, plan, i);
    }
    return EFF_OK;
}

EffStatus eff_plan_check(const EffPlan *plan)
{
    EffStatus st;
    if (plan->n_tensors < 2 || plan->n_tensors > EFF_PLAN_MAX_TENSORS || plan->n_steps < 1 ||
        plan->n_steps > EFF_PLAN_MAX_STEPS)
        return eff_fail(EFF_ERR_LIMIT, "%d tensors and %d steps; 2..%d and 1..%d are valid", plan->n_tensors,
                        plan->n_steps, EFF_PLAN_MAX_TENSORS, EFF_PLAN_MAX_STEPS);
    if (plan->n_classes < 1 || plan->n_classes > EFF_PLAN_MAX_CLASSES)
        return eff_fail(EFF_ERR_LIMIT, "%d classes; 1..%d is valid", plan->n_classes, EFF_PLAN_MAX_CLASSES);
    if ((st = check_preprocess(&plan->pre)) != EFF_OK || (st = check_texts(plan)) != EFF_OK)
        return st;
    for (int t = 0; t < plan->n_tensors; t++) {
        if ((st = check_tensor(plan, t)) != EFF_OK)
            return st;
    }
    if ((st = check_input(plan)) != EFF_OK || (st = check_output(plan)) != EFF_OK)
        return st;
    int *readers = eff_calloc(2 * (size_t)plan->n_tensors, sizeof *readers), *local = readers + plan->n_tensors;
    if (readers == NULL)
        return eff_fail_nomem(2 * (size_t)plan->n_tensors * sizeof *readers, "the check of the plan");
    if ((st = eff_plan_check_group_ranges(plan)) == EFF_OK && (st = check_steps(plan, readers)) == EFF_OK) {
        eff_plan_find_locals(plan, local);
        if ((st = eff_plan_check_groups(plan, local)) == EFF_OK)
            st = eff_plan_check_memory(plan, readers, local);
    }
    eff_free(readers);
    return st;
}
