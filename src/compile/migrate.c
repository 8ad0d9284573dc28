/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pointwise convolution reads u8 inputs with a step s[c] a channel, which its weights take up. Coarse steps round the
 * inputs coarsely; fine ones make the weights of that channel small beside the others of the row, whose largest sets
 * the row's step. With independent roundings the squared error of the output is
 *
 *     (inputs + rows * spread) / 12
 *     inputs = sum over c of A[c] s[c]^2
 *     rows   = sum over o of (max over c of |W[o][c]| s[c] / 127)^2
 *     spread = sum over c of V[c] / s[c]^2
 *
 * A[c] the squared weights of a channel, V[c] its variance. It is evaluated for steps s[c] = max(own[c], K g[c]), own
 * the step at which the channel's range just fits, for some shapes g and many K; the best is taken. Multiplying a
 * channel by a constant and dividing its weights by it changes the optimum by just that constant, but for the shapes
 * that look at ranges alone. (SmoothQuant, Xiao et al., arXiv 2211.10438, section 4, is one shape at one K, and an
 * exponent by hand.)
 */
#include "compile/migrate.h"
#include "base/mem.h"
#include "base/status.h"
#include "quant/slots.h"

#include <math.h>

enum { N_SHAPES = 4, MOST_STEPS = 32 };

/* ---- Variances ---- */

/* Sums over the positions of one picture, and over all. */
typedef struct Sums {
    EffRunSlot run;
    const size_t *at; /* [n_values] where a value's channels begin; SIZE_MAX: not wanted */
    double *x, *xx;
} Sums;

typedef struct Job {
    const EffGraph *g;
    Sums *slots;
    size_t *at;
    size_t n; /* channels of all values */
    double *x, *xx;
} Job;

static void add_picture(void *ctx, int node, EffShape shape, const float *data)
{
    Sums *s = ctx;
    const size_t at = s->at[s->run.g->nodes[node].out], n = (size_t)shape.h * (size_t)shape.w, n_ch = (size_t)shape.c;
    if (at == SIZE_MAX)
        return;
    double *restrict x = s->x + at, *restrict xx = s->xx + at;
    for (size_t p = 0; p < n; p++, data += n_ch) {
        for (size_t c = 0; c < n_ch; c++) {
            x[c] += (double)data[c];
            xx[c] += (double)data[c] * (double)data[c];
        }
    }
    for (size_t c = 0; c < n_ch; c++) {
        x[c] /= (double)n;
        xx[c] /= (double)n;
    }
}

static EffStatus run_picture(void *ctx, size_t picture, int worker, const uint8_t *pixels)
{
    Job *job = ctx;
    Sums *s = &job->slots[worker];
    (void)picture;
    for (size_t i = 0; i < job->n; i++)
        s->x[i] = s->xx[i] = 0;
    eff_run_slot_run(&s->run, pixels, add_picture, s);
    return EFF_OK;
}

static void commit(void *ctx, int worker)
{
    Job *job = ctx;
    for (size_t i = 0; i < job->n; i++) {
        job->x[i] += job->slots[worker].x[i];
        job->xx[i] += job->slots[worker].xx[i];
    }
}

/* ---- Steps ---- */

/* ReLU and ReLU6 keep channels alike: little to win, and what quiet channels do on other pictures would be cut off. */
static bool is_clamped(const EffGraph *g, int value)
{
    const EffNode *n = &g->nodes[g->values[value].producer];
    return n->op == EFF_OP_ACT && (n->act == EFF_ACTIVATION_RELU || n->act == EFF_ACTIVATION_RELU6);
}

static bool reads(const EffGraph *g, int node, int value)
{
    const EffNode *n = &g->nodes[node];
    const EffShape s = g->values[value].shape;
    return n->op == EFF_OP_CONV && n->in[0] == value && value != g->input && eff_conv_is_pointwise(&n->conv) &&
           s.h * s.w > 1 && !is_clamped(g, value);
}

/* One value, and the convolutions that read it. */
typedef struct Problem {
    const EffGraph *g;
    int value;
    size_t n_ch;
    double *own;   /* [c] */
    double *var;   /* [c] */
    double *power; /* [c] squared weights, of all readers */
    double *shape; /* [c] */
    double *step;  /* [c] */
    double *best;  /* [c] */
} Problem;

static bool counts(const Problem *p, size_t c)
{
    return p->own[c] > 0 && p->power[c] > 0;
}

static double error_of(const Problem *p)
{
    double inputs = 0, spread = 0, rows = 0;
    for (size_t c = 0; c < p->n_ch; c++) {
        if (!counts(p, c))
            continue;
        inputs += p->power[c] * p->step[c] * p->step[c];
        spread += p->var[c] / (p->step[c] * p->step[c]);
    }
    for (int i = 0; i < p->g->n_nodes; i++) {
        if (!reads(p->g, i, p->value))
            continue;
        const EffConv *conv = &p->g->nodes[i].conv;
        for (size_t o = 0; o < (size_t)conv->out_ch; o++) {
            const float *w = conv->wgt.data + o * p->n_ch;
            double most = 0;
            for (size_t c = 0; c < p->n_ch; c++) {
                const double v = fabs((double)w[c]) * p->step[c];
                most = v > most ? v : most;
            }
            rows += most * most;
        }
    }
    return inputs + rows / (127 * 127) * spread;
}

