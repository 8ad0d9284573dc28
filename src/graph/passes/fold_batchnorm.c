/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fold BatchNorm into the convolution before it:
 *     y = gamma * (x - mean) / sqrt(var + eps) + beta,   x = w * in + b
 *     w' = w * k,  b' = (b - mean) * k + beta,           k = gamma / sqrt(var + eps)
 * in double, rounded once to float. Of a sum of convolutions, such as the importer makes of a Concat, each is scaled,
 * and one of them is shifted.
 */
#include "base/mem.h"
#include "base/status.h"
#include "graph/ir.h"

#include <math.h>

static EffStatus fold(EffConv *c, const EffBatchNorm *bn, bool shifts)
{
    if (!c->has_bias && shifts) {
        const EffStatus st = eff_param_alloc(&c->bias, (size_t)c->out_ch);
        if (st != EFF_OK)
            return st;
        c->has_bias = true;
    }
    const size_t per_out = c->wgt.n / (size_t)c->out_ch;
    for (size_t o = 0; o < (size_t)c->out_ch; o++) {
        const double k = (double)bn->gamma.data[o] / sqrt((double)bn->var.data[o] + (double)bn->eps);
        const double mean = shifts ? (double)bn->mean.data[o] : 0, beta = shifts ? (double)bn->beta.data[o] : 0;
        float *w = c->wgt.data + o * per_out;
        for (size_t i = 0; i < per_out; i++)
            w[i] = (float)(w[i] * k);
        if (c->has_bias)
            c->bias.data[o] = (float)(((double)c->bias.data[o] - mean) * k + beta);
    }
    return EFF_OK;
}

enum { MOST_ADDITIONS = 200 }; /* in a row: a file cannot ask for a deep stack */

/* Whether a value that nothing else reads is a convolution, or a sum of such. */
static bool is_sum(const EffGraph *g, int v, int depth)
{
    const int producer = g->values[v].producer;
    if (producer < 0 || g->values[v].n_consumers != 1 || v == g->output || depth > MOST_ADDITIONS)
        return false;
    const EffNode *n = &g->nodes[producer];
    return n->op == EFF_OP_CONV ||
           (n->op == EFF_OP_ADD && is_sum(g, n->in[0], depth + 1) && is_sum(g, n->in[1], depth + 1));
}

static EffStatus fold_sum(EffGraph *g, int v, const EffBatchNorm *bn, bool shifts)
{
    EffNode *n = &g->nodes[g->values[v].producer];
    if (n->op == EFF_OP_CONV)
        return fold(&n->conv, bn, shifts);
    const EffStatus st = fold_sum(g, n->in[0], bn, shifts);
    return st == EFF_OK ? fold_sum(g, n->in[1], bn, false) : st;
}

EffStatus eff_pass_fold_batchnorm(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *node = &g->nodes[i];
        if (node->op != EFF_OP_BATCHNORM || !is_sum(g, node->in[0], 0))
            continue;
        const EffStatus st = fold_sum(g, node->in[0], &node->bn, true);
        if (st != EFF_OK)
            return st;
        const int producer = g->values[node->in[0]].producer;
        g->nodes[producer].out = node->out; /* the value of the BatchNorm is now the convolution's */
        node->out = -1;
        g->values[g->nodes[producer].out].producer = producer;
    }
    eff_graph_relink(g);
    return EFF_OK;
}
