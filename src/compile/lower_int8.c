/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A graph as an int8 plan: which tensors there are, in which type, and which step computes them. How a layer's numbers
 * are chosen is layer_int8.c's business.
 *
 * A value is computed once and leaves in the forms that its consumers need: u8 row quads for a depthwise convolution,
 * u8 for a pointwise one, s16 for additions, pooling and the gate of squeeze-excite. Values that are added share one
 * unit.
 */
#include "base/mem.h"
#include "base/status.h"
#include "compile/lower_int8.h"
#include "format/group.h"
#include "kernels/stem.h"
#include "quant/requantize.h"

#include <math.h>
#include <string.h>

/* ---- What the graph says ---- */

bool eff_node_can_be_wide(const EffGraph *g, int node)
{
    const EffNode *n = &g->nodes[node];
    return n->op == EFF_OP_CONV && n->in[0] != g->input && !eff_is_vector(g->values[n->in[0]].shape) &&
           (eff_conv_is_depthwise(&n->conv) || eff_conv_is_pointwise(&n->conv));
}

static EffNodeType type_of(const EffLower *l, const EffNode *node)
{
    const int i = (int)(node - l->g->nodes);
    return l->tuning != NULL && eff_node_can_be_wide(l->g, i) ? (EffNodeType)l->tuning->types[i] : EFF_NODE_INT8;
}

/* Whether a node reads 16 bits. */
static bool is_wide(const EffLower *l, const EffNode *node)
{
    return type_of(l, node) != EFF_NODE_INT8;
}

static unsigned reader_kind(const EffLower *l, const EffNode *node, int value)
{
    const EffGraph *g = l->g;
    if (is_wide(l, node))
        return EFF_READ_WIDE;
    switch (node->op) {
    case EFF_OP_CONV: return eff_conv_is_depthwise(&node->conv) ? EFF_READ_DW : EFF_READ_PW;
    case EFF_OP_ADD: return EFF_READ_ADD;
    case EFF_OP_GLOBAL_AVGPOOL: return EFF_READ_POOL;
    case EFF_OP_MUL:
        return node->in[0] == value && !eff_is_vector(g->values[value].shape) ? EFF_READ_GATED : EFF_READ_OTHER;
    case EFF_OP_ACT:
    case EFF_OP_PAD:
    case EFF_OP_ROUND:
    case EFF_OP_POOL:
    case EFF_OP_BATCHNORM: break;
    }
    return EFF_READ_OTHER;
}

static int group_of(EffLower *l, int value)
{
    while (l->forms[value].group != value)
        value = l->forms[value].group;
    return value;
}

static EffStatus analyse(EffLower *l)
{
    const EffGraph *g = l->g;
    for (int v = 0; v < g->n_values; v++) {
        l->forms[v] = (EffForms){.u8 = EFF_PLAN_NONE, .s16 = EFF_PLAN_NONE, .vector = EFF_PLAN_NONE, .group = v};
        l->consumer[v] = -1;
    }
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        const EffNode *node = &g->nodes[i];
        for (int k = 0; k < node->n_inputs; k++) {
            l->consumer[node->in[k]] = i;
            l->reads[node->in[k]] |= reader_kind(l, node, node->in[k]);
        }
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *node = &g->nodes[i];
        if (node->op != EFF_OP_ADD)
            continue;
        l->forms[group_of(l, node->in[1])].group = group_of(l, node->in[0]);
        l->forms[group_of(l, node->out)].group = group_of(l, node->in[0]);
    }
    return EFF_OK;
}

static void use_tuning(const EffLower *l, EffInt8Layer *layer, const EffNode *node)
{
    if (l->tuning == NULL)
        return;
    layer->tuning = &l->tuning->convs[eff_lower_node_index(l, node)];
    layer->sketch = eff_lower_is_sketch(l, node);
    layer->numbers = l->tuning->asked == eff_lower_node_index(l, node) ? &l->tuning->numbers : NULL;
}

/* ---- Convolutions on maps ---- */

/* A convolution with what follows it: an activation, or an addition. */
typedef struct Fused {
    const EffNode *conv, *act, *add;
    const EffNode *last; /* whose output it computes */
    int residual;        /* value that is added, or -1 */
} Fused;

