/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks what runs at a time, steps and groups, and keeps the list of tensors whose bytes are intact. The steps of a
 * group take turns tile by tile, so that they count as one: it reads all that its steps read, and writes all that they
 * write.
 */
#include "format/plan_memory.h"
#include "format/group.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>

/* Bytes of the arena. */
typedef struct Extent {
    uint64_t begin, end;
} Extent;

typedef struct Memory {
    const EffPlan *plan;
    const int *local;
    Extent *extents;   /* [n_tensors]; of the input and of local tensors, which are not in the arena: empty */
    bool *intact;      /* [n_tensors] */
    int *list, n_list; /* the intact ones; they never overlap, so this is short in every real plan */
} Memory;

static bool overlap(Extent a, Extent b)
{
    return a.begin < b.end && b.begin < a.end;
}

/* The same buffers may be the row quads of several depthwise steps, if they see the same buffer. */
static EffStatus check_quads_readers(const EffPlan *plan, const int *readers)
{
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *s = &plan->steps[i];
        if (s->op != EFF_STEP_DW || readers[s->in[0]] == i)
            continue;
        EffQuads a, b;
        eff_plan_quads(&a, plan, s);
        eff_plan_quads(&b, plan, &plan->steps[readers[s->in[0]]]);
        if (a.pad_top != b.pad_top || a.pad_left != b.pad_left || a.n_quads != b.n_quads || a.n_cols != b.n_cols)
            return eff_fail(EFF_ERR_FORMAT, "step %d (%s): its window does not fit the row quads of tensor %d", i,
                            s->name, s->in[0]);
    }
    return EFF_OK;
}

static EffStatus place(Memory *m, const int *readers)
{
    const EffPlan *plan = m->plan;
    uint64_t end = 0;
    for (int t = 1; t < plan->n_tensors; t++) {
        const EffPlanTensor *tensor = &plan->tensors[t];
        size_t n_bytes;
        if (!eff_plan_tensor_bytes(&n_bytes, plan, t, readers[t]))
            return eff_fail(EFF_ERR_LIMIT, "tensor %d (%s): larger than %llu bytes, or row quads that no step reads", t,
                            tensor->name, (unsigned long long)EFF_PLAN_MAX_ARENA);
        if (m->local[t] != EFF_PLAN_NONE) {
            if (tensor->arena_offset != 0)
                return eff_fail(EFF_ERR_FORMAT, "tensor %d (%s): local to group %d, and at %llu in the arena", t,
                                tensor->name, m->local[t], (unsigned long long)tensor->arena_offset);
            continue;
        }
        if (tensor->arena_offset % EFF_ALIGN != 0 || tensor->arena_offset > EFF_PLAN_MAX_ARENA ||
            tensor->arena_offset + eff_align_up(n_bytes) > plan->arena_bytes)
            return eff_fail(EFF_ERR_FORMAT, "tensor %d (%s): %zu bytes at %llu lie outside the arena of %llu", t,
                            tensor->name, n_bytes, (unsigned long long)tensor->arena_offset,
                            (unsigned long long)plan->arena_bytes);
        m->extents[t] = (Extent){tensor->arena_offset, tensor->arena_offset + n_bytes};
        if (tensor->arena_offset + eff_align_up(n_bytes) > end)
            end = tensor->arena_offset + eff_align_up(n_bytes);
    }
    if (plan->arena_bytes != end || end > EFF_PLAN_MAX_ARENA)
        return eff_fail(EFF_ERR_FORMAT, "the arena has %llu bytes, its tensors end at %llu; up to %llu is valid",
                        (unsigned long long)plan->arena_bytes, (unsigned long long)end,
                        (unsigned long long)EFF_PLAN_MAX_ARENA);
    return EFF_OK;
}

/* A sum may take the place of its residual, byte for byte. */
static bool may_replace(const Memory *m, const EffPlanStep *s, int in, int out)
{
    return s->op == EFF_STEP_PW && in == 1 && out == 1 && m->extents[s->in[1]].begin == m->extents[s->out[1]].begin;
}

/* Whether a step of the item before step `end` writes a tensor. */
static bool written_before(const EffPlan *plan, const EffItem *item, int end, int tensor)
{
    for (int i = item->first; i < end; i++) {
        if (plan->steps[i].out[0] == tensor || plan->steps[i].out[1] == tensor)
            return true;
    }
    return false;
}

