/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epilogue on AVX2, four pixels by 8 channels at a time. Static, for files of the levels avx2, avxvnni and
 * avx512vl.
 *
 * Order of words: vpackssdw of pixels p, p + 1 leaves in each 128-bit lane l
 *
 *     | p: channels 4l .. 4l+3 | p+1: channels 4l .. 4l+3 |        "pair order"
 *
 * so parameters are duplicated by 64 bits. vpackuswb of two such vectors gives, in lane l, four dwords: the channels
 * 4l .. 4l+3 of pixels 0, 1, 2, 3.                                  "P4C8"
 *
 * Tables are read by vpshufb, 16 bytes at a time. Of an index i below 64, four bytes are made, one for each 16 entries:
 * i xor 16 j plus 0x70. Where i lies in those entries that is 0x70 + i % 16, elsewhere its top bit is set and vpshufb
 * gives 0; so 64 entries are the OR of four lookups. The 256 of a staircase are four such, and three blends. Large |y|
 * are rare: where all 32 indices lie in the first quarter or half of the table, the rest of it is left out.
 */
#ifndef EFF_KERNELS_X86_EPILOGUE_AVX2_H
#define EFF_KERNELS_X86_EPILOGUE_AVX2_H

#include "base/compiler.h"
#include "kernels/epilogue.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

typedef __m256i Y;

enum { VECTOR_CH = 8, VECTOR_BYTES = 32, SLICES = 16 };

/* What a kernel is specialised for: the epilogue's kind, and of ACT the table. ReLU and ReLU6 are linear within
 * other limits; RAW stores sums. */
typedef enum Mode { MODE_CLAMP, MODE_LINEAR, MODE_STAIR, MODE_INTERP, MODE_RAW } Mode;

static inline Mode epilogue_mode(const EffEpilogue *e)
{
    if (e->kind == EFF_OUT_U8_CLAMP)
        return MODE_CLAMP;
    if (e->kind == EFF_OUT_S32)
        return MODE_RAW;
    if (e->kind == EFF_OUT_ACT && e->act.kind == EFF_ACT_STAIR)
        return MODE_STAIR;
    return e->kind == EFF_OUT_ACT && e->act.kind == EFF_ACT_INTERP ? MODE_INTERP : MODE_LINEAR;
}

static EFF_ALWAYS_INLINE __m128i load16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static EFF_ALWAYS_INLINE Y load32(const void *p)
{
    return _mm256_loadu_si256((const Y *)p);
}

static EFF_ALWAYS_INLINE void store32(void *p, Y y)
{
    _mm256_storeu_si256((Y *)p, y);
}

/* What all channels share. */
typedef struct Shared {
    Y table[SLICES]; /* 16 bytes in both lanes. STAIR: 256 bytes; INTERP: low and high bytes of 64 knots, of 64 slopes
                      */
    Y last;          /* INTERP: (64 << h) - 1 */
    Y floor;         /* LINEAR: 0 for ReLU and ReLU6, else -32768 */
    Y ceiling;       /* LINEAR: 6 << h for ReLU6, else 32767 */
    __m128i h, up;   /* STAIR: h, g_shift; INTERP: h, 15 - h */
    int pre, post, g_shift;
} Shared;

/* 64 words as four slices of low bytes and four of high ones. */
static inline void split_table(Y to[8], const int16_t *words)
{
    const __m128i low = _mm_set1_epi16(255);
    for (int i = 0; i < 4; i++) {
        const __m128i a = load16(words + 16 * i), b = load16(words + 16 * i + 8);
        to[i] = _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_and_si128(a, low), _mm_and_si128(b, low)));
        to[4 + i] = _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8)));
    }
}

