/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kcheck: checks every kernel at every CPU level against plain C, bit for bit, and times them with --bench.
 * Inputs are hostile, and end at an unmapped page.
 */
#include "kcheck.h"
#include "base/compiler.h"
#include "base/cpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: kcheck [options]\n"
    "  --cpu LEVEL    check up to this level only: c, avx2, avxvnni, avx512vl, avx512vnni, avx512vbmi, "
    "avx512amx\n                 (default: all this CPU has)\n"
    "  --test NAME    one test: pw_u8s8 pw_quads dw_u8s8 stem fc_s16 fc_epilogue quant_s16u8 add_s16 pool_s16 pool_u8\n"
    "                 pw_raw dw_s16 join\n"
    "                 pw_f32 dw_f32 act_f32 values_f32\n"
    "  --seed S       random cases (default 1)\n"
    "  --cases N      cases a test (default 500)\n"
    "  --shapes FILE  layer shapes (default bench/shapes.txt)\n"
    "  --bench [NET]  time the layers of a network instead (default b0), at the level of --cpu\n"
    "  --json         one JSON object a line\n";

static void check_level(KCheck *t, const EffKernels *k)
{
    kc_test_pw(t, k);
    kc_test_dw(t, k);
    kc_test_stem(t, k);
    kc_test_fc(t, k);
    kc_test_elementwise(t, k);
    kc_test_wide(t, k);
    kc_test_f32(t, &k->f32);
}

/* Most machines lack AVX-VNNI: its kernels, all but the dot product, are checked wherever AVX2 runs. */
static void check_emulated(KCheck *t, unsigned flags)
{
#if EFF_ARCH_X86_64
    EffKernels k;
    if ((flags & EFF_CPU_AVX2) == 0)
        return;
    eff_kernels_init(&k, EFF_CPU_AVX2);
    k.pw_u8s8 = kc_pw_emulated_avx2;
    k.dw_u8s8 = kc_dw_emulated_avx2;
    t->level = "emulated";
    t->cpu = "avx2";
    check_level(t, &k);
#else
    (void)t;
    (void)flags;
#endif
}

/* Level by level, lowest first: a kernel is checked at the first level that has it. */
static void check_levels(KCheck *t, unsigned allowed)
{
    for (size_t i = 0; eff_cpu_level_at(i) != NULL; i++) {
        unsigned flags;
        if (eff_cpu_level_find(&flags, eff_cpu_level_at(i)) != EFF_OK || (flags & ~allowed) != 0) {
            if (!t->json)
                printf("%-11s not checked: %s\n", eff_cpu_level_at(i),
                       (flags & ~allowed) != 0 ? "above --cpu" : "this CPU lacks it");
            continue;
        }
        EffKernels k;
        t->level = t->cpu = eff_cpu_level_at(i);
        if (flags & EFF_CPU_AVX2) { /* a hint, not a need: kernels for both kinds of CPU run here */
            eff_kernels_init(&k, flags ^ EFF_CPU_YMM_HALVES);
            kc_test_f32(t, &k.f32);
        }
        eff_kernels_init(&k, flags);
        check_level(t, &k);
    }
    check_emulated(t, allowed);
}

int main(int argc, char **argv)
{
    KCheck t = {.seed = 1, .n_cases = 500, .program = argv[0]};
    const char *cpu = "auto", *shapes = "bench/shapes.txt", *bench = NULL;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(arg, "--json") == 0) {
            t.json = true;
        } else if (strcmp(arg, "--bench") == 0) {
            bench = "b0";
            if (next != NULL && next[0] != '-')
                bench = argv[++i];
        } else if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (next == NULL) {
            fprintf(stderr, "kcheck: '%s' is unknown or lacks its value\n%s", arg, usage);
            return 2;
        } else {
            i++;
            if (strcmp(arg, "--cpu") == 0) {
                cpu = next;
            } else if (strcmp(arg, "--test") == 0) {
                t.only = next;
            } else if (strcmp(arg, "--seed") == 0) {
                t.seed = strtoull(next, NULL, 10);
            } else if (strcmp(arg, "--cases") == 0) {
                t.n_cases = atoi(next);
            } else if (strcmp(arg, "--shapes") == 0) {
                shapes = next;
            } else {
                fprintf(stderr, "kcheck: '%s' is unknown\n%s", arg, usage);
                return 2;
            }
        }
    }
    unsigned flags;
    if (eff_cpu_level_find(&flags, cpu) != EFF_OK) {
        fprintf(stderr, "kcheck: %s\n", eff_last_message());
        return 2;
    }
    if (!kc_shapes_read(&t.shapes, shapes))
        return 2;
    if (!t.json)
        printf("kcheck: effnet %s, up to %s, seed %" PRIu64 "\n", EFF_VERSION, eff_cpu_level_name(flags), t.seed);
    if (bench != NULL) {
        EffKernels k;
        eff_kernels_init(&k, flags);
        t.level = eff_cpu_level_name(flags);
        kc_bench(&t, &k, bench);
        kc_bench_f32(&t, &k.f32, bench);
    } else {
        check_levels(&t, flags);
        if (t.n_tests == 0) {
            fprintf(stderr, "kcheck: no test is called '%s'\n%s", t.only ? t.only : "", usage);
            return 2;
        }
    }
    free(t.shapes.items);
    return t.n_failed ? 1 : 0;
}
