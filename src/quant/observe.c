/* SPDX-License-Identifier: Apache-2.0 */
/* Running the float network over the calibration pictures, and the ranges of its values. */
#include "quant/observe.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"
#include "quant/loud.h"
#include "quant/slots.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Every picture, in rounds ---- */

typedef struct Round {
    const EffPictures *pictures;
    eff_each_fn *fn;
    void *ctx;
    uint8_t *pixels; /* [workers][size][size][3] */
    size_t n_bytes, first;
    EffStatus *status;      /* [workers] */
    char (*messages)[1024]; /* [workers] */
} Round;

/* Items are slots of the round, so that a slot's state does not depend on which thread runs it. */
static void run_slots(void *ctx, size_t begin, size_t end, int worker)
{
    Round *r = ctx;
    (void)worker;
    for (size_t slot = begin; slot < end; slot++) {
        uint8_t *pixels = r->pixels + slot * r->n_bytes;
        EffStatus st = r->pictures->get(r->pictures->ctx, r->first + slot, pixels);
        if (st == EFF_OK && r->fn != NULL)
            st = r->fn(r->ctx, r->first + slot, (int)slot, pixels);
        r->status[slot] = st;
        if (st != EFF_OK)
            snprintf(r->messages[slot], sizeof r->messages[slot], "%s", eff_last_message());
    }
}

EffStatus eff_each_picture(const EffPictures *pictures, const EffQuantizeOptions *options, const char *phase, int size,
                           eff_each_fn *fn, eff_commit_fn *commit, void *ctx)
{
    EffPool *pool = NULL;
    EffStatus st = eff_pool_create(&pool, options->n_threads);
    if (st != EFF_OK)
        return st;
    const size_t n_slots = (size_t)eff_pool_size(pool);
    Round r = {.pictures = pictures, .fn = fn, .ctx = ctx, .n_bytes = (size_t)size * (size_t)size * 3};
    r.pixels = eff_malloc(n_slots * r.n_bytes);
    r.status = eff_calloc(n_slots, sizeof *r.status);
    r.messages = eff_calloc(n_slots, sizeof *r.messages);
    if (r.pixels == NULL || r.status == NULL || r.messages == NULL)
        st = eff_fail_nomem(n_slots * r.n_bytes, "pictures");
    for (; r.first < pictures->n && st == EFF_OK; r.first += n_slots) {
        const size_t left = pictures->n - r.first, n = left < n_slots ? left : n_slots;
        eff_pool_run(pool, n, 1, run_slots, &r);
        for (size_t slot = 0; slot < n && st == EFF_OK; slot++) {
            st = r.status[slot];
            if (st != EFF_OK)
                eff_fail(st, "%s", r.messages[slot]);
            else if (commit != NULL)
                commit(ctx, (int)slot);
        }
        if (st == EFF_OK && options->progress != NULL &&
            options->progress(options->ctx, phase, r.first + n, pictures->n) != 0)
            st = eff_fail(EFF_ERR_INTERRUPTED, "interrupted while %s", phase);
    }
    eff_free(r.pixels);
    eff_free(r.status);
    eff_free(r.messages);
    eff_pool_destroy(pool);
    return st;
}

double eff_sqnr_db(double signal, double error)
{
    return error > 0 && signal > 0 ? 10 * log10(signal / error) : signal > 0 ? 200.0 : 0.0;
}

/* ---- Ranges ---- */

float eff_range_min(const EffRange *r)
{
    float v = 0;
    for (int c = 0; c < r->c; c++)
        v = r->min[c] < v ? r->min[c] : v;
    return v;
}

float eff_range_max(const EffRange *r)
{
    float v = 0;
    for (int c = 0; c < r->c; c++)
        v = r->max[c] > v ? r->max[c] : v;
    return v;
}

float eff_range_abs(const EffRange *r)
{
    return fmaxf(-eff_range_min(r), eff_range_max(r));
}

/* Swish is -7e-5 here. Of all such limits it is the largest that still leaves ten fraction bits and a table of knots a
 * quarter apart. */
#define SILENT 12.0f

float eff_range_before(const EffRange *r, EffActivation act)
{
    const float low = -eff_range_min(r), high = eff_range_max(r);
    switch (act) {
    case EFF_ACTIVATION_SILU: return fmaxf(high, fminf(low, SILENT));
    case EFF_ACTIVATION_RELU:
    case EFF_ACTIVATION_RELU6:
    case EFF_ACTIVATION_HSWISH: return fmaxf(high, fminf(low, 4));
    case EFF_ACTIVATION_SIGMOID: return fminf(fmaxf(low, high), SILENT);
    default: return fmaxf(low, high);
    }
}

