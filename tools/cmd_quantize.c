/* SPDX-License-Identifier: Apache-2.0 */
/* effnet quantize: an int8 .bin from weights and pictures. */
#include "bin_output.h"
#include "calibration.h"
#include "commands.h"
#include "interrupt.h"
#include "model.h"
#include "output.h"
#include "progress.h"
#include "provenance.h"
#include "quantize_report.h"

#include "base/compiler.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const Option quantize_options[] = {
    {"calib", 'c', "DIR", "pictures to calibrate on: files of a folder and its sub-folders; or 'synthetic'",
     COMPLETES_FILE},
    {"images", 'n', "N", "use only N of them, evenly spread (default: all)", COMPLETES_NOTHING},
    {"hold-back", 0, "N", "don't calibrate on N of them, but measure the report's errors on these", COMPLETES_NOTHING},
    {"views", 0, "N", "views of each picture: crops and mirrors, for few pictures (default 1)", COMPLETES_NOTHING},
    {"output", 'o', "FILE", "the .bin (default: the cache, for a model from there)", COMPLETES_FILE},
    {"threads", 't', "N", "pictures at a time (default: one a CPU); the bytes don't depend on it", COMPLETES_NOTHING},
    {"report", 0, "FILE", "where report.json goes (default: beside the .bin)", COMPLETES_FILE},
    {"table", 0, "FILE", "ranges and types as this table says, one that was written before", COMPLETES_FILE},
    {"ranges", 0, "METHOD", "auto (default), minmax, percentile:P, mse or kl (doc/quantization.md)", COMPLETES_NOTHING},
    {"no-gptq", 0, NULL, "round the weights instead of choosing them by the pictures (quick)", COMPLETES_NOTHING},
    {"no-migration", 0, NULL, "one scale a tensor, not one a channel, before pointwise layers", COMPLETES_NOTHING},
    {"int16-nodes", 0, "N", "16-bit inputs for the N convolutions that gain most (default: none)", COMPLETES_NOTHING},
    {"max-drop", 0, "X", "16-bit inputs for as few as bring the drop to X points of agreement", COMPLETES_NOTHING},
    {"float-nodes", 0, "NAMES", "run these convolutions in float: names from the table, with commas between",
     COMPLETES_NOTHING},
    {"quiet", 'q', NULL, "no progress line, no table", COMPLETES_NOTHING},
    {"json", 0, NULL, "the report as one JSON object", COMPLETES_NOTHING},
    {0}};

typedef struct Phase {
    Progress progress;
    const char *name;
    bool quiet;
} Phase;

static int show_progress(void *ctx, const char *name, size_t done, size_t total)
{
    Phase *phase = ctx;
    if (phase->name == NULL || strcmp(phase->name, name) != 0) {
        progress_end(&phase->progress);
        phase->progress = progress_begin(name, total, phase->quiet);
        phase->name = name;
    }
    progress_update(&phase->progress, done);
    return interrupt_seen();
}

/* "model.report.json" beside "model.bin"; free(), NULL when memory is short. */
static char *path_beside(const char *bin, const char *ending)
{
    const size_t n = strlen(bin), stem = n > 4 && strcmp(bin + n - 4, ".bin") == 0 ? n - 4 : n;
    char *path = malloc(stem + strlen(ending) + 1);
    if (path != NULL)
        snprintf(path, stem + strlen(ending) + 1, "%.*s%s", (int)stem, bin, ending);
    return path;
}