static Fused fuse(const EffLower *l, const EffNode *conv)
{
    Fused f = {.conv = conv, .last = conv, .residual = -1};
    if ((f.act = eff_lower_only_reader(l, conv->out, EFF_OP_ACT)) != NULL) {
        f.last = f.act;
    } else if ((f.add = eff_lower_only_reader(l, conv->out, EFF_OP_ADD)) != NULL) {
        const int other = f.add->in[0] == conv->out ? f.add->in[1] : f.add->in[0];
        if (l->forms[other].s16 != EFF_PLAN_NONE) {
            f.last = f.add;
            f.residual = other;
        } else {
            f.add = NULL; /* the other side is computed later, and adds this one */
        }
    }
    return f;
}

/* Whether every value of an addition group is a plain sum: then its channels may have units of their own. */
static bool is_linear_group(EffLower *l, int group)
{
    for (int v = 0; v < l->g->n_values; v++) {
        const int producer = l->g->values[v].producer;
        if (group_of(l, v) != group)
            continue;
        const EffOp op = producer >= 0 ? l->g->nodes[producer].op : EFF_OP_ACT;
        const unsigned taken = EFF_READ_ADD | EFF_READ_PW | EFF_READ_DW | EFF_READ_WIDE;
        if ((op != EFF_OP_ADD && op != EFF_OP_CONV) || (l->reads[v] & ~taken) != 0 ||
            eff_is_vector(l->g->values[v].shape))
            return false;
    }
    return true;
}

/* Largest magnitude of what an activation by table sees, in its common unit, and the most fraction bits of that. */
static double before_activation(const EffLower *l, const EffNode *act, int *most_bits)
{
    const bool relu6 = act->act == EFF_ACTIVATION_RELU6;
    const double range = (double)eff_range_before(&l->ranges->values[act->in[0]], act->act);
    *most_bits = relu6 ? EFF_RELU6_MAX_H : EFF_MAX_ACT_FRAC_BITS;
    return relu6 ? fmin(range, 6) : range;
}

/*
 * Units of the values of an addition group: of the tensor, so that the loudest channel fits, and finer ones for
 * channels that stay quieter in all of them. What an activation sees has to fit too, where its output is added.
 */
static EffStatus group_units(EffLower *l, int value, EffFixedPoint *y)
{
    enum { MOST_FINER = 10 };
    const int group = group_of(l, value), n_ch = l->g->values[value].shape.c;
    EffForms *forms = &l->forms[group];
    double *range = eff_calloc((size_t)n_ch, sizeof *range);
    if (range == NULL || (forms->finer == NULL && (forms->finer = eff_calloc((size_t)n_ch, 1)) == NULL)) {
        eff_free(range);
        return eff_fail_nomem((size_t)n_ch * sizeof *range, "units");
    }
    for (int v = 0; v < l->g->n_values; v++) {
        const EffRange *r = &l->ranges->values[v];
        for (int c = 0; c < r->c && group_of(l, v) == group; c++)
            range[c] = fmax(range[c], fmax(-(double)r->min[c], (double)r->max[c]));
    }
    double most = 0;
    for (int c = 0; c < n_ch; c++)
        most = fmax(most, range[c]);
    *y = (EffFixedPoint){.frac_bits = eff_choose_frac_bits(most, EFF_MAX_FRAC_BITS - 8), .range = most};
    for (int i = 0; i < l->g->n_nodes; i++) {
        int most_bits;
        if (l->g->nodes[i].op != EFF_OP_ACT || group_of(l, l->g->nodes[i].out) != group)
            continue;
        const double before = before_activation(l, &l->g->nodes[i], &most_bits);
        const int bits = eff_choose_frac_bits(before, most_bits);
        y->frac_bits = bits < y->frac_bits ? bits : y->frac_bits;
    }
    if (is_linear_group(l, group)) {
        for (int c = 0; c < n_ch; c++) {
            const int finer = eff_choose_frac_bits(range[c], y->frac_bits + MOST_FINER) - y->frac_bits;
            forms->finer[c] = (int8_t)finer;
            y->range = fmax(y->range, range[c] * eff_pow2(finer));
        }
        y->finer = forms->finer;
    }
    eff_free(range);
    return EFF_OK;
}

