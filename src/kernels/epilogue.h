/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to an accumulator before it leaves a convolution: requantization, activation, residual. One descriptor
 * for pointwise and depthwise kernels.
 *
 *   t = sat16(acc >> shift[c])
 *
 *   U8_CLAMP  q = sat8(adds16(min(mulhrs(t, mult[c]), top[c]), zero[c]))                       to dst_u8
 *   S16       y = mulhrs(shls16(t, pre_shift), mult[c]);  y = adds16(y, residual) if there is one
 *   ACT       y = act(mulhrs(shls16(t, pre_shift), mult[c]))
 *
 * S16 and ACT store y to dst_s16 where that is not NULL, and where dst_u8 is not NULL its 8-bit copy, the input of a
 * next convolution: q = sat8(adds16(mulhrs(shls16(y, post_shift), omult[c]), zero[c]))
 *
 * act(y), with a = |y| (at most 32767), for functions of the form max(y, 0) - g(|y|), as SiLU and hard-swish are:
 *
 *   NONE      y
 *   RELU      max(y, 0)
 *   RELU6     min(max(y, 0), 6 << h)
 *   STAIR     subs16(max(y, 0), stair[min(a >> h, 255)] << g_shift)
 *   INTERP    b = min(a, (64 << h) - 1), i = b >> h, r = (b & ((1 << h) - 1)) << (15 - h)
 *             subs16(max(y, 0), adds16(knot[i], mulhrs(slope[i], r)))
 */
#ifndef EFF_KERNELS_EPILOGUE_H
#define EFF_KERNELS_EPILOGUE_H

#include "effnet/base.h"
#include "kernels/requant.h"

enum {
    EFF_CH_ALIGN = 16,     /**< every activation's channel stride is a multiple of this */
    EFF_PARAM_ALIGN = 32,  /**< per-channel parameter arrays are padded with zeros to a multiple of this */
    EFF_OVERREAD = 64,     /**< bytes that kernels which say so may read past their input */
    EFF_MAX_CH = 16384,    /**< most channels of any tensor */
    EFF_MAX_SHIFT = 24,    /**< largest `shift` */
    EFF_MAX_PRE_SHIFT = 8, /**< largest `pre_shift` and `post_shift` */
    EFF_STAIR_SIZE = 256,
    EFF_KNOTS = 64,
    EFF_RELU6_MAX_H = 12 /**< 6 << h fits s16 */
};

/** Channels rounded up to the stride of an activation. */
static inline int eff_ch_pad(int n_channels)
{
    return (n_channels + EFF_CH_ALIGN - 1) / EFF_CH_ALIGN * EFF_CH_ALIGN;
}

/** Length of a per-channel parameter array. */
static inline int eff_param_pad(int n_channels)
{
    return (n_channels + EFF_PARAM_ALIGN - 1) / EFF_PARAM_ALIGN * EFF_PARAM_ALIGN;
}

typedef enum EffActKind { EFF_ACT_NONE = 0, EFF_ACT_RELU, EFF_ACT_STAIR, EFF_ACT_INTERP, EFF_ACT_RELU6 } EffActKind;

/** An activation function on s16; the formulas stand at the top of this file. */
typedef struct EffAct {
    EffActKind kind;
    int h;       /**< log2 of a step in units of y: STAIR 0..15, INTERP 0..9; RELU6: fraction bits of y, 0..12 */
    int g_shift; /**< STAIR: 0..7 */
    const uint8_t *stair; /**< STAIR: [EFF_STAIR_SIZE] */
    const int16_t *knot;  /**< INTERP: [EFF_KNOTS] */
    const int16_t *slope; /**< INTERP: [EFF_KNOTS] */
} EffAct;

/** The last is for operators in memory alone, never in a plan: sums as they are, for eff_join_fn; of the arrays only
 *  `bias` is read. */
typedef enum EffOutKind { EFF_OUT_U8_CLAMP = 0, EFF_OUT_S16, EFF_OUT_ACT, EFF_OUT_S32 } EffOutKind;

/**
 * Requantization and activation of a layer. The arrays have eff_param_pad(channels) entries, zero from `channels` on,
 * so that the padding channels of every output hold a fixed value: 0 in u8, act(0) in s16. They stay the caller's.
 */
