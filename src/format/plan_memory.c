/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the steps and keeps the list of tensors whose bytes are intact. */
#include "format/plan_memory.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>

/* Bytes of the arena. */
typedef struct Extent {
    uint64_t begin, end;
} Extent;

typedef struct Memory {
    const EffPlan *plan;
    Extent *extents;   /* [n_tensors]; of the input, which is not in the arena: empty */
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

static EffStatus check_reads(const Memory *m, const EffPlanStep *s)
{
    for (int i = 0; i < 2; i++) {
        const int in = s->in[i];
        if (in == EFF_PLAN_NONE)
            continue;
        if (!m->intact[in])
            return eff_fail(EFF_ERR_FORMAT, "it reads tensor %d, which is not written yet, or overwritten since", in);
        for (int o = 0; o < 2; o++) {
            const int out = s->out[o];
            if (out != EFF_PLAN_NONE && overlap(m->extents[in], m->extents[out]) && !may_replace(m, s, i, o))
                return eff_fail(EFF_ERR_FORMAT, "it writes tensor %d over its input %d", out, in);
        }
    }
    if (s->out[0] != EFF_PLAN_NONE && s->out[1] != EFF_PLAN_NONE &&
        overlap(m->extents[s->out[0]], m->extents[s->out[1]]))
        return eff_fail(EFF_ERR_FORMAT, "its outputs overlap");
    return EFF_OK;
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
    m->intact[0] = true;
    for (int i = 0; i < m->plan->n_steps; i++) {
        const EffPlanStep *s = &m->plan->steps[i];
        const EffStatus st = check_reads(m, s);
        if (st != EFF_OK)
            return eff_fail_in(st, "step %d (%s, %s)", i, s->name, eff_step_op_name(s->op));
        for (int o = 0; o < 2; o++) {
            if (s->out[o] != EFF_PLAN_NONE)
                write_tensor(m, s->out[o]);
        }
    }
    if (!m->intact[m->plan->output])
        return eff_fail(EFF_ERR_FORMAT, "output: tensor %d is never written, or overwritten since", m->plan->output);
    return EFF_OK;
}

EffStatus eff_plan_check_memory(const EffPlan *plan, const int *readers)
{
    const size_t n = (size_t)plan->n_tensors;
    Memory m = {.plan = plan,
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
