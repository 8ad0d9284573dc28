/* SPDX-License-Identifier: Apache-2.0 */
/* The last part of eff_plan_check(): the arena. */
#ifndef EFF_FORMAT_PLAN_MEMORY_H
#define EFF_FORMAT_PLAN_MEMORY_H

#include "format/plan.h"

/*
 * Prove that every tensor but the local ones lies in the arena, that every step reads what was written and not
 * overwritten since, and that no step writes where it reads; the steps of a group count as one. The steps and groups
 * themselves are right already. readers: eff_plan_quads_readers(); local: eff_plan_find_locals().
 */
EffStatus eff_plan_check_memory(const EffPlan *plan, const int *readers, const int *local);

#endif
