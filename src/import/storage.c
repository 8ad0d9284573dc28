/* SPDX-License-Identifier: Apache-2.0 */
/* Element types and their conversion to float32; the table of storages of a file. */
#include "import/storage.h"
#include "base/mem.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

static const EffDtype dtype_of_global[] = {
    [EFF_GLOBAL_FLOAT_STORAGE] = EFF_DTYPE_F32, [EFF_GLOBAL_DOUBLE_STORAGE] = EFF_DTYPE_F64,
    [EFF_GLOBAL_HALF_STORAGE] = EFF_DTYPE_F16,  [EFF_GLOBAL_BFLOAT16_STORAGE] = EFF_DTYPE_BF16,
    [EFF_GLOBAL_LONG_STORAGE] = EFF_DTYPE_I64,  [EFF_GLOBAL_INT_STORAGE] = EFF_DTYPE_I32,
    [EFF_GLOBAL_SHORT_STORAGE] = EFF_DTYPE_I16, [EFF_GLOBAL_CHAR_STORAGE] = EFF_DTYPE_I8,
    [EFF_GLOBAL_BYTE_STORAGE] = EFF_DTYPE_U8,   [EFF_GLOBAL_BOOL_STORAGE] = EFF_DTYPE_BOOL,
};

size_t eff_dtype_bytes(EffDtype dtype)
{
    static const uint8_t bytes[] = {
        [EFF_DTYPE_F32] = 4, [EFF_DTYPE_F64] = 8, [EFF_DTYPE_F16] = 2, [EFF_DTYPE_BF16] = 2, [EFF_DTYPE_I64] = 8,
        [EFF_DTYPE_I32] = 4, [EFF_DTYPE_I16] = 2, [EFF_DTYPE_I8] = 1,  [EFF_DTYPE_U8] = 1,   [EFF_DTYPE_BOOL] = 1,
    };
    return bytes[dtype];
}

static float from_bits(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* IEEE 754 binary16: every value is a float32 too. */
static float from_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f, fraction = h & 0x3ff;
    if (exponent == 0) { /* zero, or fraction * 2^-24 */
        const float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const uint32_t wide = exponent == 0x1f ? 0xff : exponent + (127 - 15);
    return from_bits(sign | wide << 23 | fraction << 13);
}

void eff_dtype_to_float(float *dst, const uint8_t *src, EffDtype dtype, size_t n, size_t stride)
{
    if (dtype == EFF_DTYPE_F32 && stride == 1) {
        memcpy(dst, src, n * sizeof *dst);
        return;
    }
    const size_t step = stride * eff_dtype_bytes(dtype);
    for (size_t i = 0; i < n; i++, src += step) {
        switch (dtype) {
        case EFF_DTYPE_F32: memcpy(&dst[i], src, 4); break;
        case EFF_DTYPE_F64: {
            double v;
            memcpy(&v, src, sizeof v);
            dst[i] = (float)v;
            break;
        }
        case EFF_DTYPE_F16: dst[i] = from_half((uint16_t)(src[0] | src[1] << 8)); break;
        case EFF_DTYPE_BF16: dst[i] = from_bits((uint32_t)src[0] << 16 | (uint32_t)src[1] << 24); break;
        case EFF_DTYPE_I64: {
            int64_t v;
            memcpy(&v, src, sizeof v);
            dst[i] = (float)v;
            break;
        }
        case EFF_DTYPE_I32: {
            int32_t v;
            memcpy(&v, src, sizeof v);
            dst[i] = (float)v;
            break;
        }
        case EFF_DTYPE_I16: {
            int16_t v;
            memcpy(&v, src, sizeof v);
            dst[i] = (float)v;
            break;
        }
        case EFF_DTYPE_I8: dst[i] = (float)(int8_t)*src; break;
        case EFF_DTYPE_U8: dst[i] = (float)*src; break;
        case EFF_DTYPE_BOOL: dst[i] = *src != 0 ? 1.0f : 0.0f; break;
        }
    }
}

static int compare_keys(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b)
{
    if (n_a != n_b)
        return n_a < n_b ? -1 : 1;
    return memcmp(a, b, n_a);
}

static int compare_storages(const void *a, const void *b)
{
    const EffStorage *x = a, *y = b;
    return compare_keys(x->key, x->key_bytes, y->key, y->key_bytes);
}

static EffStatus read_storage(EffStorage *out, const EffPickleValue *id)
{
    const EffPickleValue *type = &id->u.items[1], *key = &id->u.items[2], *count = &id->u.items[4];
    char shown[EFF_SHOWN_BYTES];
    if (key->n > EFF_STORAGE_MAX_KEY || memchr(key->u.bytes, '\0', key->n) != NULL)
        return eff_fail(EFF_ERR_FORMAT, "the storage key '%s' is not one of torch; the file is damaged, fetch it again",
                        eff_show(shown, key->u.bytes, key->n));
    *out = (EffStorage){.key = key->u.bytes,
                        .key_bytes = key->n,
                        .dtype = dtype_of_global[type->u.global],
                        .n_elements = (size_t)count->u.integer};
    if (!eff_mul_size(&out->n_bytes, out->n_elements, eff_dtype_bytes(out->dtype)))
        return eff_fail(EFF_ERR_FORMAT, "storage '%s' has %zu elements; the file is damaged, fetch it again",
                        eff_show(shown, key->u.bytes, key->n), out->n_elements);
    return EFF_OK;
}

EffStatus eff_storages_collect(EffStorages *out, const EffPickle *p)
{
    EffStorage *items = eff_calloc(p->n_storages, sizeof *items);
    if (items == NULL)
        return eff_fail_nomem(p->n_storages * sizeof *items, "the table of storages");
    EffStatus st = EFF_OK;
    for (size_t i = 0; i < p->n_storages; i++)
        if ((st = read_storage(&items[i], &p->storages[i])) != EFF_OK)
            goto fail;
    if (p->n_storages > 1)
        qsort(items, p->n_storages, sizeof *items, compare_storages);
    size_t n = 0;
    for (size_t i = 0; i < p->n_storages; i++) {
        const EffStorage *last = n > 0 ? &items[n - 1] : NULL;
        if (last == NULL || compare_storages(last, &items[i]) != 0) {
            items[n++] = items[i];
        } else if (last->dtype != items[i].dtype || last->n_elements != items[i].n_elements) {
            char shown[EFF_SHOWN_BYTES];
            st = eff_fail(EFF_ERR_FORMAT,
                          "storage '%s' comes with two types or sizes; the file is damaged, fetch it again",
                          eff_show(shown, last->key, last->key_bytes));
            goto fail;
        }
    }
    *out = (EffStorages){.items = items, .n = n};
    return EFF_OK;
fail:
    eff_free(items);
    return st;
}

EffStorage *eff_storages_find(const EffStorages *list, const uint8_t *key, size_t key_bytes)
{
    const EffStorage wanted = {.key = key, .key_bytes = key_bytes};
    return list->n > 0 ? bsearch(&wanted, list->items, list->n, sizeof wanted, compare_storages) : NULL;
}
