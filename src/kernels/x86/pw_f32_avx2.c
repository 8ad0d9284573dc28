/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution in float, AVX2; the body is in pw_f32_vec.h. */
#include "kernels/x86/vec_f32_avx2.h"

#define PANEL_VECTORS 3
#define MAX_VECTORS   4
/* Pixels of a tile for each number of vectors: 16 registers hold the sums, a weight and an input. */
enum { PIXELS_1 = 8, PIXELS_2 = 6, PIXELS_3 = 4, PIXELS_4 = 3 };

#include "kernels/x86/pw_f32_vec.h"

const EffPwF32Kernel eff_pw_f32_4x24_avx2 = {"pw_f32_4x24_avx2", n_panels, packed_count, pack, run};
