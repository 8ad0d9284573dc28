/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models that are quantized already: what QuantizeLinear and DequantizeLinear do to floats, as nodes that round.
 *
 *     join_pairs     QuantizeLinear, then DequantizeLinear: one node
 *     keep_affine    what no convolution can take in stays, where a model rounds: products and sums with constants
 *     drop_pairs     floats pass as they are, or clamped where a pair's range ends at 0: then it stands for a ReLU,
 *                    which tools leave out before such a pair
 */
#include "base/mem.h"
#include "base/status.h"
#include "graph/ir.h"

#include <float.h>
#include <math.h>

bool eff_graph_rounds(const EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == EFF_OP_ROUND)
            return true;
    }
    return false;
}

EffStatus eff_round_init(EffRound *r, EffRounding how, int c)
{
    r->how = how;
    const EffStatus st = eff_param_alloc(&r->table, EFF_ROUND_ROWS * (size_t)c);
    for (int k = 0; st == EFF_OK && k < c; k++) {
        eff_round_row(r, EFF_ROUND_DIV)[k] = eff_round_row(r, EFF_ROUND_MUL)[k] = 1;
        eff_round_row(r, EFF_ROUND_LOW)[k] = -FLT_MAX;
        eff_round_row(r, EFF_ROUND_HIGH)[k] = FLT_MAX;
    }
    return st;
}

static size_t n_channels(const EffNode *n)
{
    return n->round.table.n / EFF_ROUND_ROWS;
}

/* Whether it only adds and multiplies. */
static bool is_dequantize(const EffNode *n)
{
    bool plain = n->op == EFF_OP_ROUND && n->round.how == EFF_ROUNDING_NONE;
    for (size_t c = 0; plain && c < n_channels(n); c++)
        plain = eff_round_row(&n->round, EFF_ROUND_DIV)[c] == 1 &&
                eff_round_row(&n->round, EFF_ROUND_LOW)[c] == -FLT_MAX &&
                eff_round_row(&n->round, EFF_ROUND_HIGH)[c] == FLT_MAX;
    return plain;
}

/* Whether its values are whole numbers that are exact in float, and sums of them too. */
static bool is_quantize(const EffNode *n)
{
    bool whole = n->op == EFF_OP_ROUND && n->round.how == EFF_ROUNDING_EVEN;
    for (size_t c = 0; whole && c < n_channels(n); c++)
        whole = eff_round_row(&n->round, EFF_ROUND_MUL)[c] == 1 &&
                fabsf(eff_round_row(&n->round, EFF_ROUND_ADD)[c]) <= 65536 &&
                fabsf(eff_round_row(&n->round, EFF_ROUND_LOW)[c]) <= 131072 &&
                fabsf(eff_round_row(&n->round, EFF_ROUND_HIGH)[c]) <= 131072;
    return whole;
}

EffStatus eff_pass_join_pairs(EffGraph *g)
{
    eff_graph_relink(g);
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *n = &g->nodes[i];
        const int p = g->values[n->in[0]].producer;
        if (p < 0 || !is_dequantize(n) || !is_quantize(&g->nodes[p]))
            continue;
        const EffNode *first = &g->nodes[p];
        for (size_t c = 0; c < n_channels(n); c++) {
            for (int row = EFF_ROUND_DIV; row <= EFF_ROUND_HIGH; row++)
                eff_round_row(&n->round, (EffRoundRow)row)[c] = eff_round_row(&first->round, (EffRoundRow)row)[c];
            eff_round_row(&n->round, EFF_ROUND_ADD)[c] += eff_round_row(&first->round, EFF_ROUND_ADD)[c];
        }
        n->round.how = EFF_ROUNDING_EVEN;
        n->in[0] = first->in[0];
    }
    return eff_pass_drop_dead(g);
}

/* y = x k + b as a table: (x + b / k) k, or b alone where k is 0, or as good as. */
static void affine_row(EffRound *r, size_t c, double k, double b)
{
    if (k == 0 || fabs(b / k) > 1e30)
        k = 0;
    if (k == 0)
        eff_round_row(r, EFF_ROUND_LOW)[c] = eff_round_row(r, EFF_ROUND_HIGH)[c] = 0;
    eff_round_row(r, EFF_ROUND_ADD)[c] = (float)(k == 0 ? b : b / k);
    eff_round_row(r, EFF_ROUND_MUL)[c] = (float)(k == 0 ? 1 : k);
}

