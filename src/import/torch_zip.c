/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of torch 1.6 and later: a zip archive with everything below one folder,
 *
 *     NAME/data.pkl      the object; tensors refer to storages by key
 *     NAME/byteorder     "little" (torch 2.1 and later)
 *     NAME/data/KEY      the elements of a storage
 *
 * libzip reads the archive. torch stores entries as they are; repacked, deflated archives are read too.
 */
#include "import/torch_file.h"
#include "base/mem.h"
#include "base/status.h"
#include "import/state_dict.h"

#include <stdio.h>
#include <string.h>
#include <zip.h>

enum {
    MAX_INFLATION = 1032,  /* of deflate: 258 bytes from 2 bits */
    MAX_ENTRIES = 1 << 14, /* a storage each: EfficientNet-B0 has 360 */
    MAX_PREFIX = 1023,
    MAX_BYTE_ORDER = 16
};
static const uint64_t max_entry_bytes = (uint64_t)4 << 30;

typedef struct Archive {
    zip_t *zip;
    size_t file_bytes;
    uint64_t bytes_read;         /* uncompressed, of all entries so far */
    char prefix[MAX_PREFIX + 1]; /* "NAME/" */
    uint8_t *entry;              /* the storage read last */
} Archive;

/* The name of an entry is hostile too, as is the text of an error that quotes it. */
static EffStatus fail_entry(EffStatus st, const char *name, const char *what)
{
    char shown[EFF_SHOWN_BYTES];
    eff_show(shown, (const uint8_t *)name, strlen(name));
    return eff_fail(st, "zip entry '%s' %s", shown, what);
}

static EffStatus fail_zip(zip_error_t *error, const char *name)
{
    const int code = zip_error_code_zip(error);
    char what[160];
    snprintf(what, sizeof what, "cannot be read (%s); the file is damaged, fetch it again", zip_error_strerror(error));
    return code == ZIP_ER_MEMORY ? eff_fail(EFF_ERR_NOMEM, "out of memory in libzip; close other programs")
                                 : fail_entry(EFF_ERR_FORMAT, name, what);
}

/*
 * libzip looks names up through chained hashes: names made to collide cost it a square of their number. Each entry of
 * the directory begins with a signature, so counting those bounds the entries before libzip sees them.
 */
static EffStatus check_entry_count(const uint8_t *data, size_t size)
{
    static const uint8_t signature[] = {'P', 'K', 1, 2};
    size_t n = 0;
    for (const uint8_t *at = data, *end = data + size; (size_t)(end - at) >= sizeof signature; at++) {
        at = memchr(at, signature[0], (size_t)(end - at) - (sizeof signature - 1));
        if (at == NULL)
            break;
        n += memcmp(at, signature, sizeof signature) == 0;
    }
    return n <= MAX_ENTRIES ? EFF_OK
                            : eff_fail(EFF_ERR_LIMIT,
                                       "a zip archive of more than %d entries; save the state dict alone", MAX_ENTRIES);
}

static EffStatus open_archive(Archive *a, const uint8_t *data, size_t size)
{
    EffStatus st = check_entry_count(data, size);
    if (st != EFF_OK)
        return st;
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(data, size, 0, &error);
    if (source != NULL)
        a->zip = zip_open_from_source(source, ZIP_RDONLY, &error);
    if (a->zip == NULL) {
        zip_source_free(source);
        st = zip_error_code_zip(&error) == ZIP_ER_MEMORY
                 ? eff_fail(EFF_ERR_NOMEM, "out of memory in libzip; close other programs")
                 : eff_fail(EFF_ERR_FORMAT,
                            "begins like a zip archive, but cannot be read as one (%s); the download is incomplete or "
                            "damaged, fetch it again",
                            zip_error_strerror(&error));
    }
    zip_error_fini(&error);
    return st;
}

/* Find NAME: the folder of the first data.pkl one level down. */
static EffStatus find_prefix(Archive *a)
{
    static const char wanted[] = "data.pkl";
    const zip_int64_t n = zip_get_num_entries(a->zip, 0);
    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(a->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        const char *slash = name != NULL ? strchr(name, '/') : NULL;
        if (slash == NULL || strcmp(slash + 1, wanted) != 0 || slash - name >= MAX_PREFIX)
            continue;
        memcpy(a->prefix, name, (size_t)(slash - name) + 1);
        return EFF_OK;
    }
    return eff_fail(EFF_ERR_FORMAT,
                    "a zip archive without data.pkl, so not a file of torch.save(); save the weights with "
                    "torch.save(model.state_dict(), path)");
}

/* Index of an entry below the prefix, negative when there is none; `name` is left to the caller for messages. */
static zip_int64_t locate(const Archive *a, char name[MAX_PREFIX + 300], const char *dir, const uint8_t *key, size_t n)
{
    snprintf(name, MAX_PREFIX + 300, "%s%s%.*s", a->prefix, dir, (int)n, (const char *)key);
    return zip_name_locate(a->zip, name, ZIP_FL_ENC_RAW);
}

/* Size of an entry, once it is known to be one that we read and no bomb. */
static EffStatus check_entry(Archive *a, zip_uint64_t index, const char *name, size_t *n_bytes)
{
    zip_stat_t stat;
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if (zip_stat_index(a->zip, index, 0, &stat) != 0)
        return fail_zip(zip_get_error(a->zip), name);
    if ((stat.valid & needed) != needed)
        return fail_entry(EFF_ERR_FORMAT, name, "does not tell its size; the file is damaged, fetch it again");
    if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) && stat.encryption_method != ZIP_EM_NONE)
        return fail_entry(EFF_ERR_UNSUPPORTED, name, "is encrypted; save the weights again with torch.save()");
    if (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE)
        return fail_entry(EFF_ERR_UNSUPPORTED, name,
                          "is neither stored nor deflated; save the weights again with torch.save()");
    if (stat.comp_size > a->file_bytes ||
        stat.size > (stat.comp_method == ZIP_CM_STORE ? stat.comp_size : stat.comp_size * MAX_INFLATION))
        return fail_entry(EFF_ERR_FORMAT, name,
                          "is larger than its bytes can make; the file is damaged, fetch it again");
    if (stat.size > max_entry_bytes - a->bytes_read)
        return fail_entry(EFF_ERR_LIMIT, name, "takes the archive beyond 4 GiB; save the state dict alone");
    *n_bytes = (size_t)stat.size;
    return EFF_OK;
}

