/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution, AVX-512 level vbmi; the body is in pw_u8s8_avx512.h. */
#include "kernels/x86/lookup_avx512vbmi.h"
#include "kernels/x86/pw_u8s8_avx512.h"
#include "kernels/levels.h"

const EffPwKernel eff_pw_u8s8_12x32_avx512vbmi = {
    "pw_u8s8_12x32_avx512vbmi", pw_packed_bytes, pw_pack, pw_run, pw_run_quads, pw_join};
