/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dot products for the bodies in pw_u8s8_avx2.h and dw_u8s8_avx2.h, in plain AVX2: u8 widened to s16, two of them a
 * dword. vpmaddwd is exact; vpmaddubsw would take four u8 at once, but saturates at 16 bits.
 */
#ifndef EFF_KERNELS_X86_DOT_AVX2_H
#define EFF_KERNELS_X86_DOT_AVX2_H

#include "base/compiler.h"

#include <immintrin.h>
#include <stdint.h>

enum { DOT_K = 2 };     /* products a dword */
typedef int16_t DotWgt; /* a weight as it is packed */

/* In assembly: GCC 12 adds products of different steps before the accumulator, and spills for that. */
static EFF_ALWAYS_INLINE __m256i dot(__m256i acc, __m256i src, __m256i wgt)
{
    __m256i products;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(products) : "x"(src), "x"(wgt));
    return acc;
}

/* The weights from memory: they would take a register that an accumulator needs. */
static EFF_ALWAYS_INLINE __m256i dot_mem(__m256i acc, __m256i src, const void *wgt)
{
    __m256i products;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
            : "+x"(acc), "=&x"(products)
            : "x"(src), "m"(*(const __m256i *)wgt));
    return acc;
}

/* Rows 2 i, 2 i + 1 of a column of row quads, 8 channels, as dot() takes them; q0 holds rows 0..3 and so on. */
static EFF_ALWAYS_INLINE __m256i two_rows(__m256i q0, __m256i q1, __m256i q2, int i)
{
    const __m256i quad = i < 2 ? q0 : i < 4 ? q1 : q2;
    const __m256i low =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1));
    const __m256i high =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1));
    return _mm256_shuffle_epi8(quad, i % 2 == 0 ? low : high);
}

#endif
