/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutants of ONNX files by their fields: a file is taken apart along the messages of onnx.proto, fields are changed,
 * and all lengths are written anew, so that a mutant gets past the wire format and reaches what the fields mean.
 */
#ifndef EFFNET_FUZZ_PROTO_MUTATE_H
#define EFFNET_FUZZ_PROTO_MUTATE_H

#include "base/rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether a file can be taken apart, and put together to the same bytes. */
bool proto_returns(const uint8_t *data, size_t size);

/*
 * A mutant of one to four changes. The caller frees *out with free().
 * @return its size; aborts without memory. A file that cannot be taken apart comes back as it is.
 */
size_t proto_mutate(uint8_t **out, EffRng *rng, const uint8_t *data, size_t size);

#endif
