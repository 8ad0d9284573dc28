/* SPDX-License-Identifier: Apache-2.0 */
/* What each operator on a picture becomes in the graph IR. */
#include "import/onnx/onnx_lower_ops.h"
#include "base/mem.h"
#include "base/status.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* The node's input i in the graph, or -1. */
static int source(const EffOnnxLowerer *l, const EffOnnxNode *node, int i)
{
    const int v = eff_onnx_in(l->m, node, i);
    return v >= 0 ? l->spots[v].value : -1;
}

static const EffOnnxTensor *tensor(const EffOnnxLowerer *l, const EffOnnxNode *node, int i)
{
    const int v = eff_onnx_in(l->m, node, i);
    return v >= 0 ? &l->m->values[v].t : NULL;
}

/* Weights are many, and nearly always float: this is where importing spends its time. */
static inline float element(const EffOnnxTensor *t, size_t i)
{
    float v;
    if (t->stored != EFF_ONNX_FLOAT)
        return (float)eff_onnx_get(t, i);
    memcpy(&v, t->data + i * sizeof v, sizeof v);
    return v;
}

/* Whether all are finite; no branches, so that compilers make vectors of it. */
static bool all_finite(const float *v, size_t n)
{
    float zero = 0;
    for (size_t i = 0; i < n; i++)
        zero = zero + v[i] * 0;
    return zero == 0;
}

static EffStatus not_finite(void)
{
    return eff_fail(EFF_ERR_FORMAT, "a weight that is not finite; train or export the model again");
}

/* Append a node, whose parameters become the graph's, with the output of ONNX node `from` in the axes given. */
static EffStatus append(EffOnnxLowerer *l, const EffOnnxNode *from, EffNode *node, EffShape shape, const int axis[3])
{
    char name[EFF_ONNX_MAX_NAME];
    if (shape.h < 1 || shape.w < 1 || shape.c < 1 || shape.h > EFF_PLAN_MAX_EXTENT || shape.w > EFF_PLAN_MAX_EXTENT ||
        shape.c > EFF_MAX_CHANNELS) {
        eff_node_free_params(node);
        return eff_fail(EFF_ERR_LIMIT, "a map of %dx%dx%d; at most %dx%dx%d", shape.h, shape.w, shape.c,
                        EFF_PLAN_MAX_EXTENT, EFF_PLAN_MAX_EXTENT, EFF_MAX_CHANNELS);
    }
    node->name = (char *)(uintptr_t)eff_onnx_node_name(name, l->m, from);
    int out;
    const EffStatus st = eff_graph_add_node(l->g, node, &out);
    if (st != EFF_OK) {
        eff_node_free_params(node);
        return st;
    }
    l->g->values[out].shape = shape;
    l->spots[eff_onnx_out(l->m, from, 0)] = (EffOnnxSpot){out, {axis[0], axis[1], axis[2]}};
    return EFF_OK;
}

static EffStatus load(EffParam *p, const EffOnnxTensor *t)
{
    const EffStatus st = eff_param_alloc(p, t->n);
    for (size_t i = 0; st == EFF_OK && i < t->n; i++)
        p->data[i] = element(t, i);
    return st == EFF_OK && !all_finite(p->data, p->n) ? not_finite() : st;
}

static const int nchw[3] = {2, 3, 1};

/* ---- Convolutions ---- */

static EffStatus check_conv(const EffOnnxWindow *w)
{
    if (w->n != 2)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%d spatial axes; two are supported", w->n);
    if (w->dilation[0] != 1 || w->dilation[1] != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "dilation %lld x %lld; no network of the family dilates",
                        (long long)w->dilation[0], (long long)w->dilation[1]);
    if (w->stride[0] != w->stride[1] || w->stride[0] > 64 || w->kernel[0] > 64 || w->kernel[1] > 64)
        return eff_fail(EFF_ERR_UNSUPPORTED, "kernel %lld x %lld, strides %lld x %lld; equal strides, up to 64",
                        (long long)w->kernel[0], (long long)w->kernel[1], (long long)w->stride[0],
                        (long long)w->stride[1]);
    for (int i = 0; i < 2; i++) {
        if (w->before[i] > 64 || w->after[i] > 64)
            return eff_fail(EFF_ERR_UNSUPPORTED, "pads beyond 64");
    }
    return EFF_OK;
}

/* [O][I][KH][KW] to [O][KH][KW][I] */
static EffStatus load_kernel(EffConv *c, const EffOnnxTensor *t)
{
    EffStatus st = eff_param_alloc(&c->wgt, t->n);
    const size_t taps = (size_t)c->kernel_h * (size_t)c->kernel_w, in = (size_t)(c->in_ch / c->groups);
    for (size_t o = 0, j = 0; st == EFF_OK && o < (size_t)c->out_ch; o++) {
        for (size_t i = 0; i < in; i++) {
            for (size_t k = 0; k < taps; k++)
                c->wgt.data[(o * taps + k) * in + i] = element(t, j++);
        }
    }
    return st == EFF_OK && !all_finite(c->wgt.data, c->wgt.n) ? not_finite() : st;
}