/* Read an entry whole into dst[n_bytes]; libzip checks size and CRC when it meets the end. */
static EffStatus read_entry(Archive *a, zip_uint64_t index, const char *name, uint8_t *dst, size_t n_bytes)
{
    zip_file_t *file = zip_fopen_index(a->zip, index, 0);
    if (file == NULL)
        return fail_zip(zip_get_error(a->zip), name);
    size_t done = 0;
    zip_int64_t n = 0;
    while (done < n_bytes && (n = zip_fread(file, dst + done, n_bytes - done)) > 0)
        done += (size_t)n;
    uint8_t beyond;
    if (n >= 0 && done == n_bytes)
        n = zip_fread(file, &beyond, 1);
    EffStatus st = EFF_OK;
    if (n < 0)
        st = fail_zip(zip_file_get_error(file), name);
    else if (n > 0 || done != n_bytes)
        st = fail_entry(EFF_ERR_FORMAT, name, "has not the size that it tells; the file is damaged, fetch it again");
    zip_fclose(file);
    a->bytes_read += n_bytes;
    return st;
}

static EffStatus check_byte_order(Archive *a)
{
    char name[MAX_PREFIX + 300];
    const zip_int64_t index = locate(a, name, "byteorder", NULL, 0);
    if (index < 0)
        return EFF_OK;
    size_t n;
    EffStatus st = check_entry(a, (zip_uint64_t)index, name, &n);
    if (st != EFF_OK)
        return st;
    uint8_t text[MAX_BYTE_ORDER];
    if (n <= sizeof text && (st = read_entry(a, (zip_uint64_t)index, name, text, n)) != EFF_OK)
        return st;
    if (n == 6 && memcmp(text, "little", 6) == 0)
        return EFF_OK;
    if (n == 3 && memcmp(text, "big", 3) == 0)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "written on a big-endian machine; load and save it on a little-endian one");
    return fail_entry(EFF_ERR_FORMAT, name, "names no byte order; the file is damaged, fetch it again");
}

/* The pickle in new memory, which must outlive every value read from it. */
static EffStatus read_pickle(Archive *a, uint8_t **out, size_t *size)
{
    char name[MAX_PREFIX + 300];
    const zip_int64_t index = locate(a, name, "data.pkl", NULL, 0);
    if (index < 0)
        return fail_zip(zip_get_error(a->zip), name);
    EffStatus st = check_entry(a, (zip_uint64_t)index, name, size);
    if (st != EFF_OK)
        return st;
    if (*size > EFF_PICKLE_MAX_BYTES)
        return fail_entry(EFF_ERR_LIMIT, name, "is longer than 16 MiB; save the state dict alone");
    *out = eff_malloc(*size);
    return *out != NULL ? read_entry(a, (zip_uint64_t)index, name, *out, *size)
                        : eff_fail_nomem(*size, "the pickle of the archive");
}

static EffStatus load_storage(void *ctx, const EffStorage *s, const uint8_t **bytes)
{
    Archive *a = ctx;
    char name[MAX_PREFIX + 300];
    const zip_int64_t index = locate(a, name, "data/", s->key, s->key_bytes);
    if (index < 0)
        return fail_entry(EFF_ERR_FORMAT, name, "is missing; the file is damaged, fetch it again");
    size_t n_bytes;
    EffStatus st = check_entry(a, (zip_uint64_t)index, name, &n_bytes);
    if (st != EFF_OK)
        return st;
    if (n_bytes != s->n_bytes)
        return fail_entry(EFF_ERR_FORMAT, name,
                          "has not the size that its tensors tell; the file is damaged, fetch it again");
    eff_free(a->entry);
    a->entry = eff_malloc(n_bytes);
    if (a->entry == NULL)
        return eff_fail_nomem(n_bytes, "a storage of the archive");
    *bytes = a->entry;
    return read_entry(a, (zip_uint64_t)index, name, a->entry, n_bytes);
}

EffStatus eff_torch_zip_read(EffWeights **out, const uint8_t *data, size_t size)
{
    Archive a = {.file_bytes = size};
    EffPickle p = {0};
    EffStorages storages = {0};
    EffPickleValue root;
    uint8_t *pickle = NULL;
    EffStatus st = open_archive(&a, data, size);
    if (st == EFF_OK)
        st = find_prefix(&a);
    if (st == EFF_OK)
        st = check_byte_order(&a);
    if (st == EFF_OK)
        st = read_pickle(&a, &pickle, &p.size);
    p.data = pickle;
    if (st == EFF_OK)
        st = eff_pickle_next(&p, &root);
    if (st == EFF_OK)
        st = eff_storages_collect(&storages, &p);
    if (st == EFF_OK)
        st = eff_state_dict_read(
            out, &(EffStateDictSource){
                     .root = &root, .storages = &storages, .file_bytes = size, .load = load_storage, .ctx = &a});
    eff_free(a.entry);
    eff_free(storages.items);
    eff_pickle_free(&p);
    eff_free(pickle);
    if (a.zip != NULL)
        zip_discard(a.zip);
    return st;
}
