/* SPDX-License-Identifier: Apache-2.0 */
/* Activations in float. The loops have no branches, so that the compiler can take four lanes at once. */
#include "kernels/levels.h"

#include <stdint.h>
#include <string.h>

/*
 * exp(x) = 2^n * exp(r), n = round(x / ln 2), r = x - n ln 2 in [-0.35, 0.35], exp(r) by its Taylor polynomial of
 * degree 7 (remainder below 1e-8). x is clamped to [-87, 87]: there the result is finite and normal.
 */
static EFF_ALWAYS_INLINE float exp_f32(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    const float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum's low bits are the rounded integer */
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f; /* ln 2 in two parts (Cody and Waite) */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

void eff_relu_f32(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > 0 ? x[i] : 0;
}

static EFF_ALWAYS_INLINE float clamp6(float v)
{
    v = v > 0 ? v : 0;
    return v < 6 ? v : 6;
}

void eff_relu6_f32(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = clamp6(x[i]);
}

void eff_silu_f32(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] / (1.0f + exp_f32(-x[i]));
}

void eff_hswish_f32(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * clamp6(x[i] + 3) * (1.0f / 6);
}

void eff_sigmoid_f32(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 1.0f / (1.0f + exp_f32(-x[i]));
}

void eff_act_f32_c(EffActivation act, float *x, size_t n)
{
    switch (act) {
    case EFF_ACTIVATION_NONE: break;
    case EFF_ACTIVATION_RELU: eff_relu_f32(x, n); break;
    case EFF_ACTIVATION_RELU6: eff_relu6_f32(x, n); break;
    case EFF_ACTIVATION_SILU: eff_silu_f32(x, n); break;
    case EFF_ACTIVATION_HSWISH: eff_hswish_f32(x, n); break;
    case EFF_ACTIVATION_SIGMOID: eff_sigmoid_f32(x, n); break;
    }
}
