/* SPDX-License-Identifier: Apache-2.0 */
/* Opening models: a file becomes a proven plan, its weights are packed for the CPU. */
#include "base/cpu.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "format/bin.h"
#include "runtime/session.h"

#include <stdio.h>
#include <string.h>

int eff_model_is_bin(const void *data, size_t size)
{
    return size >= EFF_BIN_MAGIC_BYTES && memcmp(data, eff_bin_magic, EFF_BIN_MAGIC_BYTES) == 0;
}

static EffStatus build_layers(EffModel *m)
{
    const EffPlan *plan = &m->plan;
    m->layers = eff_calloc((size_t)plan->n_steps, sizeof *m->layers);
    m->readers = eff_calloc((size_t)plan->n_tensors, sizeof *m->readers);
    if (m->layers == NULL || m->readers == NULL)
        return eff_fail_nomem((size_t)plan->n_steps * sizeof *m->layers, "the model");
    eff_plan_quads_readers(plan, m->readers);
    EffLayerMem mem = {0};
    for (int i = 0; i < plan->n_steps; i++) /* how much there will be */
        eff_layer_build(&m->layers[i], &mem, plan, &plan->steps[i], m->readers, &m->kernels);
    m->params = eff_calloc(1, mem.used);
    if (m->params == NULL)
        return eff_fail_nomem(mem.used, "packed weights");
    mem = (EffLayerMem){.base = m->params};
    for (int i = 0; i < plan->n_steps; i++) {
        size_t each, shared;
        eff_layer_build(&m->layers[i], &mem, plan, &plan->steps[i], m->readers, &m->kernels);
        if (!eff_layer_scratch(&each, &shared, &m->layers[i], plan, &plan->steps[i]))
            return eff_fail(EFF_ERR_LIMIT, "%s: needs too much memory; use a smaller input", plan->steps[i].name);
        m->each_bytes = each > m->each_bytes ? each : m->each_bytes;
        m->shared_bytes = shared > m->shared_bytes ? shared : m->shared_bytes;
    }
    m->each_bytes = eff_align_up(m->each_bytes);
    return EFF_OK;
}

static bool has_int8_step(const EffPlan *plan)
{
    for (int i = 0; i < plan->n_steps; i++) {
        if (plan->steps[i].op < EFF_STEP_F32_INPUT)
            return true;
    }
    return false;
}

static EffStatus select_kernels(EffModel *m, const char *cpu)
{
    unsigned flags = 0;
    const EffStatus st = eff_cpu_level_find(&flags, cpu != NULL ? cpu : "auto");
    if (st != EFF_OK)
        return st;
    eff_kernels_init(&m->kernels, flags);
    m->info.cpu = eff_cpu_level_name(flags);
    return EFF_OK;
}

EffStatus eff_model_from_plan(EffModel **out, EffPlan *plan, const char *cpu)
{
    EffModel *m = eff_calloc(1, sizeof *m);
    if (m == NULL)
        return eff_fail_nomem(sizeof *m, "the model");
    m->plan = *plan;
    EffStatus st = select_kernels(m, cpu);
    if (st == EFF_OK)
        st = build_layers(m);
    if (st != EFF_OK) {
        m->plan = (EffPlan){0}; /* stays the caller's */
        eff_model_close(m);
        return st;
    }
    *plan = (EffPlan){0};
    const EffPlan *p = &m->plan;
    m->info.name = p->name;
    m->info.n_classes = p->n_classes;
    m->info.labels = (const char *const *)p->labels;
    m->info.provenance = p->provenance;
    m->info.pre = p->pre;
    m->info.params = p->params;
    m->info.macs = p->macs;
    m->info.data_bytes = p->data_bytes;
    m->info.arena_bytes = p->arena_bytes;
    m->info.n_steps = p->n_steps;
    m->info.is_int8 = has_int8_step(p);
    *out = m;
    return EFF_OK;
}

EffStatus eff_model_read(EffModel **out, const void *data, size_t size, const char *name, const char *cpu)
{
    EffPlan plan;
    char sha256[65];
    EffStatus st = eff_bin_read(&plan, sha256, data, size, name);
    if (st != EFF_OK)
        return st;
    EffModel *m = NULL;
    st = eff_model_from_plan(&m, &plan, cpu);
    eff_plan_free(&plan);
    if (st != EFF_OK)
        return st;
    memcpy(m->info.sha256, sha256, sizeof m->info.sha256);
    m->info.file_bytes = size;
    *out = m;
    return EFF_OK;
}

EffStatus eff_model_open(EffModel **out, const char *path, const char *cpu)
{
    EffBytes bytes;
    EffStatus st = eff_file_read(&bytes, path, EFF_PLAN_MAX_FILE);
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
    eff_free(m->readers);
    eff_free(m->params);
    eff_free(m);
}

const EffModelInfo *eff_model_info(const EffModel *m)
{
    return &m->info;
}
