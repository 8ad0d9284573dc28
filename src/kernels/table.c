/* SPDX-License-Identifier: Apache-2.0 */
/* Fills the kernel table, lowest level first. */
#include "kernels/table.h"
#include "base/compiler.h"
#include "base/cpu.h"
#include "kernels/levels.h"

void eff_kernels_init(EffKernels *k, unsigned cpu)
{
    eff_kernels_init_c(k);
#if EFF_ARCH_X86_64
    if (cpu & EFF_CPU_AVX2) {
        eff_kernels_init_avx2(k);
        eff_kernels_init_f32_avx2(&k->f32);
    }
    if (cpu & EFF_CPU_YMM_HALVES)
        eff_kernels_init_f32_avx128(&k->f32);
    if (cpu & EFF_CPU_AVXVNNI)
        eff_kernels_init_avxvnni(k);
    if (cpu & EFF_CPU_AVX512VL)
        eff_kernels_init_avx512vl(k);
    if (cpu & EFF_CPU_AVX512VNNI) {
        eff_kernels_init_avx512vnni(k);
        eff_kernels_init_f32_avx512(&k->f32);
    }
    if (cpu & EFF_CPU_AVX512VBMI)
        eff_kernels_init_avx512vbmi(k);
    if (cpu & EFF_CPU_AVX512AMX)
        eff_kernels_init_avx512amx(k);
#else
    (void)cpu;
#endif
}