static EffStatus lower_conv(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const EffOnnxTensor *x = tensor(l, node, 0), *wgt = tensor(l, node, 1), *bias = tensor(l, node, 2);
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t;
    EffOnnxWindow w;
    EffStatus st = eff_onnx_window(&w, node, x, wgt->dims + 2);
    if (st == EFF_OK)
        st = check_conv(&w);
    if (st != EFF_OK)
        return st;
    if (wgt->data == NULL || (bias != NULL && bias->data == NULL))
        return eff_fail(EFF_ERR_UNSUPPORTED, "weights that depend on the picture; export the model in evaluation mode");
    if (!eff_onnx_spots_fit(l, eff_onnx_in(l->m, node, 0), 2, 3, 1))
        return eff_fail(EFF_ERR_UNSUPPORTED, "its input is not in the order NCHW; simplify the model (onnxsim)");
    if (y->n == 0 || x->dims[1] > EFF_MAX_CHANNELS || wgt->dims[0] > EFF_MAX_CHANNELS)
        return eff_fail(EFF_ERR_LIMIT, "no channels, or more than %d", EFF_MAX_CHANNELS);
    EffNode n = {.op = EFF_OP_CONV, .n_inputs = 1, .in = {source(l, node, 0)}};
    n.conv = (EffConv){.in_ch = (int)x->dims[1],
                       .out_ch = (int)wgt->dims[0],
                       .groups = (int)eff_onnx_int(node, "group", 1),
                       .kernel_h = (int)w.kernel[0],
                       .kernel_w = (int)w.kernel[1],
                       .stride = (int)w.stride[0],
                       .pad_top = (int)w.before[0],
                       .pad_left = (int)w.before[1],
                       .pad_bottom = (int)w.after[0],
                       .pad_right = (int)w.after[1],
                       .has_bias = bias != NULL};
    if (n.conv.groups != 1 && !eff_conv_is_depthwise(&n.conv))
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "%d groups for %d channels; dense and depthwise convolutions are supported", n.conv.groups,
                        n.conv.in_ch);
    st = load_kernel(&n.conv, wgt);
    if (st == EFF_OK && bias != NULL)
        st = load(&n.conv.bias, bias);
    if (st != EFF_OK) {
        eff_node_free_params(&n);
        return st;
    }
    return append(l, node, &n, (EffShape){(int)y->dims[2], (int)y->dims[3], (int)y->dims[1]}, nchw);
}

/* x [..., n] times b, as a 1x1 convolution of a 1x1 map. */
static EffStatus lower_matrix(EffOnnxLowerer *l, const EffOnnxNode *node, bool gemm)
{
    const EffOnnxTensor *b = tensor(l, node, 1), *bias = gemm ? tensor(l, node, 2) : NULL;
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t, *x = tensor(l, node, 0);
    const bool tb = gemm && eff_onnx_int(node, "transB", 0) != 0;
    const double alpha = gemm ? eff_onnx_float(node, "alpha", 1) : 1, beta = gemm ? eff_onnx_float(node, "beta", 1) : 1;
    if (source(l, node, 0) < 0 || b->data == NULL || (bias != NULL && bias->data == NULL))
        return eff_fail(EFF_ERR_UNSUPPORTED, "a product of two values that both depend on the picture");
    const EffShape in = l->g->values[source(l, node, 0)].shape;
    if (b->rank != 2 || (gemm && eff_onnx_int(node, "transA", 0) != 0))
        return eff_fail(EFF_ERR_UNSUPPORTED, "a product that is no fully connected layer");
    if (in.h != 1 || in.w != 1 || in.c != b->dims[tb] || x->n != (size_t)in.c || y->n == 0 || y->n > EFF_MAX_CHANNELS)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a fully connected layer on a map of %d x %d; pool it first", in.h, in.w);
    EffNode n = {.op = EFF_OP_CONV, .n_inputs = 1, .in = {source(l, node, 0)}};
    n.conv = (EffConv){.in_ch = in.c,
                       .out_ch = (int)y->n,
                       .groups = 1,
                       .kernel_h = 1,
                       .kernel_w = 1,
                       .stride = 1,
                       .has_bias = bias != NULL};
    const size_t n_out = y->n, n_in = (size_t)in.c;
    if (bias != NULL && bias->n != n_out && bias->n != 1)
        return eff_onnx_misfit("a bias of another number of outputs");
    EffStatus st = eff_param_alloc(&n.conv.wgt, n_out * n_in);
    for (size_t o = 0; st == EFF_OK && o < n_out; o++) {
        for (size_t i = 0; i < n_in; i++)
            n.conv.wgt.data[o * n_in + i] = (float)(alpha * (double)element(b, tb ? o * n_in + i : i * n_out + o));
    }
    if (st == EFF_OK && bias != NULL && (st = eff_param_alloc(&n.conv.bias, n_out)) == EFF_OK) {
        for (size_t o = 0; o < n_out; o++)
            n.conv.bias.data[o] = (float)(beta * eff_onnx_get(bias, bias->n == 1 ? 0 : o));
    }
    if (st == EFF_OK && !(all_finite(n.conv.wgt.data, n.conv.wgt.n) && all_finite(n.conv.bias.data, n.conv.bias.n)))
        st = not_finite();
    if (st != EFF_OK) {
        eff_node_free_params(&n);
        return st;
    }
    return append(l, node, &n, (EffShape){1, 1, (int)n_out}, (const int[3]){-1, -1, y->rank - 1});
}

