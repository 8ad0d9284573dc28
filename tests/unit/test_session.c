/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: the same bits for threads, tiles and CPU levels, no allocation while running, clean failures. */
#include "unit.h"

#include "plan_fixture.h"

#include "base/cpu.h"
#include "effnet/runtime.h"
#include "format/bin.h"
#include "runtime/session.h"

enum { MAX_CLASSES = 16 };

static void bits_are_the_same(void (*make)(EffPlan *, uint64_t))
{
    float first[MAX_CLASSES];
    bool has_first = false;
    for (size_t level = 0; eff_cpu_level_at(level) != NULL; level++) {
        unsigned flags;
        if (eff_cpu_level_find(&flags, eff_cpu_level_at(level)) != EFF_OK)
            continue; /* not on this CPU */
        EffModel *m = fx_model(make, 7, eff_cpu_level_at(level));
        uint8_t *pixels = fx_pixels(eff_model_plan(m), 7);
        for (int n_threads = 1; n_threads <= 4; n_threads++) {
            EffSession *s = NULL;
            float logits[MAX_CLASSES];
            const size_t n_bytes = (size_t)eff_model_info(m)->n_classes * sizeof *logits;
            assert_int_equal(eff_session_create(&s, m, n_threads), EFF_OK);
            for (int round = 0; round < 3; round++) { /* the arena is dirty after the first */
                eff_mem_fail_after(-1);
                eff_session_run(s, pixels, logits);
                assert_int_equal(eff_mem_fail_after(-1), 0);
                if (!has_first)
                    memcpy(first, logits, n_bytes);
                has_first = true;
                assert_memory_equal(logits, first, n_bytes);
            }
            eff_session_destroy(s);
        }
        free(pixels);
        eff_model_close(m);
    }
}

static void int8_bits_are_the_same(void **state)
{
    (void)state;
    bits_are_the_same(fx_int8);
    bits_are_the_same(fx_wide);
    bits_are_the_same(fx_blocks);
    bits_are_the_same(fx_int16);
    bits_are_the_same(fx_nodes);
}

/* Logits of one run, and no allocation in it. */
static void run_once(EffSession *s, const uint8_t *pixels, float *logits)
{
    for (int round = 0; round < 2; round++) { /* the arena and the scratch are dirty after the first */
        eff_mem_fail_after(-1);
        eff_session_run(s, pixels, logits);
        assert_int_equal(eff_mem_fail_after(-1), 0);
    }
}

/* From one quad, one block and twelve pixels at a time to whole maps. */
static void tiles_do_not_change_a_bit(void **state)
{
    static const EffTileLimits limits[] = {
        {1, 1, 0, 1},
        {1, 1, SIZE_MAX, 1},
        {8 << 10, 8 << 10, 0, 8 << 10},
        {20000, 30000, 0, 1},
        {50000, 100000, 0, 40000},
        {50000, 0, 1 << 20, 40000},
        {1 << 20, 1 << 20, 0, 1 << 20},
        {1 << 30, 1 << 30, 1 << 30, 1 << 30},
    };
    void (*const makers[])(EffPlan *, uint64_t) = {fx_int8, fx_wide, fx_blocks};
    (void)state;
    for (size_t k = 0; k < EFF_COUNT(makers); k++) {
        for (size_t level = 0; eff_cpu_level_at(level) != NULL; level++) {
            unsigned flags;
            if (eff_cpu_level_find(&flags, eff_cpu_level_at(level)) != EFF_OK)
                continue; /* not on this CPU */
            EffModel *m = fx_model(makers[k], 11 + k, eff_cpu_level_at(level));
            uint8_t *pixels = fx_pixels(eff_model_plan(m), k);
            const size_t n_bytes = (size_t)eff_model_info(m)->n_classes * sizeof(float);
            float want[MAX_CLASSES], got[MAX_CLASSES];
            EffSession *s = NULL;
            assert_int_equal(eff_session_create_unfused(&s, m, 1), EFF_OK);
            run_once(s, pixels, want);
            const EffSessionMemory whole = eff_session_memory(s);
            eff_session_destroy(s);
            for (size_t i = 0; i < EFF_COUNT(limits); i++) {
                for (int n_threads = 1; n_threads <= 3; n_threads++) {
                    assert_int_equal(eff_session_create_tiled(&s, m, n_threads, &limits[i]), EFF_OK);
                    run_once(s, pixels, got);
                    assert_memory_equal(got, want, n_bytes);
                    if (makers[k] == fx_blocks)
                        assert_true(eff_session_memory(s).arena_bytes < whole.arena_bytes);
                    eff_session_destroy(s);
                }
            }
            free(pixels);
            eff_model_close(m);
        }
    }
}

/* Tiles stay below their limits, where one can be that small; smaller limits give smaller tiles. */
static void tiles_keep_to_their_limits(void **state)
{
    (void)state;
    EffModel *m = fx_model(fx_blocks, 3, "c");
    size_t last = 0;
    for (size_t bytes = 16 << 10; bytes <= 256 << 10; bytes *= 2) {
        const EffTileLimits limits = {bytes, bytes, 0, bytes};
        EffSession *s = NULL;
        assert_int_equal(eff_session_create_tiled(&s, m, 1, &limits), EFF_OK);
        for (int i = 0; i < eff_model_plan(m)->n_groups; i++) {
            const EffTile *t = &s->tiles[i];
            const bool smallest = m->groups[i].form == EFF_GROUP_DW ? t->strip == 1 : t->n_pixels <= 12;
            if (t->map_at - t->quads_at > bytes + 64 * (size_t)t->n_blocks && !smallest)
                fail_msg("group %d: %zu bytes of row quads, of %zu", i, t->map_at - t->quads_at, bytes);
            assert_true(t->each_bytes <= s->each_bytes && t->shared_bytes <= s->shared_bytes);
        }
        assert_true(s->each_bytes >= last);
        last = s->each_bytes;
        eff_session_destroy(s);
    }
    eff_model_close(m);
}

