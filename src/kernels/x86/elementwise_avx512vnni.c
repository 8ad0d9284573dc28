/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels without weights on AVX-512 BW: s16 to u8 (the gate of squeeze-excite), residual add, pooling. */
#include "kernels/levels.h"

#include <assert.h>
#include "kernels/x86/avx512.h"

/* Channels c .. c + 15 of four pixels, so that parameters are loaded once for 64 values. */
static inline __m512i quant_two(const EffQuant *op, const int16_t *a, const int16_t *b, __m512i mult, __m512i zero)
{
    __m512i y = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)a));
    y = _mm512_inserti64x4(y, _mm256_loadu_si256((const __m256i *)b), 1);
    for (int i = 0; i < op->shift; i++)
        y = _mm512_adds_epi16(y, y);
    return _mm512_adds_epi16(_mm512_mulhrs_epi16(y, mult), zero);
}

static inline __m256i quant_16(const EffQuant *op, const int16_t *src, __m256i mult, __m256i zero)
{
    __m256i y = _mm256_loadu_si256((const __m256i *)src);
    for (int i = 0; i < op->shift; i++)
        y = _mm256_adds_epi16(y, y);
    return _mm256_adds_epi16(_mm256_mulhrs_epi16(y, mult), zero);
}

/* 64 channels of a pixel where there are so many, else 16. */
static void quant_pixel(const EffQuant *op, const int16_t *src, uint8_t *dst, int n)
{
    const __m512i in_order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    int c = 0;
    for (; c + 64 <= n; c += 64) {
        const __m512i a =
            quant_two(op, src + c, src + c + 16, _mm512_loadu_si512(op->mult + c), _mm512_loadu_si512(op->zero + c));
        const __m512i b = quant_two(op, src + c + 32, src + c + 48, _mm512_loadu_si512(op->mult + c + 32),
                                    _mm512_loadu_si512(op->zero + c + 32));
        _mm512_storeu_si512(dst + c, _mm512_permutexvar_epi64(in_order, _mm512_packus_epi16(a, b)));
    }
    for (; c < n; c += 16) {
        const __m256i q = quant_16(op, src + c, _mm256_loadu_si256((const __m256i *)(op->mult + c)),
                                   _mm256_loadu_si256((const __m256i *)(op->zero + c)));
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(q, q), 0x08);
        _mm_storeu_si128((__m128i *)(dst + c), _mm256_castsi256_si128(bytes));
    }
}

void eff_quant_s16u8_avx512vnni(const EffQuant *op, const int16_t *src, uint8_t *dst, size_t n_pixels)
{
    const int n = eff_ch_pad(op->channels);
    for (size_t p = 0; p < n_pixels; p++, src += n, dst += n)
        quant_pixel(op, src, dst, n);
}

void eff_add_s16_avx512vnni(int16_t *dst, const int16_t *a, const int16_t *b, size_t n)
{
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
        _mm512_storeu_si512(dst + i, _mm512_adds_epi16(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i)));
    if (i < n) {
        const __mmask32 m = ((__mmask32)1 << (n - i)) - 1;
        _mm512_mask_storeu_epi16(
            dst + i, m, _mm512_adds_epi16(_mm512_maskz_loadu_epi16(m, a + i), _mm512_maskz_loadu_epi16(m, b + i)));
    }
}

void eff_pool_s16_avx512vnni(int32_t *sums, const int16_t *src, int ch_pad, size_t n_pixels)
{
    assert(n_pixels <= EFF_DW_POOL_MAX && ch_pad % EFF_CH_ALIGN == 0);
    for (int c = 0; c < ch_pad; c += 16) {
        __m512i sum = _mm512_loadu_si512(sums + c);
        for (size_t p = 0; p < n_pixels; p++) {
            const __m256i v = _mm256_loadu_si256((const __m256i *)(src + p * (size_t)ch_pad + c));
            sum = _mm512_add_epi32(sum, _mm512_cvtepi16_epi32(v));
        }
        _mm512_storeu_si512(sums + c, sum);
    }
}

void eff_pool_u8_avx512vnni(int32_t *sums, const uint8_t *src, int ch_pad, size_t n_pixels)
{
    assert(n_pixels <= EFF_DW_POOL_MAX && ch_pad % EFF_CH_ALIGN == 0);
    for (int c = 0; c < ch_pad; c += 16) {
        __m512i sum = _mm512_loadu_si512(sums + c);
        for (size_t p = 0; p < n_pixels; p++) {
            const __m128i v = _mm_loadu_si128((const __m128i *)(src + p * (size_t)ch_pad + c));
            sum = _mm512_add_epi32(sum, _mm512_cvtepu8_epi32(v));
        }
        _mm512_storeu_si512(sums + c, sum);
    }
}
