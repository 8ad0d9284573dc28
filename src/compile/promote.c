/* SPDX-License-Identifier: Apache-2.0 */
/* The measurements, and what follows from them; doc/quantization.md has the formulas. */
#include "compile/promote.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/suggest.h"
#include "base/threads.h"
#include "compile/tune.h"
#include "quant/divergence.h"
#include "quant/slots.h"
#include "runtime/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RANK_PICTURES = 16, HELD_BACK = 64, LEAST_PICTURES = 8 };

/* Pictures with the float network's logits. */
typedef struct Sample {
    size_t n;
    size_t *index; /* [n] of all pictures */
    uint8_t *pixels;
    float *logits;
} Sample;

typedef struct Job {
    EffTuning *tuning;
    const EffGraph *g;
    const EffRanges *ranges;
    const EffActChoice *choices;
    size_t n_choices, n_classes, n_pixels;
    const EffPictures *pictures;
    const EffQuantizeOptions *options;
    EffPool *pool;
    EffSession **sessions; /* [workers] */
    EffRunSlot *slots;     /* [workers] */
    EffStatus *status;     /* [RANK_PICTURES + HELD_BACK] of loading a picture */
    Sample *sample;        /* at work */
    float *logits;         /* [RANK_PICTURES + HELD_BACK][n_classes] of the compiled network */
    size_t n_done, n_total;
} Job;

static void sample_free(Sample *s)
{
    eff_free(s->index);
    eff_free(s->pixels);
    eff_free(s->logits);
}

/* ---- Running ---- */

static void load_pictures(void *ctx, size_t begin, size_t end, int worker)
{
    Job *job = ctx;
    const Sample *s = job->sample;
    for (size_t i = begin; i < end; i++) {
        uint8_t *pixels = s->pixels + i * job->n_pixels;
        job->status[i] = job->pictures->get(job->pictures->ctx, s->index[i], pixels);
        if (job->status[i] != EFF_OK)
            continue;
        eff_run_slot_run(&job->slots[worker], pixels, NULL, NULL);
        memcpy(s->logits + i * job->n_classes, job->slots[worker].logits, job->n_classes * sizeof(float));
    }
}

/* `index` holds n entries already. */
static EffStatus sample_fill(Job *job, Sample *s)
{
    s->pixels = eff_calloc(s->n, job->n_pixels);
    s->logits = eff_calloc(s->n * job->n_classes, sizeof *s->logits);
    if (s->pixels == NULL || s->logits == NULL)
        return eff_fail_nomem(s->n * job->n_pixels, "pictures");
    job->sample = s;
    eff_pool_run(job->pool, s->n, 1, load_pictures, job);
    for (size_t i = 0; i < s->n; i++) {
        if (job->status[i] != EFF_OK) {
            uint8_t *again = s->pixels; /* in this thread, for its message */
            const EffStatus st = job->pictures->get(job->pictures->ctx, s->index[i], again);
            return st != EFF_OK ? st : job->status[i];
        }
    }
    return EFF_OK;
}

static void run_pictures(void *ctx, size_t begin, size_t end, int worker)
{
    Job *job = ctx;
    for (size_t i = begin; i < end; i++)
        eff_session_run(job->sessions[worker], job->sample->pixels + i * job->n_pixels,
                        job->logits + i * job->n_classes);
}

/* job->logits of a sample, with the types as they are. */
static EffStatus run_sample(Job *job, Sample *s)
{
    EffPlan plan = {0};
    EffModel *model = NULL;
    job->tuning->asked = -1;
    job->tuning->n_needed = 0;
    job->sample = s;
    EffStatus st = eff_lower_int8(&plan, job->g, job->ranges, job->choices, job->n_choices, job->tuning);
    if (st == EFF_OK)
        st = eff_model_from_plan(&model, &plan, NULL);
    eff_plan_free(&plan);
    for (int i = 0; i < eff_pool_size(job->pool) && st == EFF_OK; i++)
        st = eff_session_create(&job->sessions[i], model, 1);
    if (st == EFF_OK)
        eff_pool_run(job->pool, s->n, 1, run_pictures, job);
    for (int i = 0; i < eff_pool_size(job->pool); i++) {
        eff_session_destroy(job->sessions[i]);
        job->sessions[i] = NULL;
    }
    eff_model_close(model);
    job->n_done++;
    if (st == EFF_OK && job->options->progress != NULL &&
        job->options->progress(job->options->ctx, "ranking nodes", job->n_done, job->n_total) != 0)
        st = eff_fail(EFF_ERR_INTERRUPTED, "interrupted while ranking nodes");
    return st;
}

