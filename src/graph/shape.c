/* SPDX-License-Identifier: Apache-2.0 */
/* Shape inference: checks every node, resolves SAME padding, fills in the shapes of all values. */
#include "base/status.h"
#include "graph/ir.h"

/* TF's rule: the output has ceil(n / stride) positions; an odd pad goes to the end. */
static void same_pads(int n, int kernel, int stride, int *before, int *after)
{
    const int n_out = (n + stride - 1) / stride;
    const int total = (n_out - 1) * stride + kernel - n;
    *before = total > 0 ? total / 2 : 0;
    *after = total > 0 ? total - *before : 0;
}

static EffStatus infer_window(const char *name, EffConv *c, EffShape in, int n_ch, EffShape *out)
{
    if (c->same) {
        same_pads(in.h, c->kernel_h, c->stride, &c->pad_top, &c->pad_bottom);
        same_pads(in.w, c->kernel_w, c->stride, &c->pad_left, &c->pad_right);
    }
    const int h = in.h + c->pad_top + c->pad_bottom - c->kernel_h;
    const int w = in.w + c->pad_left + c->pad_right - c->kernel_w;
    if (h < 0 || w < 0)
        return eff_fail(EFF_ERR_ARG, "%s: a %dx%d kernel does not fit the padded %dx%d input; use a larger --size",
                        name, c->kernel_h, c->kernel_w, in.h, in.w);
    *out = (EffShape){.h = h / c->stride + 1, .w = w / c->stride + 1, .c = n_ch};
    return EFF_OK;
}

static EffStatus infer_conv(const char *name, EffConv *c, EffShape in, EffShape *out)
{
    if (c->in_ch != in.c)
        return eff_fail(EFF_ERR_FORMAT, "%s: takes %d channels, but its input has %d; check the architecture", name,
                        c->in_ch, in.c);
    return infer_window(name, c, in, c->out_ch, out);
}

static bool pads_are_smaller(const EffConv *c)
{
    return c->pad_top < c->kernel_h && c->pad_bottom < c->kernel_h && c->pad_left < c->kernel_w &&
           c->pad_right < c->kernel_w;
}

EffStatus eff_graph_infer_shapes(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *node = &g->nodes[i];
        const EffShape a = g->values[node->in[0]].shape;
        EffShape *out = &g->values[node->out].shape;
        EffStatus st = EFF_OK;
        switch (node->op) {
        case EFF_OP_CONV: st = infer_conv(node->name, &node->conv, a, out); break;
        case EFF_OP_BATCHNORM:
            if (node->bn.gamma.n != (size_t)a.c)
                st = eff_fail(EFF_ERR_FORMAT, "%s: normalizes %zu channels, but its input has %d", node->name,
                              node->bn.gamma.n, a.c);
            *out = a;
            break;
        case EFF_OP_ACT: *out = a; break;
        case EFF_OP_ROUND:
            if (node->round.table.n != EFF_ROUND_ROWS * (size_t)a.c)
                st = eff_fail(EFF_ERR_FORMAT, "%s: rounds %zu channels, but its input has %d", node->name,
                              node->round.table.n / EFF_ROUND_ROWS, a.c);
            *out = a;
            break;
        case EFF_OP_PAD:
            *out = (EffShape){.h = a.h + node->conv.pad_top + node->conv.pad_bottom,
                              .w = a.w + node->conv.pad_left + node->conv.pad_right,
                              .c = a.c};
            break;
        case EFF_OP_POOL:
            if (!pads_are_smaller(&node->conv))
                st = eff_fail(EFF_ERR_FORMAT, "%s: pads that are as large as its window of %dx%d", node->name,
                              node->conv.kernel_h, node->conv.kernel_w);
            else
                st = infer_window(node->name, &node->conv, a, a.c, out);
            break;
        case EFF_OP_GLOBAL_AVGPOOL: *out = (EffShape){1, 1, a.c}; break;
        case EFF_OP_ADD:
        case EFF_OP_MUL: {
            const EffShape b = g->values[node->in[1]].shape;
            const bool fits = (a.h == b.h && a.w == b.w) || (node->op == EFF_OP_MUL && b.h == 1 && b.w == 1);
            if (!fits || a.c != b.c)
                st = eff_fail(EFF_ERR_FORMAT, "%s: shapes %dx%dx%d and %dx%dx%d don't go together", node->name, a.h,
                              a.w, a.c, b.h, b.w, b.c);
            *out = a;
            break;
        }
        }
        if (st != EFF_OK)
            return st;
    }
    return EFF_OK;
}
