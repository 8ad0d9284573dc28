/* SPDX-License-Identifier: Apache-2.0 */
/* From our module paths to the names that different authors gave the same parameters. */
#ifndef EFF_IMPORT_NAMES_H
#define EFF_IMPORT_NAMES_H

#include "graph/ir.h"

enum { EFF_NAME_BYTES = 128 };

/* Walks the nodes of a graph in order and numbers their blocks; zero it before the first call. */
typedef struct EffNameMap {
    char block[32];  /* of the last node: "blocks.1.0" */
    int block_index; /* counted over all stages from 0 */
    bool expand;     /* that block has an expansion */
} EffNameMap;

/*
 * Name of the module of g->nodes[i] in the given naming, such as "_blocks.0._depthwise_conv"; nodes must come in order.
 * `out` has EFF_NAME_BYTES bytes.
 */
void eff_name_module(EffNameMap *map, char *out, const EffGraph *g, int i, EffNaming naming);

#endif