static const EffActChoice *find_choice(const EffLower *l, const EffNode *conv)
{
    for (size_t i = 0; i < l->n_choices; i++) {
        if (l->choices[i].conv == eff_lower_node_index(l, conv))
            return &l->choices[i];
    }
    return NULL;
}

/*
 * Scales of a clamped u8 output in [0, max]: one for all, or a channel each, but no finer than half of all channels'
 * range: a clamp keeps channels alike, and what a quiet channel does on other pictures costs more when it is cut off
 * than a bit does (doc/quantization.md).
 */
static void choose_clamped(EffQuantInfo *q, const EffRange *range, const float *top, bool own)
{
    const double all = (double)eff_range_max(range);
    for (int c = 0; c < q->c; c++) {
        const double max = own ? fmax((double)range->max[c], all / 2) : (double)top[c];
        q->scale[c] = (max > 0 ? max : 1) / 255;
        q->zero[c] = 0;
    }
}

/*
 * What the u8 form of a value has to cover, a channel each. Before a pointwise convolution it is the tensor's range,
 * or, if scales have been chosen, the channel's own, as much wider as was decided: they go into the convolution's
 * weights.
 */
EffStatus eff_lower_u8_range(EffLower *l, int value, float **min, float **max)
{
    EffForms *forms = &l->forms[value];
    const EffRange *range = &l->ranges->values[value];
    const size_t n = (size_t)range->c;
    const float *factor = l->tuning != NULL ? l->tuning->factors[value] : NULL;
    const double low = (double)eff_range_min(range), high = (double)eff_range_max(range);
    *min = eff_calloc(2 * n, sizeof **min);
    if (*min == NULL)
        return eff_fail_nomem(2 * n * sizeof **min, "ranges");
    *max = *min + n;
    const bool own = forms->quant.per_channel;
    if (factor != NULL)
        forms->quant.per_channel = true;
    for (size_t c = 0; c < n; c++) {
        const double span = (double)range->max[c] - (double)range->min[c];
        if (own) {
            (*min)[c] = range->min[c];
            (*max)[c] = range->max[c];
        } else if (factor == NULL || !(span > 0)) {
            (*min)[c] = (float)low;
            (*max)[c] = (float)high;
        } else {
            (*min)[c] = range->min[c] * factor[c];
            (*max)[c] = range->max[c] * factor[c];
        }
    }
    return EFF_OK;
}

