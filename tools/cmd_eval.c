/* SPDX-License-Identifier: Apache-2.0 */
/* effnet eval: accuracy on labelled pictures, of one model, or of two side by side. */
#include "bootstrap.h"
#include "commands.h"
#include "compare.h"
#include "dataset.h"
#include "evaluate.h"
#include "gate.h"
#include "interrupt.h"
#include "model.h"
#include "npy.h"
#include "output.h"
#include "stats.h"
#include "views.h"

#include "base/mem.h"
#include "base/status.h"

#include <math.h>

static const Option options[] = {
    {"data", 'd', "DIR", "labelled pictures: a folder a class, or files named INDEX_anything.jpg", COMPLETES_FILE},
    {"list", 'l', "FILE", "lines 'PATH LABEL', relative to the file", COMPLETES_FILE},
    {"images", 'n', "N", "use only N pictures, evenly spread (default: all)", COMPLETES_NOTHING},
    {"views", 0, "K", "views of each picture: crops and mirrors, for closer figures (default 1)", COMPLETES_NOTHING},
    {"threads", 't', "N", "pictures at a time (default: one a CPU)", COMPLETES_NOTHING},
    {"gate", 'g', "EXPR", "exit with 3 unless it holds: kl_mean<=0.003 or b.top1>=88,agreement>98", COMPLETES_NOTHING},
    {"exif", 0, NULL, "turn pictures as their EXIF says (off: benchmarks don't)", COMPLETES_NOTHING},
    {"fast-decode", 0, NULL, "decode large JPEGs to 1/2, 1/4 or 1/8: faster, other pixels", COMPLETES_NOTHING},
    {"save-logits", 0, "FILE", "write float32 [pictures * views][classes] of (the last) MODEL as .npy", COMPLETES_FILE},
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

static Interval percent(Interval share)
{
    return (Interval){100 * share.low, 100 * share.high};
}

/* Shares of each photo's views whose label is the best class, and among the k best. */
static void count_hits(double *first, double *among, const Evaluation *e, const Dataset *d, int k)
{
    const double share = 1 / (double)e->n_views;
    for (size_t i = 0; i < d->n; i++) {
        for (size_t v = i * (size_t)e->n_views; v < (i + 1) * (size_t)e->n_views; v++) {
            int top[5];
            stats_top(top, k, e->logits + v * (size_t)e->n_classes, e->n_classes);
            for (int r = 0; r < k; r++)
                among[i] += top[r] == d->labels[i] ? share : 0;
            first[i] += top[0] == d->labels[i] ? share : 0;
        }
    }
}

/* In percent. Of one view Wilson's interval; of several, or where the bootstrap sees no difference between photos, see
 * bootstrap.h. */
static Interval share_interval(const BootstrapMean *m, size_t n, int n_views)
{
    if (n_views == 1 || !(m->se > 0))
        return percent(stats_wilson((size_t)lround(m->mean * (double)n), n));
    return percent(m->ci);
}

static EffStatus accuracy_of(Accuracy *out, const Evaluation *e, const Dataset *d)
{
    double *first = eff_calloc(2 * d->n, sizeof *first), *among = first + d->n;
    if (first == NULL)
        return eff_fail_nomem(2 * d->n * sizeof *first, "the accuracy");
    Accuracy acc = {.k = e->n_classes < 5 ? e->n_classes : 5, .n_threads = e->n_threads};
    count_hits(first, among, e, d, acc.k);
    BootstrapMean means[2] = {{.values = first}, {.values = among}};
    const EffStatus st = bootstrap(d->n, (size_t)e->n_views, means, 2, NULL, 0);
    acc.top1 = 100 * means[0].mean;
    acc.topk = 100 * means[1].mean;
    acc.top1_ci = share_interval(&means[0], d->n, e->n_views);
    acc.topk_ci = share_interval(&means[1], d->n, e->n_views);
    acc.rate = (double)d->n * e->n_views / e->seconds;
    eff_free(first);
    *out = acc;
    return st;
}

static json_t *interval_json(Interval i)
{
    return output_interval(i.low, i.high);
}

static json_t *accuracy_json(const Accuracy *acc, const Model *m, size_t n, int n_views)
{
    json_t *object = json_pack("{s:s,s:I}", "model", m->title, "n", (json_int_t)n);
    if (n_views > 1)
        json_object_set_new(object, "views", json_integer(n_views));
    json_t *rest = json_pack("{s:f,s:o,s:f,s:o,s:f,s:i,s:s}", "top1", acc->top1, "top1_ci95",
                             interval_json(acc->top1_ci), "top5", acc->topk, "top5_ci95", interval_json(acc->topk_ci),
                             "images_per_s", acc->rate, "threads", acc->n_threads, "cpu", m->info->cpu);
    json_object_update_new(object, rest);
    return object;
}

static void print_accuracy(const Accuracy *acc, const Model *m, size_t n, int n_views)
{
    printf("%s on %zu pictures", m->title, n);
    if (n_views > 1)
        printf(", %d views of each", n_views);
    printf("\n  top-1  %6.2f %%   95 %% interval %.1f to %.1f\n", acc->top1, acc->top1_ci.low, acc->top1_ci.high);
    printf("  top-%d  %6.2f %%   95 %% interval %.1f to %.1f\n", acc->k, acc->topk, acc->topk_ci.low,
           acc->topk_ci.high);
    printf("  %.1f images/s, decoding included, %d threads\n", acc->rate, acc->n_threads);
}

/* ---- Two models ---- */

/* A number and its interval, both times `unit`. */
static void set_estimate(json_t *object, const char *name, const Estimate *e, double unit)
{
    char ci[64];
    snprintf(ci, sizeof ci, "%s_ci95", name);
    json_object_set_new(object, name, json_real(unit * e->value));
    json_object_set_new(object, ci, output_interval(unit * e->ci.low, unit * e->ci.high));
}

static json_t *comparison_json(const Comparison *c)
{
    json_t *object = json_pack("{s:I,s:I}", "n", (json_int_t)c->n, "views", (json_int_t)c->n_views);
    const Estimate *diff = &c->expected_diff, loss = {0 - diff->value, {0 - diff->ci.high, 0 - diff->ci.low}};
    set_estimate(object, "agreement", &c->agree, 100);
    set_estimate(object, "kl_mean", &c->kl, 1);
    set_estimate(object, "sqnr_db_p50", &c->sqnr_p50, 1);
    set_estimate(object, "sqnr_db_p5", &c->sqnr_p5, 1);
    json_object_update_new(object, json_pack("{s:I,s:I,s:I,s:I,s:f}", "lost", (json_int_t)c->lost, "gained",
                                             (json_int_t)c->gained, "photos_lost", (json_int_t)c->photos_lost,
                                             "photos_gained", (json_int_t)c->photos_gained, "mcnemar_p", c->mcnemar_p));
    set_estimate(object, "top1_diff", &c->top1_diff, 100);
    set_estimate(object, "expected_loss", &loss, 100);
    json_object_update_new(object,
                           json_pack("{s:f,s:f,s:f}", "expected_agreement", 100 * c->expected_agree, "detectable_top1",
                                     100 * c->detect_top1, "detectable_expected", 100 * c->detect_expected));
    return object;
}

static void print_comparison(const Comparison *c, const char *a, const char *b)
{
    const Estimate *agree = &c->agree, *kl = &c->kl, *p50 = &c->sqnr_p50, *p5 = &c->sqnr_p5, *diff = &c->top1_diff,
                   *expected = &c->expected_diff;
    printf("%s against %s\n", b, a);
    printf("  agreement   %7.2f %%      95 %% interval %.2f to %.2f; %.2f expected\n", 100 * agree->value,
           100 * agree->ci.low, 100 * agree->ci.high, 100 * c->expected_agree);
    printf("  KL, mean    %9.5f     95 %% interval %.5f to %.5f\n", kl->value, kl->ci.low, kl->ci.high);
    printf("  SQNR, p50   %7.2f dB     95 %% interval %.2f to %.2f\n", p50->value, p50->ci.low, p50->ci.high);
    printf("  SQNR, p5    %7.2f dB     95 %% interval %.2f to %.2f\n", p5->value, p5->ci.low, p5->ci.high);
    printf("  top-1       %+7.2f points  95 %% interval %+.2f to %+.2f\n", 100 * diff->value, 100 * diff->ci.low,
           100 * diff->ci.high);
    printf("  expected    %+7.2f points  95 %% interval %+.2f to %+.2f, under noise like that measured\n",
           100 * expected->value, 100 * expected->ci.low, 100 * expected->ci.high);
    if (c->n_views > 1)
        printf("  views right by the first only %zu, by the second only %zu; photos %zu and %zu", c->lost, c->gained,
               c->photos_lost, c->photos_gained);
    else
        printf("  right by the first only %zu, by the second only %zu", c->lost, c->gained);
    printf(": chance with p = %.3f (%s)\n", c->mcnemar_p, c->n_views > 1 ? "sign test" : "McNemar");
    if (c->n < COMPARE_FEWEST)
        printf("These %zu pictures are too few to say which difference they could show; take %d or more.\n", c->n,
               COMPARE_FEWEST);
    else
        printf("These %zu pictures resolve a true difference of %.2f points of top-1, or of %.2f in what is expected\n"
               "(at 95 %% confidence, found four times in five); smaller ones may be there unseen.\n",
               c->n, 100 * c->detect_top1, 100 * c->detect_expected);
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
    int n_threads = 0, n_views = 1;
    if (!cli_int(a, "threads", 1, 256, &n_threads) || !cli_int(a, "views", 1, VIEWS_MAX, &n_views))
        return EXIT_USAGE;
    const ExitCode code = check_labels(a, m, d);
    if (code != EXIT_OK)
        return code;
    const EvaluateOptions how = {.n_threads = n_threads,
                                 .n_views = n_views,
                                 .apply_orientation = cli_flag(a, "exif"),
                                 .fast_decode = cli_flag(a, "fast-decode"),
                                 .quiet = cli_flag(a, "quiet")};
    const EffStatus st = evaluate(e, m, d, &how);
    return st == EFF_OK ? EXIT_OK : cli_fail(a, st);
}

/* Text or JSON of one or two evaluations, then the gate. */
static ExitCode report(const Args *a, const Model *models, const Evaluation *e, const Dataset *d, int n)
{
    Accuracy acc[2];
    Comparison c = {0};
    EffStatus st = EFF_OK;
    for (int i = 0; i < n && st == EFF_OK; i++)
        st = accuracy_of(&acc[i], &e[i], d);
    if (st == EFF_OK && n == 2)
        st = compare(&c, &e[0], &e[1], d->labels, d->n);
    if (st != EFF_OK)
        return cli_fail(a, st);
    const int n_views = e[0].n_views;
    json_t *result = n == 1 ? accuracy_json(&acc[0], &models[0], d->n, n_views) : comparison_json(&c);
    if (n == 2) {
        json_object_set_new(result, "a", accuracy_json(&acc[0], &models[0], d->n, n_views));
        json_object_set_new(result, "b", accuracy_json(&acc[1], &models[1], d->n, n_views));
    }
    ExitCode code;
    if (cli_flag(a, "json")) {
        code = output_json(a, json_incref(result));
    } else {
        for (int i = 0; i < n; i++)
            print_accuracy(&acc[i], &models[i], d->n, n_views);
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
        const EffStatus st =
            npy_write(save, e[n - 1].logits, d->n * (size_t)e[n - 1].n_views, (size_t)e[n - 1].n_classes);
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
    int n_images = 0, n_views = 1;
    const char *dir = cli_value(a, "data"), *list = cli_value(a, "list");
    interrupt_catch();
    if (!cli_int(a, "images", 1, 1 << 30, &n_images) || !cli_int(a, "views", 1, VIEWS_MAX, &n_views))
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
    .details =
        "Prints top-1 and top-5 in percent with 95 % intervals, and images per second. Two models are compared\n"
        "picture by picture: agreement, KL, SQNR of the logits, answers lost and gained, the loss of top-1 that\n"
        "noise like that measured makes, and which difference the pictures can resolve.",
    .options = {options, cpu_option, model_options},
    .examples = {"effnet eval efficientnet-lite0 --data val/ --json",
                 "effnet eval efficientnet-lite0 lite0.bin --data val/ --gate 'kl_mean<=0.003'"},
    .completes = COMPLETES_MODEL,
    .run = run,
};
