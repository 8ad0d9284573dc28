/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files that lower a graph to an int8 plan. */
#ifndef EFF_COMPILE_LOWER_INT8_H
#define EFF_COMPILE_LOWER_INT8_H

#include "compile/layer_int8.h"
#include "compile/lower.h"

/* Who reads a value. */
enum {
    EFF_READ_DW = 1,
    EFF_READ_PW = 2,
    EFF_READ_ADD = 4,
    EFF_READ_POOL = 8,
    EFF_READ_GATED = 16,
    EFF_READ_OTHER = 32,
    EFF_READ_WIDE = 64
};

/* The integer forms of a value, as plan tensors; EFF_PLAN_NONE where there is none. */
typedef struct EffForms {
    int u8, s16, vector;
    int frac_bits;      /* of s16 and vector; a sigmoid's vector has 15 */
    EffQuantInfo quant; /* of u8, or of a vector pooled from u8 (zero unused) */
    int group;          /* values that are added: index of their representative */
    int8_t *finer;      /* of a representative, [c]: more fraction bits of a channel; NULL: none. Owned */
} EffForms;

typedef struct EffLower {
    const EffGraph *g;
    const EffRanges *ranges;
    const EffActChoice *choices;
    size_t n_choices;
    EffTuning *tuning; /* NULL: none */
    EffPlan *plan;
    EffForms *forms; /* [n_values] */
    unsigned *reads; /* [n_values] */
    int *consumer;   /* [n_values] the first node that reads it; -1 */
    bool *done;      /* [n_nodes] absorbed in an earlier step */
} EffLower;

bool eff_is_vector(EffShape s);
/* The node that alone reads a value, if it has this operator; NULL otherwise. */
const EffNode *eff_lower_only_reader(const EffLower *l, int value, EffOp op);
int eff_lower_node_index(const EffLower *l, const EffNode *node);
/* EFF_ERR_UNSUPPORTED with the node's name, why, and the remedy. */
EffStatus eff_lower_unsupported(const EffNode *node, const char *why);
/* The tuner does not run this node yet: its weights may stay 0. */
bool eff_lower_is_sketch(const EffLower *l, const EffNode *node);

/* New tensors of the plan; *out receives the index. `quant` NULL: float. @return EFF_OK, EFF_ERR_NOMEM. */
EffStatus eff_lower_add_tensor(EffLower *l, int *out, const char *name, EffTensorType type, EffLayout layout,
                               EffShape s, const EffQuantInfo *quant);
/* An s16 tensor whose channels have units of their own. */
EffStatus eff_lower_add_fixed_point(EffLower *l, int *out, const char *name, EffShape s, const EffFixedPoint *y);
/* An s16 tensor with units of 2^-frac_bits. */
EffStatus eff_lower_add_s16(EffLower *l, int *out, const char *name, EffLayout layout, EffShape s, int frac_bits);
/* A step that reads and writes nothing yet, kernel and stride 1. */
EffPlanStep eff_lower_step(const char *name, EffStepOp op, int in_ch, int out_ch);

/* Ranges [c] that a value's u8 form covers; one allocation, eff_free(*min). */
EffStatus eff_lower_u8_range(EffLower *l, int value, float **min, float **max);

/* One node each, with what follows it in the same step; added to the plan. */
EffStatus eff_lower_pool(EffLower *l, const EffNode *node);
EffStatus eff_lower_fc(EffLower *l, const EffNode *node);
EffStatus eff_lower_head(EffLower *l, const EffNode *node);
EffStatus eff_lower_gate(EffLower *l, const EffNode *node);

#endif
