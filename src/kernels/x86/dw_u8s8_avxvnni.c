/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution, level avxvnni; the body is in dw_u8s8_avx2.h. */
#include "kernels/x86/dot_avxvnni.h"
#include "kernels/x86/dw_u8s8_avx2.h"
#include "kernels/levels.h"

const EffDwKernel eff_dw_u8s8_8x8_avxvnni = {"dw_u8s8_8x8_avxvnni", dw_packed_bytes, dw_pack, dw_run};
