/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passes for AVX2. A weight has 23 bits and a sign, a 16-bit multiplier less, so weight = high * 2^11 + low, and
 *
 *   sum of pixel * weight = (sum of pixel * high) * 2^11 + sum of pixel * low
 *
 * modulo 2^32, exactly: two vpmaddwd for two taps of eight outputs. vpmulld takes twice the multiplier time or more.
 *
 * Horizontal: two outputs at a time, one in each 128-bit half. Of four RGB pixels p0 to p3, shuffles make the pairs
 * (16 bits each)
 *
 *   R0 R1  G0 G1  B0 B1  -  -   times  w0 w1 in each dword
 *   R2 R3  G2 G3  B2 B3  -  -          w2 w3
 *
 * Vertical: bytes of two rows are interleaved, then widened; all within 128-bit halves, which the packing undoes.
 */
#include "image/resize_passes.h"

#include <immintrin.h>
#include <string.h>

enum { CHUNK_BYTES = EFF_RESIZE_CHUNK * 3, LOAD_BYTES = 16, BLOCK = 32 };

/* high * 2^11 + low + 2^21, >> 22 */
static EFF_ALWAYS_INLINE __m256i finish(__m256i high, __m256i low)
{
    const __m256i half = _mm256_set1_epi32(1 << (EFF_RESIZE_FIXED_BITS - 1));
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, EFF_RESIZE_SPLIT_BITS), _mm256_add_epi32(low, half));
    return _mm256_srai_epi32(sum, EFF_RESIZE_FIXED_BITS);
}

static EFF_ALWAYS_INLINE __m256i load_two(const void *low, const void *high)
{
    const __m128i a = _mm_loadu_si128((const __m128i *)low), b = _mm_loadu_si128((const __m128i *)high);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}

/* Outputs x and x + 1 of ROWS rows. Writes two bytes past them. */
static EFF_ALWAYS_INLINE void rgb_two(uint8_t *const *dst, const uint8_t *const *src, const EffResizeAxis *axis, int x0,
                                      int x)
{
    enum { ROWS = EFF_RESIZE_ROWS };
    const __m256i pairs_01 =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i pairs_23 =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
    const __m128i join = _mm_setr_epi8(0, 1, 2, 4, 5, 6, -1, -1, 8, 9, 10, 12, 13, 14, -1, -1);
    const EffTaps a = axis->taps[x], b = axis->taps[x + 1];
    const int16_t *wgt = axis->split + (size_t)x * axis->split_stride;
    const ptrdiff_t at_a = (ptrdiff_t)(a.first - x0) * 3, at_b = (ptrdiff_t)(b.first - x0) * 3;
    const ptrdiff_t n_chunks = ((a.n > b.n ? a.n : b.n) + EFF_RESIZE_CHUNK - 1) / EFF_RESIZE_CHUNK;
    const uint8_t *s0 = src[0], *s1 = src[1], *s2 = src[2], *s3 = src[3];
    const __m256i zero = _mm256_setzero_si256();
    __m256i high[ROWS] = {zero, zero, zero, zero}, low[ROWS] = {zero, zero, zero, zero};
    for (ptrdiff_t k = 0; k < n_chunks; k++) {
        const __m256i w = load_two(wgt + k * 8, wgt + axis->split_stride + k * 8);
        const __m256i high_01 = _mm256_shuffle_epi32(w, 0x00), high_23 = _mm256_shuffle_epi32(w, 0x55);
        const __m256i low_01 = _mm256_shuffle_epi32(w, 0xaa), low_23 = _mm256_shuffle_epi32(w, 0xff);
        const uint8_t *const row[ROWS] = {s0, s1, s2, s3};
        for (int r = 0; r < ROWS; r++) {
            const __m256i p = load_two(row[r] + at_a + k * CHUNK_BYTES, row[r] + at_b + k * CHUNK_BYTES);
            const __m256i p_01 = _mm256_shuffle_epi8(p, pairs_01), p_23 = _mm256_shuffle_epi8(p, pairs_23);
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(p_01, high_01));
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(p_01, low_01));
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(p_23, high_23));
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(p_23, low_23));
        }
    }
    const __m256i words_01 = _mm256_packs_epi32(finish(high[0], low[0]), finish(high[1], low[1]));
    const __m256i words_23 = _mm256_packs_epi32(finish(high[2], low[2]), finish(high[3], low[3]));
    const __m256i bytes = _mm256_packus_epi16(words_01, words_23); /* a dword a row, x in the low half */
    const __m128i first = _mm256_castsi256_si128(bytes), second = _mm256_extracti128_si256(bytes, 1);
    const __m128i rows_01 = _mm_shuffle_epi8(_mm_unpacklo_epi32(first, second), join);
    const __m128i rows_23 = _mm_shuffle_epi8(_mm_unpackhi_epi32(first, second), join);
    const size_t to = (size_t)x * 3;
    _mm_storel_epi64((__m128i *)(void *)(dst[0] + to), rows_01);
    _mm_storel_epi64((__m128i *)(void *)(dst[1] + to), _mm_unpackhi_epi64(rows_01, rows_01));
    _mm_storel_epi64((__m128i *)(void *)(dst[2] + to), rows_23);
    _mm_storel_epi64((__m128i *)(void *)(dst[3] + to), _mm_unpackhi_epi64(rows_23, rows_23));
}

