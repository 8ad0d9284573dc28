/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: runs of steps that are executed together, tile by tile. There are three forms:
 *
 *   depthwise   STEM, PW or QUADS -> DW [-> POOL of its s16, or -> PW of its u8]
 *               an expanded tensor and its convolution; row quads are local, and before a PW the convolution's output
 *   gated       QUANT -> PW                                           local: the u8 input of the projection
 *   mean        PW -> POOL                                            local: the map that is averaged
 *
 * A tensor is local to a group when one of its steps writes it, a later one reads it, and no other step touches it. It
 * has no place in the arena; the executor keeps a tile of it at a time. A form says which tensors must be local.
 */
#ifndef EFF_FORMAT_GROUP_H
#define EFF_FORMAT_GROUP_H

#include "format/plan.h"

typedef enum EffGroupForm { EFF_GROUP_DW = 0, EFF_GROUP_GATED, EFF_GROUP_MEAN } EffGroupForm;

enum { EFF_GROUP_MAX_STEPS = 3 };

/* A group whose form is known. */
typedef struct EffGroup {
    EffGroupForm form;
    int first, n_steps;
    int pool, project; /* DW: the step after the convolution; EFF_PLAN_NONE */
} EffGroup;

/* What runs at a time: a step alone, or a group. Start with {0}. */
typedef struct EffItem {
    int first, end; /* its steps */
    int group;      /* index, or EFF_PLAN_NONE */
    int n_groups;   /* of the items so far */
} EffItem;

/* The next item; false after the last. The ranges of the groups must be right (eff_plan_check_groups()). */
bool eff_next_item(const EffPlan *plan, EffItem *item);

/* The group that each tensor is local to; EFF_PLAN_NONE for the others. local: [n_tensors]. Indices must be right. */
void eff_plan_find_locals(const EffPlan *plan, int *local);

/*
 * The form of a group in a plan whose steps are proven. local: eff_plan_find_locals().
 * @return NULL, or what is wrong with it.
 */
const char *eff_group_resolve(EffGroup *out, const EffPlan *plan, const int *local, int group);

/* Ranges: ascending, disjoint, inside the plan. @return EFF_OK or EFF_ERR_FORMAT. */
EffStatus eff_plan_check_group_ranges(const EffPlan *plan);

/* Forms. The steps and ranges are right already. @return EFF_OK, EFF_ERR_FORMAT, EFF_ERR_LIMIT. */
EffStatus eff_plan_check_groups(const EffPlan *plan, const int *local);

/*
 * Find all groups of a plan that has none: at every step the longest one that begins there. Before
 * eff_plan_layout_arena(). @return EFF_OK or EFF_ERR_NOMEM.
 */
EffStatus eff_plan_fuse(EffPlan *plan);

#endif
