/* SPDX-License-Identifier: Apache-2.0 */
/* CPU detection by CPUID and XGETBV: an instruction set counts only when the OS saves its registers. */
#define _GNU_SOURCE /* syscall() */
#include "base/cpu.h"
#include "base/compiler.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if EFF_ARCH_X86_64
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

typedef struct Level {
    const char *name;
    unsigned needs; /* the bit of the level itself; lower ones follow in the table */
    unsigned optional;
} Level;

static const Level levels[] = {
    {"c", 0, 0},
    {"avx2", EFF_CPU_AVX2, EFF_CPU_YMM_HALVES},
    {"avxvnni", EFF_CPU_AVX2 | EFF_CPU_AVXVNNI, 0},
    {"avx512vl", EFF_CPU_AVX2 | EFF_CPU_AVX512VL, EFF_CPU_AVXVNNI},
    {"avx512vnni", EFF_CPU_AVX2 | EFF_CPU_AVX512VNNI, EFF_CPU_AVXVNNI | EFF_CPU_AVX512VL},
    {"avx512vbmi", EFF_CPU_AVX2 | EFF_CPU_AVX512VNNI | EFF_CPU_AVX512VBMI, EFF_CPU_AVXVNNI | EFF_CPU_AVX512VL},
    {"avx512amx", EFF_CPU_AVX2 | EFF_CPU_AVX512VNNI | EFF_CPU_AVX512VBMI | EFF_CPU_AVX512AMX,
     EFF_CPU_AVXVNNI | EFF_CPU_AVX512VL},
};

#if EFF_ARCH_X86_64
/* XCR0, the register sets that the OS saves. By its bytes, so that this file needs no -mxsave. */
static unsigned saved_state(void)
{
    unsigned lo, hi;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

static bool has(unsigned reg, unsigned mask)
{
    return (reg & mask) == mask;
}

/* AMD before Zen 2, and its licensee. */
static bool splits_ymm(void)
{
    unsigned max, b, c, d, signature;
    char vendor[12];
    if (!__get_cpuid(0, &max, &b, &c, &d) || !__get_cpuid(1, &signature, &max, &max, &max))
        return false;
    memcpy(vendor, &b, 4);
    memcpy(vendor + 4, &d, 4);
    memcpy(vendor + 8, &c, 4);
    const unsigned base = signature >> 8 & 15, family = base == 15 ? base + (signature >> 20 & 255) : base;
    const unsigned model = (signature >> 16 & 15) << 4 | (signature >> 4 & 15);
    if (memcmp(vendor, "HygonGenuine", sizeof vendor) == 0)
        return family == 0x18;
    return memcmp(vendor, "AuthenticAMD", sizeof vendor) == 0 && (family < 0x17 || (family == 0x17 && model < 0x30));
}

/* Tile registers are 8 KiB that Linux saves only for a process that has asked (5.16 and later). */
static bool tiles_granted(void)
{
#ifdef __linux__
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

unsigned eff_cpu_detect(void)
{
    enum { XMM_YMM = 0x6, OPMASK_ZMM = 0xe0, TILES = 0x60000, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 };
    unsigned a, b, c, d, flags = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE | bit_AVX | bit_FMA))
        return 0;
    const unsigned state = saved_state();
    unsigned b7, c7, d7, a71 = 0;
    if (!has(state, XMM_YMM) || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) || !has(b7, bit_AVX2))
        return 0;
    flags |= EFF_CPU_AVX2 | (splits_ymm() ? EFF_CPU_YMM_HALVES : 0u);
    if (a >= 1)
        __get_cpuid_count(7, 1, &a71, &b, &c, &d);
    if (has(a71, 1u << 4)) /* AVX-VNNI */
        flags |= EFF_CPU_AVXVNNI;
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if (has(state, XMM_YMM | OPMASK_ZMM) && has(b7, avx512) && has(c7, bit_AVX512VNNI)) {
        flags |= EFF_CPU_AVX512VL | EFF_CPU_AVX512VNNI;
        if (has(c7, bit_AVX512VBMI | bit_AVX512VBMI2))
            flags |= EFF_CPU_AVX512VBMI;
        if (has(flags, EFF_CPU_AVX512VBMI) && has(state, TILES) && has(d7, AMX_TILE | AMX_INT8) && tiles_granted())
            flags |= EFF_CPU_AVX512AMX;
    }
#ifdef EFF_EMULATE_AVX512
    flags |= EFF_CPU_AVX512VNNI | EFF_CPU_AVX512VBMI | EFF_CPU_AVX512AMX; /* kernels/x86/avx512.h, amx.h */
#endif
    return flags;
}
#else
unsigned eff_cpu_detect(void)
{
    return 0;
}
#endif

const char *eff_cpu_level_at(size_t n)
{
    return n < EFF_COUNT(levels) ? levels[n].name : NULL;
}

const char *eff_cpu_level_name(unsigned flags)
{
    size_t i = EFF_COUNT(levels) - 1;
    while ((flags & levels[i].needs) != levels[i].needs)
        i--;
    return levels[i].name;
}

/* "c avx2 ..." of the levels within `flags`. */
static void list_levels(char *text, size_t size, unsigned flags)
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < EFF_COUNT(levels) && len < size; i++) {
        if ((flags & levels[i].needs) == levels[i].needs)
            len += (size_t)snprintf(text + len, size - len, "%s%s", len ? ", " : "", levels[i].name);
    }
}

EffStatus eff_cpu_level_find(unsigned *flags, const char *name)
{
    const unsigned cpu = eff_cpu_detect();
    char all[96], have[96];
    if (strcmp(name, "auto") == 0) {
        *flags = cpu;
        return EFF_OK;
    }
    list_levels(all, sizeof all, ~0u);
    list_levels(have, sizeof have, cpu);
    for (size_t i = 0; i < EFF_COUNT(levels); i++) {
        if (strcmp(name, levels[i].name) != 0)
            continue;
        if ((cpu & levels[i].needs) != levels[i].needs)
            return eff_fail(EFF_ERR_UNSUPPORTED, "CPU level '%s': this CPU lacks it; it has %s", name, have);
        *flags = cpu & (levels[i].needs | levels[i].optional);
        return EFF_OK;
    }
    return eff_fail(EFF_ERR_ARG, "CPU level '%s' is unknown; use auto or one of %s (this CPU has %s)", name, all, have);
}
