/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a compiled model twice: as it is, and with its checksums set right, so that mutants get past them. What is
 * accepted must be written back as the same bytes, and run, fused and step by step, with equal logits.
 */
#undef NDEBUG
#include "base/mem.h"
#include "format/bin.h"
#include "runtime/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Beyond these a run would only take long. */
enum { MAX_WORK = 1 << 22, MAX_ARENA = 1 << 24 };

/* Logits of a session, which is destroyed. */
static void run_session(EffSession *s, const uint8_t *pixels, float *logits)
{
    eff_session_run(s, pixels, logits);
    eff_session_destroy(s);
}

/* Groups tile by tile, and steps one by one, must give the same bits. */
static void run(EffModel *m)
{
    EffSession *fused, *steps;
    uint64_t work = 0;
    const size_t n = (size_t)m->plan.n_classes;
    for (int i = 0; i < m->plan.n_steps; i++)
        work += eff_step_work(&m->plan, &m->plan.steps[i]);
    if (work > MAX_WORK || m->plan.arena_bytes > MAX_ARENA)
        return;
    uint8_t *pixels = calloc((size_t)m->plan.pre.size * (size_t)m->plan.pre.size, 3);
    float *logits = calloc(2 * n, sizeof *logits);
    if (pixels != NULL && logits != NULL && eff_session_create(&fused, m, 1) == EFF_OK) {
        run_session(fused, pixels, logits);
        if (eff_session_create_unfused(&steps, m, 1) == EFF_OK) {
            run_session(steps, pixels, logits + n);
            assert(memcmp(logits, logits + n, n * sizeof *logits) == 0);
        }
    }
    free(pixels);
    free(logits);
}

static void read_model(const uint8_t *data, size_t size)
{
    EffModel *m;
    EffBytes again;
    if (eff_model_read(&m, data, size, "input", "auto") != EFF_OK)
        return;
    if (eff_bin_write(&again, &m->plan) == EFF_OK) {
        /* The digest may be wrong in the input: reading does not compute it. */
        const size_t header = EFF_BIN_FIXED_BYTES;
        assert(again.size == size && memcmp(again.data + header, data + header, size - header) == 0);
        eff_free(again.data);
    }
    run(m);
    eff_model_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        return 0;
    read_model(data, size);
    if (size > 0)
        memcpy(copy, data, size);
    if (eff_bin_seal(copy, size))
        read_model(copy, size);
    free(copy);
    return 0;
}
