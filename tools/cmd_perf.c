/* SPDX-License-Identifier: Apache-2.0 */
/* effnet perf: how fast a model runs here, whether the answer is right, and whether the machine is to be trusted. */
#include "commands.h"
#include "model.h"
#include "noise.h"
#include "output.h"
#include "regress.h"
#include "timing.h"

#include "base/cpu.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"

#include <math.h>
#include <string.h>

enum { N_CALIBRATION = 8, DEFAULT_SEED = 1, MAX_WORKLOADS = 3, MAX_REPORT_BYTES = 16 << 20 };

static const Option options[] = {
    {"int8", 0, NULL, "quantize the weights first (a .bin is what it is)", COMPLETES_NOTHING},
    {"random-init", 0, "SEED", "seed of the weights of a bare ARCH (default 1)", COMPLETES_NOTHING},
    {"threads", 't', "N", "threads for a picture (default: one a CPU, and beside it a single one)", COMPLETES_NOTHING},
    {"streams", 0, "N", "N pictures at once, each in a session of its own, of one thread unless --threads",
     COMPLETES_NOTHING},
    {"batch", 'b', "N", "times of N pictures that the threads share, one thread a picture", COMPLETES_NOTHING},
    {"frames", 'f', "N", "pictures, or batches, that are timed (default 100)", COMPLETES_NOTHING},
    {"seconds", 's', "S", "time for about S seconds instead", COMPLETES_NOTHING},
    {"compare", 0, "OLD.json", "exit with 3 when slower than this --json report beyond the noise", COMPLETES_FILE},
    {"no-check", 0, NULL, "do not run a picture in plain C to check the logits", COMPLETES_NOTHING},
    {"profile", 'p', NULL, "fastest time of each step, MACs a cycle, share of the peak", COMPLETES_NOTHING},
    {"unfused", 0, NULL, "run the steps one by one, every tensor whole in memory", COMPLETES_NOTHING},
    {"json", 0, NULL, "one JSON object; doc/perf.md has its keys", COMPLETES_NOTHING},
    {0}};

/* What a command line asks for. The first workload is the one whose numbers stand at the top of the report. */
typedef struct Plan {
    Workload works[MAX_WORKLOADS];
    int n;
    int n_frames;
    double seconds;
} Plan;

static const char *const work_keys[MAX_WORKLOADS] = {NULL, "single_thread", "throughput"};

/* Whether the logits are those of plain C. */
typedef enum CheckResult { CHECK_SKIPPED, CHECK_IDENTICAL, CHECK_DIFFERS } CheckResult;

typedef struct Check {
    CheckResult result;
    double difference; /* largest of a logit, as a share of the largest logit */
} Check;

/* A model to measure. */
typedef struct Subject {
    Model model;
    EffCompiled *compiled; /* NULL for a .bin */
    float *wanted;         /* logits of the first picture in plain C; NULL where they are not to be checked */
    bool has_seed;
    int seed;
} Subject;

typedef struct Profile {
    const EffStepTime *times;
    size_t n_times;
    EffPeak peak;
} Profile;

typedef struct Report {
    const Subject *subject;
    const Timing *timings[MAX_WORKLOADS];
    int n;
    uint64_t digest, peak_bytes;
    Check check;
    NoiseFacts facts;
    NoiseReasons reasons;
    const Profile *profile; /* NULL without */
    json_t *old;            /* of --compare; NULL without */
    char cpu_model[128];
} Report;

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    eff_synthetic_picture(pixels, *(const int *)ctx, 1000 + i);
    return EFF_OK;
}

/*
 * The first picture in plain C, from a .bin or a compiled model. It is run before the model is opened that is timed, so
 * that no two of them are in memory.
 */
