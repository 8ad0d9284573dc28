/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the work; the mathematics is in src/quant. */
#include "compile/tune.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"
#include "compile/prefix.h"
#include "quant/gram.h"
#include "quant/requantize.h"
#include "quant/round_dw.h"
#include "quant/round_gptq.h"

#include <math.h>
#include <string.h>

enum {
    SAMPLES_A_WEIGHT = 16, /* of a pointwise layer, an input */
    LEAST_SAMPLES = 8192,
    DW_SAMPLES = 8192,
    MOST_INPUTS = 4224 /* beyond, second moments would take 280 MB and minutes */
};

/* For the pictures' states. */
#define MOST_BYTES ((size_t)640 << 20)

/*
 * Damping, as a share of the mean of the moments' diagonal. Few samples for many inputs say little about directions in
 * which the inputs hardly move: more damping there.
 */
static double damping(size_t n_inputs, size_t n_samples)
{
    return 0.01 + 0.05 * (double)n_inputs / (double)n_samples;
}

EffStatus eff_tuning_create(EffTuning *out, const EffGraph *g)
{
    *out = (EffTuning){.asked = -1};
    out->convs = eff_calloc((size_t)g->n_nodes, sizeof *out->convs);
    out->factors = eff_calloc((size_t)g->n_values, sizeof *out->factors);
    out->types = eff_calloc((size_t)g->n_nodes, sizeof *out->types);
    return out->convs != NULL && out->types != NULL && out->factors != NULL
               ? EFF_OK
               : eff_fail_nomem((size_t)g->n_nodes * sizeof *out->convs, "weights");
}

void eff_tuning_free(EffTuning *t, const EffGraph *g)
{
    for (int i = 0; t->convs != NULL && i < g->n_nodes; i++)
        eff_conv_tuning_free(&t->convs[i]);
    eff_free(t->convs);
    for (int v = 0; t->factors != NULL && v < g->n_values; v++)
        eff_free(t->factors[v]);
    eff_free(t->factors);
    eff_free(t->types);
    eff_layer_numbers_free(&t->numbers);
    *t = (EffTuning){0};
}

/* A layer at work. */
typedef struct Layer {
    const EffGraph *g;
    const EffPlan *plan;
    const EffPlanStep *step;
    int index;                      /* of the step */
    int conv, last;                 /* nodes: the convolution, and the addition that is part of the step, or the same */
    EffQuads quads;                 /* DW */
    size_t n_pictures, n_positions; /* of the output, and how many of them a picture gives */
    bool from_inputs;               /* pointwise: samples hold the float input, not the output */
    EffSamples samples;
    EffDwMoments *dw; /* [workers] */
    double *f_unit;   /* DW */
    float low, high;  /* DW: where the activation lets changes through */
    EffActivation act;
    int16_t *scratch; /* DW: [workers][taps + 2][channels] */
    double *low16,
        *pace; /* 16-bit inputs: [in_ch] where a channel's bytes start, and their step, in steps of the input */
} Layer;

static EffShape shape_of(const EffGraph *g, int node)
{
    return g->values[g->nodes[node].out].shape;
}

/* The i-th of n positions of a picture: one a stretch, anywhere in it. */
static size_t position(const Layer *l, size_t picture, size_t i, size_t n_all)
{
    EffRng rng;
    eff_rng_init(&rng, (uint64_t)picture * 1000003u + (uint64_t)l->index * 7919u + i);
    const size_t begin = i * n_all / l->n_positions, end = (i + 1) * n_all / l->n_positions;
    return begin + (size_t)eff_rng_below(&rng, end - begin);
}

/* Float output of the layer, less what the int8 network adds to it: what the layer should put out. */
static void target(const Layer *l, float *to, size_t at, EffSession *s, EffReferenceSession *r)
{
    const size_t n = (size_t)l->step->out_ch;
    memcpy(to, eff_reference_value(r, l->last) + at * n, n * sizeof *to);
    if (l->step->in[1] == EFF_PLAN_NONE)
        return;
    const EffPlanTensor *t = &l->plan->tensors[l->step->in[1]];
    const float *unit = (const float *)(const void *)(l->plan->data + t->scale);
    const size_t a_channel = t->n_scales > 1;
    const int16_t *residual = (const int16_t *)eff_session_tensor(s, l->step->in[1]) + at * (size_t)eff_ch_pad(t->c);
    for (size_t c = 0; c < n; c++)
        to[c] -= unit[c * a_channel] * (float)residual[c];
}

