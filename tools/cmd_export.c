/* SPDX-License-Identifier: Apache-2.0 */
/* effnet export: a float network, or a quantized model, as an ONNX model. */
#include "commands.h"
#include "model.h"
#include "output.h"

static const Option options[] = {
    {"output", 'o', "FILE", "the .onnx", COMPLETES_FILE},
    {"opset", 0, "N", "operator set, 9 to 21, of a .bin 13 to 21 (default 13)", COMPLETES_NOTHING},
    {"simplify", 0, NULL, "fold BatchNorm, and all else that 'effnet graph' shows folded", COMPLETES_NOTHING},
    {"drop-constant", 0, NULL, "with --simplify: take out channels that no picture can change", COMPLETES_NOTHING},
    {"random-init", 0, "SEED", "random weights for a bare ARCH", COMPLETES_NOTHING},
    {"json", 0, NULL, "one JSON object", COMPLETES_NOTHING},
    {0}};

/* A name or file with its weights; a bare architecture with random ones, if these were asked for. */
static ExitCode load(const Args *a, ModelSpec *spec, EffGraph **out)
{
    int seed = 0;
    if (!cli_int(a, "random-init", 0, 1 << 30, &seed))
        return EXIT_USAGE;
    if (cli_value(a, "random-init") == NULL) {
        if (spec->file == NULL && eff_hub_find(spec->arch.name) == NULL)
            return cli_usage(a,
                             "no published weights are known for %s; name a weights file with --arch %s, or give "
                             "--random-init SEED",
                             spec->arch.name, spec->arch.name);
        return model_load_as_written(a, spec, out);
    }
    if (spec->is_onnx || cli_value(a, "arch") != NULL)
        return cli_usage(a, "--random-init takes the name of an architecture, such as b0; leave out the file");
    EffStatus st = eff_graph_build(out, &spec->arch);
    if (st == EFF_OK) {
        st = eff_graph_randomize(*out, (uint64_t)seed);
        if (st != EFF_OK) {
            eff_graph_free(*out);
            *out = NULL;
        }
    }
    return st == EFF_OK ? EXIT_OK : cli_fail(a, st);
}

/* --labels in place of those that the network has. */
static EffStatus add_labels(const Args *a, EffGraph *g)
{
    EffGraphStats stats;
    eff_graph_stats(g, &stats);
    const char *path = cli_value(a, "labels");
    char **read = NULL;
    if (path == NULL)
        return EFF_OK;
    EffStatus st = model_read_labels(&read, path, stats.n_classes);
    if (st == EFF_OK)
        st = eff_graph_set_labels(g, (const char *const *)read);
    model_labels_free(read, stats.n_classes);
    return st;
}

static json_t *size_json(const EffOnnxSize *s)
{
    return json_pack("{s:i,s:I,s:I}", "nodes", s->n_nodes, "parameters", (json_int_t)s->params, "initializers",
                     (json_int_t)s->initializers);
}

static ExitCode report(const Args *a, const char *path, const EffOnnxSize *before, const EffOnnxSize *after)
{
    if (cli_flag(a, "json"))
        return output_json(a, json_pack("{s:s,s:i,s:i,s:I,s:o,s:o}", "file", path, "opset", after->opset, "ir_version",
                                        after->ir_version, "bytes", (json_int_t)after->file_bytes, "before",
                                        size_json(before), "after",
                                        cli_flag(a, "simplify") ? size_json(after) : json_null()));
    printf("%s: opset %d, IR version %d, %llu bytes\n", path, after->opset, after->ir_version,
           (unsigned long long)after->file_bytes);
    printf("%-12s %8s %14s %18s\n", "", "nodes", "parameters", "initializers");
    printf("%-12s %8d %14llu %18llu\n", "network", before->n_nodes, (unsigned long long)before->params,
           (unsigned long long)before->initializers);
    if (cli_flag(a, "simplify"))
        printf("%-12s %8d %14llu %18llu\n", "simplified", after->n_nodes, (unsigned long long)after->params,
               (unsigned long long)after->initializers);
    return output_flush(a);
}

