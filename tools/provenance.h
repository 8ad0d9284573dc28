/* SPDX-License-Identifier: Apache-2.0 */
/* Where a compiled model comes from: written into the .bin as JSON, and read back to find its float network. */
#ifndef EFFNET_TOOLS_PROVENANCE_H
#define EFFNET_TOOLS_PROVENANCE_H

#include "calibration.h"
#include "model.h"

#include "base/sha256.h"

#include <jansson.h>

/*
 * No paths and no dates, so that the same inputs give the same bytes. `calibration` NULL: a float model. `table`:
 * text of --table, or NULL. json_decref() the result.
 */
EffStatus provenance_make(json_t **out, const ModelSpec *spec, const Calibration *calibration, const char *table);

/* SHA-256 of a file in lower-case hex. */
EffStatus provenance_digest(char hex[EFF_SHA256_HEX], const char *path);

/*
 * The float network that a compiled model was made from, with the model's preprocessing. `given`: file of its weights,
 * or NULL to look for them in the cache and beside `bin`, by their SHA-256. *file receives the path that was used;
 * free(). Prints what is wrong; the weights given may be others, and then a note says so.
 */
ExitCode provenance_load(const Args *a, const EffModelInfo *info, const char *bin, const char *given, EffGraph **out,
                         char **file);

#endif
