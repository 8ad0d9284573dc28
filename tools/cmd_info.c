/* SPDX-License-Identifier: Apache-2.0 */
/* effnet info: what a model or an architecture is. */
#include "commands.h"
#include "model.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>

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

static ExitCode print(const Args *a, const EffArch *arch, const EffGraphStats *stats, const char *file)
{
    const EffPreprocess *p = &arch->pre;
    const char *padding = arch->padding == EFF_PADDING_SAME ? "same" : "symmetric";
    if (cli_flag(a, "json"))
        return output_json(
            a, json_pack("{s:s,s:o,s:I,s:I,s:i,s:i,s:i,s:f,s:s,s:o,s:o,s:s,s:f}", "arch", arch->name, "file",
                         file != NULL ? json_string(file) : json_null(), "params", (json_int_t)stats->params, "macs",
                         (json_int_t)stats->macs, "input_size", stats->input_size, "in_channels", stats->in_channels,
                         "num_classes", stats->n_classes, "crop", p->crop, "interpolation",
                         eff_interpolation_name(p->interpolation), "mean", output_floats(p->mean, 3), "std",
                         output_floats(p->std, 3), "padding", padding, "bn_eps", (double)arch->bn_eps));
    char text[32];
    printf("architecture   %s\n", arch->name);
    printf("weights        %s\n", file != NULL ? file : "none at hand");
    printf("parameters     %s\n", grouped(text, sizeof text, stats->params));
    printf("MACs           %s\n", grouped(text, sizeof text, stats->macs));
    printf("input          %d x %d x %d\n", stats->input_size, stats->input_size, stats->in_channels);
    printf("classes        %d\n", stats->n_classes);
    printf("preprocessing  %s, crop %g, mean %g %g %g, std %g %g %g\n", eff_interpolation_name(p->interpolation),
           p->crop, (double)p->mean[0], (double)p->mean[1], (double)p->mean[2], (double)p->std[0], (double)p->std[1],
           (double)p->std[2]);
    printf("padding        %s, BN epsilon %g\n", padding, (double)arch->bn_eps);
    return output_flush(a);
}

static ExitCode run(const Args *a)
{
    EffArch arch;
    char *file = NULL;
    if (a->n_words > 1)
        return cli_usage(a, "one MODEL or ARCH at a time, but '%s' follows '%s'", a->words[1], a->words[0]);
    const char *spec = a->n_words > 0 ? a->words[0] : NULL;
    ExitCode code = model_describe(a, spec, &arch, &file);
    if (code != EXIT_OK)
        return code;
    if (file != NULL) { /* described from what it holds, so that a file that does not fit is found out here */
        free(file);
        Model m;
        code = model_open(&m, a, spec);
        if (code != EXIT_OK)
            return code;
        code = print(a, &m.arch, &m.stats, m.file);
        model_close(&m);
        return code;
    }
    EffGraph *g = NULL;
    const EffStatus st = eff_graph_build(&g, &arch);
    if (st != EFF_OK)
        return cli_fail(a, st);
    EffGraphStats stats;
    eff_graph_stats(g, &stats);
    eff_graph_free(g);
    return print(a, &arch, &stats, NULL);
}

const Command cmd_info = {
    .name = "info",
    .args = "[MODEL|ARCH]",
    .summary = "describe a model or an architecture",
    .details = "ARCH is efficientnet-b0..b8, -l2 or -lite0..4, with a leading tf- for TensorFlow padding.",
    .options = {options, model_options},
    .examples = {"effnet info efficientnet-b2 --json", "effnet info b0.pth --arch efficientnet-b0 --num-classes 10"},
    .completes = COMPLETES_MODEL,
    .run = run,
};