static void rgb(uint8_t *const *dst, const uint8_t *const *src, int n_rows, const EffResizeAxis *axis, int x0,
                int width, size_t readable)
{
    int n = width - 1; /* outputs that may write two bytes too many, and whose loads stay inside what is readable */
    const size_t n_chunks = (size_t)(axis->max_taps + EFF_RESIZE_CHUNK - 1) / EFF_RESIZE_CHUNK;
    while (n > 0 && (size_t)(axis->taps[n - 1].first - x0) * 3 + n_chunks * CHUNK_BYTES + LOAD_BYTES > readable)
        n--;
    n = n > 0 ? n & ~1 : 0;
    /* A group that is not full computes its last row again. */
    uint8_t *d[EFF_RESIZE_ROWS];
    const uint8_t *s[EFF_RESIZE_ROWS];
    for (int r = 0; r < EFF_RESIZE_ROWS; r++) {
        d[r] = dst[r < n_rows ? r : n_rows - 1];
        s[r] = src[r < n_rows ? r : n_rows - 1];
    }
    for (int x = 0; x < n; x += 2)
        rgb_two(d, s, axis, x0, x);
    for (int r = 0; r < n_rows; r++) {
        for (int x = n; x < width; x++)
            eff_resize_output(dst[r] + (size_t)x * 3, src[r], axis, x0, x, 3);
    }
}

static EFF_ALWAYS_INLINE __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Two weights in every dword. */
static EFF_ALWAYS_INLINE __m256i pair(const int16_t *wgt)
{
    int both;
    memcpy(&both, wgt, sizeof both);
    return _mm256_set1_epi32(both);
}

static EFF_ALWAYS_INLINE void vertical_block(uint8_t *dst, const uint8_t *const *rows, int n_taps, const int16_t *split,
                                             size_t x)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i high[4] = {zero, zero, zero, zero}, low[4] = {zero, zero, zero, zero};
    for (int t = 0; t < n_taps; t += 2) {
        const int16_t *wgt = split + t / EFF_RESIZE_CHUNK * 8 + t % EFF_RESIZE_CHUNK;
        const __m256i w_high = pair(wgt), w_low = pair(wgt + EFF_RESIZE_CHUNK);
        const __m256i a = load(rows[t] + x), b = load(rows[t + 1 < n_taps ? t + 1 : t] + x);
        const __m256i ab[2] = {_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)};
        for (int i = 0; i < 4; i++) {
            const __m256i p = i % 2 ? _mm256_unpackhi_epi8(ab[i / 2], zero) : _mm256_unpacklo_epi8(ab[i / 2], zero);
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(p, w_high));
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(p, w_low));
        }
    }
    const __m256i first = _mm256_packs_epi32(finish(high[0], low[0]), finish(high[1], low[1]));
    const __m256i second = _mm256_packs_epi32(finish(high[2], low[2]), finish(high[3], low[3]));
    _mm256_storeu_si256((__m256i *)(void *)(dst + x), _mm256_packus_epi16(first, second));
}

static void vertical(uint8_t *dst, const uint8_t *const *rows, int n_taps, const int32_t *wgt, const int16_t *split,
                     size_t n_bytes)
{
    if (n_bytes < BLOCK) {
        eff_resize_vertical_part(dst, rows, n_taps, wgt, 0, n_bytes);
        return;
    }
    for (size_t x = 0; x + BLOCK <= n_bytes; x += BLOCK)
        vertical_block(dst, rows, n_taps, split, x);
    vertical_block(dst, rows, n_taps, split, n_bytes - BLOCK); /* the tail; some of it again */
}

const EffResizePasses eff_resize_passes_avx2 = {.rgb = rgb, .vertical = vertical, .wants_split = true};
