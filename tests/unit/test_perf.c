/* SPDX-License-Identifier: Apache-2.0 */
/* What `effnet perf` concludes from times and from the machine: tools/timing.c, regress.c, noise.c. */
#include "unit.h"

#include "noise.h"
#include "regress.h"
#include "timing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

static void percentiles_are_nearest_ranks(void **state)
{
    (void)state;
    double ms[1000];
    for (int i = 0; i < 1000; i++)
        ms[i] = (i * 7919) % 1000 + 1; /* 1 to 1000 in another order */
    TimeStats s = timing_stats(ms, 1000);
    assert_true(near(s.min, 1) && near(s.mean, 500.5) && near(s.median, 500.5));
    assert_true(near(s.p90, 900) && near(s.p99, 990) && near(s.p999, 999));
    double three[] = {5, 1, 3};
    s = timing_stats(three, 3);
    assert_true(near(s.median, 3) && near(s.p90, 5) && near(s.p999, 5) && near(s.min, 1));
    const double rounds[] = {4, 1, 3, 2};
    assert_true(near(timing_median(rounds, 4), 2.5) && near(rounds[0], 4));
}

static void slower_needs_rounds_apart(void **state)
{
    (void)state;
    static const struct {
        double old_times[10], new_times[10];
        Verdict verdict;
    } rows[] = {
        /* Apart by 10 %, with disturbed rounds on either side. */
        {{10, 10.1, 10.2, 10.1, 10, 10.1, 10.3, 10.2, 14, 19},
         {11, 11.1, 11.2, 11.1, 11, 11.1, 11.3, 11.2, 14, 12},
         VERDICT_SLOWER},
        {{11, 11.1, 11.2, 11.1, 11, 11.1, 11.3, 11.2, 14, 12},
         {10, 10.1, 10.2, 10.1, 10, 10.1, 10.3, 10.2, 14, 19},
         VERDICT_FASTER},
        /* Apart, but by 1 %. */
        {{10, 10, 10, 10, 10, 10, 10, 10, 10, 10},
         {10.1, 10.1, 10.1, 10.1, 10.1, 10.1, 10.1, 10.1, 10.1, 10.1},
         VERDICT_SAME},
        /* Medians 10 % apart, but one quiet round was as fast as before. */
        {{10, 10.1, 10.2, 10.1, 10, 10.1, 10.3, 10.2, 10, 10},
         {11, 11.1, 11.2, 11.1, 11, 11.1, 11.3, 11.2, 10.2, 12},
         VERDICT_SAME},
        /* Three old rounds of ten as slow as the new ones. */
        {{10, 10.1, 10.2, 10.1, 10, 10.1, 10.3, 12, 12, 12},
         {11, 11.1, 11.2, 11.1, 11, 11.1, 11.3, 11.2, 11, 12},
         VERDICT_SAME},
    };
    for (size_t i = 0; i < EFF_COUNT(rows); i++) {
        const Change c = regress_times(rows[i].old_times, 10, rows[i].new_times, 10);
        if (c.verdict != rows[i].verdict)
            fail_msg("row %zu: %s (ratio %g)", i, verdict_name(c.verdict), c.ratio);
    }
    const Change c = regress_times((const double[]){1, 2, 3}, 3, (const double[]){7, 8, 9}, 3);
    assert_int_equal(c.verdict, VERDICT_SLOWER);
    assert_true(near(c.ratio, 4) && near(c.noise_percent, 100));
    assert_true(near(regress_spread((const double[]){1, 1, 1.5, 1, 9}, 5), 50));
}

