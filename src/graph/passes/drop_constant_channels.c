/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels that no picture can change are taken out; what they add to the convolutions that read them goes into biases.
 *
 * Proof: every channel has an interval, from the weights and from where activations bend, with nothing assumed of the
 * picture. A convolution whose weights are 0, or whose sum stays where ReLU6 gives 0 or 6, is one whose interval has
 * shrunk to a number.
 *
 * Values whose channels belong together (before and after a depthwise convolution, an activation, a gate, a pool, an
 * addition) lose a channel together or not at all: if each dense convolution that reads one of them sees a constant,
 * and not through padding, whose zeros that constant is not.
 */
#include "base/mem.h"
#include "base/status.h"
#include "graph/ir.h"

#include <math.h>
#include <string.h>

typedef struct Interval {
    double low, high;
} Interval;

typedef struct Pass {
    EffGraph *g;
    Interval **of; /* [n_values] [c]; NULL: nothing computes it */
    int *group;    /* [n_values] a value that stands for those whose channels belong together */
    bool **keep;   /* [n_values] [c], of those that stand for a group; NULL: nothing goes */
} Pass;

/* ---- Intervals ---- */

static double act_at(EffActivation act, double x)
{
    switch (act) {
    case EFF_ACTIVATION_RELU: return fmax(x, 0);
    case EFF_ACTIVATION_RELU6: return fmin(fmax(x, 0), 6);
    case EFF_ACTIVATION_SIGMOID: return 1 / (1 + exp(-x));
    case EFF_ACTIVATION_SILU: return x < -700 ? 0 : x / (1 + exp(-x));
    case EFF_ACTIVATION_HSWISH: return x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6;
    case EFF_ACTIVATION_NONE: break;
    }
    return x;
}

/* SiLU and hard-swish fall to one lowest point and rise from there; the others only rise. */
static Interval act_of(EffActivation act, Interval x)
{
    const double a = act_at(act, x.low), b = act_at(act, x.high);
    const double lowest = act == EFF_ACTIVATION_SILU ? -1.2784645427610738 : -1.5;
    if (act != EFF_ACTIVATION_SILU && act != EFF_ACTIVATION_HSWISH)
        return (Interval){a, b};
    const bool inside = x.low < lowest && lowest < x.high;
    return (Interval){inside ? act_at(act, lowest) : fmin(a, b), fmax(a, b)};
}

/* x * k, where 0 times anything is 0. */
static Interval times(Interval x, double k)
{
    return k == 0 ? (Interval){0, 0} : k > 0 ? (Interval){x.low * k, x.high * k} : (Interval){x.high * k, x.low * k};
}

static double product(double a, double b)
{
    return a == 0 || b == 0 ? 0 : a * b;
}

static Interval mul(Interval a, Interval b)
{
    const double p[4] = {product(a.low, b.low), product(a.low, b.high), product(a.high, b.low),
                         product(a.high, b.high)};
    return (Interval){fmin(fmin(p[0], p[1]), fmin(p[2], p[3])), fmax(fmax(p[0], p[1]), fmax(p[2], p[3]))};
}

static Interval or_zero(Interval x)
{
    return (Interval){fmin(x.low, 0), fmax(x.high, 0)};
}

/* Shape inference has resolved SAME. */
static bool pads(const EffConv *c)
{
    return c->pad_top + c->pad_left + c->pad_bottom + c->pad_right > 0;
}

static void conv_of(Interval *out, const EffConv *c, const Interval *in)
{
    const size_t taps = (size_t)c->kernel_h * (size_t)c->kernel_w, per_group = (size_t)(c->in_ch / c->groups);
    const size_t out_per_group = (size_t)(c->out_ch / c->groups);
    for (size_t o = 0; o < (size_t)c->out_ch; o++) {
        const double bias = c->has_bias ? (double)c->bias.data[o] : 0;
        out[o] = (Interval){bias, bias};
        for (size_t k = 0; k < taps * per_group; k++) {
            const Interval x = in[o / out_per_group * per_group + k % per_group];
            const Interval t = times(pads(c) ? or_zero(x) : x, (double)c->wgt.data[o * taps * per_group + k]);
            out[o].low += t.low;
            out[o].high += t.high;
        }
    }
}

