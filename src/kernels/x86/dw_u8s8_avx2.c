/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution, level avx2; the body is in dw_u8s8_avx2.h. */
#include "kernels/x86/dot_avx2.h"
#include "kernels/x86/dw_u8s8_avx2.h"
#include "kernels/levels.h"

const EffDwKernel eff_dw_u8s8_8x8_avx2 = {"dw_u8s8_8x8_avx2", dw_packed_bytes, dw_pack, dw_run};
