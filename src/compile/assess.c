/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring a network at each stage of its making. */
#include "compile/assess.h"
#include "base/mem.h"
#include "base/status.h"
#include "quant/report.h"
#include "quant/some.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_REPORT_PICTURES = 32, N_TYPES = EFF_TENSOR_F32 + 1 };

static const char *act_name(EffActKind kind)
{
    return kind == EFF_ACT_STAIR ? "stair" : kind == EFF_ACT_INTERP ? "interp" : "";
}

static double *place(double *stage, int node, int type)
{
    return &stage[(size_t)node * N_TYPES + (size_t)type];
}

/* The SQNR of each node's tensors, for the rows that come with the last stage. */
static EffStatus keep_stage(double **out, const EffPlan *plan, int n_nodes, const EffTensorErrors *errors)
{
    const size_t n = (size_t)n_nodes * N_TYPES;
    double *stage = eff_calloc(n, sizeof *stage);
    if (stage == NULL)
        return eff_fail_nomem(n * sizeof *stage, "the report");
    for (size_t i = 0; i < n; i++)
        stage[i] = NAN;
    for (int t = 0; t < plan->n_tensors; t++) {
        const EffErrorSums sums = eff_error_total(&errors->tensors[t]);
        if (errors->tensors[t].node >= 0)
            *place(stage, errors->tensors[t].node, (int)plan->tensors[t].type) = eff_error_sqnr_db(&sums);
    }
    *out = stage;
    return EFF_OK;
}

static double earlier(const EffAssessment *a, EffStage stage, int node, int type)
{
    return a->stages[stage] != NULL ? *place(a->stages[stage], node, type) : NAN;
}

static bool is_float_node(const EffPlan *plan, const EffNode *node)
{
    int i = 0;
    while (i < plan->n_steps &&
           (!eff_step_is_float_node(plan->steps[i].op) || strcmp(plan->steps[i].name, node->name) != 0))
        i++;
    return i < plan->n_steps;
}

static EffStatus make_rows(EffAssessment *a, const EffPlan *plan, const EffGraph *g, const EffTensorErrors *errors,
                           const EffActChoice *choices, size_t n_choices)
{
    static const char *const types[N_TYPES] = {
        [EFF_TENSOR_U8] = "u8", [EFF_TENSOR_S16] = "s16", [EFF_TENSOR_F32] = "f32"};
    a->rows = eff_calloc((size_t)plan->n_tensors, sizeof *a->rows);
    if (a->rows == NULL)
        return eff_fail_nomem((size_t)plan->n_tensors * sizeof *a->rows, "the report");
    for (int t = 0; t < plan->n_tensors; t++) {
        const int index = errors->tensors[t].node, type = (int)plan->tensors[t].type;
        if (index < 0)
            continue;
        const EffNode *node = &g->nodes[index];
        const EffErrorSums sums = eff_error_total(&errors->tensors[t]);
        EffNodeReport *row = &a->rows[a->n_rows++];
        *row = (EffNodeReport){.name = plan->tensors[t].name,
                               .type = types[type],
                               .sqnr_db = eff_error_sqnr_db(&sums),
                               .cosine = eff_error_cosine(&sums),
                               .plain_db = earlier(a, EFF_STAGE_PLAIN, index, type),
                               .steps_db = earlier(a, EFF_STAGE_STEPS, index, type),
                               .act_sqnr_db = NAN,
                               .act_u8_sqnr_db = NAN,
                               .act = ""};
        for (size_t i = 0; i < n_choices && node->op == EFF_OP_ACT; i++) {
            if (choices[i].conv == g->values[node->in[0]].producer && is_float_node(plan, &g->nodes[choices[i].conv])) {
                row->act = "f32";
            } else if (choices[i].conv == g->values[node->in[0]].producer) {
                row->act = act_name(choices[i].kind);
                row->act_sqnr_db = choices[i].kind == EFF_ACT_STAIR ? choices[i].stair_db : choices[i].interp_db;
                row->act_u8_sqnr_db = choices[i].u8_db;
            }
        }
    }
    return EFF_OK;
}

static void note_quality(EffQuality *q, EffStage stage, const EffTensorErrors *errors)
{
    if (q->n_pictures == 0) {
        for (int i = 0; i < EFF_N_STAGES; i++)
            q->kl[i] = q->agreement[i] = NAN;
    }
    q->n_pictures = errors->n_pictures;
    q->kl[stage] = errors->kl / (double)errors->n_pictures;
    q->agreement[stage] = (double)errors->n_agree / (double)errors->n_pictures;
}

EffStatus eff_assess(EffAssessment *a, EffStage stage, const EffPlan *plan, const EffModel *model, const EffGraph *g,
                     const EffReference *reference, const EffPictures *pictures, const EffActChoice *choices,
                     size_t n_choices, const EffQuantizeOptions *options)
{
    EffSomePictures some;
    const EffPictures part =
        options->held_back != NULL
            ? *options->held_back
            : eff_some_pictures(&some, pictures, options->n_report ? options->n_report : DEFAULT_REPORT_PICTURES);
    EffTensorErrors errors = {0};
    EffStatus st = eff_compare_tensors(&errors, plan, model, g, reference, &part, options);
    if (st == EFF_OK) {
        a->quality.held_back = options->held_back != NULL;
        note_quality(&a->quality, stage, &errors);
        st = stage == EFF_STAGE_FINAL ? make_rows(a, plan, g, &errors, choices, n_choices)
                                      : keep_stage(&a->stages[stage], plan, g->n_nodes, &errors);
    }
    eff_tensor_errors_free(&errors);
    return st;
}

void eff_assessment_free(EffAssessment *a)
{
    for (int i = 0; i < EFF_STAGE_FINAL; i++)
        eff_free(a->stages[i]);
    eff_free(a->rows);
    *a = (EffAssessment){0};
}
