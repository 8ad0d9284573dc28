/* SPDX-License-Identifier: Apache-2.0 */
/* Small networks, quantized with some convolutions in another type. */
#ifndef EFFNET_TESTS_PROMOTE_UTIL_H
#define EFFNET_TESTS_PROMOTE_UTIL_H

#include "compiled_util.h"

#include "base/cpu.h"
#include "compile/lower.h"
#include "quant/divergence.h"

#include <stdio.h>

enum { SIZE = 40, N_CLASSES = 20, N_PICTURES = 8, CALIBRATION = 100, OTHERS = 500 };

static inline EffGraph *network(const char *name)
{
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
    arch.pre.size = SIZE;
    arch.n_classes = N_CLASSES;
    arch.width *= 0.2;
    arch.depth *= 0.3; /* a block a stage, or two */
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_randomize(g, 7), EFF_OK);
    assert_int_equal(eff_graph_optimize(g), EFF_OK);
    return g;
}

static inline EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    (void)ctx;
    eff_synthetic_picture(pixels, SIZE, CALIBRATION + i);
    return EFF_OK;
}

static const EffPictures pictures = {.n = N_PICTURES, .get = get_synthetic};

static inline EffCompiled *quantize(const EffGraph *g, EffQuantizeOptions o)
{
    EffCompiled *c = NULL;
    o.n_report = 2;
    if (eff_quantize(&c, g, &pictures, &o) != EFF_OK)
        fail_msg("%s", eff_last_message());
    return c;
}

/* Mean divergence from float over the pictures from this seed on; the logits go to `all` where it is not NULL. */
static inline double divergence(const EffCompiled *c, const EffGraph *g, const char *cpu, int n_threads, uint64_t first,
                                float *all)
{
    EffCompiled *f32 = NULL;
    EffModel *m = NULL, *mf = NULL;
    EffSession *s = NULL, *sf = NULL;
    uint8_t pixels[SIZE * SIZE * 3];
    float a[N_CLASSES], b[N_CLASSES];
    double sum = 0;
    assert_int_equal(eff_compile_float(&f32, g), EFF_OK);
    assert_int_equal(eff_compiled_model(&m, c, cpu), EFF_OK);
    assert_int_equal(eff_compiled_model(&mf, f32, NULL), EFF_OK);
    assert_int_equal(eff_session_create(&s, m, n_threads), EFF_OK);
    assert_int_equal(eff_session_create(&sf, mf, 1), EFF_OK);
    for (int i = 0; i < N_PICTURES; i++) {
        eff_synthetic_picture(pixels, SIZE, first + (uint64_t)i);
        eff_session_run(s, pixels, b);
        eff_session_run(sf, pixels, a);
        sum += eff_softmax_kl(a, b, N_CLASSES);
        if (all != NULL)
            memcpy(all + i * N_CLASSES, b, sizeof b);
    }
    eff_session_destroy(s);
    eff_session_destroy(sf);
    eff_model_close(m);
    eff_model_close(mf);
    eff_compiled_free(f32);
    return sum / N_PICTURES;
}

/* The same logits at every level of this CPU, with one thread and with three. */
static inline void same_logits_everywhere(const EffCompiled *c, const EffGraph *g)
{
    float wanted[N_PICTURES * N_CLASSES], got[N_PICTURES * N_CLASSES];
    divergence(c, g, "c", 1, OTHERS, wanted);
    for (size_t level = 0; eff_cpu_level_at(level) != NULL; level++) {
        unsigned flags;
        if (eff_cpu_level_find(&flags, eff_cpu_level_at(level)) != EFF_OK)
            continue;
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            divergence(c, g, eff_cpu_level_at(level), n_threads, OTHERS, got);
            assert_memory_equal(wanted, got, sizeof got);
        }
    }
}

#endif
