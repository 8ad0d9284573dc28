/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution in float, AVX-512; the body is in dw_f32_vec.h. */
#include "kernels/x86/vec_f32_avx512.h"

#include "kernels/x86/dw_f32_vec.h"

void eff_dw_f32_avx512(const EffDwF32 *op, const float *src, float *dst, int row_begin, int row_end)
{
    run_dw(op, src, dst, row_begin, row_end);
}
