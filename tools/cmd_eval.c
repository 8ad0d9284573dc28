/* SPDX-License-Identifier: Apache-2.0 */
/* effnet eval: accuracy on labelled pictures, of one model, or of two side by side. */
#include "commands.h"
#include "compare.h"
#include "dataset.h"
#include "evaluate.h"
#include "gate.h"
#include "model.h"
#include "npy.h"
#include "output.h"
#include "stats.h"

static const Option options[] = {
    {"data", 'd', "DIR", "labelled pictures: a folder a class, or files named INDEX_anything.jpg", COMPLETES_FILE},
    {"list", 'l', "FILE", "lines 'PATH LABEL', relative to the file", COMPLETES_FILE},
    {"images", 'n', "N", "use only N pictures, evenly spread (default: all)", COMPLETES_NOTHING},
    {"threads", 't', "N", "pictures at a time (default: one a CPU)", COMPLETES_NOTHING},
    {"gate", 'g', "EXPR", "exit with 3 unless it holds: kl_mean<=0.003 or b.top1>=88,agreement>98", COMPLETES_NOTHING},
    {"exif", 0, NULL, "turn pictures as their EXIF says (off: benchmarks don't)", COMPLETES_NOTHING},
    {"fast-decode", 0, NULL, "decode large JPEGs to 1/2, 1/4 or 1/8: faster, other pixels", COMPLETES_NOTHING},
    {"save-logits", 0, "FILE", "write float32 [pictures][classes] of (the last) MODEL as .npy", COMPLETES_FILE},
    {"quiet", 'q', NULL, "no progress line", COMPLETES_NOTHING},
    {"json", 0, NULL, "one JSON object", COMPLETES_NOTHING},
    {0}};

/* ---- One model ---- */

typedef struct Accuracy {
    int k; /* of top-k: 5, or all classes where there are fewer */
    double top1, topk, rate;
    Interval top1_ci, topk_ci;
    int n_threads;
} Accuracy;

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

static Interval percent(Interval share)
{
    return (Interval){100 * share.low, 100 * share.high};
}

static Accuracy accuracy_of(const Evaluation *e, const Dataset *d)
{
    Accuracy acc = {.k = e->n_classes < 5 ? e->n_classes : 5, .n_threads = e->n_threads};
    const size_t hits1 = count_hits(e, d, 1), hits5 = count_hits(e, d, acc.k);
    acc.top1 = 100 * (double)hits1 / (double)d->n;
    acc.topk = 100 * (double)hits5 / (double)d->n;
    acc.top1_ci = percent(stats_wilson(hits1, d->n));
    acc.topk_ci = percent(stats_wilson(hits5, d->n));
    acc.rate = (double)d->n / e->seconds;
    return acc;
}

static json_t *accuracy_json(const Accuracy *acc, const Model *m, size_t n)
{
    return json_pack("{s:s,s:I,s:f,s:o,s:f,s:o,s:f,s:i,s:s}", "model", m->title, "n", (json_int_t)n, "top1", acc->top1,
                     "top1_ci95", output_interval(acc->top1_ci.low, acc->top1_ci.high), "top5", acc->topk, "top5_ci95",
                     output_interval(acc->topk_ci.low, acc->topk_ci.high), "images_per_s", acc->rate, "threads",
                     acc->n_threads, "cpu", m->info->cpu);
}

static void print_accuracy(const Accuracy *acc, const Model *m, size_t n)
{
    printf("%s on %zu pictures\n", m->title, n);
    printf("  top-1  %6.2f %%   95 %% interval %.1f to %.1f\n", acc->top1, acc->top1_ci.low, acc->top1_ci.high);
    printf("  top-%d  %6.2f %%   95 %% interval %.1f to %.1f\n", acc->k, acc->topk, acc->topk_ci.low,
           acc->topk_ci.high);
    printf("  %.1f images/s, decoding included, %d threads\n", acc->rate, acc->n_threads);
}