EffStatus eff_pass_keep_affine(EffGraph *g)
{
    const bool rounds = eff_graph_rounds(g);
    for (int i = 0; rounds && i < g->n_nodes; i++) {
        EffNode *n = &g->nodes[i];
        const EffBatchNorm *bn = &n->bn;
        if (n->op != EFF_OP_BATCHNORM || bn->gamma.data == NULL)
            continue;
        EffRound r = {0};
        const EffStatus st = eff_round_init(&r, EFF_ROUNDING_NONE, (int)bn->gamma.n);
        if (st != EFF_OK)
            return st;
        for (size_t c = 0; c < bn->gamma.n; c++) {
            const double k = (double)bn->gamma.data[c] / sqrt((double)bn->var.data[c] + (double)bn->eps);
            affine_row(&r, c, k, (double)bn->beta.data[c] - (double)bn->mean.data[c] * k);
        }
        eff_node_free_params(n);
        n->op = EFF_OP_ROUND;
        n->round = r;
    }
    return EFF_OK;
}

/* Whether a pair is the identity but for rounding and its range, and what that range clamps. */
static bool is_pair(const EffNode *n, EffActivation *clamps)
{
    bool pair = n->op == EFF_OP_ROUND && n->round.how == EFF_ROUNDING_EVEN, from_0 = true, to_6 = true;
    for (size_t c = 0; pair && c < n_channels(n); c++) {
        const float step = eff_round_row(&n->round, EFF_ROUND_MUL)[c];
        pair = eff_round_row(&n->round, EFF_ROUND_DIV)[c] == step && eff_round_row(&n->round, EFF_ROUND_ADD)[c] == 0;
        from_0 = from_0 && eff_round_row(&n->round, EFF_ROUND_LOW)[c] == 0;
        to_6 = to_6 && fabsf(eff_round_row(&n->round, EFF_ROUND_HIGH)[c] * step - 6) <= step;
    }
    *clamps = !from_0 ? EFF_ACTIVATION_NONE : to_6 ? EFF_ACTIVATION_RELU6 : EFF_ACTIVATION_RELU;
    return pair;
}

/* Whether what a node makes has no negative numbers, as far as that follows from `of` its inputs. */
static bool never_below_0(const EffNode *n, const bool *of)
{
    if (n->op == EFF_OP_ACT)
        return n->act == EFF_ACTIVATION_RELU || n->act == EFF_ACTIVATION_RELU6 || n->act == EFF_ACTIVATION_SIGMOID;
    if (n->op == EFF_OP_CONV || n->op == EFF_OP_ROUND)
        return false;
    for (size_t c = 0; n->op == EFF_OP_BATCHNORM && c < n->bn.gamma.n; c++) {
        if (n->bn.gamma.data[c] < 0 || n->bn.beta.data[c] < 0 || n->bn.mean.data[c] > 0)
            return false;
    }
    return of[n->in[0]] && (n->n_inputs < 2 || of[n->in[1]]);
}

/* Node i reads and makes the same: whoever read its output reads its input. */
static void bypass(EffGraph *g, int i)
{
    EffNode *pair = &g->nodes[i];
    for (int k = i + 1; k < g->n_nodes; k++) {
        for (int in = 0; in < g->nodes[k].n_inputs; in++) {
            if (g->nodes[k].in[in] == pair->out)
                g->nodes[k].in[in] = pair->in[0];
        }
    }
    if (g->output == pair->out)
        g->output = pair->in[0];
    pair->out = -1;
}

EffStatus eff_pass_drop_pairs(EffGraph *g, int *n)
{
    *n = 0;
    const EffStatus st = eff_pass_join_pairs(g);
    if (st != EFF_OK)
        return st;
    bool *positive = eff_calloc((size_t)g->n_values, sizeof *positive);
    if (positive == NULL)
        return eff_fail_nomem((size_t)g->n_values, "the network");
    positive[g->input] = true; /* a picture that is quantized from 0 on */
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *node = &g->nodes[i];
        EffActivation clamps;
        if (!is_pair(node, &clamps)) {
            positive[node->out] = never_below_0(node, positive);
            continue;
        }
        (*n)++;
        if (clamps == EFF_ACTIVATION_NONE || positive[node->in[0]]) {
            bypass(g, i);
            continue;
        }
        eff_node_free_params(node);
        node->op = EFF_OP_ACT;
        node->act = clamps;
        positive[node->out] = true;
    }
    eff_free(positive);
    eff_graph_relink(g);
    return EFF_OK;
}
