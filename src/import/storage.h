/* SPDX-License-Identifier: Apache-2.0 */
/* Storages of a torch file: runs of elements that tensors look into, each under a key. */
#ifndef EFF_IMPORT_STORAGE_H
#define EFF_IMPORT_STORAGE_H

#include "import/pickle.h"

typedef enum EffDtype {
    EFF_DTYPE_F32,
    EFF_DTYPE_F64,
    EFF_DTYPE_F16,
    EFF_DTYPE_BF16,
    EFF_DTYPE_I64,
    EFF_DTYPE_I32,
    EFF_DTYPE_I16,
    EFF_DTYPE_I8,
    EFF_DTYPE_U8,
    EFF_DTYPE_BOOL
} EffDtype;

size_t eff_dtype_bytes(EffDtype dtype);

/**
 * dst[i] = (float)src[i * stride] for i in 0..n-1, rounding to nearest even; bool becomes 0 or 1.
 *
 * @param src     little-endian elements at any alignment.
 * @param stride  in elements; 0 repeats the first.
 */
void eff_dtype_to_float(float *dst, const uint8_t *src, EffDtype dtype, size_t n, size_t stride);

enum { EFF_STORAGE_MAX_KEY = 255 };

typedef struct EffStorage {
    const uint8_t *key; /* in the pickle */
    size_t key_bytes;
    EffDtype dtype;
    size_t n_elements, n_bytes;
    const uint8_t *bytes; /* NULL until the reader of the file knows where they are */
} EffStorage;

/* All storages of a file, each once, sorted by key. */
typedef struct EffStorages {
    EffStorage *items;
    size_t n;
} EffStorages;

/**
 * The storages that `p` has met. The same key must come with the same type and size every time.
 *
 * @param out  freed with eff_free(out->items).
 * @return EFF_OK, EFF_ERR_FORMAT, EFF_ERR_LIMIT or EFF_ERR_NOMEM.
 */
EffStatus eff_storages_collect(EffStorages *out, const EffPickle *p);
/* The storage of that key, or NULL. */
EffStorage *eff_storages_find(const EffStorages *list, const uint8_t *key, size_t key_bytes);

#endif