/* ---- Per channel: x * k + b ---- */

/* BatchNorm with variance 1 and epsilon 0: what a product or a sum with a constant is. */
static EffStatus affine(EffNode *n, int n_ch)
{
    const size_t c = (size_t)n_ch;
    EffBatchNorm *bn = &n->bn;
    EffStatus st = eff_param_alloc(&bn->gamma, c);
    if (st == EFF_OK)
        st = eff_param_alloc(&bn->beta, c);
    if (st == EFF_OK)
        st = eff_param_alloc(&bn->mean, c);
    if (st == EFF_OK)
        st = eff_param_alloc(&bn->var, c);
    for (size_t i = 0; st == EFF_OK && i < c; i++)
        bn->gamma.data[i] = bn->var.data[i] = 1;
    return st;
}

static EffStatus lower_batchnorm(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    EffNode n = {.op = EFF_OP_BATCHNORM, .n_inputs = 1, .in = {source(l, node, 0)}};
    EffParam *const params[] = {&n.bn.gamma, &n.bn.beta, &n.bn.mean, &n.bn.var};
    const int x = eff_onnx_in(l->m, node, 0);
    const EffOnnxSpot *s = &l->spots[x];
    const EffShape shape = l->g->values[s->value].shape;
    n.bn.eps = (float)eff_onnx_float(node, "epsilon", (double)1e-5f);
    if (shape.c != 1 && s->axis[2] != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "its channels are not on axis 1; simplify the model (onnxsim)");
    EffStatus st = EFF_OK;
    for (int i = 0; i < 4 && st == EFF_OK; i++) {
        const EffOnnxTensor *t = tensor(l, node, i + 1);
        st = t->data != NULL && t->n == (size_t)shape.c
                 ? load(params[i], t)
                 : eff_fail(EFF_ERR_UNSUPPORTED, "statistics that depend on the picture; export in evaluation mode");
    }
    for (size_t i = 0; st == EFF_OK && i < n.bn.var.n; i++) {
        if (!(n.bn.var.data[i] >= 0) || !(n.bn.eps >= 0) || (double)n.bn.var.data[i] + (double)n.bn.eps <= 0)
            st = eff_fail(EFF_ERR_FORMAT, "a variance that is not positive; train the model again");
    }
    if (st != EFF_OK) {
        eff_node_free_params(&n);
        return st;
    }
    return append(l, node, &n, shape, s->axis);
}

typedef enum Sign { ADD, SUB, MUL, DIV } Sign;

/* Element of a constant for channel c of value v; false if it is not the same all over a channel. */
static bool per_channel(const EffOnnxLowerer *l, int v, const EffOnnxTensor *t, int c, double *out)
{
    const EffOnnxTensor *x = &l->m->values[v].t;
    const int axis = l->spots[v].axis[2], own = axis - (x->rank - t->rank);
    if (t->n == 1) {
        *out = eff_onnx_get(t, 0);
        return true;
    }
    if (axis < 0 || own < 0 || t->rank > x->rank || t->n != (size_t)t->dims[own])
        return false;
    *out = eff_onnx_get(t, (size_t)c);
    return true;
}

