/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fully connected layers on s16, AVX-512 VNNI: 16 outputs a vector, two inputs a dword, the pair broadcast.
 *
 * Packed weights: blocks of 16 outputs, [in_ch / 2][16][2] of s8 or s16, zero beyond in_ch and out_ch.
 */
#include "kernels/levels.h"
#include "kernels/x86/lookup_avx512vnni.h"
#include "kernels/x86/epilogue_avx512.h"

#include <assert.h>
#include <string.h>

enum {
    LANES = 16,
    /* A pair of s16 x s8 products is below 2^23: so many pairs stay below 2^31. */
    PAIRS_S8 = 128
};

typedef struct Acc64 {
    __m512i lo, hi; /* outputs 0..7 and 8..15 */
} Acc64;

static size_t packed_bytes(int in_ch, int out_ch, int wgt_bits)
{
    return (size_t)eff_ch_pad(out_ch) * (((size_t)in_ch + 1) / 2 * 2) * (size_t)(wgt_bits / 8);
}

static void pack(void *packed, const void *wgt, int in_ch, int out_ch, int wgt_bits)
{
    const size_t block = ((size_t)in_ch + 1) / 2 * 2 * LANES;
    memset(packed, 0, packed_bytes(in_ch, out_ch, wgt_bits));
    for (size_t o = 0; o < (size_t)out_ch; o++) {
        for (size_t i = 0; i < (size_t)in_ch; i++) {
            const size_t to = o / LANES * block + i / 2 * 2 * LANES + o % LANES * 2 + i % 2, at = o * (size_t)in_ch + i;
            if (wgt_bits == 16)
                ((int16_t *)packed)[to] = ((const int16_t *)wgt)[at];
            else
                ((int8_t *)packed)[to] = ((const int8_t *)wgt)[at];
        }
    }
}

static inline __m512i pair(const int16_t *src)
{
    int32_t two;
    memcpy(&two, src, sizeof two);
    return _mm512_set1_epi32(two);
}

static inline Acc64 add_wide(Acc64 acc, __m512i sum)
{
    acc.lo = _mm512_add_epi64(acc.lo, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(sum)));
    acc.hi = _mm512_add_epi64(acc.hi, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(sum, 1)));
    return acc;
}

static inline __m512i load_s8(const int8_t *wgt)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)wgt));
}

/* Four independent sums hide the latency of the dot product. */
static Acc64 block_s8(const int8_t *wgt, const int16_t *src, int n_pairs)
{
    Acc64 acc = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int begin = 0; begin < n_pairs; begin += 4 * PAIRS_S8) {
        const int end = n_pairs - begin < 4 * PAIRS_S8 ? n_pairs : begin + 4 * PAIRS_S8;
        __m512i s[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
        int i = begin;
        for (; i + 4 <= end; i += 4) {
            s[0] = _mm512_dpwssd_epi32(s[0], load_s8(wgt + i * 32), pair(src + 2 * i));
            s[1] = _mm512_dpwssd_epi32(s[1], load_s8(wgt + i * 32 + 32), pair(src + 2 * i + 2));
            s[2] = _mm512_dpwssd_epi32(s[2], load_s8(wgt + i * 32 + 64), pair(src + 2 * i + 4));
            s[3] = _mm512_dpwssd_epi32(s[3], load_s8(wgt + i * 32 + 96), pair(src + 2 * i + 6));
        }
        for (; i < end; i++)
            s[i % 4] = _mm512_dpwssd_epi32(s[i % 4], load_s8(wgt + i * 32), pair(src + 2 * i));
        for (int j = 0; j < 4; j++)
            acc = add_wide(acc, s[j]);
    }
    return acc;
}

/* A pair of s16 x s16 products fits s32, since no weight is -32768; two pairs may not. */
static Acc64 block_s16(const int16_t *wgt, const int16_t *src, int n_pairs)
{
    Acc64 acc = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int i = 0; i < n_pairs; i++)
        acc = add_wide(acc, _mm512_madd_epi16(_mm512_loadu_si512(wgt + i * 32), pair(src + 2 * i)));
    return acc;
}

