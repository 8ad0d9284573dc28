/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activations, sums, gates and means in float: the body of the AVX2 and the AVX-512 kernels, after vec_f32_*.h has told
 * the width of a vector. The formulas, operation by operation, are those of act_f32.c and elementwise_f32.c.
 */
#ifndef EFF_KERNELS_X86_ELEMENTWISE_F32_VEC_H
#define EFF_KERNELS_X86_ELEMENTWISE_F32_VEC_H

#include <string.h>

/*
 * exp() is a chain of some 80 cycles, too long for a CPU to look beyond its end: GROUP of them go side by side,
 * operation by operation.
 */
enum { GROUP = 4 };
typedef struct Group {
    V v[GROUP];
} Group;

/* c - p * r */
static EFF_ALWAYS_INLINE Group minus_times(float c, Group p, Group r)
{
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; k++)
        p.v[k] = set1(c) - p.v[k] * r.v[k];
    return p;
}

/* exp(-x). Minus signs change no rounding, so r is minus that of act_f32.c, and products are subtracted. */
static EFF_ALWAYS_INLINE Group exp_of_minus(Group x)
{
    const V magic = set1(12582912.0f);
    Group shifted, r, p;
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; k++)
        x.v[k] = min(set1(87.0f), max(set1(-87.0f), x.v[k]));
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; k++)
        shifted.v[k] = magic - x.v[k] * set1(1.44269504f);
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; k++) {
        const V n = shifted.v[k] - magic;
        r.v[k] = (x.v[k] + n * set1(0.693359375f)) + n * set1(-2.12194440e-4f);
    }
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; k++)
        p.v[k] = set1(1.0f / 5040);
    p = minus_times(1.0f / 720, p, r);
    p = minus_times(1.0f / 120, p, r);
    p = minus_times(1.0f / 24, p, r);
    p = minus_times(1.0f / 6, p, r);
    p = minus_times(0.5f, p, r);
    p = minus_times(1.0f, p, r);
    p = minus_times(1.0f, p, r);
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; k++)
        p.v[k] *= exp2_of_shifted(shifted.v[k]);
    return p;
}

static EFF_ALWAYS_INLINE V clamp6(V v)
{
    return min(max(v, set1(0)), set1(6));
}

/* numerator / (1 + exp(-x)) */
static EFF_ALWAYS_INLINE Group over_logistic(Group numerator, Group x)
{
    const Group e = exp_of_minus(x);
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; k++)
        numerator.v[k] /= set1(1) + e.v[k];
    return numerator;
}

static EFF_ALWAYS_INLINE Group act_of(EffActivation act, Group x)
{
    const Group one = {{set1(1), set1(1), set1(1), set1(1)}};
    if (act == EFF_ACTIVATION_SILU)
        return over_logistic(x, x);
    if (act == EFF_ACTIVATION_SIGMOID)
        return over_logistic(one, x);
#pragma GCC unroll 4
    for (int k = 0; k < GROUP; k++) {
        if (act == EFF_ACTIVATION_RELU)
            x.v[k] = max(x.v[k], set1(0));
        else if (act == EFF_ACTIVATION_RELU6)
            x.v[k] = clamp6(x.v[k]);
        else
            x.v[k] = x.v[k] * clamp6(x.v[k] + set1(3)) * set1(1.0f / 6);
    }
    return x;
}

/* act is constant at each call. */
static EFF_ALWAYS_INLINE void act_all(EffActivation act, float *x, size_t n)
{
    float rest[GROUP * LANES] = {0};
    for (size_t i = 0; i < n; i += GROUP * LANES) {
        const size_t left = n - i;
        float *at = left < GROUP * LANES ? rest : x + i;
        if (left < GROUP * LANES)
            memcpy(rest, x + i, left * sizeof *x);
        Group g;
#pragma GCC unroll 4
        for (int k = 0; k < GROUP; k++)
            g.v[k] = load(at + k * LANES);
        g = act_of(act, g);
#pragma GCC unroll 4
        for (int k = 0; k < GROUP; k++)
            store(at + k * LANES, g.v[k]);
        if (left < GROUP * LANES)
            memcpy(x + i, rest, left * sizeof *x);
    }
}

static void run_act(EffActivation act, float *x, size_t n)
{
    switch (act) {
    case EFF_ACTIVATION_NONE: break;
    case EFF_ACTIVATION_RELU: act_all(EFF_ACTIVATION_RELU, x, n); break;
    case EFF_ACTIVATION_RELU6: act_all(EFF_ACTIVATION_RELU6, x, n); break;
    case EFF_ACTIVATION_SILU: act_all(EFF_ACTIVATION_SILU, x, n); break;
    case EFF_ACTIVATION_HSWISH: act_all(EFF_ACTIVATION_HSWISH, x, n); break;
    case EFF_ACTIVATION_SIGMOID: act_all(EFF_ACTIVATION_SIGMOID, x, n); break;
    }
}

static EFF_ALWAYS_INLINE void run_add(float *dst, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, load(a + i) + load(b + i));
    for (; i < n; i++)
        dst[i] = a[i] + b[i];
}

static EFF_ALWAYS_INLINE void run_gate(float *dst, const float *src, const float *gate, size_t n_pixels, size_t n_ch)
{
    for (size_t p = 0; p < n_pixels; p++, src += n_ch, dst += n_ch) {
        size_t c = 0;
        for (; c + LANES <= n_ch; c += LANES)
            store(dst + c, load(src + c) * load(gate + c));
        for (; c < n_ch; c++)
            dst[c] = src[c] * gate[c];
    }
}

/* Means of n half vectors of channels. */
static EFF_ALWAYS_INLINE void mean_block(float *dst, const float *src, size_t n_pixels, size_t n_ch, const int n)
{
    D sums[8];
#pragma GCC unroll 8
    for (int k = 0; k < n; k++)
        sums[k] = zero_doubles();
    for (size_t p = 0; p < n_pixels; p++, src += n_ch) {
#pragma GCC unroll 8
        for (int k = 0; k < n; k++)
            sums[k] += load_doubles(src + k * LANES / 2);
    }
#pragma GCC unroll 8
    for (int k = 0; k < n; k++)
        store_quotients(dst + k * LANES / 2, sums[k], (double)n_pixels);
}

static EFF_ALWAYS_INLINE void run_mean(float *dst, const float *src, size_t n_pixels, size_t n_ch, size_t ch_begin,
                                       size_t ch_end)
{
    size_t c = ch_begin;
    for (; c + 4 * LANES <= ch_end; c += 4 * LANES)
        mean_block(dst + c, src + c, n_pixels, n_ch, 8);
    for (; c + LANES / 2 <= ch_end; c += LANES / 2)
        mean_block(dst + c, src + c, n_pixels, n_ch, 1);
    for (; c < ch_end; c++) {
        double sum = 0;
        for (size_t p = 0; p < n_pixels; p++)
            sum += (double)src[p * n_ch + c];
        dst[c] = (float)(sum / (double)n_pixels);
    }
}

#endif
