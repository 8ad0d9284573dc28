/* SPDX-License-Identifier: Apache-2.0 */
/* The report: how far the network is from float, node by node and in its answers, stage by stage. */
#ifndef EFF_COMPILE_ASSESS_H
#define EFF_COMPILE_ASSESS_H

#include "compile/lower.h"
#include "graph/reference_f32.h"

/* All zero: nothing was measured. */
typedef struct EffAssessment {
    EffQuality quality;
    double *stages[EFF_STAGE_FINAL]; /* [n_nodes][types]: SQNR of the stages before the last; NULL: not measured */
    EffNodeReport *rows;             /* in the order of execution; names are the plan's */
    size_t n_rows;
} EffAssessment;

/*
 * Measure a plan of the network, and `model` made of it, at a stage; the last one makes the rows. On
 * options->held_back, else on some of `pictures`.
 * @return EFF_OK, EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED, what the picture source returned.
 */
EffStatus eff_assess(EffAssessment *a, EffStage stage, const EffPlan *plan, const EffModel *model, const EffGraph *g,
                     const EffReference *reference, const EffPictures *pictures, const EffActChoice *choices,
                     size_t n_choices, const EffQuantizeOptions *options);
void eff_assessment_free(EffAssessment *a);

#endif
