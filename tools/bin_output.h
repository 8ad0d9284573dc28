/* SPDX-License-Identifier: Apache-2.0 */
/* Where commands that make a .bin write it, and how. */
#ifndef EFFNET_TOOLS_BIN_OUTPUT_H
#define EFFNET_TOOLS_BIN_OUTPUT_H

#include "cli.h"

#include <jansson.h>

/* Where the .bin goes: -o, or for an int8 model of the cache beside its weights. free() it; NULL after a message. */
char *bin_output_path(const Args *a, const char *spec, bool int8);

/* Write it with its provenance (provenance_make()). */
EffStatus bin_output_write(EffCompiled *c, const json_t *origin, const char *path);

#endif