static EffStatus lower_constant_pair(EffOnnxLowerer *l, const EffOnnxNode *node, Sign sign, int which)
{
    const int v = eff_onnx_in(l->m, node, which);
    const EffOnnxTensor *t = tensor(l, node, !which), *x = &l->m->values[v].t;
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t;
    const EffOnnxSpot s = l->spots[v];
    const EffShape shape = l->g->values[s.value].shape;
    EffNode n = {.op = EFF_OP_BATCHNORM, .n_inputs = 1, .in = {s.value}};
    if (y->n != x->n || y->rank != x->rank)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a constant that is larger than what depends on the picture");
    if (sign == DIV && which == 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a division by what depends on the picture");
    EffStatus st = affine(&n, shape.c);
    for (int c = 0; c < shape.c && st == EFF_OK; c++) {
        double k;
        if (!per_channel(l, v, t, c, &k)) {
            st = eff_fail(EFF_ERR_UNSUPPORTED,
                          "a constant that differs from pixel to pixel; one number a channel is fine");
            break;
        }
        float *gamma = &n.bn.gamma.data[c], *beta = &n.bn.beta.data[c];
        *gamma = (float)(sign == MUL ? k : sign == DIV ? 1 / k : sign == SUB && which == 1 ? -1 : 1);
        *beta = (float)(sign == ADD || (sign == SUB && which == 1) ? k : sign == SUB ? -k : 0);
        if (!isfinite(*gamma) || !isfinite(*beta))
            st = eff_fail(EFF_ERR_FORMAT, "a constant that is not finite; export the model again");
    }
    if (st != EFF_OK) {
        eff_node_free_params(&n);
        return st;
    }
    return append(l, node, &n, shape, s.axis);
}

/* Where an axis of a value comes to lie when it is broadcast to `rank`. */
static int shifted(int axis, const EffOnnxTensor *t, int rank)
{
    return axis < 0 ? -1 : axis + rank - t->rank;
}

static EffStatus lower_pair(EffOnnxLowerer *l, const EffOnnxNode *node, Sign sign)
{
    const int a = source(l, node, 0), b = source(l, node, 1);
    if (a < 0 || b < 0)
        return lower_constant_pair(l, node, sign, a < 0);
    if (sign == SUB || sign == DIV)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "of two values that both depend on the picture; only sums and products are");
    const EffShape sa = l->g->values[a].shape, sb = l->g->values[b].shape;
    const EffOnnxTensor *ta = tensor(l, node, 0), *tb = tensor(l, node, 1);
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t;
    const bool gate_first = sa.h * sa.w < sb.h * sb.w, same = sa.h == sb.h && sa.w == sb.w && sa.c == sb.c;
    const EffOnnxSpot *wide = &l->spots[eff_onnx_in(l->m, node, gate_first)];
    const EffOnnxSpot *gate = &l->spots[eff_onnx_in(l->m, node, !gate_first)];
    const EffOnnxTensor *tw = gate_first ? tb : ta, *tg = gate_first ? ta : tb;
    const EffShape sw = gate_first ? sb : sa, sg = gate_first ? sa : sb;
    bool fits = sa.c == sb.c && (same || (sign == MUL && sg.h == 1 && sg.w == 1));
    for (int i = 0; i < 3; i++) {
        const bool long_axis = i == 0 ? sg.h > 1 : i == 1 ? sg.w > 1 : sg.c > 1;
        fits = fits && (!long_axis || shifted(wide->axis[i], tw, y->rank) == shifted(gate->axis[i], tg, y->rank));
    }
    if (!fits || y->n != tw->n)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "maps of %dx%dx%d and %dx%dx%d; equal ones are, and products with a channel's gate", sa.h, sa.w,
                        sa.c, sb.h, sb.w, sb.c);
    EffNode n = {.op = sign == ADD ? EFF_OP_ADD : EFF_OP_MUL, .n_inputs = 2, .in = {wide->value, gate->value}};
    const int axis[3] = {shifted(wide->axis[0], tw, y->rank), shifted(wide->axis[1], tw, y->rank),
                         shifted(wide->axis[2], tw, y->rank)};
    return append(l, node, &n, sw, axis);
}

/* ---- Activations ---- */

static EffStatus lower_act(EffOnnxLowerer *l, const EffOnnxNode *node, int v, EffActivation act)
{
    const EffOnnxSpot s = l->spots[v];
    EffNode n = {.op = EFF_OP_ACT, .n_inputs = 1, .in = {s.value}, .act = act};
    return append(l, node, &n, l->g->values[s.value].shape, s.axis);
}

/* relu6(x + 3) / 6: as nodes that the passes know, the last under the node's name. */
static EffStatus lower_hard_sigmoid(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const EffOnnxSpot s = l->spots[eff_onnx_in(l->m, node, 0)];
    const EffShape shape = l->g->values[s.value].shape;
    const int y = eff_onnx_out(l->m, node, 0);
    const double alpha = eff_onnx_float(node, "alpha", (double)0.2f), beta = eff_onnx_float(node, "beta", 0.5);
    if (fabs(alpha - 1.0 / 6) > 1e-5 || beta != 0.5)
        return eff_fail(EFF_ERR_UNSUPPORTED, "alpha %g and beta %g; 1/6 and 0.5 are supported", alpha, beta);
    for (int i = 0; i < 3; i++) {
        EffNode n = {
            .op = i == 1 ? EFF_OP_ACT : EFF_OP_BATCHNORM, .n_inputs = 1, .act = i == 1 ? EFF_ACTIVATION_RELU6 : 0};
        n.in[0] = i == 0 ? s.value : l->spots[y].value;
        EffStatus st = i == 1 ? EFF_OK : affine(&n, shape.c);
        for (int c = 0; c < shape.c && st == EFF_OK && i != 1; c++) {
            n.bn.gamma.data[c] = i == 0 ? 1 : (float)(1.0 / 6);
            n.bn.beta.data[c] = i == 0 ? 3 : 0;
        }
        if (st != EFF_OK)
            eff_node_free_params(&n);
        else
            st = append(l, node, &n, shape, s.axis);
        if (st != EFF_OK)
            return st;
    }
    return EFF_OK;
}

