/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The AVX-512 intrinsics: those of the compiler; or, in a build with -Demulate=true, those of SIMDe in portable C, so
 * that the kernels' logic is tested on machines that lack the instructions. Emulated kernels are for tests alone.
 */
#ifndef EFF_KERNELS_X86_AVX512_H
#define EFF_KERNELS_X86_AVX512_H

#ifndef EFF_EMULATE_AVX512
#include <immintrin.h>
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#pragma GCC diagnostic pop

/* What the packaged SIMDe (0.7) lacks: a loop over the lanes each. */
#include <stdint.h>
#include <string.h>

/* out[i] = EXPR for every lane i of a, b. */
#define EMULATE(NAME, OUT, T_OUT, A, T_A, B, T_B, EXPR)                                                                \
    static inline OUT emulated_##NAME(A va, B vb)                                                                      \
    {                                                                                                                  \
        enum { N = sizeof(OUT) / sizeof(T_OUT) };                                                                      \
        T_A a[sizeof va / sizeof(T_A)];                                                                                \
        T_B b[sizeof vb / sizeof(T_B)];                                                                                \
        T_OUT r[N];                                                                                                    \
        OUT out;                                                                                                       \
        memcpy(a, &va, sizeof va);                                                                                     \
        memcpy(b, &vb, sizeof vb);                                                                                     \
        for (int i = 0; i < N; i++)                                                                                    \
            r[i] = (T_OUT)(EXPR);                                                                                      \
        memcpy(&out, r, sizeof out);                                                                                   \
        return out;                                                                                                    \
    }
EMULATE(srav_epi32, __m512i, int32_t, __m512i, int32_t, __m512i, uint32_t, a[i] >> (b[i] < 31 ? b[i] : 31))
EMULATE(srav_epi64, __m512i, int64_t, __m512i, int64_t, __m512i, uint64_t, a[i] >> (b[i] < 63 ? b[i] : 63))
EMULATE(shrdi16_epi32, __m512i, uint32_t, __m512i, uint32_t, __m512i, uint32_t, a[i] >> 16 | b[i] << 16)
EMULATE(cvtepi32_epi64, __m512i, int64_t, __m256i, int32_t, int, int, a[i] + 0 * b[0])
EMULATE(cvtepi16_epi32, __m512i, int32_t, __m256i, int16_t, int, int, a[i] + 0 * b[0])
EMULATE(cvtepu8_epi32, __m512i, int32_t, __m128i, uint8_t, int, int, a[i] + 0 * b[0])
EMULATE(cvtps_pd, __m512d, double, __m256, float, int, int, b[0] == 0 ? (double)a[i] : 0)
EMULATE(cvtpd_ps, __m256, float, __m512d, double, int, int, b[0] == 0 ? a[i] : 0)
EMULATE(cvtepi64_epi16, __m128i, int16_t, __m512i, int64_t, int, int, a[i] + 0 * b[0])

static inline __m512i emulated_maskz_loadu_epi8(uint64_t mask, const void *p)
{
    uint8_t r[64] = {0};
    __m512i out;
    for (int i = 0; i < 64; i++) {
        if (mask >> i & 1)
            r[i] = ((const uint8_t *)p)[i];
    }
    memcpy(&out, r, sizeof out);
    return out;
}

static inline __m512i emulated_maskz_loadu_epi16(uint32_t mask, const void *p)
{
    int16_t r[32] = {0};
    __m512i out;
    for (int i = 0; i < 32; i++) {
        if (mask >> i & 1)
            memcpy(&r[i], (const char *)p + 2 * i, 2);
    }
    memcpy(&out, r, sizeof out);
    return out;
}

static inline void emulated_mask_storeu_epi16(void *p, uint32_t mask, __m512i v)
{
    int16_t r[32];
    memcpy(r, &v, sizeof v);
    for (int i = 0; i < 32; i++) {
        if (mask >> i & 1)
            memcpy((char *)p + 2 * i, &r[i], 2);
    }
}

#undef _mm512_madd_epi16 /* the packaged alias is that of the masked form */
#define _mm512_madd_epi16(a, b)                 simde_mm512_madd_epi16(a, b)
#define _mm512_srav_epi32(a, b)                 emulated_srav_epi32(a, b)
#define _mm512_srav_epi64(a, b)                 emulated_srav_epi64(a, b)
#define _mm512_shrdi_epi32(a, b, n)             emulated_shrdi16_epi32(a, b) /* n is 16 */
#define _mm512_cvtepi32_epi64(a)                emulated_cvtepi32_epi64(a, 0)
#define _mm512_cvtepi16_epi32(a)                emulated_cvtepi16_epi32(a, 0)
#define _mm512_cvtepu8_epi32(a)                 emulated_cvtepu8_epi32(a, 0)
#define _mm512_cvtps_pd(a)                      emulated_cvtps_pd(a, 0)
#define _mm512_cvtpd_ps(a)                      emulated_cvtpd_ps(a, 0)
#define _mm512_cvtepi64_epi16(a)                emulated_cvtepi64_epi16(a, 0)
#define _mm512_maskz_loadu_epi8(mask, p)        emulated_maskz_loadu_epi8(mask, p)
#define _mm512_maskz_loadu_epi16(mask, p)       emulated_maskz_loadu_epi16(mask, p)
#define _mm512_mask_storeu_epi16(p, mask, v)    emulated_mask_storeu_epi16(p, mask, v)
#define _mm512_mask_srli_epi16(src, mask, a, n) _mm512_mask_mov_epi16(src, mask, _mm512_srli_epi16(a, n))
#endif

#endif
