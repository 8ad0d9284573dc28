/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution, level avx2; the body is in pw_u8s8_avx2.h. */
#include "kernels/x86/dot_avx2.h"
#include "kernels/x86/pw_u8s8_avx2.h"
#include "kernels/levels.h"

const EffPwKernel eff_pw_u8s8_4x24_avx2 = {"pw_u8s8_4x24_avx2", pw_packed_bytes, pw_pack, pw_run,
                                           pw_run_quads,        pw_join};
