/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms over pictures, and where to cut them. */
#include "quant/clip.h"
#include "base/mem.h"
#include "base/status.h"
#include "quant/divergence.h"
#include "quant/slots.h"

#include <math.h>

enum { BINS = EFF_CLIP_BINS, LEAST_BINS = 128, STRIDE = 16 };

/* ---- Where to cut ---- */

static int percentile_bins(const EffHistogram *h, double percentile)
{
    uint64_t total = h->zeros, sum = h->zeros;
    for (int i = 0; i < BINS; i++)
        total += h->bins[i];
    int n = 0;
    while (n < BINS && (double)sum < percentile / 100 * (double)total)
        sum += h->bins[n++];
    return n;
}

/* Squared error of n bins in 255 steps, and of cutting off the others at the end of the last; zeros are exact. */
static double squared_error(const EffHistogram *h, int n)
{
    const double step = (double)n * h->span / 255;
    double sum = 0;
    for (int i = 0; i < BINS; i++) {
        const double beyond = i < n ? 0 : i + 0.5 - n;
        sum += (double)h->bins[i] * (i < n ? step * step / 12 : beyond * beyond);
    }
    return sum;
}

/*
 * KL divergence of n bins, the rest counted in the last, from the same in `levels` levels, each spread over its bins
 * that are not empty (Migacz, "8-bit inference with TensorRT", GTC 2017). Infinite where a level is empty and its bins
 * are not.
 */
static double divergence(const EffHistogram *h, int n, int levels)
{
    double all = 0, inside = 0, sum = 0, rest = 0;
    for (int i = n; i < BINS; i++)
        rest += (double)h->bins[i];
    for (int l = 0; l < levels; l++) {
        const int begin = l * n / levels, end = (l + 1) * n / levels;
        double count = 0;
        int n_used = 0;
        for (int i = begin; i < end; i++) {
            count += (double)h->bins[i];
            n_used += h->bins[i] > 0;
        }
        const double ln_q = n_used > 0 ? eff_ln(count / n_used) : 0;
        inside += count;
        for (int i = begin; i < end; i++) {
            const double p = (double)h->bins[i] + (i == n - 1 ? rest : 0);
            if (p > 0 && h->bins[i] == 0)
                return HUGE_VAL;
            all += p;
            sum += p > 0 ? p * (eff_ln(p) - ln_q) : 0;
        }
    }
    return all > 0 && inside > 0 ? sum / all - eff_ln(all) + eff_ln(inside) : HUGE_VAL;
}

int eff_clip_choose(const EffHistogram *h, EffRangeMethod method, double percentile)
{
    if (method == EFF_RANGES_PERCENTILE) {
        const int n = percentile_bins(h, percentile);
        return n > 0 ? n : BINS;
    }
    const int levels = h->span > 1.5 ? 128 : 255;
    int best = BINS;
    double least = HUGE_VAL;
    for (int n = BINS; n >= (method == EFF_RANGES_KL && levels > LEAST_BINS ? levels : LEAST_BINS); n -= STRIDE) {
        const double v = method == EFF_RANGES_KL ? divergence(h, n, levels) : squared_error(h, n);
        if (v < least) {
            least = v;
            best = n;
        }
    }
    return best;
}

/* ---- Over pictures ---- */

typedef struct Slot {
    EffRunSlot run;
    EffHistogram *histograms; /* [n_values]; of those that are asked for */
    const struct Job *job;
} Slot;

typedef struct Job {
    Slot *slots;
    const EffGraph *g;
    const EffRanges *ranges;
    uint8_t *wanted; /* [n_values] 1: a share a channel, 2: one limit for all */
} Job;

static float limit_of(const Job *job, int value, int c)
{
    const EffRange *r = &job->ranges->values[value];
    return job->wanted[value] == 2 ? eff_range_abs(r) : fmaxf(-r->min[c], r->max[c]);
}

