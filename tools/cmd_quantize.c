/* SPDX-License-Identifier: Apache-2.0 */
/* effnet quantize and compile: from weights to a .bin. */
#include "commands.h"
#include "dataset.h"
#include "interrupt.h"
#include "model.h"
#include "output.h"
#include "progress.h"
#include "provenance.h"
#include "views.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- What both commands share ---- */

/* Where the .bin goes: -o, or for a model of the cache beside its weights. free() it; NULL after a message. */
static char *output_path(const Args *a, const char *spec, bool int8)
{
    const char *out = cli_value(a, "output");
    char *path = NULL;
    if (out != NULL) {
        /* Known now, not after minutes of calibration. */
        char *dir = strdup(out), *slash = dir != NULL ? strrchr(dir, '/') : NULL;
        if (slash != NULL)
            slash[slash == dir] = '\0';
        const bool exists = slash == NULL || eff_is_dir(dir);
        free(dir);
        if (exists)
            return strdup(out);
        cli_usage(a, "%s: the folder to write it into does not exist; create it first", out);
        return NULL;
    }
    const EffHubModel *hub = spec != NULL ? eff_hub_find(spec) : eff_hub_model(0);
    if (hub == NULL || !int8)
        cli_usage(a, "name the file to write: -o model.bin");
    else if (eff_hub_int8_path(&path, hub) != EFF_OK)
        cli_usage(a, "%s", eff_last_message());
    return path;
}

