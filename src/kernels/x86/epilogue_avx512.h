/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epilogue on AVX-512, four pixels by 16 channels at a time. Static, for *_avx512*.c files only, after one of the
 * lookup headers.
 *
 * Order of words: vpackssdw of pixels p, p + 1 leaves in each 128-bit lane l
 *
 *     | p: channels 4l .. 4l+3 | p+1: channels 4l .. 4l+3 |        "pair order"
 *
 * so parameters are duplicated by 64 bits. vpackuswb of two such vectors gives, in lane l, four dwords: the channels
 * 4l .. 4l+3 of pixels 0, 1, 2, 3.                                  "P4C16"
 */
#ifndef EFF_KERNELS_X86_EPILOGUE_AVX512_H
#define EFF_KERNELS_X86_EPILOGUE_AVX512_H

#include "base/compiler.h"
#include "kernels/epilogue.h"

#include "kernels/x86/avx512.h"
#include <stdbool.h>

typedef __m512i Z;

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

/* What all channels share. Read once a call: stores to the output would make the compiler read it again. */
typedef struct Shared {
    Z table[4];    /* STAIR: 256 bytes; INTERP: 64 knots, 64 slopes */
    Z h, up, last; /* STAIR: h, 2^g_shift; INTERP: h, 15 - h, (64 << h) - 1 */
    Z floor;       /* LINEAR: 0 for ReLU and ReLU6, else -32768 */
    Z ceiling;     /* LINEAR: 6 << h for ReLU6, else 32767 */
    int pre, post, g_shift;
} Shared;

static EFF_ALWAYS_INLINE Shared load_shared(const EffEpilogue *e, Mode mode)
{
    Shared s = {.pre = e->pre_shift, .post = e->post_shift, .g_shift = e->act.g_shift};
    if (mode == MODE_LINEAR) {
        const EffActKind kind = e->kind == EFF_OUT_ACT ? e->act.kind : EFF_ACT_NONE;
        s.floor = _mm512_set1_epi16(kind == EFF_ACT_NONE ? INT16_MIN : 0);
        s.ceiling = _mm512_set1_epi16(kind == EFF_ACT_RELU6 ? (int16_t)(6 << e->act.h) : INT16_MAX);
    }
    if (mode == MODE_STAIR) {
        for (int i = 0; i < 4; i++)
            s.table[i] = _mm512_loadu_si512(e->act.stair + 64 * i);
        s.h = _mm512_set1_epi16((int16_t)e->act.h);
        s.up = _mm512_set1_epi16((int16_t)(1 << e->act.g_shift));
    }
    if (mode == MODE_INTERP) {
        for (int i = 0; i < 2; i++) {
            s.table[i] = _mm512_loadu_si512(e->act.knot + 32 * i);
            s.table[2 + i] = _mm512_loadu_si512(e->act.slope + 32 * i);
        }
        s.h = _mm512_set1_epi16((int16_t)e->act.h);
        s.up = _mm512_set1_epi16((int16_t)(15 - e->act.h));
        s.last = _mm512_set1_epi16((int16_t)((EFF_KNOTS << e->act.h) - 1));
    }
    return s;
}

/* 16 words in pair order. */
static EFF_ALWAYS_INLINE Z load_pairs(const int16_t *p)
{
    const Z by_two = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_epi64(by_two, _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)p)));
}

/* 16 words for both halves of a vector: two pixels, one after the other. */
static EFF_ALWAYS_INLINE Z load_twice(const int16_t *p)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)p));
}

/* Parameters of 16 channels, in pair order; of a u8 copy in NHWC, two pixels one after the other. */
typedef struct Channels {
    Z shift, mult;
    Z last; /* CLAMP: top, else omult */
    Z zero;
} Channels;

typedef enum Order { ORDER_PAIRS, ORDER_PIXELS } Order;

static EFF_ALWAYS_INLINE Channels load_channels(const EffEpilogue *e, Mode mode, int c, bool to_u8, Order order)
{
    Channels ch = {.shift = _mm512_loadu_si512(e->shift + c), .mult = load_pairs(e->mult + c)};
    if (!to_u8)
        return ch;
    const int16_t *last = (mode == MODE_CLAMP ? e->top : e->omult) + c;
    ch.last = order == ORDER_PAIRS ? load_pairs(last) : load_twice(last);
    ch.zero = order == ORDER_PAIRS ? load_pairs(e->zero + c) : load_twice(e->zero + c);
    return ch;
}

/* Two vectors of 32 words, in pair order: pixels 0, 1 and 2, 3. */
typedef struct Words {
    Z p01, p23;
} Words;

static EFF_ALWAYS_INLINE Words shift_left(Words w, int n)
{
    for (int i = 0; i < n; i++) {
        w.p01 = _mm512_adds_epi16(w.p01, w.p01);
        w.p23 = _mm512_adds_epi16(w.p23, w.p23);
    }
    return w;
}

static EFF_ALWAYS_INLINE Words acc_to_words(const Channels *ch, const Z acc[4])
{
    const Z s = ch->shift;
    return (Words){_mm512_packs_epi32(_mm512_srav_epi32(acc[0], s), _mm512_srav_epi32(acc[1], s)),
                   _mm512_packs_epi32(_mm512_srav_epi32(acc[2], s), _mm512_srav_epi32(acc[3], s))};
}

