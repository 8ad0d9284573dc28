/* SPDX-License-Identifier: Apache-2.0 */
/* The same as lookup_avx512vbmi.h for a CPU that has VNNI but not VBMI (Cascade Lake): tables are looked up by words.
 */
#ifndef EFF_KERNELS_X86_LOOKUP_AVX512VNNI_H
#define EFF_KERNELS_X86_LOOKUP_AVX512VNNI_H

#include "base/compiler.h"
#include "kernels/epilogue.h"

#include "kernels/x86/avx512.h"

static EFF_ALWAYS_INLINE __m512i stair_lookup_one(const __m512i t[4], __m512i i)
{
    const __m512i b = _mm512_min_epi16(i, _mm512_set1_epi16(255)), pair = _mm512_srli_epi16(b, 1);
    const __m512i lo = _mm512_permutex2var_epi16(t[0], pair, t[1]), hi = _mm512_permutex2var_epi16(t[2], pair, t[3]);
    const __mmask32 upper = _mm512_test_epi16_mask(b, _mm512_set1_epi16(128));
    const __mmask32 odd = _mm512_test_epi16_mask(b, _mm512_set1_epi16(1));
    const __m512i g = _mm512_mask_mov_epi16(lo, upper, hi);
    return _mm512_and_si512(_mm512_mask_srli_epi16(g, odd, g, 8), _mm512_set1_epi16(255));
}

/* g0[i] = stair[min(i0[i], 255)], of 32 words each; indices in 0..32767. `t` is the table. */
static EFF_ALWAYS_INLINE void stair_lookup(const __m512i t[4], __m512i i0, __m512i i1, __m512i *g0, __m512i *g1)
{
    *g0 = stair_lookup_one(t, i0);
    *g1 = stair_lookup_one(t, i1);
}

/* Rows 2, 3 of quad a and 0, 1 of quad b. */
static EFF_ALWAYS_INLINE __m512i middle_quad(__m512i a, __m512i b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(a, 16), _mm512_slli_epi32(b, 16));
}

#endif