static double shape_of(const Problem *p, int shape, size_t c)
{
    switch (shape) {
    case 0: return 1;                                   /* all alike */
    case 1: return 1 / sqrt(p->power[c]);               /* weights alike */
    case 2: return sqrt(sqrt(p->var[c] / p->power[c])); /* where both errors of a channel are alike */
    default: return sqrt(p->own[c]);                    /* half way between the tensor's and the channel's range */
    }
}

/* Steps with the least error go to `best`. */
static void solve(Problem *p)
{
    const double half = sqrt(0.5);
    double least = HUGE_VAL;
    for (int shape = 0; shape < N_SHAPES; shape++) {
        double scale = 0;
        for (size_t c = 0; c < p->n_ch; c++) {
            p->shape[c] = counts(p, c) ? shape_of(p, shape, c) : 0;
            if (p->shape[c] > 0)
                scale = fmax(scale, p->own[c] / p->shape[c]);
        }
        bool same = false; /* as with the next smaller scale */
        for (int i = 0; i < MOST_STEPS && !same; i++, scale *= half) {
            same = true;
            for (size_t c = 0; c < p->n_ch; c++) {
                p->step[c] = fmax(p->own[c], scale * p->shape[c]);
                same &= !(p->step[c] > p->own[c]);
            }
            const double error = error_of(p);
            if (error < least) {
                least = error;
                for (size_t c = 0; c < p->n_ch; c++)
                    p->best[c] = p->step[c];
            }
        }
    }
}

static EffStatus choose(EffTuning *tuning, const EffGraph *g, int value, const EffRange *range, const double *x,
                        const double *xx, double n_pictures)
{
    const size_t n = (size_t)range->c;
    double *all = eff_calloc(6 * n, sizeof *all);
    float *factor = eff_calloc(n, sizeof *factor);
    if (all == NULL || factor == NULL) {
        eff_free(all);
        eff_free(factor);
        return eff_fail_nomem(6 * n * sizeof *all, "scales");
    }
    Problem p = {.g = g,
                 .value = value,
                 .n_ch = n,
                 .own = all,
                 .var = all + n,
                 .power = all + 2 * n,
                 .shape = all + 3 * n,
                 .step = all + 4 * n,
                 .best = all + 5 * n};
    for (size_t c = 0; c < n; c++) {
        const double mean = x[c] / n_pictures;
        p.own[c] = ((double)range->max[c] - (double)range->min[c]) / 255;
        p.var[c] = fmax(xx[c] / n_pictures - mean * mean, 0);
        for (int i = 0; i < g->n_nodes; i++) {
            const EffConv *conv = &g->nodes[i].conv;
            for (size_t o = 0; reads(g, i, value) && o < (size_t)conv->out_ch; o++)
                p.power[c] += (double)conv->wgt.data[o * n + c] * (double)conv->wgt.data[o * n + c];
        }
    }
    solve(&p);
    for (size_t c = 0; c < n; c++)
        factor[c] = counts(&p, c) && p.best[c] > p.own[c] ? (float)(p.best[c] / p.own[c]) : 1;
    eff_free(all);
    eff_free(tuning->factors[value]);
    tuning->factors[value] = factor;
    return EFF_OK;
}

EffStatus eff_migrate(EffTuning *tuning, const EffGraph *g, const EffReference *reference, const EffRanges *ranges,
                      const EffPictures *pictures, const EffQuantizeOptions *options)
{
    const size_t n_slots = eff_run_slot_count(options);
    Job job = {.g = g};
    EffStatus st = EFF_OK;
    job.at = eff_calloc((size_t)g->n_values, sizeof *job.at);
    job.slots = eff_calloc(n_slots, sizeof *job.slots);
    if (job.at == NULL || job.slots == NULL)
        st = eff_fail_nomem((size_t)g->n_values * sizeof *job.at, "variances");
    for (int v = 0; v < g->n_values && st == EFF_OK; v++) {
        job.at[v] = SIZE_MAX;
        for (int i = 0; i < g->n_nodes && job.at[v] == SIZE_MAX; i++)
            job.at[v] = reads(g, i, v) ? job.n : SIZE_MAX;
        job.n += job.at[v] != SIZE_MAX ? (size_t)g->values[v].shape.c : 0;
    }
    double *sums = eff_calloc(2 * (n_slots + 1) * job.n, sizeof *sums);
    if (st == EFF_OK && sums == NULL)
        st = eff_fail_nomem(2 * (n_slots + 1) * job.n * sizeof *sums, "variances");
    job.x = sums;
    job.xx = sums != NULL ? sums + job.n : NULL;
    for (size_t i = 0; i < n_slots && st == EFF_OK; i++) {
        job.slots[i].at = job.at;
        job.slots[i].x = sums + 2 * (i + 1) * job.n;
        job.slots[i].xx = job.slots[i].x + job.n;
        st = eff_run_slot_create(&job.slots[i].run, g, reference);
    }
    if (st == EFF_OK)
        st = eff_each_picture(pictures, options, "choosing scales", g->pre.size, run_picture, commit, &job);
    for (int v = 0; v < g->n_values && st == EFF_OK; v++) {
        if (job.at[v] != SIZE_MAX)
            st = choose(tuning, g, v, &ranges->values[v], job.x + job.at[v], job.xx + job.at[v], (double)pictures->n);
    }
    for (size_t i = 0; job.slots != NULL && i < n_slots; i++)
        eff_run_slot_free(&job.slots[i].run);
    eff_free(sums);
    eff_free(job.slots);
    eff_free(job.at);
    return st;
}
