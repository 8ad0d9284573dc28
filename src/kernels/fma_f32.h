/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x * w + acc of floats, rounded once: fusedMultiplyAdd of IEEE 754 (rounding to nearest even). Where the compiler may
 * use such an instruction it is that; elsewhere doubles give the same bits, subnormal numbers and infinities included.
 */
#ifndef EFF_KERNELS_FMA_F32_H
#define EFF_KERNELS_FMA_F32_H

#include "base/compiler.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline EffF4 eff_load_f4(const float *p)
{
    EffF4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void eff_store_f4(float *p, EffF4 v)
{
    memcpy(p, &v, sizeof v);
}

#if defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA)

static inline float eff_fma_f32(float x, float w, float acc)
{
    return __builtin_fmaf(x, w, acc);
}

static EFF_ALWAYS_INLINE EffF4 eff_fma_f4(EffF4 x, EffF4 w, EffF4 acc)
{
    for (int i = 0; i < 4; i++)
        acc[i] = __builtin_fmaf(x[i], w[i], acc[i]);
    return acc;
}

#else

/*
 * The product is exact in double: 48 bits. Its sum with acc is not always, and rounded to nearest it could be half way
 * between two floats where the true sum is not. So it is rounded to odd: an inexact sum becomes the one of the two
 * doubles around it whose last bit is 1, which is never half way, nor a float (Boldo and Melquiond, "Emulation of FMA
 * and correctly rounded sums: proved algorithms using rounding to odd", 2008). The error is that of Knuth's TwoSum; it
 * is NaN, and thus not greater than 0, where the sum is infinite.
 */
static inline float eff_fma_f32(float x, float w, float acc)
{
    const double product = (double)x * (double)w, sum = product + (double)acc, rest = sum - product;
    const double error = (product - (sum - rest)) + ((double)acc - rest);
    uint64_t bits, error_bits;
    memcpy(&bits, &sum, sizeof bits);
    memcpy(&error_bits, &error, sizeof error_bits);
    const uint64_t inexact = fabs(error) > 0, beyond = inexact & (bits ^ error_bits) >> 63; /* rounded away from 0 */
    bits = (bits - beyond) | inexact;
    double odd;
    memcpy(&odd, &bits, sizeof odd);
    return (float)odd;
}

/* For the few cases. */
static EFF_NOINLINE EffF4 eff_fma_each(EffF4 x, EffF4 w, EffF4 acc)
{
    for (int i = 0; i < 4; i++)
        acc[i] = eff_fma_f32(x[i], w[i], acc[i]);
    return acc;
}

/*
 * Four at a time. In nearly all cases the sum rounded to nearest does: in all but those where it is half way between
 * two floats, as its last 29 bits tell, or where floats have fewer bits, up to FLT_MIN.
 */
static EFF_ALWAYS_INLINE EffF4 eff_fma_f4(EffF4 x, EffF4 w, EffF4 acc)
{
    const EffD4 sum = EFF_CONVERT(x, EffD4) * EFF_CONVERT(w, EffD4) + EFF_CONVERT(acc, EffD4);
    const EffF4 y = EFF_CONVERT(sum, EffF4);
    const EffI4 tail = EFF_CONVERT((EffL4)sum, EffI4) & 0x1fffffff;
    const EffF4 size = (EffF4)((EffI4)y & 0x7fffffff);
    const EffL2 unsure = (EffL2)((tail == 0x10000000) | (size <= FLT_MIN));
    return EFF_UNLIKELY((unsure[0] | unsure[1]) != 0) ? eff_fma_each(x, w, acc) : y;
}

#endif

#endif
