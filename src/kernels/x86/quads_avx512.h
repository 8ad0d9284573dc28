/* SPDX-License-Identifier: Apache-2.0 */
/* Row quads on AVX-512: what the pointwise kernels that write them share. Static, for *_avx512*.c files only. */
#ifndef EFF_KERNELS_X86_QUADS_AVX512_H
#define EFF_KERNELS_X86_QUADS_AVX512_H

#include "kernels/table.h"
#include "kernels/x86/epilogue_avx512.h"

/* Zero points of 16 channels as row quads. */
static EFF_ALWAYS_INLINE Z zero_quads(const int16_t *zero)
{
    const Z z = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)zero));
    return _mm512_mullo_epi32(z, _mm512_set1_epi32(0x01010101));
}

/* Byte r of dword d of a lane comes from pixel r - first of P4C16, channel d. */
static EFF_ALWAYS_INLINE Z turn_rows(int first)
{
    const __m128i whole = _mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    return _mm512_broadcast_i32x4(_mm_sub_epi8(whole, _mm_set1_epi8((char)(4 * first))));
}

/* The bytes of rows [lo, hi) of 16 quads. */
static inline __mmask64 rows_mask(int lo, int hi)
{
    __mmask64 mask = 0;
    for (int r = lo; r < hi; r++)
        mask |= (__mmask64)0x1111111111111111 << r;
    return mask;
}

/* A quad that lies in the padding. */
static inline void zero_columns(const EffPw *op, const EffPwQuadIo *io, uint8_t *dst, size_t column)
{
    for (int x = io->col_begin; x < io->col_end; x++) {
        for (int c = io->ch_begin; c < io->ch_end; c += 16)
            _mm512_storeu_si512(dst + (size_t)x * column + (size_t)(c - io->ch_begin) * 4,
                                zero_quads(op->epi.zero + c));
    }
}

#endif
