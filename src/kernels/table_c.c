/* SPDX-License-Identifier: Apache-2.0 */
/* The plain C level: fills every entry. */
#include "kernels/levels.h"

void eff_kernels_init_c(EffKernels *k)
{
    *k = (EffKernels){
        .pw_u8s8 = eff_pw_u8s8_c,
        .dw_u8s8 = eff_dw_u8s8_c,
        .dw_s16 = eff_dw_s16_c,
        .fc_s16 = eff_fc_s16_c,
        .fc_epilogue = eff_fc_epilogue_c,
        .quant_s16u8 = eff_quant_s16u8_c,
        .add_s16 = eff_add_s16_c,
        .pool_s16 = eff_pool_s16_c,
        .pool_u8 = eff_pool_u8_c,
        .f32 = {.pw = eff_pw_f32_4x8_c,
                .dw = eff_dw_f32_c,
                .act = eff_act_f32_c,
                .add = eff_add_f32_c,
                .gate = eff_gate_f32_c,
                .mean = eff_mean_f32_c},
    };
}