static EffStatus run_plain(float **out, const char *file, const EffCompiled *compiled)
{
    EffModel *m = NULL;
    EffSession *session = NULL;
    uint8_t *pixels = NULL;
    float *logits = NULL;
    EffStatus st = compiled != NULL ? eff_compiled_model(&m, compiled, "c") : eff_model_open(&m, file, "c");
    if (st == EFF_OK)
        st = eff_session_create(&session, m, 0);
    if (st == EFF_OK) {
        const EffModelInfo *info = eff_model_info(m);
        const size_t n_bytes = (size_t)info->pre.size * (size_t)info->pre.size * 3;
        pixels = eff_malloc(n_bytes);
        logits = eff_calloc((size_t)info->n_classes, sizeof *logits);
        if (pixels == NULL || logits == NULL) {
            st = eff_fail_nomem(n_bytes, "a picture");
        } else {
            timing_picture(pixels, info->pre.size, 0);
            eff_session_run(session, pixels, logits);
        }
    }
    eff_session_destroy(session);
    eff_model_close(m);
    eff_free(pixels);
    if (st == EFF_OK)
        *out = logits;
    else
        eff_free(logits);
    return st;
}

/* A bare architecture runs with random weights, a name or file with its own; --int8 calibrates on synthetic pictures.
 */
static ExitCode build(const Args *a, const char *name, ModelSpec *spec, Subject *s)
{
    EffGraph *g = NULL;
    s->seed = DEFAULT_SEED;
    if (!cli_int(a, "random-init", 0, 1 << 30, &s->seed))
        return EXIT_USAGE;
    s->has_seed = spec->file == NULL || cli_value(a, "random-init") != NULL;
    ExitCode code = EXIT_OK;
    EffStatus st = EFF_OK;
    if (s->has_seed) {
        st = eff_graph_build(&g, &spec->arch);
        if (st == EFF_OK)
            st = eff_graph_randomize(g, (uint64_t)s->seed);
        if (st == EFF_OK)
            st = eff_graph_optimize(g);
    } else {
        spec->for_int8 = cli_flag(a, "int8");
        code = model_load_graph(a, spec, &g);
    }
    if (st == EFF_OK && code == EXIT_OK) {
        int size = spec->arch.pre.size;
        const EffPictures pictures = {.n = N_CALIBRATION, .get = get_synthetic, .ctx = &size};
        const EffQuantizeOptions o = {.n_report = 1, .no_gptq = 1}; /* speed does not depend on it */
        st = cli_flag(a, "int8") ? eff_quantize(&s->compiled, g, &pictures, &o) : eff_compile_float(&s->compiled, g);
    }
    if (st == EFF_OK && code == EXIT_OK && !cli_flag(a, "no-check"))
        st = run_plain(&s->wanted, NULL, s->compiled);
    if (st != EFF_OK)
        code = cli_fail(a, st);
    if (code == EXIT_OK)
        code = model_from_compiled(&s->model, a, s->compiled, name);
    eff_graph_free(g);
    return code;
}

static ExitCode open_bin(const Args *a, const char *name, const char *file, Subject *s)
{
    const EffStatus st = cli_flag(a, "no-check") ? EFF_OK : run_plain(&s->wanted, file, NULL);
    return st == EFF_OK ? model_open(&s->model, a, name) : cli_fail(a, st);
}

static void subject_free(Subject *s)
{
    eff_free(s->wanted);
    model_close(&s->model);
    eff_compiled_free(s->compiled);
}

/* ---- Is the answer right? ---- */

static Check check_logits(const Subject *s, const TimingInputs *inputs)
{
    const EffModelInfo *info = s->model.info;
    double largest = 0, difference = 0;
    for (int i = 0; i < info->n_classes; i++) {
        largest = fmax(largest, fabs((double)s->wanted[i]));
        difference = fmax(difference, fabs((double)s->wanted[i] - (double)inputs->logits[0][i]));
    }
    const bool same = memcmp(s->wanted, inputs->logits[0], (size_t)info->n_classes * sizeof *s->wanted) == 0;
    return (Check){.result = same ? CHECK_IDENTICAL : CHECK_DIFFERS,
                   .difference = difference > 0 ? difference / largest : 0};
}

static const char *check_name(CheckResult r)
{
    static const char *const names[] = {"skipped", "identical", "differs"};
    return names[r];
}

/* ---- Profile ---- */

/* Share of the machine's peak; 0 where that is not known. */
static double peak_share(const EffStepTime *s, const EffPeak *peak)
{
    return s->best > 0 && peak->macs_per_s > 0 ? (double)s->macs / s->best / peak->macs_per_s : 0;
}