/*
 * Moments want bytes. A channel of 16-bit inputs is written in bytes over its own range: each has 255 steps of its own,
 * however quiet it is beside the others.
 */
static uint8_t to_byte(const Layer *l, size_t c, int16_t x)
{
    return (uint8_t)eff_round_clamp(((double)x - l->low16[c]) / l->pace[c], 0, 255);
}

static void visit_pw(void *ctx, size_t picture, int worker, EffSession *s, EffReferenceSession *r)
{
    const Layer *l = ctx;
    const EffShape out = shape_of(l->g, l->conv);
    const size_t n_all = (size_t)out.h * (size_t)out.w, n_x = (size_t)l->samples.n_x, n_f = (size_t)l->samples.n_f;
    const uint8_t *x = eff_session_tensor(s, l->step->in[0]);
    (void)worker;
    for (size_t i = 0; i < l->n_positions; i++) {
        const size_t at = position(l, picture, i, n_all), row = picture * l->n_positions + i;
        const size_t from = at * (size_t)eff_ch_pad(l->step->in_ch);
        if (l->low16 == NULL)
            memcpy(l->samples.x + row * n_x, x + from, n_x);
        for (size_t c = 0; l->low16 != NULL && c < n_x; c++)
            l->samples.x[row * n_x + c] = to_byte(l, c, ((const int16_t *)(const void *)x)[from + c]);
        if (l->from_inputs)
            memcpy(l->samples.f + row * n_f,
                   eff_reference_value(r, l->g->values[l->g->nodes[l->conv].in[0]].producer) + at * n_f,
                   n_f * sizeof *l->samples.f);
        else
            target(l, l->samples.f + row * n_f, at, s, r);
    }
}

/* Only windows that lie inside the picture: the others see the mean, which is no byte. */
static void visit_stem(void *ctx, size_t picture, int worker, EffSession *s, EffReferenceSession *r)
{
    const Layer *l = ctx;
    const EffShape out = shape_of(l->g, l->conv);
    const int size = l->plan->pre.size, k = l->step->kernel, stride = l->step->stride;
    const int first_y = (l->step->pad_top + stride - 1) / stride, first_x = (l->step->pad_left + stride - 1) / stride;
    const int end_y = (size - k + l->step->pad_top) / stride + 1, end_x = (size - k + l->step->pad_left) / stride + 1;
    const int rows = (end_y < out.h ? end_y : out.h) - first_y, cols = (end_x < out.w ? end_x : out.w) - first_x;
    const uint8_t *pixels = eff_session_tensor(s, 0);
    (void)worker;
    for (size_t i = 0; i < l->n_positions; i++) {
        const size_t at = position(l, picture, i, (size_t)rows * (size_t)cols), row = picture * l->n_positions + i;
        const int y = first_y + (int)at / cols, x = first_x + (int)at % cols;
        for (int ky = 0; ky < k; ky++) {
            const size_t from = ((size_t)(y * stride - l->step->pad_top + ky) * (size_t)size +
                                 (size_t)(x * stride - l->step->pad_left)) *
                                3;
            memcpy(l->samples.x + row * (size_t)l->samples.n_x + (size_t)(ky * k) * 3, pixels + from, (size_t)k * 3);
        }
        target(l, l->samples.f + row * (size_t)l->samples.n_f, (size_t)(y * out.w + x), s, r);
    }
}

/* The pixel of 16-bit inputs at (y, x) of the padded picture, in bytes. */
static void wide_window(const Layer *l, int16_t *to, const void *src, ptrdiff_t y, ptrdiff_t x)
{
    const EffPlanTensor *in = &l->plan->tensors[l->step->in[0]];
    y -= l->step->pad_top;
    x -= l->step->pad_left;
    const bool inside = y >= 0 && x >= 0 && y < in->h && x < in->w;
    const int16_t *from = (const int16_t *)src + (inside ? (size_t)(y * in->w + x) * (size_t)eff_ch_pad(in->c) : 0);
    for (size_t c = 0; c < (size_t)in->c; c++)
        to[c] = to_byte(l, c, inside ? from[c] : 0);
}

