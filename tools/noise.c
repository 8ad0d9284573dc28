/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What disturbs a measurement leaves traces: time that the hypervisor took (steal), CPUs that others keep busy, context
 * switches that this process did not ask for, and a loop of known length that takes longer at times (a neighbour on the
 * same core, an interrupt) or from some moment on (the clock).
 */
#define _GNU_SOURCE /* getrusage's ru_nivcsw, sysconf's _SC_NPROCESSORS_ONLN */
#include "noise.h"

#include "base/compiler.h"
#include "base/mem.h"
#include "base/threads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SPIN_ADDS = 100000, SPINS_AT_A_TIME = 16, MAX_SPINS = 4096 };

/* Above these a number is not to be trusted to a few percent. */
static const double max_steal_percent = 1, max_missing_cpus = 0.25, max_switches_per_s = 25, max_spin_spread = 1.05,
                    max_clock_drift = 1.03, max_round_spread = 1.05;

struct NoiseWatch {
    double started, own_seconds;
    long switches;
    CpuTicks ticks;
    bool has_ticks;
    double spins[MAX_SPINS];
    int n_spins;
};

bool noise_parse_ticks(CpuTicks *out, const char *text)
{
    uint64_t t[8] = {0}; /* user nice system idle iowait irq softirq steal */
    if (strncmp(text, "cpu ", 4) != 0 ||
        sscanf(text + 4, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
               &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) < 4)
        return false;
    *out = (CpuTicks){.busy = t[0] + t[1] + t[2] + t[5] + t[6] + t[7], .steal = t[7]};
    out->total = out->busy + t[3] + t[4];
    return true;
}

static bool read_ticks(CpuTicks *out)
{
    char text[512];
    FILE *file = fopen("/proc/stat", "r");
    if (file == NULL)
        return false;
    const bool ok = fgets(text, sizeof text, file) != NULL && noise_parse_ticks(out, text);
    fclose(file);
    return ok;
}

static void add_reason(NoiseReasons *r, const char *what, double value, const char *unit, const char *remedy)
{
    if (r->n < NOISE_MAX_REASONS)
        snprintf(r->text[r->n++], NOISE_REASON_BYTES, "%s %.3g%s; %s", what, value, unit, remedy);
}

void noise_judge(NoiseReasons *out, const NoiseFacts *f)
{
    *out = (NoiseReasons){0};
    const double missing = f->other_cpus + f->n_used - f->n_cpus;
    if (f->steal_percent > max_steal_percent)
        add_reason(out, "the hypervisor took", f->steal_percent, " % of the CPU time",
                   "measure on a machine of your own, or at another time");
    if (f->has_ticks && missing > max_missing_cpus)
        add_reason(out, "other processes used", f->other_cpus, " CPUs that the measured threads needed",
                   "stop them, or use fewer threads");
    if (f->switches_per_s > max_switches_per_s)
        add_reason(out, "the process was interrupted", f->switches_per_s, " times a second",
                   "stop other processes, or use fewer threads");
    if (f->spin_spread > max_spin_spread)
        add_reason(out, "a loop of fixed length varies by", 100 * (f->spin_spread - 1), " %",
                   "something shares the core");
    if (f->clock_drift > max_clock_drift)
        add_reason(out, "the clock changed by", 100 * (f->clock_drift - 1), " % meanwhile",
                   "fix the frequency, or measure longer");
    if (f->round_spread > max_round_spread)
        add_reason(out, "rounds differ by", 100 * (f->round_spread - 1), " %", "measure longer with --seconds");
}

static double own_seconds(long *switches)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    *switches = u.ru_nivcsw;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

NoiseWatch *noise_start(void)
{
    NoiseWatch *w = eff_calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->has_ticks = read_ticks(&w->ticks);
    w->own_seconds = own_seconds(&w->switches);
    w->started = eff_now();
    return w;
}

static void fixed_loop(void)
{
    uint64_t x = 0;
    for (int i = 0; i < SPIN_ADDS / 8; i++)
        EFF_DEPENDENT_ADDS_8(x);
}

void noise_spin(NoiseWatch *w)
{
    for (int i = 0; i < SPINS_AT_A_TIME && w->n_spins < MAX_SPINS; i++) {
        const double start = eff_now();
        fixed_loop();
        w->spins[w->n_spins++] = eff_now() - start;
    }
}

static double least(const double *values, int n)
{
    double min = values[0];
    for (int i = 1; i < n; i++)
        min = values[i] < min ? values[i] : min;
    return min;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

void noise_stop(NoiseWatch *w, NoiseFacts *out)
{
    CpuTicks now;
    long switches;
    const double seconds = eff_now() - w->started, own = own_seconds(&switches) - w->own_seconds;
    const long n_cpus = sysconf(_SC_NPROCESSORS_ONLN), hz = sysconf(_SC_CLK_TCK);
    *out = (NoiseFacts){.n_cpus = n_cpus > 0 ? (int)n_cpus : 1, .spin_spread = 1, .clock_drift = 1, .round_spread = 1};
    out->has_ticks = w->has_ticks && hz > 0 && seconds > 0 && read_ticks(&now) && now.total > w->ticks.total;
    if (out->has_ticks) {
        const double busy = (double)(now.busy - w->ticks.busy) / (double)hz;
        out->steal_percent = 100 * (double)(now.steal - w->ticks.steal) / (double)(now.total - w->ticks.total);
        out->other_cpus = busy > own ? (busy - own) / seconds : 0;
    }
    out->switches_per_s = seconds > 0 ? (double)(switches - w->switches) / seconds : 0;
    if (w->n_spins < 3)
        return;
    const int third = w->n_spins / 3;
    double fastest = least(w->spins, third), slowest = fastest;
    for (int i = 1; i < 3; i++) {
        const double t = least(w->spins + i * third, third);
        fastest = t < fastest ? t : fastest;
        slowest = t > slowest ? t : slowest;
    }
    out->clock_drift = slowest / fastest;
    qsort(w->spins, (size_t)w->n_spins, sizeof *w->spins, compare_doubles);
    out->spin_spread = w->spins[w->n_spins * 9 / 10] / w->spins[0];
}

void noise_free(NoiseWatch *w)
{
    eff_free(w);
}

void machine_cpu_model(char *name, size_t size)
{
    char line[256];
    snprintf(name, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(name, size, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    fclose(file);
}

uint64_t machine_peak_bytes(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0 || u.ru_maxrss < 0)
        return 0;
    return (uint64_t)u.ru_maxrss * 1024; /* Linux counts KiB */
}
