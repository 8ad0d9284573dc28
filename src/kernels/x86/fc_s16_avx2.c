/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fully connected layers on s16, AVX2: 8 outputs a vector, two inputs a dword, the pair broadcast.
 *
 * Packed weights: blocks of 16 outputs, [in_ch / 2][16][2] of s8 or s16, zero beyond in_ch and out_ch.
 */
#include "kernels/levels.h"
#include "kernels/x86/epilogue_avx2.h"

#include <assert.h>

enum {
    LANES = 16,
    /* A pair of s16 x s8 products is below 2^23: so many pairs stay below 2^31. */
    PAIRS_S8 = 128
};

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

static inline Y pair(const int16_t *src)
{
    int32_t two;
    memcpy(&two, src, sizeof two);
    return _mm256_set1_epi32(two);
}

/* 8 s64 at acc. */
static inline void add_wide(int64_t *acc, Y sum)
{
    store32(acc, _mm256_add_epi64(load32(acc), _mm256_cvtepi32_epi64(_mm256_castsi256_si128(sum))));
    store32(acc + 4, _mm256_add_epi64(load32(acc + 4), _mm256_cvtepi32_epi64(_mm256_extracti128_si256(sum, 1))));
}

static void block_s8(int64_t *acc, const int8_t *wgt, const int16_t *src, int n_pairs)
{
    for (int begin = 0; begin < n_pairs; begin += PAIRS_S8) {
        const int end = n_pairs - begin < PAIRS_S8 ? n_pairs : begin + PAIRS_S8;
        Y lo = _mm256_setzero_si256(), hi = lo;
        for (int i = begin; i < end; i++) {
            const Y two = pair(src + 2 * i);
            const int8_t *w = wgt + i * 2 * LANES;
            lo = _mm256_add_epi32(lo, _mm256_madd_epi16(_mm256_cvtepi8_epi16(load16(w)), two));
            hi = _mm256_add_epi32(hi, _mm256_madd_epi16(_mm256_cvtepi8_epi16(load16(w + 16)), two));
        }
        add_wide(acc, lo);
        add_wide(acc + 8, hi);
    }
}

/*
 * A pair of s16 x s16 products fits s32, since no weight is -32768; their sum does not. x = 2^16 h + l with l in
 * 0..65535: the sum of h fits s32, and that of l fits u32, where it is the sum of x, which may wrap, less 2^16 times
 * that of h.
 */
typedef struct Split {
    Y all, high;
} Split;

static inline Split add_split(Split s, Y x)
{
    return (Split){_mm256_add_epi32(s.all, x), _mm256_add_epi32(s.high, _mm256_srai_epi32(x, 16))};
}

static inline Y join(__m128i low, __m128i high)
{
    return _mm256_add_epi64(_mm256_cvtepu32_epi64(low), _mm256_slli_epi64(_mm256_cvtepi32_epi64(high), 16));
}

static inline void store_split(int64_t *acc, Split s)
{
    const Y low = _mm256_sub_epi32(s.all, _mm256_slli_epi32(s.high, 16));
    store32(acc, join(_mm256_castsi256_si128(low), _mm256_castsi256_si128(s.high)));
    store32(acc + 4, join(_mm256_extracti128_si256(low, 1), _mm256_extracti128_si256(s.high, 1)));
}

_Static_assert(EFF_MAX_CH / 2 < 1 << 15, "the sums of a Split fit");

static void block_s16(int64_t *acc, const int16_t *wgt, const int16_t *src, int n_pairs)
{
    const Y none = _mm256_setzero_si256();
    Split lo = {none, none}, hi = {none, none};
    for (int i = 0; i < n_pairs; i++) {
        const Y two = pair(src + 2 * i);
        const int16_t *w = wgt + i * 2 * LANES;
        lo = add_split(lo, _mm256_madd_epi16(load32(w), two));
        hi = add_split(hi, _mm256_madd_epi16(load32(w + 16), two));
    }
    store_split(acc, lo);
    store_split(acc + 8, hi);
}

