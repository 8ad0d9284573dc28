/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of downloaded weights: where it is, and which file in it belongs to a model. Writing it is pull.c's. */
#include "hub/cache.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

/* An empty variable counts as unset. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

EffStatus eff_hub_cache_dir(char **out)
{
    const char *base, *below = NULL;
    if ((base = variable("EFFNET_CACHE")) != NULL)
        below = NULL;
    else if ((base = variable("XDG_CACHE_HOME")) != NULL &&
             *base == '/') /* a relative one is to be ignored, says XDG */
        below = "effnet";
    else if ((base = variable("HOME")) != NULL)
        below = ".cache/effnet";
    else
        return eff_fail(EFF_ERR_ARG, "no place for the cache: HOME isn't set; set EFFNET_CACHE to a folder");
    char *dir = below != NULL ? eff_path_join(base, below) : eff_strdup(base);
    if (dir == NULL)
        return eff_fail_nomem(strlen(base), "the path of the cache");
    *out = dir;
    return EFF_OK;
}

const char *eff_hub_file_name(const EffHubModel *model)
{
    const char *slash = strrchr(model->member, '/');
    return slash != NULL ? slash + 1 : model->member;
}

/* <cache>/models/<name>/<file> */
static EffStatus place(char **out, const EffHubModel *model, const char *file)
{
    char *cache = NULL;
    const EffStatus st = eff_hub_cache_dir(&cache);
    if (st != EFF_OK)
        return st;
    char *models = eff_path_join(cache, "models");
    char *dir = models != NULL ? eff_path_join(models, model->name) : NULL;
    char *path = dir != NULL ? eff_path_join(dir, file) : NULL;
    eff_free(dir);
    eff_free(models);
    eff_free(cache);
    if (path == NULL)
        return eff_fail_nomem(strlen(model->name), "the path of a cached model");
    *out = path;
    return EFF_OK;
}

EffStatus eff_hub_place(char **out, const EffHubModel *model)
{
    return place(out, model, eff_hub_file_name(model));
}

EffStatus eff_hub_int8_path(char **out, const EffHubModel *model)
{
    return place(out, model, "int8.bin");
}

EffStatus eff_hub_path(char **out, const EffHubModel *model)
{
    char *path = NULL;
    EffStatus st = eff_hub_place(&path, model);
    if (st != EFF_OK)
        return st;
    if (!eff_is_file(path)) {
        st = eff_fail(EFF_ERR_IO, "%s: the weights of %s aren't in the cache yet; run 'effnet pull %s'", path,
                      model->name, model->name);
        eff_free(path);
        return st;
    }
    *out = path;
    return EFF_OK;
}
