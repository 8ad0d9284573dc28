/* SPDX-License-Identifier: Apache-2.0 */
/* Activations, sums, gates and means in float, AVX-512; the bodies are in elementwise_f32_vec.h. */
#include "kernels/x86/vec_f32_avx512.h"

#include "kernels/x86/elementwise_f32_vec.h"

void eff_act_f32_avx512(EffActivation act, float *x, size_t n)
{
    run_act(act, x, n);
}

void eff_add_f32_avx512(float *dst, const float *a, const float *b, size_t n)
{
    run_add(dst, a, b, n);
}

void eff_gate_f32_avx512(float *dst, const float *src, const float *gate, size_t n_pixels, size_t n_ch)
{
    run_gate(dst, src, gate, n_pixels, n_ch);
}

void eff_mean_f32_avx512(float *dst, const float *src, size_t n_pixels, size_t n_ch, size_t ch_begin, size_t ch_end)
{
    run_mean(dst, src, n_pixels, n_ch, ch_begin, ch_end);
}
