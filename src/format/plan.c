/* SPDX-License-Identifier: Apache-2.0 */
/* Building a plan: growing arrays, sizes of tensors, the arena. plan_check.c proves what comes out. */
#include "format/group.h"
#include "base/arena.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "kernels/epilogue.h"

#include <assert.h>
#include <string.h>

void eff_plan_free(EffPlan *plan)
{
    if (plan == NULL)
        return;
    for (int i = 0; plan->labels != NULL && i < plan->n_classes; i++)
        eff_free(plan->labels[i]);
    eff_free(plan->labels);
    eff_free(plan->provenance);
    eff_free(plan->tensors);
    eff_free(plan->steps);
    eff_free(plan->groups);
    eff_free(plan->data);
    *plan = (EffPlan){0};
}

/* Room for `need` items; the capacity at least doubles. */
static EffStatus reserve(void **items, size_t item_bytes, size_t used, size_t need, size_t *capacity, const char *what)
{
    if (need <= *capacity)
        return EFF_OK;
    const size_t grown = need > 2 * *capacity ? need : 2 * *capacity;
    void *p = eff_realloc(*items, used * item_bytes, grown, item_bytes);
    if (p == NULL)
        return eff_fail_nomem(grown * item_bytes, what);
    *items = p;
    *capacity = grown;
    return EFF_OK;
}

EffStatus eff_plan_add_data(EffPlan *plan, EffPlanData *out, const void *bytes, size_t n_bytes)
{
    if (n_bytes > EFF_PLAN_MAX_FILE || plan->data_bytes + EFF_ALIGN + n_bytes > EFF_PLAN_MAX_FILE)
        return eff_fail(EFF_ERR_LIMIT, "the model's data is larger than %llu bytes",
                        (unsigned long long)EFF_PLAN_MAX_FILE);
    const size_t used = (size_t)plan->data_bytes, at = eff_align_up(used);
    void *data = plan->data;
    const EffStatus st = reserve(&data, 1, used, at + n_bytes, &plan->data_capacity, "the model's data");
    if (st != EFF_OK)
        return st;
    plan->data = data;
    memset(plan->data + used, 0, at - used);
    if (n_bytes > 0)
        memcpy(plan->data + at, bytes, n_bytes);
    plan->data_bytes = at + n_bytes;
    *out = (EffPlanData){.offset = n_bytes > 0 ? at : 0, .n_bytes = n_bytes};
    return EFF_OK;
}

EffStatus eff_plan_add_tensor(EffPlan *plan, const EffPlanTensor *tensor, int *out)
{
    if (plan->n_tensors == EFF_PLAN_MAX_TENSORS)
        return eff_fail(EFF_ERR_LIMIT, "the model has more than %d tensors", EFF_PLAN_MAX_TENSORS);
    const size_t n = (size_t)plan->n_tensors;
    void *items = plan->tensors;
    const EffStatus st = reserve(&items, sizeof *tensor, n, n + 1, &plan->tensors_capacity, "tensors");
    if (st != EFF_OK)
        return st;
    plan->tensors = items;
    plan->tensors[plan->n_tensors] = *tensor;
    if (out != NULL)
        *out = plan->n_tensors;
    plan->n_tensors++;
    return EFF_OK;
}

EffStatus eff_plan_add_step(EffPlan *plan, const EffPlanStep *step)
{
    if (plan->n_steps == EFF_PLAN_MAX_STEPS)
        return eff_fail(EFF_ERR_LIMIT, "the model has more than %d steps", EFF_PLAN_MAX_STEPS);
    const size_t n = (size_t)plan->n_steps;
    void *items = plan->steps;
    const EffStatus st = reserve(&items, sizeof *step, n, n + 1, &plan->steps_capacity, "steps");
    if (st != EFF_OK)
        return st;
    plan->steps = items;
    plan->steps[plan->n_steps++] = *step;
    return EFF_OK;
}

EffStatus eff_plan_add_group(EffPlan *plan, EffPlanGroup group)
{
    const size_t n = (size_t)plan->n_groups;
    void *items = plan->groups;
    const EffStatus st = reserve(&items, sizeof group, n, n + 1, &plan->groups_capacity, "groups of steps");
    if (st != EFF_OK)
        return st;
    plan->groups = items;
    plan->groups[plan->n_groups++] = group;
    return EFF_OK;
}

