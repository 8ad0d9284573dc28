/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools. A mean over the whole map is the graph's own; a mean of windows that all divide by the same number is a
 * depthwise convolution, which every executor runs; what is left is EFF_OP_POOL.
 */
#include "base/status.h"
#include "import/onnx/onnx_lower_ops.h"

EffStatus eff_onnx_lower_global_pool(EffOnnxLowerer *l, const EffOnnxNode *node)
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
        const EffOnnxTensor *list = n < 0 ? eff_onnx_operand(l, node, 1) : NULL; /* known, where the shape needed it */
        for (int i = 0; list != NULL && list->data != NULL && i < (int)list->n && i < EFF_MAX_RANK; i++)
            axes[(n = i + 1) - 1] = eff_onnx_get_int(list, (size_t)i);
        for (int i = 0; i < n; i++) {
            int axis;
            if (shape.c > 1 && (!eff_onnx_axis(axes[i], x->rank, &axis) || axis == s.axis[2]))
                return eff_fail(EFF_ERR_UNSUPPORTED, "a mean over the channels");
        }
    }
    EffNode n = {.op = EFF_OP_GLOBAL_AVGPOOL, .n_inputs = 1, .in = {s.value}};
    return eff_onnx_append(l, node, &n, (EffShape){1, 1, shape.c}, (const int[3]){-1, -1, channel});
}

/* The window as the graph holds it: rows, then columns; pads behind the map as they count, ceil_mode included. */
typedef struct Window {
    int kernel[2], stride, before[2], after[2], out[2];
    bool pads;  /* that the file asks for */
    bool hangs; /* over those: ceil_mode */
} Window;

static EffStatus read_window(Window *out, const EffOnnxWindow *w, const int64_t *dims)
{
    if (w->n != 2)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%d spatial axes; two are supported", w->n);
    if (w->dilation[0] != 1 || w->dilation[1] != 1)
        return eff_fail(EFF_ERR_UNSUPPORTED, "dilation %lld x %lld; pools without are supported, so train without",
                        (long long)w->dilation[0], (long long)w->dilation[1]);
    const int axis = w->out[0] == 1; /* of one row no stride matters */
    if ((w->stride[0] != w->stride[1] && w->out[0] != 1 && w->out[1] != 1) || w->stride[axis] > EFF_ONNX_MOST_WINDOW ||
        w->kernel[0] > EFF_ONNX_MOST_WINDOW || w->kernel[1] > EFF_ONNX_MOST_WINDOW)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a pool of %lld x %lld, strides %lld x %lld; equal strides, up to %d",
                        (long long)w->kernel[0], (long long)w->kernel[1], (long long)w->stride[0],
                        (long long)w->stride[1], (int)EFF_ONNX_MOST_WINDOW);
    *out = (Window){.stride = (int)w->stride[axis]};
    for (int i = 0; i < 2; i++) {
        const int64_t hang = (w->out[i] - 1) * out->stride + w->kernel[i] - w->before[i] - dims[i + 2];
        if (w->before[i] >= w->kernel[i] || w->after[i] >= w->kernel[i] || hang >= w->kernel[i])
            return eff_fail(EFF_ERR_UNSUPPORTED, "pads that are as large as its window of %lld x %lld",
                            (long long)w->kernel[0], (long long)w->kernel[1]);
        out->kernel[i] = (int)w->kernel[i];
        out->before[i] = (int)w->before[i];
        out->after[i] = hang > 0 ? (int)hang : 0;
        out->out[i] = (int)w->out[i];
        out->pads = out->pads || w->before[i] > 0 || w->after[i] > 0;
        out->hangs = out->hangs || hang > w->after[i];
    }
    return EFF_OK;
}

/* The same number below each sum: pads count as zeros, or there are none. */
static EffStatus lower_mean(EffOnnxLowerer *l, const EffOnnxNode *node, const Window *w)
{
    int out;
    const EffOnnxWeights wgt = {.kernel_h = w->kernel[0],
                                .kernel_w = w->kernel[1],
                                .all = true,
                                .value = (float)(1.0 / (w->kernel[0] * w->kernel[1])),
                                .stride = w->stride,
                                .pad = {w->before[0], w->before[1]},
                                .size = {w->out[0], w->out[1]}};
    const EffStatus st = eff_onnx_add_window(l, node, "", eff_onnx_source(l, node, 0), &wgt, &out);
    if (st == EFF_OK)
        l->spots[eff_onnx_out(l->m, node, 0)] = (EffOnnxSpot){out, {2, 3, 1}};
    return st;
}

/* MaxPool, AveragePool; GlobalMaxPool, whose window is the map. */
EffStatus eff_onnx_lower_window_pool(EffOnnxLowerer *l, const EffOnnxNode *node, EffPooling how)
{
    const EffOnnxTensor *x = eff_onnx_operand(l, node, 0);
    EffOnnxWindow w = {.n = x->rank - 2};
    Window window = {0};
    EffStatus st = EFF_OK;
    bool whole = true;
    if (eff_onnx_is(node, "GlobalMaxPool")) {
        for (int i = 0; i < w.n; i++) {
            w.kernel[i] = x->dims[i + 2];
            w.stride[i] = w.dilation[i] = w.out[i] = 1;
        }
    } else {
        st = eff_onnx_window(&w, node, x, NULL);
    }
    if (st != EFF_OK)
        return st;
    for (int i = 0; i < w.n; i++)
        whole = whole && w.kernel[i] == x->dims[i + 2] && w.before[i] == 0 && w.after[i] == 0 && w.out[i] == 1;
    if (whole && how == EFF_POOLING_MEAN)
        return eff_onnx_lower_global_pool(l, node);
    if (!eff_onnx_spots_fit(l, eff_onnx_in(l->m, node, 0), 2, 3, 1))
        return eff_fail(EFF_ERR_UNSUPPORTED, "its input is not in the order NCHW; simplify the model (onnxsim)");
    if ((st = read_window(&window, &w, x->dims)) != EFF_OK)
        return st;
    const bool counts = eff_onnx_int(node, "count_include_pad", 0) != 0 && window.pads;
    if (how == EFF_POOLING_MEAN && counts && window.hangs)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "count_include_pad with windows that hang over the padding; export the model without "
                        "ceil_mode, or without count_include_pad");
    if (how == EFF_POOLING_MEAN && !window.hangs && (counts || !window.pads))
        return lower_mean(l, node, &window);
    EffNode n = {.op = EFF_OP_POOL, .n_inputs = 1, .in = {eff_onnx_source(l, node, 0)}, .pooling = how};
    n.conv = (EffConv){.kernel_h = window.kernel[0],
                       .kernel_w = window.kernel[1],
                       .stride = window.stride,
                       .pad_top = window.before[0],
                       .pad_left = window.before[1],
                       .pad_bottom = window.after[0],
                       .pad_right = window.after[1]};
    return eff_onnx_append(l, node, &n, (EffShape){window.out[0], window.out[1], l->g->values[n.in[0]].shape.c},
                           (const int[3]){2, 3, 1});
}