/* Requantization of a convolution: sets out[], the forms of the value, and everything but weights and bias. */
static EffStatus emit_outputs(EffLower *l, EffInt8Layer *layer, const Fused *f)
{
    const int value = f->last->out;
    EffForms *forms = &l->forms[value];
    const EffShape shape = l->g->values[value].shape;
    const EffRange *range = &l->ranges->values[value];
    const unsigned reads = l->reads[value];
    const EffActivation act = f->act != NULL ? f->act->act : EFF_ACTIVATION_NONE;
    const bool clamp = act == EFF_ACTIVATION_RELU || act == EFF_ACTIVATION_RELU6;
    const bool wants_s16 =
        (reads & (EFF_READ_ADD | EFF_READ_GATED | EFF_READ_WIDE)) || (!clamp && (reads & EFF_READ_POOL));
    const bool wants_u8 = (reads & (EFF_READ_DW | EFF_READ_PW)) || (clamp && !wants_s16 && (reads & EFF_READ_POOL));
    EffStatus st = EFF_OK;
    if ((reads & EFF_READ_OTHER) || (!wants_s16 && !wants_u8))
        return eff_lower_unsupported(f->last, "its output goes where no int8 step takes it");
    if (act == EFF_ACTIVATION_SIGMOID)
        return eff_lower_unsupported(f->act, "no int8 form of this activation here");

    if (wants_u8 && (st = eff_quant_info_alloc(&forms->quant, shape.c)) != EFF_OK)
        return st;
    forms->quant.per_channel = (reads & (EFF_READ_DW | EFF_READ_POOL)) != 0;
    const bool direct_quads = (reads & EFF_READ_DW) && !wants_s16 && f->residual < 0 && /* sums leave as 16 bits */
                              (layer->step.op == EFF_STEP_PW || layer->step.op == EFF_STEP_STEM);
    const EffLayout u8_layout = direct_quads ? EFF_LAYOUT_QUADS : EFF_LAYOUT_NHWC;

    const bool own = forms->quant.per_channel;
    float *min = NULL, *max = NULL;
    if (wants_u8 && (st = eff_lower_u8_range(l, value, &min, &max)) != EFF_OK)
        return st;
    if (clamp && !wants_s16) {
        choose_clamped(&forms->quant, range, max, own);
        st = eff_int8_layer_to_u8(layer, &forms->quant, act == EFF_ACTIVATION_RELU6 ? 6.0 : HUGE_VAL);
    } else {
        const bool relu6 = act == EFF_ACTIVATION_RELU6;
        /* In float it is done before anything is rounded: the epilogue sees what leaves it. */
        const bool float_act = layer->in_float && act != EFF_ACTIVATION_NONE && !clamp;
        const EffActChoice *choice = float_act ? NULL : find_choice(l, f->conv);
        int most_bits = EFF_MAX_ACT_FRAC_BITS;
        const double before =
            f->act == NULL || float_act ? (double)eff_range_abs(range) : before_activation(l, f->act, &most_bits);
        layer->step.fact = (int32_t)(float_act ? act : EFF_ACTIVATION_NONE);
        /* A staircase was chosen beside the rounding to u8, which 16-bit inputs are spared. */
        const bool fine = choice != NULL && choice->kind == EFF_ACT_STAIR && (reads & EFF_READ_WIDE);
        const EffActKind kind = fine             ? EFF_ACT_INTERP
                                : choice != NULL ? choice->kind
                                : relu6          ? EFF_ACT_RELU6
                                : clamp          ? EFF_ACT_RELU
                                                 : EFF_ACT_NONE;
        EffFixedPoint y = {.frac_bits = eff_choose_frac_bits(before, most_bits), .range = before};
        if (f->act == NULL || (reads & EFF_READ_ADD))
            st = group_units(l, value, &y);
        if (f->act != NULL)
            y.range = before;
        const int wanted = y.frac_bits;
        if (st == EFF_OK)
            st = eff_int8_layer_to_s16(layer, &y, kind, act);
        if (st == EFF_OK && relu6 && y.frac_bits < 0) {
            eff_free(min);
            return eff_lower_unsupported(f->conv, "its accumulator is too coarse for ReLU6");
        }
        if (st == EFF_OK && y.frac_bits != wanted && (reads & EFF_READ_ADD)) {
            eff_free(min);
            return eff_lower_unsupported(f->conv, "its accumulator is too coarse for the values it is added to");
        }
        if (f->act != NULL)
            y.range = (double)eff_range_abs(range);
        if (st == EFF_OK && wants_u8)
            st = eff_int8_layer_copy_u8(l->plan, &layer->step, &forms->quant, min, max, &y);
        if (st == EFF_OK && wants_s16)
            st = eff_lower_add_fixed_point(l, &forms->s16, f->last->name, shape, &y);
        forms->frac_bits = y.frac_bits;
    }
    eff_free(min);
    if (st == EFF_OK && wants_u8)
        st = eff_lower_add_tensor(l, &forms->u8, f->last->name, EFF_TENSOR_U8, u8_layout, shape, &forms->quant);
    layer->step.out[0] = forms->u8;
    layer->step.out[1] = forms->s16;
    return st;
}

/* Border cases of the stem that occur, in the plan's order. */
static EffStatus find_cases(EffBorderCase **out, size_t *n, const EffConv *c, EffShape in, EffShape shape)
{
    const int n_1d = c->kernel_h * c->kernel_h;
    EffTaps rows[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL] = {{0}},
                                       cols[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL] = {{0}};
    for (int y = 0; y < shape.h; y++) {
        const EffTaps t = eff_stem_taps(y, c->kernel_h, c->stride, c->pad_top, in.h);
        rows[eff_stem_case(t, c->kernel_h)] = t;
    }
    for (int x = 0; x < shape.w; x++) {
        const EffTaps t = eff_stem_taps(x, c->kernel_h, c->stride, c->pad_left, in.w);
        cols[eff_stem_case(t, c->kernel_h)] = t;
    }
    EffBorderCase *cases = eff_calloc((size_t)(n_1d * n_1d), sizeof *cases);
    if (cases == NULL)
        return eff_fail_nomem((size_t)(n_1d * n_1d) * sizeof *cases, "the stem");
    *n = 0;
    for (int y = 0; y < n_1d; y++) {
        for (int x = 0; x < n_1d; x++) {
            if (rows[y].end > rows[y].first && cols[x].end > cols[x].first)
                cases[(*n)++] = (EffBorderCase){rows[y].first, rows[y].end, cols[x].first, cols[x].end};
        }
    }
    *out = cases;
    return EFF_OK;
}

