/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From scales to integers, and back: shifts and multipliers are chosen first, and the real unit of a channel's
 * accumulator is defined by them, so that coarse multipliers cost no accuracy. All in exact double arithmetic
 * (products, comparisons, halving), without libm, so that every machine gets the same integers.
 *
 * `acc_unit` is what one step of the accumulator means: input scale * weight scale. Every function takes the smallest
 * unit that the weights allow (largest |weight| / 127 * input scale) and returns the one to use, at most 0.05 % larger
 * unless said.
 */
#ifndef EFF_QUANT_REQUANTIZE_H
#define EFF_QUANT_REQUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

/* Units of an s16 tensor are 2^-frac_bits. */
enum { EFF_Y_BITS = 14, EFF_MAX_FRAC_BITS = 24, EFF_MIN_FRAC_BITS = -16, EFF_MAX_ACT_FRAC_BITS = 14 };

/* 2^e for |e| < 1000. */
double eff_pow2(int e);

/* Nearest integer, halves away from zero, clamped to [min, max]. */
int64_t eff_round_clamp(double v, int64_t min, int64_t max);

/*
 * Fraction bits of an s16 tensor: the most with which 1.25 * range stays within 2^EFF_Y_BITS, since below that the
 * accumulator's 16-bit form, up to twice as large, does not saturate either. At most `most`.
 */
int eff_choose_frac_bits(double range, int most);

/* Form 1, to u8: q = mulhrs(sat16(acc >> shift), mult). */
typedef struct EffRequantU8 {
    int shift;       /* 0..24 */
    int16_t mult;    /* 1..32767 */
    double acc_unit; /* to use; below the smallest when mult hit its limit, and then the weights are clipped */
} EffRequantU8;

/* `out_scale`: of the u8 output. `useful`: largest |output| that is not clipped, about 255 * out_scale. */
EffRequantU8 eff_requantize_u8(double acc_unit_min, double out_scale, double useful);

/* Forms 2 and 3, to s16: y = mulhrs(sat16(acc >> shift) << pre_shift, mult) in units of 2^-frac_bits. */
typedef struct EffRequantS16 {
    int shift;    /* 0..24 */
    int16_t mult; /* 2^14..2^15 - 1 */
    double acc_unit;
} EffRequantS16;

/*
 * For all n channels of a layer. May lower *frac_bits, so that pre_shift stays within its limit.
 * @param finer  [n] more fraction bits of a channel, its unit is 2^-(frac_bits + finer); NULL: none.
 * @return pre_shift, 0..8.
 */
int eff_requantize_s16(EffRequantS16 *out, const double *acc_unit_min, const int8_t *finer, int n, int *frac_bits);

/* u8 copy of an s16 tensor: q = mulhrs(y << post_shift, mult) + zero. */
typedef struct EffRequantCopy {
    int16_t mult, zero;
    double scale; /* of the u8 values */
} EffRequantCopy;

/* post_shift for a tensor whose magnitude reaches `range`: the largest that does not saturate at 1.25 times that. 0..8.
 */
int eff_choose_post_shift(double range, int frac_bits);
/* For values in [min, max], 0 inside; an empty range is taken as [0, fallback]. */
EffRequantCopy eff_requantize_copy(double min, double max, double fallback, int frac_bits, int post_shift);

#endif
