/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activations that an exporter has taken apart become one node again, under the name of their last one:
 *
 *     x * sigmoid(x)                                   SiLU
 *     x * (relu6(x + 3) / 6), x * relu6(x + 3) / 6     hard-swish
 *     relu6(relu(x)), relu(relu6(x))                   ReLU6: Max and Min, one after the other
 */
#include "graph/ir.h"

#include <math.h>
#include <stdlib.h>

/* The node that computes value v, or NULL. */
static EffNode *producer(EffGraph *g, int v)
{
    return g->values[v].producer >= 0 ? &g->nodes[g->values[v].producer] : NULL;
}

/* Whether v is act(x) for some x, and which. */
static bool is_act(EffGraph *g, int v, EffActivation act, int *x)
{
    const EffNode *n = producer(g, v);
    if (n == NULL || n->op != EFF_OP_ACT || n->act != act)
        return false;
    *x = n->in[0];
    return true;
}

/* Whether v is x * k + b, the same in all channels, to the precision of the constants that exporters write. */
static bool is_affine(EffGraph *g, int v, double k, double b, int *x)
{
    const EffNode *n = producer(g, v);
    if (n == NULL || n->op != EFF_OP_BATCHNORM || n->bn.gamma.data == NULL)
        return false;
    for (size_t c = 0; c < n->bn.gamma.n; c++) {
        const double gain = (double)n->bn.gamma.data[c] / sqrt((double)n->bn.var.data[c] + (double)n->bn.eps);
        const double shift = (double)n->bn.beta.data[c] - (double)n->bn.mean.data[c] * gain;
        if (fabs(gain - k) > 1e-5 * k || fabs(shift - b) > 1e-6)
            return false;
    }
    *x = n->in[0];
    return true;
}

static bool is_relu6_of_x_plus_3(EffGraph *g, int v, int *x)
{
    int inner;
    return is_act(g, v, EFF_ACTIVATION_RELU6, &inner) && is_affine(g, inner, 1, 3, x);
}

/* If product m is an activation of one of its factors, which, and of what. */
static bool product(EffGraph *g, const EffNode *m, EffActivation *act, int *x)
{
    for (int k = 0; k < 2; k++) {
        const int a = m->in[k], b = m->in[!k];
        int of, clamped;
        if (is_act(g, b, EFF_ACTIVATION_SIGMOID, &of) && of == a) {
            *act = EFF_ACTIVATION_SILU;
            *x = a;
            return true;
        }
        if (is_affine(g, b, 1.0 / 6, 0, &clamped) && is_relu6_of_x_plus_3(g, clamped, &of) && of == a) {
            *act = EFF_ACTIVATION_HSWISH;
            *x = a;
            return true;
        }
    }
    return false;
}

/* x * relu6(x + 3), which the node behind it divides by 6. */
static bool unscaled_hswish(EffGraph *g, int v, int *x)
{
    const EffNode *m = producer(g, v);
    for (int k = 0; m != NULL && m->op == EFF_OP_MUL && k < 2; k++) {
        int of;
        if (is_relu6_of_x_plus_3(g, m->in[!k], &of) && of == m->in[k]) {
            *x = of;
            return true;
        }
    }
    return false;
}

static void become(EffNode *n, EffActivation act, int x)
{
    eff_param_free(&n->bn.gamma);
    eff_param_free(&n->bn.beta);
    eff_param_free(&n->bn.mean);
    eff_param_free(&n->bn.var);
    n->op = EFF_OP_ACT;
    n->act = act;
    n->n_inputs = 1;
    n->in[0] = x;
}

EffStatus eff_pass_recognize_act(EffGraph *g)
{
    eff_graph_relink(g);
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *n = &g->nodes[i];
        EffActivation act;
        int x, of;
        if (n->op == EFF_OP_MUL && product(g, n, &act, &x))
            become(n, act, x);
        else if (n->op == EFF_OP_BATCHNORM && is_affine(g, n->out, 1.0 / 6, 0, &x) && unscaled_hswish(g, x, &of))
            become(n, EFF_ACTIVATION_HSWISH, of);
        else if (n->op == EFF_OP_ACT && n->act == EFF_ACTIVATION_RELU6 && is_act(g, n->in[0], EFF_ACTIVATION_RELU, &of))
            n->in[0] = of;
        else if (n->op == EFF_OP_ACT && n->act == EFF_ACTIVATION_RELU &&
                 is_act(g, n->in[0], EFF_ACTIVATION_RELU6, &of)) {
            n->act = EFF_ACTIVATION_RELU6;
            n->in[0] = of;
        }
    }
    return eff_pass_drop_dead(g);
}