static json_t *profile_json(const Profile *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->n_times; i++) {
        const EffStepTime *s = &p->times[i];
        const double seconds = s->best, cycles = seconds * p->peak.hz;
        json_t *names = json_array();
        for (int k = 0; k < s->n_steps; k++)
            json_array_append_new(names, json_string(s->names[k]));
        json_array_append_new(list, json_pack("{s:s,s:s,s:o,s:f,s:I,s:f,s:f}", "name", s->names[0], "op", s->op,
                                              "steps", names, "ms", 1e3 * seconds, "macs", (json_int_t)s->macs,
                                              "macs_per_cycle", cycles > 0 ? (double)s->macs / cycles : 0, "peak_share",
                                              peak_share(s, &p->peak)));
    }
    return list;
}

static void print_profile(const Profile *p)
{
    double total = 0;
    uint64_t macs = 0;
    for (size_t i = 0; i < p->n_times; i++)
        total += p->times[i].best;
    printf("\n%-46s %-11s %8s %6s %10s %8s\n", "step", "op", "ms", "%", "MAC/cycle", "% peak");
    for (size_t i = 0; i < p->n_times; i++) {
        const EffStepTime *s = &p->times[i];
        const double seconds = s->best, cycles = seconds * p->peak.hz;
        macs += s->macs;
        printf("%-46s %-11s %8.3f %6.1f", s->names[0], s->op, 1e3 * seconds, 100 * seconds / total);
        if (s->macs > 0)
            printf(" %10.1f %8.1f", (double)s->macs / cycles, 100 * peak_share(s, &p->peak));
        putchar('\n');
    }
    printf("%-46s %-11s %8.3f %6.1f %10.1f %8.1f\n", "all steps", "", 1e3 * total, 100.0,
           (double)macs / (total * p->peak.hz),
           100 * peak_share(&(EffStepTime){.macs = macs, .best = total}, &p->peak));
    printf("fastest of the runs each; steps joined by + run tile by tile, and stand under the name of the first;\n"
           "--unfused shows them one by one. Measured: clock %.2f GHz, one core's peak %.0f MAC/cycle with u8 x s8 in "
           "vectors\n",
           p->peak.hz * 1e-9, p->peak.macs_per_s / p->peak.hz);
}

/* ---- Against an older report ---- */

/* The workload's part of a report. */
static const json_t *work_of(const json_t *report, int i)
{
    return i == 0 ? report : json_object_get(report, work_keys[i]);
}

static ExitCode read_old(const Args *a, const Plan *plan, json_t **out)
{
    const char *path = cli_value(a, "compare");
    EffBytes bytes;
    if (path == NULL)
        return EXIT_OK;
    const EffStatus st = eff_file_read(&bytes, path, MAX_REPORT_BYTES);
    if (st != EFF_OK)
        return cli_fail(a, st);
    json_error_t error;
    json_t *old = json_loadb((const char *)bytes.data, bytes.size, 0, &error);
    eff_free(bytes.data);
    double times[64];
    if (old == NULL)
        return cli_fail(a, eff_fail(EFF_ERR_FORMAT, "%s:%d: not JSON (%s); give what 'effnet perf --json' printed",
                                    path, error.line, error.text));
    if (regress_rounds(times, old) == 0) {
        json_decref(old);
        return cli_fail(a, eff_fail(EFF_ERR_FORMAT,
                                    "%s: not a report of 'effnet perf' with at least 3 rounds; give what "
                                    "'effnet perf --json' printed",
                                    path));
    }
    const struct {
        const char *key;
        int ours;
    } rows[] = {{"threads", plan->works[0].n_threads},
                {"streams", plan->works[0].batch == 0 && plan->works[0].n_sessions > 1 ? plan->works[0].n_sessions : 0},
                {"batch", plan->works[0].batch}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const json_int_t theirs = json_integer_value(json_object_get(old, rows[i].key));
        if (theirs == rows[i].ours)
            continue;
        json_decref(old);
        return cli_usage(a, "%s was measured with %s %lld, this would be with %d; give the same options", path,
                         rows[i].key, (long long)theirs, rows[i].ours);
    }
    *out = old;
    return EXIT_OK;
}

typedef struct NamedChange {
    const char *name;
    Change change;
} NamedChange;

