/* SPDX-License-Identifier: Apache-2.0 */
/* Names of parameters: timm's are our own, lukemelas' are numbered over all stages and start with underscores. */
#include "import/names.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

typedef struct Pair {
    const char *timm, *lukemelas;
} Pair;

static const Pair outside[] = {
    {"conv_stem", "_conv_stem"}, {"bn1", "_bn0"}, {"conv_head", "_conv_head"}, {"bn2", "_bn1"}, {"classifier", "_fc"}};
static const Pair with_expansion[] = {{"conv_pw", "_expand_conv"},      {"bn1", "_bn0"},
                                      {"conv_dw", "_depthwise_conv"},   {"bn2", "_bn1"},
                                      {"se.conv_reduce", "_se_reduce"}, {"se.conv_expand", "_se_expand"},
                                      {"conv_pwl", "_project_conv"},    {"bn3", "_bn2"}};
static const Pair without_expansion[] = {{"conv_dw", "_depthwise_conv"},   {"bn1", "_bn1"},
                                         {"se.conv_reduce", "_se_reduce"}, {"se.conv_expand", "_se_expand"},
                                         {"conv_pw", "_project_conv"},     {"bn2", "_bn2"}};

static const char *translate(const Pair *pairs, size_t n, const char *timm)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(pairs[i].timm, timm) == 0)
            return pairs[i].lukemelas;
    }
    return timm;
}

/* Length of "blocks.S.R" at the start of a path; 0 outside the blocks. */
static size_t block_length(const char *path)
{
    int stage, repeat, n = 0;
    return sscanf(path, "blocks.%d.%d.%n", &stage, &repeat, &n) == 2 && n > 0 ? (size_t)n - 1 : 0;
}

static bool block_expands(const EffGraph *g, int i, const char *block, size_t n)
{
    for (; i < g->n_nodes; i++) {
        const char *module = g->nodes[i].module;
        if (module == NULL)
            continue;
        if (strncmp(module, block, n) != 0 || module[n] != '.')
            return false;
        if (strcmp(module + n + 1, "conv_pwl") == 0)
            return true;
    }
    return false;
}

void eff_name_module(EffNameMap *map, char *out, const EffGraph *g, int i, EffNaming naming)
{
    const char *module = g->nodes[i].module;
    if (naming == EFF_NAMING_TIMM) {
        snprintf(out, EFF_NAME_BYTES, "%s", module);
        return;
    }
    const size_t n = block_length(module);
    if (n == 0) {
        snprintf(out, EFF_NAME_BYTES, "%s", translate(outside, EFF_COUNT(outside), module));
        return;
    }
    if (strncmp(map->block, module, n) != 0 || map->block[n] != '\0') {
        map->block_index = map->block[0] != '\0' ? map->block_index + 1 : 0;
        snprintf(map->block, sizeof map->block, "%.*s", (int)n, module);
        map->expand = block_expands(g, i, module, n);
    }
    const char *leaf = map->expand ? translate(with_expansion, EFF_COUNT(with_expansion), module + n + 1)
                                   : translate(without_expansion, EFF_COUNT(without_expansion), module + n + 1);
    snprintf(out, EFF_NAME_BYTES, "_blocks.%d.%s", map->block_index, leaf);
}

EffStatus eff_weights_naming(EffNaming *out, const EffWeights *w)
{
    if (eff_weights_find(w, "_conv_stem.weight") != NULL)
        *out = EFF_NAMING_LUKEMELAS;
    else if (eff_weights_find(w, "conv_stem.weight") != NULL)
        *out = EFF_NAMING_TIMM;
    else
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "no stem among the %zu tensors (the first is '%s'); this version reads state dicts with timm's "
                        "names (conv_stem.weight) or lukemelas' (_conv_stem.weight)",
                        eff_weights_count(w), eff_weights_count(w) > 0 ? eff_weights_at(w, 0)->name : "none");
    return EFF_OK;
}
