/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, building and running models for the commands. */
#include "model.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"
#include "imagenet_labels.h"

#include <stdlib.h>
#include <string.h>

const Option model_options[] = {
    {"arch", 0, "NAME", "architecture of a weights file, such as efficientnet-b0", COMPLETES_ARCH},
    {"in-channels", 0, "N", "channels of the input: 3 (RGB, the default) or 1 (gray)", COMPLETES_NOTHING},
    {"num-classes", 0, "N", "number of classes (default 1000)", COMPLETES_NOTHING},
    {"size", 0, "S", "input size in pixels (default: the architecture's)", COMPLETES_NOTHING},
    {"crop", 0, "F", "share of the resized picture that is kept (default: the architecture's)", COMPLETES_NOTHING},
    {"interpolation", 0, "K", "box, bilinear, hamming, bicubic or lanczos", COMPLETES_NOTHING},
    {"mean", 0, "R,G,B", "mean, as shares of 1 (0.485,0.456,0.406) or in 0..255", COMPLETES_NOTHING},
    {"std", 0, "R,G,B", "standard deviation, in the same unit as the mean", COMPLETES_NOTHING},
    {"padding", 0, "P", "same (TensorFlow) or symmetric (PyTorch)", COMPLETES_NOTHING},
    {"bn-eps", 0, "E", "epsilon of BatchNorm (default 1e-5; 1e-3 with TensorFlow padding)", COMPLETES_NOTHING},
    {"labels", 0, "FILE", "names of the classes, a line each", COMPLETES_FILE},
    {0}};

enum { MAX_LABELS_BYTES = 16 << 20 };

static bool has_weights_ending(const char *word)
{
    static const char *const endings[] = {".pth", ".pt", ".bin", ".safetensors", ".onnx", ".ckpt"};
    const char *dot = strrchr(word, '.');
    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof *endings; i++) {
        if (strcmp(dot, endings[i]) == 0)
            return true;
    }
    return false;
}

bool model_is_spec(const char *word)
{
    EffArch arch;
    if (has_weights_ending(word))
        return true;
    if (strcmp(word, "-") == 0 || eff_is_file(word) || eff_is_dir(word))
        return false;
    /* A bare word that is no file is a name; a misspelt one gets its suggestion. */
    return eff_arch_find(&arch, word) == EFF_OK || strpbrk(word, "./") == NULL;
}

/* Mean and std in either of the two units that people use, to 0..255. */
static bool apply_mean_std(const Args *a, EffPreprocess *pre)
{
    double mean[3], std[3];
    for (int c = 0; c < 3; c++) {
        mean[c] = (double)pre->mean[c];
        std[c] = (double)pre->std[c];
    }
    if (!cli_triple(a, "mean", -1e4, 1e4, mean) || !cli_triple(a, "std", 1e-9, 1e4, std))
        return false;
    const bool has_mean = cli_value(a, "mean") != NULL, has_std = cli_value(a, "std") != NULL;
    if (has_mean != has_std) {
        cli_usage(a, "--mean and --std go together: give both");
        return false;
    }
    double scale = 255;
    for (int c = 0; c < 3; c++) {
        if (!has_mean || mean[c] > 1 || std[c] > 1)
            scale = 1;
    }
    for (int c = 0; c < 3; c++) {
        pre->mean[c] = (float)(mean[c] * scale);
        pre->std[c] = (float)(std[c] * scale);
    }
    return true;
}

static ExitCode apply_options(const Args *a, EffArch *arch)
{
    double eps = (double)arch->bn_eps;
    const char *padding = cli_value(a, "padding"), *interpolation = cli_value(a, "interpolation");
    if (!cli_int(a, "in-channels", 1, 3, &arch->in_channels) ||
        !cli_int(a, "num-classes", 1, 65536, &arch->n_classes) || !cli_int(a, "size", 1, 4096, &arch->pre.size) ||
        !cli_double(a, "crop", 1e-3, 1, &arch->pre.crop) || !cli_double(a, "bn-eps", 1e-12, 0.5, &eps) ||
        !apply_mean_std(a, &arch->pre))
        return EXIT_USAGE;
    arch->bn_eps = (float)eps;
    if (interpolation != NULL && eff_interpolation_find(&arch->pre.interpolation, interpolation) != EFF_OK)
        return cli_usage(a, "%s", eff_last_message());
    if (padding != NULL && strcmp(padding, "same") == 0)
        arch->padding = EFF_PADDING_SAME;
    else if (padding != NULL && strcmp(padding, "symmetric") == 0)
        arch->padding = EFF_PADDING_SYMMETRIC;
    else if (padding != NULL)
        return cli_usage(a, "--padding '%s' is neither 'same' nor 'symmetric'", padding);
    return EXIT_OK;
}