static void run(const EffFc *op, const int16_t *src, int64_t *acc, int out_begin, int out_end)
{
    const int n_pairs = (op->in_ch + 1) / 2;
    assert(out_begin % LANES == 0 && (out_end % LANES == 0 || out_end == op->out_ch));
    for (int o = out_begin; o < out_end; o += LANES) {
        const size_t at = (size_t)o * (size_t)n_pairs * 2;
        if (op->wgt_bits == 8) {
            memset(acc + o, 0, LANES * sizeof *acc);
            block_s8(acc + o, (const int8_t *)op->packed + at, src, n_pairs);
        } else {
            block_s16(acc + o, (const int16_t *)op->packed + at, src, n_pairs);
        }
    }
}

const EffFcKernel eff_fc_s16_avx2 = {"fc_s16_avx2", packed_bytes, pack, run};

/* sat16((acc + bias) >> shift) of 4 outputs, in the low dwords. AVX2 shifts s64 logically only: what is negative goes
 * through its complement. */
static inline Y requant4(const int64_t *acc, const EffEpilogue *e, int o)
{
    const Y shift = _mm256_cvtepi32_epi64(load16(e->shift + o));
    const Y sum = _mm256_add_epi64(load32(acc + o), _mm256_cvtepi32_epi64(load16(e->bias + o)));
    const Y negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), sum);
    const Y most = _mm256_set1_epi64x(INT16_MAX);
    const Y t = _mm256_srlv_epi64(_mm256_xor_si256(sum, negative), shift); /* >= 0 */
    return _mm256_xor_si256(_mm256_blendv_epi8(t, most, _mm256_cmpgt_epi64(t, most)), negative);
}

/* 8 outputs as words. */
static inline __m128i requant8(const int64_t *acc, const EffEpilogue *e, int o)
{
    const Y low = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const Y a = _mm256_permutevar8x32_epi32(requant4(acc, e, o), low);
    const Y b = _mm256_permutevar8x32_epi32(requant4(acc, e, o + 4), low);
    return _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_castsi256_si128(b));
}

/* 16 outputs from o on; 0 beyond n, where acc ends. */
static Y requant16(const int64_t *acc, const EffEpilogue *e, int o, int n)
{
    return o < n ? _mm256_set_m128i(requant8(acc, e, o + 8), requant8(acc, e, o)) : _mm256_setzero_si256();
}

static inline Y gate(Y y, Y v)
{
    const Y upper = _mm256_adds_epi16(_mm256_subs_epi16(_mm256_set1_epi16(INT16_MAX), v), _mm256_set1_epi16(1));
    return _mm256_blendv_epi8(upper, v, _mm256_srai_epi16(y, 15));
}

/* eff_gate() of 32 values. */
static Words gates(const Shared *tables, Words y)
{
    const Words v = interp(tables, (Words){_mm256_abs_epi16(y.p01), _mm256_abs_epi16(y.p23)});
    return (Words){gate(y.p01, v.p01), gate(y.p23, v.p23)};
}

void eff_fc_epilogue_avx2(const EffFcEpilogue *op, const int64_t *acc, int16_t *dst)
{
    const EffEpilogue *e = &op->epi;
    const EffEpilogue sigmoid = {.kind = EFF_OUT_ACT, .act = op->sigmoid ? *op->sigmoid : (EffAct){0}};
    const Mode mode = epilogue_mode(e);
    const int n = eff_ch_pad(op->out_ch);
    Shared tables;
    assert(e->kind != EFF_OUT_U8_CLAMP);
    load_shared(&tables, op->sigmoid ? &sigmoid : e, op->sigmoid ? MODE_INTERP : mode);
    for (int o = 0; o < n; o += 32) {
        Words y = {requant16(acc, e, o, n), requant16(acc, e, o + 16, n)};
        y = shift_left(y, e->pre_shift);
        y.p01 = _mm256_mulhrs_epi16(y.p01, load32(e->mult + o));
        y.p23 = _mm256_mulhrs_epi16(y.p23, load32(e->mult + o + 16));
        y = op->sigmoid ? gates(&tables, y) : activate(&tables, mode, y);
        store32(dst + o, y.p01);
        store32(dst + o + 16, y.p23);
    }
    memset(dst + op->out_ch, 0, (size_t)(eff_param_pad(op->out_ch) - op->out_ch) * sizeof *dst);
}
