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
    const EffStatus st = eff_pass_fold_batchnorm(g);
    return st != EFF_OK ? st : eff_pass_fuse_activation(g);
}
