/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels without weights on AVX2: s16 to u8 (the gate of squeeze-excite), residual add, pooling. */
#include "kernels/levels.h"

#include <assert.h>
#include <immintrin.h>

typedef __m256i Y;

static inline Y load32(const void *p)
{
    return _mm256_loadu_si256((const Y *)p);
}

static inline void store32(void *p, Y y)
{
    _mm256_storeu_si256((Y *)p, y);
}

static inline Y quant_16(const EffQuant *op, const int16_t *src, int c)
{
    Y y = load32(src + c);
    for (int i = 0; i < op->shift; i++)
        y = _mm256_adds_epi16(y, y);
    return _mm256_adds_epi16(_mm256_mulhrs_epi16(y, load32(op->mult + c)), load32(op->zero + c));
}

static void quant_pixel(const EffQuant *op, const int16_t *src, uint8_t *dst, int n)
{
    int c = 0;
    for (; c + 32 <= n; c += 32)
        store32(dst + c,
                _mm256_permute4x64_epi64(_mm256_packus_epi16(quant_16(op, src, c), quant_16(op, src, c + 16)), 0xd8));
    if (c < n) {
        const Y q = quant_16(op, src, c);
        _mm_storeu_si128((__m128i *)(dst + c),
                         _mm_packus_epi16(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1)));
    }
}

void eff_quant_s16u8_avx2(const EffQuant *op, const int16_t *src, uint8_t *dst, size_t n_pixels)
{
    const int n = eff_ch_pad(op->channels);
    for (size_t p = 0; p < n_pixels; p++, src += n, dst += n)
        quant_pixel(op, src, dst, n);
}

void eff_add_s16_avx2(int16_t *dst, const int16_t *a, const int16_t *b, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        store32(dst + i, _mm256_adds_epi16(load32(a + i), load32(b + i)));
    for (; i < n; i++)
        dst[i] = eff_adds16(a[i], b[i]);
}

/* Two pixels a step: vpmaddwd with ones adds their words, brought together, in 32 bits. */
void eff_pool_s16_avx2(int32_t *sums, const int16_t *src, int ch_pad, size_t n_pixels)
{
    const Y one = _mm256_set1_epi16(1), none = _mm256_setzero_si256();
    assert(n_pixels <= EFF_DW_POOL_MAX && ch_pad % EFF_CH_ALIGN == 0);
    for (int c = 0; c < ch_pad; c += 16) {
        const int16_t *at = src + c;
        Y lo = none, hi = none; /* channels 0..3 and 8..11, 4..7 and 12..15 */
        for (size_t p = 0; p < n_pixels; p += 2, at += 2 * ch_pad) {
            const Y a = load32(at), b = p + 1 < n_pixels ? load32(at + ch_pad) : none;
            lo = _mm256_add_epi32(lo, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), one));
            hi = _mm256_add_epi32(hi, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), one));
        }
        store32(sums + c, _mm256_add_epi32(load32(sums + c), _mm256_permute2x128_si256(lo, hi, 0x20)));
        store32(sums + c + 8, _mm256_add_epi32(load32(sums + c + 8), _mm256_permute2x128_si256(lo, hi, 0x31)));
    }
}

/* In 16 bits, as long as they hold. */
void eff_pool_u8_avx2(int32_t *sums, const uint8_t *src, int ch_pad, size_t n_pixels)
{
    enum { AT_ONCE = 65535 / 255 };
    assert(n_pixels <= EFF_DW_POOL_MAX && ch_pad % EFF_CH_ALIGN == 0);
    for (size_t p = 0, end; p < n_pixels; p = end) {
        end = n_pixels - p < AT_ONCE ? n_pixels : p + AT_ONCE;
        for (int c = 0; c < ch_pad; c += 16) {
            Y sum = _mm256_setzero_si256();
            for (size_t i = p; i < end; i++)
                sum = _mm256_add_epi16(
                    sum, _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(src + i * (size_t)ch_pad + c))));
            const Y lo = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sum));
            const Y hi = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sum, 1));
            store32(sums + c, _mm256_add_epi32(load32(sums + c), lo));
            store32(sums + c + 8, _mm256_add_epi32(load32(sums + c + 8), hi));
        }
    }
}