static void visit_dw(void *ctx, size_t picture, int worker, EffSession *s, EffReferenceSession *r)
{
    const Layer *l = ctx;
    const EffShape out = shape_of(l->g, l->conv);
    const size_t n_ch = (size_t)l->step->in_ch, k = (size_t)l->step->kernel, taps = k * k;
    const size_t column = (size_t)l->quads.ch_stride * 4, stride = eff_quads_stride(&l->quads);
    const uint8_t *src = eff_session_tensor(s, l->step->in[0]);
    const float *y = eff_reference_value(r, l->conv);
    int16_t *x = l->scratch + (size_t)worker * (taps + 2) * n_ch, *f = x + taps * n_ch, *weight = f + n_ch;
    for (size_t i = 0; i < l->n_positions; i++) {
        const size_t at = position(l, picture, i, (size_t)out.h * (size_t)out.w);
        const size_t top = at / (size_t)out.w * (size_t)l->step->stride,
                     left = at % (size_t)out.w * (size_t)l->step->stride;
        for (size_t t = 0; t < taps && l->low16 != NULL; t++)
            wide_window(l, x + t * n_ch, src, (ptrdiff_t)(top + t / k), (ptrdiff_t)(left + t % k));
        for (size_t t = 0; t < taps && l->low16 == NULL; t++) {
            const uint8_t *from = src + (top + t / k) / 4 * stride + (left + t % k) * column + (top + t / k) % 4;
            for (size_t c = 0; c < n_ch; c++)
                x[t * n_ch + c] = from[c * 4];
        }
        for (size_t c = 0; c < n_ch; c++) {
            const float v = y[at * n_ch + c];
            f[c] = (int16_t)eff_round_clamp((double)v / l->f_unit[c], -32767, 32767);
            weight[c] = v > l->low && v < l->high;
        }
        eff_dw_moments_add(&l->dw[worker], x, f, weight);
    }
}

/* ---- Nodes and steps ---- */

static int find_node(const EffGraph *g, const char *name)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (strcmp(g->nodes[i].name, name) == 0)
            return i;
    }
    return g->n_nodes;
}

/* The first node that a step and those after it compute. */
static int node_of_step(const EffGraph *g, const EffPlan *plan, int step)
{
    while (step < plan->n_steps && plan->steps[step].op == EFF_STEP_QUADS)
        step++;
    return step < plan->n_steps ? find_node(g, plan->steps[step].name) : g->n_nodes;
}

static bool is_tunable(const EffPlanStep *s)
{
    if (eff_step_is_float_node(s->op))
        return false; /* nothing is rounded there */
    return s->op == EFF_STEP_STEM || eff_step_is_dw(s->op) ||
           ((s->op == EFF_STEP_PW || s->op == EFF_STEP_PW16) && s->in_ch <= MOST_INPUTS);
}

static int reader_of(const EffGraph *g, int node, EffOp op)
{
    for (int i = node + 1; i < g->n_nodes; i++) {
        for (int k = 0; k < g->nodes[i].n_inputs; k++) {
            if (g->nodes[i].in[k] == g->nodes[node].out)
                return g->nodes[i].op == op ? i : node;
        }
    }
    return node;
}

/* ---- One layer ---- */

typedef struct Tuner {
    EffTuning *tuning;
    const EffGraph *g;
    const EffRanges *ranges;
    const EffActChoice *choices;
    size_t n_choices;
    const EffQuantizeOptions *options;
    EffPrefix *prefix;
} Tuner;

static EffStatus lower(const Tuner *t, EffPlan *plan, int asked, int n_needed)
{
    t->tuning->asked = asked;
    t->tuning->n_needed = n_needed;
    *plan = (EffPlan){0};
    return eff_lower_int8(plan, t->g, t->ranges, t->choices, t->n_choices, t->tuning);
}

/* The layer's numbers with what has been decided so far. */
static EffStatus ask(const Tuner *t, int node)
{
    EffPlan plan;
    const EffStatus st = lower(t, &plan, node, 1);
    if (st == EFF_OK)
        eff_plan_free(&plan);
    return st;
}

static size_t positions_of(const Layer *l, size_t wanted)
{
    const EffShape out = shape_of(l->g, l->conv);
    size_t n_all = (size_t)out.h * (size_t)out.w;
    if (l->step->op == EFF_STEP_STEM) /* without the border */
        n_all = out.h > 4 && out.w > 4 ? (size_t)(out.h - 4) * (size_t)(out.w - 4) : 1;
    const size_t n = (wanted + l->n_pictures - 1) / l->n_pictures;
    return n < n_all ? n : n_all;
}