static EffStatus write_with_origin(EffCompiled *c, json_t *origin, const char *path)
{
    char *text = origin != NULL ? json_dumps(origin, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    EffStatus st = text != NULL ? eff_compiled_set_provenance(c, text) : eff_fail_nomem(256, "provenance");
    free(text);
    return st == EFF_OK ? eff_compiled_write(c, path) : st;
}

/* ---- quantize ---- */

static const Option quantize_options[] = {
    {"calib", 'c', "DIR", "pictures to calibrate on: files of a folder and its sub-folders", COMPLETES_FILE},
    {"images", 'n', "N", "use only N of them, evenly spread (default: all)", COMPLETES_NOTHING},
    {"views", 0, "N", "views of each picture: crops and mirrors, for few pictures (default 1)", COMPLETES_NOTHING},
    {"output", 'o', "FILE", "the .bin (default: the cache, for a model from there)", COMPLETES_FILE},
    {"threads", 't', "N", "pictures at a time (default: one a CPU); the bytes don't depend on it", COMPLETES_NOTHING},
    {"report", 0, "FILE", "where report.json goes (default: beside the .bin)", COMPLETES_FILE},
    {"table", 0, "FILE", "ranges and types as this table says, one that was written before", COMPLETES_FILE},
    {"ranges", 0, "METHOD", "auto: without pictures far louder than all others; or minmax", COMPLETES_NOTHING},
    {"no-gptq", 0, NULL, "round the weights instead of choosing them by the pictures (quick)", COMPLETES_NOTHING},
    {"with-aim", 0, NULL, "move weights towards the float output before choosing integers", COMPLETES_NOTHING},
    {"no-unit-search", 0, NULL, "depthwise weights in the smallest unit that holds them", COMPLETES_NOTHING},
    {"no-migration", 0, NULL, "one scale a tensor, not one a channel, before pointwise layers", COMPLETES_NOTHING},
    {"int16-nodes", 0, "N", "16-bit inputs for the N convolutions that gain most (default: none)", COMPLETES_NOTHING},
    {"max-drop", 0, "X", "16-bit inputs for as few as bring the drop to X points of agreement", COMPLETES_NOTHING},
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

static json_t *number_or_null(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* Pictures that were cut off: {"picture": file, "node": where it is loudest, "times": how loud, "nodes": in how many}.
 */
static json_t *loud_json(const EffCompiled *c, const EffPictures *pictures)
{
    json_t *list = json_array();
    const EffLoudPicture *p;
    for (size_t i = 0; (p = eff_compiled_loud(c, i)) != NULL; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:f,s:i}", "picture", pictures->name(pictures->ctx, p->picture),
                                              "node", p->node, "times", p->times, "nodes", p->n_nodes));
    return list;
}

static void print_loud(const EffCompiled *c, const EffPictures *pictures)
{
    enum { MOST = 10 };
    const EffLoudPicture *p;
    size_t n = 0;
    while (eff_compiled_loud(c, n) != NULL)
        n++;
    if (n == 0)
        return;
    printf("\n%zu of %zu pictures are far louder than all others somewhere. What they drive beyond the others' range "
           "is cut\n"
           "off, so that the others keep their resolution; on pictures like these int8 can be wrong. Look at them. If "
           "the\n"
           "model is to see many like them, calibrate on more of them, or widen the nodes' ranges with --table.\n",
           n, pictures->n);
    printf("%-46s %9s  %s\n", "cut off", "times", "loudest in");
    for (size_t i = 0; i < MOST && (p = eff_compiled_loud(c, i)) != NULL; i++) {
        printf("%-46s %9.1f  %s", pictures->name(pictures->ctx, p->picture), p->times, p->node);
        if (p->n_nodes > 1)
            printf(" and %d others", p->n_nodes - 1);
        putchar('\n');
    }
    if (n > MOST)
        printf("and %zu more: see \"cut_off\" in the report\n", n - MOST);
}

/* The ranking, where one was asked for, and the table's nodes. */
static json_t *promotion_json(const EffCompiled *c)
{
    const EffPromotionSummary s = eff_compiled_promotion(c);
    json_t *nodes = json_array();
    const EffNodeRank *rank;
    for (size_t i = 0; (rank = eff_compiled_rank(c, i)) != NULL; i++)
        json_array_append_new(nodes, json_pack("{s:s,s:s,s:o,s:s}", "name", rank->name, "type",
                                               rank->reason[0] != '\0' ? "int16" : "int8", "kl_gain",
                                               number_or_null(rank->gain), "reason", rank->reason));
    return json_pack("{s:I,s:I,s:I,s:o,s:o,s:o,s:b,s:o}", "n_promoted", (json_int_t)s.n_promoted, "n_pictures",
                     (json_int_t)s.n_pictures, "n_held_back", (json_int_t)s.n_held_back, "kl",
                     s.n_pictures > 0 ? json_real(s.kl) : json_null(), "drop_before",
                     s.n_held_back > 0 ? json_real(s.drop_before) : json_null(), "drop",
                     s.n_held_back > 0 ? json_real(s.drop) : json_null(), "reached", s.reached, "ranking", nodes);
}

static json_t *report_json(const EffCompiled *c, const EffPictures *pictures, json_t *origin)
{
    json_t *nodes = json_array();
    const EffNodeReport *row;
    for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++)
        json_array_append_new(nodes, json_pack("{s:s,s:s,s:o,s:f,s:s,s:o,s:o}", "name", row->name, "type", row->type,
                                               "sqnr_db", number_or_null(row->sqnr_db), "cosine", row->cosine, "act",
                                               row->act, "act_sqnr_db", number_or_null(row->act_sqnr_db),
                                               "act_u8_sqnr_db", number_or_null(row->act_u8_sqnr_db)));
    return json_pack("{s:O,s:o,s:o,s:o}", "provenance", origin, "cut_off", loud_json(c, pictures), "nodes", nodes,
                     "promotion", promotion_json(c));
}

static void print_promotion(const EffCompiled *c)
{
    const EffNodeRank *rank;
    for (size_t i = 0; (rank = eff_compiled_rank(c, i)) != NULL; i++) {
        if (strcmp(rank->reason, "table") == 0)
            printf("int16 inputs: %s, as the table says\n", rank->name);
        else if (rank->reason[0] != '\0')
            printf("int16 inputs: %s, saves %.3g of KL alone\n", rank->name, rank->gain);
    }
}

/* What was asked for and could not be had; on stderr, quiet or not. */
static void warn_promotion(const EffCompiled *c, double wanted)
{
    const EffPromotionSummary s = eff_compiled_promotion(c);
    if (s.n_held_back > 0 && !s.reached)
        fprintf(stderr,
                "effnet quantize: --max-drop %g was not reached: %g points with %zu nodes of 16-bit inputs, %g "
                "without,\non %zu pictures; more of them gain nothing, or --int16-nodes is the limit\n",
                wanted, s.drop, s.n_promoted, s.drop_before, s.n_held_back);
}

