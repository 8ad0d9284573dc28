/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories on POSIX. Reading is bounded, writing is atomic. */
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static EffStatus read_fd(EffBytes *out, int fd, const char *path, size_t size_hint, size_t max_bytes)
{
    size_t capacity = size_hint + 1; /* one byte more than promised: a file that grows is noticed by the loop */
    size_t size = 0;
    uint8_t *data = eff_malloc(capacity);
    if (data == NULL)
        return eff_fail_nomem(capacity, path);
    for (;;) {
        if (size == capacity) {
            uint8_t *grown = eff_realloc(data, size, capacity, 2);
            if (grown == NULL) {
                eff_free(data);
                return eff_fail_nomem(capacity * 2, path);
            }
            data = grown;
            capacity *= 2;
        }
        const ssize_t n = read(fd, data + size, capacity - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            const int err = errno;
            eff_free(data);
            return eff_fail_errno(err, path, "cannot read");
        }
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > max_bytes) {
            eff_free(data);
            return eff_fail(EFF_ERR_LIMIT, "%s: larger than the limit of %zu bytes; use a smaller file", path,
                            max_bytes);
        }
    }
    *out = (EffBytes){.data = data, .size = size};
    return EFF_OK;
}

EffStatus eff_file_read(EffBytes *out, const char *path, size_t max_bytes)
{
    if (strcmp(path, "-") == 0)
        return read_fd(out, STDIN_FILENO, "standard input", 1 << 16, max_bytes);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: never hang on a FIFO */
    if (fd < 0)
        return eff_fail_errno(errno, path, "cannot open");
    struct stat info;
    EffStatus st;
    if (fstat(fd, &info) != 0)
        st = eff_fail_errno(errno, path, "cannot read");
    else if (S_ISDIR(info.st_mode))
        st = eff_fail_errno(EISDIR, path, "cannot read");
    else if (!S_ISREG(info.st_mode))
        st = eff_fail(EFF_ERR_IO, "%s: not a regular file; name one, or use '-' to read standard input", path);
    else if ((uint64_t)info.st_size > max_bytes)
        st = eff_fail(EFF_ERR_LIMIT, "%s: %lld bytes, larger than the limit of %zu; use a smaller file", path,
                      (long long)info.st_size, max_bytes);
    else
        st = read_fd(out, fd, path, (size_t)info.st_size, max_bytes);
    close(fd);
    return st;
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        const ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* A rename survives a crash only once its directory is on disk. */
static void sync_parent(const char *path)
{
    char *dir = eff_strdup(path);
    if (dir == NULL)
        return;
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        slash[slash == dir] = '\0';
    const int fd = open(slash != NULL ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* some file systems refuse it; the file itself is safe by then */
        close(fd);
    }
    eff_free(dir);
}

EffStatus eff_file_write_atomic(const char *path, const void *data, size_t size)
{
    const size_t n = strlen(path) + 16;
    char *temp = eff_malloc(n);
    if (temp == NULL)
        return eff_fail_nomem(n, path);
    snprintf(temp, n, "%s.tmp-XXXXXX", path);
    const int fd = mkstemp(temp);
    if (fd < 0) {
        const int err = errno;
        eff_free(temp);
        return eff_fail_errno(err, path, "cannot write");
    }
    const mode_t mask = umask(0);
    umask(mask);
    int err = 0;
    if (!write_all(fd, data, size) || fchmod(fd, 0666 & ~mask) != 0 || fsync(fd) != 0)
        err = errno;
    if (close(fd) != 0 && err == 0)
        err = errno;
    if (err == 0 && rename(temp, path) != 0)
        err = errno;
    if (err != 0)
        unlink(temp);
    else
        sync_parent(path);
    eff_free(temp);
    return err != 0 ? eff_fail_errno(err, path, "cannot write") : EFF_OK;
}

EffStatus eff_make_dirs(const char *path)
{
    char *copy = eff_strdup(path);
    if (copy == NULL)
        return eff_fail_nomem(strlen(path), path);
    EffStatus st = EFF_OK;
    for (char *p = copy + 1; st == EFF_OK; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        const char at = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            st = eff_fail_errno(errno, copy, "cannot create the directory");
        else if (!eff_is_dir(copy))
            st = eff_fail_errno(ENOTDIR, copy, "cannot create the directory");
        *p = at;
        if (at == '\0')
            break;
    }
    eff_free(copy);
    return st;
}

char *eff_path_join(const char *dir, const char *name)
{
    const size_t n_dir = strlen(dir), n = n_dir + strlen(name) + 2;
    char *path = eff_malloc(n);
    if (path != NULL)
        snprintf(path, n, "%s%s%s", dir, n_dir > 0 && dir[n_dir - 1] == '/' ? "" : "/", name);
    return path;
}

bool eff_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool eff_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool eff_plain_file_size(uint64_t *out, const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return false;
    *out = (uint64_t)info.st_size;
    return true;
}

bool eff_is_link(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

EffStatus eff_strings_push(EffStrings *list, const char *text)
{
    if ((list->n & (list->n - 1)) == 0) { /* grow at powers of two */
        const size_t capacity = list->n ? list->n * 2 : 1;
        char **items = eff_realloc(list->items, list->n * sizeof *items, capacity, sizeof *items);
        if (items == NULL)
            return eff_fail_nomem(capacity * sizeof *items, "a list of names");
        list->items = items;
    }
    char *copy = eff_strdup(text);
    if (copy == NULL)
        return eff_fail_nomem(strlen(text), "a name");
    list->items[list->n++] = copy;
    return EFF_OK;
}

void eff_strings_free(EffStrings *list)
{
    for (size_t i = 0; i < list->n; i++)
        eff_free(list->items[i]);
    eff_free(list->items);
    *list = (EffStrings){0};
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

EffStatus eff_dir_list(EffStrings *out, const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return eff_fail_errno(errno, path, "cannot list the directory");
    EffStrings list = {0};
    EffStatus st = EFF_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0)
                st = eff_fail_errno(errno, path, "cannot list the directory");
            break;
        }
        if (entry->d_name[0] != '.' && (st = eff_strings_push(&list, entry->d_name)) != EFF_OK)
            break;
    }
    closedir(dir);
    if (st != EFF_OK) {
        eff_strings_free(&list);
        return st;
    }
    if (list.n > 1)
        qsort(list.items, list.n, sizeof *list.items, compare_strings);
    *out = list;
    return EFF_OK;
}
