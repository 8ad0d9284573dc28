/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing shifts and multipliers. */
#include "quant/requantize.h"
#include "kernels/epilogue.h"

#include <assert.h>

enum { T_BITS = 12 }; /* form 1: the useful range reaches about 2^12 before its multiplier */

double eff_pow2(int e)
{
    double v = 1;
    for (; e > 0; e--)
        v *= 2;
    for (; e < 0; e++)
        v /= 2;
    return v;
}

int64_t eff_round_clamp(double v, int64_t min, int64_t max)
{
    if (!(v > (double)min))
        return min;
    if (v >= (double)max)
        return max;
    return (int64_t)(v < 0 ? v - 0.5 : v + 0.5);
}

/* Smallest integer that is not below v; v is small and positive. */
static int64_t ceil_int(double v)
{
    const int64_t n = (int64_t)v;
    return (double)n < v ? n + 1 : n;
}

int eff_choose_frac_bits(double range, int most)
{
    int f = most;
    while (f > EFF_MIN_FRAC_BITS && 1.25 * range * eff_pow2(f) > eff_pow2(EFF_Y_BITS))
        f--;
    return f;
}

EffRequantU8 eff_requantize_u8(double acc_unit_min, double out_scale, double useful)
{
    EffRequantU8 r = {0};
    while (r.shift < EFF_MAX_SHIFT && useful > acc_unit_min * eff_pow2(r.shift + T_BITS))
        r.shift++;
    const double exact = 32768 * eff_pow2(r.shift) * acc_unit_min / out_scale;
    int64_t mult = exact >= 32767 ? 32767 : ceil_int(exact);
    if (mult < 1)
        mult = 1;
    r.mult = (int16_t)mult;
    r.acc_unit = (double)mult * out_scale / (32768 * eff_pow2(r.shift));
    return r;
}

/* Smallest e with 2^(15 + e) * acc_unit * 2^frac_bits >= 2^14: the multiplier then lies in [2^14, 2^15). */
static int exponent(double acc_unit, int frac_bits)
{
    int e = -96; /* ranges go up to 1e12, and weights may be large too */
    for (double unit = acc_unit * eff_pow2(15 + frac_bits + e); unit < 16384 && e < 64; e++)
        unit *= 2;
    return e;
}

int eff_requantize_s16(EffRequantS16 *out, const double *acc_unit_min, const int8_t *finer, int n, int *frac_bits)
{
    int lowest = 64;
    for (int c = 0; c < n; c++) {
        const int e = exponent(acc_unit_min[c], *frac_bits + (finer != NULL ? finer[c] : 0));
        lowest = e < lowest ? e : lowest;
    }
    if (lowest < -EFF_MAX_PRE_SHIFT) { /* accumulators far coarser than the unit: a coarser unit loses nothing */
        *frac_bits -= -EFF_MAX_PRE_SHIFT - lowest;
        lowest = -EFF_MAX_PRE_SHIFT;
    }
    const int pre_shift = lowest < 0 ? -lowest : 0;
    for (int c = 0; c < n; c++) {
        const int bits = *frac_bits + (finer != NULL ? finer[c] : 0);
        int e = exponent(acc_unit_min[c], bits);
        int64_t mult = ceil_int(acc_unit_min[c] * eff_pow2(15 + bits + e));
        if (mult > 32767) /* 0.003 % too small a unit: 127.004 still rounds to 127 */
            mult = 32767;
        if (e + pre_shift > EFF_MAX_SHIFT) { /* a channel of next to no weight: a larger unit is harmless */
            e = EFF_MAX_SHIFT - pre_shift;
            mult = 16384;
        }
        assert(e + pre_shift >= 0 && mult >= 16384);
        out[c] = (EffRequantS16){
            .shift = e + pre_shift, .mult = (int16_t)mult, .acc_unit = (double)mult / eff_pow2(15 + bits + e)};
    }
    return pre_shift;
}

int eff_choose_post_shift(double range, int frac_bits)
{
    int k = 0;
    while (k < EFF_MAX_PRE_SHIFT && 1.25 * range * eff_pow2(frac_bits + k + 1) <= 32767)
        k++;
    return k;
}

EffRequantCopy eff_requantize_copy(double min, double max, double fallback, int frac_bits, int post_shift)
{
    if (!(max - min > 0))
        max = fallback > 0 ? fallback : 1;
    const double unit = eff_pow2(15 - frac_bits - post_shift);                      /* scale = unit / mult */
    const int64_t mult = eff_round_clamp(unit * 255 / (max - min) - 0.5, 1, 32767); /* down: the range must fit */
    const double scale = unit / (double)mult;
    return (EffRequantCopy){
        .mult = (int16_t)mult, .zero = (int16_t)eff_round_clamp(-min / scale, 0, 255), .scale = scale};
}