/* Take copies of the layer's weights, so that they may be moved. */
static EffStatus own(EffConvTuning *c, const EffLayerNumbers *n)
{
    const size_t n_wgt = n->n_out * n->fan_in;
    c->scaled = eff_calloc(n_wgt, sizeof *c->scaled);
    c->bias = eff_calloc(n->n_out, sizeof *c->bias);
    if (c->scaled == NULL || c->bias == NULL)
        return eff_fail_nomem(n_wgt * sizeof *c->scaled, "weights");
    memcpy(c->scaled, n->scaled, n_wgt * sizeof *c->scaled);
    return EFF_OK;
}

/* The weights are final: settle the units, and make room for the integers. */
static EffStatus settle(const Tuner *t, int node, size_t n_out, size_t fan_in)
{
    EffConvTuning *c = &t->tuning->convs[node];
    EffStatus st = ask(t, node);
    if (st != EFF_OK)
        return st;
    c->acc_min = eff_calloc(n_out, sizeof *c->acc_min);
    c->q = eff_calloc(n_out * fan_in, sizeof *c->q);
    if (c->acc_min == NULL || c->q == NULL)
        return eff_fail_nomem(n_out * fan_in * sizeof *c->q, "weights");
    memcpy(c->acc_min, t->tuning->numbers.acc_min, n_out * sizeof *c->acc_min);
    return EFF_OK;
}

/* Means of the target, from those of the float inputs: it is their weighted sum. */
static void combine(double *mean, const EffConv *c, const double *mean_x)
{
    const size_t n_in = (size_t)c->in_ch;
    for (size_t o = 0; o < (size_t)c->out_ch; o++) {
        mean[o] = c->has_bias ? (double)c->bias.data[o] : 0;
        for (size_t k = 0; k < n_in; k++)
            mean[o] += (double)c->wgt.data[o * n_in + k] * mean_x[k];
    }
}

/* What a mean of samples means to the convolution. */
static double real_mean(const Layer *l, size_t c, double mean)
{
    return l->low16 == NULL ? mean : 128 + (l->low16[c] + l->pace[c] * mean) / 256;
}

/* Moments of the bytes of 16-bit inputs to those of the inputs. */
static void rescale(const Layer *l, double *cov, double *mean)
{
    const size_t n = (size_t)l->samples.n_x;
    for (size_t i = 0; i < n && l->low16 != NULL; i++) {
        mean[i] = real_mean(l, i, mean[i]);
        for (size_t k = 0; k < n; k++)
            cov[i * n + k] *= l->pace[i] * l->pace[k] / 65536;
    }
}

static EffStatus prepare_wide(Layer *l, const EffRanges *ranges)
{
    const EffPlanTensor *in = &l->plan->tensors[l->step->in[0]];
    const EffRange *range = &ranges->values[l->g->nodes[l->conv].in[0]];
    const size_t n = (size_t)in->c;
    const float *units = (const float *)(const void *)(l->plan->data + in->scale);
    l->low16 = eff_calloc(2 * n, sizeof *l->low16);
    if (l->low16 == NULL)
        return eff_fail_nomem(2 * n * sizeof *l->low16, "second moments");
    l->pace = l->low16 + n;
    for (size_t c = 0; c < n; c++) {
        const double unit = (double)units[in->n_scales > 1 ? c : 0];
        l->low16[c] = (double)eff_round_clamp((double)range->min[c] / unit, -32768, 32767);
        l->pace[c] = fmax(1, ((double)range->max[c] / unit - l->low16[c]) / 255);
    }
    return EFF_OK;
}