static inline void load_shared(Shared *s, const EffEpilogue *e, Mode mode)
{
    s->pre = e->pre_shift;
    s->post = e->post_shift;
    s->g_shift = e->act.g_shift;
    if (mode == MODE_LINEAR) {
        const EffActKind kind = e->kind == EFF_OUT_ACT ? e->act.kind : EFF_ACT_NONE;
        s->floor = _mm256_set1_epi16(kind == EFF_ACT_NONE ? INT16_MIN : 0);
        s->ceiling = _mm256_set1_epi16(kind == EFF_ACT_RELU6 ? (int16_t)(6 << e->act.h) : INT16_MAX);
    }
    if (mode == MODE_STAIR) {
        for (int i = 0; i < SLICES; i++)
            s->table[i] = _mm256_broadcastsi128_si256(load16(e->act.stair + 16 * i));
        s->h = _mm_cvtsi32_si128(e->act.h);
        s->up = _mm_cvtsi32_si128(e->act.g_shift);
    }
    if (mode == MODE_INTERP) {
        split_table(s->table, e->act.knot);
        split_table(s->table + 8, e->act.slope);
        s->h = _mm_cvtsi32_si128(e->act.h);
        s->up = _mm_cvtsi32_si128(15 - e->act.h);
        s->last = _mm256_set1_epi16((int16_t)((EFF_KNOTS << e->act.h) - 1));
    }
}

/* 8 words in pair order. */
static EFF_ALWAYS_INLINE Y load_pairs(const int16_t *p)
{
    long long lo, hi;
    memcpy(&lo, p, sizeof lo);
    memcpy(&hi, p + 4, sizeof hi);
    return _mm256_blend_epi32(_mm256_set1_epi64x(lo), _mm256_set1_epi64x(hi), 0xf0);
}

/* 8 words for both halves of a vector: two pixels, one after the other. */
static EFF_ALWAYS_INLINE Y load_twice(const int16_t *p)
{
    return _mm256_broadcastsi128_si256(load16(p));
}

/* Parameters of 8 channels, in pair order; of a u8 copy in NHWC, two pixels one after the other. */
typedef struct Channels {
    Y shift, mult;
    Y last; /* CLAMP: top, else omult */
    Y zero;
} Channels;

typedef enum Order { ORDER_PAIRS, ORDER_PIXELS } Order;

static EFF_ALWAYS_INLINE Channels load_channels(const EffEpilogue *e, Mode mode, int c, bool to_u8, Order order)
{
    Channels ch = {.shift = load32(e->shift + c), .mult = load_pairs(e->mult + c)};
    if (!to_u8)
        return ch;
    const int16_t *last = (mode == MODE_CLAMP ? e->top : e->omult) + c;
    ch.last = order == ORDER_PAIRS ? load_pairs(last) : load_twice(last);
    ch.zero = order == ORDER_PAIRS ? load_pairs(e->zero + c) : load_twice(e->zero + c);
    return ch;
}

/* Two vectors of 16 words, in pair order: pixels 0, 1 and 2, 3. */
typedef struct Words {
    Y p01, p23;
} Words;

static EFF_ALWAYS_INLINE Words shift_left(Words w, int n)
{
    for (int i = 0; i < n; i++) {
        w.p01 = _mm256_adds_epi16(w.p01, w.p01);
        w.p23 = _mm256_adds_epi16(w.p23, w.p23);
    }
    return w;
}

static EFF_ALWAYS_INLINE Words acc_to_words(const Channels *ch, const Y acc[4])
{
    const Y s = ch->shift;
    return (Words){_mm256_packs_epi32(_mm256_srav_epi32(acc[0], s), _mm256_srav_epi32(acc[1], s)),
                   _mm256_packs_epi32(_mm256_srav_epi32(acc[2], s), _mm256_srav_epi32(acc[3], s))};
}

/* Whether none of these bits is set in any byte. */
static EFF_ALWAYS_INLINE bool none_of(Y bytes, int bits)
{
    return _mm256_testz_si256(bytes, _mm256_set1_epi8((char)bits)) != 0;
}

/* Indices of bytes for up to four slices: 0x70 and the entry where it is in this slice, else above 0x7f. */
typedef struct Picks {
    Y slice[4];
} Picks;

static EFF_ALWAYS_INLINE Picks picks(Y i, int n_slices)
{
    const Y up = _mm256_set1_epi8(0x70);
    Picks p;
    p.slice[0] = n_slices > 1 ? _mm256_add_epi8(i, up) : i;
#pragma GCC unroll 3
    for (int j = 1; j < n_slices; j++)
        p.slice[j] = _mm256_add_epi8(_mm256_xor_si256(i, _mm256_set1_epi8((char)(16 * j))), up);
    return p;
}

