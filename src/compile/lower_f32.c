/* SPDX-License-Identifier: Apache-2.0 */
/* A graph as a float plan, node by node. */
#include "base/mem.h"
#include "base/status.h"
#include "compile/lower.h"

#include <stdio.h>
#include <string.h>

static void copy_name(char *dst, const char *name)
{
    snprintf(dst, EFF_PLAN_NAME_BYTES, "%s", name);
}

EffStatus eff_lower_begin(EffPlan *plan, const EffGraph *g)
{
    EffGraphStats stats;
    eff_graph_stats(g, &stats);
    *plan = (EffPlan){.n_classes = g->n_classes, .pre = g->pre, .params = g->n_params, .macs = stats.macs};
    copy_name(plan->name, g->name);
    const EffPlanTensor pixels = {.name = "pixels",
                                  .type = EFF_TENSOR_U8,
                                  .layout = EFF_LAYOUT_IMAGE,
                                  .h = g->pre.size,
                                  .w = g->pre.size,
                                  .c = 3};
    return eff_plan_add_tensor(plan, &pixels, NULL);
}

static EffStatus add_f32_tensor(EffPlan *plan, const char *name, EffShape s, int *out)
{
    EffPlanTensor t = {.type = EFF_TENSOR_F32, .layout = EFF_LAYOUT_IMAGE, .h = s.h, .w = s.w, .c = s.c};
    copy_name(t.name, name);
    return eff_plan_add_tensor(plan, &t, out);
}

/* A network of one channel takes luma (ITU-R BT.601): its stem takes RGB with the weights spread accordingly. */
static EffStatus add_conv_weights(EffPlan *plan, EffPlanStep *step, const EffConv *c, bool gray)
{
    if (!gray)
        return eff_plan_add_data(plan, &step->data[EFF_DATA_FWGT], c->wgt.data, c->wgt.n * sizeof *c->wgt.data);
    float *rgb = eff_malloc(3 * c->wgt.n * sizeof *rgb);
    if (rgb == NULL)
        return eff_fail_nomem(3 * c->wgt.n * sizeof *rgb, "weights");
    static const float luma[3] = {0.299f, 0.587f, 0.114f};
    for (size_t i = 0; i < 3 * c->wgt.n; i++)
        rgb[i] = c->wgt.data[i / 3] * luma[i % 3];
    step->in_ch = 3;
    const EffStatus st = eff_plan_add_data(plan, &step->data[EFF_DATA_FWGT], rgb, 3 * c->wgt.n * sizeof *rgb);
    eff_free(rgb);
    return st;
}

static EffStatus lower_node(EffPlan *plan, const EffGraph *g, const EffNode *node, const int *tensors, int out, int act)
{
    static const EffStepOp ops[] = {
        [EFF_OP_CONV] = EFF_STEP_F32_CONV, [EFF_OP_ACT] = EFF_STEP_F32_ACT, [EFF_OP_GLOBAL_AVGPOOL] = EFF_STEP_F32_POOL,
        [EFF_OP_ADD] = EFF_STEP_F32_ADD,   [EFF_OP_MUL] = EFF_STEP_F32_MUL, [EFF_OP_ROUND] = EFF_STEP_F32_ROUND};
    if (node->op == EFF_OP_BATCHNORM)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s: a BatchNorm that no convolution precedes; only folded ones compile",
                        node->name);
    if (node->op == EFF_OP_PAD)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s: pads that no convolution follows; only those of one compile",
                        node->name);
    const EffShape in = g->values[node->in[0]].shape, shape = g->values[node->out].shape;
    const bool pools = node->op == EFF_OP_POOL, slides = pools || node->op == EFF_OP_CONV;
    const int32_t pool = node->pooling == EFF_POOLING_MAX ? EFF_STEP_F32_MAXPOOL : EFF_STEP_F32_AVGPOOL;
    EffPlanStep step = {.op = pools ? pool : (int32_t)ops[node->op],
                        .in = {tensors[node->in[0]], node->n_inputs > 1 ? tensors[node->in[1]] : EFF_PLAN_NONE},
                        .out = {out, EFF_PLAN_NONE},
                        .in_ch = in.c,
                        .out_ch = shape.c,
                        .kernel = 1,
                        .stride = 1,
                        .groups = 1,
                        .wgt_bits = 8,
                        .fact = act};
    copy_name(step.name, node->name);
    EffStatus st = EFF_OK;
    const EffConv *c = &node->conv;
    if (slides) {
        if (c->kernel_h != c->kernel_w)
            return eff_fail(EFF_ERR_UNSUPPORTED, "%s: a %dx%d kernel; only square ones compile", node->name,
                            c->kernel_h, c->kernel_w);
        step.kernel = c->kernel_h;
        step.stride = c->stride;
        step.pad_top = c->pad_top;
        step.pad_left = c->pad_left;
    }
    if (node->op == EFF_OP_CONV) {
        step.groups = c->groups;
        st = add_conv_weights(plan, &step, c, node->in[0] == g->input && in.c == 1);
        if (st == EFF_OK && c->has_bias)
            st = eff_plan_add_data(plan, &step.data[EFF_DATA_FBIAS], c->bias.data, c->bias.n * sizeof *c->bias.data);
    }
    if (node->op == EFF_OP_ROUND) {
        step.fact = (int32_t)node->round.how;
        st = eff_plan_add_data(plan, &step.data[EFF_DATA_FWGT], node->round.table.data,
                               node->round.table.n * sizeof *node->round.table.data);
    }
    return st == EFF_OK ? eff_plan_add_step(plan, &step) : st;
}

EffStatus eff_lower_f32(EffPlan *plan, const EffGraph *g, bool fuse)
{
    EffStatus st = eff_lower_begin(plan, g);
    int *tensors = eff_calloc((size_t)g->n_values, sizeof *tensors);
    if (tensors == NULL)
        st = eff_fail_nomem((size_t)g->n_values * sizeof *tensors, "the plan");
    if (st == EFF_OK)
        st = add_f32_tensor(plan, "", (EffShape){g->pre.size, g->pre.size, 3}, &tensors[g->input]);
    if (st == EFF_OK) {
        const EffPlanStep input = {.name = "input",
                                   .op = EFF_STEP_F32_INPUT,
                                   .in = {0, EFF_PLAN_NONE},
                                   .out = {tensors[g->input], EFF_PLAN_NONE},
                                   .in_ch = 3,
                                   .out_ch = 3,
                                   .kernel = 1,
                                   .stride = 1,
                                   .groups = 1,
                                   .wgt_bits = 8};
        st = eff_plan_add_step(plan, &input);
    }
    for (int i = 0; i < g->n_nodes && st == EFF_OK; i++) {
        const EffNode *node = &g->nodes[i], *last = node;
        if (fuse && node->op == EFF_OP_CONV && i + 1 < g->n_nodes && g->nodes[i + 1].op == EFF_OP_ACT &&
            g->nodes[i + 1].in[0] == node->out && g->values[node->out].n_consumers == 1)
            last = &g->nodes[++i];
        int *out = &tensors[last->out];
        st = add_f32_tensor(plan, last->name, g->values[last->out].shape, out);
        if (st == EFF_OK)
            st = lower_node(plan, g, node, tensors, *out, (int)last->act);
    }
    if (st == EFF_OK) {
        plan->output = tensors[g->output];
        st = eff_plan_layout_arena(plan);
    }
    eff_free(tensors);
    if (st != EFF_OK)
        eff_plan_free(plan);
    return st;
}