static void float_bits_are_the_same(void **state)
{
    (void)state;
    bits_are_the_same(fx_f32);
    bits_are_the_same(fx_pools);
}

static void profiles_name_every_step(void **state)
{
    (void)state;
    EffModel *m = fx_model(fx_int8, 5, NULL);
    EffSession *s = NULL;
    uint8_t *pixels = fx_pixels(eff_model_plan(m), 5);
    float logits[MAX_CLASSES];
    const EffModelInfo *info = eff_model_info(m);
    assert_string_equal(info->name, "fixture-int8");
    assert_int_equal(info->is_int8, 1);
    assert_string_equal(info->sha256, "");
    assert_string_equal(info->labels[1], "cl\xc3\xa4ss 1");
    size_t n = 99;
    assert_int_equal(eff_session_create_unfused(&s, m, 2), EFF_OK);
    assert_null(eff_session_times(s, &n));
    assert_int_equal(n, 0);
    assert_int_equal(eff_session_profile(s), EFF_OK);
    eff_session_run(s, pixels, logits);
    const EffStepTime *times = eff_session_times(s, &n);
    assert_int_equal(n, info->n_steps);
    assert_string_equal(times[0].names[0], "step 0");
    assert_string_equal(times[0].op, "stem");
    assert_int_equal(times[0].n_steps, 1);
    assert_int_equal(times[0].macs, 10 * 10 * 12 * 27);
    assert_int_equal(times[1].macs, 10 * 10 * 12 * 9);
    assert_int_equal(times[2].macs, 10 * 10 * 12 * 20);
    for (size_t i = 0; i < n; i++)
        assert_true(times[i].seconds >= 0 && times[i].seconds < 60);
    assert_true(times[0].seconds > 0);
    assert_int_equal(eff_session_profile(s), EFF_OK);
    assert_true(times[0].seconds == 0);
    eff_session_destroy(s);

    /* Groups are a row each, with the work of their steps. */
    assert_int_equal(eff_session_create(&s, m, 2), EFF_OK);
    assert_int_equal(eff_session_profile(s), EFF_OK);
    eff_session_run(s, pixels, logits);
    times = eff_session_times(s, &n);
    assert_int_equal(n, info->n_steps - 6);
    assert_string_equal(times[0].op, "stem+dw+pw");
    assert_int_equal(times[0].n_steps, 3);
    assert_string_equal(times[0].names[0], "step 0");
    assert_string_equal(times[0].names[2], "step 2");
    assert_int_equal(times[0].macs, 10 * 10 * 12 * (27 + 9 + 20));
    assert_string_equal(times[1].op, "pw");
    assert_true(times[0].seconds > 0);
    eff_session_destroy(s);
    eff_model_close(m);
    free(pixels);
}

static EffStatus open_once(void *ctx)
{
    const EffBytes *bytes = ctx;
    EffModel *m = NULL;
    EffSession *s = NULL;
    EffStatus st = eff_model_read(&m, bytes->data, bytes->size, "fixture", "c");
    if (st == EFF_OK)
        st = eff_session_create(&s, m, 2);
    if (st == EFF_OK)
        st = eff_session_profile(s);
    eff_session_destroy(s);
    s = NULL;
    if (st == EFF_OK)
        st = eff_session_create_unfused(&s, m, 1);
    eff_session_destroy(s);
    eff_model_close(m);
    return st;
}

static void allocation_failures_are_clean(void **state)
{
    (void)state;
    void (*const makers[])(EffPlan *, uint64_t) = {fx_int8, fx_f32, fx_blocks};
    for (size_t i = 0; i < EFF_COUNT(makers); i++) {
        EffPlan plan;
        EffBytes bytes;
        makers[i](&plan, 6);
        assert_int_equal(eff_bin_write(&bytes, &plan), EFF_OK);
        eff_plan_free(&plan);
        sweep_allocations(open_once, &bytes);
        eff_free(bytes.data);
    }
}

static EffStatus from_plan_once(void *ctx)
{
    EffPlan *plan = ctx;
    EffModel *m = NULL;
    const EffStatus st = eff_model_from_plan(&m, plan, "c");
    eff_model_close(m);
    return st;
}

static void a_plan_stays_its_owners_on_failure(void **state)
{
    (void)state;
    EffPlan plan;
    fx_int8(&plan, 8);
    sweep_allocations(from_plan_once, &plan);
    assert_null(plan.steps);
    EffModel *m = NULL;
    fx_int8(&plan, 8);
    assert_int_equal(eff_model_from_plan(&m, &plan, "z80"), EFF_ERR_ARG);
    assert_non_null(plan.steps);
    plan.steps[3].in_ch++;
    assert_int_equal(eff_model_from_plan(&m, &plan, "c"), EFF_ERR_FORMAT);
    assert_null(m);
    eff_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_bits_are_the_same),
        cmocka_unit_test(float_bits_are_the_same),
        cmocka_unit_test(tiles_do_not_change_a_bit),
        cmocka_unit_test(tiles_keep_to_their_limits),
        cmocka_unit_test(profiles_name_every_step),
        cmocka_unit_test(allocation_failures_are_clean),
        cmocka_unit_test(a_plan_stays_its_owners_on_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
