/* SPDX-License-Identifier: Apache-2.0 */
/* Files: read whole with a bound, written whole or not at all. */
#ifndef EFF_BASE_FILE_H
#define EFF_BASE_FILE_H

#include "effnet/base.h"

#include <stdbool.h>

/** A file's bytes; the owner frees `data` with eff_free(). */
typedef struct EffBytes {
    uint8_t *data;
    size_t size;
} EffBytes;

/**
 * Read a regular file, or standard input for "-", whole into memory.
 *
 * @param max_bytes  larger files are refused with EFF_ERR_LIMIT.
 * @return EFF_OK, EFF_ERR_IO, EFF_ERR_LIMIT or EFF_ERR_NOMEM; `out` is untouched on failure.
 */
EffStatus eff_file_read(EffBytes *out, const char *path, size_t max_bytes);

/**
 * Write a file atomically: a temporary file in the same directory, fsync, rename, fsync of the directory. On failure
 * the old file stays and the temporary one is gone. @return EFF_OK, EFF_ERR_IO or EFF_ERR_NOMEM.
 */
EffStatus eff_file_write_atomic(const char *path, const void *data, size_t size);

/** Create a directory and its missing parents (mode 0777 less umask). An existing one is fine. */
EffStatus eff_make_dirs(const char *path);

/** "a/b" from "a" and "b" in new memory (eff_free); NULL when memory is short. */
char *eff_path_join(const char *dir, const char *name);

bool eff_is_dir(const char *path);
bool eff_is_file(const char *path);
/** Bytes of a regular file that is no symbolic link; false for anything else. */
bool eff_plain_file_size(uint64_t *out, const char *path);
/* Whether a path is a symbolic link. */
bool eff_is_link(const char *path);

/** A growing list of strings. */
typedef struct EffStrings {
    char **items;
    size_t n;
} EffStrings;

/**
 * Names of the entries of a directory, without "." and "..", hidden ones left out, in bytewise order.
 * The owner calls eff_strings_free(). @return EFF_OK, EFF_ERR_IO or EFF_ERR_NOMEM.
 */
EffStatus eff_dir_list(EffStrings *out, const char *path);
EffStatus eff_strings_push(EffStrings *list, const char *text);
void eff_strings_free(EffStrings *list);

#endif