static EFF_ALWAYS_INLINE Y lookup(const Y table[4], const Picks *p, int n_slices)
{
    Y v = _mm256_shuffle_epi8(table[0], p->slice[0]);
#pragma GCC unroll 3
    for (int j = 1; j < n_slices; j++)
        v = _mm256_or_si256(v, _mm256_shuffle_epi8(table[j], p->slice[j]));
    return v;
}

/* stair[i] of 32 bytes. */
static EFF_ALWAYS_INLINE Y stair_bytes(const Shared *s, Y i)
{
    const Picks p = picks(_mm256_and_si256(i, _mm256_set1_epi8(63)), 4);
    const Y v = lookup(s->table, &p, 4);
    if (none_of(i, 0xc0))
        return v;
    const Y bit6 = _mm256_add_epi8(i, i);
    const Y lo = _mm256_blendv_epi8(v, lookup(s->table + 4, &p, 4), bit6);
    if (none_of(i, 0x80))
        return lo;
    const Y hi = _mm256_blendv_epi8(lookup(s->table + 8, &p, 4), lookup(s->table + 12, &p, 4), bit6);
    return _mm256_blendv_epi8(lo, hi, i);
}

/* g of the staircase, of words a >= 0. */
static EFF_ALWAYS_INLINE Words stair(const Shared *s, Words a)
{
    const Y none = _mm256_setzero_si256();
    const Y g = stair_bytes(s, _mm256_packus_epi16(_mm256_srl_epi16(a.p01, s->h), _mm256_srl_epi16(a.p23, s->h)));
    Words w = {_mm256_unpacklo_epi8(g, none), _mm256_unpackhi_epi8(g, none)};
    if (s->g_shift > 0)
        w = (Words){_mm256_sll_epi16(w.p01, s->up), _mm256_sll_epi16(w.p23, s->up)};
    return w;
}

/* Bytes of 32 knots and slopes. */
typedef struct Knots {
    Y knot_lo, knot_hi, slope_lo, slope_hi;
} Knots;

static EFF_ALWAYS_INLINE Knots knots(const Shared *s, Y i, int n_slices)
{
    const Picks p = picks(i, n_slices);
    return (Knots){lookup(s->table, &p, n_slices), lookup(s->table + 4, &p, n_slices),
                   lookup(s->table + 8, &p, n_slices), lookup(s->table + 12, &p, n_slices)};
}

static EFF_ALWAYS_INLINE Y interp_at(const Shared *s, Y b, Y knot, Y slope)
{
    const Y r = _mm256_and_si256(_mm256_sll_epi16(b, s->up), _mm256_set1_epi16(INT16_MAX));
    return _mm256_adds_epi16(knot, _mm256_mulhrs_epi16(slope, r));
}

/* The interpolated table, of words a >= 0. */
static EFF_ALWAYS_INLINE Words interp(const Shared *s, Words a)
{
    const Words b = {_mm256_min_epi16(a.p01, s->last), _mm256_min_epi16(a.p23, s->last)};
    const Y i = _mm256_packus_epi16(_mm256_srl_epi16(b.p01, s->h), _mm256_srl_epi16(b.p23, s->h));
    const Knots k = none_of(i, 0x30) ? knots(s, i, 1) : none_of(i, 0x20) ? knots(s, i, 2) : knots(s, i, 4);
    return (Words){
        interp_at(s, b.p01, _mm256_unpacklo_epi8(k.knot_lo, k.knot_hi), _mm256_unpacklo_epi8(k.slope_lo, k.slope_hi)),
        interp_at(s, b.p23, _mm256_unpackhi_epi8(k.knot_lo, k.knot_hi), _mm256_unpackhi_epi8(k.slope_lo, k.slope_hi))};
}