static void count(void *ctx, int node, EffShape shape, const float *data)
{
    Slot *slot = ctx;
    const int value = slot->run.g->nodes[node].out;
    if (!slot->job->wanted[value])
        return;
    EffHistogram *h = &slot->histograms[value];
    const size_t n = (size_t)shape.h * (size_t)shape.w, n_ch = (size_t)shape.c;
    for (size_t c = 0; c < n_ch; c++) {
        const float limit = limit_of(slot->job, value, (int)c);
        const float scale = limit > 0 ? BINS / limit : 0;
        for (size_t p = 0; p < n; p++) {
            const float v = fabsf(data[p * n_ch + c]) * scale;
            const int bin = v < BINS ? (int)v : BINS - 1;
            if (v > 0)
                h->bins[bin]++;
            else
                h->zeros++;
        }
    }
}

static EffStatus count_picture(void *ctx, size_t picture, int worker, const uint8_t *pixels)
{
    Job *job = ctx;
    (void)picture;
    eff_run_slot_run(&job->slots[worker].run, pixels, count, &job->slots[worker]);
    return EFF_OK;
}

/* What convolutions read on maps; with one step where a clamp made it and a pointwise one reads it. */
static void find_wanted(uint8_t *wanted, const EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *node = &g->nodes[i];
        const int from = g->values[node->in[0]].producer;
        if (node->op != EFF_OP_CONV || from < 0 || g->values[node->in[0]].shape.h == 1)
            continue;
        const EffNode *producer = &g->nodes[from];
        const bool clamped = producer->op == EFF_OP_ACT &&
                             (producer->act == EFF_ACTIVATION_RELU || producer->act == EFF_ACTIVATION_RELU6);
        wanted[node->in[0]] = clamped && eff_conv_is_pointwise(&node->conv) ? 2 : 1;
    }
}

static void shrink(EffRange *r, float share, bool one_limit)
{
    const float limit = share * eff_range_abs(r);
    for (int c = 0; c < r->c; c++) {
        r->min[c] = one_limit ? fmaxf(r->min[c], -limit) : share * r->min[c];
        r->max[c] = one_limit ? fminf(r->max[c], limit) : share * r->max[c];
    }
}

static void choose(EffRanges *r, const Job *job, size_t n_slots, const EffQuantizeOptions *options)
{
    for (int v = 0; v < r->n_values; v++) {
        if (!job->wanted[v])
            continue;
        EffHistogram *h = &job->slots[0].histograms[v];
        for (size_t i = 1; i < n_slots; i++) {
            const EffHistogram *more = &job->slots[i].histograms[v];
            h->zeros += more->zeros;
            for (int b = 0; b < BINS; b++)
                h->bins[b] += more->bins[b];
        }
        const float most = eff_range_abs(&r->values[v]);
        h->span = most > 0 ? (double)((eff_range_max(&r->values[v]) - eff_range_min(&r->values[v])) / most) : 1;
        shrink(&r->values[v], (float)eff_clip_choose(h, options->ranges, options->percentile) / BINS,
               job->wanted[v] == 2);
    }
}

EffStatus eff_ranges_clip(EffRanges *r, const EffGraph *g, const EffReference *reference, const EffPictures *pictures,
                          const EffQuantizeOptions *options)
{
    const size_t n_slots = eff_run_slot_count(options), n_values = (size_t)g->n_values;
    Job job = {.g = g, .ranges = r};
    job.slots = eff_calloc(n_slots, sizeof *job.slots);
    job.wanted = eff_calloc(n_values, sizeof *job.wanted);
    EffStatus st =
        job.slots != NULL && job.wanted != NULL ? EFF_OK : eff_fail_nomem(n_values * sizeof *job.wanted, "histograms");
    if (st == EFF_OK)
        find_wanted(job.wanted, g);
    for (size_t i = 0; i < n_slots && st == EFF_OK; i++) {
        job.slots[i].job = &job;
        job.slots[i].histograms = eff_calloc(n_values, sizeof *job.slots[i].histograms);
        st = job.slots[i].histograms != NULL ? eff_run_slot_create(&job.slots[i].run, g, reference)
                                             : eff_fail_nomem(n_values * sizeof(EffHistogram), "histograms");
    }
    if (st == EFF_OK)
        st = eff_each_picture(pictures, options, "counting values", g->pre.size, count_picture, NULL, &job);
    if (st == EFF_OK)
        choose(r, &job, n_slots, options);
    for (size_t i = 0; job.slots != NULL && i < n_slots; i++) {
        eff_run_slot_free(&job.slots[i].run);
        eff_free(job.slots[i].histograms);
    }
    eff_free(job.slots);
    eff_free(job.wanted);
    return st;
}
