/* SPDX-License-Identifier: Apache-2.0 */
/* Internal: each CPU level's entry into the table, and the plain C kernels, which are also the reference of kcheck. */
#ifndef EFF_KERNELS_LEVELS_H
#define EFF_KERNELS_LEVELS_H

#include "kernels/table.h"

extern const EffPwKernel eff_pw_u8s8_c;
extern const EffDwKernel eff_dw_u8s8_c;
extern const EffFcKernel eff_fc_s16_c;
eff_dw_s16_fn eff_dw_s16_c;
eff_join_fn eff_join_c;
eff_fc_epilogue_fn eff_fc_epilogue_c;
eff_quant_fn eff_quant_s16u8_c;
eff_add_s16_fn eff_add_s16_c;
eff_pool_s16_fn eff_pool_s16_c;
eff_pool_u8_fn eff_pool_u8_c;
extern const EffPwF32Kernel eff_pw_f32_4x8_c;
eff_dw_f32_fn eff_dw_f32_c;
eff_act_f32_fn eff_act_f32_c;
eff_add_f32_fn eff_add_f32_c;
eff_gate_f32_fn eff_gate_f32_c;
eff_mean_f32_fn eff_mean_f32_c;

void eff_kernels_init_c(EffKernels *k);

/* x86: these symbols exist on that architecture only. */
extern const EffPwKernel eff_pw_u8s8_4x24_avx2, eff_pw_u8s8_4x24_avxvnni, eff_pw_u8s8_4x24_avx512vl;
extern const EffDwKernel eff_dw_u8s8_8x8_avx2, eff_dw_u8s8_8x8_avxvnni, eff_dw_u8s8_8x8_avx512vl;
eff_dw_s16_fn eff_dw_s16_avx2;
extern const EffFcKernel eff_fc_s16_avx2;
eff_fc_epilogue_fn eff_fc_epilogue_avx2;
eff_quant_fn eff_quant_s16u8_avx2;
eff_add_s16_fn eff_add_s16_avx2;
eff_pool_s16_fn eff_pool_s16_avx2;
eff_pool_u8_fn eff_pool_u8_avx2;

extern const EffPwKernel eff_pw_u8s8_12x32_avx512vnni, eff_pw_u8s8_12x32_avx512vbmi, eff_pw_u8s8_32x32_avx512amx;
extern const EffDwKernel eff_dw_u8s8_4x16_avx512vnni, eff_dw_u8s8_4x16_avx512vbmi;
eff_dw_s16_fn eff_dw_s16_avx512vnni;
extern const EffFcKernel eff_fc_s16_avx512vnni;
eff_fc_epilogue_fn eff_fc_epilogue_avx512vnni;
eff_quant_fn eff_quant_s16u8_avx512vnni;
eff_add_s16_fn eff_add_s16_avx512vnni;
eff_pool_s16_fn eff_pool_s16_avx512vnni;
eff_pool_u8_fn eff_pool_u8_avx512vnni;

eff_peak_fn eff_peak_avx2, eff_peak_avxvnni, eff_peak_avx512vl, eff_peak_avx512vnni;

extern const EffPwF32Kernel eff_pw_f32_3x16_avx128, eff_pw_f32_4x24_avx2, eff_pw_f32_6x64_avx512;
eff_dw_f32_fn eff_dw_f32_avx2, eff_dw_f32_avx512;
eff_act_f32_fn eff_act_f32_avx2, eff_act_f32_avx512;
eff_add_f32_fn eff_add_f32_avx2, eff_add_f32_avx512;
eff_gate_f32_fn eff_gate_f32_avx2, eff_gate_f32_avx512;
eff_mean_f32_fn eff_mean_f32_avx2, eff_mean_f32_avx512;

void eff_kernels_init_f32_avx2(EffKernelsF32 *k);
void eff_kernels_init_f32_avx128(EffKernelsF32 *k);
void eff_kernels_init_f32_avx512(EffKernelsF32 *k);
void eff_kernels_init_avx2(EffKernels *k);
void eff_kernels_init_avxvnni(EffKernels *k);
void eff_kernels_init_avx512vl(EffKernels *k);
void eff_kernels_init_avx512vnni(EffKernels *k);
void eff_kernels_init_avx512vbmi(EffKernels *k);
void eff_kernels_init_avx512amx(EffKernels *k);

#endif