static EffStatus mean_kl(Job *job, Sample *s, double *out)
{
    const EffStatus st = run_sample(job, s);
    double sum = 0;
    for (size_t i = 0; i < s->n && st == EFF_OK; i++)
        sum += eff_softmax_kl(s->logits + i * job->n_classes, job->logits + i * job->n_classes, job->n_classes);
    *out = sum / (double)s->n;
    return st;
}

/* Points of agreement that are lost. */
static EffStatus drop(Job *job, Sample *s, double *out)
{
    const EffStatus st = run_sample(job, s);
    size_t differ = 0;
    for (size_t i = 0; i < s->n && st == EFF_OK; i++)
        differ += eff_best_class(s->logits + i * job->n_classes, job->n_classes) !=
                  eff_best_class(job->logits + i * job->n_classes, job->n_classes);
    *out = 100.0 * (double)differ / (double)s->n;
    return st;
}

/* ---- Deciding ---- */

static int by_gain(const void *a, const void *b)
{
    const EffNodeRank *x = a, *y = b;
    return x->gain != y->gain ? (x->gain < y->gain ? 1 : -1) : (x->node > y->node) - (x->node < y->node);
}

static EffStatus rank(Job *job, EffPromotion *p, Sample *s)
{
    EffStatus st = mean_kl(job, s, &p->summary.kl);
    for (size_t i = 0; i < p->n_ranks && st == EFF_OK; i++) {
        double kl = 0;
        job->tuning->types[p->ranks[i].node] = EFF_NODE_INT16;
        st = mean_kl(job, s, &kl);
        job->tuning->types[p->ranks[i].node] = EFF_NODE_INT8;
        p->ranks[i].gain = p->summary.kl - kl;
    }
    qsort(p->ranks, p->n_ranks, sizeof *p->ranks, by_gain);
    return st;
}

static void promote(Job *job, EffPromotion *p, size_t i, const char *reason)
{
    job->tuning->types[p->ranks[i].node] = EFF_NODE_INT16;
    p->ranks[i].type = "int16";
    p->ranks[i].reason = reason;
    p->summary.n_promoted++;
}

static EffStatus decide(Job *job, EffPromotion *p, Sample *held_back)
{
    const EffQuantizeOptions *o = job->options;
    const size_t most = o->int16_nodes > 0 ? o->int16_nodes : p->n_ranks;
    EffStatus st = EFF_OK;
    if (held_back->n > 0)
        st = drop(job, held_back, &p->summary.drop_before);
    p->summary.drop = p->summary.drop_before;
    for (size_t i = 0; i < p->n_ranks && i < most && p->ranks[i].gain > 0 && st == EFF_OK; i++) {
        if (held_back->n > 0 && p->summary.drop <= o->max_drop)
            break;
        promote(job, p, i, held_back->n > 0 ? "drop" : "gain");
        if (held_back->n > 0)
            st = drop(job, held_back, &p->summary.drop);
    }
    p->summary.reached = held_back->n == 0 || p->summary.drop <= o->max_drop;
    return st;
}

/* Up to `most` of the pictures, evenly spread: with held_back those at every fourth place, else the others. */
static EffStatus choose_pictures(Sample *s, size_t n_all, size_t most, bool split, bool held_back)
{
    size_t n = 0;
    size_t *all = eff_calloc(n_all, sizeof *all);
    if (all == NULL)
        return eff_fail_nomem(n_all * sizeof *all, "pictures");
    for (size_t i = 0; i < n_all; i++) {
        if (!split || (i % 4 == 3) == held_back)
            all[n++] = i;
    }
    s->n = n < most ? n : most;
    for (size_t i = 0; i < s->n; i++)
        all[i] = all[i * n / s->n];
    s->index = all;
    return EFF_OK;
}

