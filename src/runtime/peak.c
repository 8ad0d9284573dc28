/* SPDX-License-Identifier: Apache-2.0 */
/* What one core can do at most: the clock from a chain of dependent additions, the rest from the kernels' own peak
 * loop. */
#include "base/compiler.h"
#include "base/cpu.h"
#include "base/threads.h"
#include "effnet/runtime.h"
#include "kernels/table.h"

enum { ROUNDS = 12, CHAIN = 200000, PEAK_OPS = 240000 };

static void chain(void)
{
    uint64_t x = 0;
    for (int i = 0; i < CHAIN / 8; i++)
        EFF_DEPENDENT_ADDS_8(x);
}

EffStatus eff_cpu_peak(EffPeak *out, const char *cpu)
{
    EffKernels k;
    unsigned flags;
    double best_chain = 1e9, best_peak = 1e9;
    const EffStatus st = eff_cpu_level_find(&flags, cpu != NULL ? cpu : "auto");
    if (st != EFF_OK)
        return st;
    eff_kernels_init(&k, flags);
    for (int i = 0; i < ROUNDS; i++) { /* the fastest counts: others share the machine */
        double at = eff_now();
        chain();
        double t = eff_now() - at;
        best_chain = t < best_chain ? t : best_chain;
        if (k.peak == NULL)
            continue;
        at = eff_now();
        k.peak(PEAK_OPS);
        t = eff_now() - at;
        best_peak = t < best_peak ? t : best_peak;
    }
    *out = (EffPeak){.hz = CHAIN / best_chain, .macs_per_s = k.peak != NULL ? PEAK_OPS * 64.0 / best_peak : 0};
    return EFF_OK;
}