/* Whether the only reader of a node's output is Max(it, 0). */
static bool max_with_zero_follows(const EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const EffOnnxModel *m = l->m;
    const int y = eff_onnx_out(m, node, 0);
    for (int i = 0; m->values[y].n_consumers == 1 && i < m->n_nodes; i++) {
        const EffOnnxNode *next = &m->nodes[i];
        for (int k = 0; k < next->n_inputs; k++) {
            if (eff_onnx_in(m, next, k) != y)
                continue;
            const int other = eff_onnx_in(m, next, !k);
            return eff_onnx_is(next, "Max") && next->n_inputs == 2 && other >= 0 && m->values[other].t.data != NULL &&
                   m->values[other].t.n == 1 && eff_onnx_get(&m->values[other].t, 0) == 0;
        }
    }
    return false;
}

/* ---- Models that are quantized already ---- */

/* Append `n`, an EFF_OP_ROUND that has its table, or free it after a failure. */
static EffStatus append_round(EffOnnxLowerer *l, const EffOnnxNode *node, EffNode *n, int v, EffStatus st)
{
    const EffOnnxSpot s = l->spots[v];
    if (st != EFF_OK) {
        eff_node_free_params(n);
        return st;
    }
    return append(l, node, n, l->g->values[s.value].shape, s.axis);
}

static EffNode round_of(const EffOnnxLowerer *l, int v)
{
    return (EffNode){.op = EFF_OP_ROUND, .n_inputs = 1, .in = {l->spots[v].value}};
}

static EffStatus lower_floor(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int v = eff_onnx_in(l->m, node, 0);
    EffNode n = round_of(l, v);
    const EffStatus st = eff_round_init(&n.round, EFF_ROUNDING_FLOOR, l->g->values[n.in[0]].shape.c);
    return append_round(l, node, &n, v, st);
}

/* Bounds a channel: either may be NULL. */
static EffStatus lower_clamp(EffOnnxLowerer *l, const EffOnnxNode *node, int v, const EffOnnxTensor *low,
                             const EffOnnxTensor *high)
{
    const EffOnnxTensor *x = &l->m->values[v].t, *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t;
    EffNode n = round_of(l, v);
    const int n_ch = l->g->values[n.in[0]].shape.c;
    if (y->n != x->n || y->rank != x->rank)
        return eff_fail(EFF_ERR_UNSUPPORTED, "bounds that are larger than what depends on the picture");
    EffStatus st = eff_round_init(&n.round, EFF_ROUNDING_NONE, n_ch);
    for (int c = 0; c < n_ch && st == EFF_OK; c++) {
        double a = -(double)FLT_MAX, b = (double)FLT_MAX;
        if ((low != NULL && !per_channel(l, v, low, c, &a)) || (high != NULL && !per_channel(l, v, high, c, &b)))
            st = eff_fail(EFF_ERR_UNSUPPORTED, "bounds that differ from pixel to pixel; one number a channel is fine");
        else if (isnan(a) || isnan(b))
            st = not_finite();
        eff_round_row(&n.round, EFF_ROUND_LOW)[c] = (float)fmax(a, -(double)FLT_MAX);
        eff_round_row(&n.round, EFF_ROUND_HIGH)[c] = (float)fmin(b, (double)FLT_MAX);
    }
    return append_round(l, node, &n, v, st);
}