static EFF_ALWAYS_INLINE Z interp(const Shared *s, Z a)
{
    const Z b = _mm512_min_epi16(a, s->last), i = _mm512_srlv_epi16(b, s->h);
    const Z r = _mm512_and_si512(_mm512_sllv_epi16(b, s->up), _mm512_set1_epi16(INT16_MAX));
    const Z knot = _mm512_permutex2var_epi16(s->table[0], i, s->table[1]);
    const Z slope = _mm512_permutex2var_epi16(s->table[2], i, s->table[3]);
    return _mm512_adds_epi16(knot, _mm512_mulhrs_epi16(slope, r));
}

static EFF_ALWAYS_INLINE Words activate(const Shared *s, Mode mode, Words y)
{
    const Z none = _mm512_setzero_si512();
    Z g0, g1;
    if (mode == MODE_LINEAR)
        return (Words){_mm512_min_epi16(_mm512_max_epi16(y.p01, s->floor), s->ceiling),
                       _mm512_min_epi16(_mm512_max_epi16(y.p23, s->floor), s->ceiling)};
    /* |y| <= 32767: a multiplier below 2^15 cannot give -32768. */
    const Words a = {_mm512_abs_epi16(y.p01), _mm512_abs_epi16(y.p23)};
    if (mode == MODE_STAIR) {
        stair_lookup(s->table, _mm512_srlv_epi16(a.p01, s->h), _mm512_srlv_epi16(a.p23, s->h), &g0, &g1);
        if (s->g_shift > 0) {
            g0 = _mm512_mullo_epi16(g0, s->up);
            g1 = _mm512_mullo_epi16(g1, s->up);
        }
        /* All is in 0..32767, so that nothing saturates. Plain differences, and products, have two ports on Intel. */
        return (Words){_mm512_sub_epi16(_mm512_max_epi16(y.p01, none), g0),
                       _mm512_sub_epi16(_mm512_max_epi16(y.p23, none), g1)};
    }
    g0 = interp(s, a.p01);
    g1 = interp(s, a.p23);
    return (Words){_mm512_subs_epi16(_mm512_max_epi16(y.p01, none), g0),
                   _mm512_subs_epi16(_mm512_max_epi16(y.p23, none), g1)};
}

/* y of S16 and ACT. */
static EFF_ALWAYS_INLINE Words epilogue_words(const Shared *s, const Channels *ch, Mode mode, const Z acc[4])
{
    const Words t = shift_left(acc_to_words(ch, acc), s->pre);
    return activate(s, mode, (Words){_mm512_mulhrs_epi16(t.p01, ch->mult), _mm512_mulhrs_epi16(t.p23, ch->mult)});
}

/* u8 output of any mode as P4C16; `ch` in pair order. */
static EFF_ALWAYS_INLINE Z epilogue_p4c16(const Shared *s, const Channels *ch, Mode mode, const Z acc[4])
{
    Words q;
    if (mode == MODE_CLAMP) {
        const Words t = acc_to_words(ch, acc);
        q.p01 = _mm512_min_epi16(_mm512_mulhrs_epi16(t.p01, ch->mult), ch->last);
        q.p23 = _mm512_min_epi16(_mm512_mulhrs_epi16(t.p23, ch->mult), ch->last);
    } else {
        const Words y = shift_left(epilogue_words(s, ch, mode, acc), s->post);
        q.p01 = _mm512_mulhrs_epi16(y.p01, ch->last);
        q.p23 = _mm512_mulhrs_epi16(y.p23, ch->last);
    }
    return _mm512_packus_epi16(_mm512_adds_epi16(q.p01, ch->zero), _mm512_adds_epi16(q.p23, ch->zero));
}

/* Pair order to two pixels of 16 channels, one after the other. */
static EFF_ALWAYS_INLINE Z pairs_to_pixels(Z pairs)
{
    return _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), pairs);
}

/* Where four pixels of an NHWC output go. */
typedef struct Pixels {
    uint8_t *u8;
    int16_t *s16;
    int32_t *s32;
    const int16_t *residual;
    size_t stride; /* channels a pixel */
    int n;         /* 1..4 pixels are stored */
} Pixels;

static EFF_ALWAYS_INLINE void store_u8x16(const Pixels *to, int c, Z four)
{
    uint8_t *dst = to->u8 + c;
    _mm_storeu_si128((__m128i *)dst, _mm512_castsi512_si128(four));
    if (to->n > 1)
        _mm_storeu_si128((__m128i *)(dst + to->stride), _mm512_extracti32x4_epi32(four, 1));
    if (to->n > 2)
        _mm_storeu_si128((__m128i *)(dst + 2 * to->stride), _mm512_extracti32x4_epi32(four, 2));
    if (to->n > 3)
        _mm_storeu_si128((__m128i *)(dst + 3 * to->stride), _mm512_extracti32x4_epi32(four, 3));
}