static EffStatus tune_pw(const Tuner *t, const Layer *l)
{
    const size_t n_in = (size_t)l->samples.n_x, n_out = (size_t)l->step->out_ch, n_f = (size_t)l->samples.n_f;
    EffPool *pool = eff_prefix_pool(t->prefix);
    EffConvTuning *conv = &t->tuning->convs[l->conv];
    EffLayerNumbers *numbers = &t->tuning->numbers;
    EffMoments m = {0};
    double *cov = eff_calloc(n_in * n_in, sizeof *cov), *mean = eff_calloc(n_in, sizeof *mean);
    double *mean_f = eff_calloc(n_f, sizeof *mean_f), *mean_y = eff_calloc(n_out, sizeof *mean_y);
    EffStatus st = EFF_OK;
    if (cov == NULL || mean == NULL || mean_f == NULL || mean_y == NULL)
        st = eff_fail_nomem(n_in * n_in * sizeof *cov, "second moments");
    if (st == EFF_OK)
        st = eff_gram(cov, mean, &l->samples, pool);
    if (st == EFF_OK) {
        rescale(l, cov, mean);
        eff_column_means(mean_f, &l->samples);
        if (l->from_inputs)
            combine(mean_y, &l->g->nodes[l->conv].conv, mean_f);
        else
            memcpy(mean_y, mean_f, n_out * sizeof *mean_y);
        st = own(conv, numbers);
    }
    if (st == EFF_OK)
        st = eff_moments_create(&m, cov, n_in, damping(n_in, l->samples.n), pool);
    if (st == EFF_OK)
        st = settle(t, l->conv, n_out, n_in);
    if (st == EFF_OK)
        st = eff_moments_round(&m, conv->q, conv->scaled, numbers->acc_unit, 127, n_out, NULL, NULL, pool);
    for (size_t o = 0; o < n_out && st == EFF_OK; o++) {
        double sum = mean_y[o];
        for (size_t i = 0; i < n_in; i++)
            sum -= numbers->acc_unit[o] * conv->q[o * n_in + i] * (mean[i] - numbers->zero[i]);
        conv->bias[o] = sum;
    }
    eff_moments_free(&m);
    eff_free(cov);
    eff_free(mean);
    eff_free(mean_f);
    eff_free(mean_y);
    return st;
}

static EffStatus tune_dw(const Tuner *t, Layer *l)
{
    const size_t n_ch = (size_t)l->step->out_ch, taps = (size_t)(l->step->kernel * l->step->kernel);
    EffPool *pool = eff_prefix_pool(t->prefix);
    EffConvTuning *conv = &t->tuning->convs[l->conv];
    EffLayerNumbers *numbers = &t->tuning->numbers;
    for (int i = 1; i < eff_pool_size(pool); i++)
        eff_dw_moments_merge(&l->dw[0], &l->dw[i]);
    const EffDwMoments *m = &l->dw[0];
    const size_t n_samples = l->n_positions * l->n_pictures;
    const EffDwRounding r = {.m = m, .damping = damping(taps, n_samples), .q_max = 127};
    EffStatus st = own(conv, numbers);
    if (st == EFF_OK)
        st = settle(t, l->conv, n_ch, taps);
    if (st == EFF_OK)
        eff_dw_round(&r, conv->q, conv->scaled, numbers->acc_unit, NULL, NULL, pool);
    for (size_t c = 0; c < n_ch && st == EFF_OK; c++) {
        const EffConv *node = &l->g->nodes[l->conv].conv;
        if (m->n[c] == 0) {
            conv->bias[c] = node->has_bias ? (double)node->bias.data[c] : 0;
            continue;
        }
        double sum = (double)m->f[c] / (double)m->n[c] * l->f_unit[c];
        for (size_t i = 0; i < taps; i++)
            sum -= numbers->acc_unit[c] * conv->q[c * taps + i] *
                   (real_mean(l, c, (double)m->x[i * n_ch + c] / (double)m->n[c]) - numbers->zero[c]);
        conv->bias[c] = sum;
    }
    return st;
}

static EffStatus prepare_dw(Layer *l, const EffRanges *ranges, size_t n_workers)
{
    const size_t n_ch = (size_t)l->step->in_ch, taps = (size_t)(l->step->kernel * l->step->kernel);
    const EffRange *range = &ranges->values[l->g->nodes[l->conv].out];
    eff_plan_quads(&l->quads, l->plan, l->step);
    l->dw = eff_calloc(n_workers, sizeof *l->dw);
    l->f_unit = eff_calloc(n_ch, sizeof *l->f_unit);
    l->scratch = eff_calloc(n_workers * (taps + 2) * n_ch, sizeof *l->scratch);
    if (l->dw == NULL || l->f_unit == NULL || l->scratch == NULL)
        return eff_fail_nomem(n_workers * taps * n_ch, "second moments");
    for (size_t c = 0; c < n_ch; c++) {
        const double most = fmax(-(double)range->min[c], (double)range->max[c]);
        l->f_unit[c] = most > 0 ? most / 32767 : 1;
    }
    EffStatus st = EFF_OK;
    for (size_t i = 0; i < n_workers && st == EFF_OK; i++)
        st = eff_dw_moments_create(&l->dw[i], (int)n_ch, (int)taps);
    return st;
}

