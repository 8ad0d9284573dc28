/* SPDX-License-Identifier: Apache-2.0 */
/* The x86 levels' entries in the table. Compiled for the baseline: it names kernels, and runs none. */
#include "kernels/levels.h"

void eff_kernels_init_avx2(EffKernels *k)
{
    k->pw_u8s8 = eff_pw_u8s8_4x24_avx2;
    k->dw_u8s8 = eff_dw_u8s8_8x8_avx2;
    k->dw_s16 = eff_dw_s16_avx2;
    k->fc_s16 = eff_fc_s16_avx2;
    k->fc_epilogue = eff_fc_epilogue_avx2;
    k->quant_s16u8 = eff_quant_s16u8_avx2;
    k->add_s16 = eff_add_s16_avx2;
    k->pool_s16 = eff_pool_s16_avx2;
    k->pool_u8 = eff_pool_u8_avx2;
    k->peak = eff_peak_avx2;
}

void eff_kernels_init_avxvnni(EffKernels *k)
{
    k->pw_u8s8 = eff_pw_u8s8_4x24_avxvnni;
    k->dw_u8s8 = eff_dw_u8s8_8x8_avxvnni;
    k->peak = eff_peak_avxvnni;
}

void eff_kernels_init_avx512vl(EffKernels *k)
{
    k->pw_u8s8 = eff_pw_u8s8_4x24_avx512vl;
    k->dw_u8s8 = eff_dw_u8s8_8x8_avx512vl;
    k->peak = eff_peak_avx512vl;
}

void eff_kernels_init_avx512vnni(EffKernels *k)
{
    k->pw_u8s8 = eff_pw_u8s8_12x32_avx512vnni;
    k->dw_u8s8 = eff_dw_u8s8_4x16_avx512vnni;
    k->dw_s16 = eff_dw_s16_avx512vnni;
    k->fc_s16 = eff_fc_s16_avx512vnni;
    k->fc_epilogue = eff_fc_epilogue_avx512vnni;
    k->quant_s16u8 = eff_quant_s16u8_avx512vnni;
    k->add_s16 = eff_add_s16_avx512vnni;
    k->pool_s16 = eff_pool_s16_avx512vnni;
    k->pool_u8 = eff_pool_u8_avx512vnni;
#ifndef EFF_EMULATE_AVX512
    k->peak = eff_peak_avx512vnni;
#endif
}

void eff_kernels_init_avx512vbmi(EffKernels *k)
{
    k->pw_u8s8 = eff_pw_u8s8_12x32_avx512vbmi;
    k->dw_u8s8 = eff_dw_u8s8_4x16_avx512vbmi;
}

void eff_kernels_init_avx512amx(EffKernels *k)
{
    eff_join_fn *join = k->pw_u8s8.join;
    k->pw_u8s8 = eff_pw_u8s8_32x32_avx512amx;
    k->pw_u8s8.join = join;
}

void eff_kernels_init_f32_avx2(EffKernelsF32 *k)
{
    *k = (EffKernelsF32){.pw = eff_pw_f32_4x24_avx2,
                         .dw = eff_dw_f32_avx2,
                         .act = eff_act_f32_avx2,
                         .add = eff_add_f32_avx2,
                         .gate = eff_gate_f32_avx2,
                         .mean = eff_mean_f32_avx2};
}

void eff_kernels_init_f32_avx128(EffKernelsF32 *k)
{
    k->pw = eff_pw_f32_3x16_avx128;
}

void eff_kernels_init_f32_avx512(EffKernelsF32 *k)
{
    *k = (EffKernelsF32){.pw = eff_pw_f32_6x64_avx512,
                         .dw = eff_dw_f32_avx512,
                         .act = eff_act_f32_avx512,
                         .add = eff_add_f32_avx512,
                         .gate = eff_gate_f32_avx512,
                         .mean = eff_mean_f32_avx512};
}