static void interval_of(Pass *p, const EffNode *n)
{
    const Interval *a = p->of[n->in[0]], *b = n->n_inputs > 1 ? p->of[n->in[1]] : NULL;
    Interval *out = p->of[n->out];
    if (n->op == EFF_OP_CONV) {
        conv_of(out, &n->conv, a);
        return;
    }
    for (int c = 0; c < p->g->values[n->out].shape.c; c++) {
        switch (n->op) {
        case EFF_OP_ACT: out[c] = act_of(n->act, a[c]); break;
        case EFF_OP_POOL: /* padding counts for nothing */
        case EFF_OP_GLOBAL_AVGPOOL: out[c] = a[c]; break;
        case EFF_OP_ADD: out[c] = (Interval){a[c].low + b[c].low, a[c].high + b[c].high}; break;
        case EFF_OP_MUL: out[c] = mul(a[c], b[c]); break;
        case EFF_OP_PAD: out[c] = or_zero(a[c]); break;
        case EFF_OP_ROUND:
        case EFF_OP_BATCHNORM: /* left over: nobody runs it, nothing is said of it */
        case EFF_OP_CONV: out[c] = (Interval){-INFINITY, INFINITY}; break;
        }
    }
}

/* Whether it is one number, as far as a float can tell; intervals without an end, or with a NaN, are not. */
static bool is_constant(Interval x)
{
    if (!isfinite(x.low) || !isfinite(x.high))
        return false;
    const double size = fmax(fmax(fabs(x.low), fabs(x.high)), 1.0 / 64);
    return x.high - x.low <= size * 0x1p-24;
}

/* ---- Groups ---- */

static int group_of(const Pass *p, int v)
{
    while (p->group[v] != v)
        v = p->group[v];
    return v;
}

static bool is_dense(const EffNode *n)
{
    return n->op == EFF_OP_CONV && !eff_conv_is_depthwise(&n->conv);
}

static void join(Pass *p)
{
    for (int i = 0; i < p->g->n_nodes; i++) {
        const EffNode *n = &p->g->nodes[i];
        for (int k = 0; k < n->n_inputs && !is_dense(n); k++)
            p->group[group_of(p, n->in[k])] = group_of(p, n->out);
    }
}

/* Fewer channels would make a dense convolution of a depthwise one. */
enum { MIN_CHANNELS = 2 };

static EffStatus choose(Pass *p)
{
    EffGraph *g = p->g;
    for (int v = 0; v < g->n_values; v++) {
        const size_t n_ch = (size_t)g->values[v].shape.c;
        if (group_of(p, v) == v && p->of[v] != NULL && (p->keep[v] = eff_calloc(n_ch, sizeof **p->keep)) == NULL)
            return eff_fail_nomem(n_ch, "channels");
    }
    /* Those of the ends stay, and those that a node left over, or a convolution through its padding, needs. */
    const int ends[2] = {g->input, g->output};
    for (int k = 0; k < 2; k++)
        memset(p->keep[group_of(p, ends[k])], true, (size_t)g->values[ends[k]].shape.c);
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *n = &g->nodes[i];
        bool *keep = p->keep[group_of(p, n->in[0])];
        for (int c = 0; c < g->values[n->in[0]].shape.c; c++) {
            const Interval x = p->of[n->in[0]][c];
            if (n->op == EFF_OP_BATCHNORM ||
                (is_dense(n) && (!is_constant(x) || (pads(&n->conv) && !is_constant(or_zero(x))))))
                keep[c] = true;
        }
    }
    for (int v = 0; v < g->n_values; v++) {
        int n = 0;
        for (int c = 0; p->keep[v] != NULL && c < g->values[v].shape.c; c++)
            n += p->keep[v][c];
        for (int c = 0; p->keep[v] != NULL && n < MIN_CHANNELS && c < g->values[v].shape.c; c++) {
            n += !p->keep[v][c];
            p->keep[v][c] = true;
        }
    }
    return EFF_OK;
}

static int count_kept(const bool *keep, int n)
{
    int kept = 0;
    for (int c = 0; c < n; c++)
        kept += keep[c];
    return kept;
}

/* ---- Rewriting ---- */

/* A bias for every output: what dropped inputs add, in double. */
static EffStatus fold_inputs(EffConv *c, const bool *keep, const Interval *in)
{
    if (!c->has_bias) {
        const EffStatus st = eff_param_alloc(&c->bias, (size_t)c->out_ch);
        if (st != EFF_OK)
            return st;
        c->has_bias = true;
    }
    const size_t n_in = (size_t)c->in_ch, taps = (size_t)c->kernel_h * (size_t)c->kernel_w;
    for (size_t o = 0; o < (size_t)c->out_ch; o++) {
        double sum = (double)c->bias.data[o];
        for (size_t k = 0; k < taps * n_in; k++) {
            if (!keep[k % n_in])
                sum += (double)c->wgt.data[o * taps * n_in + k] * (in[k % n_in].low + in[k % n_in].high) / 2;
        }
        c->bias.data[o] = (float)sum;
    }
    return EFF_OK;
}

