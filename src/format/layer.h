/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A step of a plan as the kernels want it: operators, padded parameters, geometry. plan_check.c builds one to ask the
 * kernels' own checks, the model builds all of them and packs their weights.
 */
#ifndef EFF_FORMAT_LAYER_H
#define EFF_FORMAT_LAYER_H

#include "format/plan.h"
#include "kernels/float_node.h"
#include "kernels/layer_f32.h"
#include "kernels/stem.h"
#include "kernels/table.h"

typedef struct EffLayer {
    EffQuads quads; /* of the row quads that the step reads or writes */
    uint64_t macs;
    int out_cols; /* DW16, DW_F32 */
    EffPw raw;    /* PW16: as pw, but sums without bias, of a byte of the inputs */
    union {
        EffStem stem;
        EffPw pw;
        EffDw dw;
        struct {
            EffDwS16 op;
            EffEpilogue epi; /* bias for signed inputs: the file's has 128 sum(wgt) less */
        } dw16;
        struct {
            EffFc op;
            EffFcEpilogue epi;         /* FC */
            EffAct sigmoid;            /* FC: what epi.sigmoid points to */
            const float *scale, *bias; /* HEAD */
        } fc;
        EffQuant quant; /* QUANT; QUADS uses its zero */
        int64_t pool_mult;
        EffConvF32 f32;
        EffFloatNode node; /* PW_F32, DW_F32 */
    };
} EffLayer;

enum {
    EFF_WIDE_TILE = 48
}; /* pixels that a PW16 or PW_F32 step takes at a time; a multiple of every pointwise kernel's tile */

/* Bump allocation in two passes: with base NULL only `used` grows. */
typedef struct EffLayerMem {
    uint8_t *base; /* zeroed, aligned to EFF_ALIGN */
    size_t used;
} EffLayerMem;

/*
 * Build the layer of a step whose indices, shapes and data sizes are right. Parameters go to `mem`; with mem->base
 * NULL nothing is read or built but mem->used.
 *
 * @param k       packs the weights too; NULL leaves that out.
 * @param readers  as eff_plan_quads_readers() gives them.
 */
void eff_layer_build(EffLayer *out, EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *step, const int *readers,
                     const EffKernels *k);

/* Which of the two outputs' shape counts: the first that there is. */
static inline const EffPlanTensor *eff_step_output(const EffPlan *plan, const EffPlanStep *s)
{
    return &plan->tensors[s->out[s->out[0] == EFF_PLAN_NONE]];
}

/*
 * The border cases of one dimension of a stem that occur (eff_stem_case()), ascending: the order of its biases.
 * cases: [EFF_STEM_MAX_KERNEL^2]. @return how many.
 */
int eff_stem_cases(int *cases, int kernel, int stride, int pad, int size, int out);

/* Sets of biases of a stem step. */
int eff_stem_n_cases(const EffPlan *plan, const EffPlanStep *s);

/* How often a step touches a number: multiply-adds, and the taps of pools. Bounds what a hostile file may ask for. */
uint64_t eff_step_work(const EffPlan *plan, const EffPlanStep *step);

/* Scratch of a step: bytes for each thread, and bytes shared by all. False beyond EFF_PLAN_MAX_ARENA. */
bool eff_layer_scratch(size_t *each, size_t *shared, const EffLayer *layer, const EffPlanStep *step);

#endif
