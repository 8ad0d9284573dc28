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
    {"input-shape", 0, "DIMS", "of an ONNX model with symbolic dimensions, such as 1,3,224,224", COMPLETES_NOTHING},
    {"external-data", 0, NULL, "let an ONNX model read weights from other files of its folder", COMPLETES_NOTHING},
    {0}};

const Option cpu_option[] = {{"cpu", 0, "LEVEL",
                              "c, avx2, avxvnni, avx512vnni, avx512vbmi, avx512amx (default: the best here)",
                              COMPLETES_NOTHING},
                             {"float", 0, NULL, "the default model in float instead of int8", COMPLETES_NOTHING},
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

/* Whether the command has this option at all, and it was given. */
static bool has_flag(const Args *a, const char *option)
{
    for (int i = 0; i < a->n_options; i++) {
        if (strcmp(a->options[i]->name, option) == 0)
            return a->values[i] != NULL;
    }
    return false;
}

static bool starts_as_bin(const char *path)
{
    uint8_t head[8];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    const size_t n = fread(head, 1, sizeof head, file);
    fclose(file);
    return eff_model_is_bin(head, n) != 0;
}

bool model_ends_as_onnx(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL && strcmp(dot, ".onnx") == 0;
}

static ExitCode find_file(const Args *a, const char *spec, ModelSpec *out)
{
    if (strcmp(spec, "-") != 0 && !eff_is_file(spec))
        return cli_fail(a, eff_fail(EFF_ERR_IO, "%s: no such file; check the spelling of the path", spec));
    out->file = strdup(spec);
    if (out->file == NULL)
        return cli_fail(a, eff_fail_nomem(strlen(spec), "a path"));
    out->is_bin = starts_as_bin(spec);
    if (out->is_bin)
        return EXIT_OK;
    out->is_onnx = model_ends_as_onnx(spec);
    if (out->is_onnx)
        return EXIT_OK;
    const char *arch = cli_value(a, "arch");
    if (arch == NULL)
        return cli_usage(a, "%s: a weights file needs --arch NAME, such as --arch efficientnet-b0", spec);
    if (eff_arch_find(&out->arch, arch) != EFF_OK)
        return cli_usage(a, "%s", eff_last_message());
    return apply_options(a, &out->arch);
}

const EffHubModel *model_published(const char *name)
{
    EffArch arch;
    const EffHubModel *hub = eff_hub_find(name);
    return hub == NULL && eff_arch_find(&arch, name) == EFF_OK ? eff_hub_find(arch.name) : hub;
}

ExitCode model_find(const Args *a, const char *spec, ModelSpec *out)
{
    *out = (ModelSpec){0};
    const EffHubModel *hub = spec == NULL ? eff_hub_model(0) : eff_hub_find(spec);
    if (hub == NULL && (has_weights_ending(spec) || eff_is_file(spec)))
        return find_file(a, spec, out);
    if (hub == NULL)
        hub = model_published(spec);
    const char *arch = cli_value(a, "arch") != NULL ? cli_value(a, "arch") : hub != NULL ? hub->arch : spec;
    if (spec == NULL && !has_flag(a, "float") && eff_hub_int8_path(&out->file, hub) == EFF_OK) {
        out->is_bin = eff_is_file(out->file);
        if (out->is_bin)
            return EXIT_OK;
        free(out->file);
        out->file = NULL;
    }
    if (eff_arch_find(&out->arch, arch) != EFF_OK)
        return cli_usage(a, "%s", eff_last_message());
    if (hub != NULL && eff_hub_path(&out->file, hub) != EFF_OK)
        out->file = NULL; /* described all the same; model_load_graph() says how to get it */
    return apply_options(a, &out->arch);
}

void model_spec_free(ModelSpec *spec)
{
    free(spec->file);
    *spec = (ModelSpec){0};
}

/* Weights ported from TensorFlow say so by their names; what the user asked for comes first. */
static void follow_naming(const Args *a, EffArch *arch, const EffWeights *w)
{
    EffNaming naming;
    if (eff_weights_naming(&naming, w) != EFF_OK || naming != EFF_NAMING_LUKEMELAS)
        return;
    if (!has_flag(a, "padding"))
        arch->padding = EFF_PADDING_SAME;
    if (!has_flag(a, "bn-eps"))
        arch->bn_eps = 1e-3f;
}

ExitCode model_onnx_options(const Args *a, EffOnnxOptions *out, EffPreprocess *pre)
{
    *out = (EffOnnxOptions){.external_data = has_flag(a, "external-data")};
    static const char *const others[] = {"size", "in-channels", "num-classes", "padding", "bn-eps"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (has_flag(a, others[i]))
            return cli_usage(a, "--%s is fixed in an ONNX model; leave it out", others[i]);
    }
    const char *at = has_flag(a, "input-shape") ? cli_value(a, "input-shape") : "";
    while (*at != '\0') {
        char *end;
        const long long d = strtoll(at, &end, 10);
        if (end == at || d < 1 || d > 65536 || out->n_dims == EFF_MAX_RANK || strchr(",x", *end) == NULL)
            return cli_usage(a, "--input-shape '%s' is no list of sizes, such as 1,3,224,224",
                             cli_value(a, "input-shape"));
        out->input_shape[out->n_dims++] = d;
        at = end + (*end != '\0');
    }
    static const char *const own[] = {"crop", "interpolation", "mean", "std", "arch"};
    bool any = false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        any = any || has_flag(a, own[i]);
    if (!any)
        return EXIT_OK;
    /* Options build on the architecture's preprocessing, B0's without one: ImageNet's mean and std. */
    EffArch arch;
    const char *name = has_flag(a, "arch") ? cli_value(a, "arch") : "efficientnet-b0";
    if (eff_arch_find(&arch, name) != EFF_OK)
        return cli_usage(a, "%s", eff_last_message());
    const ExitCode code = apply_options(a, &arch);
    *pre = arch.pre;
    out->pre = pre;
    return code;
}

/* Weights of 1000 classes are taken for ImageNet's, where they bring no labels of their own. */
static EffStatus label(EffGraph *g)
{
    EffGraphStats stats;
    eff_graph_stats(g, &stats);
    const char *const *labels = model_default_labels(stats.n_classes);
    return labels != NULL && eff_graph_labels(g) == NULL ? eff_graph_set_labels(g, labels) : EFF_OK;
}

/* The network of an ONNX file; what it is goes to the spec's arch, for reports. */
static ExitCode load_onnx(const Args *a, ModelSpec *spec, bool as_written, EffGraph **out)
{
    EffOnnxOptions options;
    EffPreprocess pre;
    EffGraphStats stats;
    const ExitCode code = model_onnx_options(a, &options, &pre);
    if (code != EXIT_OK)
        return code;
    int n_pairs = 0;
    options.keep_spelling = as_written;
    options.drop_pairs = spec->for_int8 ? &n_pairs : NULL;
    EffGraph *g = NULL;
    EffStatus st = eff_onnx_open(&g, spec->file, &options);
    if (st == EFF_OK)
        st = label(g);
    if (st != EFF_OK) {
        eff_graph_free(g);
        return cli_fail(a, st);
    }
    if (n_pairs > 0)
        fprintf(
            stderr,
            "Note: %s is quantized already: %d pairs of QuantizeLinear and DequantizeLinear are left out. Its weights "
            "stay as they were rounded; the float model gives better results.\n",
            spec->file, n_pairs);
    *out = g;
    eff_graph_stats(*out, &stats);
    if (spec->arch.pre.size == stats.input_size) /* of the compiled model that it was made into */
        eff_graph_set_preprocess(*out, &spec->arch.pre);
    snprintf(spec->arch.name, sizeof spec->arch.name, "onnx");
    spec->arch.pre = *eff_graph_preprocess(*out);
    spec->arch.n_classes = stats.n_classes;
    spec->arch.in_channels = stats.in_channels;
    return EXIT_OK;
}

ExitCode model_load_graph(const Args *a, ModelSpec *spec, EffGraph **out)
{
    if (spec->is_onnx)
        return load_onnx(a, spec, false, out);
    const ExitCode code = model_load_as_written(a, spec, out);
    if (code != EXIT_OK)
        return code;
    const EffStatus st = eff_graph_optimize(*out);
    if (st == EFF_OK)
        return EXIT_OK;
    eff_graph_free(*out);
    *out = NULL;
    return cli_fail(a, st);
}

ExitCode model_load_as_written(const Args *a, ModelSpec *spec, EffGraph **out)
{
    EffWeights *w = NULL;
    EffGraph *g = NULL;
    EffStatus st = EFF_OK;
    if (spec->is_bin)
        return cli_usage(a, "%s is compiled already; name its weights instead", spec->file);
    if (spec->is_onnx)
        return load_onnx(a, spec, true, out);
    if (spec->file == NULL) {
        const EffHubModel *hub = eff_hub_find(spec->arch.name);
        if (hub != NULL)
            return cli_fail(a, eff_hub_path(&spec->file, hub)); /* again, for its message */
        return cli_usage(a, "no published weights are known for %s; name a weights file and give --arch %s",
                         spec->arch.name, spec->arch.name);
    }
    st = eff_weights_open(&w, spec->file);
    if (st == EFF_OK) {
        follow_naming(a, &spec->arch, w);
        st = eff_graph_build(&g, &spec->arch);
    }
    if (st == EFF_OK) {
        st = eff_graph_load(g, w);
        if (st != EFF_OK)
            eff_fail_in(st, "%s", spec->file);
    }
    eff_weights_free(w);
    if (st == EFF_OK)
        st = label(g);
    if (st != EFF_OK) {
        eff_graph_free(g);
        return cli_fail(a, st);
    }
    *out = g;
    return EXIT_OK;
}

void model_labels_free(char **labels, int n_classes)
{
    for (int i = 0; labels != NULL && i < n_classes; i++)
        eff_free(labels[i]);
    eff_free(labels);
}

EffStatus model_read_labels(char ***out, const char *path, int n_classes)
{
    EffBytes bytes;
    EffStatus st = eff_file_read(&bytes, path, MAX_LABELS_BYTES);
    if (st != EFF_OK)
        return st;
    char **labels = eff_calloc((size_t)n_classes, sizeof *labels);
    if (labels == NULL)
        st = eff_fail_nomem((size_t)n_classes * sizeof *labels, "labels");
    int n = 0;
    for (size_t at = 0; at < bytes.size && st == EFF_OK; n++) {
        const uint8_t *end = memchr(bytes.data + at, '\n', bytes.size - at);
        const size_t length = end != NULL ? (size_t)(end - bytes.data) - at : bytes.size - at;
        if (n < n_classes) {
            labels[n] = eff_strndup((const char *)bytes.data + at, length);
            if (labels[n] == NULL)
                st = eff_fail_nomem(length, "a label");
            else
                labels[n][strcspn(labels[n], "\r")] = '\0';
        }
        at += length + 1;
    }
    eff_free(bytes.data);
    if (st == EFF_OK && n != n_classes)
        st = eff_fail(EFF_ERR_FORMAT, "%s: %d labels for %d classes; give one line a class", path, n, n_classes);
    if (st == EFF_OK)
        *out = labels;
    else
        model_labels_free(labels, n_classes);
    return st;
}

/* What is left once m->model is there. */
static ExitCode finish_open(Model *m, const Args *a, const char *title, EffStatus st)
{
    if (st == EFF_OK) {
        m->info = eff_model_info(m->model);
        m->title = eff_strdup(title);
        if (m->title == NULL)
            st = eff_fail_nomem(strlen(title), "a name");
    }
    if (st == EFF_OK && has_flag(a, "labels"))
        st = model_read_labels(&m->labels, cli_value(a, "labels"), m->info->n_classes);
    if (st == EFF_OK)
        return EXIT_OK;
    model_close(m);
    return cli_fail(a, st);
}

ExitCode model_from_compiled(Model *out, const Args *a, const EffCompiled *compiled, const char *title)
{
    *out = (Model){0};
    const EffStatus st = eff_compiled_model(&out->model, compiled, has_flag(a, "cpu") ? cli_value(a, "cpu") : NULL);
    return finish_open(out, a, title, st);
}

ExitCode model_open(Model *out, const Args *a, const char *name)
{
    *out = (Model){0};
    ModelSpec spec;
    EffGraph *g = NULL;
    EffCompiled *compiled = NULL;
    ExitCode code = model_find(a, name, &spec);
    const char *title = name != NULL ? name : eff_hub_model(0)->name;
    if (code == EXIT_OK && spec.is_bin) {
        const char *cpu = has_flag(a, "cpu") ? cli_value(a, "cpu") : NULL;
        code = finish_open(out, a, title, eff_model_open(&out->model, spec.file, cpu));
    } else if (code == EXIT_OK) {
        code = model_load_graph(a, &spec, &g);
        if (code == EXIT_OK) {
            const EffStatus st = eff_compile_float(&compiled, g);
            eff_graph_free(g);
            code = st == EFF_OK ? model_from_compiled(out, a, compiled, title) : cli_fail(a, st);
            eff_compiled_free(compiled);
        }
    }
    if (code == EXIT_OK) {
        out->arch = spec.arch;
        out->file = spec.file;
        spec.file = NULL;
    }
    model_spec_free(&spec);
    return code;
}

ExitCode model_open_bin(Model *out, const Args *a, const char *path)
{
    *out = (Model){0};
    char *found = NULL;
    if (path == NULL && (eff_hub_int8_path(&found, eff_hub_model(0)) != EFF_OK || !eff_is_file(found))) {
        free(found);
        return cli_usage(a, "no int8 model in the cache yet; name a compiled model, such as model.bin");
    }
    if (path != NULL && !eff_is_file(path))
        return cli_fail(a, eff_fail(EFF_ERR_IO, "%s: no such file; check the spelling of the path", path));
    if (path != NULL && !starts_as_bin(path))
        return cli_usage(a, "%s is not a compiled model; 'effnet quantize' makes one", path);
    if (found == NULL && (found = strdup(path)) == NULL)
        return cli_fail(a, eff_fail_nomem(strlen(path), "a path"));
    const EffStatus st = eff_model_open(&out->model, found, has_flag(a, "cpu") ? cli_value(a, "cpu") : NULL);
    const ExitCode code = finish_open(out, a, path != NULL ? path : eff_hub_model(0)->name, st);
    if (code == EXIT_OK)
        out->file = found;
    else
        free(found);
    return code;
}

void model_close(Model *m)
{
    if (m->labels != NULL)
        model_labels_free(m->labels, m->info->n_classes);
    eff_model_close(m->model);
    eff_free(m->title);
    free(m->file);
    *m = (Model){0};
}

const char *const *model_default_labels(int n_classes)
{
    return n_classes == EFF_IMAGENET_CLASSES ? eff_imagenet_labels : NULL;
}

const char *model_label(const Model *m, int index, char *buffer)
{
    if (m->labels != NULL && m->labels[index] != NULL)
        return m->labels[index];
    const char *const *labels = m->info->labels != NULL ? m->info->labels : model_default_labels(m->info->n_classes);
    if (labels != NULL)
        return labels[index];
    snprintf(buffer, 32, "class %d", index);
    return buffer;
}

EffStatus model_session_create(ModelSession *out, const Model *m, int n_threads)
{
    ModelSession s = {.model = m};
    const size_t n_pixels = (size_t)m->info->pre.size * (size_t)m->info->pre.size;
    s.pixels = eff_malloc(n_pixels * 3);
    s.logits = eff_calloc((size_t)m->info->n_classes, sizeof *s.logits);
    EffStatus st = EFF_OK;
    if (s.pixels == NULL || s.logits == NULL)
        st = eff_fail_nomem(n_pixels * 3, "a picture");
    if (st == EFF_OK)
        st = eff_session_create(&s.session, m->model, n_threads);
    if (st != EFF_OK) {
        model_session_free(&s);
        return st;
    }
    *out = s;
    return EFF_OK;
}

void model_session_free(ModelSession *s)
{
    eff_session_destroy(s->session);
    eff_free(s->pixels);
    eff_free(s->logits);
    *s = (ModelSession){0};
}

EffStatus model_prepare(const EffPreprocess *pre, const char *path, bool apply_orientation, uint8_t *pixels)
{
    EffImagePart part = {0};
    const EffDecodeOptions options = {.apply_orientation = apply_orientation};
    EffStatus st = eff_image_open_part(&part, path, &options, pre);
    if (st == EFF_OK && (st = eff_image_prepare_part(pixels, &part, pre)) != EFF_OK)
        eff_fail_in(st, "%s", path);
    eff_image_free(&part.image);
    return st;
}

EffStatus model_session_run(ModelSession *s, const char *path, bool apply_orientation)
{
    const double t0 = eff_now();
    const EffPreprocess *pre = &s->model->info->pre;
    const EffDecodeOptions options = {.apply_orientation = apply_orientation, .fast_scale = s->fast_decode};
    EffImagePart part = {0};
    EffStatus st = eff_image_open_part(&part, path, &options, pre);
    if (st != EFF_OK)
        return st;
    const double t1 = eff_now();
    st = eff_image_prepare_part(s->pixels, &part, pre);
    eff_image_free(&part.image);
    if (st != EFF_OK)
        return eff_fail_in(st, "%s", path);
    const double t2 = eff_now();
    eff_session_run(s->session, s->pixels, s->logits);
    s->decode_ms = 1e3 * (t1 - t0);
    s->preprocess_ms = 1e3 * (t2 - t1);
    s->inference_ms = 1e3 * (eff_now() - t2);
    return EFF_OK;
}
