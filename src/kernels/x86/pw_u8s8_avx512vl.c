/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution, level avx512vl; the body is in pw_u8s8_avx2.h. */
#include "kernels/x86/dot_avx512vl.h"
#include "kernels/x86/pw_u8s8_avx2.h"
#include "kernels/levels.h"

const EffPwKernel eff_pw_u8s8_4x24_avx512vl = {
    "pw_u8s8_4x24_avx512vl", pw_packed_bytes, pw_pack, pw_run, pw_run_quads, pw_join};