static EffStatus tune_step(const Tuner *t, int step, int conv)
{
    EffPlan plan = {0};
    EffModel *model = NULL;
    const EffShape out = shape_of(t->g, conv);
    if (t->g->nodes[conv].in[0] == t->g->input && (out.h <= 4 || out.w <= 4))
        return EFF_OK; /* a first layer that is all border: rounded plainly */
    Layer l = {.g = t->g, .index = step, .n_pictures = eff_prefix_n_pictures(t->prefix)};
    EffStatus st = lower(t, &plan, conv, conv);
    if (st != EFF_OK)
        return st;
    l.conv = conv;
    if ((st = eff_model_from_plan(&model, &plan, NULL)) != EFF_OK) {
        eff_plan_free(&plan);
        return st;
    }
    l.plan = eff_model_plan(model);
    l.step = &l.plan->steps[step];
    l.last = l.step->in[1] != EFF_PLAN_NONE ? reader_of(t->g, l.conv, EFF_OP_ADD) : l.conv;
    const int act = reader_of(t->g, l.conv, EFF_OP_ACT);
    l.act = act != l.conv ? t->g->nodes[act].act : EFF_ACTIVATION_NONE;
    l.low = l.act == EFF_ACTIVATION_RELU || l.act == EFF_ACTIVATION_RELU6 ? -0.25f : -HUGE_VALF;
    l.high = l.act == EFF_ACTIVATION_RELU6 ? 6.25f : HUGE_VALF;
    if (eff_step_is_wide(l.step->op))
        st = prepare_wide(&l, t->ranges);
    eff_prefix_visit_fn *visit = visit_pw;
    const size_t n_workers = (size_t)eff_pool_size(eff_prefix_pool(t->prefix));
    if (st == EFF_OK && eff_step_is_dw(l.step->op)) {
        visit = visit_dw;
        l.n_positions = positions_of(&l, DW_SAMPLES);
        st = prepare_dw(&l, t->ranges, n_workers);
    } else if (st == EFF_OK) {
        const size_t wanted = SAMPLES_A_WEIGHT * (size_t)l.step->in_ch;
        l.n_positions = positions_of(&l, wanted > LEAST_SAMPLES ? wanted : LEAST_SAMPLES);
        int n_x = l.step->in_ch;
        if (l.step->op == EFF_STEP_STEM) {
            visit = visit_stem;
            n_x = 3 * l.step->kernel * l.step->kernel;
        }
        l.from_inputs = l.step->op != EFF_STEP_STEM && l.last == l.conv && l.step->in_ch < l.step->out_ch;
        st = eff_samples_create(&l.samples, l.n_positions * l.n_pictures, n_x,
                                l.from_inputs ? l.step->in_ch : l.step->out_ch);
    }
    if (st == EFF_OK)
        st = eff_prefix_run(t->prefix, model, step, l.last, node_of_step(t->g, l.plan, step + 1), visit, &l);
    if (st == EFF_OK)
        st = eff_step_is_dw(l.step->op) ? tune_dw(t, &l) : tune_pw(t, &l);
    eff_samples_free(&l.samples);
    for (size_t i = 0; l.dw != NULL && i < n_workers; i++)
        eff_dw_moments_free(&l.dw[i]);
    eff_free(l.dw);
    eff_free(l.f_unit);
    eff_free(l.low16);
    eff_free(l.scratch);
    eff_model_close(model);
    return st;
}

EffStatus eff_tune(EffTuning *tuning, const EffGraph *g, const EffReference *reference, const EffRanges *ranges,
                   const EffActChoice *choices, size_t n_choices, const EffPictures *pictures,
                   const EffQuantizeOptions *options)
{
    Tuner t = {
        .tuning = tuning, .g = g, .ranges = ranges, .choices = choices, .n_choices = n_choices, .options = options};
    EffPlan plan = {0};
    EffStatus st = EFF_OK;
    if (options->no_gptq)
        return EFF_OK;
    st = lower(&t, &plan, -1, 1);
    if (st == EFF_OK)
        st = eff_prefix_create(&t.prefix, g, reference, pictures, options, MOST_BYTES);
    for (int i = 0; i < plan.n_steps && st == EFF_OK; i++) {
        if (is_tunable(&plan.steps[i]))
            st = tune_step(&t, i, find_node(g, plan.steps[i].name));
        if (st == EFF_OK && options->progress != NULL &&
            options->progress(options->ctx, "choosing weights", (size_t)i + 1, (size_t)plan.n_steps) != 0)
            st = eff_fail(EFF_ERR_INTERRUPTED, "interrupted while choosing weights");
    }
    tuning->asked = -1;
    tuning->n_needed = 0;
    eff_prefix_free(t.prefix);
    eff_plan_free(&plan);
    return st;
}
