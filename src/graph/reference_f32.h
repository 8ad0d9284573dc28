/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference executor, seen from inside: a tap sees every node's output. */
#ifndef EFF_GRAPH_REFERENCE_F32_H
#define EFF_GRAPH_REFERENCE_F32_H

#include "graph/ir.h"

/* Output of node `node` of the graph that the reference was made from: [h][w][c], valid during the call. */
typedef void eff_tap_fn(void *ctx, int node, EffShape shape, const float *data);

/* As eff_reference_run(), calling `tap` (unless NULL) after every node, in order. */
void eff_reference_run_tapped(EffReferenceSession *s, const float *src, float *dst, eff_tap_fn *tap, void *ctx);

#endif
