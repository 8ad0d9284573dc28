/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a compiled model: read, prove, pack for the CPU. */
#include "runtime/session.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "format/bin.h"

#include <assert.h>
#include <string.h>

int eff_model_is_bin(const void *data, size_t size)
{
    return size >= EFF_BIN_MAGIC_BYTES && memcmp(data, eff_bin_magic, EFF_BIN_MAGIC_BYTES) == 0;
}

/* Build all layers; twice, first to learn how much memory they take. */
static EffStatus build_layers(EffModel *m)
{
    const EffPlan *plan = &m->plan;
    const size_t n = (size_t)plan->n_steps;
    int *readers = eff_calloc((size_t)plan->n_tensors, sizeof *readers);
    m->layers = eff_calloc(n, sizeof *m->layers);
    if (readers == NULL || m->layers == NULL) {
        eff_free(readers);
        return eff_fail_nomem(n * sizeof *m->layers, "the model's layers");
    }
    eff_plan_quads_readers(plan, readers);
    EffLayerMem mem = {0};
    for (size_t i = 0; i < n; i++)
        eff_layer_build(&m->layers[i], &mem, plan, &plan->steps[i], readers, &m->kernels);
    const size_t n_bytes = mem.used;
    m->params = eff_malloc_hot(n_bytes);
    m->params_end = eff_calloc(n, sizeof *m->params_end);
    mem = (EffLayerMem){.base = m->params};
    const bool ok = m->params != NULL && m->params_end != NULL;
    if (ok)
        memset(m->params, 0, n_bytes);
    for (size_t i = 0; ok && i < n; i++) {
        size_t each, shared;
        eff_layer_build(&m->layers[i], &mem, plan, &plan->steps[i], readers, &m->kernels);
        m->params_end[i] = mem.used;
        eff_layer_scratch(&each, &shared, &m->layers[i], &plan->steps[i]); /* its bounds are proven */
        m->scratch_each = each > m->scratch_each ? each : m->scratch_each;
        m->scratch_shared = shared > m->scratch_shared ? shared : m->scratch_shared;
    }
    m->scratch_each = eff_align_up(m->scratch_each);
    eff_free(readers);
    return ok ? EFF_OK : eff_fail_nomem(n_bytes, "packed weights");
}

/* The forms of the groups, which are proven. */
static EffStatus resolve_groups(EffModel *m)
{
    const EffPlan *plan = &m->plan;
    m->groups = eff_calloc((size_t)plan->n_groups, sizeof *m->groups);
    m->local = eff_calloc((size_t)plan->n_tensors, sizeof *m->local);
    if (m->groups == NULL || m->local == NULL)
        return eff_fail_nomem((size_t)plan->n_tensors * sizeof *m->local, "the model's groups");
    eff_plan_find_locals(plan, m->local);
    for (int i = 0; i < plan->n_groups; i++) {
        const char *why = eff_group_resolve(&m->groups[i], plan, m->local, i);
        assert(why == NULL);
        (void)why;
    }
    return EFF_OK;
}

static void describe(EffModel *m, unsigned flags)
{
    const EffPlan *plan = &m->plan;
    m->info = (EffModelInfo){
        .name = plan->name,
        .n_classes = plan->n_classes,
        .labels = (const char *const *)plan->labels,
        .provenance = plan->provenance,
        .pre = plan->pre,
        .params = plan->params,
        .macs = plan->macs,
        .data_bytes = plan->data_bytes,
        .arena_bytes = plan->arena_bytes,
        .n_steps = plan->n_steps,
        .cpu = eff_cpu_level_name(flags),
    };
    for (int i = 0; i < plan->n_steps; i++) {
        m->info.is_int8 |= !eff_step_is_float(plan->steps[i].op);
        m->info.n_int16 += eff_step_is_wide(plan->steps[i].op);
        m->info.n_float += eff_step_is_float_node(plan->steps[i].op);
    }
}

/* The plan is proven. */
static EffStatus create(EffModel **out, EffPlan *plan, unsigned flags)
{
    EffModel *m = eff_calloc(1, sizeof *m);
    if (m == NULL)
        return eff_fail_nomem(sizeof *m, "the model");
    m->plan = *plan;
    eff_kernels_init(&m->kernels, flags);
    EffStatus st = resolve_groups(m);
    if (st == EFF_OK)
        st = build_layers(m);
    if (st != EFF_OK) {
        m->plan = (EffPlan){0}; /* stays the caller's */
        eff_model_close(m);
        return st;
    }
    *plan = (EffPlan){0};
    describe(m, flags);
    *out = m;
    return EFF_OK;
}

EffStatus eff_model_from_plan(EffModel **out, EffPlan *plan, const char *cpu)
{
    unsigned flags;
    EffStatus st = eff_cpu_level_find(&flags, cpu != NULL ? cpu : "auto");
    if (st != EFF_OK || (st = eff_plan_check(plan)) != EFF_OK)
        return st;
    return create(out, plan, flags);
}

EffStatus eff_model_read(EffModel **out, const void *data, size_t size, const char *name, const char *cpu)
{
    unsigned flags;
    char sha256[65];
    EffPlan plan;
    EffModel *m;
    EffStatus st = eff_cpu_level_find(&flags, cpu != NULL ? cpu : "auto");
    if (st != EFF_OK || (st = eff_bin_read(&plan, sha256, data, size, name)) != EFF_OK)
        return st;
    if ((st = create(&m, &plan, flags)) != EFF_OK) {
        eff_plan_free(&plan);
        return st;
    }
    memcpy(m->info.sha256, sha256, sizeof m->info.sha256);
    m->info.file_bytes = size;
    *out = m;
    return EFF_OK;
}

EffStatus eff_model_open(EffModel **out, const char *path, const char *cpu)
{
    EffBytes bytes;
    EffStatus st = eff_file_read(&bytes, path, (size_t)EFF_PLAN_MAX_FILE);
    if (st != EFF_OK)
        return st;
    st = eff_model_read(out, bytes.data, bytes.size, path, cpu);
    eff_free(bytes.data);
    return st;
}

EffStatus eff_model_verify(const char *path)
{
    EffBytes bytes;
    EffStatus st = eff_file_read(&bytes, path, EFF_PLAN_MAX_FILE);
    if (st != EFF_OK)
        return st;
    st = eff_bin_verify(bytes.data, bytes.size, path);
    eff_free(bytes.data);
    return st;
}

void eff_model_close(EffModel *m)
{
    if (m == NULL)
        return;
    eff_plan_free(&m->plan);
    eff_free(m->layers);
    eff_free(m->groups);
    eff_free(m->local);
    eff_free(m->params);
    eff_free(m->params_end);
    eff_free(m);
}

const EffModelInfo *eff_model_info(const EffModel *m)
{
    return &m->info;
}

const EffPlan *eff_model_plan(const EffModel *m)
{
    return &m->plan;
}
