/* SPDX-License-Identifier: Apache-2.0 */
/* Running a compiled model and the float network side by side. */
#include "quant/report.h"
#include "base/mem.h"
#include "base/status.h"
#include "quant/slots.h"
#include "runtime/session.h"

#include <math.h>
#include <string.h>

typedef struct Slot {
    EffRunSlot run;
    EffSession *session;
    float *values;          /* the largest tensor in float */
    uint8_t *store;         /* all compared tensors of the compiled model, as they are */
    EffTensorError *errors; /* of the current picture */
    const struct Job *job;
} Slot;

typedef struct Job {
    const EffPlan *plan;
    const EffGraph *g;
    EffTensorError *totals;
    size_t *offsets; /* [n_tensors] into the store */
    int *readers;
    const EffModel *model;
    Slot *slots;
} Job;

double eff_error_sqnr_db(const EffTensorError *e)
{
    return eff_sqnr_db(e->signal, e->error);
}

double eff_error_cosine(const EffTensorError *e)
{
    return e->signal > 0 && e->power > 0 ? e->dot / sqrt(e->signal * e->power) : 0;
}

static void keep(void *ctx, int step, const EffPlanTensor *tensor, const void *data)
{
    Slot *slot = ctx;
    (void)step;
    const int t = (int)(tensor - eff_model_plan(slot->job->model)->tensors);
    size_t n_bytes = 0;
    if (slot->job->totals[t].node >= 0 && eff_plan_tensor_bytes(&n_bytes, slot->job->plan, t, slot->job->readers[t]))
        memcpy(slot->store + slot->job->offsets[t], data, n_bytes);
}

static void compare(void *ctx, int node, EffShape shape, const float *data)
{
    Slot *slot = ctx;
    const Job *job = slot->job;
    const size_t n = eff_shape_count(shape);
    for (int t = 0; t < job->plan->n_tensors; t++) {
        if (job->totals[t].node != node)
            continue;
        (void)eff_tensor_to_f32(job->plan, t, slot->store + job->offsets[t], slot->values);
        EffTensorError *e = &slot->errors[t];
        for (size_t i = 0; i < n; i++) {
            const double r = (double)data[i], x = (double)slot->values[i], d = x - r;
            e->signal += r * r;
            e->error += d * d;
            e->dot += x * r;
            e->power += x * x;
        }
    }
}

static EffStatus run_picture(void *ctx, size_t picture, int worker, const uint8_t *pixels)
{
    Job *job = ctx;
    Slot *slot = &job->slots[worker];
    (void)picture;
    memset(slot->errors, 0, (size_t)job->plan->n_tensors * sizeof *slot->errors);
    eff_session_run_tapped(slot->session, pixels, slot->run.logits, keep, slot);
    eff_run_slot_run(&slot->run, pixels, compare, slot);
    return EFF_OK;
}

static void commit(void *ctx, int worker)
{
    Job *job = ctx;
    for (int t = 0; t < job->plan->n_tensors; t++) {
        const EffTensorError *e = &job->slots[worker].errors[t];
        job->totals[t].signal += e->signal;
        job->totals[t].error += e->error;
        job->totals[t].dot += e->dot;
        job->totals[t].power += e->power;
    }
}

/* Node of the same name and shape; -1 for intermediates. */
static int find_node(const EffGraph *g, const EffPlanTensor *t)
{
    for (int i = 0; i < g->n_nodes && t->name[0] != '\0'; i++) {
        const EffShape s = g->values[g->nodes[i].out].shape;
        if (strcmp(g->nodes[i].name, t->name) == 0 && s.h == t->h && s.w == t->w && s.c == t->c)
            return t->n_scales > 0 || t->type == EFF_TENSOR_F32 ? i : -1;
    }
    return -1;
}

static EffStatus slot_create(Slot *slot, const Job *job, const EffModel *model, const EffReference *reference,
                             size_t store_bytes, size_t most_values)
{
    slot->job = job;
    slot->values = eff_calloc(most_values, sizeof *slot->values);
    slot->store = eff_malloc(store_bytes);
    slot->errors = eff_calloc((size_t)job->plan->n_tensors, sizeof *slot->errors);
    if (slot->values == NULL || slot->store == NULL || slot->errors == NULL)
        return eff_fail_nomem(store_bytes, "the report");
    const EffStatus st = eff_run_slot_create(&slot->run, job->g, reference);
    return st == EFF_OK ? eff_session_create_unfused(&slot->session, model, 1) : st;
}

EffStatus eff_compare_tensors(EffTensorError *out, const EffPlan *plan, const EffModel *model, const EffGraph *g,
                              const EffReference *reference, const EffPictures *pictures,
                              const EffQuantizeOptions *options)
{
    const size_t n_slots = eff_run_slot_count(options);
    Job job = {.plan = plan, .g = g, .totals = out, .model = model};
    size_t store_bytes = 0, most_values = 1;
    EffStatus st = EFF_OK;
    job.offsets = eff_calloc((size_t)plan->n_tensors, sizeof *job.offsets);
    job.slots = eff_calloc(n_slots, sizeof *job.slots);
    job.readers = eff_calloc((size_t)plan->n_tensors, sizeof *job.readers);
    if (job.readers != NULL)
        eff_plan_quads_readers(plan, job.readers);
    if (job.offsets == NULL || job.slots == NULL || job.readers == NULL)
        st = eff_fail_nomem((size_t)plan->n_tensors * sizeof *job.offsets, "the report");
    for (int t = 0; t < plan->n_tensors && st == EFF_OK; t++) {
        const EffPlanTensor *tensor = &plan->tensors[t];
        size_t n_bytes = 0;
        out[t] = (EffTensorError){.node = find_node(g, tensor)};
        if (out[t].node < 0 || !eff_plan_tensor_bytes(&n_bytes, plan, t, job.readers[t]))
            continue;
        const size_t n = (size_t)tensor->h * (size_t)tensor->w * (size_t)tensor->c;
        most_values = n > most_values ? n : most_values;
        job.offsets[t] = store_bytes;
        store_bytes += eff_align_up(n_bytes);
    }
    for (size_t i = 0; i < n_slots && st == EFF_OK; i++)
        st = slot_create(&job.slots[i], &job, model, reference, store_bytes, most_values);
    if (st == EFF_OK)
        st = eff_each_picture(pictures, options, "measuring errors", g->pre.size, run_picture, commit, &job);
    for (size_t i = 0; job.slots != NULL && i < n_slots; i++) {
        Slot *slot = &job.slots[i];
        eff_run_slot_free(&slot->run);
        eff_session_destroy(slot->session);
        eff_free(slot->values);
        eff_free(slot->store);
        eff_free(slot->errors);
    }
    eff_free(job.slots);
    eff_free(job.offsets);
    eff_free(job.readers);
    return st;
}