/* ---- Two models ---- */

static json_t *comparison_json(const Comparison *c)
{
    const Interval agree = percent(stats_wilson(c->agree, c->n));
    return json_pack("{s:I,s:f,s:o,s:f,s:o,s:f,s:o,s:f,s:o,s:I,s:I,s:f}", "n", (json_int_t)c->n, "agreement",
                     100 * (double)c->agree / (double)c->n, "agreement_ci95", output_interval(agree.low, agree.high),
                     "kl_mean", c->kl_mean, "kl_mean_ci95", output_interval(c->kl_ci.low, c->kl_ci.high), "sqnr_db_p50",
                     c->sqnr_p50, "sqnr_db_p50_ci95", output_interval(c->sqnr_p50_ci.low, c->sqnr_p50_ci.high),
                     "sqnr_db_p5", c->sqnr_p5, "sqnr_db_p5_ci95",
                     output_interval(c->sqnr_p5_ci.low, c->sqnr_p5_ci.high), "lost", (json_int_t)c->lost, "gained",
                     (json_int_t)c->gained, "mcnemar_p", c->mcnemar_p);
}

static void print_comparison(const Comparison *c, const char *a, const char *b)
{
    const Interval agree = percent(stats_wilson(c->agree, c->n));
    printf("%s against %s\n", b, a);
    printf("  agreement   %7.2f %%      95 %% interval %.2f to %.2f\n", 100 * (double)c->agree / (double)c->n,
           agree.low, agree.high);
    printf("  KL, mean    %9.5f     95 %% interval %.5f to %.5f\n", c->kl_mean, c->kl_ci.low, c->kl_ci.high);
    printf("  SQNR, p50   %7.2f dB     95 %% interval %.2f to %.2f\n", c->sqnr_p50, c->sqnr_p50_ci.low,
           c->sqnr_p50_ci.high);
    printf("  SQNR, p5    %7.2f dB     95 %% interval %.2f to %.2f\n", c->sqnr_p5, c->sqnr_p5_ci.low,
           c->sqnr_p5_ci.high);
    printf("  right by the first only %zu, by the second only %zu: chance with p = %.3f (McNemar)\n", c->lost,
           c->gained, c->mcnemar_p);
}

/* ---- The command ---- */

static ExitCode check_labels(const Args *a, const Model *m, const Dataset *d)
{
    for (size_t i = 0; i < d->n; i++) {
        if (d->labels[i] >= m->info->n_classes)
            return cli_usage(a, "%s: label %d, but %s has %d classes; is it the right data?", d->paths[i], d->labels[i],
                             m->title, m->info->n_classes);
    }
    if (d->classes != NULL && d->n_classes != (size_t)m->info->n_classes)
        fprintf(stderr, "Note: %zu class folders for a model of %d classes; folders are numbered in sorted order.\n",
                d->n_classes, m->info->n_classes);
    return EXIT_OK;
}

static ExitCode evaluate_model(const Args *a, const Model *m, const Dataset *d, Evaluation *e)
{
    int n_threads = 0;
    if (!cli_int(a, "threads", 1, 256, &n_threads))
        return EXIT_USAGE;
    const ExitCode code = check_labels(a, m, d);
    if (code != EXIT_OK)
        return code;
    const EffStatus st = evaluate(e, m, d,
                                  &(EvaluateOptions){.n_threads = n_threads,
                                                     .apply_orientation = cli_flag(a, "exif"),
                                                     .fast_decode = cli_flag(a, "fast-decode"),
                                                     .quiet = cli_flag(a, "quiet")});
    return st == EFF_OK ? EXIT_OK : cli_fail(a, st);
}