/* A compiled model. Options that are about weights have nothing to act on. */
static ExitCode export_compiled(const Args *a, const char *word, const char *path, const EffOnnxExport *how)
{
    EffOnnxSize size = {0};
    Model m;
    if (cli_flag(a, "simplify") || cli_value(a, "random-init") != NULL)
        return cli_usage(a, "%s is compiled already; --simplify and --random-init are for weights", word);
    ExitCode code = model_open(&m, a, word);
    if (code != EXIT_OK)
        return code;
    EffOnnxExport with_labels = *how;
    with_labels.labels = (const char *const *)m.labels;
    const EffStatus st = eff_onnx_write_model(&size, m.model, path, &with_labels);
    code = st != EFF_OK ? cli_fail(a, st) : EXIT_OK;
    model_close(&m);
    if (code != EXIT_OK)
        return code;
    if (cli_flag(a, "json"))
        return output_json(a, json_pack("{s:s,s:i,s:i,s:I,s:o,s:i}", "file", path, "opset", size.opset, "ir_version",
                                        size.ir_version, "bytes", (json_int_t)size.file_bytes, "quantized",
                                        size_json(&size), "int16_left_float", size.n_int16_left_float));
    printf("%s: opset %d, IR version %d, %llu bytes, quantized: %d nodes, %llu parameters\n", path, size.opset,
           size.ir_version, (unsigned long long)size.file_bytes, size.n_nodes, (unsigned long long)size.params);
    if (size.n_int16_left_float > 0)
        printf("%d activations of 16 bits stay float: QuantizeLinear has int16 from opset 21 on (--opset 21)\n",
               size.n_int16_left_float);
    return output_flush(a);
}

static ExitCode run(const Args *a)
{
    const char *path = cli_value(a, "output");
    EffOnnxExport how = {0};
    EffOnnxSize before, after;
    EffGraph *g = NULL;
    ModelSpec spec;
    if (a->n_words != 1)
        return cli_usage(a, "one MODEL or ARCH");
    if (path == NULL)
        return cli_usage(a, "name the file to write: -o model.onnx");
    if (!cli_int(a, "opset", EFF_EXPORT_MIN_OPSET, EFF_EXPORT_MAX_OPSET, &how.opset))
        return EXIT_USAGE;
    if (cli_flag(a, "drop-constant") && !cli_flag(a, "simplify"))
        return cli_usage(a, "--drop-constant needs --simplify: BatchNorm has to be folded before");
    ExitCode code = model_find(a, a->words[0], &spec);
    if (code == EXIT_OK && spec.is_bin) {
        model_spec_free(&spec);
        return export_compiled(a, a->words[0], path, &how);
    }
    if (code == EXIT_OK)
        code = load(a, &spec, &g);
    if (code == EXIT_OK) {
        EffStatus st = add_labels(a, g);
        if (st == EFF_OK)
            st = eff_onnx_size(&before, g, &how);
        if (st == EFF_OK && cli_flag(a, "simplify"))
            st = eff_graph_optimize(g);
        if (st == EFF_OK && cli_flag(a, "drop-constant"))
            st = eff_graph_drop_constant_channels(g, NULL);
        if (st == EFF_OK)
            st = eff_onnx_size(&after, g, &how);
        if (st == EFF_OK)
            st = eff_onnx_write(g, path, &how);
        code = st == EFF_OK ? report(a, path, &before, &after) : cli_fail(a, st);
    }
    eff_graph_free(g);
    model_spec_free(&spec);
    return code;
}

const Command cmd_export = {
    .name = "export",
    .args = "MODEL|ARCH -o FILE",
    .summary = "turn weights into an ONNX model",
    .details = "Input 'data', output 'output'. Counts nodes, trainable parameters, and the numbers in\n"
               "all initializers, with --simplify before and after it. An int8 .bin becomes a quantized\n"
               "model, with QuantizeLinear and DequantizeLinear (doc/onnx.md).",
    .options = {options, model_options},
    .examples = {"effnet export efficientnet-lite0 -o lite0.onnx --simplify",
                 "effnet export lite0.bin --opset 21 -o lite0-int8.onnx"},
    .completes = COMPLETES_MODEL,
    .run = run};
