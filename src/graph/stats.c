/* SPDX-License-Identifier: Apache-2.0 */
/* Counting: trainable parameters and multiply-accumulates, as timm's users count them. */
#include "graph/ir.h"

void eff_graph_stats(const EffGraph *g, EffGraphStats *out)
{
    *out = (EffGraphStats){.input_size = g->values[g->input].shape.h,
                           .in_channels = g->values[g->input].shape.c,
                           .n_classes = g->n_classes,
                           .n_nodes = g->n_nodes};
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *node = &g->nodes[i];
        if (node->op == EFF_OP_CONV) {
            const EffShape s = g->values[node->out].shape;
            out->params += node->conv.wgt.n - node->conv.n_fixed + node->conv.bias.n;
            out->macs += (uint64_t)s.h * (uint64_t)s.w * node->conv.wgt.n;
        } else if (node->op == EFF_OP_BATCHNORM) {
            out->params += node->bn.gamma.n + node->bn.beta.n;
        }
    }
    if (g->n_params > 0)
        out->params = g->n_params; /* folding took some away */
}
