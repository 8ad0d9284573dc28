/* SPDX-License-Identifier: Apache-2.0 */
/* From a float network to a compiled model: observe, choose, lower, measure. */
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "compile/assess.h"
#include "compile/lower.h"
#include "compile/migrate.h"
#include "compile/promote.h"
#include "compile/tune.h"
#include "format/bin.h"
#include "quant/clip.h"
#include "quant/loud.h"
#include "quant/some.h"
#include "quant/table.h"
#include "runtime/session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ACTIVATION_PICTURES = 16, VARIANCE_PICTURES = 64, CLIP_PICTURES = 64 };

struct EffCompiled {
    EffPlan plan;
    EffAssessment assessment;
    EffPromotion promotion;
    EffLoudPicture *loud;
    char **loud_nodes; /* [n_loud] */
    size_t n_loud;
    char *table; /* NULL for a float model */
};

void eff_compiled_free(EffCompiled *c)
{
    if (c == NULL)
        return;
    eff_plan_free(&c->plan);
    eff_assessment_free(&c->assessment);
    eff_promotion_free(&c->promotion);
    for (size_t i = 0; i < c->n_loud; i++)
        eff_free(c->loud_nodes[i]);
    eff_free(c->loud_nodes);
    eff_free(c->loud);
    eff_free(c->table);
    eff_free(c);
}

static EffStatus compiled_create(EffCompiled **out)
{
    *out = eff_calloc(1, sizeof **out);
    return *out != NULL ? EFF_OK : eff_fail_nomem(sizeof **out, "the compiled model");
}

EffStatus eff_compile_float(EffCompiled **out, const EffGraph *g)
{
    EffCompiled *c;
    EffStatus st = compiled_create(&c);
    if (st != EFF_OK)
        return st;
    st = eff_lower_f32(&c->plan, g, true);
    if (st == EFF_OK && g->labels != NULL)
        st = eff_compiled_set_labels(c, eff_graph_labels(g));
    if (st != EFF_OK) {
        eff_compiled_free(c);
        return st;
    }
    *out = c;
    return EFF_OK;
}

static EffStatus note_loud(EffCompiled *c, const EffGraph *g, const EffLoudness *l)
{
    int value = 0, n_nodes;
    double times;
    size_t n = 0;
    for (size_t p = 0; p < l->n_pictures && l->n_cut > 0; p++)
        n += eff_loudness_worst(l, p, &value, &n_nodes, &times);
    if (n == 0)
        return EFF_OK;
    c->loud = eff_calloc(n, sizeof *c->loud);
    c->loud_nodes = eff_calloc(n, sizeof *c->loud_nodes);
    if (c->loud == NULL || c->loud_nodes == NULL)
        return eff_fail_nomem(n * sizeof *c->loud, "the report");
    for (size_t p = 0; p < l->n_pictures; p++) {
        if (!eff_loudness_worst(l, p, &value, &n_nodes, &times))
            continue;
        char *name = eff_strdup(g->nodes[g->values[value].producer].name);
        if (name == NULL)
            return eff_fail_nomem(64, "the report");
        c->loud_nodes[c->n_loud] = name;
        c->loud[c->n_loud++] = (EffLoudPicture){.picture = p, .node = name, .times = times, .n_nodes = n_nodes};
    }
    return EFF_OK;
}

/* From what was observed to the ranges to lower with: widened or clipped, or as the table says, which may be NULL. */
static EffStatus settle_ranges(EffRanges *r, const EffTable *table, const EffGraph *g, const EffReference *reference,
                               const EffPictures *all, const EffPictures *quiet, const EffQuantizeOptions *o)
{
    EffStatus st = EFF_OK;
    if (table != NULL && eff_table_is_complete(table, g)) {
        /* nothing was observed */
    } else if (o->ranges == EFF_RANGES_AUTO || o->ranges == EFF_RANGES_MINMAX) {
        eff_ranges_widen(r, g, all->n_sources ? all->n_sources : all->n);
    } else {
        EffSomePictures some;
        const EffPictures part = eff_some_pictures(&some, quiet, CLIP_PICTURES);
        st = eff_ranges_clip(r, g, reference, &part, o);
    }
    if (st == EFF_OK && table != NULL)
        eff_table_apply(table, r, g);
    return st == EFF_OK ? eff_ranges_check(r, g) : st;
}

