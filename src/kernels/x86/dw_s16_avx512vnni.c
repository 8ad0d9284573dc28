/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of 16-bit inputs, AVX-512; the body is in dw_s16_vec.h. */
#include "kernels/levels.h"

#include "kernels/x86/avx512.h"

typedef __m512i V;

enum { LANES = 32 };

static EFF_ALWAYS_INLINE V load(const int16_t *p)
{
    return _mm512_loadu_si512(p);
}

static EFF_ALWAYS_INLINE V set1_32(int x)
{
    return _mm512_set1_epi32(x);
}

static EFF_ALWAYS_INLINE V interleave_low(V a, V b)
{
    return _mm512_unpacklo_epi16(a, b);
}

static EFF_ALWAYS_INLINE V interleave_high(V a, V b)
{
    return _mm512_unpackhi_epi16(a, b);
}

static EFF_ALWAYS_INLINE V madd(V a, V b)
{
    return _mm512_madd_epi16(a, b);
}

static EFF_ALWAYS_INLINE V add_32(V a, V b)
{
    return _mm512_add_epi32(a, b);
}

static EFF_ALWAYS_INLINE V shift_8(V v)
{
    return _mm512_srav_epi32(v, _mm512_set1_epi32(8)); /* srai is not emulated */
}

/* Of channels 0-3, 8-11, 16-19, 24-27, and of those between. */
static EFF_ALWAYS_INLINE void store_in_order(int32_t *p, V even, V odd)
{
    const V first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_storeu_si512(p, _mm512_permutex2var_epi64(even, first, odd));
    _mm512_storeu_si512(p + 16, _mm512_permutex2var_epi64(even, second, odd));
}

#include "kernels/x86/dw_s16_vec.h"

void eff_dw_s16_avx512vnni(const EffDwS16 *op, const int16_t *src, int32_t *dst, int y)
{
    run_dw(op, src, dst, y);
}