static void print_table(const EffCompiled *c)
{
    const EffNodeReport *row;
    printf("%-46s %-5s %8s %9s  %-7s %8s %8s\n", "node", "type", "SQNR dB", "cosine", "act", "act dB", "u8 dB");
    for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++) {
        printf("%-46s %-5s %8.1f %9.6f", row->name, row->type, row->sqnr_db, row->cosine);
        if (isfinite(row->act_sqnr_db))
            printf("  %-7s %8.1f %8.1f", row->act, row->act_sqnr_db, row->act_u8_sqnr_db);
        putchar('\n');
    }
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
                                    : write_with_origin(c, origin, path);
    if (st == EFF_OK)
        st = write_report(a, report, path);
    return st == EFF_OK ? write_table(a, eff_compiled_table(c), path) : st;
}

/* --int16-nodes and --max-drop. */
typedef struct Promote {
    int n_nodes, has_max_drop;
    double max_drop;
} Promote;

static ExitCode quantize_with(const Args *a, ModelSpec *spec, const EffGraph *g, const Dataset *d, int n_views,
                              int n_threads, EffRangeMethod method, const Promote *promote, const char *path)
{
    const Views views = {.d = d, .n_views = n_views, .pre = spec->arch.pre};
    const EffPictures pictures = views_pictures(&views);
    Phase phase = {.quiet = cli_flag(a, "quiet")};
    EffQuantizeOptions options = {.n_threads = n_threads,
                                  .table_name = cli_value(a, "table"),
                                  .int16_nodes = (size_t)promote->n_nodes,
                                  .has_max_drop = promote->has_max_drop,
                                  .max_drop = promote->max_drop,
                                  .ranges = method,
                                  .no_gptq = cli_flag(a, "no-gptq"),
                                  .with_aim = cli_flag(a, "with-aim"),
                                  .no_unit_search = cli_flag(a, "no-unit-search"),
                                  .no_migration = cli_flag(a, "no-migration"),
                                  .progress = show_progress,
                                  .ctx = &phase};
    EffCompiled *c = NULL;
    json_t *origin = NULL, *report = NULL;
    char *table = NULL;
    EffStatus st = read_table(a, &table);
    options.table = table;
    if (st == EFF_OK)
        st = eff_quantize(&c, g, &pictures, &options);
    progress_end(&phase.progress);
    if (st == EFF_OK)
        st = provenance_make(&origin, spec, d, n_views, table);
    if (st == EFF_OK) {
        warn_promotion(c, promote->max_drop);
        report = report_json(c, &pictures, origin);
    }
    if (st == EFF_OK)
        st = write_all(a, c, origin, report, path);
    ExitCode code = EXIT_OK;
    if (st != EFF_OK) {
        code = cli_fail(a, st);
    } else if (cli_flag(a, "json")) {
        json_object_set_new(report, "file", json_string(path));
        code = output_json(a, json_incref(report));
    } else {
        if (!cli_flag(a, "quiet"))
            print_table(c);
        print_promotion(c);
        print_loud(c, &pictures);
        printf("%s: int8, calibrated on %zu views of %zu pictures\n", path, pictures.n, d->n);
        code = output_flush(a);
    }
    eff_free(table);
    json_decref(report);
    json_decref(origin);
    eff_compiled_free(c);
    return code;
}

static bool read_promote(const Args *a, Promote *p)
{
    const char *text = cli_value(a, "max-drop");
    char *end = NULL;
    if (!cli_int(a, "int16-nodes", 0, 1 << 20, &p->n_nodes))
        return false;
    if (text == NULL)
        return true;
    p->max_drop = strtod(text, &end);
    p->has_max_drop = 1;
    if (end != text && *end == '\0' && p->max_drop >= 0 && p->max_drop <= 100)
        return true;
    cli_usage(a, "--max-drop takes points of agreement from 0 to 100, not '%s'", text);
    return false;
}

