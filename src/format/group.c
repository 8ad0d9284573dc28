/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of steps: which tensors are local to one, which forms there are, and finding them. */
#include "format/group.h"
#include "base/mem.h"
#include "base/status.h"
#include "format/layer.h"

bool eff_next_item(const EffPlan *plan, EffItem *item)
{
    const int first = item->end;
    if (first >= plan->n_steps)
        return false;
    const bool grouped = item->n_groups < plan->n_groups && plan->groups[item->n_groups].first == first;
    item->first = first;
    item->end = first + (grouped ? plan->groups[item->n_groups].n_steps : 1);
    item->group = grouped ? item->n_groups++ : EFF_PLAN_NONE;
    return true;
}

/* ---- Local tensors ---- */

/* What local[] holds on the way. */
enum { UNTOUCHED = -2, SHARED = EFF_PLAN_NONE };

static void touch(int *local, int tensor, int group)
{
    if (tensor != EFF_PLAN_NONE)
        local[tensor] = local[tensor] == UNTOUCHED || local[tensor] == group ? group : SHARED;
}

/* Steps of an item that write a tensor, and of those after the first writer that read it. */
static void count_uses(const EffPlan *plan, const EffItem *item, int tensor, int *n_writers, int *n_readers)
{
    *n_writers = *n_readers = 0;
    for (int i = item->first; i < item->end; i++) {
        const EffPlanStep *s = &plan->steps[i];
        *n_readers += *n_writers > 0 && (s->in[0] == tensor || s->in[1] == tensor);
        *n_writers += s->out[0] == tensor || s->out[1] == tensor;
    }
}

void eff_plan_find_locals(const EffPlan *plan, int *local)
{
    for (int t = 0; t < plan->n_tensors; t++)
        local[t] = UNTOUCHED;
    for (EffItem item = {0}; eff_next_item(plan, &item);) {
        for (int i = item.first; i < item.end; i++) {
            for (int k = 0; k < 2; k++) {
                touch(local, plan->steps[i].in[k], item.group);
                touch(local, plan->steps[i].out[k], item.group);
            }
        }
    }
    for (int t = 0; t < plan->n_tensors; t++)
        local[t] = local[t] == UNTOUCHED || t == 0 || t == plan->output ? SHARED : local[t];
    for (EffItem item = {0}; eff_next_item(plan, &item);) {
        for (int i = item.first; i < item.end && item.group != EFF_PLAN_NONE; i++) {
            for (int k = 0; k < 4; k++) {
                const int t = k < 2 ? plan->steps[i].in[k] : plan->steps[i].out[k - 2];
                int n_writers, n_readers;
                if (t == EFF_PLAN_NONE || local[t] == SHARED)
                    continue;
                count_uses(plan, &item, t, &n_writers, &n_readers);
                if (n_writers != 1 || n_readers == 0)
                    local[t] = SHARED;
            }
        }
    }
}

/* ---- Forms ---- */

static bool is_local(const int *local, int tensor, int group)
{
    return tensor != EFF_PLAN_NONE && local[tensor] == group;
}

static bool is_layout(const EffPlan *plan, int tensor, EffLayout layout)
{
    return tensor != EFF_PLAN_NONE && plan->tensors[tensor].layout == (int32_t)layout;
}

/* A PW whose outputs are NHWC. */
static bool is_projection(const EffPlan *plan, const EffPlanStep *s)
{
    return s->op == EFF_STEP_PW && !is_layout(plan, s->out[0], EFF_LAYOUT_QUADS);
}

static const char *resolve_dw(EffGroup *out, const EffPlan *plan, const int *local, int group)
{
    const EffPlanStep *first = &plan->steps[out->first], *dw = first + 1, *last = first + 2;
    if (dw->op != EFF_STEP_DW || dw->in[0] != first->out[0] || !is_local(local, dw->in[0], group))
        return "its row quads are not for its depthwise step alone";
    if (out->n_steps == 2)
        return NULL;
    if (last->op == EFF_STEP_POOL) {
        const EffPlanTensor *t = eff_step_output(plan, dw);
        if (dw->out[1] == EFF_PLAN_NONE || last->in[0] != dw->out[1])
            return "its pool is not of the 16-bit output of its depthwise step";
        /* What one call of the depthwise kernel pools at least: the rows of a quad. */
        if ((int64_t)t->w * (4 / dw->stride) > EFF_DW_POOL_MAX)
            return "its pool is too wide for sums in 32 bits";
        out->pool = out->first + 2;
        return NULL;
    }
    if (!is_projection(plan, last) || last->in[0] != dw->out[0] || dw->out[1] != EFF_PLAN_NONE ||
        !is_local(local, dw->out[0], group))
        return "its depthwise output is not for its projection alone";
    out->project = out->first + 2;
    return NULL;
}