static EFF_ALWAYS_INLINE Words activate(const Shared *s, Mode mode, Words y)
{
    const Y none = _mm256_setzero_si256();
    if (mode == MODE_LINEAR)
        return (Words){_mm256_min_epi16(_mm256_max_epi16(y.p01, s->floor), s->ceiling),
                       _mm256_min_epi16(_mm256_max_epi16(y.p23, s->floor), s->ceiling)};
    /* |y| <= 32767: a multiplier below 2^15 cannot give -32768. */
    const Words a = {_mm256_abs_epi16(y.p01), _mm256_abs_epi16(y.p23)};
    const Words g = mode == MODE_STAIR ? stair(s, a) : interp(s, a);
    return (Words){_mm256_subs_epi16(_mm256_max_epi16(y.p01, none), g.p01),
                   _mm256_subs_epi16(_mm256_max_epi16(y.p23, none), g.p23)};
}

/* y of S16 and ACT. */
static EFF_ALWAYS_INLINE Words epilogue_words(const Shared *s, const Channels *ch, Mode mode, const Y acc[4])
{
    const Words t = shift_left(acc_to_words(ch, acc), s->pre);
    return activate(s, mode, (Words){_mm256_mulhrs_epi16(t.p01, ch->mult), _mm256_mulhrs_epi16(t.p23, ch->mult)});
}

/* u8 output of any mode as P4C8; `ch` in pair order. */
static EFF_ALWAYS_INLINE Y epilogue_p4c8(const Shared *s, const Channels *ch, Mode mode, const Y acc[4])
{
    Words q;
    if (mode == MODE_CLAMP) {
        const Words t = acc_to_words(ch, acc);
        q.p01 = _mm256_min_epi16(_mm256_mulhrs_epi16(t.p01, ch->mult), ch->last);
        q.p23 = _mm256_min_epi16(_mm256_mulhrs_epi16(t.p23, ch->mult), ch->last);
    } else {
        const Words y = shift_left(epilogue_words(s, ch, mode, acc), s->post);
        q.p01 = _mm256_mulhrs_epi16(y.p01, ch->last);
        q.p23 = _mm256_mulhrs_epi16(y.p23, ch->last);
    }
    return _mm256_packus_epi16(_mm256_adds_epi16(q.p01, ch->zero), _mm256_adds_epi16(q.p23, ch->zero));
}

/* Pair order to two pixels of 8 channels, one after the other. */
static EFF_ALWAYS_INLINE Y pairs_to_pixels(Y pairs)
{
    return _mm256_permute4x64_epi64(pairs, 0xd8);
}

/* Where four pixels go: `at` has the offset of each in channels, the first n are stored. */
typedef struct Pixels {
    size_t at[4];
    int n;
} Pixels;

/* 8 bytes of each pixel, from P4C8. */
static EFF_ALWAYS_INLINE void store_u8_p4c8(uint8_t *dst, const Pixels *to, Y p4c8)
{
    const __m128i lo = _mm256_castsi256_si128(p4c8), hi = _mm256_extracti128_si256(p4c8, 1);
    const __m128i p01 = _mm_unpacklo_epi32(lo, hi), p23 = _mm_unpackhi_epi32(lo, hi);
    _mm_storel_epi64((__m128i *)(dst + to->at[0]), p01);
    if (to->n > 1)
        _mm_storeh_pd((double *)(dst + to->at[1]), _mm_castsi128_pd(p01));
    if (to->n > 2)
        _mm_storel_epi64((__m128i *)(dst + to->at[2]), p23);
    if (to->n > 3)
        _mm_storeh_pd((double *)(dst + to->at[3]), _mm_castsi128_pd(p23));
}

/* 8 words of pixels i, i + 1. */
static EFF_ALWAYS_INLINE void store_s16_two(int16_t *dst, const Pixels *to, int i, Y two)
{
    if (to->n > i)
        _mm_storeu_si128((__m128i *)(dst + to->at[i]), _mm256_castsi256_si128(two));
    if (to->n > i + 1)
        _mm_storeu_si128((__m128i *)(dst + to->at[i + 1]), _mm256_extracti128_si256(two, 1));
}

static EFF_ALWAYS_INLINE Y add_residual(const int16_t *src, const Pixels *to, int i, Y two)
{
    if (to->n <= i)
        return two;
    Y r = _mm256_castsi128_si256(load16(src + to->at[i]));
    if (to->n > i + 1)
        r = _mm256_inserti128_si256(r, load16(src + to->at[i + 1]), 1);
    return _mm256_adds_epi16(two, r);
}

#endif
