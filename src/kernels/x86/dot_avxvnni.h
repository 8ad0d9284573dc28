/* SPDX-License-Identifier: Apache-2.0 */
/* Dot products for the bodies in pw_u8s8_avx2.h and dw_u8s8_avx2.h, by vpdpbusd in VEX encoding (AVX-VNNI). */
#ifndef EFF_KERNELS_X86_DOT_AVXVNNI_H
#define EFF_KERNELS_X86_DOT_AVXVNNI_H

#include "base/compiler.h"
#include "kernels/x86/dot_rows.h"

enum { DOT_K = 4 };    /* products a dword */
typedef int8_t DotWgt; /* a weight as it is packed */

/* {vex}: assemblers take the EVEX form otherwise. */
static EFF_ALWAYS_INLINE __m256i dot(__m256i acc, __m256i src, __m256i wgt)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(src), "x"(wgt));
    return acc;
}

static EFF_ALWAYS_INLINE __m256i dot_mem(__m256i acc, __m256i src, const void *wgt)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(src), "m"(*(const __m256i *)wgt));
    return acc;
}

#endif
