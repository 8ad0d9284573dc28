/* SPDX-License-Identifier: Apache-2.0 */
/* A session: the memory and the threads of one run at a time. */
#include "runtime/exec.h"
#include "base/mem.h"
#include "base/status.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static size_t image_bytes(const EffPlan *plan)
{
    return (size_t)plan->pre.size * (size_t)plan->pre.size * EFF_STEM_CH;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Where tensors are and how groups are cut. */
static EffStatus plan_memory(EffSession *s, const EffTileLimits *limits)
{
    const EffModel *m = s->model;
    const size_t n_tensors = (size_t)m->plan.n_tensors, n_groups = (size_t)m->plan.n_groups;
    s->offsets = eff_calloc(n_tensors, sizeof *s->offsets);
    if (s->offsets == NULL)
        return eff_fail_nomem(n_tensors * sizeof *s->offsets, "a session");
    s->each_bytes = m->scratch_each;
    s->shared_bytes = m->scratch_shared;
    if (limits == NULL)
        return eff_plan_layout(&m->plan, false, s->offsets, &s->arena_bytes);
    s->tiles = eff_calloc(n_groups, sizeof *s->tiles);
    if (s->tiles == NULL)
        return eff_fail_nomem(n_groups * sizeof *s->tiles, "a session");
    for (size_t i = 0; i < n_groups; i++) {
        eff_tile_choose(&s->tiles[i], &m->plan, m->layers, &m->groups[i], limits, eff_pool_size(s->pool));
        s->each_bytes = larger(s->each_bytes, eff_align_up(s->tiles[i].each_bytes));
        s->shared_bytes = larger(s->shared_bytes, s->tiles[i].shared_bytes);
    }
    for (size_t t = 0; t < n_tensors; t++)
        s->offsets[t] = m->plan.tensors[t].arena_offset;
    s->arena_bytes = m->plan.arena_bytes;
    return EFF_OK;
}

/* limits: NULL for steps one by one. */
static EffStatus create(EffSession **out, const EffModel *m, int n_threads, const EffTileLimits *limits)
{
    EffSession *s = eff_calloc(1, sizeof *s);
    if (s == NULL)
        return eff_fail_nomem(sizeof *s, "a session");
    s->model = m;
    EffStatus st = eff_pool_create(&s->pool, n_threads);
    if (st == EFF_OK)
        st = plan_memory(s, limits);
    if (st == EFF_OK) {
        s->arena = eff_malloc_hot((size_t)s->arena_bytes);
        s->image = eff_calloc(1, image_bytes(&m->plan) + EFF_OVERREAD);
        s->each = eff_calloc((size_t)eff_pool_size(s->pool), s->each_bytes);
        s->shared = eff_calloc(1, s->shared_bytes);
        if (s->arena == NULL || s->image == NULL || s->each == NULL || s->shared == NULL)
            st = eff_fail_nomem((size_t)s->arena_bytes, "activations");
    }
    if (st != EFF_OK) {
        eff_session_destroy(s);
        return st;
    }
    *out = s;
    return EFF_OK;
}

EffStatus eff_session_create(EffSession **out, const EffModel *m, int n_threads)
{
    return create(out, m, n_threads, &eff_tile_limits);
}

EffStatus eff_session_create_unfused(EffSession **out, const EffModel *m, int n_threads)
{
    return create(out, m, n_threads, NULL);
}

EffStatus eff_session_create_tiled(EffSession **out, const EffModel *m, int n_threads, const EffTileLimits *limits)
{
    return create(out, m, n_threads, limits);
}

void eff_session_destroy(EffSession *s)
{
    if (s == NULL)
        return;
    eff_pool_destroy(s->pool);
    eff_free(s->tiles);
    eff_free(s->offsets);
    eff_free(s->arena);
    eff_free(s->image);
    eff_free(s->each);
    eff_free(s->shared);
    eff_free(s->times);
    eff_free(s->names);
    eff_free(s);
}

/* NULL where there is no tensor, and for those that are local to a group. */
void *eff_session_tensor(EffSession *s, int tensor)
{
    if (tensor == EFF_PLAN_NONE || (s->tiles != NULL && s->model->local[tensor] != EFF_PLAN_NONE))
        return NULL;
    return tensor == 0 ? s->image : s->arena + s->offsets[tensor];
}

static EffRun run_of(EffSession *s, int index)
{
    const EffPlan *plan = &s->model->plan;
    const EffPlanStep *step = &plan->steps[index];
    return (EffRun){.session = s,
                    .step = step,
                    .layer = &s->model->layers[index],
                    .in = &plan->tensors[step->in[0]],
                    .to = eff_step_output(plan, step),
                    .src = {eff_session_tensor(s, step->in[0]), eff_session_tensor(s, step->in[1])},
                    .dst = {eff_session_tensor(s, step->out[0]), eff_session_tensor(s, step->out[1])}};
}

/* What runs at a time in this session: where it is not fused, a step. */
static bool next_item(const EffSession *s, EffItem *item)
{
    if (s->tiles != NULL)
        return eff_next_item(&s->model->plan, item);
    *item = (EffItem){.first = item->end, .end = item->end + 1, .group = EFF_PLAN_NONE};
    return item->first < s->model->plan.n_steps;
}

static void run_step(EffSession *s, int index)
{
    EffRun run = run_of(s, index);
    if (eff_step_is_float(run.step->op))
        eff_exec_f32(&run);
    else
        eff_exec_int8(&run);
}

/* Where the parameters end that are read up to the end of the group after `*item`, which moves there. */
static size_t next_group_end(const EffSession *s, EffItem *item)
{
    size_t end = s->model->params_end[item->end - 1];
    while (next_item(s, item)) {
        end = s->model->params_end[item->end - 1];
        if (item->group != EFF_PLAN_NONE)
            break;
    }
    return end;
}

/*
 * What is fetched while a group runs: the parameters of the steps after it, up to the end of the next group, and while
 * a convolution runs, which has more time than a projection, most of the group after that. Not more than a cache holds
 * beside what is in use.
 */
static EffAhead ahead_of(EffSession *s, const EffItem *item, const EffGroup *group)
{
    enum { MOST = 1 << 20 };
    const EffModel *m = s->model;
    EffItem next = *item;
    /* A group of three convolutions reads too much of its own: fetching beside it made Lite0 slower by 7 %. */
    if (group->form == EFF_GROUP_DW && group->project != EFF_PLAN_NONE)
        return (EffAhead){0};
    const size_t own_end = m->params_end[item->end - 1], begin = s->fetched > own_end ? s->fetched : own_end;
    size_t end = next_group_end(s, &next);
    if (group->form == EFF_GROUP_DW)
        end += (next_group_end(s, &next) - end) / 3 * 2;
    end = end < own_end + MOST ? end : own_end + MOST;
    s->fetched = end > begin ? end : begin;
    return (EffAhead){m->params + begin, m->params + s->fetched};
}

static void run_item(EffSession *s, const EffItem *item)
{
    if (item->group == EFF_PLAN_NONE) {
        run_step(s, item->first);
        return;
    }
    EffGroupRun group = {.group = &s->model->groups[item->group],
                         .tile = &s->tiles[item->group],
                         .ahead = ahead_of(s, item, &s->model->groups[item->group])};
    for (int i = item->first; i < item->end; i++)
        group.run[i - item->first] = run_of(s, i);
    eff_exec_group(&group);
}

void eff_session_run_steps(EffSession *s, int begin, int end)
{
    assert(s->tiles == NULL); /* unfused */
    for (int i = begin; i < end; i++)
        run_step(s, i);
}

void eff_session_run_tapped(EffSession *s, const uint8_t *pixels, float *logits, eff_step_tap_fn *tap, void *ctx)
{
    const EffPlan *plan = &s->model->plan;
    assert(tap == NULL || s->tiles == NULL);
    memcpy(s->image, pixels, image_bytes(plan));
    EffStepTime *time = s->times;
    s->fetched = 0;
    for (EffItem item = {0}; next_item(s, &item);) {
        const double start = time != NULL ? eff_now() : 0;
        run_item(s, &item);
        if (time != NULL) {
            const double took = eff_now() - start;
            time->seconds += took;
            time->best = time->best == 0 || took < time->best ? took : time->best;
            time++;
        }
        for (int k = 0; tap != NULL && k < 2; k++) {
            const int out = plan->steps[item.first].out[k];
            if (out != EFF_PLAN_NONE)
                tap(ctx, item.first, &plan->tensors[out], eff_session_tensor(s, out));
        }
    }
    memcpy(logits, eff_session_tensor(s, plan->output), (size_t)plan->n_classes * sizeof *logits);
}

void eff_session_run(EffSession *s, const uint8_t *pixels, float *logits)
{
    eff_session_run_tapped(s, pixels, logits, NULL, NULL);
}

/* "pw", or of a group "pw+dw+pool"; all that groups hold fit. */
static void join_ops(char op[EFF_STEP_OP_BYTES], const EffPlan *plan, const EffItem *item)
{
    size_t n = 0;
    for (int i = item->first; i < item->end; i++)
        n += (size_t)snprintf(op + n, EFF_STEP_OP_BYTES - n, "%s%s", i > item->first ? "+" : "",
                              eff_step_op_name(plan->steps[i].op));
    assert(n < EFF_STEP_OP_BYTES);
}

EffStatus eff_session_profile(EffSession *s)
{
    const EffPlan *plan = &s->model->plan;
    const size_t n = (size_t)plan->n_steps;
    if (s->times == NULL) {
        s->times = eff_calloc(n, sizeof *s->times);
        s->names = eff_calloc(n, sizeof *s->names);
        if (s->times == NULL || s->names == NULL) {
            eff_free(s->times);
            eff_free(s->names);
            s->times = NULL;
            s->names = NULL;
            return eff_fail_nomem(n * sizeof *s->times, "the profile");
        }
    }
    s->n_times = 0;
    for (EffItem item = {0}; next_item(s, &item);) {
        EffStepTime *time = &s->times[s->n_times++];
        *time = (EffStepTime){.names = &s->names[item.first], .n_steps = item.end - item.first};
        for (int i = item.first; i < item.end; i++) {
            s->names[i] = plan->steps[i].name;
            time->macs += s->model->layers[i].macs;
        }
        join_ops(time->op, plan, &item);
    }
    return EFF_OK;
}

const EffStepTime *eff_session_times(const EffSession *s, size_t *n)
{
    *n = s->n_times;
    return s->times;
}

EffSessionMemory eff_session_memory(const EffSession *s)
{
    const size_t n_threads = (size_t)eff_pool_size(s->pool);
    return (EffSessionMemory){.arena_bytes = s->arena_bytes,
                              .scratch_bytes = n_threads * s->each_bytes + s->shared_bytes};
}
