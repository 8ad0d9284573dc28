/* SPDX-License-Identifier: Apache-2.0 */
/* The last part of eff_plan_check(): the arena. */
#ifndef EFF_FORMAT_PLAN_MEMORY_H
#define EFF_FORMAT_PLAN_MEMORY_H

#include "format/plan.h"

/*
 * Prove that every tensor lies in the arena, that every step reads what was written and not overwritten since, and
 * that no step writes where it reads. The steps themselves are right already. readers: eff_plan_quads_readers().
 */
EffStatus eff_plan_check_memory(const EffPlan *plan, const int *readers);

#endif