const char *eff_group_resolve(EffGroup *out, const EffPlan *plan, const int *local, int group)
{
    const EffPlanGroup *g = &plan->groups[group];
    const EffPlanStep *first = &plan->steps[g->first], *last = &plan->steps[g->first + g->n_steps - 1];
    *out = (EffGroup){.first = g->first, .n_steps = g->n_steps, .pool = EFF_PLAN_NONE, .project = EFF_PLAN_NONE};
    if (is_layout(plan, first->out[0], EFF_LAYOUT_QUADS)) {
        out->form = EFF_GROUP_DW;
        return resolve_dw(out, plan, local, group);
    }
    if (g->n_steps != 2)
        return "no form of group has these steps";
    if (first->op == EFF_STEP_QUANT && is_projection(plan, last)) {
        out->form = EFF_GROUP_GATED;
        if (last->in[0] != first->out[0] || !is_local(local, last->in[0], group))
            return "its 8-bit tensor is not for its projection alone";
        return NULL;
    }
    if (is_projection(plan, first) && last->op == EFF_STEP_POOL) {
        out->form = EFF_GROUP_MEAN;
        const bool both = first->out[0] != EFF_PLAN_NONE && first->out[1] != EFF_PLAN_NONE;
        if (both || !is_local(local, last->in[0], group) ||
            (last->in[0] != first->out[0] && last->in[0] != first->out[1]))
            return "its map is not for its pool alone";
        return NULL;
    }
    return "no form of group has these steps";
}

/* ---- The proof ---- */

EffStatus eff_plan_check_group_ranges(const EffPlan *plan)
{
    int end = 0;
    for (int i = 0; i < plan->n_groups; i++) {
        const EffPlanGroup *g = &plan->groups[i];
        if (g->n_steps < 2 || g->n_steps > EFF_GROUP_MAX_STEPS || g->first < end ||
            g->first > plan->n_steps - g->n_steps)
            return eff_fail(EFF_ERR_FORMAT,
                            "group %d: %d steps from step %d; 2..%d steps from %d on, up to %d, are valid", i,
                            g->n_steps, g->first, EFF_GROUP_MAX_STEPS, end, plan->n_steps);
        end = g->first + g->n_steps;
    }
    return EFF_OK;
}

EffStatus eff_plan_check_groups(const EffPlan *plan, const int *local)
{
    for (int i = 0; i < plan->n_groups; i++) {
        EffGroup group;
        const char *why = eff_group_resolve(&group, plan, local, i);
        if (why != NULL)
            return eff_fail(EFF_ERR_FORMAT, "group %d (from step %d, %s): %s", i, plan->groups[i].first,
                            plan->steps[plan->groups[i].first].name, why);
    }
    return EFF_OK;
}

/* ---- Finding them ---- */

EffStatus eff_plan_fuse(EffPlan *plan)
{
    int *local = eff_calloc((size_t)plan->n_tensors, sizeof *local);
    EffStatus st = local != NULL ? EFF_OK : eff_fail_nomem((size_t)plan->n_tensors * sizeof *local, "groups of steps");
    for (int i = 0; i < plan->n_steps && st == EFF_OK;) {
        int n = EFF_GROUP_MAX_STEPS < plan->n_steps - i ? EFF_GROUP_MAX_STEPS : plan->n_steps - i;
        for (; n >= 2; n--) {
            EffGroup group;
            if ((st = eff_plan_add_group(plan, (EffPlanGroup){.first = i, .n_steps = n})) != EFF_OK)
                break;
            eff_plan_find_locals(plan, local);
            if (eff_group_resolve(&group, plan, local, plan->n_groups - 1) == NULL)
                break;
            plan->n_groups--;
        }
        i += n >= 2 ? n : 1;
    }
    eff_free(local);
    return st;
}
