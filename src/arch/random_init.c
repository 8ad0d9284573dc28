/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights without training: convolutions drawn with variance 1 / fan-in, and every BatchNorm's statistics set to what
 * its input really has on seeded pictures, so that activations keep unit variance however deep the network is; its
 * gains are spread over a factor of 16, as in trained networks. Speed and the errors of quantization can be measured on
 * them; accuracy not.
 *
 * One picture is not enough: what its few pixels in the last stages happen to agree in varies on others, and divided by
 * so small a deviation grows from block to block, and every error with it. (B2 and one picture: the last activations of
 * other pictures have 50 times the deviation, and noise 40 dB below the stem's output leaves 3 dB of the logits.)
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

/* `x` has the pixels of all pictures. The mean square of the gains is 1. */
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
        bn->gamma.data[c] = exp2_small(4 * eff_rng_unit(rng) - 2) / 1.6953f; /* sqrt of the mean of 4^x in [-2, 2] */
        bn->beta.data[c] = 0.5f * bn->gamma.data[c] * eff_rng_normal(rng);
        bn->mean.data[c] = (float)mean;
        bn->var.data[c] = var > 1e-3 ? (float)var : 1e-3f;
    }
    return st;
}

typedef struct Drawing {
    EffGraph *graph;
    EffRng rng;
    size_t n_pictures;
    float **values; /* [n_values] of all pictures, one after another; NULL where no later node reads them */
} Drawing;

/* Output of one node by the float reference, as a graph of its own. */
static EffStatus run_alone(const EffNode *node, EffShape in, EffShape out, const float *src, float *dst, size_t n)
{
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
    for (size_t k = 0; st == EFF_OK && k < n; k++)
        eff_reference_run(session, src + k * eff_shape_count(in), dst + k * eff_shape_count(out));
    eff_reference_session_free(session);
    eff_reference_free(reference);
    for (int i = 0; g != NULL && i < g->n_nodes; i++) { /* the parameters are borrowed */
        g->nodes[i].conv = (EffConv){0};
        g->nodes[i].bn = (EffBatchNorm){0};
    }
    eff_graph_free(g);
    return st;
}

/* `a` and `b` the inputs; dst may be `a`. */
static EffStatus run_node(const Drawing *d, const EffNode *node, const float *a, const float *b, float *dst)
{
    const EffShape in = d->graph->values[node->in[0]].shape, out = d->graph->values[node->out].shape;
    const size_t n = eff_shape_count(out), c = (size_t)out.c, total = d->n_pictures * n;
    switch (node->op) {
    case EFF_OP_ADD:
        for (size_t i = 0; i < total; i++)
            dst[i] = a[i] + b[i];
        return EFF_OK;
    case EFF_OP_MUL: /* a gate a channel of each picture */
        for (size_t i = 0; i < total; i++)
            dst[i] = a[i] * b[i / n * c + i % c];
        return EFF_OK;
    case EFF_OP_BATCHNORM:
        for (size_t i = 0; i < total; i++) {
            const size_t k = i % c;
            const float scale = node->bn.gamma.data[k] / sqrtf(node->bn.var.data[k] + node->bn.eps);
            dst[i] = (a[i] - node->bn.mean.data[k]) * scale + node->bn.beta.data[k];
        }
        return EFF_OK;
    default: return run_alone(node, in, out, a, dst, d->n_pictures);
    }
}

static bool read_later(const EffGraph *g, int i, int value)
{
    for (int n = i + 1; n < g->n_nodes; n++) {
        for (int m = 0; m < g->nodes[n].n_inputs; m++) {
            if (g->nodes[n].in[m] == value)
                return true;
        }
    }
    return false;
}

static EffStatus alloc_value(Drawing *d, int value)
{
    const size_t n = d->n_pictures * eff_shape_count(d->graph->values[value].shape);
    d->values[value] = eff_malloc(n * sizeof **d->values);
    return d->values[value] != NULL ? EFF_OK : eff_fail_nomem(n * sizeof **d->values, "activations");
}

static EffStatus draw_node(Drawing *d, int i)
{
    EffGraph *g = d->graph;
    EffNode *node = &g->nodes[i];
    const EffShape in = g->values[node->in[0]].shape;
    float *a = d->values[node->in[0]];
    EffStatus st = EFF_OK;
    if (node->op == EFF_OP_CONV)
        st = draw_conv(&node->conv, &d->rng);
    else if (node->op == EFF_OP_BATCHNORM)
        st = draw_batchnorm(&node->bn, &d->rng, a, d->n_pictures * (size_t)in.h * (size_t)in.w);
    if (st != EFF_OK)
        return st;
    if (node->op == EFF_OP_BATCHNORM && !read_later(g, i, node->in[0])) { /* in place: the largest values are these */
        d->values[node->out] = a;
        d->values[node->in[0]] = NULL;
    } else {
        st = alloc_value(d, node->out);
    }
    if (st == EFF_OK)
        st = run_node(d, node, a, node->n_inputs > 1 ? d->values[node->in[1]] : NULL, d->values[node->out]);
    for (int k = 0; k < node->n_inputs; k++) {
        if (!read_later(g, i, node->in[k])) {
            eff_free(d->values[node->in[k]]);
            d->values[node->in[k]] = NULL;
        }
    }
    return st;
}

EffStatus eff_graph_randomize(EffGraph *g, uint64_t seed)
{
    const EffShape in = g->values[g->input].shape;
    Drawing d = {.graph = g, .n_pictures = in.h > 260 ? 4 : 8};
    eff_rng_init(&d.rng, seed);
    const size_t n_bytes = (size_t)in.h * (size_t)in.w * 3;
    uint8_t *pixels = eff_malloc(n_bytes);
    d.values = eff_calloc((size_t)g->n_values, sizeof *d.values);
    EffStatus st = pixels != NULL && d.values != NULL ? EFF_OK : eff_fail_nomem(n_bytes, "pixels");
    if (st == EFF_OK)
        st = alloc_value(&d, g->input);
    for (size_t k = 0; k < d.n_pictures && st == EFF_OK; k++) {
        st = eff_leaves_picture(pixels, in.h, seed * d.n_pictures + k);
        if (st == EFF_OK)
            eff_graph_normalize(g, d.values[g->input] + k * eff_shape_count(in), pixels);
    }
    for (int i = 0; i < g->n_nodes && st == EFF_OK; i++)
        st = draw_node(&d, i);
    for (int v = 0; d.values != NULL && v < g->n_values; v++)
        eff_free(d.values[v]);
    eff_free(d.values);
    eff_free(pixels);
    return st;
}
