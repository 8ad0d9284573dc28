/* SPDX-License-Identifier: Apache-2.0 */
/* What one picture of a round of eff_each_picture() needs to go through the float network. */
#ifndef EFF_QUANT_SLOTS_H
#define EFF_QUANT_SLOTS_H

#include "effnet/compile.h"
#include "graph/reference_f32.h"

/* A slot that is all zero may be freed. */
typedef struct EffRunSlot {
    const EffGraph *g;
    EffReferenceSession *session; /* of one thread: the pictures of a round run side by side */
    float *input, *logits;
} EffRunSlot;

/* Slots of a round: as many as eff_each_picture() uses with these options. */
size_t eff_run_slot_count(const EffQuantizeOptions *options);

/* @return EFF_OK, EFF_ERR_NOMEM; eff_run_slot_free() either way. */
EffStatus eff_run_slot_create(EffRunSlot *out, const EffGraph *g, const EffReference *reference);
void eff_run_slot_free(EffRunSlot *slot);

/* Run a picture; the logits are left in the slot. */
void eff_run_slot_run(EffRunSlot *slot, const uint8_t *pixels, eff_tap_fn *tap, void *ctx);

#endif
