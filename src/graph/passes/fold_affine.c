/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BatchNorms, and products and sums with constants, that no convolution precedes: x * k + b a channel.
 *
 *     on the picture          into its mean and std:  (v - mean) / std * k + b = (v - (mean - b std / k)) / (std / k)
 *     before convolutions     into their weights and biases, unless they pad and b is not 0: the padding is zeros
 *                             of x * k + b, not of x
 *     before products         a scale without a shift goes behind the product: k g * x = k (g * x)
 */
#include "base/status.h"
#include "graph/ir.h"

#include <math.h>
#include <string.h>

static double gain(const EffBatchNorm *bn, size_t c)
{
    return (double)bn->gamma.data[c] / sqrt((double)bn->var.data[c] + (double)bn->eps);
}

static double shift(const EffBatchNorm *bn, size_t c)
{
    return (double)bn->beta.data[c] - (double)bn->mean.data[c] * gain(bn, c);
}

/* Whoever read the output reads the input. */
static void bypass(EffGraph *g, EffNode *n)
{
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->nodes[i].n_inputs; k++) {
            if (g->nodes[i].in[k] == n->out)
                g->nodes[i].in[k] = n->in[0];
        }
    }
    n->out = -1;
}

EffStatus eff_pass_absorb_input(EffGraph *g)
{
    eff_graph_relink(g);
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *n = &g->nodes[i];
        const size_t n_ch = (size_t)g->values[g->input].shape.c;
        if (n->op != EFF_OP_BATCHNORM || n->in[0] != g->input || g->values[g->input].n_consumers != 1 ||
            n->out == g->output || n->bn.gamma.data == NULL)
            continue;
        EffPreprocess pre = g->pre;
        bool fits = n_ch <= 3;
        for (size_t c = 0; fits && c < n_ch; c++) {
            const double k = gain(&n->bn, c), std = (double)pre.std[c];
            pre.mean[c] = (float)((double)pre.mean[c] - shift(&n->bn, c) * std / k);
            pre.std[c] = (float)(std / k);
            fits = k > 0 && isfinite(pre.mean[c]) && pre.std[c] > 0 && isfinite(pre.std[c]);
        }
        if (!fits)
            continue;
        g->pre = pre;
        bypass(g, n);
        eff_graph_relink(g);
        i = -1; /* another one may stand behind it */
    }
    return EFF_OK;
}

/* Whether all that reads v are convolutions which can take the affine map. */
static bool readers_take(const EffGraph *g, int v, bool shifts)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const EffConv *c = &g->nodes[i].conv;
        if (g->nodes[i].n_inputs == 2 && (g->nodes[i].in[0] == v || g->nodes[i].in[1] == v))
            return false;
        if (g->nodes[i].in[0] != v)
            continue;
        if (g->nodes[i].op != EFF_OP_CONV || c->wgt.data == NULL ||
            (shifts && (c->same || c->pad_top + c->pad_left + c->pad_bottom + c->pad_right > 0)))
            return false;
        n++;
    }
    return n > 0 && v != g->output;
}

static EffStatus fold_into(EffConv *c, const EffBatchNorm *bn)
{
    if (!c->has_bias) {
        const EffStatus st = eff_param_alloc(&c->bias, (size_t)c->out_ch);
        if (st != EFF_OK)
            return st;
        c->has_bias = true;
    }
    const size_t per_group = (size_t)(c->in_ch / c->groups), taps = (size_t)c->kernel_h * (size_t)c->kernel_w;
    const size_t out_per_group = (size_t)(c->out_ch / c->groups);
    for (size_t o = 0; o < (size_t)c->out_ch; o++) {
        double sum = (double)c->bias.data[o];
        for (size_t t = 0; t < taps; t++) {
            for (size_t i = 0; i < per_group; i++) {
                const size_t ch = o / out_per_group * per_group + i;
                float *w = &c->wgt.data[(o * taps + t) * per_group + i];
                sum += (double)*w * shift(bn, ch);
                *w = (float)((double)*w * gain(bn, ch));
            }
        }
        c->bias.data[o] = (float)sum;
    }
    return EFF_OK;
}

/* The one reader of v, if it is a product of v and something else; -1. */
static int only_product(const EffGraph *g, int v)
{
    for (int i = 0; g->values[v].n_consumers == 1 && v != g->output && i < g->n_nodes; i++) {
        if (g->nodes[i].op == EFF_OP_MUL && (g->nodes[i].in[0] == v || g->nodes[i].in[1] == v))
            return i;
    }
    return -1;
}

/* Node i, a scale, to behind product m, which alone reads it. */
static void move_behind(EffGraph *g, int i, int m)
{
    EffNode scale = g->nodes[i], *mul = &g->nodes[m];
    for (int k = 0; k < 2; k++) {
        if (mul->in[k] == scale.out)
            mul->in[k] = scale.in[0];
    }
    /* The two change names of their outputs: who read the product's reads the scale's. */
    const int whole = mul->out;
    mul->out = scale.out;
    scale.in[0] = mul->out;
    scale.out = whole;
    g->values[mul->out].shape = g->values[whole].shape;
    for (int k = i; k < m; k++)
        g->nodes[k] = g->nodes[k + 1];
    g->nodes[m] = scale;
}

EffStatus eff_pass_fold_affine(EffGraph *g)
{
    eff_graph_relink(g);
    for (int i = g->n_nodes - 1; i >= 0; i--) { /* of a chain the last first */
        EffNode *n = &g->nodes[i];
        bool shifts = false;
        if (n->op != EFF_OP_BATCHNORM || n->bn.gamma.data == NULL)
            continue;
        for (size_t c = 0; c < n->bn.gamma.n; c++)
            shifts = shifts || shift(&n->bn, c) != 0;
        const int product = shifts ? -1 : only_product(g, n->out);
        if (product >= 0) {
            move_behind(g, i, product);
            eff_graph_relink(g);
            i = product + 1; /* this scale again, where it is now */
            continue;
        }
        if (!readers_take(g, n->out, shifts))
            continue;
        for (int k = i + 1; k < g->n_nodes; k++) {
            if (g->nodes[k].op == EFF_OP_CONV && g->nodes[k].in[0] == n->out) {
                const EffStatus st = fold_into(&g->nodes[k].conv, &n->bn);
                if (st != EFF_OK)
                    return st;
            }
        }
        bypass(g, n);
        eff_graph_relink(g);
    }
    return EFF_OK;
}