/* QuantizeLinear: integers, as floats. DequantizeLinear: (q - zero) * scale. */
static EffStatus lower_quantize(EffOnnxLowerer *l, const EffOnnxNode *node, bool back)
{
    static const double least[] = {
        [EFF_ONNX_UINT8] = 0, [EFF_ONNX_INT8] = INT8_MIN, [EFF_ONNX_UINT16] = 0, [EFF_ONNX_INT16] = INT16_MIN};
    static const double most[] = {[EFF_ONNX_UINT8] = UINT8_MAX,
                                  [EFF_ONNX_INT8] = INT8_MAX,
                                  [EFF_ONNX_UINT16] = UINT16_MAX,
                                  [EFF_ONNX_INT16] = INT16_MAX};
    const int v = eff_onnx_in(l->m, node, 0), channel = l->spots[v].axis[2];
    const EffOnnxTensor *x = tensor(l, node, 0), *scale = tensor(l, node, 1), *zero = tensor(l, node, 2);
    const EffOnnxType type = back ? x->type : l->m->values[eff_onnx_out(l->m, node, 0)].t.type;
    EffNode n = round_of(l, v);
    const int n_ch = l->g->values[n.in[0]].shape.c;
    int axis = -1;
    if (scale->data == NULL || (zero != NULL && zero->data == NULL))
        return eff_fail(EFF_ERR_UNSUPPORTED, "scales that depend on the picture; quantize the model statically");
    if (type < EFF_ONNX_UINT8 || type > EFF_ONNX_INT16)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s activations; 8 and 16 bits are", eff_onnx_type_name((int)type));
    if (scale->n != 1 && (!eff_onnx_axis(eff_onnx_int(node, "axis", 1), x->rank, &axis) ||
                          (n_ch > 1 && axis != channel) || scale->n != (size_t)n_ch))
        return eff_fail(EFF_ERR_UNSUPPORTED, "scales along another axis than the channels");
    EffStatus st = eff_round_init(&n.round, back ? EFF_ROUNDING_NONE : EFF_ROUNDING_EVEN, n_ch);
    for (int c = 0; c < n_ch && st == EFF_OK; c++) {
        const size_t at = scale->n == 1 ? 0 : (size_t)c;
        const double z = zero != NULL ? (double)eff_onnx_get_int(zero, at) : 0;
        const float step = (float)eff_onnx_get(scale, at);
        if (!(step > 0) || !isfinite(step))
            st = eff_fail(EFF_ERR_FORMAT, "a scale of %g; positive ones are valid", (double)step);
        eff_round_row(&n.round, back ? EFF_ROUND_MUL : EFF_ROUND_DIV)[c] = step;
        eff_round_row(&n.round, EFF_ROUND_ADD)[c] = (float)(back ? -z : z);
        if (!back) {
            eff_round_row(&n.round, EFF_ROUND_LOW)[c] = (float)(least[type] - z);
            eff_round_row(&n.round, EFF_ROUND_HIGH)[c] = (float)(most[type] - z);
        }
    }
    return append_round(l, node, &n, v, st);
}

/* ---- Ranges ---- */

static EffStatus lower_range(EffOnnxLowerer *l, const EffOnnxNode *node, int v, double low, double high)
{
    const EffGraph *g = l->g;
    const int p = g->values[l->spots[v].value].producer;
    const bool after_relu = p >= 0 && g->nodes[p].op == EFF_OP_ACT && g->nodes[p].act == EFF_ACTIVATION_RELU;
    if ((low == 0 || (low < 0 && after_relu)) && high == 6)
        return lower_act(l, node, v, EFF_ACTIVATION_RELU6);
    if (low == 0 && high > (double)3.4e38f)
        return lower_act(l, node, v, EFF_ACTIVATION_RELU);
    if (high == 6 && low < 0 && max_with_zero_follows(l, node)) /* min first: relu6 already, which the Max keeps */
        return lower_act(l, node, v, EFF_ACTIVATION_RELU6);
    return eff_fail(EFF_ERR_UNSUPPORTED, "bounds %g and %g; 0 and 6, or 0 alone, are supported", low, high);
}

static EffStatus lower_clip(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    double bound[2] = {eff_onnx_float(node, "min", -INFINITY), eff_onnx_float(node, "max", INFINITY)};
    for (int i = 0; i < 2; i++) {
        const EffOnnxTensor *t = tensor(l, node, i + 1);
        if (t != NULL && t->data == NULL)
            return eff_fail(EFF_ERR_UNSUPPORTED, "bounds that depend on the picture");
        if (t != NULL)
            bound[i] = eff_onnx_get(t, 0);
    }
    if (l->rounds && !(bound[0] == 0 && (bound[1] == 6 || bound[1] > (double)FLT_MAX))) {
        const EffOnnxTensor *low = tensor(l, node, 1), *high = tensor(l, node, 2);
        if (low != NULL || high != NULL)
            return lower_clamp(l, node, eff_onnx_in(l->m, node, 0), low, high);
    }
    return lower_range(l, node, eff_onnx_in(l->m, node, 0), bound[0], bound[1]);
}

/* Max(x, 0) and Min(x, 6), in either order of their inputs. */
static EffStatus lower_bound(EffOnnxLowerer *l, const EffOnnxNode *node, bool upper)
{
    const int which = source(l, node, 0) >= 0 ? 0 : 1;
    const EffOnnxTensor *t = tensor(l, node, !which);
    if (l->rounds && node->n_inputs == 2 && source(l, node, which) >= 0 && t->data != NULL)
        return lower_clamp(l, node, eff_onnx_in(l->m, node, which), upper ? NULL : t, upper ? t : NULL);
    if (node->n_inputs != 2 || source(l, node, which) < 0 || t->data == NULL || t->n != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "of other than a value and a number");
    const double v = eff_onnx_get(t, 0);
    return lower_range(l, node, eff_onnx_in(l->m, node, which), upper ? -INFINITY : v, upper ? v : INFINITY);
}

