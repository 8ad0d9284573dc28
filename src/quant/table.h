/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges and types of a quantized network as a text that a user may edit (doc/table.md): written from what was
 * observed, read back in its place.
 */
#ifndef EFF_QUANT_TABLE_H
#define EFF_QUANT_TABLE_H

#include "quant/activation.h"

/* A line of a node. */
typedef struct EffTableRow {
    int line;               /* 0: the node is not listed */
    char type[8];           /* as written */
    EffActKind act;         /* EFF_ACT_NONE: not given */
    const float *min, *max; /* [c] */
} EffTableRow;

typedef struct EffTable {
    const char *name;  /* of the file, for messages; borrowed */
    EffTableRow *rows; /* [n_nodes] */
    float *storage;
} EffTable;

/*
 * Read a table for a network. Not every node must be listed; those that are, in the network's order.
 * @return EFF_OK (eff_table_free), EFF_ERR_FORMAT with line and remedy, EFF_ERR_VERSION, EFF_ERR_NOMEM.
 */
EffStatus eff_table_parse(EffTable *out, const char *text, const char *name, const EffGraph *g);
void eff_table_free(EffTable *t);

/* Whether a node is to multiply 16-bit inputs. */
bool eff_table_is_int16(const EffTable *t, int node);
/* Whether a node's line says "f32": convolutions are to run in float. */
bool eff_table_is_float(const EffTable *t, int node);
/* As if its line said so; nothing where it is not listed. */
void eff_table_set_float(EffTable *t, int node);
/* Whether all nodes are listed: then nothing needs to be observed. */
bool eff_table_is_complete(const EffTable *t, const EffGraph *g);
/* Put the listed nodes' ranges in place of the observed ones. */
void eff_table_apply(const EffTable *t, EffRanges *ranges, const EffGraph *g);
/* Put the listed activations' kinds in place of the chosen ones. @return EFF_OK, EFF_ERR_FORMAT. */
EffStatus eff_table_choose(const EffTable *t, EffActChoice *choices, size_t n, const EffGraph *g);
/* Types follow from what reads a node: compare them with the plan's. @return EFF_OK, EFF_ERR_FORMAT. */
EffStatus eff_table_check_types(const EffTable *t, const EffGraph *g, const EffPlan *plan);

/* The text of what a plan was made with; eff_free(). @return EFF_OK, EFF_ERR_NOMEM. */
EffStatus eff_table_write(char **out, const EffGraph *g, const EffRanges *ranges, const EffActChoice *choices, size_t n,
                          const EffPlan *plan);

#endif
