/* SPDX-License-Identifier: Apache-2.0 */
/* What effnet quantize says of its work: as JSON, as a table, and what to do about it. */
#ifndef EFFNET_TOOLS_QUANTIZE_REPORT_H
#define EFFNET_TOOLS_QUANTIZE_REPORT_H

#include "calibration.h"

#include <jansson.h>

typedef struct QuantizeReport {
    const EffCompiled *c;
    const Calibration *calibration;
    const EffQuantizeOptions *options;
    const char *path; /* of the .bin */
} QuantizeReport;

/* doc/quantization.md describes it. json_decref() the result; `origin` is the provenance. */
json_t *quantize_report_json(const QuantizeReport *r, json_t *origin);

/* On stdout; `quiet`: without the table of nodes and the advice. */
void quantize_report_print(const QuantizeReport *r, bool quiet);

/* What was asked for and could not be had, and what must not be overlooked: on stderr. */
void quantize_report_warn(const QuantizeReport *r);

#endif