static int compare_all(NamedChange out[MAX_WORKLOADS], const Report *r, const json_t *now)
{
    int n = 0;
    for (int i = 0; i < r->n; i++) {
        double before[64], after[64];
        const int n_before = regress_rounds(before, work_of(r->old, i)),
                  n_after = regress_rounds(after, work_of(now, i));
        if (n_before == 0 || n_after == 0)
            continue;
        const bool is_rate = json_integer_value(json_object_get(work_of(now, i), "streams")) > 0;
        out[n++] = (NamedChange){.name = i == 1    ? "single-thread latency"
                                         : is_rate ? "throughput"
                                                   : "latency",
                                 .change = regress_times(before, n_before, after, n_after)};
    }
    return n;
}

static bool any_slower(const NamedChange *changes, int n)
{
    for (int i = 0; i < n; i++) {
        if (changes[i].change.verdict == VERDICT_SLOWER)
            return true;
    }
    return false;
}

static json_t *compare_json(const Args *a, const Report *r, const NamedChange *changes, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:f,s:f}", "what", changes[i].name, "verdict",
                                        verdict_name(changes[i].change.verdict), "time_ratio", changes[i].change.ratio,
                                        "noise_percent", changes[i].change.noise_percent));
    const char *cpu = json_string_value(json_object_get(r->old, "cpu_model"));
    return json_pack("{s:s,s:b,s:b,s:o}", "file", cli_value(a, "compare"), "slower", any_slower(changes, n), "same_cpu",
                     cpu != NULL && strcmp(cpu, r->cpu_model) == 0, "changes", list);
}

static void print_changes(const Args *a, const Report *r, const NamedChange *changes, int n)
{
    const char *cpu = json_string_value(json_object_get(r->old, "cpu_model"));
    printf("\nagainst %s%s\n", cli_value(a, "compare"),
           cpu == NULL || strcmp(cpu, r->cpu_model) != 0 ? ", which is of another CPU" : "");
    for (int i = 0; i < n; i++)
        printf("  %-22s %s: %.3f times the time; rounds spread over %.1f %%\n", changes[i].name,
               verdict_name(changes[i].change.verdict), changes[i].change.ratio, changes[i].change.noise_percent);
}

/* ---- The report ---- */

static json_t *rounds_json(const double *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real(values[i]));
    return list;
}

static int streams_of(const Workload *w)
{
    return w->batch == 0 && w->n_sessions > 1 ? w->n_sessions : 0;
}

/* The keys of a workload, added to an object. */
static void add_timing(json_t *object, const Timing *t)
{
    const TimeStats *s = &t->stats;
    json_object_set_new(object, "threads", json_integer(t->work.batch > 0 ? t->work.n_sessions : t->work.n_threads));
    json_object_set_new(object, "streams", json_integer(streams_of(&t->work)));
    json_object_set_new(object, "batch", json_integer(t->work.batch));
    json_object_set_new(object, "frames", json_integer(t->n_runs));
    json_object_set_new(object, "latency_ms",
                        json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:o}", "median", s->median, "p90", s->p90, "p99", s->p99,
                                  "p999", s->p999, "mean", s->mean, "min", s->min, "rounds",
                                  rounds_json(t->round_median, t->n_rounds)));
    json_object_set_new(object, "fps", json_real(t->rate));
    json_object_set_new(object, "fps_rounds", rounds_json(t->round_rate, t->n_rounds));
}

static json_t *trust_json(const Report *r)
{
    json_t *reasons = json_array();
    for (int i = 0; i < r->reasons.n; i++)
        json_array_append_new(reasons, json_string(r->reasons.text[i]));
    return json_pack("{s:s,s:o,s:f,s:f,s:f,s:f,s:f,s:f}", "level", r->reasons.n > 0 ? "low" : "high", "reasons",
                     reasons, "steal_percent", r->facts.steal_percent, "other_cpus", r->facts.other_cpus,
                     "involuntary_switches_per_s", r->facts.switches_per_s, "spin_spread", r->facts.spin_spread,
                     "clock_drift", r->facts.clock_drift, "round_spread", r->facts.round_spread);
}

