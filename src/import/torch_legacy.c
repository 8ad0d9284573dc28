/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of torch before 1.6, also written with _use_new_zipfile_serialization=False:
 *
 *     pickle  magic number          0x1950a86a20f9469cfc6c
 *     pickle  protocol version      1001
 *     pickle  dict                  protocol_version, little_endian, type_sizes
 *     pickle  the object            tensors refer to storages by key
 *     pickle  list of storage keys
 *     for each key: int64 n_elements, elements        little-endian, unaligned
 */
#include "import/torch_file.h"
#include "base/mem.h"
#include "base/status.h"
#include "import/state_dict.h"

#include <string.h>

static const uint8_t magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
enum { PROTOCOL_VERSION = 1001 };

static EffStatus read_header(EffPickle *p)
{
    EffPickleValue v;
    EffStatus st = eff_pickle_next(p, &v);
    if (st != EFF_OK)
        return st;
    if (v.kind != EFF_PICKLE_LONG || v.n != sizeof magic || memcmp(v.u.bytes, magic, sizeof magic) != 0)
        return eff_fail(EFF_ERR_FORMAT,
                        "a Python pickle of %s, but not a file of torch.save(); save the weights with "
                        "torch.save(model.state_dict(), path)",
                        eff_pickle_kind_name(v.kind));
    if ((st = eff_pickle_next(p, &v)) != EFF_OK)
        return st;
    if (v.kind != EFF_PICKLE_INT || v.u.integer != PROTOCOL_VERSION)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "not version %d of the legacy form of torch; save it again with a newer torch",
                        PROTOCOL_VERSION);
    if ((st = eff_pickle_next(p, &v)) != EFF_OK)
        return st;
    const EffPickleValue *little = v.kind == EFF_PICKLE_DICT ? eff_pickle_dict_get(&v, "little_endian") : NULL;
    if (little == NULL || little->kind != EFF_PICKLE_BOOL)
        return eff_fail(EFF_ERR_FORMAT,
                        "its third pickle does not tell the byte order; the file is damaged, fetch it again");
    if (!little->u.truth)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "written on a big-endian machine; load and save it on a little-endian one");
    return EFF_OK;
}

/* Find the bytes of the storage `key` at *at, and step over them. */
static EffStatus place_storage(const EffStorages *storages, const EffPickleValue *key, const EffPickle *p, size_t *at)
{
    char shown[EFF_SHOWN_BYTES];
    EffStorage *s = key->kind == EFF_PICKLE_STRING ? eff_storages_find(storages, key->u.bytes, key->n) : NULL;
    if (s == NULL || s->bytes != NULL)
        return eff_fail(EFF_ERR_FORMAT,
                        "its list of storages names one that no tensor has, or one twice (offset %zu); the file is "
                        "damaged, fetch it again",
                        *at);
    eff_show(shown, s->key, s->key_bytes);
    int64_t count;
    if (p->size - *at < sizeof count)
        return eff_fail(EFF_ERR_FORMAT,
                        "ends before storage '%s' (offset %zu); the download is incomplete, fetch it again", shown,
                        *at);
    memcpy(&count, p->data + *at, sizeof count);
    if (count < 0 || (uint64_t)count != s->n_elements)
        return eff_fail(
            EFF_ERR_FORMAT,
            "storage '%s' has %lld elements (offset %zu), its tensors say %zu; the file is damaged, fetch it "
            "again",
            shown, (long long)count, *at, s->n_elements);
    *at += sizeof count;
    if (p->size - *at < s->n_bytes)
        return eff_fail(EFF_ERR_FORMAT,
                        "ends inside storage '%s': %zu of %zu bytes (offset %zu); the download is incomplete, fetch it "
                        "again",
                        shown, p->size - *at, s->n_bytes, *at);
    s->bytes = p->data + *at;
    *at += s->n_bytes;
    return EFF_OK;
}

static EffStatus place_storages(const EffStorages *storages, const EffPickleValue *keys, const EffPickle *p)
{
    if (keys->kind != EFF_PICKLE_LIST)
        return eff_fail(EFF_ERR_FORMAT,
                        "its fifth pickle is %s, not the list of storages; the file is damaged, fetch it "
                        "again",
                        eff_pickle_kind_name(keys->kind));
    size_t at = p->at;
    for (const EffPickleCell *cell = keys->u.list->first; cell != NULL; cell = cell->next) {
        const EffStatus st = place_storage(storages, &cell->value, p, &at);
        if (st != EFF_OK)
            return st;
    }
    return EFF_OK;
}

static EffStatus get_bytes(void *ctx, const EffStorage *s, const uint8_t **bytes)
{
    (void)ctx;
    char shown[EFF_SHOWN_BYTES];
    if (s->bytes == NULL)
        return eff_fail(EFF_ERR_FORMAT, "storage '%s' is not in the file; the file is damaged, fetch it again",
                        eff_show(shown, s->key, s->key_bytes));
    *bytes = s->bytes;
    return EFF_OK;
}

EffStatus eff_torch_legacy_read(EffWeights **out, const uint8_t *data, size_t size)
{
    EffPickle p = {.data = data, .size = size};
    EffStorages storages = {0};
    EffPickleValue root, keys;
    EffStatus st = read_header(&p);
    if (st == EFF_OK)
        st = eff_pickle_next(&p, &root);
    if (st == EFF_OK)
        st = eff_pickle_next(&p, &keys);
    if (st == EFF_OK)
        st = eff_storages_collect(&storages, &p);
    if (st == EFF_OK)
        st = place_storages(&storages, &keys, &p);
    if (st == EFF_OK)
        st = eff_state_dict_read(
            out, &(EffStateDictSource){.root = &root, .storages = &storages, .file_bytes = size, .load = get_bytes});
    eff_free(storages.items);
    eff_pickle_free(&p);
    return st;
}
