/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dot products for the bodies in pw_u8s8_avx2.h and dw_u8s8_avx2.h, by vpdpbusd on ymm in EVEX encoding (AVX-512 VL and
 * VNNI): what dot_avxvnni.h does, for CPUs that lack AVX-VNNI and are to check the bodies.
 */
#ifndef EFF_KERNELS_X86_DOT_AVX512VL_H
#define EFF_KERNELS_X86_DOT_AVX512VL_H

#include "base/compiler.h"
#include "kernels/x86/dot_rows.h"

enum { DOT_K = 4 };    /* products a dword */
typedef int8_t DotWgt; /* a weight as it is packed */

static EFF_ALWAYS_INLINE __m256i dot(__m256i acc, __m256i src, __m256i wgt)
{
    __asm__("%{evex%} vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(src), "v"(wgt));
    return acc;
}

static EFF_ALWAYS_INLINE __m256i dot_mem(__m256i acc, __m256i src, const void *wgt)
{
    __asm__("%{evex%} vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(src), "m"(*(const __m256i *)wgt));
    return acc;
}

#endif
