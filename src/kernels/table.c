/* SPDX-License-Identifier: Apache-2.0 */
/* Fills the kernel table, lowest level first. */
#include "kernels/table.h"
#include "base/compiler.h"
#include "base/cpu.h"
#include "kernels/levels.h"

void eff_kernels_init(EffKernels *k, unsigned cpu)
{
    eff_kernels_init_c(k);
    (void)cpu;
}