EffStatus eff_ranges_create(EffRanges *out, const EffGraph *g)
{
    EffRanges r = {.n_values = g->n_values};
    size_t n = 0;
    for (int v = 0; v < g->n_values; v++)
        n += g->values[v].producer >= 0 ? (size_t)g->values[v].shape.c : 0;
    r.values = eff_calloc((size_t)g->n_values, sizeof *r.values);
    r.storage = eff_calloc(2 * n, sizeof *r.storage);
    if (r.values == NULL || r.storage == NULL) {
        eff_ranges_free(&r);
        return eff_fail_nomem(2 * n * sizeof *r.storage, "ranges");
    }
    float *at = r.storage;
    for (int v = 0; v < g->n_values; v++) {
        if (g->values[v].producer < 0)
            continue;
        const int c = g->values[v].shape.c;
        r.values[v] = (EffRange){.min = at, .max = at + c, .c = c};
        at += 2 * c;
    }
    *out = r;
    return EFF_OK;
}

void eff_ranges_free(EffRanges *r)
{
    eff_free(r->values);
    eff_free(r->storage);
    *r = (EffRanges){0};
}

void eff_ranges_widen(EffRanges *r, const EffGraph *g, size_t n_sources)
{
    const float factor = (float)fmin(1 + 2 / sqrt((double)n_sources), 1.65);
    for (int v = 0; v < r->n_values; v++) {
        const int producer = g->values[v].producer;
        const bool clamped =
            producer >= 0 && g->nodes[producer].op == EFF_OP_ACT && g->nodes[producer].act == EFF_ACTIVATION_RELU6;
        for (int c = 0; c < r->values[v].c; c++) {
            r->values[v].min[c] *= factor;
            r->values[v].max[c] *= factor;
            if (clamped && r->values[v].max[c] > 6)
                r->values[v].max[c] = 6;
        }
    }
}

EffStatus eff_ranges_check(const EffRanges *r, const EffGraph *g)
{
    for (int v = 0; v < r->n_values; v++) {
        if (r->values[v].c > 0 && !(eff_range_abs(&r->values[v]) <= EFF_MAX_RANGE))
            return eff_fail(
                EFF_ERR_UNSUPPORTED,
                "%s: values up to %.2g, but int8 covers %.2g; are these the right weights, --arch and --bn-eps?",
                g->nodes[g->values[v].producer].name, (double)eff_range_abs(&r->values[v]), (double)EFF_MAX_RANGE);
    }
    return EFF_OK;
}

typedef struct RangeSlot {
    EffRunSlot run;
    EffRanges ranges;
    float *now;         /* [2][most channels]: minima and maxima of the node at hand */
    float *most;        /* [n_values] of the picture at hand, in the loudness */
    const uint8_t *cut; /* [n_values] of the picture at hand */
    const EffActivation *acts;
    int bad_node; /* first whose output is not finite; -1 */
} RangeSlot;

typedef struct RangeJob {
    RangeSlot *slots;
    const EffGraph *g;
    const EffPictures *pictures;
    EffLoudness *loudness;
    EffActivation *acts; /* [n_values]: what reads the value, where nothing else does */
} RangeJob;

static void note_range(void *ctx, int node, EffShape shape, const float *data)
{
    RangeSlot *slot = ctx;
    const int value = slot->run.g->nodes[node].out;
    const EffRange *r = &slot->ranges.values[value];
    const size_t n = (size_t)shape.h * (size_t)shape.w;
    float *restrict min = slot->now, *restrict max = slot->now + shape.c;
    memset(slot->now, 0, 2 * (size_t)shape.c * sizeof *slot->now);
    for (size_t p = 0; p < n; p++, data += shape.c) {
        for (int c = 0; c < shape.c; c++) {
            min[c] = data[c] < min[c] ? data[c] : min[c];
            max[c] = data[c] > max[c] ? data[c] : max[c];
        }
    }
    /* A NaN never wins a comparison, but it spreads through sums: the last pixel of the logits shows it. */
    for (int c = 0; c < shape.c; c++) {
        if (!(fabsf(min[c]) <= 3e38f && fabsf(max[c]) <= 3e38f) && slot->bad_node < 0)
            slot->bad_node = node;
    }
    /* A channel far left of swish on every picture is not loud: nothing of it is left behind the swish. */
    slot->most[value] = eff_range_before(&(EffRange){.min = min, .max = max, .c = shape.c}, slot->acts[value]);
    for (int c = 0; c < shape.c && !slot->cut[value]; c++) {
        r->min[c] = min[c] < r->min[c] ? min[c] : r->min[c];
        r->max[c] = max[c] > r->max[c] ? max[c] : r->max[c];
    }
}

