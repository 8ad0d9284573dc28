/* SPDX-License-Identifier: Apache-2.0 */
/* effnet debug: every node of a compiled model beside the float network. */
#include "commands.h"
#include "dataset.h"
#include "interrupt.h"
#include "model.h"
#include "output.h"
#include "progress.h"
#include "provenance.h"
#include "views.h"

#include "base/mem.h"
#include "base/status.h"
#include "base/suggest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PICTURES = 32, DEFAULT_ROWS = 20 };

static const Option options[] = {
    {"data", 'd', "DIR", "pictures: files of a folder and its sub-folders; labels are not needed", COMPLETES_FILE},
    {"float", 0, "FILE", "the float weights (default: found by their SHA-256 in the cache, or beside MODEL)",
     COMPLETES_FILE},
    {"arch", 0, "NAME", "their architecture (default: as MODEL says)", COMPLETES_ARCH},
    {"images", 'n', "N", "use only N pictures, evenly spread (default 32)", COMPLETES_NOTHING},
    {"threads", 't', "N", "pictures at a time (default: one a CPU)", COMPLETES_NOTHING},
    {"node", 0, "NAME", "one node, channel by channel", COMPLETES_NOTHING},
    {"in-order", 0, NULL, "in the order of execution instead of the worst first", COMPLETES_NOTHING},
    {"top", 0, "N", "print N rows (default: the 20 worst; all with --in-order, --node or --json)", COMPLETES_NOTHING},
    {"cpu", 0, "LEVEL", "that MODEL runs at (default: the best of this CPU); the result is the same",
     COMPLETES_NOTHING},
    {"quiet", 'q', NULL, "no progress line", COMPLETES_NOTHING},
    {"json", 0, NULL, "one JSON object", COMPLETES_NOTHING},
    {0}};

/* ---- Rows ---- */

typedef struct Rows {
    const EffDebugNode **nodes;
    size_t n;
} Rows;

static int worst_first(const void *a, const void *b)
{
    const EffDebugNode *x = *(const EffDebugNode *const *)a, *y = *(const EffDebugNode *const *)b;
    const double dx = x->all.sqnr_db, dy = y->all.sqnr_db;
    return dx != dy ? (dx < dy ? -1 : 1) : x < y ? -1 : x > y; /* the order of execution where they are equal */
}

/* The nodes to print: all, or those of --node. free() nodes. */
static ExitCode pick_rows(const Args *a, Rows *out, const EffDebug *d)
{
    const char *wanted = cli_value(a, "node");
    size_t n = 0;
    while (eff_debug_node(d, n) != NULL)
        n++;
    Rows rows = {.nodes = calloc(n, sizeof *rows.nodes)};
    if (rows.nodes == NULL)
        return cli_fail(a, eff_fail_nomem(n * sizeof *rows.nodes, "the rows"));
    for (size_t i = 0; i < n; i++) {
        const EffDebugNode *node = eff_debug_node(d, i);
        if (wanted == NULL || strcmp(node->name, wanted) == 0)
            rows.nodes[rows.n++] = node;
    }
    if (rows.n == 0) {
        const char *near = eff_suggest(wanted, &eff_debug_node(d, 0)->name, n, sizeof(EffDebugNode));
        free(rows.nodes);
        return cli_usage(a, "no node '%s' in the comparison%s%s%s", wanted,
                         near != NULL ? "; did you mean '" : "; --in-order lists them", near != NULL ? near : "",
                         near != NULL ? "'?" : "");
    }
    if (wanted == NULL && !cli_flag(a, "in-order"))
        qsort(rows.nodes, rows.n, sizeof *rows.nodes, worst_first);
    *out = rows;
    return EXIT_OK;
}

/* What the step itself adds; NaN where it reads the picture. */
static double loss_of(const EffDebugNode *node)
{
    return node->input_sqnr_db - node->all.sqnr_db;
}

/* ---- Text ---- */

static void print_range(float min, float max)
{
    char text[40];
    if (isinf(min))
        snprintf(text, sizeof text, "any");
    else
        snprintf(text, sizeof text, "%.3g to %.3g", (double)min, (double)max);
    printf("  %-20s", text);
}

static void print_error(const EffDebugError *e, double loss)
{
    printf(" %7.1f", e->sqnr_db);
    if (isfinite(loss))
        printf(" %6.1f", loss);
    else
        printf(" %6s", "");
    printf(" %9.6f %9.3g", e->cosine, (double)e->max_error);
    print_range(e->used_min, e->used_max);
    print_range(e->seen_min, e->seen_max);
    printf(" %8.4f\n", 100 * e->cut_off);
}

static void print_rows(const Rows *rows, size_t n)
{
    printf("%-46s %-5s %-8s %7s %6s %9s %9s  %-20s  %-20s %8s\n", "node", "type", "op", "SQNR dB", "lost", "cosine",
           "max error", "range used", "range seen", "beyond %");
    for (size_t i = 0; i < n; i++) {
        const EffDebugNode *node = rows->nodes[i];
        printf("%-46s %-5s %-8s", node->name, node->type, node->op);
        print_error(&node->all, loss_of(node));
    }
}

static void print_channels(const EffDebugNode *node)
{
    printf("\n%s %s, %s; channels:\n", node->name, node->type, node->per_channel ? "a range a channel" : "one range");
    for (int c = 0; c < node->n_channels; c++) {
        printf("%-61d", c);
        print_error(&node->channels[c], NAN);
    }
}