static json_t *report_json(const Report *r)
{
    const EffModelInfo *info = r->subject->model.info;
    char digest[24];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)r->digest);
    json_t *object = json_pack(
        "{s:s,s:s,s:i,s:s,s:o,s:s,s:s,s:i}", "effnet", EFF_VERSION, "cpu_model", r->cpu_model, "cpus", eff_cpu_count(),
        "cpu", info->cpu, "seed", r->subject->has_seed ? json_integer(r->subject->seed) : json_null(), "model",
        r->subject->model.title, "type", info->is_int8 ? "int8" : "float32", "size", info->pre.size);
    if (object == NULL)
        return NULL;
    add_timing(object, r->timings[0]);
    for (int i = 1; i < r->n; i++) {
        json_t *part = json_object();
        add_timing(part, r->timings[i]);
        json_object_set_new(object, work_keys[i], part);
    }
    const EffSessionMemory memory = r->timings[0]->memory;
    json_object_set_new(object, "arena_bytes", json_integer((json_int_t)memory.arena_bytes));
    json_object_set_new(object, "scratch_bytes", json_integer((json_int_t)memory.scratch_bytes));
    json_object_set_new(object, "fused", json_boolean(!r->timings[0]->work.unfused));
    json_object_set_new(object, "peak_memory_bytes", json_integer((json_int_t)r->peak_bytes));
    json_object_set_new(object, "logits_digest", json_string(digest));
    json_object_set_new(
        object, "check",
        json_pack("{s:s,s:f}", "plain_c", check_name(r->check.result), "difference", r->check.difference));
    json_object_set_new(object, "trust", trust_json(r));
    if (r->profile != NULL)
        json_object_set_new(object, "profile", profile_json(r->profile));
    return object;
}

static const char *plural(int n)
{
    return n == 1 ? "" : "s";
}

static void print_timing(const Timing *t)
{
    const TimeStats *s = &t->stats;
    const Workload *w = &t->work;
    char name[64];
    if (w->batch > 0)
        snprintf(name, sizeof name, "batch of %d, %d thread%s", w->batch, w->n_sessions, plural(w->n_sessions));
    else if (w->n_sessions > 1)
        snprintf(name, sizeof name, "%d streams of %d thread%s", w->n_sessions, w->n_threads, plural(w->n_threads));
    else
        snprintf(name, sizeof name, "%d thread%s", w->n_threads, plural(w->n_threads));
    printf("  %-24s %8.3f %8.3f %8.3f %8.3f %8.3f %8.3f  %.1f images/s\n", name, s->median, s->p90, s->p99, s->p999,
           s->mean, s->min, t->rate);
}

static void print_report(const Report *r)
{
    const EffModelInfo *info = r->subject->model.info;
    const Timing *first = r->timings[0];
    printf("effnet %s on %s, %d CPU%s, level %s", EFF_VERSION, r->cpu_model, eff_cpu_count(), plural(eff_cpu_count()),
           info->cpu);
    if (r->subject->has_seed)
        printf(", weights of seed %d", r->subject->seed);
    printf("\n%s %s, %d x %d, %d %s in %d round%s\n", r->subject->model.title, info->is_int8 ? "int8" : "float32",
           info->pre.size, info->pre.size, first->n_runs, first->work.batch > 0 ? "batches" : "frames", first->n_rounds,
           plural(first->n_rounds));
    printf("  %-24s %8s %8s %8s %8s %8s %8s\n", "milliseconds", "median", "p90", "p99", "p99.9", "mean", "min");
    for (int i = 0; i < r->n; i++)
        print_timing(r->timings[i]);
    printf("  memory: activations %.2f MB and tiles %.2f MB a session, at most %.1f MB in all%s\n",
           1e-6 * (double)first->memory.arena_bytes, 1e-6 * (double)first->memory.scratch_bytes,
           1e-6 * (double)r->peak_bytes, first->work.unfused ? "; steps one by one" : "");
    printf("  logits: digest %016llx, ", (unsigned long long)r->digest);
    if (r->check.result == CHECK_IDENTICAL)
        printf("those of plain C bit for bit\n");
    else
        printf("%s\n", r->check.result == CHECK_SKIPPED ? "not checked" : "NOT those of plain C");
    printf("  trust: %s\n", r->reasons.n > 0 ? "low" : "high");
    for (int i = 0; i < r->reasons.n; i++)
        printf("    %s\n", r->reasons.text[i]);
    if (r->profile != NULL)
        print_profile(r->profile);
}