ExitCode model_describe(const Args *a, const char *spec, EffArch *arch, char **file)
{
    const char *arch_name = cli_value(a, "arch");
    const EffHubModel *hub = spec == NULL ? eff_hub_model(0) : eff_hub_find(spec);
    const bool is_file = spec != NULL && hub == NULL && (has_weights_ending(spec) || eff_is_file(spec));
    *file = NULL;
    if (is_file) {
        if (!eff_is_file(spec))
            return cli_fail(a, eff_fail(EFF_ERR_IO, "%s: no such file; check the spelling of the path", spec));
        if (arch_name == NULL)
            return cli_usage(a, "%s: a weights file needs --arch NAME, such as --arch efficientnet-b0", spec);
    }
    if (arch_name == NULL)
        arch_name = hub != NULL ? hub->arch : spec;
    if (eff_arch_find(arch, arch_name) != EFF_OK)
        return cli_usage(a, "%s", eff_last_message());
    const ExitCode code = apply_options(a, arch);
    if (code != EXIT_OK)
        return code;
    if (is_file) {
        *file = strdup(spec);
        if (*file == NULL)
            return cli_fail(a, eff_fail_nomem(strlen(spec), "a path"));
    } else if (hub != NULL && eff_hub_path(file, hub) != EFF_OK) {
        *file = NULL; /* described all the same; model_open() says how to get it */
    }
    return EXIT_OK;
}

static EffStatus read_labels(Model *m, const char *path)
{
    EffBytes bytes;
    EffStatus st = eff_file_read(&bytes, path, MAX_LABELS_BYTES);
    if (st != EFF_OK)
        return st;
    m->labels = eff_calloc((size_t)m->n_classes, sizeof *m->labels);
    if (m->labels == NULL)
        st = eff_fail_nomem((size_t)m->n_classes * sizeof *m->labels, "labels");
    int n = 0;
    for (size_t at = 0; at < bytes.size && st == EFF_OK; n++) {
        const uint8_t *end = memchr(bytes.data + at, '\n', bytes.size - at);
        const size_t length = end != NULL ? (size_t)(end - bytes.data) - at : bytes.size - at;
        if (n < m->n_classes) {
            m->labels[n] = eff_strndup((const char *)bytes.data + at, length);
            if (m->labels[n] == NULL)
                st = eff_fail_nomem(length, "a label");
            else
                m->labels[n][strcspn(m->labels[n], "\r")] = '\0';
        }
        at += length + 1;
    }
    eff_free(bytes.data);
    if (st == EFF_OK && n != m->n_classes)
        st = eff_fail(EFF_ERR_FORMAT, "%s: %d labels for %d classes; give one line a class", path, n, m->n_classes);
    return st;
}

/* Weights ported from TensorFlow say so by their names; what the user asked for comes first. */
static void follow_naming(const Args *a, EffArch *arch, const EffWeights *w)
{
    EffNaming naming;
    if (eff_weights_naming(&naming, w) != EFF_OK || naming != EFF_NAMING_LUKEMELAS)
        return;
    if (cli_value(a, "padding") == NULL)
        arch->padding = EFF_PADDING_SAME;
    if (cli_value(a, "bn-eps") == NULL)
        arch->bn_eps = 1e-3f;
}

static EffStatus build(Model *m, const Args *a, const char *file)
{
    EffWeights *w = NULL;
    EffStatus st = eff_weights_open(&w, file);
    if (st == EFF_OK) {
        follow_naming(a, &m->arch, w);
        st = eff_graph_build(&m->graph, &m->arch);
    }
    if (st == EFF_OK) {
        st = eff_graph_load(m->graph, w);
        if (st != EFF_OK)
            eff_fail_in(st, "%s", file);
    }
    eff_weights_free(w);
    if (st == EFF_OK) {
        eff_graph_stats(m->graph, &m->stats);
        st = eff_graph_optimize(m->graph);
    }
    if (st == EFF_OK)
        st = eff_reference_create(&m->reference, m->graph);
    return st;
}

