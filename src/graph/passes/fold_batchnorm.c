/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fold BatchNorm into the convolution before it:
 *     y = gamma * (x - mean) / sqrt(var + eps) + beta,   x = w * in + b
 *     w' = w * k,  b' = (b - mean) * k + beta,           k = gamma / sqrt(var + eps)
 * in double, rounded once to float.
 */
#include "base/mem.h"
#include "base/status.h"
#include "graph/ir.h"

#include <math.h>

static EffStatus fold(EffConv *c, const EffBatchNorm *bn)
{
    if (!c->has_bias) {
        const EffStatus st = eff_param_alloc(&c->bias, (size_t)c->out_ch);
        if (st != EFF_OK)
            return st;
        c->has_bias = true;
    }
    const size_t per_out = c->wgt.n / (size_t)c->out_ch;
    for (size_t o = 0; o < (size_t)c->out_ch; o++) {
        const double k = (double)bn->gamma.data[o] / sqrt((double)bn->var.data[o] + (double)bn->eps);
        float *w = c->wgt.data + o * per_out;
        for (size_t i = 0; i < per_out; i++)
            w[i] = (float)(w[i] * k);
        c->bias.data[o] = (float)(((double)c->bias.data[o] - (double)bn->mean.data[o]) * k + (double)bn->beta.data[o]);
    }
    return EFF_OK;
}

EffStatus eff_pass_fold_batchnorm(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *node = &g->nodes[i];
        const int producer = g->values[node->in[0]].producer;
        if (node->op != EFF_OP_BATCHNORM || producer < 0)
            continue;
        EffNode *before = &g->nodes[producer];
        if (before->op != EFF_OP_CONV || g->values[before->out].n_consumers != 1)
            continue;
        const EffStatus st = fold(&before->conv, &node->bn);
        if (st != EFF_OK)
            return st;
        before->out = node->out; /* the value of the BatchNorm is now the convolution's */
        node->out = -1;
        g->values[before->out].producer = producer;
    }
    eff_graph_relink(g);
    return EFF_OK;
}
