/* SPDX-License-Identifier: Apache-2.0 */
/* effnet classify: what is on a picture. */
#include "commands.h"
#include "dataset.h"
#include "model.h"
#include "output.h"
#include "stats.h"

#include "base/mem.h"
#include "base/status.h"

#include <string.h>

static const Option options[] = {
    {"top", 'k', "N", "how many classes to show (default 5)", COMPLETES_NOTHING},
    {"threads", 't', "N", "threads for a picture (default: one a CPU)", COMPLETES_NOTHING},
    {"no-exif", 0, NULL, "leave the picture as stored; by default it is turned as its EXIF says", COMPLETES_NOTHING},
    {"fast-decode", 0, NULL, "decode large JPEGs to 1/2, 1/4 or 1/8: faster, other pixels", COMPLETES_NOTHING},
    {"json", 0, NULL, "one JSON object a picture and line", COMPLETES_NOTHING},
    {0}};

/* jansson takes UTF-8 only; other bytes of a path become '?'. */
static json_t *json_path(const char *path)
{
    json_t *text = json_string(path);
    if (text != NULL)
        return text;
    char *copy = eff_strdup(path);
    for (char *c = copy; c != NULL && *c != '\0'; c++)
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    text = copy != NULL ? json_string(copy) : NULL;
    eff_free(copy);
    return text;
}

static const char *type_of(const Model *m)
{
    return m->info->is_int8 ? "int8" : "float32";
}

static ExitCode print_json(const Args *a, const ModelSession *s, const char *path, const int *top, const double *prob,
                           int k)
{
    char buffer[32];
    json_t *list = json_array();
    for (int i = 0; i < k; i++)
        json_array_append_new(list, json_pack("{s:i,s:s,s:f}", "class", top[i], "label",
                                              model_label(s->model, top[i], buffer), "prob", prob[top[i]]));
    return output_json(a, json_pack("{s:o,s:s,s:s,s:o,s:f,s:f,s:f,s:f}", "file", json_path(path), "model",
                                    s->model->title, "type", type_of(s->model), "top", list, "time_ms",
                                    s->decode_ms + s->preprocess_ms + s->inference_ms, "decode_ms", s->decode_ms,
                                    "preprocess_ms", s->preprocess_ms, "inference_ms", s->inference_ms));
}

static void print_text(const ModelSession *s, const char *path, const int *top, const double *prob, int k)
{
    char buffer[32];
    const bool colour = cli_colour(stdout);
    printf("%s%s%s\n", colour ? "\033[1m" : "", path, colour ? "\033[0m" : "");
    for (int i = 0; i < k; i++)
        printf("  %6.2f %%  %s (%d)\n", 100 * prob[top[i]], model_label(s->model, top[i], buffer), top[i]);
    printf("  decode %.1f ms, preprocess %.1f ms, inference %.1f ms (%s)\n", s->decode_ms, s->preprocess_ms,
           s->inference_ms, type_of(s->model));
}

static ExitCode classify_all(const Args *a, const Model *m, const Dataset *pictures, int k, int n_threads)
{
    ModelSession s;
    EffStatus st = model_session_create(&s, m, n_threads);
    if (st != EFF_OK)
        return cli_fail(a, st);
    s.fast_decode = cli_flag(a, "fast-decode");
    double *prob = eff_calloc((size_t)m->info->n_classes, sizeof *prob);
    int *top = eff_calloc((size_t)k, sizeof *top);
    ExitCode code = EXIT_OK; /* of the first picture that failed */
    if (prob == NULL || top == NULL)
        code = cli_fail(a, eff_fail_nomem((size_t)m->info->n_classes * sizeof *prob, "probabilities"));
    for (size_t i = 0; i < pictures->n && prob != NULL && top != NULL; i++) {
        const char *path = pictures->paths[i];
        ExitCode one;
        st = model_session_run(&s, path, !cli_flag(a, "no-exif"));
        if (st != EFF_OK) {
            one = cli_fail(a, st);
        } else {
            stats_softmax(prob, s.logits, m->info->n_classes);
            stats_top(top, k, s.logits, m->info->n_classes);
            one = EXIT_OK;
            if (cli_flag(a, "json"))
                one = print_json(a, &s, path, top, prob, k);
            else
                print_text(&s, path, top, prob, k);
        }
        code = code == EXIT_OK ? one : code;
    }
    eff_free(prob);
    eff_free(top);
    model_session_free(&s);
    const ExitCode flushed = output_flush(a);
    return code == EXIT_OK ? flushed : code;
}

static ExitCode run(const Args *a)
{
    int k = 5, n_threads = 0;
    if (!cli_int(a, "top", 1, 1000, &k) || !cli_int(a, "threads", 1, 256, &n_threads))
        return EXIT_USAGE;
    const bool has_model = a->n_words > 0 && model_is_spec(a->words[0]);
    const int first = has_model || cli_value(a, "arch") != NULL ? 1 : 0;
    if (a->n_words <= first)
        return cli_usage(a, "no picture given; name a .jpg, .png or .webp file, a folder, or - for standard input");
    Dataset pictures = {0};
    EffStatus st = EFF_OK;
    for (int i = first; i < a->n_words && st == EFF_OK; i++)
        st = dataset_add(&pictures, a->words[i]);
    if (st != EFF_OK) {
        dataset_free(&pictures);
        return cli_fail(a, st);
    }
    Model m;
    ExitCode code = model_open(&m, a, first ? a->words[0] : NULL);
    if (code == EXIT_OK) {
        code = classify_all(a, &m, &pictures, k < m.info->n_classes ? k : m.info->n_classes, n_threads);
        model_close(&m);
    }
    dataset_free(&pictures);
    return code;
}

const Command cmd_classify = {
    .name = "classify",
    .args = "[MODEL] IMAGE...",
    .summary = "name what is on pictures",
    .details =
        "MODEL is a name (efficientnet-lite0), a .bin, or a weights file with --arch; without one, the int8 model\n"
        "that 'effnet quantize' left in the cache, or the float one.\n"
        "IMAGE is a JPEG, PNG or WebP file, a folder of them, or - for standard input.",
    .options = {options, cpu_option, model_options},
    .examples = {"effnet classify photo.jpg",
                 "effnet classify b0.pth --arch efficientnet-b0 --num-classes 10 --json photos/"},
    .completes = COMPLETES_FILE,
    .run = run,
};