static void reports_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int n;
    } rows[] = {
        {"{\"latency_ms\": {\"rounds\": [1, 2, 4.0]}}", 3},
        {"{\"streams\": 2, \"fps_rounds\": [1, 0.5, 0.25], \"latency_ms\": {\"rounds\": [1]}}", 3},
        {"{\"latency_ms\": {\"rounds\": [1, 2]}}", 0},
        {"{\"latency_ms\": {\"rounds\": [1, 2, -3]}}", 0},
        {"{\"latency_ms\": {\"rounds\": [1, 2, \"x\"]}}", 0},
        {"{\"latency_ms\": {\"median\": 3}}", 0},
        {"[]", 0},
    };
    for (size_t i = 0; i < EFF_COUNT(rows); i++) {
        double times[64] = {0};
        json_t *json = json_loads(rows[i].json, 0, NULL);
        assert_non_null(json);
        assert_int_equal(regress_rounds(times, json), rows[i].n);
        if (rows[i].n == 3)
            assert_true(near(times[0], 1) && near(times[1], 2) && near(times[2], 4));
        json_decref(json);
    }
    double times[64];
    assert_int_equal(regress_rounds(times, NULL), 0);
}

static void ticks_are_read(void **state)
{
    (void)state;
    CpuTicks t;
    assert_true(noise_parse_ticks(&t, "cpu  100 1 20 1000 30 4 5 6 7 8\ncpu0 1 2 3 4\n"));
    assert_int_equal(t.busy, 100 + 1 + 20 + 4 + 5 + 6); /* guests are part of user */
    assert_int_equal(t.steal, 6);
    assert_int_equal(t.total, t.busy + 1000 + 30);
    assert_true(noise_parse_ticks(&t, "cpu 1 2 3 4\n")); /* old kernels */
    assert_int_equal(t.total, 10);
    assert_false(noise_parse_ticks(&t, "cpu0 1 2 3 4\n"));
    assert_false(noise_parse_ticks(&t, ""));
}

static void noise_has_reasons(void **state)
{
    (void)state;
    const NoiseFacts quiet = {.has_ticks = true,
                              .steal_percent = 0.2,
                              .other_cpus = 0.1,
                              .n_cpus = 2,
                              .n_used = 2,
                              .switches_per_s = 3,
                              .spin_spread = 1.01,
                              .clock_drift = 1.005,
                              .round_spread = 1.02};
    NoiseReasons r;
    noise_judge(&r, &quiet);
    assert_int_equal(r.n, 0);
    static const char *const words[] = {"hypervisor took 7 %",   "other processes used 0.5 CPUs",
                                        "interrupted 400 times", "varies by 12 %",
                                        "clock changed by 8 %",  "rounds differ by 20 %"};
    for (size_t i = 0; i < EFF_COUNT(words); i++) {
        NoiseFacts f = quiet;
        switch (i) {
        case 0: f.steal_percent = 7; break;
        case 1: f.other_cpus = 0.5; break;
        case 2: f.switches_per_s = 400; break;
        case 3: f.spin_spread = 1.12; break;
        case 4: f.clock_drift = 1.08; break;
        default: f.round_spread = 1.2; break;
        }
        noise_judge(&r, &f);
        assert_int_equal(r.n, 1);
        if (strstr(r.text[0], words[i]) == NULL)
            fail_msg("'%s' lacks '%s'", r.text[0], words[i]);
    }
    NoiseFacts roomy = quiet; /* the same neighbour on a machine with a CPU to spare */
    roomy.other_cpus = 0.5;
    roomy.n_used = 1;
    noise_judge(&r, &roomy);
    assert_int_equal(r.n, 0);
}

static void the_machine_is_watched(void **state)
{
    (void)state;
    NoiseWatch *w = noise_start();
    assert_non_null(w);
    for (int i = 0; i < 300; i++) /* more than it has room for */
        noise_spin(w);
    NoiseFacts f;
    noise_stop(w, &f);
    assert_true(f.n_cpus >= 1 && f.spin_spread >= 1 && f.clock_drift >= 1);
    assert_true(f.steal_percent >= 0 && f.other_cpus >= 0 && f.switches_per_s >= 0);
    noise_free(w);
    char name[8];
    machine_cpu_model(name, sizeof name);
    assert_true(strlen(name) > 0 && strlen(name) < sizeof name);
    assert_true(machine_peak_bytes() > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_nearest_ranks),
        cmocka_unit_test(slower_needs_rounds_apart),
        cmocka_unit_test(reports_are_read),
        cmocka_unit_test(ticks_are_read),
        cmocka_unit_test(noise_has_reasons),
        cmocka_unit_test(the_machine_is_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
