/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that nothing on the way to the output reads. */
#include "graph/ir.h"

EffStatus eff_pass_drop_dead(EffGraph *g)
{
    eff_graph_relink(g);
    for (int i = g->n_nodes - 1; i >= 0; i--) { /* readers come first this way round */
        EffNode *node = &g->nodes[i];
        if (node->out == g->output || g->values[node->out].n_consumers > 0)
            continue;
        for (int k = 0; k < node->n_inputs; k++)
            g->values[node->in[k]].n_consumers--;
        node->out = -1;
    }
    eff_graph_relink(g);
    return EFF_OK;
}
