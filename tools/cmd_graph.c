/* SPDX-License-Identifier: Apache-2.0 */
/* effnet graph: draws a network, after the passes or before them. */
#include "commands.h"
#include "model.h"
#include "output.h"

#include <stdlib.h>

static const Option options[] = {{"dot", 0, NULL, "for Graphviz (the default)", COMPLETES_NOTHING},
                                 {"svg", 0, NULL, "as a picture", COMPLETES_NOTHING},
                                 {"before", 0, NULL, "as it was read, before any pass", COMPLETES_NOTHING},
                                 {0}};

/* The network of a spec: a file's, or an architecture without weights. */
static ExitCode load(const Args *a, ModelSpec *spec, EffGraph **out)
{
    if (spec->is_onnx) {
        EffOnnxOptions o;
        EffPreprocess pre;
        const ExitCode code = model_onnx_options(a, &o, &pre);
        o.keep_spelling = cli_flag(a, "before");
        if (code != EXIT_OK)
            return code;
        const EffStatus st = eff_onnx_open(out, spec->file, &o);
        return st == EFF_OK ? EXIT_OK : cli_fail(a, st);
    }
    if (spec->file != NULL && !cli_flag(a, "before"))
        return model_load_graph(a, spec, out);
    const EffStatus st = eff_graph_build(out, &spec->arch);
    return st == EFF_OK ? EXIT_OK : cli_fail(a, st);
}

static ExitCode run(const Args *a)
{
    if (a->n_words != 1)
        return cli_usage(a, "one MODEL or ARCH");
    if (cli_flag(a, "dot") && cli_flag(a, "svg"))
        return cli_usage(a, "--dot or --svg, not both");
    ModelSpec spec;
    EffGraph *g = NULL;
    char *text = NULL;
    ExitCode code = model_find(a, a->words[0], &spec);
    if (code == EXIT_OK && spec.is_bin)
        code = cli_usage(a, "%s is compiled already; name its weights instead", spec.file);
    if (code == EXIT_OK)
        code = load(a, &spec, &g);
    if (code == EXIT_OK) {
        const EffStatus st = eff_graph_draw(&text, g, cli_flag(a, "svg") ? EFF_DRAWING_SVG : EFF_DRAWING_DOT);
        code = st == EFF_OK ? EXIT_OK : cli_fail(a, st);
    }
    if (code == EXIT_OK) {
        fputs(text, stdout);
        code = output_flush(a);
    }
    free(text);
    eff_graph_free(g);
    model_spec_free(&spec);
    return code;
}

const Command cmd_graph = {.name = "graph",
                           .args = "MODEL|ARCH",
                           .summary = "draw a network",
                           .options = {options, model_options},
                           .examples = {"effnet graph b0.onnx --svg > b0.svg", "effnet graph b0 | dot -Tpdf -o b0.pdf"},
                           .completes = COMPLETES_MODEL,
                           .run = run};
