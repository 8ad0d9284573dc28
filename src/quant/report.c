/* SPDX-License-Identifier: Apache-2.0 */
/* Running a compiled model and the float network side by side. */
#include "quant/report.h"
#include "base/mem.h"
#include "base/status.h"
#include "quant/divergence.h"
#include "quant/slots.h"
#include "runtime/session.h"

#include <math.h>
#include <string.h>

typedef struct Slot {
    EffRunSlot run;
    EffSession *session;
    float *values;      /* the largest tensor in float */
    uint8_t *store;     /* all compared tensors of the compiled model, as they are */
    EffErrorSums *sums; /* of the current picture, laid out as the totals */
    float *logits;      /* of the compiled model; those of the float network are in `run` */
    const struct Job *job;
} Slot;

typedef struct Job {
    const EffPlan *plan;
    const EffGraph *g;
    EffTensorErrors *totals;
    size_t *offsets; /* [n_tensors] into the store */
    int *readers;
    float *limits; /* [n_sums][2] what each channel holds, and half a step around it */
    const EffModel *model;
    Slot *slots;
} Job;

double eff_error_sqnr_db(const EffErrorSums *e)
{
    return eff_sqnr_db(e->signal, e->error);
}

double eff_error_cosine(const EffErrorSums *e)
{
    return e->signal > 0 && e->power > 0 ? e->dot / sqrt(e->signal * e->power) : 0;
}

static void add_sums(EffErrorSums *to, const EffErrorSums *e)
{
    to->signal += e->signal;
    to->error += e->error;
    to->dot += e->dot;
    to->power += e->power;
    to->n += e->n;
    to->cut_off += e->cut_off;
    to->max_error = fmaxf(to->max_error, e->max_error);
    to->min = fminf(to->min, e->min);
    to->max = fmaxf(to->max, e->max);
}

static void clear_sums(EffErrorSums *sums, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[i] = (EffErrorSums){.min = INFINITY, .max = -INFINITY};
}

EffErrorSums eff_error_total(const EffTensorError *e)
{
    EffErrorSums total;
    clear_sums(&total, 1);
    for (int c = 0; c < e->c; c++)
        add_sums(&total, &e->channels[c]);
    return total;
}

/* Step and limits of a channel's integers. */
static float range_of(const EffPlan *plan, int tensor, int channel, float *min, float *max)
{
    const EffPlanTensor *t = &plan->tensors[tensor];
    if (t->type == EFF_TENSOR_F32 || t->n_scales == 0) {
        *min = -INFINITY;
        *max = INFINITY;
        return 0;
    }
    const int k = t->n_scales > 1 ? channel : 0;
    const float scale = ((const float *)(const void *)(plan->data + t->scale))[k];
    const int zero = t->type == EFF_TENSOR_U8 ? plan->data[t->zero + (size_t)k] : 0;
    *min = scale * (float)(t->type == EFF_TENSOR_U8 ? -zero : -32768);
    *max = scale * (float)(t->type == EFF_TENSOR_U8 ? 255 - zero : 32767);
    return scale;
}

void eff_tensor_range(const EffPlan *plan, int tensor, int channel, float *min, float *max)
{
    (void)range_of(plan, tensor, channel, min, max);
}

static void keep(void *ctx, int step, const EffPlanTensor *tensor, const void *data)
{
    Slot *slot = ctx;
    (void)step;
    const int t = (int)(tensor - eff_model_plan(slot->job->model)->tensors);
    size_t n_bytes = 0;
    if (slot->job->totals->tensors[t].node >= 0 &&
        eff_plan_tensor_bytes(&n_bytes, slot->job->plan, t, slot->job->readers[t]))
        memcpy(slot->store + slot->job->offsets[t], data, n_bytes);
}

static void compare_values(EffErrorSums *sums, const float *limits, const float *x, const float *r, size_t n_pixels,
                           size_t n_ch)
{
    for (size_t p = 0; p < n_pixels; p++, x += n_ch, r += n_ch) {
        for (size_t c = 0; c < n_ch; c++) {
            EffErrorSums *e = &sums[c];
            const double a = (double)r[c], b = (double)x[c], d = b - a;
            const float magnitude = fabsf(x[c] - r[c]);
            e->signal += a * a;
            e->error += d * d;
            e->dot += a * b;
            e->power += b * b;
            e->n++;
            e->cut_off += r[c] < limits[2 * c] || r[c] > limits[2 * c + 1];
            e->max_error = magnitude > e->max_error ? magnitude : e->max_error;
            e->min = r[c] < e->min ? r[c] : e->min;
            e->max = r[c] > e->max ? r[c] : e->max;
        }
    }
}

static void compare(void *ctx, int node, EffShape shape, const float *data)
{
    Slot *slot = ctx;
    const Job *job = slot->job;
    for (int t = 0; t < job->plan->n_tensors; t++) {
        const EffTensorError *e = &job->totals->tensors[t];
        if (e->node != node)
            continue;
        const size_t first = (size_t)(e->channels - job->totals->storage);
        (void)eff_tensor_to_f32(job->plan, t, slot->store + job->offsets[t], slot->values);
        compare_values(slot->sums + first, job->limits + 2 * first, slot->values, data,
                       (size_t)shape.h * (size_t)shape.w, (size_t)shape.c);
    }
}

static EffStatus run_picture(void *ctx, size_t picture, int worker, const uint8_t *pixels)
{
    Job *job = ctx;
    Slot *slot = &job->slots[worker];
    (void)picture;
    clear_sums(slot->sums, job->totals->n_sums);
    eff_session_run_tapped(slot->session, pixels, slot->logits, keep, slot);
    eff_run_slot_run(&slot->run, pixels, compare, slot);
    return EFF_OK;
}

