/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zeros around a map become the padding of the convolutions that read it: TensorFlow's SAME, as exporters spell it.
 * Past a node that rounds and keeps 0, since quantizers put a pair behind each pad. So do zeros around what has no
 * negative numbers become the padding of a maximum over windows, which no padding can change then.
 */
#include "graph/ir.h"

static bool is_never_negative(const EffGraph *g, int v)
{
    const int producer = g->values[v].producer;
    const EffNode *n = producer >= 0 ? &g->nodes[producer] : NULL;
    return n != NULL && n->op == EFF_OP_ACT &&
           (n->act == EFF_ACTIVATION_RELU || n->act == EFF_ACTIVATION_RELU6 || n->act == EFF_ACTIVATION_SIGMOID);
}

/* Whether a node's padding can be what a Pad before it adds. */
static bool takes_pads(const EffGraph *g, const EffNode *n, const EffNode *pad)
{
    const EffConv *c = &n->conv, *p = &pad->conv;
    if (n->op == EFF_OP_CONV)
        return true;
    return n->op == EFF_OP_POOL && n->pooling == EFF_POOLING_MAX && is_never_negative(g, pad->in[0]) &&
           c->pad_top + p->pad_top < c->kernel_h && c->pad_bottom + p->pad_bottom < c->kernel_h &&
           c->pad_left + p->pad_left < c->kernel_w && c->pad_right + p->pad_right < c->kernel_w;
}

static bool all_readers_take(const EffGraph *g, const EffNode *pad)
{
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->nodes[i].n_inputs; k++) {
            if (g->nodes[i].in[k] == pad->out && !takes_pads(g, &g->nodes[i], pad))
                return false;
        }
    }
    return pad->out != g->output;
}

static bool keeps_0(const EffNode *n)
{
    bool keeps = n->op == EFF_OP_ROUND;
    for (size_t c = 0; keeps && c < n->round.table.n / EFF_ROUND_ROWS; c++)
        keeps = eff_round_row(&n->round, EFF_ROUND_LOW)[c] <= 0 && eff_round_row(&n->round, EFF_ROUND_HIGH)[c] >= 0 &&
                eff_round_row(&n->round, EFF_ROUND_ADD)[c] == 0;
    return keeps;
}

/* The one node that reads v; -1. */
static int only_reader(const EffGraph *g, int v)
{
    for (int i = 0; g->values[v].n_consumers == 1 && v != g->output && i < g->n_nodes; i++) {
        if (g->nodes[i].in[0] == v)
            return i;
    }
    return -1;
}

static void move_pads_behind_rounding(EffGraph *g)
{
    eff_graph_relink(g);
    for (int i = 0; i < g->n_nodes; i++) {
        const int m = g->nodes[i].op == EFF_OP_PAD ? only_reader(g, g->nodes[i].out) : -1;
        if (m < 0 || !keeps_0(&g->nodes[m]))
            continue;
        EffNode pad = g->nodes[i], round = g->nodes[m];
        const int last = round.out;
        round.in[0] = pad.in[0];
        round.out = pad.in[0] = pad.out;
        pad.out = last;
        g->values[round.out].shape = g->values[round.in[0]].shape;
        g->nodes[i] = round;
        g->nodes[m] = pad;
    }
}

EffStatus eff_pass_fold_pad(EffGraph *g)
{
    move_pads_behind_rounding(g);
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *pad = &g->nodes[i];
        if (pad->op != EFF_OP_PAD || !all_readers_take(g, pad))
            continue;
        const EffConv p = pad->conv;
        for (int k = i + 1; k < g->n_nodes; k++) {
            EffNode *conv = &g->nodes[k];
            if (conv->in[0] != pad->out)
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
