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
#include "compile/layer_int8.h"
#include "compile/lower.h"
#include "format/group.h"
#include "kernels/act_tables.h"
#include "kernels/stem.h"
#include "quant/requantize.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Who reads a value. */
enum { READ_DW = 1, READ_PW = 2, READ_ADD = 4, READ_POOL = 8, READ_GATED = 16, READ_OTHER = 32, READ_WIDE = 64 };

/* The integer forms of a value, as plan tensors; EFF_PLAN_NONE where there is none. */
typedef struct Forms {
    int u8, s16, vector;
    int frac_bits;      /* of s16 and vector; a sigmoid's vector has 15 */
    EffQuantInfo quant; /* of u8, or of a vector pooled from u8 (zero unused) */
    int group;          /* values that are added: index of their representative */
    int8_t *finer;      /* of a representative, [c]: more fraction bits of a channel; NULL: none. Owned */
} Forms;

typedef struct Lower {
    const EffGraph *g;
    const EffRanges *ranges;
    const EffActChoice *choices;
    size_t n_choices;
    EffTuning *tuning; /* NULL: none */
    EffPlan *plan;
    Forms *forms;    /* [n_values] */
    unsigned *reads; /* [n_values] */
    int *consumer;   /* [n_values] the first node that reads it; -1 */
    bool *done;      /* [n_nodes] absorbed in an earlier step */
} Lower;

/* ---- What the graph says ---- */

static bool is_vector(EffShape s)
{
    return s.h == 1 && s.w == 1;
}

bool eff_node_can_be_wide(const EffGraph *g, int node)
{
    const EffNode *n = &g->nodes[node];
    return n->op == EFF_OP_CONV && n->in[0] != g->input && !is_vector(g->values[n->in[0]].shape) &&
           (eff_conv_is_depthwise(&n->conv) || eff_conv_is_pointwise(&n->conv));
}

/* Whether a node multiplies 16-bit inputs. */
static bool is_wide(const Lower *l, const EffNode *node)
{
    const int i = (int)(node - l->g->nodes);
    return l->tuning != NULL && l->tuning->types[i] == EFF_NODE_INT16 && eff_node_can_be_wide(l->g, i);
}

static unsigned reader_kind(const Lower *l, const EffNode *node, int value)
{
    const EffGraph *g = l->g;
    if (is_wide(l, node))
        return READ_WIDE;
    switch (node->op) {
    case EFF_OP_CONV: return eff_conv_is_depthwise(&node->conv) ? READ_DW : READ_PW;
    case EFF_OP_ADD: return READ_ADD;
    case EFF_OP_GLOBAL_AVGPOOL: return READ_POOL;
    case EFF_OP_MUL: return node->in[0] == value && !is_vector(g->values[value].shape) ? READ_GATED : READ_OTHER;
    case EFF_OP_ACT:
    case EFF_OP_PAD:
    case EFF_OP_BATCHNORM: break;
    }
    return READ_OTHER;
}

static int group_of(Lower *l, int value)
{
    while (l->forms[value].group != value)
        value = l->forms[value].group;
    return value;
}