const char *eff_step_op_name(int op)
{
    static const char *const names[EFF_N_STEP_OPS] = {
        [EFF_STEP_STEM] = "stem",
        [EFF_STEP_PW] = "pw",
        [EFF_STEP_DW] = "dw",
        [EFF_STEP_QUADS] = "quads",
        [EFF_STEP_POOL] = "pool",
        [EFF_STEP_FC] = "fc",
        [EFF_STEP_QUANT] = "quant",
        [EFF_STEP_HEAD] = "head",
        [EFF_STEP_F32_INPUT] = "f32_input",
        [EFF_STEP_F32_CONV] = "f32_conv",
        [EFF_STEP_F32_POOL] = "f32_pool",
        [EFF_STEP_F32_ADD] = "f32_add",
        [EFF_STEP_F32_MUL] = "f32_mul",
        [EFF_STEP_F32_ACT] = "f32_act",
        [EFF_STEP_PW16] = "pw16",
        [EFF_STEP_DW16] = "dw16",
        [EFF_STEP_GATE] = "gate",
        [EFF_STEP_PW_F32] = "pw_f32",
        [EFF_STEP_DW_F32] = "dw_f32",
        [EFF_STEP_F32_ROUND] = "f32_round",
        [EFF_STEP_F32_MAXPOOL] = "f32_maxpool",
        [EFF_STEP_F32_AVGPOOL] = "f32_avgpool",
    };
    return op >= 0 && op < EFF_N_STEP_OPS ? names[op] : "unknown";
}

void eff_plan_quads_readers(const EffPlan *plan, int *readers)
{
    for (int t = 0; t < plan->n_tensors; t++)
        readers[t] = EFF_PLAN_NONE;
    for (int i = plan->n_steps - 1; i >= 0; i--) {
        const EffPlanStep *s = &plan->steps[i];
        if (s->op == EFF_STEP_DW)
            readers[s->in[0]] = i;
    }
}

void eff_plan_quads(EffQuads *out, const EffPlan *plan, const EffPlanStep *dw)
{
    const EffPlanTensor *in = &plan->tensors[dw->in[0]];
    const EffPlanTensor *to = &plan->tensors[dw->out[dw->out[0] == EFF_PLAN_NONE]];
    eff_quads_init(out, in->h, in->w, dw->kernel, dw->stride, dw->pad_top, dw->pad_left, to->h, to->w,
                   eff_ch_pad(in->c));
}

bool eff_plan_tensor_bytes(size_t *out, const EffPlan *plan, int tensor, int reader)
{
    static const size_t element_bytes[] = {
        [EFF_TENSOR_U8] = 1, [EFF_TENSOR_S16] = sizeof(int16_t), [EFF_TENSOR_F32] = sizeof(float)};
    const EffPlanTensor *t = &plan->tensors[tensor];
    size_t n = (size_t)t->c;
    if (t->layout == EFF_LAYOUT_QUADS) {
        EffQuads q;
        if (reader == EFF_PLAN_NONE)
            return false;
        eff_plan_quads(&q, plan, &plan->steps[reader]);
        return eff_quads_bytes(out, &q, q.n_quads) && *out <= EFF_PLAN_MAX_ARENA;
    }
    if (t->layout == EFF_LAYOUT_NHWC)
        n = (size_t)eff_ch_pad(t->c);
    else if (t->layout == EFF_LAYOUT_VECTOR)
        n = (size_t)eff_param_pad(t->c);
    return eff_mul_size(&n, n, element_bytes[t->type]) && eff_mul_size(&n, n, (size_t)t->h) &&
           eff_mul_size(out, n, (size_t)t->w) && *out <= EFF_PLAN_MAX_ARENA;
}

/* ---- The arena ---- */

/* What eff_plan_layout() works on. */
typedef struct Layout {
    EffArenaBlock *blocks; /* [n_tensors]; those of tensors that share another's place, or have none, are empty */
    int *root;             /* [n_tensors]: whose place a tensor takes */
    int *readers;          /* [n_tensors] */
    int *local;            /* [n_tensors]: eff_plan_find_locals(); EFF_PLAN_NONE where steps run one by one */
    int *time;             /* [n_steps]: equal for the steps of a group, all of whose tensors live at once */
} Layout;

static void set_times(const EffPlan *plan, Layout *l, bool fused)
{
    int time = 0;
    for (EffItem item = {0}; eff_next_item(plan, &item); time++) {
        for (int i = item.first; i < item.end; i++) {
            l->time[i] = time;
            time += !fused && i + 1 < item.end;
        }
    }
}

static void set_lifetimes(const EffPlan *plan, Layout *l)
{
    for (int t = 0; t < plan->n_tensors; t++)
        l->blocks[t] = (EffArenaBlock){.first = -1, .last = -1};
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *s = &plan->steps[i];
        for (int k = 0; k < 2; k++) {
            if (s->out[k] != EFF_PLAN_NONE) {
                EffArenaBlock *b = &l->blocks[s->out[k]];
                b->first = b->first < 0 ? l->time[i] : b->first;
                b->last = l->time[i];
            }
            if (s->in[k] != EFF_PLAN_NONE)
                l->blocks[s->in[k]].last = l->time[i];
        }
    }
    l->blocks[plan->output].last = plan->n_steps;
}