/* Leave the rows and columns that are kept, in place. `in` NULL: all columns. */
static void shrink(EffConv *c, const bool *in, const bool *out, int n_in, int n_out)
{
    const size_t columns = (size_t)(c->in_ch / c->groups), taps = (size_t)c->kernel_h * (size_t)c->kernel_w;
    size_t at = 0, n = 0;
    for (size_t o = 0; o < (size_t)c->out_ch; o++) {
        for (size_t k = 0; out[o] && k < taps * columns; k++) {
            if (in == NULL || in[k % columns])
                c->wgt.data[at++] = c->wgt.data[o * taps * columns + k];
        }
        if (out[o] && c->has_bias)
            c->bias.data[n++] = c->bias.data[o];
    }
    c->n_fixed =
        (size_t)((double)c->n_fixed * ((double)at / (double)c->wgt.n)); /* nearly; all of it, or none, is exact */
    c->wgt.n = at;
    c->bias.n = n;
    c->groups = c->groups > 1 ? n_out : 1;
    c->in_ch = n_in;
    c->out_ch = n_out;
}

static EffStatus rewrite(Pass *p)
{
    EffGraph *g = p->g;
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *n = &g->nodes[i];
        if (n->op != EFF_OP_CONV)
            continue;
        EffConv *c = &n->conv;
        const bool *in = p->keep[group_of(p, n->in[0])], *out = p->keep[group_of(p, n->out)];
        const int n_in = count_kept(in, c->in_ch), n_out = count_kept(out, c->out_ch);
        const bool dense = is_dense(n);
        const EffStatus st = dense && n_in < c->in_ch ? fold_inputs(c, in, p->of[n->in[0]]) : EFF_OK;
        if (st != EFF_OK)
            return st;
        if (n_in < c->in_ch || n_out < c->out_ch)
            shrink(c, dense ? in : NULL, out, n_in, n_out);
    }
    for (int v = 0; v < g->n_values; v++) {
        if (p->of[v] != NULL)
            g->values[v].shape.c = count_kept(p->keep[group_of(p, v)], g->values[v].shape.c);
    }
    return EFF_OK;
}

EffStatus eff_pass_drop_constant_channels(EffGraph *g)
{
    if (eff_graph_rounds(g)) /* tables a channel, of models that are run as they are */
        return EFF_OK;
    Pass p = {.g = g};
    const size_t n = (size_t)g->n_values;
    EffStatus st = EFF_OK;
    eff_graph_relink(g);
    p.of = eff_calloc(n, sizeof *p.of);
    p.keep = eff_calloc(n, sizeof *p.keep);
    p.group = eff_calloc(n, sizeof *p.group);
    if (p.of == NULL || p.keep == NULL || p.group == NULL)
        st = eff_fail_nomem(n * sizeof *p.of, "channels");
    for (int v = 0; st == EFF_OK && v < g->n_values; v++) {
        const size_t n_ch = (size_t)g->values[v].shape.c;
        p.group[v] = v;
        if (v != g->input && g->values[v].producer < 0)
            continue;
        if ((p.of[v] = eff_calloc(n_ch, sizeof **p.of)) == NULL)
            st = eff_fail_nomem(n_ch * sizeof **p.of, "channels");
        for (size_t c = 0; st == EFF_OK && c < n_ch; c++)
            p.of[v][c] = (Interval){-INFINITY, INFINITY};
    }
    for (int i = 0; st == EFF_OK && i < g->n_nodes; i++)
        interval_of(&p, &g->nodes[i]);
    if (st == EFF_OK) {
        join(&p);
        st = choose(&p);
    }
    if (st == EFF_OK)
        st = rewrite(&p);
    for (int v = 0; v < g->n_values; v++) {
        if (p.of != NULL)
            eff_free(p.of[v]);
        if (p.keep != NULL)
            eff_free(p.keep[v]);
    }
    eff_free(p.of);
    eff_free(p.keep);
    eff_free(p.group);
    return st;
}

static int count_outputs(const EffGraph *g)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == EFF_OP_CONV ? g->nodes[i].conv.out_ch : 0;
    return n;
}

EffStatus eff_graph_drop_constant_channels(EffGraph *g, int *n_dropped)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == EFF_OP_CONV && g->nodes[i].conv.wgt.data == NULL)
            return eff_fail(EFF_ERR_ARG, "%s: the network has no weights yet; load some first", g->nodes[i].name);
    }
    const int n = count_outputs(g);
    EffStatus st = eff_pass_drop_constant_channels(g);
    if (st == EFF_OK)
        st = eff_graph_infer_shapes(g);
    if (st == EFF_OK && n_dropped != NULL)
        *n_dropped = n - count_outputs(g);
    return st;
}