/* Text or JSON of one or two evaluations, then the gate. */
static ExitCode report(const Args *a, const Model *models, const Evaluation *e, const Dataset *d, int n)
{
    Accuracy acc[2];
    Comparison c = {0};
    for (int i = 0; i < n; i++)
        acc[i] = accuracy_of(&e[i], d);
    if (n == 2) {
        const EffStatus st = compare(&c, &e[0], &e[1], d->labels, d->n);
        if (st != EFF_OK)
            return cli_fail(a, st);
    }
    json_t *result = n == 1 ? accuracy_json(&acc[0], &models[0], d->n) : comparison_json(&c);
    if (n == 2) {
        json_object_set_new(result, "a", accuracy_json(&acc[0], &models[0], d->n));
        json_object_set_new(result, "b", accuracy_json(&acc[1], &models[1], d->n));
    }
    ExitCode code;
    if (cli_flag(a, "json")) {
        code = output_json(a, json_incref(result));
    } else {
        for (int i = 0; i < n; i++)
            print_accuracy(&acc[i], &models[i], d->n);
        if (n == 2)
            print_comparison(&c, models[0].title, models[1].title);
        code = output_flush(a);
    }
    if (code == EXIT_OK && cli_value(a, "gate") != NULL)
        code = gate_check(a, result, cli_value(a, "gate"));
    json_decref(result);
    return code;
}

static ExitCode run_models(const Args *a, const Dataset *d)
{
    Model models[2] = {{0}};
    Evaluation e[2] = {{0}};
    const int n = a->n_words == 2 ? 2 : 1;
    ExitCode code = EXIT_OK;
    for (int i = 0; i < n && code == EXIT_OK; i++)
        code = model_open(&models[i], a, i < a->n_words ? a->words[i] : NULL);
    for (int i = 0; i < n && code == EXIT_OK; i++)
        code = evaluate_model(a, &models[i], d, &e[i]);
    const char *save = cli_value(a, "save-logits");
    if (code == EXIT_OK && save != NULL) {
        const EffStatus st = npy_write(save, e[n - 1].logits, d->n, (size_t)e[n - 1].n_classes);
        code = st == EFF_OK ? EXIT_OK : cli_fail(a, st);
    }
    if (code == EXIT_OK)
        code = report(a, models, e, d, n);
    for (int i = 0; i < n; i++) {
        evaluation_free(&e[i]);
        model_close(&models[i]);
    }
    return code;
}

static ExitCode run(const Args *a)
{
    int n_images = 0;
    const char *dir = cli_value(a, "data"), *list = cli_value(a, "list");
    if (!cli_int(a, "images", 1, 1 << 30, &n_images))
        return EXIT_USAGE;
    if (a->n_words > 2)
        return cli_usage(a, "one MODEL, or two to compare, but '%s' is a third", a->words[2]);
    if ((dir == NULL) == (list == NULL))
        return cli_usage(a, "give labelled pictures by --data DIR or by --list FILE");
    if (cli_value(a, "gate") != NULL && !gate_parses(a, cli_value(a, "gate")))
        return EXIT_USAGE;
    Dataset d;
    const EffStatus st = dir != NULL ? dataset_open_dir(&d, dir) : dataset_open_list(&d, list);
    if (st != EFF_OK)
        return cli_fail(a, st);
    if (n_images > 0)
        dataset_spread(&d, (size_t)n_images);
    const ExitCode code = run_models(a, &d);
    dataset_free(&d);
    return code;
}

const Command cmd_eval = {
    .name = "eval",
    .args = "[MODEL [MODEL]] --data DIR|--list FILE",
    .summary = "measure accuracy on labelled pictures, or compare two models",
    .details = "Prints top-1 and top-5 in percent with 95 % intervals, and images per second. Two models are compared\n"
               "picture by picture: agreement, KL, SQNR of the logits, answers lost and gained.",
    .options = {options, cpu_option, model_options},
    .examples = {"effnet eval efficientnet-lite0 --data val/ --json",
                 "effnet eval efficientnet-lite0 lite0.bin --data val/ --gate 'kl_mean<=0.003'"},
    .completes = COMPLETES_MODEL,
    .run = run,
};
