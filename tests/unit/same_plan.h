/* SPDX-License-Identifier: Apache-2.0 */
/* Two networks compile to the same: steps with their names, tensors, weights, preprocessing, labels. */
#ifndef EFFNET_TESTS_SAME_PLAN_H
#define EFFNET_TESTS_SAME_PLAN_H

#include "compile/lower.h"
#include "format/plan.h"

#include <string.h>

static inline void assert_same_plan(const EffGraph *g, const EffGraph *back)
{
    EffPlan a = {0}, b = {0};
    assert_int_equal(eff_lower_f32(&a, g, true), EFF_OK);
    assert_int_equal(eff_lower_f32(&b, back, true), EFF_OK);
    assert_int_equal(a.n_steps, b.n_steps);
    assert_int_equal(a.n_tensors, b.n_tensors);
    assert_int_equal(a.arena_bytes, b.arena_bytes);
    assert_int_equal(a.data_bytes, b.data_bytes);
    assert_memory_equal(a.steps, b.steps, (size_t)a.n_steps * sizeof *a.steps); /* names too */
    assert_memory_equal(a.tensors, b.tensors, (size_t)a.n_tensors * sizeof *a.tensors);
    assert_memory_equal(a.data, b.data, a.data_bytes);
    assert_memory_equal(&a.pre, &b.pre, sizeof a.pre);
    eff_plan_free(&a);
    eff_plan_free(&b);
}

#endif
