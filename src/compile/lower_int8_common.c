/* SPDX-License-Identifier: Apache-2.0 */
/* What all int8 lowering needs: readers, tensors, steps. */
#include "base/status.h"
#include "compile/lower_int8.h"
#include "quant/requantize.h"

#include <stdio.h>

bool eff_is_vector(EffShape s)
{
    return s.h == 1 && s.w == 1;
}

const EffNode *eff_lower_only_reader(const EffLower *l, int value, EffOp op)
{
    const int i = l->consumer[value];
    return l->g->values[value].n_consumers == 1 && i >= 0 && l->g->nodes[i].op == op ? &l->g->nodes[i] : NULL;
}

int eff_lower_node_index(const EffLower *l, const EffNode *node)
{
    return (int)(node - l->g->nodes);
}

EffStatus eff_lower_unsupported(const EffNode *node, const char *why)
{
    return eff_fail(EFF_ERR_UNSUPPORTED, "%s: %s; compile the model in float instead (effnet compile --float)",
                    node->name, why);
}

EffStatus eff_lower_add_tensor(EffLower *l, int *out, const char *name, EffTensorType type, EffLayout layout,
                               EffShape s, const EffQuantInfo *quant)
{
    EffPlanTensor t = {.type = (int)type, .layout = (int)layout, .h = s.h, .w = s.w, .c = s.c};
    snprintf(t.name, sizeof t.name, "%s", name);
    if (quant != NULL) {
        const EffStatus st = eff_quant_info_describe(l->plan, &t, quant);
        if (st != EFF_OK)
            return st;
    }
    return eff_plan_add_tensor(l->plan, &t, out);
}

EffStatus eff_lower_add_fixed_point(EffLower *l, int *out, const char *name, EffShape s, const EffFixedPoint *y)
{
    EffQuantInfo quant = {0};
    EffStatus st = eff_quant_info_alloc(&quant, s.c);
    for (int c = 0; c < s.c && st == EFF_OK; c++)
        quant.scale[c] = eff_pow2(-(y->frac_bits + (y->finer != NULL ? y->finer[c] : 0)));
    quant.per_channel = y->finer != NULL;
    if (st == EFF_OK)
        st = eff_lower_add_tensor(l, out, name, EFF_TENSOR_S16, EFF_LAYOUT_NHWC, s, &quant);
    eff_quant_info_free(&quant);
    return st;
}

EffStatus eff_lower_add_s16(EffLower *l, int *out, const char *name, EffLayout layout, EffShape s, int frac_bits)
{
    double scale = eff_pow2(-frac_bits);
    int16_t zero = 0;
    const EffQuantInfo quant = {.scale = &scale, .zero = &zero, .c = 1};
    return eff_lower_add_tensor(l, out, name, EFF_TENSOR_S16, layout, s, &quant);
}

EffPlanStep eff_lower_step(const char *name, EffStepOp op, int in_ch, int out_ch)
{
    EffPlanStep step = {.op = (int)op,
                        .in = {EFF_PLAN_NONE, EFF_PLAN_NONE},
                        .out = {EFF_PLAN_NONE, EFF_PLAN_NONE},
                        .in_ch = in_ch,
                        .out_ch = out_ch,
                        .kernel = 1,
                        .stride = 1,
                        .groups = 1,
                        .wgt_bits = 8};
    snprintf(step.name, sizeof step.name, "%s", name);
    return step;
}

bool eff_lower_is_sketch(const EffLower *l, const EffNode *node)
{
    return l->tuning != NULL && l->tuning->n_needed > 0 && eff_lower_node_index(l, node) >= l->tuning->n_needed;
}