static EFF_ALWAYS_INLINE void store_u8_p4c16(const Pixels *to, int c, Z p4c16)
{
    const Z turn = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    store_u8x16(to, c, _mm512_permutexvar_epi32(turn, p4c16));
}

/* Channels c .. c + 31 of four pixels from two P4C16: stores of 32 bytes. */
static EFF_ALWAYS_INLINE void store_u8_two_p4c16(const Pixels *to, int c, Z lo, Z hi)
{
    const Z p01 = _mm512_set_epi32(29, 25, 21, 17, 13, 9, 5, 1, 28, 24, 20, 16, 12, 8, 4, 0);
    const Z p23 = _mm512_set_epi32(31, 27, 23, 19, 15, 11, 7, 3, 30, 26, 22, 18, 14, 10, 6, 2);
    const Z a = _mm512_permutex2var_epi32(lo, p01, hi), b = _mm512_permutex2var_epi32(lo, p23, hi);
    uint8_t *dst = to->u8 + c;
    _mm256_storeu_si256((__m256i *)dst, _mm512_castsi512_si256(a));
    if (to->n > 1)
        _mm256_storeu_si256((__m256i *)(dst + to->stride), _mm512_extracti64x4_epi64(a, 1));
    if (to->n > 2)
        _mm256_storeu_si256((__m256i *)(dst + 2 * to->stride), _mm512_castsi512_si256(b));
    if (to->n > 3)
        _mm256_storeu_si256((__m256i *)(dst + 3 * to->stride), _mm512_extracti64x4_epi64(b, 1));
}

/* Pixels i, i + 1 of `to`. */
static EFF_ALWAYS_INLINE void store_s16(const Pixels *to, int c, int i, Z two)
{
    int16_t *dst = to->s16 + (size_t)i * to->stride + c;
    if (to->n > i)
        _mm256_storeu_si256((__m256i *)dst, _mm512_castsi512_si256(two));
    if (to->n > i + 1)
        _mm256_storeu_si256((__m256i *)(dst + to->stride), _mm512_extracti64x4_epi64(two, 1));
}

static EFF_ALWAYS_INLINE Z add_residual(const Pixels *to, int c, int i, Z two)
{
    const int16_t *src = to->residual + (size_t)i * to->stride + c;
    if (to->n <= i)
        return two;
    Z r = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)src));
    if (to->n > i + 1)
        r = _mm512_inserti64x4(r, _mm256_loadu_si256((const __m256i *)(src + to->stride)), 1);
    return _mm512_adds_epi16(two, r);
}

/* S16 and ACT in all their outputs for channels c .. c + 15, from y in pair order; `ch` in pixel order. */
static EFF_ALWAYS_INLINE void store_words(const Shared *s, const Channels *ch, const Pixels *to, int c, Words y)
{
    Words q = {pairs_to_pixels(y.p01), pairs_to_pixels(y.p23)};
    if (to->residual) {
        q.p01 = add_residual(to, c, 0, q.p01);
        q.p23 = add_residual(to, c, 2, q.p23);
    }
    if (to->s16) {
        store_s16(to, c, 0, q.p01);
        store_s16(to, c, 2, q.p23);
    }
    if (to->u8) {
        q = shift_left(q, s->post);
        q.p01 = _mm512_adds_epi16(_mm512_mulhrs_epi16(q.p01, ch->last), ch->zero);
        q.p23 = _mm512_adds_epi16(_mm512_mulhrs_epi16(q.p23, ch->last), ch->zero);
        store_u8x16(to, c, pairs_to_pixels(_mm512_packus_epi16(q.p01, q.p23)));
    }
}

/* Sums of 16 channels of four pixels. */
typedef struct Four {
    Z px[4];
} Four;

enum { MAX_VECTORS = 3 }; /* of 16 channels that are stored at a time */

/* An NHWC output of any mode: channels c .. c + 16 vectors - 1. `ch` in pair order for CLAMP, else in pixel order. */
static EFF_ALWAYS_INLINE void store_fours(const Shared *s, const Channels *ch, Mode mode, const Pixels *to, int c,
                                          const Four *f, int vectors)
{
    if (mode == MODE_RAW) {
#pragma GCC unroll 3
        for (int n = 0; n < vectors; n++) {
            for (int r = 0; r < to->n; r++)
                _mm512_storeu_si512(to->s32 + (size_t)r * to->stride + c + 16 * n, f[n].px[r]);
        }
        return;
    }
    if (mode != MODE_CLAMP) {
#pragma GCC unroll 3
        for (int n = 0; n < vectors; n++)
            store_words(s, &ch[n], to, c + 16 * n, epilogue_words(s, &ch[n], mode, f[n].px));
        return;
    }
    Z q[MAX_VECTORS];
#pragma GCC unroll 3
    for (int n = 0; n < vectors; n++)
        q[n] = epilogue_p4c16(s, &ch[n], mode, f[n].px);
    if (vectors > 1)
        store_u8_two_p4c16(to, c, q[0], q[1]);
    else
        store_u8_p4c16(to, c, q[0]);
    if (vectors > 2)
        store_u8_p4c16(to, c + 32, q[2]);
}

#endif
