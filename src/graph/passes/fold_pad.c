/* SPDX-License-Identifier: Apache-2.0 */
/* Zeros around a map become the padding of the convolutions that read it: TensorFlow's SAME, as exporters spell it. */
#include "graph/ir.h"

static bool all_readers_convolve(const EffGraph *g, int v)
{
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->nodes[i].n_inputs; k++) {
            if (g->nodes[i].in[k] == v && g->nodes[i].op != EFF_OP_CONV)
                return false;
        }
    }
    return v != g->output;
}

EffStatus eff_pass_fold_pad(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *pad = &g->nodes[i];
        if (pad->op != EFF_OP_PAD || !all_readers_convolve(g, pad->out))
            continue;
        const EffConv p = pad->conv;
        for (int k = i + 1; k < g->n_nodes; k++) {
            EffNode *conv = &g->nodes[k];
            if (conv->op != EFF_OP_CONV || conv->in[0] != pad->out)
                continue;
            conv->in[0] = pad->in[0];
            conv->conv.pad_top += p.pad_top;
            conv->conv.pad_left += p.pad_left;
            conv->conv.pad_bottom += p.pad_bottom;
            conv->conv.pad_right += p.pad_right;
        }
    }
    return eff_pass_drop_dead(g);
}
