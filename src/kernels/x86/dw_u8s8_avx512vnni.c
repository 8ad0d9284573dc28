/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution, AVX-512 level vnni; the body is in dw_u8s8_avx512.h. */
#include "kernels/x86/lookup_avx512vnni.h"
#include "kernels/x86/dw_u8s8_avx512.h"

const EffDwKernel eff_dw_u8s8_4x16_avx512vnni = {"dw_u8s8_4x16_avx512vnni", dw_packed_bytes, dw_pack, dw_run};
