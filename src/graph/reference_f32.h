/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference executor, seen from inside: a tap sees every node's output. */
#ifndef EFF_GRAPH_REFERENCE_F32_H
#define EFF_GRAPH_REFERENCE_F32_H

#include "graph/ir.h"

/* Output of node `node` of the graph that the reference was made from: [h][w][c], valid during the call. */
typedef void eff_tap_fn(void *ctx, int node, EffShape shape, const float *data);

/* As eff_reference_run(), calling `tap` (unless NULL) after every node, in order. */
void eff_reference_run_tapped(EffReferenceSession *s, const float *src, float *dst, eff_tap_fn *tap, void *ctx);

/* Nodes [begin, end) alone: the caller has put what they read into the values. */
void eff_reference_run_nodes(EffReferenceSession *s, int begin, int end);
/* The output of a node, -1 for the input of the graph, in the arena: there from when it is computed until the last node
 * that reads it has run, and no longer. */
float *eff_reference_value(EffReferenceSession *s, int node);

#endif
