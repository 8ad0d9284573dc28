/* SPDX-License-Identifier: Apache-2.0 */
/* effnet eval: accuracy on labelled pictures. */
#include "commands.h"
#include "dataset.h"
#include "evaluate.h"
#include "model.h"
#include "npy.h"
#include "output.h"
#include "stats.h"

static const Option options[] = {
    {"data", 'd', "DIR", "labelled pictures: a folder a class, or files named INDEX_anything.jpg", COMPLETES_FILE},
    {"list", 'l', "FILE", "lines 'PATH LABEL', relative to the file", COMPLETES_FILE},
    {"images", 'n', "N", "use only N pictures, evenly spread (default: all)", COMPLETES_NOTHING},
    {"threads", 't', "N", "pictures at a time (default: one a CPU)", COMPLETES_NOTHING},
    {"exif", 0, NULL, "turn pictures as their EXIF says (off: benchmarks don't)", COMPLETES_NOTHING},
    {"save-logits", 0, "FILE", "write float32 [pictures][classes] as .npy", COMPLETES_FILE},
    {"quiet", 'q', NULL, "no progress line", COMPLETES_NOTHING},
    {"json", 0, NULL, "one JSON object", COMPLETES_NOTHING},
    {0}};

/* Pictures whose label is among the k best classes. */
static size_t count_hits(const Evaluation *e, const Dataset *d, int k)
{
    size_t hits = 0;
    for (size_t i = 0; i < d->n; i++) {
        int top[5];
        stats_top(top, k, e->logits + i * (size_t)e->n_classes, e->n_classes);
        for (int r = 0; r < k; r++)
            hits += top[r] == d->labels[i];
    }
    return hits;
}

static ExitCode report(const Args *a, const Model *m, const Dataset *d, const Evaluation *e)
{
    const int k = m->n_classes < 5 ? m->n_classes : 5;
    const size_t hits1 = count_hits(e, d, 1), hits5 = count_hits(e, d, k);
    const Interval i1 = stats_wilson(hits1, d->n), i5 = stats_wilson(hits5, d->n);
    const double n = (double)d->n, top1 = 100 * (double)hits1 / n, top5 = 100 * (double)hits5 / n;
    const double rate = n / e->seconds;
    if (cli_flag(a, "json"))
        return output_json(a, json_pack("{s:s,s:I,s:f,s:o,s:f,s:o,s:f,s:i}", "model", m->title, "n", (json_int_t)d->n,
                                        "top1", top1, "top1_ci95", output_interval(100 * i1.low, 100 * i1.high), "top5",
                                        top5, "top5_ci95", output_interval(100 * i5.low, 100 * i5.high), "images_per_s",
                                        rate, "threads", e->n_threads));
    printf("%s on %zu pictures\n", m->title, d->n);
    printf("  top-1  %6.2f %%   95 %% interval %.1f to %.1f\n", top1, 100 * i1.low, 100 * i1.high);
    printf("  top-%d  %6.2f %%   95 %% interval %.1f to %.1f\n", k, top5, 100 * i5.low, 100 * i5.high);
    printf("  %.1f images/s, decoding included, %d threads\n", rate, e->n_threads);
    return output_flush(a);
}

static ExitCode check_labels(const Args *a, const Model *m, const Dataset *d)
{
    for (size_t i = 0; i < d->n; i++) {
        if (d->labels[i] >= m->n_classes)
            return cli_usage(a, "%s: label %d, but the model has %d classes; is it the right data?", d->paths[i],
                             d->labels[i], m->n_classes);
    }
    if (d->classes != NULL && d->n_classes != (size_t)m->n_classes)
        fprintf(stderr, "Note: %zu class folders for a model of %d classes; folders are numbered in sorted order.\n",
                d->n_classes, m->n_classes);
    return EXIT_OK;
}

static ExitCode evaluate_and_report(const Args *a, const Model *m, const Dataset *d, int n_threads)
{
    ExitCode code = check_labels(a, m, d);
    if (code != EXIT_OK)
        return code;
    Evaluation e;
    EffStatus st = evaluate(&e, m, d, n_threads, cli_flag(a, "exif"), cli_flag(a, "quiet"));
    if (st != EFF_OK)
        return cli_fail(a, st);
    const char *save = cli_value(a, "save-logits");
    if (save != NULL)
        st = npy_write(save, e.logits, d->n, (size_t)e.n_classes);
    code = st == EFF_OK ? report(a, m, d, &e) : cli_fail(a, st);
    evaluation_free(&e);
    return code;
}

static ExitCode run(const Args *a)
{
    int n_images = 0, n_threads = 0;
    const char *dir = cli_value(a, "data"), *list = cli_value(a, "list");
    if (!cli_int(a, "images", 1, 1 << 30, &n_images) || !cli_int(a, "threads", 1, 256, &n_threads))
        return EXIT_USAGE;
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    if ((dir == NULL) == (list == NULL))
        return cli_usage(a, "give labelled pictures by --data DIR or by --list FILE");
    Dataset d;
    const EffStatus st = dir != NULL ? dataset_open_dir(&d, dir) : dataset_open_list(&d, list);
    if (st != EFF_OK)
        return cli_fail(a, st);
    if (n_images > 0)
        dataset_spread(&d, (size_t)n_images);
    Model m;
    ExitCode code = model_open(&m, a, a->n_words > 0 ? a->words[0] : NULL);
    if (code == EXIT_OK) {
        code = evaluate_and_report(a, &m, &d, n_threads);
        model_close(&m);
    }
    dataset_free(&d);
    return code;
}

const Command cmd_eval = {
    .name = "eval",
    .args = "[MODEL] --data DIR|--list FILE",
    .summary = "measure accuracy on labelled pictures",
    .details = "Prints top-1 and top-5 in percent with 95 % intervals (Wilson) and images per second.\n"
               "Class folders are numbered in sorted order.",
    .options = {options, model_options},
    .examples = {"effnet eval efficientnet-lite0 --data val/ --json",
                 "effnet eval b0.pth --arch efficientnet-b0 --num-classes 10 --size 64 --crop 1 --data test/"},
    .completes = COMPLETES_MODEL,
    .run = run,
};
