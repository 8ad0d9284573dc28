/* SPDX-License-Identifier: Apache-2.0 */
/* The most that the dot-product units can do on ymm registers, in EVEX encoding: twelve independent sums, operands in
 * registers. */
#include "kernels/levels.h"

void eff_peak_avx512vl(long n_ops)
{
    /* 32 multiply-accumulates each. */
#define D(n) "%{evex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #n "\n"
    for (long i = 0; i < n_ops / 6; i++)
        __asm__ volatile(D(0) D(1) D(2) D(3) D(4) D(5) D(6) D(7) D(8) D(9) D(10) D(11)
                         :
                         :
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11");
#undef D
}