ExitCode model_open(Model *out, const Args *a, const char *spec)
{
    Model m = {0};
    char *file = NULL;
    const ExitCode code = model_describe(a, spec, &m.arch, &file);
    if (code != EXIT_OK)
        return code;
    EffStatus st = EFF_OK;
    const EffHubModel *hub = spec == NULL ? eff_hub_model(0) : eff_hub_find(spec);
    if (file == NULL && hub != NULL)
        st = eff_hub_path(&file, hub); /* again, for its message */
    else if (file == NULL)
        st = eff_fail(EFF_ERR_ARG, "%s: no published weights are known for it; name a weights file and give --arch %s",
                      m.arch.name, m.arch.name);
    m.title = eff_strdup(spec != NULL ? spec : hub->name);
    m.pre = m.arch.pre;
    m.n_classes = m.arch.n_classes;
    if (st == EFF_OK)
        st = m.title == NULL ? eff_fail_nomem(64, "a name") : build(&m, a, file);
    if (st == EFF_OK && cli_value(a, "labels") != NULL)
        st = read_labels(&m, cli_value(a, "labels"));
    m.file = file;
    if (st != EFF_OK) {
        model_close(&m);
        return cli_fail(a, st);
    }
    *out = m;
    return EXIT_OK;
}

void model_close(Model *m)
{
    for (int i = 0; m->labels != NULL && i < m->n_classes; i++)
        eff_free(m->labels[i]);
    eff_free(m->labels);
    eff_reference_free(m->reference);
    eff_graph_free(m->graph);
    eff_free(m->title);
    free(m->file);
    *m = (Model){0};
}

const char *model_label(const Model *m, int index, char *buffer)
{
    if (m->labels != NULL && m->labels[index] != NULL)
        return m->labels[index];
    if (m->n_classes == EFF_IMAGENET_CLASSES)
        return eff_imagenet_labels[index];
    snprintf(buffer, 32, "class %d", index);
    return buffer;
}

EffStatus model_session_create(ModelSession *out, const Model *m, int n_threads)
{
    ModelSession s = {.model = m};
    const size_t n_pixels = (size_t)m->pre.size * (size_t)m->pre.size;
    s.pixels = eff_malloc(n_pixels * 3);
    s.input = eff_calloc(n_pixels * 3, sizeof *s.input);
    s.logits = eff_calloc((size_t)m->n_classes, sizeof *s.logits);
    EffStatus st = EFF_OK;
    if (s.pixels == NULL || s.input == NULL || s.logits == NULL)
        st = eff_fail_nomem(n_pixels * 3 * sizeof *s.input, "a picture");
    if (st == EFF_OK)
        st = eff_reference_session_create(&s.reference, m->reference, n_threads);
    if (st != EFF_OK) {
        model_session_free(&s);
        return st;
    }
    *out = s;
    return EFF_OK;
}

void model_session_free(ModelSession *s)
{
    eff_reference_session_free(s->reference);
    eff_free(s->pixels);
    eff_free(s->input);
    eff_free(s->logits);
    *s = (ModelSession){0};
}

EffStatus model_session_run(ModelSession *s, const char *path, bool apply_orientation)
{
    const EffPreprocess *pre = &s->model->pre;
    const double t0 = eff_now();
    EffImage image = {0};
    EffStatus st = eff_image_open(&image, path, &(EffDecodeOptions){.apply_orientation = apply_orientation});
    if (st != EFF_OK)
        return st;
    const double t1 = eff_now();
    st = eff_image_prepare(s->pixels, &image, pre);
    eff_image_free(&image);
    if (st != EFF_OK)
        return eff_fail_in(st, "%s", path);
    eff_graph_normalize(s->model->graph, s->input, s->pixels);
    const double t2 = eff_now();
    eff_reference_run(s->reference, s->input, s->logits);
    s->decode_ms = 1e3 * (t1 - t0);
    s->preprocess_ms = 1e3 * (t2 - t1);
    s->inference_ms = 1e3 * (eff_now() - t2);
    return EFF_OK;
}
