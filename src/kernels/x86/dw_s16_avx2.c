/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of 16-bit inputs, AVX2; the body is in dw_s16_vec.h. */
#include "kernels/levels.h"

#include <immintrin.h>

typedef __m256i V;

enum { LANES = 16 };

static EFF_ALWAYS_INLINE V load(const int16_t *p)
{
    return _mm256_loadu_si256((const V *)(const void *)p);
}

static EFF_ALWAYS_INLINE V set1_32(int x)
{
    return _mm256_set1_epi32(x);
}

static EFF_ALWAYS_INLINE V interleave_low(V a, V b)
{
    return _mm256_unpacklo_epi16(a, b);
}

static EFF_ALWAYS_INLINE V interleave_high(V a, V b)
{
    return _mm256_unpackhi_epi16(a, b);
}

static EFF_ALWAYS_INLINE V madd(V a, V b)
{
    return _mm256_madd_epi16(a, b);
}

static EFF_ALWAYS_INLINE V add_32(V a, V b)
{
    return _mm256_add_epi32(a, b);
}

static EFF_ALWAYS_INLINE V shift_8(V v)
{
    return _mm256_srai_epi32(v, 8);
}

/* Of channels 0-3 and 8-11, and of 4-7 and 12-15. */
static EFF_ALWAYS_INLINE void store_in_order(int32_t *p, V even, V odd)
{
    _mm256_storeu_si256((V *)(void *)p, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((V *)(void *)(p + 8), _mm256_permute2x128_si256(even, odd, 0x31));
}

#include "kernels/x86/dw_s16_vec.h"

void eff_dw_s16_avx2(const EffDwS16 *op, const int16_t *src, int32_t *dst, int y)
{
    run_dw(op, src, dst, y);
}