static EffStatus migrate_on(EffTuning *tuning, const EffGraph *g, const EffReference *reference,
                            const EffRanges *ranges, const EffPictures *pictures, const EffQuantizeOptions *o)
{
    EffSomePictures some;
    const EffPictures varied = eff_some_pictures(&some, pictures, VARIANCE_PICTURES);
    return eff_migrate(tuning, g, reference, ranges, &varied, o);
}

/* What a stage before the last is measured with. */
typedef struct Unfinished {
    EffCompiled *c;
    const EffGraph *g;
    const EffReference *reference;
    const EffRanges *ranges;
    const EffActChoice *choices;
    size_t n_choices;
    const EffPictures *pictures;
    const EffQuantizeOptions *options;
} Unfinished;

/* The network with what `tuning` holds so far; NULL: nothing. One that can't be lowered so is not measured. */
static EffStatus assess_unfinished(const Unfinished *u, EffStage stage, EffTuning *tuning)
{
    EffPlan plan = {0};
    EffStatus st = eff_lower_int8(&plan, u->g, u->ranges, u->choices, u->n_choices, tuning);
    EffModel *model = NULL;
    if (st == EFF_OK)
        st = eff_model_from_plan(&model, &plan, NULL);
    if (st == EFF_OK)
        st = eff_assess(&u->c->assessment, stage, eff_model_plan(model), model, u->g, u->reference, u->pictures,
                        u->choices, u->n_choices, u->options);
    eff_model_close(model);
    eff_plan_free(&plan);
    return st == EFF_ERR_UNSUPPORTED ? EFF_OK : st;
}

static EffStatus assess_final(const Unfinished *u)
{
    EffModel *model = NULL;
    EffStatus st = eff_compiled_model(&model, u->c, NULL);
    if (st == EFF_OK)
        st = eff_assess(&u->c->assessment, EFF_STAGE_FINAL, &u->c->plan, model, u->g, u->reference, u->pictures,
                        u->choices, u->n_choices, u->options);
    eff_model_close(model);
    return st;
}

EffStatus eff_quantize(EffCompiled **out, const EffGraph *g, const EffPictures *pictures,
                       const EffQuantizeOptions *options)
{
    static const EffQuantizeOptions defaults = {0};
    const EffQuantizeOptions *o = options != NULL ? options : &defaults;
    if (pictures->n == 0)
        return eff_fail(EFF_ERR_ARG, "no pictures to calibrate on; name a folder that holds some");
    if (eff_graph_rounds(g))
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "%s: the model is quantized already; give the float one, or read it without "
                        "its pairs",
                        g->name);
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == EFF_OP_POOL)
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "%s: a maximum, or a mean that leaves out its padding, runs in float only; "
                            "'effnet compile --float' takes it",
                            g->nodes[i].name);
    }
    EffReference *reference = NULL;
    EffRanges ranges = {0};
    EffLoudness loudness = {0};
    EffTable parsed = {0};
    const EffTable *table = NULL;
    EffTuning tuning = {0};
    EffCompiled *c = NULL;
    size_t n_choices = 0;
    EffQuietPictures quiet_ones = {0};
    EffPictures quiet;
    EffActChoice *choices = eff_calloc((size_t)g->n_nodes, sizeof *choices);
    EffStatus st = choices != NULL ? compiled_create(&c) : eff_fail_nomem((size_t)g->n_nodes, "activations");
    if (st == EFF_OK && o->table != NULL) {
        st = eff_table_parse(&parsed, o->table, o->table_name != NULL ? o->table_name : "table", g);
        table = &parsed;
    }
    if (st == EFF_OK)
        st = eff_check_float_nodes(table != NULL ? &parsed : NULL, g, o);
    if (st == EFF_OK)
        st = eff_reference_create(&reference, g, NULL);
    if (st == EFF_OK)
        st = table != NULL && eff_table_is_complete(table, g)
                 ? eff_ranges_create(&ranges, g)
                 : eff_observe_ranges(&ranges, &loudness, g, reference, pictures, o);
    if (st == EFF_OK)
        st = eff_quiet_pictures(&quiet, &quiet_ones, &loudness, pictures);
    if (st == EFF_OK)
        st = settle_ranges(&ranges, table, g, reference, pictures, &quiet, o);
    if (st == EFF_OK) {
        EffSomePictures some;
        const EffPictures part = eff_some_pictures(&some, &quiet, ACTIVATION_PICTURES);
        n_choices = eff_find_activations(choices, g, &ranges);
        st = eff_choose_activations(choices, n_choices, g, reference, &part, o);
    }
    if (st == EFF_OK && table != NULL)
        st = eff_table_choose(table, choices, n_choices, g);
    if (st == EFF_OK)
        st = eff_tuning_create(&tuning, g);
    const Unfinished unfinished = {c, g, reference, &ranges, choices, n_choices, &quiet, o};
    if (st == EFF_OK)
        st = assess_unfinished(&unfinished, EFF_STAGE_PLAIN, NULL);
    if (st == EFF_OK && !o->no_migration)
        st = migrate_on(&tuning, g, reference, &ranges, &quiet, o);
    if (st == EFF_OK && !o->no_migration)
        st = assess_unfinished(&unfinished, EFF_STAGE_STEPS, &tuning);
    if (st == EFF_OK)
        st = eff_promote(&c->promotion, &tuning, g, reference, &ranges, choices, n_choices, table, &quiet, o);
    if (st == EFF_OK)
        st = eff_tune(&tuning, g, reference, &ranges, choices, n_choices, &quiet, o);
    if (st == EFF_OK)
        st = eff_lower_int8(&c->plan, g, &ranges, choices, n_choices, &tuning);
    if (st == EFF_OK && g->labels != NULL)
        st = eff_compiled_set_labels(c, eff_graph_labels(g));
    if (st == EFF_OK && table != NULL)
        st = eff_table_check_types(table, g, &c->plan);
    if (st == EFF_OK)
        st = eff_table_write(&c->table, g, &ranges, choices, n_choices, &c->plan);
    if (st == EFF_OK)
        st = assess_final(&unfinished);
    if (st == EFF_OK)
        st = note_loud(c, g, &loudness);
    eff_tuning_free(&tuning, g);
    eff_free(choices);
    eff_table_free(&parsed);
    eff_ranges_free(&ranges);
    eff_loudness_free(&loudness);
    eff_free(quiet_ones.indices);
    eff_reference_free(reference);
    if (st != EFF_OK) {
        eff_compiled_free(c);
        return st;
    }
    *out = c;
    return EFF_OK;
}

