/* SPDX-License-Identifier: Apache-2.0 */
/* Where commands that make a .bin write it, and how. */
#include "bin_output.h"
#include "model.h"

#include "base/file.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

char *bin_output_path(const Args *a, const char *spec, bool int8)
{
    const char *out = cli_value(a, "output");
    char *path = NULL;
    if (out != NULL) {
        /* Known now, not after minutes of calibration. */
        char *dir = strdup(out), *slash = dir != NULL ? strrchr(dir, '/') : NULL;
        if (slash != NULL)
            slash[slash == dir] = '\0';
        const bool exists = slash == NULL || eff_is_dir(dir);
        free(dir);
        if (exists)
            return strdup(out);
        cli_usage(a, "%s: the folder to write it into does not exist; create it first", out);
        return NULL;
    }
    const EffHubModel *hub = spec != NULL ? model_published(spec) : eff_hub_model(0);
    if (hub == NULL || !int8)
        cli_usage(a, "name the file to write: -o model.bin");
    else if (eff_hub_int8_path(&path, hub) != EFF_OK)
        cli_usage(a, "%s", eff_last_message());
    return path;
}

EffStatus bin_output_write(EffCompiled *c, const json_t *origin, const char *path)
{
    char *text = origin != NULL ? json_dumps(origin, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    EffStatus st = text != NULL ? eff_compiled_set_provenance(c, text) : eff_fail_nomem(256, "provenance");
    free(text);
    return st == EFF_OK ? eff_compiled_write(c, path) : st;
}
