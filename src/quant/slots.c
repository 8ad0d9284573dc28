/* SPDX-License-Identifier: Apache-2.0 */
/* One picture through the float network. */
#include "quant/slots.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"

size_t eff_run_slot_count(const EffQuantizeOptions *options)
{
    return (size_t)(options->n_threads ? options->n_threads : eff_cpu_count());
}

EffStatus eff_run_slot_create(EffRunSlot *out, const EffGraph *g, const EffReference *reference)
{
    const size_t n = (size_t)g->pre.size * (size_t)g->pre.size * 3;
    *out = (EffRunSlot){.g = g};
    out->input = eff_calloc(n, sizeof *out->input);
    out->logits = eff_calloc((size_t)g->n_classes, sizeof *out->logits);
    if (out->input == NULL || out->logits == NULL)
        return eff_fail_nomem(n * sizeof *out->input, "a picture");
    return eff_reference_session_create(&out->session, reference, 1);
}

void eff_run_slot_free(EffRunSlot *slot)
{
    eff_reference_session_free(slot->session);
    eff_free(slot->input);
    eff_free(slot->logits);
    *slot = (EffRunSlot){0};
}

void eff_run_slot_run(EffRunSlot *slot, const uint8_t *pixels, eff_tap_fn *tap, void *ctx)
{
    eff_graph_normalize(slot->g, slot->input, pixels);
    eff_reference_run_tapped(slot->session, slot->input, slot->logits, tap, ctx);
}