/* Prints the report; its exit code says whether the logits are right and --compare holds. */
static ExitCode report(const Args *a, const Report *r)
{
    json_t *object = report_json(r);
    NamedChange changes[MAX_WORKLOADS];
    const int n_changes = r->old != NULL && object != NULL ? compare_all(changes, r, object) : 0;
    if (r->old != NULL && object != NULL)
        json_object_set_new(object, "compare", compare_json(a, r, changes, n_changes));
    ExitCode code;
    if (cli_flag(a, "json") || object == NULL) {
        code = output_json(a, object);
    } else {
        print_report(r);
        if (r->old != NULL)
            print_changes(a, r, changes, n_changes);
        json_decref(object);
        code = output_flush(a);
    }
    bool stable = true;
    for (int i = 0; i < r->n; i++)
        stable = stable && r->timings[i]->stable;
    if (code == EXIT_OK && (r->check.result == CHECK_DIFFERS || !stable)) {
        fprintf(stderr, "effnet perf: the logits %s; these times are of a wrong answer, please report it\n",
                stable ? "differ from those of plain C" : "changed between runs of the same picture");
        return EXIT_GATE;
    }
    return code == EXIT_OK && any_slower(changes, n_changes) ? EXIT_GATE : code;
}

/* ---- The command ---- */

/* Largest over smallest round of the workload that varies most, as a factor. */
static double round_spread(const Report *r)
{
    double worst = 0;
    for (int i = 0; i < r->n; i++) {
        const double spread = regress_spread(r->timings[i]->round_median, r->timings[i]->n_rounds);
        worst = spread > worst ? spread : worst;
    }
    return 1 + worst / 100;
}

static EffStatus run_profile(Profile *out, EffSession **session, const Subject *s, const Plan *plan,
                             const TimingInputs *inputs, int n_runs)
{
    float *logits = eff_calloc((size_t)s->model.info->n_classes, sizeof *logits);
    EffStatus st =
        logits != NULL ? EFF_OK : eff_fail_nomem((size_t)s->model.info->n_classes * sizeof *logits, "logits");
    if (st == EFF_OK)
        st = timing_session(session, s->model.model, &plan->works[0]);
    if (st == EFF_OK)
        st = eff_session_profile(*session);
    for (int i = 0; st == EFF_OK && i < n_runs; i++)
        eff_session_run(*session, inputs->pixels[i % TIMING_INPUTS], logits);
    if (st == EFF_OK) {
        out->times = eff_session_times(*session, &out->n_times);
        st = eff_cpu_peak(&out->peak, s->model.info->cpu);
    }
    eff_free(logits);
    return st;
}

/* All workloads, round by round, so that a machine's drift hits them alike. */
static void run_rounds(Report *r, Timer *const *timers, NoiseWatch *watch)
{
    noise_spin(watch);
    for (int round = 0; round < TIMING_ROUNDS; round++) {
        for (int i = 0; i < r->n; i++)
            timer_round(timers[i], round);
        noise_spin(watch);
    }
    noise_stop(watch, &r->facts);
    for (int i = 0; i < r->n; i++) {
        r->timings[i] = timer_finish(timers[i]);
        const int used = r->timings[i]->work.n_sessions * r->timings[i]->work.n_threads;
        r->facts.n_used = used > r->facts.n_used ? used : r->facts.n_used;
    }
    r->facts.round_spread = round_spread(r);
    noise_judge(&r->reasons, &r->facts);
}

static ExitCode measure(const Args *a, const Subject *s, const Plan *plan, json_t *old)
{
    Report r = {.subject = s, .n = plan->n, .old = old};
    Timer *timers[MAX_WORKLOADS] = {NULL};
    TimingInputs inputs = {0};
    Profile profile = {0};
    EffSession *profiled = NULL;
    NoiseWatch *watch = NULL;
    machine_cpu_model(r.cpu_model, sizeof r.cpu_model);
    EffStatus st = timing_inputs_init(&inputs, s->model.model);
    for (int i = 0; i < plan->n && st == EFF_OK; i++)
        st = timer_create(&timers[i], s->model.model, &inputs, &plan->works[i], plan->n_frames, plan->seconds);
    if (st == EFF_OK && (watch = noise_start()) == NULL)
        st = eff_fail_nomem(sizeof(double), "the measurement");
    if (st == EFF_OK) {
        run_rounds(&r, timers, watch);
        r.digest = inputs.digest;
        r.peak_bytes = machine_peak_bytes();
        if (cli_flag(a, "profile") &&
            (st = run_profile(&profile, &profiled, s, plan, &inputs, r.timings[0]->n_runs)) == EFF_OK)
            r.profile = &profile;
    }
    if (st == EFF_OK && s->wanted != NULL)
        r.check = check_logits(s, &inputs);
    const ExitCode code = st == EFF_OK ? report(a, &r) : cli_fail(a, st);
    noise_free(watch);
    eff_session_destroy(profiled);
    for (int i = 0; i < plan->n; i++)
        timer_destroy(timers[i]);
    timing_inputs_free(&inputs);
    return code;
}

