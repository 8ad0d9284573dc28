/* SPDX-License-Identifier: Apache-2.0 */
/* effnet check: what becomes of each node of an ONNX model, and what blocks it. */
#include "commands.h"
#include "model.h"
#include "output.h"

#include <string.h>

static const Option options[] = {{"json", 0, NULL, "one JSON object", COMPLETES_NOTHING}, {0}};

typedef struct Report {
    json_t *nodes; /* NULL: print lines */
    int n, n_blocked;
} Report;

static void see(void *ctx, const char *node, const char *op, const char *fate, const char *why)
{
    Report *r = ctx;
    r->n++;
    r->n_blocked += strcmp(fate, "blocked") == 0;
    if (r->nodes != NULL)
        json_array_append_new(r->nodes,
                              json_pack("{s:s,s:s,s:s,s:s}", "node", node, "op", op, "becomes", fate, "why", why));
    else
        printf("%-8s %-20s %s%s%s\n", fate, op, node, why[0] != '\0' ? ": " : "", why);
}

static ExitCode run(const Args *a)
{
    if (a->n_words != 1)
        return cli_usage(a, "one ONNX model");
    ModelSpec spec;
    EffOnnxOptions o;
    EffPreprocess pre;
    EffGraph *g = NULL;
    ExitCode code = model_find(a, a->words[0], &spec);
    if (code == EXIT_OK && !spec.is_onnx)
        code = cli_usage(a, "%s is no ONNX model; its name would end in .onnx", a->words[0]);
    if (code == EXIT_OK)
        code = model_onnx_options(a, &o, &pre);
    if (code != EXIT_OK) {
        model_spec_free(&spec);
        return code;
    }
    Report r = {.nodes = cli_flag(a, "json") ? json_array() : NULL};
    o.fate = see;
    o.ctx = &r;
    const EffStatus st = eff_onnx_open(&g, spec.file, &o);
    EffGraphStats stats = {0};
    if (st == EFF_OK)
        eff_graph_stats(g, &stats);
    eff_graph_free(g);
    model_spec_free(&spec);
    if (r.nodes != NULL) {
        code = output_json(a, json_pack("{s:o,s:i,s:i,s:b,s:s}", "nodes", r.nodes, "blocked", r.n_blocked, "layers",
                                        stats.n_nodes, "runs", st == EFF_OK, "why",
                                        st == EFF_OK ? "" : eff_last_message()));
        return code != EXIT_OK || st == EFF_OK ? code : cli_fail(a, st);
    }
    if (st != EFF_OK)
        return cli_fail(a, st);
    printf("%d nodes, all supported: a network of %d after the passes\n", r.n, stats.n_nodes);
    return output_flush(a);
}

const Command cmd_check = {
    .name = "check",
    .args = "MODEL.onnx",
    .summary = "say what becomes of each node of an ONNX model, and what blocks it",
    .options = {options, model_options},
    .examples = {"effnet check b0.onnx", "effnet check b0.onnx --input-shape 1,3,224,224 --json"},
    .completes = COMPLETES_FILE,
    .run = run};