static EffStatus analyse(Lower *l)
{
    const EffGraph *g = l->g;
    for (int v = 0; v < g->n_values; v++) {
        l->forms[v] = (Forms){.u8 = EFF_PLAN_NONE, .s16 = EFF_PLAN_NONE, .vector = EFF_PLAN_NONE, .group = v};
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

/* The node that alone reads a value, if it has this operator; NULL otherwise. */
static const EffNode *only_reader(const Lower *l, int value, EffOp op)
{
    const int i = l->consumer[value];
    return l->g->values[value].n_consumers == 1 && i >= 0 && l->g->nodes[i].op == op ? &l->g->nodes[i] : NULL;
}

static int node_index(const Lower *l, const EffNode *node)
{
    return (int)(node - l->g->nodes);
}

static EffStatus unsupported(const EffNode *node, const char *why)
{
    return eff_fail(EFF_ERR_UNSUPPORTED, "%s: %s; compile the model in float instead (effnet compile --float)",
                    node->name, why);
}

/* ---- Tensors ---- */

static EffStatus add_tensor(Lower *l, int *out, const char *name, EffTensorType type, EffLayout layout, EffShape s,
                            const EffQuantInfo *quant)
{
    EffPlanTensor t = {.type = (int)type, .layout = (int)layout, .h = s.h, .w = s.w, .c = s.c};
    snprintf(t.name, sizeof t.name, "%s", name);
    if (quant != NULL) {
        const EffStatus st = eff_quant_info_describe(l->plan, &t, quant);
        if (st != EFF_OK)
            return st;
    }
    return eff_plan_add_tensor(l->plan, &t, out);
}

/* An s16 tensor whose channels have units of their own. */
static EffStatus add_fixed_point_tensor(Lower *l, int *out, const char *name, EffShape s, const EffFixedPoint *y)
{
    EffQuantInfo quant = {0};
    EffStatus st = eff_quant_info_alloc(&quant, s.c);
    for (int c = 0; c < s.c && st == EFF_OK; c++)
        quant.scale[c] = eff_pow2(-(y->frac_bits + (y->finer != NULL ? y->finer[c] : 0)));
    quant.per_channel = y->finer != NULL;
    if (st == EFF_OK)
        st = add_tensor(l, out, name, EFF_TENSOR_S16, EFF_LAYOUT_NHWC, s, &quant);
    eff_quant_info_free(&quant);
    return st;
}

/* An s16 tensor with units of 2^-frac_bits. */
static EffStatus add_s16_tensor(Lower *l, int *out, const char *name, EffLayout layout, EffShape s, int frac_bits)
{
    double scale = eff_pow2(-frac_bits);
    int16_t zero = 0;
    const EffQuantInfo quant = {.scale = &scale, .zero = &zero, .c = 1};
    return add_tensor(l, out, name, EFF_TENSOR_S16, layout, s, &quant);
}

static EffPlanStep new_step(const char *name, EffStepOp op, int in_ch, int out_ch)
{
    EffPlanStep step = {.op = (int)op,
                        .in = {EFF_PLAN_NONE, EFF_PLAN_NONE},
                        .out = {EFF_PLAN_NONE, EFF_PLAN_NONE},
                        .in_ch = in_ch,
                        .out_ch = out_ch,
                        .kernel = 1,
                        .stride = 1,
                        .groups = 1,
                        .wgt_bits = 8};
    snprintf(step.name, sizeof step.name, "%s", name);
    return step;
}

/* The tuner does not run this node yet: its weights may stay 0. */
static bool is_sketch(const Lower *l, const EffNode *node)
{
    return l->tuning != NULL && l->tuning->n_needed > 0 && node_index(l, node) >= l->tuning->n_needed;
}

static void use_tuning(const Lower *l, EffInt8Layer *layer, const EffNode *node)
{
    if (l->tuning == NULL)
        return;
    layer->tuning = &l->tuning->convs[node_index(l, node)];
    layer->sketch = is_sketch(l, node);
    layer->numbers = l->tuning->asked == node_index(l, node) ? &l->tuning->numbers : NULL;
}

/* ---- Convolutions on maps ---- */

/* A convolution with what follows it: an activation, or an addition. */
typedef struct Fused {
    const EffNode *conv, *act, *add;
    const EffNode *last; /* whose output it computes */
    int residual;        /* value that is added, or -1 */
} Fused;

static Fused fuse(const Lower *l, const EffNode *conv)
{
    Fused f = {.conv = conv, .last = conv, .residual = -1};
    if ((f.act = only_reader(l, conv->out, EFF_OP_ACT)) != NULL) {
        f.last = f.act;
    } else if ((f.add = only_reader(l, conv->out, EFF_OP_ADD)) != NULL) {
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
static bool is_linear_group(Lower *l, int group)
{
    for (int v = 0; v < l->g->n_values; v++) {
        const int producer = l->g->values[v].producer;
        if (group_of(l, v) != group)
            continue;
        const EffOp op = producer >= 0 ? l->g->nodes[producer].op : EFF_OP_ACT;
        const unsigned taken = READ_ADD | READ_PW | READ_DW | READ_WIDE;
        if ((op != EFF_OP_ADD && op != EFF_OP_CONV) || (l->reads[v] & ~taken) != 0 || is_vector(l->g->values[v].shape))
            return false;
    }
    return true;
}

/*
 * Units of the values of an addition group: of the tensor, so that the loudest channel fits, and finer ones for
 * channels that stay quieter in all of them.
 */
static EffStatus group_units(Lower *l, int value, EffFixedPoint *y)
{
    enum { MOST_FINER = 10 };
    const int group = group_of(l, value), n_ch = l->g->values[value].shape.c;
    Forms *forms = &l->forms[group];
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

static const EffActChoice *find_choice(const Lower *l, const EffNode *conv)
{
    for (size_t i = 0; i < l->n_choices; i++) {
        if (l->choices[i].conv == node_index(l, conv))
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
static EffStatus u8_range(Lower *l, int value, float **min, float **max)
{
    Forms *forms = &l->forms[value];
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
static EffStatus emit_outputs(Lower *l, EffInt8Layer *layer, const Fused *f)
{
    const int value = f->last->out;
    Forms *forms = &l->forms[value];
    const EffShape shape = l->g->values[value].shape;
    const EffRange *range = &l->ranges->values[value];
    const unsigned reads = l->reads[value];
    const EffActivation act = f->act != NULL ? f->act->act : EFF_ACTIVATION_NONE;
    const bool clamp = act == EFF_ACTIVATION_RELU || act == EFF_ACTIVATION_RELU6;
    const bool wants_s16 = (reads & (READ_ADD | READ_GATED | READ_WIDE)) || (!clamp && (reads & READ_POOL));
    const bool wants_u8 = (reads & (READ_DW | READ_PW)) || (clamp && !wants_s16 && (reads & READ_POOL));
    EffStatus st = EFF_OK;
    if ((reads & READ_OTHER) || (!wants_s16 && !wants_u8))
        return unsupported(f->last, "its output goes where no int8 step takes it");
    if (act == EFF_ACTIVATION_SIGMOID)
        return unsupported(f->act, "no int8 form of this activation here");

    if (wants_u8 && (st = eff_quant_info_alloc(&forms->quant, shape.c)) != EFF_OK)
        return st;
    forms->quant.per_channel = (reads & (READ_DW | READ_POOL)) != 0;
    const bool direct_quads =
        (reads & READ_DW) && !wants_s16 && layer->step.op != EFF_STEP_DW && !eff_step_is_wide(layer->step.op);
    const EffLayout u8_layout = direct_quads ? EFF_LAYOUT_QUADS : EFF_LAYOUT_NHWC;

    const bool own = forms->quant.per_channel;
    float *min = NULL, *max = NULL;
    if (wants_u8 && (st = u8_range(l, value, &min, &max)) != EFF_OK)
        return st;
    if (clamp && !wants_s16) {
        choose_clamped(&forms->quant, range, max, own);
        st = eff_int8_layer_to_u8(layer, &forms->quant, act == EFF_ACTIVATION_RELU6 ? 6.0 : HUGE_VAL);
    } else {
        const EffActChoice *choice = find_choice(l, f->conv);
        const bool relu6 = act == EFF_ACTIVATION_RELU6;
        const double range_before = (double)eff_range_before(&l->ranges->values[f->conv->out], act);
        const double before = relu6 ? fmin(range_before, 6) : range_before;
        /* A staircase was chosen beside the rounding to u8, which 16-bit inputs are spared. */
        const bool fine = choice != NULL && choice->kind == EFF_ACT_STAIR && (reads & READ_WIDE);
        const EffActKind kind = fine             ? EFF_ACT_INTERP
                                : choice != NULL ? choice->kind
                                : relu6          ? EFF_ACT_RELU6
                                : clamp          ? EFF_ACT_RELU
                                                 : EFF_ACT_NONE;
        EffFixedPoint y = {.frac_bits = eff_choose_frac_bits(before, relu6 ? EFF_RELU6_MAX_H : EFF_MAX_ACT_FRAC_BITS),
                           .range = before};
        if (f->act == NULL)
            st = group_units(l, value, &y);
        const int wanted = y.frac_bits;
        if (st == EFF_OK)
            st = eff_int8_layer_to_s16(layer, &y, kind, act);
        if (st == EFF_OK && relu6 && y.frac_bits < 0) {
            eff_free(min);
            return unsupported(f->conv, "its accumulator is too coarse for ReLU6");
        }
        if (st == EFF_OK && y.frac_bits != wanted && (reads & READ_ADD)) {
            eff_free(min);
            return unsupported(f->conv, "its accumulator is too coarse for the values it is added to");
        }
        if (f->act != NULL)
            y.range = (double)eff_range_abs(range);
        if (st == EFF_OK && wants_u8)
            st = eff_int8_layer_copy_u8(l->plan, &layer->step, &forms->quant, min, max, &y);
        if (st == EFF_OK && wants_s16)
            st = add_fixed_point_tensor(l, &forms->s16, f->last->name, shape, &y);
        forms->frac_bits = y.frac_bits;
    }
    eff_free(min);
    if (st == EFF_OK && wants_u8)
        st = add_tensor(l, &forms->u8, f->last->name, EFF_TENSOR_U8, u8_layout, shape, &forms->quant);
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

static EffStatus lower_stem(Lower *l, const Fused *f)
{
    const EffShape in = l->g->values[l->g->input].shape, shape = l->g->values[f->conv->out].shape;
    const EffConv *c = &f->conv->conv;
    if (c->kernel_h > EFF_STEM_MAX_KERNEL || c->groups != 1)
        return unsupported(f->conv, "no int8 form of this first convolution");
    EffConv conv;
    EffQuantInfo pixels = {0};
    float mean[3] = {0};
    EffBorderCase *cases = NULL;
    size_t n_cases = 0;
    EffInt8Layer layer = {.plan = l->plan, .conv = &conv, .in = &pixels, .stem_mean = mean, .wgt_max = 127};
    EffStatus st = stem_conv(&conv, &pixels, mean, l->g, c);
    layer.step = new_step(f->conv->name, EFF_STEP_STEM, 3, c->out_ch);
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
static EffStatus quads_of(Lower *l, int *out, int value)
{
    const Forms *forms = &l->forms[value];
    const EffPlanTensor *t = &l->plan->tensors[forms->u8];
    if (t->layout == EFF_LAYOUT_QUADS) {
        *out = forms->u8;
        return EFF_OK;
    }
    const EffShape s = l->g->values[value].shape;
    EffPlanStep step = new_step(t->name, EFF_STEP_QUADS, s.c, s.c);
    EffStatus st = add_tensor(l, out, "", EFF_TENSOR_U8, EFF_LAYOUT_QUADS, s, &forms->quant);
    step.in[0] = forms->u8;
    step.out[0] = *out;
    if (st == EFF_OK)
        st = eff_plan_add_data(l->plan, &step.data[EFF_DATA_ZERO], forms->quant.zero,
                               (size_t)s.c * sizeof *forms->quant.zero);
    return st == EFF_OK ? eff_plan_add_step(l->plan, &step) : st;
}

/* A 16-bit input as its convolution sees it: high bytes around 128, the low ones a fraction of their step. */
static EffStatus high_bytes(Lower *l, EffQuantInfo *q, int value)
{
    const Forms *in = &l->forms[value];
    const int8_t *finer = l->forms[group_of(l, value)].finer;
    const int c = l->g->values[value].shape.c;
    const EffStatus st = eff_quant_info_alloc(q, c);
    for (int i = 0; i < c && st == EFF_OK; i++) {
        q->scale[i] = eff_pow2(8 - in->frac_bits - (finer != NULL ? finer[i] : 0));
        q->zero[i] = 128;
    }
    return st;
}

static EffStatus lower_conv(Lower *l, const EffNode *node)
{
    const Fused f = fuse(l, node);
    const EffConv *c = &node->conv;
    const bool depthwise = eff_conv_is_depthwise(c);
    if (f.last != node)
        l->done[node_index(l, f.last)] = true;
    if (node->in[0] == l->g->input)
        return lower_stem(l, &f);
    const Forms *in = &l->forms[node->in[0]];
    if (!depthwise && !eff_conv_is_pointwise(c))
        return unsupported(node, "int8 convolutions are the first one, pointwise (1x1) ones, and depthwise ones");
    if (depthwise &&
        (c->kernel_h != c->kernel_w || (c->kernel_h != 3 && c->kernel_h != 5 && c->kernel_h != 7) || c->stride > 2))
        return unsupported(node, "depthwise windows are 3x3, 5x5 or 7x7 with stride 1 or 2");
    const bool wide = is_wide(l, node);
    if ((wide ? in->s16 : in->u8) == EFF_PLAN_NONE)
        return unsupported(node, wide ? "its input has no 16-bit form" : "its input has no 8-bit form");
    EffQuantInfo bytes = {0};
    EffInt8Layer layer = {.plan = l->plan, .conv = c, .in = wide ? &bytes : &in->quant, .wgt_max = 127};
    use_tuning(l, &layer, node);
    const EffStepOp narrow_op = depthwise ? EFF_STEP_DW : EFF_STEP_PW;
    const EffStepOp wide_op = depthwise ? EFF_STEP_DW16 : EFF_STEP_PW16;
    layer.step = new_step(node->name, wide ? wide_op : narrow_op, c->in_ch, c->out_ch);
    EffStatus st = wide ? high_bytes(l, &bytes, node->in[0]) : EFF_OK;
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
    eff_quant_info_free(&bytes);
    return st;
}

/* ---- Pooling, squeeze-excite, head ---- */

static EffStatus lower_pool(Lower *l, const EffNode *node)
{
    const Forms *in = &l->forms[node->in[0]];
    Forms *out = &l->forms[node->out];
    const EffRange *range = &l->ranges->values[node->out];
    const EffShape shape = l->g->values[node->out].shape;
    EffPlanStep step = new_step(node->name, EFF_STEP_POOL, shape.c, shape.c);
    step.in[0] = in->s16 != EFF_PLAN_NONE ? in->s16 : in->u8;
    if (step.in[0] == EFF_PLAN_NONE)
        return unsupported(node, "its input has no integer form");
    EffStatus st;
    if (in->s16 != EFF_PLAN_NONE) {
        while (step.frac_bits < 7 &&
               1.25 * (double)eff_range_abs(range) * eff_pow2(in->frac_bits + step.frac_bits + 1) <= 32767)
            step.frac_bits++;
        out->frac_bits = in->frac_bits + step.frac_bits;
        st = add_s16_tensor(l, &out->vector, node->name, EFF_LAYOUT_VECTOR, shape, out->frac_bits);
    } else {
        step.frac_bits = 7; /* 255 * 2^7 fits */
        st = eff_quant_info_alloc(&out->quant, shape.c);
        for (int c = 0; c < shape.c && st == EFF_OK; c++)
            out->quant.scale[c] = in->quant.scale[c] / 128;
        out->quant.per_channel = true;
        if (st == EFF_OK)
            st = add_tensor(l, &out->vector, node->name, EFF_TENSOR_S16, EFF_LAYOUT_VECTOR, shape, &out->quant);
    }
    step.out[1] = out->vector;
    return st == EFF_OK ? eff_plan_add_step(l->plan, &step) : st;
}

/* Scales of a pooled or fully connected vector, a channel each. */
static EffStatus vector_quant(EffQuantInfo *q, const Forms *in, int c)
{
    const EffStatus st = eff_quant_info_alloc(q, c);
    for (int i = 0; i < c && st == EFF_OK; i++)
        q->scale[i] = in->quant.scale != NULL ? in->quant.scale[i] : eff_pow2(-in->frac_bits);
    return st;
}

static EffStatus add_sigmoid(Lower *l, EffPlanStep *step, int frac_bits, double range)
{
    int16_t table[2][EFF_KNOTS];
    EffAct act = {0};
    const int y_max = (int)eff_round_clamp(1.25 * range * eff_pow2(frac_bits), 1, 32767);
    eff_act_build_interp(&act, table[0], table[1], EFF_FN_SIGMOID, frac_bits, y_max);
    step->sigmoid_h = act.h;
    return eff_plan_add_data(l->plan, &step->data[EFF_DATA_SIGMOID], table, sizeof table);
}

/* A layer of squeeze-excite: 16-bit weights, then ReLU, SiLU or hard-swish, or the sigmoid that makes the gate. */
static EffStatus lower_fc(Lower *l, const EffNode *node)
{
    const EffNode *act = only_reader(l, node->out, EFF_OP_ACT);
    const EffNode *last = act != NULL ? act : node;
    const Forms *in = &l->forms[node->in[0]];
    Forms *out = &l->forms[last->out];
    const EffActivation fn = act != NULL ? act->act : EFF_ACTIVATION_NONE;
    const double before = (double)eff_range_before(&l->ranges->values[node->out], fn);
    const bool sigmoid = act != NULL && act->act == EFF_ACTIVATION_SIGMOID;
    EffActKind kind = EFF_ACT_NONE;
    if (act != NULL && !sigmoid)
        kind = act->act == EFF_ACTIVATION_RELU ? EFF_ACT_RELU : EFF_ACT_INTERP;
    if (act != NULL && act->act == EFF_ACTIVATION_RELU6)
        return unsupported(act, "no int8 form of this activation here");
    if (act != NULL)
        l->done[node_index(l, act)] = true;
    EffQuantInfo quant = {0};
    EffInt8Layer layer = {.plan = l->plan, .conv = &node->conv, .in = &quant, .wgt_max = 32767};
    layer.step = new_step(node->name, EFF_STEP_FC, node->conv.in_ch, node->conv.out_ch);
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
        st = add_s16_tensor(l, &out->vector, last->name, EFF_LAYOUT_VECTOR, l->g->values[last->out].shape,
                            out->frac_bits);
    layer.step.out[1] = out->vector;
    if (st == EFF_OK)
        st = eff_plan_add_step(l->plan, &layer.step);
    eff_int8_layer_free(&layer);
    eff_quant_info_free(&quant);
    return st;
}

/* The classifier: logits in float, one multiply and one add after the integer sum. */
static EffStatus lower_head(Lower *l, const EffNode *node)
{
    const EffConv *c = &node->conv;
    const size_t n_in = (size_t)c->in_ch, n_out = (size_t)c->out_ch;
    EffQuantInfo quant = {0};
    EffPlanStep step = new_step(node->name, EFF_STEP_HEAD, c->in_ch, c->out_ch);
    int16_t *wgt = eff_calloc(n_in * n_out, sizeof *wgt);
    float *scale = eff_calloc(2 * n_out, sizeof *scale), *bias = scale + n_out;
    EffStatus st = vector_quant(&quant, &l->forms[node->in[0]], c->in_ch);
    if (wgt == NULL || scale == NULL)
        st = eff_fail_nomem(n_in * n_out * sizeof *wgt, "the classifier");
    for (size_t o = 0; o < n_out && st == EFF_OK && !is_sketch(l, node); o++) {
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
        st = add_tensor(l, &step.out[0], node->name, EFF_TENSOR_F32, EFF_LAYOUT_IMAGE, shape, NULL);
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
static EffStatus lower_wide_gate(Lower *l, const EffNode *node)
{
    const Forms *x = &l->forms[node->in[0]];
    Forms *out = &l->forms[node->out];
    const EffShape shape = l->g->values[node->out].shape;
    EffPlanStep step = new_step(node->name, EFF_STEP_GATE, shape.c, shape.c);
    step.in[0] = x->s16;
    step.in[1] = l->forms[node->in[1]].vector;
    step.post_shift = eff_choose_post_shift((double)eff_range_abs(&l->ranges->values[node->in[0]]), x->frac_bits);
    out->frac_bits = x->frac_bits + step.post_shift;
    const EffStatus st = add_s16_tensor(l, &out->s16, node->name, EFF_LAYOUT_NHWC, shape, out->frac_bits);
    step.out[1] = out->s16;
    return st == EFF_OK ? eff_plan_add_step(l->plan, &step) : st;
}

/* x * gate, straight to the u8 input of the projection. */
static EffStatus lower_gate(Lower *l, const EffNode *node)
{
    const Forms *x = &l->forms[node->in[0]], *gate = &l->forms[node->in[1]];
    Forms *out = &l->forms[node->out];
    const EffShape shape = l->g->values[node->out].shape;
    if (x->s16 == EFF_PLAN_NONE || gate->vector == EFF_PLAN_NONE || gate->frac_bits != 15 ||
        (l->reads[node->out] != READ_PW && l->reads[node->out] != READ_WIDE))
        return unsupported(node, "a product is the gate of squeeze-excite, before a pointwise convolution");
    if (l->reads[node->out] == READ_WIDE)
        return lower_wide_gate(l, node);
    EffPlanStep step = new_step(node->name, EFF_STEP_QUANT, shape.c, shape.c);
    step.in[0] = x->s16;
    step.in[1] = gate->vector;
    EffStatus st = eff_quant_info_alloc(&out->quant, shape.c);
    float *min = NULL, *max = NULL;
    const EffFixedPoint y = {.frac_bits = x->frac_bits,
                             .range = (double)eff_range_abs(&l->ranges->values[node->in[0]])};
    if (st == EFF_OK)
        st = u8_range(l, node->out, &min, &max);
    if (st == EFF_OK)
        st = eff_int8_layer_copy_u8(l->plan, &step, &out->quant, min, max, &y);
    eff_free(min);
    if (st == EFF_OK)
        st = add_tensor(l, &out->u8, node->name, EFF_TENSOR_U8, EFF_LAYOUT_NHWC, shape, &out->quant);
    step.out[0] = out->u8;
    return st == EFF_OK ? eff_plan_add_step(l->plan, &step) : st;
}

static EffStatus lower_node(Lower *l, const EffNode *node)
{
    switch (node->op) {
    case EFF_OP_CONV:
        if (!is_vector(l->g->values[node->in[0]].shape) || l->forms[node->in[0]].vector == EFF_PLAN_NONE)
            return lower_conv(l, node);
        return node->out == l->g->output ? lower_head(l, node) : lower_fc(l, node);
    case EFF_OP_GLOBAL_AVGPOOL: return lower_pool(l, node);
    case EFF_OP_MUL: return lower_gate(l, node);
    case EFF_OP_ACT:
    case EFF_OP_ADD:
    case EFF_OP_PAD:
    case EFF_OP_BATCHNORM: break;
    }
    return unsupported(node, "no int8 form of this operator here");
}

/* ---- Entry points ---- */

size_t eff_find_activations(EffActChoice *out, const EffGraph *g, const EffRanges *ranges)
{
    size_t n = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *act = &g->nodes[i];
        const int conv = g->values[act->in[0]].producer;
        if (act->op != EFF_OP_ACT || conv < 0 || g->nodes[conv].op != EFF_OP_CONV ||
            is_vector(g->values[act->out].shape) ||
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
    Lower l = {.g = g, .ranges = ranges, .choices = choices, .n_choices = n_choices, .tuning = tuning, .plan = plan};
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
        st = unsupported(&g->nodes[g->n_nodes - 1], "the network must end in pooling and one classifier");
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
