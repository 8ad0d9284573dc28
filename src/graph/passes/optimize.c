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
    static EffStatus (*const before[])(EffGraph *) = {eff_pass_drop_dead, eff_pass_join_pairs, eff_pass_recognize_act,
                                                      eff_pass_fold_pad, eff_pass_absorb_input};
    static EffStatus (*const after[])(EffGraph *) = {eff_pass_fold_batchnorm, eff_pass_fold_affine,
                                                     eff_pass_keep_affine};
    EffStatus st = EFF_OK;
    for (size_t i = 0; i < EFF_COUNT(before) && st == EFF_OK; i++)
        st = before[i](g);
    if (st == EFF_OK && g->n_params == 0) {
        EffGraphStats stats;
        eff_graph_stats(g, &stats);
        g->n_params = stats.params;
    }
    for (size_t i = 0; i < EFF_COUNT(after) && st == EFF_OK; i++)
        st = after[i](g);
    return st;
}
