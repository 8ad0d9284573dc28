/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of eight floats for the bodies of the float kernels (pw_f32_vec.h, dw_f32_vec.h, elementwise_f32_vec.h). */
#ifndef EFF_KERNELS_X86_VEC_F32_AVX2_H
#define EFF_KERNELS_X86_VEC_F32_AVX2_H

#include "kernels/levels.h"

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>

typedef __m256 V;
typedef __m256d D; /* half as many doubles */

enum { LANES = 8 };

static EFF_ALWAYS_INLINE V load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static EFF_ALWAYS_INLINE void store(float *p, V v)
{
    _mm256_storeu_ps(p, v);
}

static EFF_ALWAYS_INLINE V set1(float x)
{
    return _mm256_set1_ps(x);
}

/* x * w + acc, rounded once. */
static EFF_ALWAYS_INLINE V muladd(V x, V w, V acc)
{
    return _mm256_fmadd_ps(x, w, acc);
}

/* a > b ? a : b, and so b when one of them is NaN. */
static EFF_ALWAYS_INLINE V max(V a, V b)
{
    return _mm256_max_ps(a, b);
}

/* a < b ? a : b */
static EFF_ALWAYS_INLINE V min(V a, V b)
{
    return _mm256_min_ps(a, b);
}

/* 2^n of n + 1.5 * 2^23, for integral n in [-126, 127]: the low bits of such a float are those of n. */
static EFF_ALWAYS_INLINE V exp2_of_shifted(V v)
{
    const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(v), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(127 << 23)));
}

static EFF_ALWAYS_INLINE D load_doubles(const float *p)
{
    return _mm256_cvtps_pd(_mm_loadu_ps(p));
}

static EFF_ALWAYS_INLINE D zero_doubles(void)
{
    return _mm256_setzero_pd();
}

static EFF_ALWAYS_INLINE void store_quotients(float *p, D sums, double n)
{
    _mm_storeu_ps(p, _mm256_cvtpd_ps(sums / _mm256_set1_pd(n)));
}

/* In the file of the element-wise kernels. */
static inline void activate(EffActivation act, float *x, size_t n)
{
    eff_act_f32_avx2(act, x, n);
}

#endif
