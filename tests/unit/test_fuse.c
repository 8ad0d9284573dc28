/* SPDX-License-Identifier: Apache-2.0 */
/* Groups in the plans of the family: no expanded tensor is whole in memory, and what that saves. */
#include "unit.h"

#include "compile/lower.h"
#include "effnet/compile.h"
#include "format/group.h"
#include "format/layer.h"

#include <stdio.h>
#include <stdlib.h>

enum { MB = 1 << 20 };

static void fill(EffParam *p, float value, float spread)
{
    uint32_t x = 12345;
    assert_true(p->n == 0 || eff_param_alloc(p, p->n) == EFF_OK);
    for (size_t i = 0; i < p->n; i++) {
        x = x * 1664525u + 1013904223u;
        p->data[i] = value + spread * ((float)(x >> 8) * 0x1p-23f - 1);
    }
}

/* As eff_graph_randomize(), without running the network to make it a sensible one. */
static void randomize(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *node = &g->nodes[i];
        fill(&node->conv.wgt, 0, 0.1f);
        fill(&node->conv.bias, 0, 0.1f);
        fill(&node->bn.gamma, 1, 0.5f);
        fill(&node->bn.beta, 0, 0.5f);
        fill(&node->bn.mean, 0, 0.5f);
        fill(&node->bn.var, 1, 0.5f);
    }
}

/* A plan with random weights, as if every value lay in a range that its activation allows: shapes are what counts. */
static void lower(EffPlan *plan, const char *name, int size)
{
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
    arch.n_classes = 10;
    if (size > 0)
        arch.pre.size = size;
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    randomize(g);
    assert_int_equal(eff_graph_optimize(g), EFF_OK);
    size_t n = 0;
    for (int v = 0; v < g->n_values; v++)
        n += 2 * (size_t)g->values[v].shape.c;
    EffRanges ranges = {.values = calloc((size_t)g->n_values, sizeof *ranges.values), .n_values = g->n_values};
    float *storage = calloc(n, sizeof *storage), *at = storage;
    EffActChoice *choices = calloc((size_t)g->n_nodes, sizeof *choices);
    assert_true(ranges.values != NULL && storage != NULL && choices != NULL);
    for (int v = 0; v < g->n_values; v++) {
        const int c = g->values[v].shape.c;
        ranges.values[v] = (EffRange){.min = at, .max = at + c, .c = c};
        for (int i = 0; i < c; i++) {
            at[i] = -3;
            at[c + i] = 3 + (float)(i % 2);
        }
        at += 2 * c;
    }
    const size_t n_choices = eff_find_activations(choices, g, &ranges);
    const EffStatus st = eff_lower_int8(plan, g, &ranges, choices, n_choices, NULL);
    if (st != EFF_OK)
        fail_msg("%s: %s", name, eff_last_message());
    free(choices);
    free(storage);
    free(ranges.values);
    eff_graph_free(g);
}

/* Whether a step reads a tensor. */
static bool is_read_by(const EffPlan *plan, int tensor, EffStepOp op)
{
    for (int i = 0; i < plan->n_steps; i++) {
        if (plan->steps[i].op == (int)op && plan->steps[i].in[0] == tensor)
            return true;
    }
    return false;
}

/* Bytes of the largest tensor between an expansion and its projection that is whole, other than the one that waits for
 * the gate. */
static size_t largest_whole(const EffPlan *plan)
{
    size_t largest = 0;
    int *local = calloc((size_t)plan->n_tensors, sizeof *local),
        *readers = calloc((size_t)plan->n_tensors, sizeof(int));
    assert_true(local != NULL && readers != NULL);
    eff_plan_find_locals(plan, local);
    eff_plan_quads_readers(plan, readers);
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *s = &plan->steps[i];
        const bool head = s->op == EFF_STEP_PW && is_read_by(plan, s->out[s->out[0] == EFF_PLAN_NONE], EFF_STEP_POOL);
        for (int k = 0; k < 2; k++) {
            const int t = s->out[k];
            size_t n_bytes = 0;
            if (t == EFF_PLAN_NONE || local[t] != EFF_PLAN_NONE)
                continue;
            const bool wide =
                plan->tensors[t].layout == EFF_LAYOUT_QUADS || s->op == EFF_STEP_DW || s->op == EFF_STEP_QUANT || head;
            const bool waits = s->op == EFF_STEP_DW && k == 1 && is_read_by(plan, t, EFF_STEP_QUANT);
            assert_true(eff_plan_tensor_bytes(&n_bytes, plan, t, readers[t]));
            if (wide && !waits && n_bytes > largest)
                largest = n_bytes;
        }
    }
    free(local);
    free(readers);
    return largest;
}

/* At a size, or its own: 0. Returns it. */
static int check(const char *name, int size)
{
    EffPlan plan = {0};
    lower(&plan, name, size);
    if (eff_plan_check(&plan) != EFF_OK)
        fail_msg("%s: %s", name, eff_last_message());
    const size_t largest = largest_whole(&plan);
    if (largest >= MB)
        fail_msg("%s at %d: an expanded tensor of %zu bytes is whole", name, plan.pre.size, largest);
    assert_int_equal(largest, 0); /* none of any size, indeed */
    /* The same plan without its groups would have some, and need more. */
    uint64_t *offsets = calloc((size_t)plan.n_tensors, sizeof *offsets), unfused = 0;
    assert_non_null(offsets);
    assert_int_equal(eff_plan_layout(&plan, false, offsets, &unfused), EFF_OK);
    assert_true(unfused > plan.arena_bytes);
    print_message("%-18s %4d   arena %6.2f MB, step by step %6.2f MB, %d groups of %d steps\n", name, plan.pre.size,
                  1e-6 * (double)plan.arena_bytes, 1e-6 * (double)unfused, plan.n_groups, plan.n_steps);
    plan.n_groups = 0;
    assert_true(largest_whole(&plan) > MB / 4);
    size = plan.pre.size;
    free(offsets);
    eff_plan_free(&plan);
    return size;
}

static void no_expanded_tensor_is_whole(void **state)
{
    (void)state;
    static const char *const names[] = {
        "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "efficientnet-lite3", "efficientnet-lite4",
        "efficientnet-b0",    "efficientnet-b1",    "efficientnet-b2",    "efficientnet-b3",    "efficientnet-b4"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        const int size = check(names[i], 0); /* its own */
        if (size != 224)
            check(names[i], 224);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_expanded_tensor_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