static void run(const EffFc *op, const int16_t *src, int64_t *acc, int out_begin, int out_end)
{
    const int n_pairs = (op->in_ch + 1) / 2;
    assert(out_begin % LANES == 0 && (out_end % LANES == 0 || out_end == op->out_ch));
    for (int o = out_begin; o < out_end; o += LANES) {
        const size_t at = (size_t)o * (size_t)n_pairs * 2;
        const Acc64 sum = op->wgt_bits == 8 ? block_s8((const int8_t *)op->packed + at, src, n_pairs)
                                            : block_s16((const int16_t *)op->packed + at, src, n_pairs);
        _mm512_storeu_si512(acc + o, sum.lo);
        _mm512_storeu_si512(acc + o + 8, sum.hi);
    }
}

const EffFcKernel eff_fc_s16_avx512vnni = {"fc_s16_avx512vnni", packed_bytes, pack, run};

static __m512i saturate16(__m512i v)
{
    return _mm512_max_epi64(_mm512_min_epi64(v, _mm512_set1_epi64(INT16_MAX)), _mm512_set1_epi64(INT16_MIN));
}

/* sat16((acc + bias) >> shift) of 8 outputs. */
static __m128i requant8(const int64_t *acc, const EffEpilogue *e, int o)
{
    const __m512i bias = _mm512_cvtepi32_epi64(_mm256_loadu_si256((const __m256i *)(e->bias + o)));
    const __m512i shift = _mm512_cvtepi32_epi64(_mm256_loadu_si256((const __m256i *)(e->shift + o)));
    const __m512i sum = _mm512_add_epi64(_mm512_loadu_si512(acc + o), bias);
    return _mm512_cvtepi64_epi16(saturate16(_mm512_srav_epi64(sum, shift)));
}

/* sat16((acc + bias) >> shift) of 16 outputs from o on; 0 beyond n, where acc ends. */
static __m256i requant16(const int64_t *acc, const EffEpilogue *e, int o, int n)
{
    return o < n ? _mm256_set_m128i(requant8(acc, e, o + 8), requant8(acc, e, o)) : _mm256_setzero_si256();
}

/* eff_gate() of 32 values. */
static Z gates(const Shared *tables, Z y)
{
    const Z v = interp(tables, _mm512_abs_epi16(y)), most = _mm512_set1_epi16(INT16_MAX);
    const Z upper = _mm512_adds_epi16(_mm512_subs_epi16(most, v), _mm512_set1_epi16(1));
    return _mm512_mask_mov_epi16(upper, _mm512_movepi16_mask(y), v);
}

void eff_fc_epilogue_avx512vnni(const EffFcEpilogue *op, const int64_t *acc, int16_t *dst)
{
    const EffEpilogue *e = &op->epi;
    const EffEpilogue sigmoid = {.kind = EFF_OUT_ACT, .act = op->sigmoid ? *op->sigmoid : (EffAct){0}};
    const Mode mode = epilogue_mode(e);
    const Shared tables = op->sigmoid           ? load_shared(&sigmoid, MODE_INTERP)
                          : mode == MODE_STAIR  ? load_shared(e, MODE_STAIR)
                          : mode == MODE_INTERP ? load_shared(e, MODE_INTERP)
                                                : load_shared(e, MODE_LINEAR);
    const int n = eff_ch_pad(op->out_ch);
    assert(e->kind != EFF_OUT_U8_CLAMP);
    for (int o = 0; o < n; o += 32) {
        const Z t =
            _mm512_inserti64x4(_mm512_castsi256_si512(requant16(acc, e, o, n)), requant16(acc, e, o + 16, n), 1);
        Words y = shift_left((Words){t, t}, e->pre_shift);
        y.p01 = y.p23 = _mm512_mulhrs_epi16(y.p01, _mm512_loadu_si512(e->mult + o));
        if (op->sigmoid)
            y.p01 = gates(&tables, y.p01);
        else
            y = activate(&tables, mode, y);
        _mm512_storeu_si512(dst + o, y.p01);
    }
    memset(dst + op->out_ch, 0, (size_t)(eff_param_pad(op->out_ch) - op->out_ch) * sizeof *dst);
}
