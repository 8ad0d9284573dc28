/* SPDX-License-Identifier: Apache-2.0 */
/* Lowering: a graph becomes a plan. */
#ifndef EFF_COMPILE_LOWER_H
#define EFF_COMPILE_LOWER_H

#include "compile/layer_int8.h"
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

/* What a convolution multiplies: its input in 8 bits, in 16, or from 16 bits in float, with float weights. */
typedef enum EffNodeType { EFF_NODE_INT8 = 0, EFF_NODE_INT16, EFF_NODE_F32 } EffNodeType;

/* Whether a node may have 16-bit inputs, or run in float: pointwise and depthwise convolutions on maps, but for the
 * first. */
bool eff_node_can_be_wide(const EffGraph *g, int node);

/* What has been decided, node by node, and what the tuner wants to know about one of them. */
typedef struct EffTuning {
    EffConvTuning *convs; /* [n_nodes] */
    uint8_t *types;       /* [n_nodes] EffNodeType */
    float **factors; /* [n_values] [c]: its u8 form covers this times a channel's range; NULL: the tensor's range */
    int asked;       /* node whose numbers go to `numbers`; -1 */
    int n_needed;    /* nodes from this one on need no weights yet: they are left 0; 0: all need theirs */
    EffLayerNumbers numbers;
} EffTuning;

/* An int8 plan of a graph (folded). `tuning` NULL: weights and biases are rounded. */
EffStatus eff_lower_int8(EffPlan *plan, const EffGraph *g, const EffRanges *ranges, const EffActChoice *choices,
                         size_t n_choices, EffTuning *tuning);

/* Name, size, preprocessing and counts of the plan from the graph's; the pixels as tensor 0. */
EffStatus eff_lower_begin(EffPlan *plan, const EffGraph *g);

#endif