static void print_text(const Args *a, const Rows *rows, const char *bin, const char *file, size_t n_pictures)
{
    int most = cli_flag(a, "in-order") || cli_value(a, "node") != NULL ? 1 << 30 : DEFAULT_ROWS;
    (void)cli_int(a, "top", 1, 1 << 30, &most);
    const size_t n = rows->n < (size_t)most ? rows->n : (size_t)most;
    printf("%s against %s on %zu pictures, %zu of %zu nodes, %s\n", bin, file, n_pictures, n, rows->n,
           cli_value(a, "node") != NULL || cli_flag(a, "in-order") ? "in order" : "the worst first");
    print_rows(rows, n);
    for (size_t i = 0; i < n && cli_value(a, "node") != NULL; i++)
        print_channels(rows->nodes[i]);
}

/* ---- JSON ---- */

static json_t *number_or_null(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *range_json(float min, float max)
{
    return json_pack("[o,o]", number_or_null((double)min), number_or_null((double)max));
}

static json_t *error_json(const EffDebugError *e)
{
    return json_pack("{s:f,s:f,s:f,s:o,s:o,s:f}", "sqnr_db", e->sqnr_db, "cosine", e->cosine, "max_error",
                     (double)e->max_error, "range_used", range_json(e->used_min, e->used_max), "range_seen",
                     range_json(e->seen_min, e->seen_max), "beyond", e->cut_off);
}

static json_t *node_json(const EffDebugNode *node, bool channels)
{
    json_t *object =
        json_pack("{s:s,s:s,s:s,s:i,s:b,s:o}", "name", node->name, "type", node->type, "op", node->op, "channels",
                  node->n_channels, "per_channel", node->per_channel, "lost_db", number_or_null(loss_of(node)));
    json_object_update_new(object, error_json(&node->all));
    if (channels) {
        json_t *list = json_array();
        for (int c = 0; c < node->n_channels; c++)
            json_array_append_new(list, error_json(&node->channels[c]));
        json_object_set_new(object, "by_channel", list);
    }
    return object;
}

static ExitCode print_json(const Args *a, const Rows *rows, const char *bin, const char *file, size_t n_pictures)
{
    int most = 1 << 30;
    (void)cli_int(a, "top", 1, 1 << 30, &most);
    json_t *list = json_array();
    for (size_t i = 0; i < rows->n && i < (size_t)most; i++)
        json_array_append_new(list, node_json(rows->nodes[i], cli_value(a, "node") != NULL));
    return output_json(
        a, json_pack("{s:s,s:s,s:I,s:o}", "model", bin, "float", file, "n", (json_int_t)n_pictures, "nodes", list));
}

/* ---- The command ---- */

static int show_progress(void *ctx, const char *name, size_t done, size_t total)
{
    (void)name;
    (void)total;
    progress_update(ctx, done);
    return interrupt_seen();
}

static ExitCode compare_with(const Args *a, const Model *m, const EffGraph *g, const char *file, const Dataset *d,
                             int n_threads)
{
    const Views views = {.d = d, .n_views = 1, .pre = m->info->pre};
    const EffPictures pictures = views_pictures(&views);
    Progress progress = progress_begin("comparing", d->n, cli_flag(a, "quiet"));
    const EffQuantizeOptions how = {.n_threads = n_threads, .progress = show_progress, .ctx = &progress};
    EffDebug *found = NULL;
    const EffStatus st = eff_debug_run(&found, m->model, g, &pictures, &how);
    progress_end(&progress);
    if (st != EFF_OK)
        return cli_fail(a, st);
    Rows rows = {0};
    ExitCode code = pick_rows(a, &rows, found);
    if (code == EXIT_OK && cli_flag(a, "json")) {
        code = print_json(a, &rows, m->title, file, d->n);
    } else if (code == EXIT_OK) {
        print_text(a, &rows, m->title, file, d->n);
        code = output_flush(a);
    }
    free(rows.nodes);
    eff_debug_free(found);
    return code;
}

static ExitCode run(const Args *a)
{
    int n_images = DEFAULT_PICTURES, n_threads = 0, n_rows = 0;
    const char *dir = cli_value(a, "data");
    interrupt_catch();
    if (!cli_int(a, "images", 1, 1 << 30, &n_images) || !cli_int(a, "threads", 1, 256, &n_threads) ||
        !cli_int(a, "top", 1, 1 << 30, &n_rows))
        return EXIT_USAGE;
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL.bin at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    if (dir == NULL)
        return cli_usage(a, "name a folder of pictures: --data DIR");
    Model m = {0};
    EffGraph *g = NULL;
    char *file = NULL;
    Dataset d = {0};
    ExitCode code = model_open_bin(&m, a, a->n_words > 0 ? a->words[0] : NULL);
    if (code == EXIT_OK) {
        const EffStatus st = dataset_add(&d, dir);
        code = st == EFF_OK ? EXIT_OK : cli_fail(a, st);
    }
    if (code == EXIT_OK) {
        dataset_spread(&d, (size_t)n_images);
        code = provenance_load(a, m.info, m.file, cli_value(a, "float"), &g, &file);
    }
    if (code == EXIT_OK)
        code = compare_with(a, &m, g, file, &d, n_threads);
    free(file);
    eff_graph_free(g);
    model_close(&m);
    dataset_free(&d);
    return code;
}

const Command cmd_debug = {
    .name = "debug",
    .args = "[MODEL.bin] --data DIR",
    .summary = "compare every node of a compiled model with float",
    .details =
        "Prints for each node the SQNR, how much of it is lost in its own step (input less output), cosine, largest\n"
        "error, the range that its integers hold, the range that the float network shows on these pictures, and the\n"
        "share of values beyond. See doc/debug.md.",
    .options = {options},
    .examples = {"effnet debug lite0.bin --data photos/", "effnet debug b0.bin --float b0.pth --data photos/ --node "
                                                          "/blocks/blocks.1/blocks.1.0/bn1/act/Mul"},
    .completes = COMPLETES_FILE,
    .run = run,
};