static EffStatus observe_picture(void *ctx, size_t picture, int worker, const uint8_t *pixels)
{
    RangeJob *job = ctx;
    RangeSlot *slot = &job->slots[worker];
    slot->most = job->loudness->most + picture * (size_t)job->g->n_values;
    slot->cut = job->loudness->cut + picture * (size_t)job->g->n_values;
    eff_run_slot_run(&slot->run, pixels, note_range, slot);
    for (int i = 0; i < job->g->n_classes; i++) {
        if (!isfinite(slot->run.logits[i]) && slot->bad_node < 0)
            slot->bad_node = job->g->n_nodes - 1;
    }
    if (slot->bad_node < 0)
        return EFF_OK;
    char number[32];
    snprintf(number, sizeof number, "picture %zu", picture);
    const char *name = job->pictures->name != NULL ? job->pictures->name(job->pictures->ctx, picture) : number;
    return eff_fail(EFF_ERR_FORMAT, "%s: not finite on %s; are these the right weights and --arch?",
                    job->g->nodes[slot->bad_node].name, name);
}

static int most_channels(const EffGraph *g)
{
    int most = 0;
    for (int v = 0; v < g->n_values; v++)
        most = g->values[v].shape.c > most ? g->values[v].shape.c : most;
    return most;
}

static EffStatus find_acts(EffActivation **out, const EffGraph *g)
{
    EffActivation *acts = eff_calloc((size_t)g->n_values, sizeof *acts);
    if (acts == NULL)
        return eff_fail_nomem((size_t)g->n_values * sizeof *acts, "calibration");
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == EFF_OP_ACT && g->values[g->nodes[i].in[0]].n_consumers == 1)
            acts[g->nodes[i].in[0]] = g->nodes[i].act;
    }
    *out = acts;
    return EFF_OK;
}

/* One pass over the pictures; what `loudness` cuts off is left out of the ranges. */
static EffStatus observe(EffRanges *out, EffLoudness *loudness, const EffGraph *g, const EffReference *reference,
                         const EffPictures *pictures, const EffQuantizeOptions *options)
{
    const size_t n_slots = eff_run_slot_count(options);
    RangeJob job = {.g = g, .pictures = pictures, .loudness = loudness};
    EffStatus st = find_acts(&job.acts, g);
    job.slots = eff_calloc(n_slots, sizeof *job.slots);
    if (job.slots == NULL || st != EFF_OK) {
        eff_free(job.acts);
        eff_free(job.slots);
        return eff_fail_nomem(n_slots * sizeof *job.slots, "calibration");
    }
    for (size_t i = 0; i < n_slots && st == EFF_OK; i++) {
        RangeSlot *slot = &job.slots[i];
        slot->bad_node = -1;
        slot->acts = job.acts;
        if ((st = eff_ranges_create(&slot->ranges, g)) == EFF_OK)
            st = eff_run_slot_create(&slot->run, g, reference);
        slot->now = eff_calloc(2 * (size_t)most_channels(g), sizeof *slot->now);
        if (slot->now == NULL && st == EFF_OK)
            st = eff_fail_nomem(2 * (size_t)most_channels(g) * sizeof *slot->now, "calibration");
    }
    if (st == EFF_OK)
        st = eff_each_picture(pictures, options, "observing ranges", g->pre.size, observe_picture, NULL, &job);
    for (size_t i = 1; i < n_slots && st == EFF_OK; i++) {
        for (int v = 0; v < g->n_values; v++) {
            EffRange *a = &job.slots[0].ranges.values[v];
            const EffRange *b = &job.slots[i].ranges.values[v];
            for (int c = 0; c < a->c; c++) {
                a->min[c] = fminf(a->min[c], b->min[c]);
                a->max[c] = fmaxf(a->max[c], b->max[c]);
            }
        }
    }
    if (st == EFF_OK) {
        *out = job.slots[0].ranges;
        job.slots[0].ranges = (EffRanges){0};
    }
    for (size_t i = 0; i < n_slots; i++) {
        eff_run_slot_free(&job.slots[i].run);
        eff_ranges_free(&job.slots[i].ranges);
        eff_free(job.slots[i].now);
    }
    eff_free(job.slots);
    eff_free(job.acts);
    return st;
}

EffStatus eff_observe_ranges(EffRanges *out, EffLoudness *loudness, const EffGraph *g, const EffReference *reference,
                             const EffPictures *pictures, const EffQuantizeOptions *options)
{
    EffLoudness own = {0};
    EffRanges ranges = {0};
    EffStatus st = eff_loudness_create(&own, pictures->n, g->n_values);
    if (st == EFF_OK)
        st = observe(&ranges, &own, g, reference, pictures, options);
    if (st == EFF_OK && options->ranges != EFF_RANGES_MINMAX)
        st = eff_loudness_judge(&own, g);
    if (st == EFF_OK && own.n_cut > 0) { /* seldom: what the channels do without those pictures takes another pass */
        eff_ranges_free(&ranges);
        st = observe(&ranges, &own, g, reference, pictures, options);
    }
    if (st != EFF_OK) {
        eff_ranges_free(&ranges);
        eff_loudness_free(&own);
        return st;
    }
    *out = ranges;
    *loudness = own;
    return EFF_OK;
}
