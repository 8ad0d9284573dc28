/* SPDX-License-Identifier: Apache-2.0 */
/** Building models: published weights, architectures, the float network, quantization, compilation. */
#ifndef EFFNET_COMPILE_H
#define EFFNET_COMPILE_H

#include "effnet/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Weights ------------------------------------------------------------------------------------------------- */

enum { EFF_MAX_RANK = 8 };

/** A named constant tensor, float32, row-major in the order of `dims`. Borrowed from its EffWeights. */
typedef struct EffTensor {
    const char *name;
    int rank; /**< 0 for a scalar */
    int64_t dims[EFF_MAX_RANK];
    size_t n_elements;
    const float *data;
} EffTensor;

/** Tensors read from a file of weights; immutable. */
typedef struct EffWeights EffWeights;

/**
 * Read a PyTorch state dict (.pth, .pt, .bin): the zip form of torch 1.6 and later, or the legacy pickle form before
 * it. The pickle is read as data: an allowlist of opcodes and globals, nothing is ever executed, no Python is needed.
 * float32, float64, float16 and bfloat16 become float32; integer tensors (num_batches_tracked) too. A dict that holds
 * the state dict under "state_dict_ema", "state_dict" or "model", in this order, is unwrapped; a leading "module." is
 * dropped; entries that are no tensors are left out. Names are printable ASCII, each comes once.
 *
 * @param path  file of at most 4 GiB, or "-" for standard input.
 * @return EFF_OK (free with eff_weights_free), EFF_ERR_IO, EFF_ERR_FORMAT (damaged, not a state dict, or a weight that
 *         is NaN or infinite in float32), EFF_ERR_UNSUPPORTED (an opcode, a global or a dtype that is not allowed, or
 *         another kind of file), EFF_ERR_LIMIT, EFF_ERR_NOMEM. On failure `out` is untouched.
 */
EffStatus eff_weights_open(EffWeights **out, const char *path);
/** The same from memory; `name` is for messages. `data` is not kept. */
EffStatus eff_weights_read(EffWeights **out, const void *data, size_t size, const char *name);
size_t eff_weights_count(const EffWeights *w);
/** The i-th tensor in the order of the file; NULL past the end. */
const EffTensor *eff_weights_at(const EffWeights *w, size_t i);
/** Tensor of that name, or NULL. */
const EffTensor *eff_weights_find(const EffWeights *w, const char *name);
void eff_weights_free(EffWeights *w);

#ifdef __cplusplus
}
#endif
#endif
