/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of sixteen floats for the bodies of the float kernels (pw_f32_vec.h, dw_f32_vec.h, elementwise_f32_vec.h). */
#ifndef EFF_KERNELS_X86_VEC_F32_AVX512_H
#define EFF_KERNELS_X86_VEC_F32_AVX512_H

#include "kernels/levels.h"

#include "kernels/x86/avx512.h"
#include <math.h>
#include <stdbool.h>

typedef __m512 V;
typedef __m512d D; /* half as many doubles */

enum { LANES = 16 };

static EFF_ALWAYS_INLINE V load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static EFF_ALWAYS_INLINE void store(float *p, V v)
{
    _mm512_storeu_ps(p, v);
}

static EFF_ALWAYS_INLINE V set1(float x)
{
    return _mm512_set1_ps(x);
}

/* x * w + acc, rounded once. */
static EFF_ALWAYS_INLINE V muladd(V x, V w, V acc)
{
    return _mm512_fmadd_ps(x, w, acc);
}

/* a > b ? a : b, and so b when one of them is NaN. */
static EFF_ALWAYS_INLINE V max(V a, V b)
{
    return _mm512_max_ps(a, b);
}

/* a < b ? a : b */
static EFF_ALWAYS_INLINE V min(V a, V b)
{
    return _mm512_min_ps(a, b);
}

/* 2^n of n + 1.5 * 2^23, for integral n in [-126, 127]: the low bits of such a float are those of n. */
static EFF_ALWAYS_INLINE V exp2_of_shifted(V v)
{
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(v), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(127 << 23)));
}

static EFF_ALWAYS_INLINE D load_doubles(const float *p)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}

static EFF_ALWAYS_INLINE D zero_doubles(void)
{
    return _mm512_setzero_pd();
}

static EFF_ALWAYS_INLINE void store_quotients(float *p, D sums, double n)
{
    _mm256_storeu_ps(p, _mm512_cvtpd_ps(sums / _mm512_set1_pd(n)));
}

/* In the file of the element-wise kernels. */
static inline void activate(EffActivation act, float *x, size_t n)
{
    eff_act_f32_avx512(act, x, n);
}

#endif
