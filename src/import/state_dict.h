/* SPDX-License-Identifier: Apache-2.0 */
/* From the unpickled value of a torch file to the container of weights. */
#ifndef EFF_IMPORT_STATE_DICT_H
#define EFF_IMPORT_STATE_DICT_H

#include "import/storage.h"
#include "import/weights.h"

enum {
    /* Tensors may repeat the elements of a storage, through zero strides or by sharing it: without a bound, a file of
     * a kilobyte could ask for all memory. */
    EFF_STATE_DICT_MAX_ELEMENTS_PER_BYTE = 4,
    EFF_STATE_DICT_MAX_NAME = 1023
};

typedef struct EffStateDictSource {
    const EffPickleValue *root; /* what torch.load() would return */
    const EffStorages *storages;
    size_t file_bytes; /* bounds the elements of all tensors together */
    /* Called once for each storage that a tensor needs; *bytes has s->n_bytes and is valid until the next call. */
    EffStatus (*load)(void *ctx, const EffStorage *s, const uint8_t **bytes);
    void *ctx;
} EffStateDictSource;

/**
 * Collect the tensors of a state dict, contiguous and in float32. Entries that are no tensors are left out.
 *
 * @return EFF_OK, EFF_ERR_FORMAT (not a state dict, a tensor that leaves its storage, a weight that is not finite),
 *         EFF_ERR_UNSUPPORTED, EFF_ERR_LIMIT, EFF_ERR_NOMEM, or what load() returned.
 */
EffStatus eff_state_dict_read(EffWeights **out, const EffStateDictSource *source);

#endif