static ExitCode make_plan(const Args *a, Plan *plan)
{
    int n_threads = 0, n_streams = 0, batch = 0;
    *plan = (Plan){.n = 1, .n_frames = 100};
    if (!cli_int(a, "threads", 1, EFF_MAX_THREADS, &n_threads) ||
        !cli_int(a, "streams", 1, EFF_MAX_THREADS, &n_streams) || !cli_int(a, "batch", 1, 65536, &batch) ||
        !cli_int(a, "frames", 1, 1000000, &plan->n_frames) || !cli_double(a, "seconds", 0.01, 86400, &plan->seconds))
        return EXIT_USAGE;
    if (n_streams > 0 && batch > 0)
        return cli_usage(a, "--streams runs pictures on their own, --batch together: give one of them");
    if (plan->seconds > 0 && cli_value(a, "frames") != NULL)
        return cli_usage(a, "--frames and --seconds both say how long to measure: give one of them");
    const int n_cpus = eff_cpu_count();
    if (n_streams > 0) {
        plan->works[0] = (Workload){.n_sessions = n_streams, .n_threads = n_threads > 0 ? n_threads : 1};
    } else if (batch > 0) {
        const int n = n_threads > 0 ? n_threads : n_cpus;
        plan->works[0] = (Workload){.n_sessions = n < batch ? n : batch, .n_threads = 1, .batch = batch};
    } else {
        plan->works[0] = (Workload){.n_sessions = 1, .n_threads = n_threads > 0 ? n_threads : n_cpus};
        if (n_threads == 0 && n_cpus > 1) {
            plan->n = 3;
            plan->works[1] = (Workload){.n_sessions = 1, .n_threads = 1};
            plan->works[2] = (Workload){.n_sessions = n_cpus, .n_threads = 1};
        }
    }
    for (int i = 0; i < plan->n; i++)
        plan->works[i].unfused = cli_flag(a, "unfused");
    if (cli_value(a, "compare") != NULL && plan->seconds == 0 && plan->n_frames < 3)
        return cli_usage(a, "--compare needs at least 3 rounds; give --frames 30 or more");
    return EXIT_OK;
}

static ExitCode run(const Args *a)
{
    Plan plan;
    ExitCode code = make_plan(a, &plan);
    if (code != EXIT_OK)
        return code;
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    const char *name = a->n_words > 0 ? a->words[0] : NULL;
    ModelSpec spec;
    Subject s = {0};
    json_t *old = NULL;
    code = read_old(a, &plan, &old);
    if (code != EXIT_OK)
        return code;
    code = model_find(a, name, &spec);
    if (code == EXIT_OK)
        code =
            spec.is_bin ? open_bin(a, name, spec.file, &s) : build(a, name != NULL ? name : spec.arch.name, &spec, &s);
    if (code == EXIT_OK)
        code = measure(a, &s, &plan, old);
    subject_free(&s);
    model_spec_free(&spec);
    json_decref(old);
    return code;
}

const Command cmd_perf = {
    .name = "perf",
    .args = "[MODEL|ARCH]",
    .summary = "measure speed",
    .details =
        "A bare ARCH runs with seeded random weights: speed needs no trained ones. Without --threads, --streams and\n"
        "--batch it measures one picture on all CPUs, on one, and as many single-threaded streams as CPUs.",
    .options = {options, cpu_option, model_options},
    .examples = {"effnet perf efficientnet-b0 --int8 --size 224 --threads 1", "effnet perf lite0.bin --profile"},
    .completes = COMPLETES_MODEL,
    .run = run,
};
