/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions and fully connected layers of ONNX in the graph IR. */
#include "base/status.h"
#include "import/onnx/onnx_lower_ops.h"

static const int nchw[3] = {2, 3, 1};

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

/*
 * [O][I / groups][KH][KW] to [O][KH][KW][I / groups]. Groups of several channels become a dense convolution, whose
 * weights are 0 outside the blocks on the diagonal.
 */
static EffStatus load_kernel(EffOnnxLowerer *l, EffConv *c, const EffOnnxTensor *t)
{
    const size_t taps = (size_t)c->kernel_h * (size_t)c->kernel_w, in = (size_t)(c->in_ch / c->groups);
    const size_t outs = (size_t)(c->out_ch / c->groups);
    const bool blocks = c->groups != 1 && !eff_conv_is_depthwise(c);
    const size_t width = blocks ? (size_t)c->in_ch : in, n = (size_t)c->out_ch * taps * width;
    if (blocks && n > EFF_ONNX_MOST_WEIGHTS)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "%d groups of %zu channels are %zu weights without groups; up to %d are supported, so use a "
                        "narrower network",
                        c->groups, in, n, (int)EFF_ONNX_MOST_WEIGHTS);
    EffStatus st = blocks ? eff_onnx_make_weights(l, c, n, n - t->n) : eff_param_alloc(&c->wgt, n);
    for (size_t o = 0, j = 0; st == EFF_OK && o < (size_t)c->out_ch; o++) {
        const size_t first = blocks ? o / outs * in : 0;
        for (size_t i = first; i < first + in; i++) {
            for (size_t k = 0; k < taps; k++)
                c->wgt.data[(o * taps + k) * width + i] = eff_onnx_element(t, j++);
        }
    }
    if (blocks)
        c->groups = 1;
    return st == EFF_OK && !eff_onnx_all_finite(c->wgt.data, c->wgt.n) ? eff_onnx_not_finite() : st;
}

EffStatus eff_onnx_lower_conv(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const EffOnnxTensor *x = eff_onnx_operand(l, node, 0), *wgt = eff_onnx_operand(l, node, 1),
                        *bias = eff_onnx_operand(l, node, 2);
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
    EffNode n = {.op = EFF_OP_CONV, .n_inputs = 1, .in = {eff_onnx_source(l, node, 0)}};
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
    st = load_kernel(l, &n.conv, wgt);
    if (st == EFF_OK && bias != NULL)
        st = eff_onnx_load(&n.conv.bias, bias);
    if (st != EFF_OK) {
        eff_node_free_params(&n);
        return st;
    }
    return eff_onnx_append(l, node, &n, (EffShape){(int)y->dims[2], (int)y->dims[3], (int)y->dims[1]}, nchw);
}

/* x [..., n] times b, as a 1x1 convolution of a 1x1 map. */
EffStatus eff_onnx_lower_matrix(EffOnnxLowerer *l, const EffOnnxNode *node, bool gemm)
{
    const EffOnnxTensor *b = eff_onnx_operand(l, node, 1), *bias = gemm ? eff_onnx_operand(l, node, 2) : NULL;
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t, *x = eff_onnx_operand(l, node, 0);
    const bool tb = gemm && eff_onnx_int(node, "transB", 0) != 0;
    const double alpha = gemm ? eff_onnx_float(node, "alpha", 1) : 1, beta = gemm ? eff_onnx_float(node, "beta", 1) : 1;
    if (eff_onnx_source(l, node, 0) < 0 || b->data == NULL || (bias != NULL && bias->data == NULL))
        return eff_fail(EFF_ERR_UNSUPPORTED, "a product of two values that both depend on the picture");
    const EffShape in = l->g->values[eff_onnx_source(l, node, 0)].shape;
    if (b->rank != 2 || (gemm && eff_onnx_int(node, "transA", 0) != 0))
        return eff_fail(EFF_ERR_UNSUPPORTED, "a product that is no fully connected layer");
    if (in.h != 1 || in.w != 1 || in.c != b->dims[tb] || x->n != (size_t)in.c || y->n == 0 || y->n > EFF_MAX_CHANNELS)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a fully connected layer on a map of %d x %d; pool it first", in.h, in.w);
    EffNode n = {.op = EFF_OP_CONV, .n_inputs = 1, .in = {eff_onnx_source(l, node, 0)}};
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
            n.conv.wgt.data[o * n_in + i] =
                (float)(alpha * (double)eff_onnx_element(b, tb ? o * n_in + i : i * n_out + o));
    }
    if (st == EFF_OK && bias != NULL && (st = eff_param_alloc(&n.conv.bias, n_out)) == EFF_OK) {
        for (size_t o = 0; o < n_out; o++)
            n.conv.bias.data[o] = (float)(beta * eff_onnx_get(bias, bias->n == 1 ? 0 : o));
    }
    if (st == EFF_OK &&
        !(eff_onnx_all_finite(n.conv.wgt.data, n.conv.wgt.n) && eff_onnx_all_finite(n.conv.bias.data, n.conv.bias.n)))
        st = eff_onnx_not_finite();
    if (st != EFF_OK) {
        eff_node_free_params(&n);
        return st;
    }
    return eff_onnx_append(l, node, &n, (EffShape){1, 1, (int)n_out}, (const int[3]){-1, -1, y->rank - 1});
}