/* The pixels as the stem sees them: scale 1 / std, and for a network of one channel the luma's shares. */
static EffStatus stem_conv(EffConv *out, EffQuantInfo *in, float mean[3], const EffGraph *g, const EffConv *c)
{
    const bool gray = c->in_ch == 1;
    static const double luma[3] = {0.299, 0.587, 0.114};
    *out = *c;
    out->in_ch = 3;
    out->wgt = (EffParam){0};
    EffStatus st = eff_quant_info_alloc(in, 3);
    if (st == EFF_OK)
        st = eff_param_alloc(&out->wgt, gray ? 3 * c->wgt.n : c->wgt.n);
    for (int k = 0; k < 3 && st == EFF_OK; k++) {
        in->scale[k] = (gray ? luma[k] : 1) / (double)g->pre.std[gray ? 0 : k];
        mean[k] = g->pre.mean[gray ? 0 : k];
    }
    for (size_t i = 0; i < out->wgt.n && st == EFF_OK; i++)
        out->wgt.data[i] = c->wgt.data[gray ? i / 3 : i];
    return st;
}

static EffStatus lower_stem(EffLower *l, const Fused *f)
{
    const EffShape in = l->g->values[l->g->input].shape, shape = l->g->values[f->conv->out].shape;
    const EffConv *c = &f->conv->conv;
    if (c->kernel_h > EFF_STEM_MAX_KERNEL || c->groups != 1)
        return eff_lower_unsupported(f->conv, "no int8 form of this first convolution");
    EffConv conv;
    EffQuantInfo pixels = {0};
    float mean[3] = {0};
    EffBorderCase *cases = NULL;
    size_t n_cases = 0;
    EffInt8Layer layer = {.plan = l->plan, .conv = &conv, .in = &pixels, .stem_mean = mean, .wgt_max = 127};
    EffStatus st = stem_conv(&conv, &pixels, mean, l->g, c);
    layer.step = eff_lower_step(f->conv->name, EFF_STEP_STEM, 3, c->out_ch);
    layer.step.kernel = c->kernel_h;
    layer.step.stride = c->stride;
    layer.step.pad_top = c->pad_top;
    layer.step.pad_left = c->pad_left;
    layer.step.in[0] = 0;
    use_tuning(l, &layer, f->conv);
    if (st == EFF_OK)
        st = find_cases(&cases, &n_cases, c, in, shape);
    if (st == EFF_OK)
        st = eff_int8_layer_begin(&layer);
    if (st == EFF_OK)
        st = emit_outputs(l, &layer, f);
    if (st == EFF_OK)
        st = eff_int8_layer_finish(&layer, cases, n_cases);
    if (st == EFF_OK)
        st = eff_plan_add_step(l->plan, &layer.step);
    eff_int8_layer_free(&layer);
    eff_free(cases);
    eff_quant_info_free(&pixels);
    eff_param_free(&conv.wgt);
    return st;
}

/* A depthwise step reads row quads; a value that could not be written so gets a step that lays them out. */
static EffStatus quads_of(EffLower *l, int *out, int value)
{
    const EffForms *forms = &l->forms[value];
    const EffPlanTensor *t = &l->plan->tensors[forms->u8];
    if (t->layout == EFF_LAYOUT_QUADS) {
        *out = forms->u8;
        return EFF_OK;
    }
    const EffShape s = l->g->values[value].shape;
    EffPlanStep step = eff_lower_step(t->name, EFF_STEP_QUADS, s.c, s.c);
    EffStatus st = eff_lower_add_tensor(l, out, "", EFF_TENSOR_U8, EFF_LAYOUT_QUADS, s, &forms->quant);
    step.in[0] = forms->u8;
    step.out[0] = *out;
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &step.data[EFF_DATA_ZERO], forms->quant.zero,
                               (size_t)s.c * sizeof *forms->quant.zero);
    return st == EFF_OK ? eff_plan_add_step(l->plan, &step) : st;
}

