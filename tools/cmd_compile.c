/* SPDX-License-Identifier: Apache-2.0 */
/* effnet compile: a float .bin from weights. */
#include "bin_output.h"
#include "commands.h"
#include "model.h"
#include "output.h"
#include "provenance.h"

#include <stdlib.h>

static const Option compile_options[] = {
    {"float", 0, NULL, "in float32 (for int8 see effnet quantize)", COMPLETES_NOTHING},
    {"output", 'o', "FILE", "the .bin", COMPLETES_FILE},
    {"json", 0, NULL, "one JSON object", COMPLETES_NOTHING},
    {0}};

static ExitCode run_compile(const Args *a)
{
    if (!cli_flag(a, "float"))
        return cli_usage(a, "say --float; an int8 .bin comes from 'effnet quantize', which needs pictures");
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    const char *name = a->n_words > 0 ? a->words[0] : eff_hub_model(0)->name;
    char *path = bin_output_path(a, name, false);
    if (path == NULL)
        return EXIT_USAGE;
    ModelSpec spec = {0};
    EffGraph *g = NULL;
    EffCompiled *c = NULL;
    ExitCode code = model_find(a, name, &spec);
    if (code == EXIT_OK)
        code = model_load_graph(a, &spec, &g);
    if (code == EXIT_OK) {
        EffStatus st = eff_compile_float(&c, g);
        json_t *origin = NULL;
        if (st == EFF_OK)
            st = provenance_make(&origin, &spec, NULL, NULL);
        if (st == EFF_OK)
            st = bin_output_write(c, origin, path);
        if (st != EFF_OK)
            code = cli_fail(a, st);
        else if (cli_flag(a, "json"))
            code = output_json(a, json_pack("{s:s,s:O}", "file", path, "provenance", origin));
        else if (printf("%s: float32\n", path) > 0)
            code = output_flush(a);
        json_decref(origin);
    }
    eff_compiled_free(c);
    eff_graph_free(g);
    model_spec_free(&spec);
    free(path);
    return code;
}

const Command cmd_compile = {
    .name = "compile",
    .args = "[MODEL] --float -o FILE",
    .summary = "turn weights into a float .bin",
    .options = {compile_options, model_options},
    .examples = {"effnet compile efficientnet-lite0 --float -o lite0-f32.bin",
                 "effnet compile b0.pth --arch efficientnet-b0 --float -o b0-f32.bin"},
    .completes = COMPLETES_MODEL,
    .run = run_compile,
};