static ExitCode run_quantize(const Args *a)
{
    int n_images = 0, n_views = 1, n_threads = 0;
    Promote promote = {0};
    const char *calib = cli_value(a, "calib");
    interrupt_catch();
    if (!cli_int(a, "images", 1, 1 << 30, &n_images) || !cli_int(a, "views", 1, 1000, &n_views) ||
        !cli_int(a, "threads", 1, 256, &n_threads) || !read_promote(a, &promote))
        return EXIT_USAGE;
    EffRangeMethod method = EFF_RANGES_AUTO;
    const char *ranges = cli_value(a, "ranges");
    if (ranges != NULL && strcmp(ranges, "minmax") == 0)
        method = EFF_RANGES_MINMAX;
    else if (ranges != NULL && strcmp(ranges, "auto") != 0)
        return cli_usage(a, "--ranges: '%s' is no method; use auto or minmax", ranges);
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    if (calib == NULL)
        return cli_usage(a, "name a folder of pictures like those that the model will see: --calib DIR");
    const char *name = a->n_words > 0 ? a->words[0] : eff_hub_model(0)->name;
    char *path = output_path(a, name, true);
    if (path == NULL)
        return EXIT_USAGE;
    Dataset d = {0};
    const EffStatus st = dataset_add(&d, calib);
    if (st == EFF_OK && n_images > 0)
        dataset_spread(&d, (size_t)n_images);
    ModelSpec spec = {0};
    EffGraph *g = NULL;
    ExitCode code = st == EFF_OK ? model_find(a, name, &spec) : cli_fail(a, st);
    if (code == EXIT_OK)
        code = model_load_graph(a, &spec, &g);
    if (code == EXIT_OK)
        code = quantize_with(a, &spec, g, &d, n_views, n_threads, method, &promote, path);
    eff_graph_free(g);
    model_spec_free(&spec);
    dataset_free(&d);
    free(path);
    return code;
}

const Command cmd_quantize = {
    .name = "quantize",
    .args = "[MODEL] --calib DIR",
    .summary = "turn weights into an int8 .bin",
    .details =
        "Calibrates on pictures (250 or more are best; labels are not needed), writes the .bin, beside it a report\n"
        "and a table of ranges that may be edited, and prints each node's error against float.",
    .options = {quantize_options, model_options},
    .examples = {"effnet quantize efficientnet-lite0 --calib photos/ -o lite0.bin",
                 "effnet quantize b0.pth --arch efficientnet-b0 --calib photos/ --images 250 -o b0.bin"},
    .completes = COMPLETES_MODEL,
    .run = run_quantize,
};

/* ---- compile ---- */

static const Option compile_options[] = {
    {"float", 0, NULL, "in float32 (for int8 see effnet quantize)", COMPLETES_NOTHING},
    {"output", 'o', "FILE", "the .bin", COMPLETES_FILE},
    {"json", 0, NULL, "one JSON object", COMPLETES_NOTHING},
    {0}};

static ExitCode run_compile(const Args *a)
{
    if (!cli_flag(a, "float"))
        return cli_usage(a, "say --float; an int8 .bin comes from 'effnet quantize', which needs pictures");
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    const char *name = a->n_words > 0 ? a->words[0] : eff_hub_model(0)->name;
    char *path = output_path(a, name, false);
    if (path == NULL)
        return EXIT_USAGE;
    ModelSpec spec = {0};
    EffGraph *g = NULL;
    EffCompiled *c = NULL;
    ExitCode code = model_find(a, name, &spec);
    if (code == EXIT_OK)
        code = model_load_graph(a, &spec, &g);
    if (code == EXIT_OK) {
        EffStatus st = eff_compile_float(&c, g);
        json_t *origin = NULL;
        if (st == EFF_OK)
            st = provenance_make(&origin, &spec, NULL, 0, NULL);
        if (st == EFF_OK)
            st = write_with_origin(c, origin, path);
        if (st != EFF_OK)
            code = cli_fail(a, st);
        else if (cli_flag(a, "json"))
            code = output_json(a, json_pack("{s:s,s:O}", "file", path, "provenance", origin));
        else if (printf("%s: float32\n", path) > 0)
            code = output_flush(a);
        json_decref(origin);
    }
    eff_compiled_free(c);
    eff_graph_free(g);
    model_spec_free(&spec);
    free(path);
    return code;
}

const Command cmd_compile = {
    .name = "compile",
    .args = "[MODEL] --float -o FILE",
    .summary = "turn weights into a float .bin",
    .options = {compile_options, model_options},
    .examples = {"effnet compile efficientnet-lite0 --float -o lite0-f32.bin",
                 "effnet compile b0.pth --arch efficientnet-b0 --float -o b0-f32.bin"},
    .completes = COMPLETES_MODEL,
    .run = run_compile,
};