/* ---- Pools ---- */

static EffStatus lower_global_pool(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int v = eff_onnx_in(l->m, node, 0);
    const EffOnnxSpot s = l->spots[v];
    const EffOnnxTensor *x = &l->m->values[v].t, *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t;
    const EffShape shape = l->g->values[s.value].shape;
    if (!eff_onnx_is(node, "ReduceMean") && !eff_onnx_spots_fit(l, v, 2, 3, 1))
        return eff_fail(EFF_ERR_UNSUPPORTED, "its input is not in the order NCHW; simplify the model (onnxsim)");
    /* What is left must be the channels. */
    if (y->n != (size_t)shape.c || x->n != (size_t)shape.h * (size_t)shape.w * y->n)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a mean over other axes than rows and columns");
    int channel = -1;
    for (int i = 0; i < y->rank; i++)
        channel = y->dims[i] != 1 ? i : channel;
    /* The mean over rows and columns keeps channels apart: axes that vanish are those two. */
    if (eff_onnx_is(node, "ReduceMean")) {
        int64_t axes[EFF_MAX_RANK];
        int n = eff_onnx_ints(node, "axes", axes, EFF_MAX_RANK);
        const EffOnnxTensor *list = n < 0 ? tensor(l, node, 1) : NULL; /* known, where the shape needed it */
        for (int i = 0; list != NULL && list->data != NULL && i < (int)list->n && i < EFF_MAX_RANK; i++)
            axes[(n = i + 1) - 1] = eff_onnx_get_int(list, (size_t)i);
        for (int i = 0; i < n; i++) {
            int axis;
            if (shape.c > 1 && (!eff_onnx_axis(axes[i], x->rank, &axis) || axis == s.axis[2]))
                return eff_fail(EFF_ERR_UNSUPPORTED, "a mean over the channels");
        }
    }
    EffNode n = {.op = EFF_OP_GLOBAL_AVGPOOL, .n_inputs = 1, .in = {s.value}};
    return append(l, node, &n, (EffShape){1, 1, shape.c}, (const int[3]){-1, -1, channel});
}

/* An average over the whole map is a global one. */
static EffStatus lower_average_pool(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const EffOnnxTensor *x = tensor(l, node, 0);
    EffOnnxWindow w;
    const EffStatus st = eff_onnx_window(&w, node, x, NULL);
    if (st != EFF_OK)
        return st;
    for (int i = 0; i < w.n; i++) {
        if (w.kernel[i] != x->dims[i + 2] || w.before[i] != 0 || w.after[i] != 0 || w.out[i] != 1)
            return eff_fail(EFF_ERR_UNSUPPORTED, "a pool of %lld x %lld; means over the whole map are supported",
                            (long long)w.kernel[0], (long long)w.kernel[w.n - 1]);
    }
    return lower_global_pool(l, node);
}

/* ---- Ends of networks ---- */

/* Softmax as the last node changes no order of classes, and the program takes logits: it is left out. */
static EffStatus lower_softmax(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int y = eff_onnx_out(l->m, node, 0), x = eff_onnx_in(l->m, node, 0);
    const EffShape shape = l->g->values[l->spots[x].value].shape;
    if (l->m->values[y].n_consumers != 1 || y != l->m->output || shape.h != 1 || shape.w != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "inside the network; only as its last node, where it is left out");
    l->spots[y] = l->spots[x];
    return EFF_OK;
}

