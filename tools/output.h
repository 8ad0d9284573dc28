/* SPDX-License-Identifier: Apache-2.0 */
/* Results on stdout. */
#ifndef EFFNET_TOOLS_OUTPUT_H
#define EFFNET_TOOLS_OUTPUT_H

#include "cli.h"

#include <jansson.h>

/* Print an object on one line and release it. NULL (memory was short) and a full disk are reported; returns an exit
 * code. */
ExitCode output_json(const Args *a, json_t *object);
/* Flush stdout and report a full disk or a closed pipe; the last thing a command does. */
ExitCode output_flush(const Args *a);

json_t *output_interval(double low, double high);
json_t *output_floats(const float *values, int n);

#endif
