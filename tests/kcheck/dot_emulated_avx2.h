/* SPDX-License-Identifier: Apache-2.0 */
/* vpdpbusd out of AVX2 instructions, so that the bodies that the VNNI levels share are checked on CPUs without VNNI. */
#ifndef EFF_TESTS_DOT_EMULATED_AVX2_H
#define EFF_TESTS_DOT_EMULATED_AVX2_H

#include "base/compiler.h"
#include "kernels/x86/dot_rows.h"

enum { DOT_K = 4 };
typedef int8_t DotWgt;

static inline __m256i dot(__m256i acc, __m256i src, __m256i wgt)
{
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(src, _mm256_set1_epi16(255)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(wgt, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(src, 8), _mm256_srai_epi16(wgt, 8));
    return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
}

static inline __m256i dot_mem(__m256i acc, __m256i src, const void *wgt)
{
    return dot(acc, src, _mm256_loadu_si256((const __m256i *)wgt));
}

#endif