static EffStatus job_create(Job *job, const EffReference *reference)
{
    const size_t n_workers = (size_t)eff_pool_size(job->pool), n_most = RANK_PICTURES + HELD_BACK;
    job->sessions = eff_calloc(n_workers, sizeof(EffSession *));
    job->slots = eff_calloc(n_workers, sizeof *job->slots);
    job->status = eff_calloc(n_most, sizeof *job->status);
    job->logits = eff_calloc(n_most * job->n_classes, sizeof *job->logits);
    if (job->sessions == NULL || job->slots == NULL || job->status == NULL || job->logits == NULL)
        return eff_fail_nomem(n_most * job->n_classes * sizeof *job->logits, "logits");
    EffStatus st = EFF_OK;
    for (size_t i = 0; i < n_workers && st == EFF_OK; i++)
        st = eff_run_slot_create(&job->slots[i], job->g, reference);
    return st;
}

static void job_free(Job *job)
{
    for (int i = 0; job->slots != NULL && i < eff_pool_size(job->pool); i++)
        eff_run_slot_free(&job->slots[i]);
    eff_free(job->sessions);
    eff_free(job->slots);
    eff_free(job->status);
    eff_free(job->logits);
    eff_pool_destroy(job->pool);
}

static EffStatus measure(EffPromotion *p, Job *job, const EffReference *reference)
{
    const EffQuantizeOptions *o = job->options;
    Sample seen = {0}, held_back = {0};
    const size_t n_all = job->pictures->n;
    job->n_total = p->n_ranks + 1 + (o->has_max_drop ? 1 : 0);
    if (o->has_max_drop && n_all < LEAST_PICTURES)
        return eff_fail(EFF_ERR_ARG,
                        "a largest drop is estimated on every fourth picture, and there are %zu; give %d "
                        "or more, or name a number of nodes",
                        n_all, LEAST_PICTURES);
    EffStatus st = eff_pool_create(&job->pool, o->n_threads);
    if (st != EFF_OK)
        return st;
    st = job_create(job, reference);
    if (st == EFF_OK)
        st = choose_pictures(&seen, n_all, RANK_PICTURES, o->has_max_drop, false);
    if (st == EFF_OK)
        st = sample_fill(job, &seen);
    if (st == EFF_OK && o->has_max_drop)
        st = choose_pictures(&held_back, n_all, HELD_BACK, true, true);
    if (st == EFF_OK && o->has_max_drop)
        st = sample_fill(job, &held_back);
    if (st == EFF_OK)
        st = rank(job, p, &seen);
    if (st == EFF_OK)
        st = decide(job, p, &held_back);
    p->summary.n_pictures = seen.n;
    p->summary.n_held_back = held_back.n;
    sample_free(&seen);
    sample_free(&held_back);
    job_free(job);
    return st;
}

/* What the report says of activations is what they are. */
static void refine_activations(const EffTuning *tuning, const EffGraph *g, EffActChoice *choices, size_t n)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (tuning->types[i] == EFF_NODE_INT8)
            continue;
        const int act = g->values[g->nodes[i].in[0]].producer;
        for (size_t k = 0; act >= 0 && k < n; k++) {
            if (g->nodes[act].op == EFF_OP_ACT && choices[k].conv == g->values[g->nodes[act].in[0]].producer)
                choices[k].kind = EFF_ACT_INTERP;
        }
    }
}

/* ---- Float nodes ---- */

/* Whether a name stands in a list with commas. */
static bool is_listed(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == '\0'))
            return true;
    }
    return false;
}