/* Whether another step of the same group reads a tensor that step i reads. */
static bool read_beside(const EffPlan *plan, const Layout *l, int i, int tensor)
{
    int first = i, end = i + 1;
    while (first > 0 && l->time[first - 1] == l->time[i])
        first--;
    while (end < plan->n_steps && l->time[end] == l->time[i])
        end++;
    for (int k = first; k < end; k++) {
        if (k != i && (plan->steps[k].in[0] == tensor || plan->steps[k].in[1] == tensor))
            return true;
    }
    return false;
}

/* Sums that take the place of their residual: the block of the residual lives on for them. */
static void share_residuals(const EffPlan *plan, Layout *l)
{
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *s = &plan->steps[i];
        if (s->op != EFF_STEP_PW || s->in[1] == EFF_PLAN_NONE || s->out[1] == EFF_PLAN_NONE || s->in[1] == s->out[1])
            continue;
        EffArenaBlock *from = &l->blocks[l->root[s->in[1]]], *to = &l->blocks[s->out[1]];
        if (from->last != l->time[i] || to->first != l->time[i] || s->in[1] == s->in[0] ||
            l->local[s->out[1]] != EFF_PLAN_NONE || read_beside(plan, l, i, s->in[1]))
            continue;
        l->root[s->out[1]] = l->root[s->in[1]];
        from->last = to->last;
        *to = (EffArenaBlock){.first = l->time[i], .last = l->time[i]};
    }
}

static EffStatus layout_alloc(Layout *l, const EffPlan *plan)
{
    const size_t n = (size_t)plan->n_tensors;
    l->blocks = eff_calloc(n, sizeof *l->blocks);
    l->root = eff_calloc(n, sizeof *l->root);
    l->readers = eff_calloc(n, sizeof *l->readers);
    l->local = eff_calloc(n, sizeof *l->local);
    l->time = eff_calloc((size_t)plan->n_steps, sizeof *l->time);
    if (l->blocks == NULL || l->root == NULL || l->readers == NULL || l->local == NULL || l->time == NULL)
        return eff_fail_nomem(n * (sizeof *l->blocks + 3 * sizeof *l->root), "the memory plan");
    return EFF_OK;
}

EffStatus eff_plan_layout(const EffPlan *plan, bool fused, uint64_t *offsets, uint64_t *arena_bytes)
{
    Layout l = {0};
    size_t total = 0;
    EffStatus st = layout_alloc(&l, plan);
    if (st != EFF_OK)
        goto done;
    for (int t = 0; t < plan->n_tensors; t++)
        l.root[t] = t;
    eff_plan_quads_readers(plan, l.readers);
    eff_plan_find_locals(plan, l.local);
    for (int t = 0; t < plan->n_tensors && !fused; t++)
        l.local[t] = EFF_PLAN_NONE;
    set_times(plan, &l, fused);
    set_lifetimes(plan, &l);
    share_residuals(plan, &l);
    for (int t = 1; t < plan->n_tensors; t++) {
        if (l.root[t] != t || l.local[t] != EFF_PLAN_NONE)
            continue;
        if (!eff_plan_tensor_bytes(&l.blocks[t].n_bytes, plan, t, l.readers[t])) {
            st = eff_fail(EFF_ERR_LIMIT, "tensor %d (%s): larger than %llu bytes, or row quads that no step reads", t,
                          plan->tensors[t].name, (unsigned long long)EFF_PLAN_MAX_ARENA);
            goto done;
        }
    }
    if ((st = eff_arena_plan(l.blocks, (size_t)plan->n_tensors, &total)) != EFF_OK)
        goto done;
    for (int t = 0; t < plan->n_tensors; t++)
        offsets[t] = l.blocks[l.root[t]].n_bytes > 0 ? l.blocks[l.root[t]].offset : 0;
    *arena_bytes = total;
done:
    eff_free(l.blocks);
    eff_free(l.root);
    eff_free(l.readers);
    eff_free(l.local);
    eff_free(l.time);
    return st;
}

EffStatus eff_plan_layout_arena(EffPlan *plan)
{
    const size_t n = (size_t)plan->n_tensors;
    uint64_t *offsets = eff_calloc(n, sizeof *offsets);
    if (offsets == NULL)
        return eff_fail_nomem(n * sizeof *offsets, "the memory plan");
    const EffStatus st = eff_plan_layout(plan, true, offsets, &plan->arena_bytes);
    for (size_t t = 0; t < n && st == EFF_OK; t++)
        plan->tensors[t].arena_offset = offsets[t];
    eff_free(offsets);
    return st;
}
