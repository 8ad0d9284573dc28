/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of row quads for dot products of four bytes a dword. */
#ifndef EFF_KERNELS_X86_DOT_ROWS_H
#define EFF_KERNELS_X86_DOT_ROWS_H

#include "base/compiler.h"

#include <immintrin.h>
#include <stdint.h>

/* Rows 2 i .. 2 i + 3 of a column of row quads, 8 channels; q0 holds rows 0..3 and so on. */
static EFF_ALWAYS_INLINE __m256i two_rows(__m256i q0, __m256i q1, __m256i q2, int i)
{
    const __m256i quad = i < 2 ? q0 : i < 4 ? q1 : q2, next = i < 2 ? q1 : q2;
    if (i % 2 == 0)
        return quad;
    return _mm256_blend_epi16(_mm256_srli_epi32(quad, 16), _mm256_slli_epi32(next, 16), 0xaa);
}

#endif
