/* SPDX-License-Identifier: Apache-2.0 */
/* Lowering: a graph becomes a plan. */
#ifndef EFF_COMPILE_LOWER_H
#define EFF_COMPILE_LOWER_H

#include "format/plan.h"
#include "graph/ir.h"
#include "quant/activation.h"
#include "quant/observe.h"

/*
 * A float plan of a graph (BatchNorm folded). With `fuse` a convolution and the activation after it are one step;
 * without, there is one step a node, after the first one (the input), in the order of the nodes.
 */
EffStatus eff_lower_f32(EffPlan *plan, const EffGraph *g, bool fuse);

/*
 * The activations of a graph (folded) that run in a common unit; *out has n_nodes entries at most. The ranges must
 * outlive the choices.
 */
size_t eff_find_activations(EffActChoice *out, const EffGraph *g, const EffRanges *ranges);

/* An int8 plan of a graph (folded). */
EffStatus eff_lower_int8(EffPlan *plan, const EffGraph *g, const EffRanges *ranges, const EffActChoice *choices,
                         size_t n_choices);

/* Name, size, preprocessing and counts of the plan from the graph's; the pixels as tensor 0. */
EffStatus eff_lower_begin(EffPlan *plan, const EffGraph *g);

#endif