static EffStatus check_float_node(EffTable *table, const EffGraph *g, const char *name)
{
    int i = 0;
    while (i < g->n_nodes && strcmp(g->nodes[i].name, name) != 0)
        i++;
    if (i == g->n_nodes) {
        const char *near = eff_suggest(name, (const char *const *)(const void *)&g->nodes[0].name, (size_t)g->n_nodes,
                                       sizeof *g->nodes);
        return eff_fail(EFF_ERR_ARG, "float nodes: %s has no node '%s'; %s%s%s", g->name, name,
                        near != NULL ? "did you mean '" : "its nodes stand in the table that quantize writes",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
    }
    if (!eff_node_can_be_wide(g, i))
        return eff_fail(EFF_ERR_ARG,
                        "float nodes: %s can't run in float; name pointwise or depthwise convolutions on maps, but for "
                        "the first",
                        name);
    if (table != NULL)
        eff_table_set_float(table, i);
    return EFF_OK;
}

EffStatus eff_check_float_nodes(EffTable *table, const EffGraph *g, const EffQuantizeOptions *options)
{
    EffStatus st = EFF_OK;
    if (options->float_nodes == NULL)
        return st;
    char *names = eff_strdup(options->float_nodes);
    if (names == NULL)
        return eff_fail_nomem(strlen(options->float_nodes), "names");
    for (char *name = names, *next; name != NULL && st == EFF_OK; name = next) {
        next = strchr(name, ',');
        if (next != NULL)
            *next++ = '\0';
        st = check_float_node(table, g, name);
    }
    eff_free(names);
    return st;
}

/* What the table and the options say of a node; the reason, or NULL. */
static const char *given_type(uint8_t *type, const EffGraph *g, int node, const EffTable *table,
                              const EffQuantizeOptions *options)
{
    if (!eff_node_can_be_wide(g, node))
        return NULL;
    *type = EFF_NODE_F32;
    if (options->float_nodes != NULL && is_listed(options->float_nodes, g->nodes[node].name))
        return "option";
    if (table != NULL && eff_table_is_float(table, node))
        return "table";
    *type = table != NULL && eff_table_is_int16(table, node) ? EFF_NODE_INT16 : EFF_NODE_INT8;
    return *type == EFF_NODE_INT16 ? "table" : NULL;
}

void eff_promotion_free(EffPromotion *p)
{
    eff_free(p->ranks);
    *p = (EffPromotion){0};
}

EffStatus eff_promote(EffPromotion *out, EffTuning *tuning, const EffGraph *g, const EffReference *reference,
                      const EffRanges *ranges, EffActChoice *choices, size_t n_choices, const EffTable *table,
                      const EffPictures *pictures, const EffQuantizeOptions *options)
{
    const bool asked = options->int16_nodes > 0 || options->has_max_drop;
    *out = (EffPromotion){.summary = {.reached = 1}};
    out->ranks = eff_calloc((size_t)g->n_nodes, sizeof *out->ranks);
    if (out->ranks == NULL)
        return eff_fail_nomem((size_t)g->n_nodes * sizeof *out->ranks, "the ranking");
    for (int i = 0; i < g->n_nodes; i++) {
        const bool listed = table != NULL && table->rows[i].line > 0;
        const char *reason = given_type(&tuning->types[i], g, i, table, options);
        if (asked && !listed && reason == NULL && eff_node_can_be_wide(g, i))
            out->ranks[out->n_ranks++] =
                (EffNodeRank){.node = i, .name = g->nodes[i].name, .type = "int8", .reason = ""};
    }
    Job job = {.tuning = tuning,
               .g = g,
               .ranges = ranges,
               .choices = choices,
               .n_choices = n_choices,
               .n_classes = (size_t)g->values[g->output].shape.c,
               .n_pixels = 3 * (size_t)g->pre.size * (size_t)g->pre.size,
               .pictures = pictures,
               .options = options};
    const EffStatus st = asked ? measure(out, &job, reference) : EFF_OK;
    for (int i = 0; i < g->n_nodes && st == EFF_OK; i++) {
        uint8_t type;
        const char *reason = given_type(&type, g, i, table, options);
        if (reason != NULL)
            out->ranks[out->n_ranks++] = (EffNodeRank){.node = i,
                                                       .name = g->nodes[i].name,
                                                       .type = type == EFF_NODE_F32 ? "f32" : "int16",
                                                       .gain = NAN,
                                                       .reason = reason};
    }
    refine_activations(tuning, g, choices, n_choices);
    if (st != EFF_OK)
        eff_promotion_free(out);
    return st;
}