/*
 * A 16-bit input as its convolution sees it: high bytes around 128, the low ones a fraction of their step; or in
 * float, as it is.
 */
static EffStatus wide_input(EffLower *l, EffQuantInfo *q, int value, bool in_float)
{
    const EffForms *in = &l->forms[value];
    const int8_t *finer = l->forms[group_of(l, value)].finer;
    const int c = l->g->values[value].shape.c;
    const EffStatus st = eff_quant_info_alloc(q, c);
    for (int i = 0; i < c && st == EFF_OK; i++) {
        q->scale[i] = eff_pow2((in_float ? 0 : 8) - in->frac_bits - (finer != NULL ? finer[i] : 0));
        q->zero[i] = in_float ? 0 : 128;
    }
    return st;
}

static EffStatus lower_conv(EffLower *l, const EffNode *node)
{
    const Fused f = fuse(l, node);
    const EffConv *c = &node->conv;
    const bool depthwise = eff_conv_is_depthwise(c);
    if (f.last != node)
        l->done[eff_lower_node_index(l, f.last)] = true;
    if (node->in[0] == l->g->input)
        return lower_stem(l, &f);
    const EffForms *in = &l->forms[node->in[0]];
    if (!depthwise && !eff_conv_is_pointwise(c))
        return eff_lower_unsupported(node,
                                     "int8 convolutions are the first one, pointwise (1x1) ones, and depthwise ones");
    if (depthwise &&
        (c->kernel_h != c->kernel_w || (c->kernel_h != 3 && c->kernel_h != 5 && c->kernel_h != 7) || c->stride > 2))
        return eff_lower_unsupported(node, "depthwise windows are 3x3, 5x5 or 7x7 with stride 1 or 2");
    const EffNodeType type = type_of(l, node);
    const bool wide = type != EFF_NODE_INT8, in_float = type == EFF_NODE_F32;
    if ((wide ? in->s16 : in->u8) == EFF_PLAN_NONE)
        return eff_lower_unsupported(node, wide ? "its input has no 16-bit form" : "its input has no 8-bit form");
    static const EffStepOp ops[][2] = {[EFF_NODE_INT8] = {EFF_STEP_PW, EFF_STEP_DW},
                                       [EFF_NODE_INT16] = {EFF_STEP_PW16, EFF_STEP_DW16},
                                       [EFF_NODE_F32] = {EFF_STEP_PW_F32, EFF_STEP_DW_F32}};
    EffQuantInfo words = {0};
    EffInt8Layer layer = {
        .plan = l->plan, .conv = c, .in = wide ? &words : &in->quant, .wgt_max = 127, .in_float = in_float};
    use_tuning(l, &layer, node);
    layer.step = eff_lower_step(node->name, ops[type][depthwise], c->in_ch, c->out_ch);
    EffStatus st = wide ? wide_input(l, &words, node->in[0], in_float) : EFF_OK;
    if (depthwise) {
        layer.step.kernel = c->kernel_h;
        layer.step.stride = c->stride;
        layer.step.pad_top = c->pad_top;
        layer.step.pad_left = c->pad_left;
        if (wide)
            layer.step.in[0] = in->s16;
        else
            st = quads_of(l, &layer.step.in[0], node->in[0]);
    } else {
        layer.step.in[0] = wide ? in->s16 : in->u8;
        layer.step.in[1] = f.residual >= 0 ? l->forms[f.residual].s16 : EFF_PLAN_NONE;
    }
    if (st == EFF_OK)
        st = eff_int8_layer_begin(&layer);
    if (st == EFF_OK)
        st = emit_outputs(l, &layer, &f);
    if (st == EFF_OK)
        st = eff_int8_layer_finish(&layer, NULL, 0);
    if (st == EFF_OK)
        st = eff_plan_add_step(l->plan, &layer.step);
    eff_int8_layer_free(&layer);
    eff_quant_info_free(&words);
    return st;
}

