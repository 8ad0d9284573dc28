/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: the bodies of the VNNI levels with an emulated dot product, for CPUs that have AVX2 only. */
#include "dot_emulated_avx2.h"
#include "kernels/x86/dw_u8s8_avx2.h"
#include "kernels/x86/pw_u8s8_avx2.h"
#include "kcheck.h"

const EffPwKernel kc_pw_emulated_avx2 = {
    "pw_u8s8_emulated_avx2", pw_packed_bytes, pw_pack, pw_run, pw_run_quads, pw_join};
const EffDwKernel kc_dw_emulated_avx2 = {"dw_u8s8_emulated_avx2", dw_packed_bytes, dw_pack, dw_run};
