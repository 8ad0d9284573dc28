/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scalar arithmetic of the int8 path, in one place: every kernel at every CPU level computes exactly these.
 * Each function is one instruction a vector on x86 and Arm; the names are those instructions.
 */
#ifndef EFF_KERNELS_REQUANT_H
#define EFF_KERNELS_REQUANT_H

#include <stdint.h>

/* Shifts to the right of negative values are arithmetic on every compiler that compiler.h admits. */
_Static_assert((-3 >> 1) == -2, "arithmetic shift right");

/** Saturate to [0, 255] (packuswb). */
static inline uint8_t eff_sat8(int32_t x)
{
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
}

/** Saturate to [-32768, 32767] (packssdw). */
static inline int16_t eff_sat16(int64_t x)
{
    return (int16_t)(x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x);
}

/** a + b, saturating (paddsw). */
static inline int16_t eff_adds16(int16_t a, int16_t b)
{
    return eff_sat16((int64_t)a + b);
}

/** a - b, saturating (psubsw). */
static inline int16_t eff_subs16(int16_t a, int16_t b)
{
    return eff_sat16((int64_t)a - b);
}

/** Product of two Q15 numbers, halves rounded up (pmulhrsw, sqrdmulh). Not for a = b = -32768, where ISAs differ. */
static inline int16_t eff_mulhrs(int16_t a, int16_t b)
{
    return (int16_t)(((int32_t)a * b + (1 << 14)) >> 15);
}

/** a * 2^n, saturating; n in 0..8. x86 has no such shift: n doublings by paddsw give the same. */
static inline int16_t eff_shls16(int16_t a, int n)
{
    return eff_sat16((int64_t)a * ((int64_t)1 << n));
}

/** Accumulator to s16: shift in 0..24; the rounding constant of the shift is part of the bias. */
static inline int16_t eff_acc16(int32_t acc, int shift)
{
    return eff_sat16(acc >> shift);
}

/** |a|, saturating: 32767 for -32768. */
static inline int16_t eff_abs16(int16_t a)
{
    return eff_sat16(a < 0 ? -(int32_t)a : a);
}

#endif