/* Zeros around a map; a pass makes them the padding of the convolutions that read it. */
static EffStatus lower_pad(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int v = eff_onnx_in(l->m, node, 0);
    const EffOnnxSpot s = l->spots[v];
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t, *list = tensor(l, node, 1);
    const EffOnnxTensor *fill = tensor(l, node, 2), *axes = tensor(l, node, 3), *x = &l->m->values[v].t;
    const EffShape shape = l->g->values[s.value].shape;
    int64_t pads[2 * EFF_MAX_RANK], before[EFF_MAX_RANK] = {0}, after[EFF_MAX_RANK] = {0};
    int n = eff_onnx_ints(node, "pads", pads, 2 * EFF_MAX_RANK);
    if ((list != NULL && list->data == NULL) || (fill != NULL && fill->data == NULL) ||
        (axes != NULL && (axes->data == NULL || list == NULL || 2 * axes->n != list->n)))
        return eff_fail(EFF_ERR_UNSUPPORTED, "pads, a fill value or axes that depend on the picture, or do not fit");
    if (list != NULL && list->n <= 2 * EFF_MAX_RANK) {
        n = (int)list->n;
        for (int i = 0; i < n; i++)
            pads[i] = eff_onnx_get_int(list, (size_t)i);
    }
    for (int i = 0; i < n / 2; i++) {
        int axis = i;
        if (axes != NULL && !eff_onnx_axis(eff_onnx_get_int(axes, (size_t)i), x->rank, &axis))
            return eff_onnx_misfit("an axis outside the tensor");
        before[axis] = pads[i];
        after[axis] = pads[i + n / 2];
    }
    const EffWire mode = eff_onnx_string(node, "mode");
    const double value = fill != NULL && fill->n > 0 ? eff_onnx_get(fill, 0) : eff_onnx_float(node, "value", 0);
    bool fits = (mode.at == NULL || eff_wire_is(mode, "constant")) && value == 0 && y->n > 0;
    for (int i = 0; i < x->rank; i++) {
        const bool spatial = i == s.axis[0] || i == s.axis[1];
        fits = fits && before[i] >= 0 && after[i] >= 0 && before[i] <= 64 && after[i] <= 64 &&
               (spatial || (before[i] == 0 && after[i] == 0));
    }
    if (!fits)
        return eff_fail(EFF_ERR_UNSUPPORTED, "other pads than up to 64 zeros around a map");
    const int r = s.axis[0], c = s.axis[1];
    EffNode n_pad = {.op = EFF_OP_PAD, .n_inputs = 1, .in = {s.value}};
    n_pad.conv = (EffConv){.pad_top = r >= 0 ? (int)before[r] : 0,
                           .pad_bottom = r >= 0 ? (int)after[r] : 0,
                           .pad_left = c >= 0 ? (int)before[c] : 0,
                           .pad_right = c >= 0 ? (int)after[c] : 0};
    const EffConv *p = &n_pad.conv;
    return append(l, node, &n_pad,
                  (EffShape){shape.h + p->pad_top + p->pad_bottom, shape.w + p->pad_left + p->pad_right, shape.c},
                  s.axis);
}

EffStatus eff_onnx_lower_op(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    bool any = false, all = true;
    for (int i = 0; i < node->n_inputs; i++) {
        const EffOnnxTensor *t = tensor(l, node, i);
        any = any || source(l, node, i) >= 0;
        all = all && (t == NULL || source(l, node, i) >= 0 || t->data != NULL || t->n == 0);
    }
    if (!any || !all) /* one is of a blocked node: neither a map nor a constant */
        return eff_fail(EFF_ERR_UNSUPPORTED, "its inputs are not supported either");
    if (eff_onnx_is(node, "Add"))
        return lower_pair(l, node, ADD);
    if (eff_onnx_is(node, "Sub"))
        return lower_pair(l, node, SUB);
    if (eff_onnx_is(node, "Mul"))
        return lower_pair(l, node, MUL);
    if (eff_onnx_is(node, "Div"))
        return lower_pair(l, node, DIV);
    if (eff_onnx_is(node, "Min") || eff_onnx_is(node, "Max"))
        return lower_bound(l, node, eff_onnx_is(node, "Min"));
    if (source(l, node, 0) < 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "its first input does not depend on the picture, but another one does");
    if (eff_onnx_is(node, "Conv"))
        return lower_conv(l, node);
    if (eff_onnx_is(node, "Gemm") || eff_onnx_is(node, "MatMul"))
        return lower_matrix(l, node, eff_onnx_is(node, "Gemm"));
    if (eff_onnx_is(node, "BatchNormalization"))
        return lower_batchnorm(l, node);
    if (eff_onnx_is(node, "GlobalAveragePool") || eff_onnx_is(node, "ReduceMean"))
        return lower_global_pool(l, node);
    if (eff_onnx_is(node, "AveragePool"))
        return lower_average_pool(l, node);
    if (eff_onnx_is(node, "Clip"))
        return lower_clip(l, node);
    if (eff_onnx_is(node, "Pad"))
        return lower_pad(l, node);
    if (eff_onnx_is(node, "Softmax"))
        return lower_softmax(l, node);
    const int x = eff_onnx_in(l->m, node, 0);
    if (eff_onnx_is(node, "Relu"))
        return lower_act(l, node, x, EFF_ACTIVATION_RELU);
    if (eff_onnx_is(node, "Sigmoid"))
        return lower_act(l, node, x, EFF_ACTIVATION_SIGMOID);
    if (eff_onnx_is(node, "HardSigmoid"))
        return lower_hard_sigmoid(l, node);
    if (eff_onnx_is(node, "HardSwish"))
        return lower_act(l, node, x, EFF_ACTIVATION_HSWISH);
    if (eff_onnx_is(node, "QuantizeLinear") || eff_onnx_is(node, "DequantizeLinear"))
        return lower_quantize(l, node, eff_onnx_is(node, "DequantizeLinear"));
    if (eff_onnx_is(node, "Floor") && l->rounds)
        return lower_floor(l, node);
    return eff_fail(EFF_ERR_UNSUPPORTED, "on what depends on the picture; doc/onnx.md lists what is supported there");
}
