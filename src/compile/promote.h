/* SPDX-License-Identifier: Apache-2.0 */
/* Which convolutions deserve 16-bit inputs: ranked by what each alone gains, and promoted in that order; and which are
 * to run in float. */
#ifndef EFF_COMPILE_PROMOTE_H
#define EFF_COMPILE_PROMOTE_H

#include "compile/lower.h"
#include "quant/table.h"

typedef struct EffPromotion {
    EffNodeRank *ranks; /* [n_ranks], best first; then the table's own and those that were named */
    size_t n_ranks;
    EffPromotionSummary summary;
} EffPromotion;

void eff_promotion_free(EffPromotion *p);

/*
 * The names in options->float_nodes. Lines of the table, which may be NULL, say so from now on.
 * @return EFF_OK, or EFF_ERR_ARG where there is no such node, or one that can't run in float.
 */
EffStatus eff_check_float_nodes(EffTable *table, const EffGraph *g, const EffQuantizeOptions *options);

/*
 * Set tuning->types: what the table says and options->float_nodes (checked), then what options->int16_nodes and
 * max_drop ask for. Nodes that the table lists stay as it says. Activations before promoted nodes leave the staircase.
 *
 * The measurements run with rounded weights, before any are chosen. `table` may be NULL.
 * @return EFF_OK (eff_promotion_free), EFF_ERR_ARG (too few pictures for max_drop), what the picture source returned,
 *         EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED.
 */
EffStatus eff_promote(EffPromotion *out, EffTuning *tuning, const EffGraph *g, const EffReference *reference,
                      const EffRanges *ranges, EffActChoice *choices, size_t n_choices, const EffTable *table,
                      const EffPictures *pictures, const EffQuantizeOptions *options);

#endif
