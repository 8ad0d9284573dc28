/* SPDX-License-Identifier: Apache-2.0 */
/* What VBMI and VBMI2 make cheaper: a table of 256 bytes, and the quad between two quads. For avx512vbmi files only. */
#ifndef EFF_KERNELS_X86_LOOKUP_AVX512VBMI_H
#define EFF_KERNELS_X86_LOOKUP_AVX512VBMI_H

#include "base/compiler.h"
#include "kernels/epilogue.h"

#include "kernels/x86/avx512.h"

/* g0[i] = stair[min(i0[i], 255)], of 32 words each; indices in 0..32767. `t` is the table. */
static EFF_ALWAYS_INLINE void stair_lookup(const __m512i t[4], __m512i i0, __m512i i1, __m512i *g0, __m512i *g1)
{
    const __m512i i = _mm512_packus_epi16(i0, i1), none = _mm512_setzero_si512();
    const __m512i lo = _mm512_permutex2var_epi8(t[0], i, t[1]), hi = _mm512_permutex2var_epi8(t[2], i, t[3]);
    const __m512i g = _mm512_mask_mov_epi8(lo, _mm512_movepi8_mask(i), hi);
    *g0 = _mm512_unpacklo_epi8(g, none);
    *g1 = _mm512_unpackhi_epi8(g, none);
}

/* Rows 2, 3 of quad a and 0, 1 of quad b. */
static EFF_ALWAYS_INLINE __m512i middle_quad(__m512i a, __m512i b)
{
    return _mm512_shrdi_epi32(a, b, 16);
}

#endif