static void commit(void *ctx, int worker)
{
    Job *job = ctx;
    const Slot *slot = &job->slots[worker];
    const size_t n_classes = (size_t)job->g->values[job->g->output].shape.c;
    for (size_t i = 0; i < job->totals->n_sums; i++)
        add_sums(&job->totals->storage[i], &slot->sums[i]);
    job->totals->n_pictures++;
    job->totals->n_agree += eff_best_class(slot->logits, n_classes) == eff_best_class(slot->run.logits, n_classes);
    job->totals->kl += eff_softmax_kl(slot->run.logits, slot->logits, n_classes);
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
    slot->sums = eff_calloc(job->totals->n_sums, sizeof *slot->sums);
    slot->logits = eff_calloc((size_t)job->g->values[job->g->output].shape.c, sizeof *slot->logits);
    if (slot->values == NULL || slot->store == NULL || slot->sums == NULL || slot->logits == NULL)
        return eff_fail_nomem(store_bytes, "the report");
    const EffStatus st = eff_run_slot_create(&slot->run, job->g, reference);
    return st == EFF_OK ? eff_session_create_unfused(&slot->session, model, 1) : st;
}

/* Which tensors are compared, and room for what is found. */
static EffStatus errors_create(EffTensorErrors *out, const EffPlan *plan, const EffGraph *g)
{
    EffTensorErrors e = {.n_tensors = plan->n_tensors};
    e.tensors = eff_calloc((size_t)plan->n_tensors, sizeof *e.tensors);
    for (int t = 0; t < plan->n_tensors && e.tensors != NULL; t++) {
        e.tensors[t] = (EffTensorError){.node = find_node(g, &plan->tensors[t]), .c = plan->tensors[t].c};
        e.n_sums += e.tensors[t].node >= 0 ? (size_t)e.tensors[t].c : 0;
    }
    e.storage = eff_calloc(e.n_sums, sizeof *e.storage);
    if (e.tensors == NULL || e.storage == NULL) {
        eff_tensor_errors_free(&e);
        return eff_fail_nomem(e.n_sums * sizeof *e.storage, "the report");
    }
    clear_sums(e.storage, e.n_sums);
    size_t at = 0;
    for (int t = 0; t < plan->n_tensors; t++) {
        e.tensors[t].channels = e.storage + at;
        at += e.tensors[t].node >= 0 ? (size_t)e.tensors[t].c : 0;
    }
    *out = e;
    return EFF_OK;
}

void eff_tensor_errors_free(EffTensorErrors *e)
{
    eff_free(e->tensors);
    eff_free(e->storage);
    *e = (EffTensorErrors){0};
}

/* Where each compared tensor is kept, and what its channels hold. */
static void lay_out(Job *job, size_t *store_bytes, size_t *most_values)
{
    const EffPlan *plan = job->plan;
    *store_bytes = 0;
    *most_values = 1;
    eff_plan_quads_readers(plan, job->readers);
    for (int t = 0; t < plan->n_tensors; t++) {
        const EffPlanTensor *tensor = &plan->tensors[t];
        const EffTensorError *e = &job->totals->tensors[t];
        size_t n_bytes = 0;
        if (e->node < 0 || !eff_plan_tensor_bytes(&n_bytes, plan, t, job->readers[t]))
            continue;
        const size_t n = (size_t)tensor->h * (size_t)tensor->w * (size_t)tensor->c;
        *most_values = n > *most_values ? n : *most_values;
        job->offsets[t] = *store_bytes;
        *store_bytes += eff_align_up(n_bytes);
        float *limits = job->limits + 2 * (e->channels - job->totals->storage);
        for (int c = 0; c < tensor->c; c++) {
            const float half = 0.5f * range_of(plan, t, c, &limits[2 * c], &limits[2 * c + 1]);
            limits[2 * c] -= half;
            limits[2 * c + 1] += half;
        }
    }
}

EffStatus eff_compare_tensors(EffTensorErrors *out, const EffPlan *plan, const EffModel *model, const EffGraph *g,
                              const EffReference *reference, const EffPictures *pictures,
                              const EffQuantizeOptions *options)
{
    const size_t n_slots = eff_run_slot_count(options);
    EffTensorErrors errors;
    EffStatus st = errors_create(&errors, plan, g);
    if (st != EFF_OK)
        return st;
    Job job = {.plan = plan, .g = g, .totals = &errors, .model = model};
    size_t store_bytes = 0, most_values = 1;
    job.offsets = eff_calloc((size_t)plan->n_tensors, sizeof *job.offsets);
    job.slots = eff_calloc(n_slots, sizeof *job.slots);
    job.readers = eff_calloc((size_t)plan->n_tensors, sizeof *job.readers);
    job.limits = eff_calloc(2 * errors.n_sums, sizeof *job.limits);
    if (job.offsets == NULL || job.slots == NULL || job.readers == NULL || job.limits == NULL)
        st = eff_fail_nomem((size_t)plan->n_tensors * sizeof *job.offsets, "the report");
    else
        lay_out(&job, &store_bytes, &most_values);
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
        eff_free(slot->sums);
        eff_free(slot->logits);
    }
    eff_free(job.slots);
    eff_free(job.offsets);
    eff_free(job.readers);
    eff_free(job.limits);
    if (st == EFF_OK)
        *out = errors;
    else
        eff_tensor_errors_free(&errors);
    return st;
}
