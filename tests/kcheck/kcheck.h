/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: shared by its parts. Checks every entry of the kernel table against plain C, and times it. */
#ifndef EFF_TESTS_KCHECK_H
#define EFF_TESTS_KCHECK_H

#include "base/rng.h"
#include "kernels/levels.h"
#include "kernels/stem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- guarded memory: ends at an unmapped page, canaries in front --------------------------------------------------
 */

typedef struct KcBuf {
    void *data;
    size_t bytes;
    void *map;
    size_t map_bytes;
} KcBuf;

/* Something for a kernel to fetch. */
static inline EffAhead kc_buf_ahead(const KcBuf *b)
{
    return (EffAhead){b->data, (const uint8_t *)b->data + b->bytes};
}

/* `bytes` of memory; reading or writing past the end faults, writing before it is found by kc_buf_intact(). `align`
 * rounds the start down (1 for none); up to align - 1 bytes at the end are then canaries too. */
KcBuf kc_buf(size_t bytes, size_t align);
bool kc_buf_intact(const KcBuf *buf);
void kc_buf_free(KcBuf *buf);

/* ---- layer shapes -------------------------------------------------------------------------------------------------
 */

typedef struct KcShape {
    char net[12], op[12], act[12];
    int in_ch, out_ch, kernel, stride, in_size, out_size, count;
} KcShape;

typedef struct KcShapes {
    KcShape *items;
    size_t n;
} KcShapes;

bool kc_shapes_read(KcShapes *out, const char *path);

/* ---- the state of a run -------------------------------------------------------------------------------------------
 */

enum { KC_MAX_SEEN = 64 };

typedef struct KCheck {
    uint64_t seed;
    int n_cases;      /* random cases a test */
    const char *only; /* name of the one test to run, or NULL */
    const char *program;
    const char *level;
    const char *cpu; /* that reaches it, for the rerun line */
    bool json;
    KcShapes shapes;

    EffRng rng; /* of the case at hand */
    const char *test;
    int i_case;
    char what[256]; /* the case in words */
    int n_checked, n_weak, n_failed, n_tests;
    uintptr_t seen[KC_MAX_SEEN]; /* kernels checked at a lower level */
    int n_seen;
} KCheck;

/* True when test `name` is to run for the kernel `fn`: it was asked for, and was not checked at a lower level. */
bool kc_begin(KCheck *t, const char *name, uintptr_t fn);
/* Starts case i: a random stream of its own, so that one case can be rerun alone. */
void kc_case(KCheck *t, int i);
/* Ends a test with a line of output. */
void kc_end(KCheck *t);

/* Compare; on a difference prints seed, case, first difference and rerun line, and returns false. */
bool kc_equal_bytes(KCheck *t, const char *what, const void *ref, const void *got, size_t n, size_t width, size_t line);
/* Buffers' canaries; false after printing like above. */
bool kc_intact(KCheck *t, const KcBuf *const bufs[], size_t n);

/* Count a case as weak when nearly all outputs sit at a limit. */
void kc_weigh_u8(KCheck *t, const uint8_t *v, size_t n);
void kc_weigh_s16(KCheck *t, const int16_t *v, size_t n);

/* Random numbers of the case. */
int kc_range(KCheck *t, int lo, int hi); /* inclusive */
bool kc_chance(KCheck *t, int percent);
void kc_fill_u8(KCheck *t, uint8_t *v, size_t n);
void kc_fill_weights(KCheck *t, int8_t *v, size_t n);
void kc_fill_s16(KCheck *t, int16_t *v, size_t n);

/* ---- epilogues ----------------------------------------------------------------------------------------------------
 */

/* A random epilogue with arrays of its own. */
typedef struct KcEpilogue {
    EffEpilogue epi;
    KcBuf bias, shift, mult, top, zero, omult;
    uint8_t stair[EFF_STAIR_SIZE];
    int16_t knot[EFF_KNOTS], slope[EFF_KNOTS];
} KcEpilogue;

/* For n channels, k products each. `spread` is the usual size of an accumulator. The result must not be copied. */
void kc_epilogue(KCheck *t, KcEpilogue *e, int n, int k, double spread);
bool kc_epilogue_intact(KCheck *t, const KcEpilogue *e);
void kc_epilogue_free(KcEpilogue *e);
const char *kc_epilogue_name(const EffEpilogue *e);

/* ---- tests and timing ---------------------------------------------------------------------------------------------
 */

void kc_test_pw(KCheck *t, const EffKernels *k);
void kc_test_dw(KCheck *t, const EffKernels *k);
void kc_test_stem(KCheck *t, const EffKernels *k);
void kc_test_fc(KCheck *t, const EffKernels *k);
void kc_test_wide(KCheck *t, const EffKernels *k);
void kc_test_elementwise(KCheck *t, const EffKernels *k);
void kc_test_f32(KCheck *t, const EffKernelsF32 *k);

/* Seconds of one call: the fastest of some rounds of about a millisecond. */
double kc_time(void (*fn)(void *ctx), void *ctx);

void kc_bench(KCheck *t, const EffKernels *k, const char *net);
/* The float kernels, beside plain C. */
void kc_bench_f32(KCheck *t, const EffKernelsF32 *k, const char *net);

/* x86 only, for CPUs with AVX2: what the VNNI levels on ymm registers run, with an emulated dot product. */
extern const EffPwKernel kc_pw_emulated_avx2;
extern const EffDwKernel kc_dw_emulated_avx2;

#endif
