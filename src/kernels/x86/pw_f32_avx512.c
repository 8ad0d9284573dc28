/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution in float, AVX-512; the body is in pw_f32_vec.h. */
#include "kernels/x86/vec_f32_avx512.h"

#define PANEL_VECTORS 4
#define MAX_VECTORS   6
/* Pixels of a tile for each number of vectors: 32 registers hold the sums, weights and an input. */
enum { PIXELS_1 = 12, PIXELS_2 = 12, PIXELS_3 = 8, PIXELS_4 = 6, PIXELS_5 = 4, PIXELS_6 = 4 };

#include "kernels/x86/pw_f32_vec.h"

const EffPwF32Kernel eff_pw_f32_6x64_avx512 = {"pw_f32_6x64_avx512", n_panels, packed_count, pack, run};