EffStatus eff_compiled_set_labels(EffCompiled *c, const char *const *labels)
{
    char **copy;
    const size_t n = (size_t)c->plan.n_classes;
    const EffStatus st = eff_labels_copy(&copy, labels, n);
    if (st != EFF_OK)
        return st;
    eff_labels_free(c->plan.labels, n);
    c->plan.labels = copy;
    return EFF_OK;
}

EffStatus eff_compiled_set_provenance(EffCompiled *c, const char *json)
{
    char *copy = eff_strdup(json);
    if (copy == NULL)
        return eff_fail_nomem(strlen(json), "provenance");
    eff_free(c->plan.provenance);
    c->plan.provenance = copy;
    return EFF_OK;
}

EffStatus eff_compiled_write(const EffCompiled *c, const char *path)
{
    EffBytes bytes = {0};
    EffStatus st = eff_bin_write(&bytes, &c->plan);
    if (st == EFF_OK)
        st = eff_file_write_atomic(path, bytes.data, bytes.size);
    eff_free(bytes.data);
    return st;
}

EffStatus eff_compiled_model(EffModel **out, const EffCompiled *c, const char *cpu)
{
    EffBytes bytes = {0};
    EffStatus st = eff_bin_write(&bytes, &c->plan);
    if (st == EFF_OK)
        st = eff_model_read(out, bytes.data, bytes.size, c->plan.name, cpu);
    eff_free(bytes.data);
    return st;
}

const EffNodeReport *eff_compiled_report(const EffCompiled *c, size_t i)
{
    return i < c->assessment.n_rows ? &c->assessment.rows[i] : NULL;
}

EffQuality eff_compiled_quality(const EffCompiled *c)
{
    return c->assessment.quality;
}

const EffNodeRank *eff_compiled_rank(const EffCompiled *c, size_t i)
{
    return i < c->promotion.n_ranks ? &c->promotion.ranks[i] : NULL;
}

EffPromotionSummary eff_compiled_promotion(const EffCompiled *c)
{
    return c->promotion.summary;
}

const EffLoudPicture *eff_compiled_loud(const EffCompiled *c, size_t i)
{
    return i < c->n_loud ? &c->loud[i] : NULL;
}

const char *eff_compiled_table(const EffCompiled *c)
{
    return c->table;
}
