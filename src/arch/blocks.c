/* SPDX-License-Identifier: Apache-2.0 */
/* Block strings and compound scaling. */
#include "arch/blocks.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int eff_round_channels(int channels, double width)
{
    const double exact = channels * width;
    int rounded = (int)(exact + 4) / 8 * 8;
    if (rounded < 8)
        rounded = 8;
    return rounded < 0.9 * exact ? rounded + 8 : rounded;
}

int eff_round_repeats(int repeats, double depth)
{
    return (int)ceil(repeats * depth);
}

/* The value of a part that starts with `key`; *end is where the next part starts. */
static bool take(const char *part, const char *key, double *value, const char **end)
{
    const size_t n = strlen(key);
    if (strncmp(part, key, n) != 0)
        return false;
    char *stop;
    *value = strtod(part + n, &stop);
    *end = stop;
    return stop != part + n && (*stop == '_' || *stop == '\0') && *value >= 0 && *value <= EFF_MAX_BLOCK_VALUE;
}

EffStatus eff_block_parse(EffBlockArgs *out, const char *text)
{
    EffBlockArgs args = {.repeats = 1, .stride = 1, .expansion = 1};
    args.expand = strncmp(text, "ir", 2) == 0;
    if ((!args.expand && strncmp(text, "ds", 2) != 0) || (text[2] != '_' && text[2] != '\0'))
        return eff_fail(EFF_ERR_ARG, "block '%s': starts with neither 'ds' nor 'ir'", text);
    const char *part = text + 2;
    while (*part == '_') {
        part++;
        double v;
        const char *end;
        if (take(part, "se", &v, &end))
            args.se_ratio = v;
        else if (take(part, "r", &v, &end))
            args.repeats = (int)v;
        else if (take(part, "k", &v, &end))
            args.kernel = (int)v;
        else if (take(part, "s", &v, &end))
            args.stride = (int)v;
        else if (take(part, "e", &v, &end))
            args.expansion = (int)v;
        else if (take(part, "c", &v, &end))
            args.out_ch = (int)v;
        else
            return eff_fail(EFF_ERR_ARG, "block '%s': cannot read '%s'; parts are rN kN sN eN cN seX", text, part);
        part = end;
    }
    if (args.repeats < 1 || args.out_ch < 1 || args.expansion < 1 || args.stride < 1 || args.stride > 2 ||
        (args.kernel != 3 && args.kernel != 5 && args.kernel != 7))
        return eff_fail(EFF_ERR_ARG, "block '%s': needs r, c, e of 1 or more, s of 1 or 2, k of 3, 5 or 7", text);
    *out = args;
    return EFF_OK;
}
