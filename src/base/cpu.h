/* SPDX-License-Identifier: Apache-2.0 */
/* What this CPU can run, and the named levels that a user may choose from. */
#ifndef EFF_BASE_CPU_H
#define EFF_BASE_CPU_H

#include "effnet/base.h"

#include <stddef.h>

/** Features that kernels are written for. A set bit says that the CPU has it and that the OS saves its registers. The
 *  last one is no feature, but a hint. */
enum {
    EFF_CPU_AVX2 = 1u << 0,       /**< AVX2 and FMA */
    EFF_CPU_AVXVNNI = 1u << 1,    /**< vpdpbusd on ymm in VEX encoding */
    EFF_CPU_AVX512VL = 1u << 2,   /**< vpdpbusd on ymm in EVEX encoding; the CPU has what AVX512VNNI needs too */
    EFF_CPU_AVX512VNNI = 1u << 3, /**< AVX-512 F, BW, DQ, VL and VNNI */
    EFF_CPU_AVX512VBMI = 1u << 4, /**< AVX-512 VBMI and VBMI2 */
    EFF_CPU_AVX512AMX =
        1u << 5, /**< AMX tiles of bytes, beside AVX512VBMI; the OS grants them to a process that asks */
    EFF_CPU_YMM_HALVES = 1u << 8 /**< runs a 256-bit instruction as two of 128 bits */
};

/** The features of this machine; 0 where only plain C runs. Cheap, and the same at every call. */
unsigned eff_cpu_detect(void);

/**
 * Look a level up by name: c, avx2, avxvnni, avx512vl, avx512vnni, avx512vbmi, avx512amx. A level includes those before
 * it in that list, except that none after it needs avxvnni (Zen 4 and Cascade Lake lack it).
 *
 * avx512vl is there for tests alone: the code of avxvnni in another encoding, so that CPUs without AVX-VNNI can check
 * it. Whatever can run it is faster at avx512vnni, which "auto" takes.
 *
 * @param flags  receives the features of the level that this CPU has: a mask for eff_kernels_init(). "auto" gives
 *               all that eff_cpu_detect() found.
 * @return EFF_OK; EFF_ERR_ARG for an unknown name; EFF_ERR_UNSUPPORTED when this CPU lacks the level. The message lists
 *         the names and what this CPU has.
 */
EffStatus eff_cpu_level_find(unsigned *flags, const char *name);

/** Name of the highest level within `flags`: "c" for 0. Static storage. */
const char *eff_cpu_level_name(unsigned flags);

/** The level names, lowest first; NULL from n = number of levels on. */
const char *eff_cpu_level_at(size_t n);

#endif
