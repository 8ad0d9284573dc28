/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights without training: convolutions drawn with variance 1 / fan-in, and every BatchNorm's statistics set to what
 * its input really has on a seeded picture, so that activations keep unit variance however deep the network is; its
 * gains are spread over 2^-2..2^2, as in trained networks. Speed and the errors of quantization can be measured on
 * them; accuracy not.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"
#include "graph/ir.h"

#include <math.h>
#include <string.h>

/* 2^x for x in [-2, 2], by its Taylor polynomial of degree 9: no libm, so that every machine draws the same. */
static float exp2_small(float x)
{
    const double t = (double)x * 0.6931471805599453;
    double sum = 1, term = 1;
    for (int k = 1; k < 10; k++) {
        term *= t / k;
        sum += term;
    }
    return (float)sum;
}

static EffStatus draw_conv(EffConv *c, EffRng *rng)
{
    EffStatus st = eff_param_alloc(&c->wgt, c->wgt.n);
    if (st == EFF_OK && c->has_bias)
        st = eff_param_alloc(&c->bias, c->bias.n);
    const float scale = 1 / sqrtf((float)(c->wgt.n / (size_t)c->out_ch));
    for (size_t i = 0; i < c->wgt.n && st == EFF_OK; i++)
        c->wgt.data[i] = scale * eff_rng_normal(rng);
    return st;
}

static EffStatus draw_batchnorm(EffBatchNorm *bn, EffRng *rng, const float *x, size_t n_pixels)
{
    EffStatus st = EFF_OK;
    EffParam *const params[] = {&bn->gamma, &bn->beta, &bn->mean, &bn->var};
    for (size_t i = 0; i < EFF_COUNT(params) && st == EFF_OK; i++)
        st = eff_param_alloc(params[i], params[i]->n);
    const size_t n = bn->gamma.n;
    for (size_t c = 0; c < n && st == EFF_OK; c++) {
        double sum = 0, squares = 0;
        for (size_t p = 0; p < n_pixels; p++) {
            const double v = (double)x[p * n + c];
            sum += v;
            squares += v * v;
        }
        const double mean = sum / (double)n_pixels, var = squares / (double)n_pixels - mean * mean;
        bn->gamma.data[c] = exp2_small(4 * eff_rng_unit(rng) - 2);
        bn->beta.data[c] = 0.5f * bn->gamma.data[c] * eff_rng_normal(rng);
        bn->mean.data[c] = (float)mean;
        bn->var.data[c] = var > 1e-3 ? (float)var : 1e-3f;
    }
    return st;
}

/* Output of one node by the float reference, as a graph of its own; `b` is the second input of additions and products.
 */
static EffStatus run_node(const EffNode *node, EffShape in, EffShape out, const float *a, const float *b, float *dst)
{
    const size_t n = eff_shape_count(out), c = (size_t)out.c;
    if (node->op == EFF_OP_ADD || node->op == EFF_OP_MUL) {
        for (size_t i = 0; i < n; i++)
            dst[i] = node->op == EFF_OP_ADD ? a[i] + b[i] : a[i] * b[i % c];
        return EFF_OK;
    }
    if (node->op == EFF_OP_BATCHNORM) {
        for (size_t i = 0; i < n; i++) {
            const size_t k = i % c;
            const float scale = node->bn.gamma.data[k] / sqrtf(node->bn.var.data[k] + node->bn.eps);
            dst[i] = (a[i] - node->bn.mean.data[k]) * scale + node->bn.beta.data[k];
        }
        return EFF_OK;
    }
    EffGraph *g = NULL;
    EffReference *reference = NULL;
    EffReferenceSession *session = NULL;
    EffNode alone = *node;
    alone.in[0] = 0;
    int value = 0;
    EffStatus st = eff_graph_create(&g, "node", in);
    if (st == EFF_OK)
        st = eff_graph_add_node(g, &alone, &value);
    if (st == EFF_OK) {
        g->output = value;
        st = eff_graph_infer_shapes(g);
    }
    if (st == EFF_OK)
        st = eff_reference_create(&reference, g, NULL);
    if (st == EFF_OK)
        st = eff_reference_session_create(&session, reference, 1);
    if (st == EFF_OK)
        eff_reference_run(session, a, dst);
    eff_reference_session_free(session);
    eff_reference_free(reference);
    for (int i = 0; g != NULL && i < g->n_nodes; i++) { /* the parameters are borrowed */
        g->nodes[i].conv = (EffConv){0};
        g->nodes[i].bn = (EffBatchNorm){0};
    }
    eff_graph_free(g);
    return st;
}

static EffStatus draw_node(EffGraph *g, int i, EffRng *rng, float **values)
{
    EffNode *node = &g->nodes[i];
    const EffShape in = g->values[node->in[0]].shape, out = g->values[node->out].shape;
    const float *a = values[node->in[0]], *b = node->n_inputs > 1 ? values[node->in[1]] : NULL;
    EffStatus st = EFF_OK;
    if (node->op == EFF_OP_CONV)
        st = draw_conv(&node->conv, rng);
    else if (node->op == EFF_OP_BATCHNORM)
        st = draw_batchnorm(&node->bn, rng, a, (size_t)in.h * (size_t)in.w);
    float *dst = eff_malloc(eff_shape_count(out) * sizeof *dst);
    if (st == EFF_OK && dst == NULL)
        st = eff_fail_nomem(eff_shape_count(out) * sizeof *dst, "activations");
    if (st == EFF_OK)
        st = run_node(node, in, out, a, b, dst);
    values[node->out] = dst;
    for (int k = 0; k < node->n_inputs; k++) { /* the last reader frees it */
        bool later = false;
        for (int n = i + 1; n < g->n_nodes; n++) {
            for (int m = 0; m < g->nodes[n].n_inputs; m++)
                later |= g->nodes[n].in[m] == node->in[k];
        }
        if (!later) {
            eff_free(values[node->in[k]]);
            values[node->in[k]] = NULL;
        }
    }
    return st;
}

EffStatus eff_graph_randomize(EffGraph *g, uint64_t seed)
{
    const EffShape in = g->values[g->input].shape;
    EffRng rng;
    eff_rng_init(&rng, seed);
    uint8_t *pixels = eff_malloc((size_t)in.h * (size_t)in.w * 3);
    float **values = eff_calloc((size_t)g->n_values, sizeof *values);
    EffStatus st =
        pixels != NULL && values != NULL ? EFF_OK : eff_fail_nomem((size_t)in.h * (size_t)in.w * 3, "pixels");
    if (st == EFF_OK) {
        values[g->input] = eff_malloc(eff_shape_count(in) * sizeof **values);
        if (values[g->input] == NULL)
            st = eff_fail_nomem(eff_shape_count(in) * sizeof **values, "pixels");
    }
    if (st == EFF_OK) {
        eff_synthetic_picture(pixels, in.h, seed);
        eff_graph_normalize(g, values[g->input], pixels);
    }
    for (int i = 0; i < g->n_nodes && st == EFF_OK; i++)
        st = draw_node(g, i, &rng, values);
    for (int v = 0; values != NULL && v < g->n_values; v++)
        eff_free(values[v]);
    eff_free(values);
    eff_free(pixels);
    return st;
}
