/* SPDX-License-Identifier: Apache-2.0 */
/* effnet info: what a model or an architecture is. */
#include "commands.h"
#include "model.h"
#include "output.h"

#include <inttypes.h>

static const Option options[] = {{"json", 0, NULL, "one JSON object", COMPLETES_NOTHING}, {0}};

/* 4652008 -> "4,652,008" */
static const char *grouped(char *buffer, size_t n_bytes, uint64_t v)
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRIu64, v);
    size_t at = 0;
    for (int i = 0; i < n && at + 2 < n_bytes; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            buffer[at++] = ',';
        buffer[at++] = digits[i];
    }
    buffer[at] = '\0';
    return buffer;
}

static void print_preprocess(const EffPreprocess *p)
{
    printf("preprocessing  %s, crop %g, mean %g %g %g, std %g %g %g\n", eff_interpolation_name(p->interpolation),
           p->crop, (double)p->mean[0], (double)p->mean[1], (double)p->mean[2], (double)p->std[0], (double)p->std[1],
           (double)p->std[2]);
}

static json_t *preprocess_json(const EffPreprocess *p)
{
    return json_pack("{s:f,s:s,s:o,s:o}", "crop", p->crop, "interpolation", eff_interpolation_name(p->interpolation),
                     "mean", output_floats(p->mean, 3), "std", output_floats(p->std, 3));
}

/* An architecture, or the weights that were loaded into it. */
static ExitCode print_network(const Args *a, const EffArch *arch, const EffGraph *g, const char *file)
{
    EffGraphStats stats;
    eff_graph_stats(g, &stats);
    const char *padding = arch->padding == EFF_PADDING_SAME ? "same" : "symmetric";
    if (cli_flag(a, "json")) {
        json_t *object =
            json_pack("{s:s,s:o,s:I,s:I,s:i,s:i,s:i,s:s,s:f}", "arch", arch->name, "file",
                      file != NULL ? json_string(file) : json_null(), "params", (json_int_t)stats.params, "macs",
                      (json_int_t)stats.macs, "input_size", stats.input_size, "in_channels", stats.in_channels,
                      "num_classes", stats.n_classes, "padding", padding, "bn_eps", (double)arch->bn_eps);
        if (object != NULL)
            json_object_update_new(object, preprocess_json(&arch->pre));
        return output_json(a, object);
    }
    char text[32];
    printf("architecture   %s\n", arch->name);
    printf("weights        %s\n", file != NULL ? file : "none at hand");
    printf("parameters     %s\n", grouped(text, sizeof text, stats.params));
    printf("MACs           %s\n", grouped(text, sizeof text, stats.macs));
    printf("input          %d x %d x %d\n", stats.input_size, stats.input_size, stats.in_channels);
    printf("classes        %d\n", stats.n_classes);
    print_preprocess(&arch->pre);
    if (arch->bn_eps > 0) /* an ONNX model has them in its nodes */
        printf("padding        %s, BN epsilon %g\n", padding, (double)arch->bn_eps);
    return output_flush(a);
}

static ExitCode print_compiled(const Args *a, const char *file)
{
    EffModel *m = NULL;
    EffStatus st = eff_model_verify(file);
    if (st == EFF_OK)
        st = eff_model_open(&m, file, NULL);
    if (st != EFF_OK)
        return cli_fail(a, st);
    const EffModelInfo *info = eff_model_info(m);
    ExitCode code;
    if (cli_flag(a, "json")) {
        json_t *origin = info->provenance != NULL ? json_loads(info->provenance, 0, NULL) : NULL;
        json_t *object = json_pack(
            "{s:s,s:s,s:s,s:I,s:I,s:i,s:i,s:I,s:I,s:i,s:i,s:i,s:b,s:s,s:o}", "arch", info->name, "file", file, "type",
            info->is_int8 ? "int8" : "float32", "params", (json_int_t)info->params, "macs", (json_int_t)info->macs,
            "input_size", info->pre.size, "num_classes", info->n_classes, "file_bytes", (json_int_t)info->file_bytes,
            "arena_bytes", (json_int_t)info->arena_bytes, "steps", info->n_steps, "int16_nodes", info->n_int16,
            "float_nodes", info->n_float, "labels", info->labels != NULL, "sha256", info->sha256, "provenance",
            origin != NULL ? origin : json_null());
        if (object != NULL)
            json_object_update_new(object, preprocess_json(&info->pre));
        code = output_json(a, object);
    } else {
        char text[32];
        printf("compiled model %s, %s", info->name, info->is_int8 ? "int8" : "float32");
        if (info->n_int16 > 0)
            printf(", %d with 16-bit inputs", info->n_int16);
        if (info->n_float > 0)
            printf(", %d in float", info->n_float);
        putchar('\n');
        printf("parameters     %s\n", grouped(text, sizeof text, info->params));
        printf("MACs           %s\n", grouped(text, sizeof text, info->macs));
        printf("input          %d x %d x 3\n", info->pre.size, info->pre.size);
        printf("classes        %d, %s\n", info->n_classes, info->labels != NULL ? "named" : "without names");
        print_preprocess(&info->pre);
        printf("file           %s bytes", grouped(text, sizeof text, info->file_bytes));
        printf(", %d steps, activations %s bytes\n", info->n_steps, grouped(text, sizeof text, info->arena_bytes));
        printf("SHA-256        %s (verified)\n", info->sha256);
        printf("provenance     %s\n", info->provenance != NULL ? info->provenance : "unknown");
        code = output_flush(a);
    }
    eff_model_close(m);
    return code;
}

static ExitCode run(const Args *a)
{
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL or ARCH at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    ModelSpec spec;
    EffGraph *g = NULL;
    ExitCode code = model_find(a, a->n_words > 0 ? a->words[0] : NULL, &spec);
    if (code == EXIT_OK && spec.is_bin) {
        code = print_compiled(a, spec.file);
    } else if (code == EXIT_OK) {
        /* Described from what a file holds, so that one that does not fit is found out here. */
        if (spec.file != NULL)
            code = model_load_graph(a, &spec, &g);
        else if (eff_graph_build(&g, &spec.arch) != EFF_OK)
            code = cli_usage(a, "%s", eff_last_message());
        if (code == EXIT_OK)
            code = print_network(a, &spec.arch, g, spec.file);
        eff_graph_free(g);
    }
    model_spec_free(&spec);
    return code;
}

const Command cmd_info = {
    .name = "info",
    .args = "[MODEL|ARCH]",
    .summary = "describe a model or an architecture",
    .details = "ARCH is efficientnet-b0..b8, -l2 or -lite0..4, with a leading tf- for TensorFlow padding.",
    .options = {options, cpu_option, model_options},
    .examples = {"effnet info efficientnet-b2 --json", "effnet info b0.pth --arch efficientnet-b0 --num-classes 10"},
    .completes = COMPLETES_MODEL,
    .run = run,
};
