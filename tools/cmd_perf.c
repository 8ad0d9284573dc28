/* SPDX-License-Identifier: Apache-2.0 */
/* effnet perf: how fast a model runs here. */
#include "commands.h"
#include "model.h"
#include "output.h"

#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_INPUTS = 4, N_CALIBRATION = 8, DEFAULT_SEED = 1 };

static const Option options[] = {
    {"int8", 0, NULL, "quantize the weights first (a .bin is what it is)", COMPLETES_NOTHING},
    {"random-init", 0, "SEED", "seed of the weights of a bare ARCH (default 1)", COMPLETES_NOTHING},
    {"threads", 't', "N", "threads for a picture (default: one a CPU)", COMPLETES_NOTHING},
    {"frames", 'f', "N", "runs that are timed (default 100)", COMPLETES_NOTHING},
    {"profile", 'p', NULL, "fastest time of each step, MACs a cycle, share of the VNNI peak", COMPLETES_NOTHING},
    {"json", 0, NULL, "one JSON object", COMPLETES_NOTHING},
    {0}};

typedef struct Timing {
    double *ms; /* sorted */
    int n;
    double mean, median, p90, p99, min, fps;
    uint64_t digest; /* of the logits of all inputs */
} Timing;

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    eff_synthetic_picture(pixels, *(const int *)ctx, 1000 + i);
    return EFF_OK;
}

/* A bare architecture runs with random weights, a name or file with its own; --int8 calibrates on synthetic pictures.
 */
static ExitCode build(const Args *a, const char *name, ModelSpec *spec, Model *m)
{
    int seed = DEFAULT_SEED;
    EffGraph *g = NULL;
    EffCompiled *c = NULL;
    if (!cli_int(a, "random-init", 0, 1 << 30, &seed))
        return EXIT_USAGE;
    const bool random = spec->file == NULL || cli_value(a, "random-init") != NULL;
    ExitCode code = EXIT_OK;
    EffStatus st = EFF_OK;
    if (random) {
        st = eff_graph_build(&g, &spec->arch);
        if (st == EFF_OK)
            st = eff_graph_randomize(g, (uint64_t)seed);
        if (st == EFF_OK)
            st = eff_graph_optimize(g);
    } else {
        code = model_load_graph(a, spec, &g);
    }
    if (st == EFF_OK && code == EXIT_OK) {
        int size = spec->arch.pre.size;
        const EffPictures pictures = {.n = N_CALIBRATION, .get = get_synthetic, .ctx = &size};
        const EffQuantizeOptions o = {.n_report = 1};
        st = cli_flag(a, "int8") ? eff_quantize(&c, g, &pictures, &o) : eff_compile_float(&c, g);
    }
    if (st != EFF_OK)
        code = cli_fail(a, st);
    if (code == EXIT_OK)
        code = model_from_compiled(m, a, c, name);
    eff_compiled_free(c);
    eff_graph_free(g);
    return code;
}

