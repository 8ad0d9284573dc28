/* SPDX-License-Identifier: Apache-2.0 */
/* acc += dot product of four u8 and four s8, by dwords. One instruction of inline assembly: GCC 12 spills the intrinsic
 * when many accumulators live (54 % of peak against 97 % on Zen 4). */
#ifndef EFF_KERNELS_X86_DPBUSD_AVX512_H
#define EFF_KERNELS_X86_DPBUSD_AVX512_H

#include "base/compiler.h"
#include "kernels/x86/avx512.h"

#ifdef EFF_EMULATE_AVX512
static EFF_ALWAYS_INLINE __m512i dpbusd(__m512i acc, __m512i u8, __m512i s8)
{
    return _mm512_dpbusd_epi32(acc, u8, s8);
}

static EFF_ALWAYS_INLINE __m512i dpbusd_mem(__m512i acc, __m512i u8, const void *s8)
{
    return _mm512_dpbusd_epi32(acc, u8, _mm512_loadu_si512(s8));
}
#else
static EFF_ALWAYS_INLINE __m512i dpbusd(__m512i acc, __m512i u8, __m512i s8)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u8), "v"(s8));
    return acc;
}

/* The signed operand from memory. */
static EFF_ALWAYS_INLINE __m512i dpbusd_mem(__m512i acc, __m512i u8, const void *s8)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u8), "m"(*(const __m512i *)s8));
    return acc;
}
#endif

#endif
