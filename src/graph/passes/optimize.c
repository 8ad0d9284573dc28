/* SPDX-License-Identifier: Apache-2.0 */
/* All passes in their order. */
#include "base/status.h"
#include "graph/ir.h"

EffStatus eff_graph_optimize(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == EFF_OP_CONV && g->nodes[i].conv.wgt.data == NULL)
            return eff_fail(EFF_ERR_ARG, "%s: the network has no weights yet; load some first", g->nodes[i].name);
    }
    if (g->n_params == 0) {
        EffGraphStats stats;
        eff_graph_stats(g, &stats);
        g->n_params = stats.params;
    }
    return eff_pass_fold_batchnorm(g);
}