static uint64_t fnv1a(uint64_t hash, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Nearest-rank percentile of sorted times. */
static double percentile(const Timing *t, double p)
{
    const int rank = (int)ceil(p / 100 * t->n);
    return t->ms[rank > 0 ? rank - 1 : 0];
}

static void time_runs(Timing *t, EffSession *s, const EffModelInfo *info, uint8_t *const *inputs, float *logits)
{
    const double warm_until = eff_now() + 0.3;
    t->digest = 0xcbf29ce484222325u;
    for (int i = 0; i < N_INPUTS; i++) {
        eff_session_run(s, inputs[i], logits);
        t->digest = fnv1a(t->digest, logits, (size_t)info->n_classes * sizeof *logits);
    }
    for (int i = 0; eff_now() < warm_until; i++)
        eff_session_run(s, inputs[i % N_INPUTS], logits);
    const double started = eff_now();
    double at = started;
    for (int i = 0; i < t->n; i++) {
        eff_session_run(s, inputs[i % N_INPUTS], logits);
        const double now = eff_now();
        t->ms[i] = 1e3 * (now - at);
        at = now;
    }
    t->fps = t->n / (at - started);
    t->mean = 1e3 * (at - started) / t->n;
    qsort(t->ms, (size_t)t->n, sizeof *t->ms, compare_doubles);
    t->min = t->ms[0];
    t->median = t->n % 2 ? t->ms[t->n / 2] : 0.5 * (t->ms[t->n / 2 - 1] + t->ms[t->n / 2]);
    t->p90 = percentile(t, 90);
    t->p99 = percentile(t, 99);
}

/* ---- Profile ---- */

typedef struct Profile {
    const EffStepTime *steps;
    int n_steps;
    EffPeak peak;
} Profile;

static json_t *profile_json(const Profile *p)
{
    json_t *list = json_array();
    for (int i = 0; i < p->n_steps; i++) {
        const EffStepTime *s = &p->steps[i];
        const double seconds = s->best, cycles = seconds * p->peak.hz;
        json_array_append_new(list, json_pack("{s:s,s:s,s:f,s:I,s:f,s:f}", "name", s->name, "op", s->op, "ms",
                                              1e3 * seconds, "macs", (json_int_t)s->macs, "macs_per_cycle",
                                              cycles > 0 ? (double)s->macs / cycles : 0, "peak_share",
                                              seconds > 0 ? (double)s->macs / seconds / p->peak.macs_per_s : 0));
    }
    return list;
}

static void print_profile(const Profile *p)
{
    double total = 0;
    uint64_t macs = 0;
    for (int i = 0; i < p->n_steps; i++)
        total += p->steps[i].best;
    printf("\n%-46s %-9s %8s %6s %10s %8s\n", "step", "op", "ms", "%", "MAC/cycle", "% peak");
    for (int i = 0; i < p->n_steps; i++) {
        const EffStepTime *s = &p->steps[i];
        const double seconds = s->best, cycles = seconds * p->peak.hz;
        macs += s->macs;
        printf("%-46s %-9s %8.3f %6.1f", s->name, s->op, 1e3 * seconds, 100 * seconds / total);
        if (s->macs > 0)
            printf(" %10.1f %8.1f", (double)s->macs / cycles, 100 * (double)s->macs / seconds / p->peak.macs_per_s);
        putchar('\n');
    }
    printf("%-46s %-9s %8.3f %6.1f %10.1f %8.1f\n", "all steps", "", 1e3 * total, 100.0,
           (double)macs / (total * p->peak.hz), 100 * (double)macs / total / p->peak.macs_per_s);
    printf("fastest of the runs each; measured: clock %.2f GHz, one core's peak %.0f MAC/cycle with u8 x s8\n",
           p->peak.hz * 1e-9, p->peak.macs_per_s / p->peak.hz);
}

/* ---- The command ---- */

static ExitCode report(const Args *a, const Model *m, const Timing *t, const Profile *profile, int n_threads)
{
    const EffModelInfo *info = m->info;
    const char *type = info->is_int8 ? "int8" : "float32";
    if (cli_flag(a, "json")) {
        char digest[24];
        snprintf(digest, sizeof digest, "%016llx", (unsigned long long)t->digest);
        json_t *object =
            json_pack("{s:s,s:s,s:i,s:s,s:i,s:i,s:{s:f,s:f,s:f,s:f,s:f},s:f,s:I,s:s}", "model", m->title, "type", type,
                      "size", info->pre.size, "cpu", info->cpu, "threads", n_threads, "frames", t->n, "latency_ms",
                      "median", t->median, "p90", t->p90, "p99", t->p99, "mean", t->mean, "min", t->min, "fps", t->fps,
                      "arena_bytes", (json_int_t)info->arena_bytes, "logits_digest", digest);
        if (object != NULL && profile != NULL)
            json_object_set_new(object, "profile", profile_json(profile));
        return output_json(a, object);
    }
    printf("%s %s, %d x %d, cpu level %s, %d thread%s, %d frames\n", m->title, type, info->pre.size, info->pre.size,
           info->cpu, n_threads, n_threads == 1 ? "" : "s", t->n);
    printf("  latency ms   median %.3f   p90 %.3f   p99 %.3f   min %.3f\n", t->median, t->p90, t->p99, t->min);
    printf("  throughput   %.1f images/s\n", t->fps);
    if (profile != NULL)
        print_profile(profile);
    return output_flush(a);
}

static ExitCode measure(const Args *a, const Model *m, int n_threads, int n_frames)
{
    const size_t n_bytes = (size_t)m->info->pre.size * (size_t)m->info->pre.size * 3;
    EffSession *s = NULL;
    uint8_t *inputs[N_INPUTS] = {NULL};
    float *logits = eff_calloc((size_t)m->info->n_classes, sizeof *logits);
    Timing t = {.n = n_frames, .ms = eff_calloc((size_t)n_frames, sizeof *t.ms)};
    EffStatus st = eff_session_create(&s, m->model, n_threads);
    if (st == EFF_OK && (logits == NULL || t.ms == NULL))
        st = eff_fail_nomem(n_bytes, "the measurement");
    for (int i = 0; i < N_INPUTS && st == EFF_OK; i++) {
        inputs[i] = eff_malloc(n_bytes);
        if (inputs[i] == NULL)
            st = eff_fail_nomem(n_bytes, "pictures");
        else
            eff_synthetic_picture(inputs[i], m->info->pre.size, (uint64_t)i);
    }
    Profile profile = {0};
    if (st == EFF_OK) {
        time_runs(&t, s, m->info, inputs, logits);
        if (cli_flag(a, "profile") && (st = eff_session_profile(s)) == EFF_OK) {
            for (int i = 0; i < n_frames; i++)
                eff_session_run(s, inputs[i % N_INPUTS], logits);
            profile = (Profile){.steps = eff_session_times(s), .n_steps = m->info->n_steps};
            st = eff_cpu_peak(&profile.peak, m->info->cpu);
        }
    }
    const ExitCode code = st == EFF_OK ? report(a, m, &t, profile.steps != NULL ? &profile : NULL,
                                                n_threads > 0 ? n_threads : eff_cpu_count())
                                       : cli_fail(a, st);
    for (int i = 0; i < N_INPUTS; i++)
        eff_free(inputs[i]);
    eff_free(logits);
    eff_free(t.ms);
    eff_session_destroy(s);
    return code;
}

static ExitCode run(const Args *a)
{
    int n_threads = 0, n_frames = 100;
    if (!cli_int(a, "threads", 1, 256, &n_threads) || !cli_int(a, "frames", 1, 1000000, &n_frames))
        return EXIT_USAGE;
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    const char *name = a->n_words > 0 ? a->words[0] : NULL;
    ModelSpec spec;
    Model m = {0};
    ExitCode code = model_find(a, name, &spec);
    if (code == EXIT_OK)
        code = spec.is_bin ? model_open(&m, a, name) : build(a, name != NULL ? name : spec.arch.name, &spec, &m);
    if (code == EXIT_OK) {
        code = measure(a, &m, n_threads, n_frames);
        model_close(&m);
    }
    model_spec_free(&spec);
    return code;
}

const Command cmd_perf = {
    .name = "perf",
    .args = "[MODEL|ARCH]",
    .summary = "measure speed",
    .details = "A bare ARCH runs with seeded random weights: speed needs no trained ones.",
    .options = {options, cpu_option, model_options},
    .examples = {"effnet perf efficientnet-b0 --int8 --size 224 --threads 1", "effnet perf lite0.bin --profile"},
    .completes = COMPLETES_MODEL,
    .run = run,
};