/* What step i of an item writes, against what a step of it reads. */
static EffStatus check_overlap(const Memory *m, const EffPlanStep *reader, const EffPlanStep *writer)
{
    for (int i = 0; i < 2; i++) {
        for (int o = 0; o < 2; o++) {
            const int in = reader->in[i], out = writer->out[o];
            if (in == EFF_PLAN_NONE || out == EFF_PLAN_NONE || !overlap(m->extents[in], m->extents[out]))
                continue;
            if (reader == writer ? !may_replace(m, reader, i, o) : reader < writer || in != out)
                return eff_fail(EFF_ERR_FORMAT, "it writes tensor %d over its input %d", out, in);
        }
    }
    return EFF_OK;
}

/* Steps a and b of an item, a not after b. */
static EffStatus check_outputs(const Memory *m, const EffPlanStep *a, const EffPlanStep *b)
{
    for (int i = 0; i < 2; i++) {
        for (int o = a == b ? i + 1 : 0; o < 2; o++) {
            if (a->out[i] != EFF_PLAN_NONE && b->out[o] != EFF_PLAN_NONE &&
                overlap(m->extents[a->out[i]], m->extents[b->out[o]]))
                return eff_fail(EFF_ERR_FORMAT, "its outputs overlap");
        }
    }
    return EFF_OK;
}

static EffStatus check_step(const Memory *m, const EffItem *item, int index)
{
    const EffPlanStep *steps = m->plan->steps, *s = &steps[index];
    EffStatus st = EFF_OK;
    for (int i = 0; i < 2; i++) {
        const int in = s->in[i];
        if (in != EFF_PLAN_NONE && !m->intact[in] && !written_before(m->plan, item, index, in))
            return eff_fail(EFF_ERR_FORMAT, "it reads tensor %d, which is not written yet, or overwritten since", in);
    }
    for (int k = item->first; k < item->end && st == EFF_OK; k++) {
        st = check_overlap(m, s, &steps[k]);
        if (st == EFF_OK && k >= index)
            st = check_outputs(m, s, &steps[k]);
    }
    return st;
}

static void write_tensor(Memory *m, int tensor)
{
    int n = 0;
    for (int i = 0; i < m->n_list; i++) {
        const int other = m->list[i];
        m->intact[other] = !overlap(m->extents[other], m->extents[tensor]);
        if (m->intact[other])
            m->list[n++] = other;
    }
    m->list[n++] = tensor;
    m->n_list = n;
    m->intact[tensor] = true;
}

static EffStatus walk(Memory *m)
{
    const EffPlan *plan = m->plan;
    m->intact[0] = true;
    for (EffItem item = {0}; eff_next_item(plan, &item);) {
        for (int i = item.first; i < item.end; i++) {
            const EffStatus st = check_step(m, &item, i);
            if (st != EFF_OK)
                return eff_fail_in(st, "step %d (%s, %s)", i, plan->steps[i].name, eff_step_op_name(plan->steps[i].op));
        }
        for (int i = item.first; i < item.end; i++) {
            for (int o = 0; o < 2; o++) {
                const int out = plan->steps[i].out[o];
                if (out != EFF_PLAN_NONE && m->local[out] == EFF_PLAN_NONE)
                    write_tensor(m, out);
            }
        }
    }
    if (!m->intact[m->plan->output])
        return eff_fail(EFF_ERR_FORMAT, "output: tensor %d is never written, or overwritten since", m->plan->output);
    return EFF_OK;
}

EffStatus eff_plan_check_memory(const EffPlan *plan, const int *readers, const int *local)
{
    const size_t n = (size_t)plan->n_tensors;
    Memory m = {.plan = plan,
                .local = local,
                .extents = eff_calloc(n, sizeof *m.extents),
                .intact = eff_calloc(n, sizeof *m.intact),
                .list = eff_calloc(n, sizeof *m.list)};
    EffStatus st;
    if (m.extents == NULL || m.intact == NULL || m.list == NULL)
        st = eff_fail_nomem(n * (sizeof *m.extents + sizeof *m.list + sizeof *m.intact), "the check of the plan");
    else if ((st = check_quads_readers(plan, readers)) == EFF_OK && (st = place(&m, readers)) == EFF_OK)
        st = walk(&m);
    eff_free(m.extents);
    eff_free(m.intact);
    eff_free(m.list);
    return st;
}