typedef struct EffEpilogue {
    EffOutKind kind;
    int pre_shift;        /**< S16, ACT: 0..8 */
    int post_shift;       /**< S16, ACT to u8: 0..8 */
    const int32_t *bias;  /**< accumulator's start: in units of the accumulator, with the input's zero point folded in
                               and 2^(shift - 1) added where shift > 0 */
    const int32_t *shift; /**< 0..24 */
    const int16_t *mult;  /**< 0..32767: o of U8_CLAMP, m of the others */
    const int16_t *top;   /**< U8_CLAMP: largest output less zero; 32767 for none */
    const int16_t *zero;  /**< U8_CLAMP, and u8 copies: zero point, 0..255 */
    const int16_t *omult; /**< u8 copies: 0..32767 */
    EffAct act;           /**< ACT */
} EffEpilogue;

/** True when every table and range of the activation is as documented; a message says what is not. */
EffStatus eff_act_check(const EffAct *act);

/**
 * Check the arrays and ranges of an epilogue for `n_channels`. `to_u8` says that the layer writes u8, which needs zero
 * (and omult where kind is not U8_CLAMP). @return EFF_OK or EFF_ERR_FORMAT.
 */
EffStatus eff_epilogue_check(const EffEpilogue *e, int n_channels, int to_u8);

static inline int16_t eff_act_interp(const EffAct *act, int16_t y)
{
    const int last = (EFF_KNOTS << act->h) - 1;
    const int a = eff_abs16(y), b = a < last ? a : last;
    const int i = b >> act->h, r = (b & ((1 << act->h) - 1)) << (15 - act->h);
    return eff_adds16(act->knot[i], eff_mulhrs(act->slope[i], (int16_t)r));
}

static inline int16_t eff_act_apply(const EffAct *act, int16_t y)
{
    const int16_t pos = y > 0 ? y : 0;
    switch (act->kind) {
    case EFF_ACT_RELU: return pos;
    case EFF_ACT_RELU6: return (int16_t)(pos < 6 << act->h ? pos : 6 << act->h);
    case EFF_ACT_STAIR: {
        const int i = eff_abs16(y) >> act->h;
        return eff_subs16(pos, (int16_t)(act->stair[i < 255 ? i : 255] << act->g_shift));
    }
    case EFF_ACT_INTERP: return eff_subs16(pos, eff_act_interp(act, y));
    case EFF_ACT_NONE: break;
    }
    return y;
}

/** y to u8: a u8 copy, and the gate of squeeze-excite. */
static inline uint8_t eff_quant_u8(int16_t y, int shift, int16_t mult, int16_t zero)
{
    return eff_sat8(eff_adds16(eff_mulhrs(eff_shls16(y, shift), mult), zero));
}

static inline uint8_t eff_epilogue_u8_clamp(const EffEpilogue *e, int c, int32_t acc)
{
    const int16_t y = eff_mulhrs(eff_acc16(acc, e->shift[c]), e->mult[c]);
    return eff_sat8(eff_adds16(y < e->top[c] ? y : e->top[c], e->zero[c]));
}

/** y of S16 and ACT, before the residual. */
static inline int16_t eff_epilogue_s16(const EffEpilogue *e, int c, int32_t acc)
{
    const int16_t y = eff_mulhrs(eff_shls16(eff_acc16(acc, e->shift[c]), e->pre_shift), e->mult[c]);
    return e->kind == EFF_OUT_ACT ? eff_act_apply(&e->act, y) : y;
}

/** All outputs of a sum of channel c, at the same place `at` of each tensor; residual, dst_s16 and, but for a clamp,
 *  dst_u8 may be NULL. */
static inline void eff_epilogue_store(const EffEpilogue *e, int c, int32_t acc, size_t at, const int16_t *residual,
                                      int16_t *dst_s16, uint8_t *dst_u8)
{
    if (e->kind == EFF_OUT_U8_CLAMP) {
        dst_u8[at] = eff_epilogue_u8_clamp(e, c, acc);
        return;
    }
    int16_t y = eff_epilogue_s16(e, c, acc);
    if (residual != NULL)
        y = eff_adds16(y, residual[at]);
    if (dst_s16 != NULL)
        dst_s16[at] = y;
    if (dst_u8 != NULL)
        dst_u8[at] = eff_quant_u8(y, e->post_shift, e->omult[c], e->zero[c]);
}

#endif
