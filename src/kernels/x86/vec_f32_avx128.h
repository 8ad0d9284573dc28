/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vectors of four floats for pw_f32_vec.h, on CPUs that split 256-bit instructions in halves: there they gain nothing
 * from wide ones, and pay more for a wide broadcast.
 */
#ifndef EFF_KERNELS_X86_VEC_F32_AVX128_H
#define EFF_KERNELS_X86_VEC_F32_AVX128_H

#include "kernels/levels.h"

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>

typedef __m128 V;

enum { LANES = 4 };

static EFF_ALWAYS_INLINE V load(const float *p)
{
    return _mm_loadu_ps(p);
}

static EFF_ALWAYS_INLINE void store(float *p, V v)
{
    _mm_storeu_ps(p, v);
}

static EFF_ALWAYS_INLINE V set1(float x)
{
    return _mm_set1_ps(x);
}

/* x * w + acc, rounded once. */
static EFF_ALWAYS_INLINE V muladd(V x, V w, V acc)
{
    return _mm_fmadd_ps(x, w, acc);
}

/* a > b ? a : b, and so b when one of them is NaN. */
static EFF_ALWAYS_INLINE V max(V a, V b)
{
    return _mm_max_ps(a, b);
}

/* a < b ? a : b */
static EFF_ALWAYS_INLINE V min(V a, V b)
{
    return _mm_min_ps(a, b);
}

/* In the file of the element-wise kernels. */
static inline void activate(EffActivation act, float *x, size_t n)
{
    eff_act_f32_avx2(act, x, n);
}

#endif