static EffStatus write_report(const Args *a, const json_t *report, const char *bin)
{
    const char *given = cli_value(a, "report");
    char *path = path_beside(bin, ".report.json"), *text = json_dumps(report, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    EffStatus st = path != NULL && text != NULL ? EFF_OK : eff_fail_nomem(strlen(bin), "the report");
    if (st == EFF_OK)
        st = eff_file_write_atomic(given != NULL ? given : path, text, strlen(text));
    free(path);
    free(text);
    return st;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The table goes beside the .bin too, but never over the one that the user edited. */
static EffStatus write_table(const Args *a, const char *text, const char *bin)
{
    const char *given = cli_value(a, "table");
    char *path = path_beside(bin, ".table.txt");
    EffStatus st = path != NULL ? EFF_OK : eff_fail_nomem(strlen(bin), "the table");
    if (st == EFF_OK && (given == NULL || !same_file(given, path)))
        st = eff_file_write_atomic(path, text, strlen(text));
    free(path);
    return st;
}

enum { MAX_TABLE_BYTES = 256 << 20 };

/* The text of --table, NULL without it; eff_free(). */
static EffStatus read_table(const Args *a, char **out)
{
    const char *path = cli_value(a, "table");
    EffBytes bytes = {0};
    *out = NULL;
    if (path == NULL)
        return EFF_OK;
    EffStatus st = eff_file_read(&bytes, path, MAX_TABLE_BYTES);
    if (st != EFF_OK)
        return st;
    if (memchr(bytes.data, '\0', bytes.size) != NULL)
        st = eff_fail(EFF_ERR_FORMAT, "%s: not a text; 'effnet quantize' writes tables of ranges", path);
    else if ((*out = eff_strndup((const char *)bytes.data, bytes.size)) == NULL)
        st = eff_fail_nomem(bytes.size, "the table of ranges");
    eff_free(bytes.data);
    return st;
}

/* The .bin, the report and the table; once the first byte is written, Ctrl-C waits for the last. */
static EffStatus write_all(const Args *a, EffCompiled *c, json_t *origin, const json_t *report, const char *path)
{
    EffStatus st = interrupt_seen() ? eff_fail(EFF_ERR_INTERRUPTED, "interrupted; nothing was written")
                                    : bin_output_write(c, origin, path);
    if (st == EFF_OK)
        st = write_report(a, report, path);
    return st == EFF_OK ? write_table(a, eff_compiled_table(c), path) : st;
}

/* `options` hold what read_promote() and read_ranges() found. */
static ExitCode quantize_with(const Args *a, ModelSpec *spec, const EffGraph *g, Calibration *calibration,
                              EffQuantizeOptions *options, const char *path)
{
    Phase phase = {.quiet = cli_flag(a, "quiet")};
    EffStatus st = calibration_prepare(calibration, &spec->arch.pre);
    options->held_back = calibration->held_back.n > 0 ? &calibration->held_back : NULL;
    options->table_name = cli_value(a, "table");
    options->float_nodes = cli_value(a, "float-nodes");
    options->no_gptq = cli_flag(a, "no-gptq");
    options->no_migration = cli_flag(a, "no-migration");
    options->progress = show_progress;
    options->ctx = &phase;
    EffCompiled *c = NULL;
    json_t *origin = NULL, *report = NULL;
    char *table = NULL;
    if (st == EFF_OK)
        st = read_table(a, &table);
    options->table = table;
    if (st == EFF_OK)
        st = eff_quantize(&c, g, &calibration->pictures, options);
    progress_end(&phase.progress);
    if (st == EFF_OK)
        st = provenance_make(&origin, spec, calibration, table);
    const QuantizeReport r = {.c = c, .calibration = calibration, .options = options, .path = path};
    if (st == EFF_OK) {
        quantize_report_warn(&r);
        report = quantize_report_json(&r, origin);
        st = write_all(a, c, origin, report, path);
    }
    ExitCode code = EXIT_OK;
    if (st != EFF_OK) {
        code = cli_fail(a, st);
    } else if (cli_flag(a, "json")) {
        json_object_set_new(report, "file", json_string(path));
        code = output_json(a, json_incref(report));
    } else {
        quantize_report_print(&r, cli_flag(a, "quiet"));
        code = output_flush(a);
    }
    eff_free(table);
    json_decref(report);
    json_decref(origin);
    eff_compiled_free(c);
    return code;
}

/* --int16-nodes and --max-drop. */
static bool read_promote(const Args *a, EffQuantizeOptions *o)
{
    const char *text = cli_value(a, "max-drop");
    char *end = NULL;
    int n_nodes = 0;
    if (!cli_int(a, "int16-nodes", 0, 1 << 20, &n_nodes))
        return false;
    o->int16_nodes = (size_t)n_nodes;
    if (text == NULL)
        return true;
    o->max_drop = strtod(text, &end);
    o->has_max_drop = 1;
    if (end != text && *end == '\0' && o->max_drop >= 0 && o->max_drop <= 100)
        return true;
    cli_usage(a, "--max-drop takes points of agreement from 0 to 100, not '%s'", text);
    return false;
}

static bool read_ranges(const Args *a, EffQuantizeOptions *o)
{
    static const struct {
        const char *name;
        EffRangeMethod method;
    } methods[] = {
        {"auto", EFF_RANGES_AUTO}, {"minmax", EFF_RANGES_MINMAX}, {"mse", EFF_RANGES_MSE}, {"kl", EFF_RANGES_KL}};
    const char *text = cli_value(a, "ranges"), *prefix = "percentile:";
    char *end = NULL;
    if (text == NULL)
        return true;
    for (size_t i = 0; i < EFF_COUNT(methods); i++) {
        if (strcmp(text, methods[i].name) == 0) {
            o->ranges = methods[i].method;
            return true;
        }
    }
    if (strncmp(text, prefix, strlen(prefix)) == 0) {
        o->ranges = EFF_RANGES_PERCENTILE;
        o->percentile = strtod(text + strlen(prefix), &end);
        if (end != text + strlen(prefix) && *end == '\0' && o->percentile >= 50 && o->percentile <= 100)
            return true;
    }
    cli_usage(
        a, "--ranges: '%s' is no method; use auto, minmax, percentile:P (P from 50 to 100, such as 99.99), mse or kl",
        text);
    return false;
}

static ExitCode quantize_model(const Args *a, Calibration *calibration, const char *name, const char *path)
{
    EffQuantizeOptions options = {0};
    if (!cli_int(a, "threads", 1, 256, &options.n_threads) || !read_promote(a, &options) || !read_ranges(a, &options))
        return EXIT_USAGE;
    ModelSpec spec = {0};
    EffGraph *g = NULL;
    ExitCode code = calibration_open(calibration, a);
    if (code == EXIT_OK)
        code = model_find(a, name, &spec);
    spec.for_int8 = true;
    if (code == EXIT_OK)
        code = model_load_graph(a, &spec, &g);
    if (code == EXIT_OK)
        code = quantize_with(a, &spec, g, calibration, &options, path);
    eff_graph_free(g);
    model_spec_free(&spec);
    return code;
}

static ExitCode run_quantize(const Args *a)
{
    interrupt_catch();
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    const char *name = a->n_words > 0 ? a->words[0] : eff_hub_model(0)->name;
    char *path = bin_output_path(a, name, true);
    if (path == NULL)
        return EXIT_USAGE;
    Calibration calibration = {0};
    const ExitCode code = quantize_model(a, &calibration, name, path);
    calibration_free(&calibration);
    free(path);
    return code;
}

const Command cmd_quantize = {
    .name = "quantize",
    .args = "[MODEL] --calib DIR",
    .summary = "turn weights into an int8 .bin",
    .details =
        "Calibrates on pictures (250 or more are best; labels are not needed), writes the .bin, beside it a report\n"
        "and a table of ranges that may be edited, and prints each node's error against float. Without any pictures,\n"
        "'--calib synthetic' makes some; that costs accuracy (doc/quantization.md).",
    .options = {quantize_options, model_options},
    .examples = {"effnet quantize efficientnet-lite0 --calib photos/ -o lite0.bin",
                 "effnet quantize b0.pth --arch efficientnet-b0 --calib photos/ --images 250 -o b0.bin"},
    .completes = COMPLETES_MODEL,
    .run = run_quantize,
};