static EffStatus lower_node(EffLower *l, const EffNode *node)
{
    switch (node->op) {
    case EFF_OP_CONV:
        if (!eff_is_vector(l->g->values[node->in[0]].shape) || l->forms[node->in[0]].vector == EFF_PLAN_NONE)
            return lower_conv(l, node);
        return node->out == l->g->output ? eff_lower_head(l, node) : eff_lower_fc(l, node);
    case EFF_OP_GLOBAL_AVGPOOL: return eff_lower_pool(l, node);
    case EFF_OP_MUL: return eff_lower_gate(l, node);
    case EFF_OP_ACT:
    case EFF_OP_ADD:
    case EFF_OP_PAD:
    case EFF_OP_ROUND:
    case EFF_OP_POOL:
    case EFF_OP_BATCHNORM: break;
    }
    return eff_lower_unsupported(node, "no int8 form of this operator here");
}

/* ---- Entry points ---- */

size_t eff_find_activations(EffActChoice *out, const EffGraph *g, const EffRanges *ranges)
{
    size_t n = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *act = &g->nodes[i];
        const int conv = g->values[act->in[0]].producer;
        if (act->op != EFF_OP_ACT || conv < 0 || g->nodes[conv].op != EFF_OP_CONV ||
            eff_is_vector(g->values[act->out].shape) ||
            (act->act != EFF_ACTIVATION_SILU && act->act != EFF_ACTIVATION_HSWISH))
            continue;
        bool per_channel = false;
        for (int k = 0; k < g->n_nodes; k++)
            per_channel |= g->nodes[k].op == EFF_OP_CONV && g->nodes[k].in[0] == act->out &&
                           eff_conv_is_depthwise(&g->nodes[k].conv);
        out[n++] = (EffActChoice){.conv = conv,
                                  .fn = act->act,
                                  .per_channel = per_channel,
                                  .in = &ranges->values[act->in[0]],
                                  .out = &ranges->values[act->out],
                                  .kind = EFF_ACT_INTERP};
    }
    return n;
}

EffStatus eff_lower_int8(EffPlan *plan, const EffGraph *g, const EffRanges *ranges, const EffActChoice *choices,
                         size_t n_choices, EffTuning *tuning)
{
    EffLower l = {.g = g, .ranges = ranges, .choices = choices, .n_choices = n_choices, .tuning = tuning, .plan = plan};
    l.forms = eff_calloc((size_t)g->n_values, sizeof *l.forms);
    l.reads = eff_calloc((size_t)g->n_values, sizeof *l.reads);
    l.consumer = eff_calloc((size_t)g->n_values, sizeof *l.consumer);
    l.done = eff_calloc((size_t)g->n_nodes, sizeof *l.done);
    EffStatus st = eff_lower_begin(plan, g);
    if (l.forms == NULL || l.reads == NULL || l.consumer == NULL || l.done == NULL)
        st = eff_fail_nomem((size_t)g->n_values * sizeof *l.forms, "the plan");
    plan->output = EFF_PLAN_NONE;
    if (st == EFF_OK)
        st = analyse(&l);
    for (int i = 0; i < g->n_nodes && st == EFF_OK; i++) {
        if (!l.done[i])
            st = lower_node(&l, &g->nodes[i]);
    }
    if (st == EFF_OK && plan->output == EFF_PLAN_NONE)
        st = eff_lower_unsupported(&g->nodes[g->n_nodes - 1], "the network must end in pooling and one classifier");
    if (st == EFF_OK)
        st = eff_plan_fuse(plan);
    if (st == EFF_OK)
        st = eff_plan_layout_arena(plan);
    for (int v = 0; l.forms != NULL && v < g->n_values; v++) {
        eff_quant_info_free(&l.forms[v].quant);
        eff_free(l.forms[v].finer);
    }
    eff_free(l.forms);
    eff_free(l.reads);
    eff_free(l.consumer);
    eff_free(l.done);
    if (st != EFF_OK)
        eff_plan_free(plan);
    return st;
}
