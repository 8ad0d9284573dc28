/* SPDX-License-Identifier: Apache-2.0 */
/* Move an activation into the convolution that feeds only it. */
#include "graph/ir.h"

EffStatus eff_pass_fuse_activation(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *node = &g->nodes[i];
        const int producer = g->values[node->in[0]].producer;
        if (node->op != EFF_OP_ACT || producer < 0)
            continue;
        EffNode *before = &g->nodes[producer];
        if (before->op != EFF_OP_CONV || before->conv.act != EFF_ACTIVATION_NONE ||
            g->values[before->out].n_consumers != 1)
            continue;
        before->conv.act = node->act;
        before->out = node->out;
        node->out = -1;
        g->values[before->out].producer = producer;
    }
    eff_graph_relink(g);
    return EFF_OK;
}
