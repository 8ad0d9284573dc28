/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution in float, AVX2 on 128-bit vectors; the body is in pw_f32_vec.h. */
#include "kernels/x86/vec_f32_avx128.h"

#define PANEL_VECTORS 4
#define MAX_VECTORS   6
/* Pixels of a tile for each number of vectors: 16 registers hold the sums, a weight and an input. */
enum { PIXELS_1 = 8, PIXELS_2 = 6, PIXELS_3 = 4, PIXELS_4 = 3, PIXELS_5 = 2, PIXELS_6 = 2 };

#include "kernels/x86/pw_f32_vec.h"

const EffPwF32Kernel eff_pw_f32_3x16_avx128 = {"pw_f32_3x16_avx128", n_panels, packed_count, pack, run};
