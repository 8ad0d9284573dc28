/* SPDX-License-Identifier: Apache-2.0 */
/* Can this machine be trusted while it measures? */
#ifndef EFFNET_TOOLS_NOISE_H
#define EFFNET_TOOLS_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CPU time of the whole machine so far, in ticks: the first line of /proc/stat. */
typedef struct CpuTicks {
    uint64_t busy, steal, total; /* busy: user, nice, system, irq, softirq, steal */
} CpuTicks;

/* From the text of /proc/stat; false when it is none. */
bool noise_parse_ticks(CpuTicks *out, const char *text);

/* What was seen while something ran. */
typedef struct NoiseFacts {
    bool has_ticks;        /* /proc/stat could be read; the next two are 0 otherwise */
    double steal_percent;  /* of the machine's CPU time, taken by its hypervisor */
    double other_cpus;     /* CPUs that others kept busy, on average */
    int n_cpus;            /* online */
    int n_used;            /* threads that were measured */
    double switches_per_s; /* involuntary context switches of this process */
    double spin_spread;    /* 90th percentile over minimum of a loop that takes the same cycles each time */
    double clock_drift;    /* largest over smallest of that loop's fastest time in thirds of the run */
    double round_spread;   /* largest over smallest median of the rounds, the slowest fifth left out */
} NoiseFacts;

enum { NOISE_MAX_REASONS = 6, NOISE_REASON_BYTES = 160 };

/* Why not to trust the numbers; n is 0 when nothing speaks against it. */
typedef struct NoiseReasons {
    int n;
    char text[NOISE_MAX_REASONS][NOISE_REASON_BYTES];
} NoiseReasons;

void noise_judge(NoiseReasons *out, const NoiseFacts *facts);

typedef struct NoiseWatch NoiseWatch;

/* Start watching; NULL when memory is short. */
NoiseWatch *noise_start(void);
/* Time the calibrated loop some times: between rounds, while nothing else of this process runs. */
void noise_spin(NoiseWatch *w);
/* What was seen since the start; n_used and round_spread are the caller's. */
void noise_stop(NoiseWatch *w, NoiseFacts *out);
void noise_free(NoiseWatch *w);

/* "AMD EPYC 7551" of /proc/cpuinfo, into `name`; "unknown" where it does not say. */
void machine_cpu_model(char *name, size_t size);
/* Largest memory of this process so far, in bytes; 0 where the system does not say. */
uint64_t machine_peak_bytes(void);

#endif
