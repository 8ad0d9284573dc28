/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting pictures and their labels. */
#include "dataset.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_DEPTH = 32, MAX_LIST_BYTES = 256 << 20, MAX_LABEL = 65535 };

static bool is_picture_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof *endings; i++) {
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    }
    return false;
}

/* Takes ownership of `path`. */
static EffStatus push(Dataset *d, char *path, int label)
{
    if (path == NULL)
        return eff_fail_nomem(64, "a path");
    if ((d->n & (d->n - 1)) == 0) { /* grow at powers of two */
        const size_t capacity = d->n ? d->n * 2 : 1;
        char **paths = eff_realloc(d->paths, d->n * sizeof *paths, capacity, sizeof *paths);
        if (paths != NULL)
            d->paths = paths;
        int *labels = eff_realloc(d->labels, d->n * sizeof *labels, capacity, sizeof *labels);
        if (labels != NULL)
            d->labels = labels;
        if (paths == NULL || labels == NULL) {
            eff_free(path);
            return eff_fail_nomem(capacity * sizeof *paths, "a list of pictures");
        }
    }
    d->paths[d->n] = path;
    d->labels[d->n++] = label;
    return EFF_OK;
}

static EffStatus add_dir(Dataset *d, const char *dir, int label, int depth)
{
    EffStrings names = {0};
    if (depth > MAX_DEPTH)
        return eff_fail(EFF_ERR_LIMIT, "%s: more than %d folders deep; is there a loop of links?", dir, MAX_DEPTH);
    EffStatus st = eff_dir_list(&names, dir);
    for (size_t i = 0; i < names.n && st == EFF_OK; i++) {
        char *path = eff_path_join(dir, names.items[i]);
        if (path == NULL)
            st = eff_fail_nomem(64, "a path");
        else if (eff_is_dir(path))
            st = add_dir(d, path, label, depth + 1);
        else if (is_picture_name(path)) {
            st = push(d, path, label);
            path = NULL;
        }
        eff_free(path);
    }
    eff_strings_free(&names);
    return st;
}

EffStatus dataset_add(Dataset *d, const char *path)
{
    const size_t before = d->n;
    if (strcmp(path, "-") == 0 || !eff_is_dir(path))
        return push(d, eff_strdup(path), -1);
    const EffStatus st = add_dir(d, path, -1, 0);
    if (st == EFF_OK && d->n == before)
        return eff_fail(EFF_ERR_FORMAT, "%s: no .jpg, .jpeg, .png or .webp in this folder; name another", path);
    return st;
}

/* The number before the first '_' of a file's name; -1 when there is none. */
static int index_of_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    char *end;
    if (!isdigit((unsigned char)name[0]))
        return -1;
    const long v = strtol(name, &end, 10);
    return *end == '_' && v <= MAX_LABEL ? (int)v : -1;
}

static EffStatus add_class_dirs(Dataset *d, const char *dir, const EffStrings *names)
{
    d->classes = eff_calloc(names->n, sizeof *d->classes);
    if (d->classes == NULL)
        return eff_fail_nomem(names->n * sizeof *d->classes, "the classes");
    for (size_t i = 0; i < names->n; i++) {
        char *path = eff_path_join(dir, names->items[i]);
        if (path == NULL)
            return eff_fail_nomem(64, "a path");
        EffStatus st = EFF_OK;
        if (eff_is_dir(path)) {
            d->classes[d->n_classes] = eff_strdup(names->items[i]);
            st = d->classes[d->n_classes] == NULL ? eff_fail_nomem(64, "a class")
                                                  : add_dir(d, path, (int)d->n_classes, 0);
            d->n_classes++;
        }
        eff_free(path);
        if (st != EFF_OK)
            return st;
    }
    return EFF_OK;
}

EffStatus dataset_open_dir(Dataset *out, const char *dir)
{
    Dataset d = {0};
    EffStrings names = {0};
    EffStatus st = eff_dir_list(&names, dir);
    bool has_dirs = false;
    for (size_t i = 0; i < names.n && st == EFF_OK; i++) {
        char *path = eff_path_join(dir, names.items[i]);
        if (path == NULL)
            st = eff_fail_nomem(64, "a path");
        else
            has_dirs |= eff_is_dir(path);
        eff_free(path);
    }
    if (st == EFF_OK && has_dirs) {
        st = add_class_dirs(&d, dir, &names);
    } else if (st == EFF_OK) {
        st = add_dir(&d, dir, -1, 0);
        for (size_t i = 0; i < d.n && st == EFF_OK; i++) {
            d.labels[i] = index_of_name(d.paths[i]);
            if (d.labels[i] < 0)
                st = eff_fail(
                    EFF_ERR_FORMAT,
                    "%s: no label; sort the pictures into one folder a class, name them INDEX_anything.jpg, or "
                    "give a --list of lines 'PATH LABEL'",
                    d.paths[i]);
        }
    }
    eff_strings_free(&names);
    if (st == EFF_OK && d.n == 0)
        st = eff_fail(EFF_ERR_FORMAT, "%s: no .jpg, .jpeg, .png or .webp in this folder; name another", dir);
    if (st != EFF_OK) {
        dataset_free(&d);
        return st;
    }
    *out = d;
    return EFF_OK;
}

/* One line "PATH LABEL": the label is the last word. */
static EffStatus add_line(Dataset *d, char *line, const char *list, int number)
{
    char *end = line + strlen(line);
    while (end > line && isspace((unsigned char)end[-1]))
        *--end = '\0';
    if (end == line || line[0] == '#')
        return EFF_OK;
    char *last = end;
    while (last > line && !isspace((unsigned char)last[-1]))
        last--;
    char *stop;
    const long label = strtol(last, &stop, 10);
    if (last == line || stop == last || *stop != '\0' || label < 0 || label > MAX_LABEL)
        return eff_fail(EFF_ERR_FORMAT, "%s:%d: not 'PATH LABEL' with a label from 0 to %d", list, number, MAX_LABEL);
    char *path_end = last;
    while (path_end > line && isspace((unsigned char)path_end[-1]))
        *--path_end = '\0';
    const char *slash = strrchr(list, '/');
    char *path;
    if (line[0] == '/' || slash == NULL) {
        path = eff_strdup(line);
    } else {
        char *dir = eff_strndup(list, (size_t)(slash - list) + 1);
        path = dir != NULL ? eff_path_join(dir, line) : NULL;
        eff_free(dir);
    }
    return push(d, path, (int)label);
}

EffStatus dataset_open_list(Dataset *out, const char *list)
{
    EffBytes bytes;
    EffStatus st = eff_file_read(&bytes, list, MAX_LIST_BYTES);
    if (st != EFF_OK)
        return st;
    Dataset d = {0};
    int number = 0;
    for (size_t at = 0; at < bytes.size && st == EFF_OK;) {
        const uint8_t *end = memchr(bytes.data + at, '\n', bytes.size - at);
        const size_t n = end != NULL ? (size_t)(end - bytes.data) - at : bytes.size - at;
        char *line = eff_strndup((const char *)bytes.data + at, n);
        st = line != NULL ? add_line(&d, line, list, ++number) : eff_fail_nomem(n, "a line");
        eff_free(line);
        at += n + 1;
    }
    eff_free(bytes.data);
    if (st == EFF_OK && d.n == 0)
        st = eff_fail(EFF_ERR_FORMAT, "%s: no lines 'PATH LABEL'", list);
    if (st != EFF_OK) {
        dataset_free(&d);
        return st;
    }
    *out = d;
    return EFF_OK;
}

void dataset_spread(Dataset *d, size_t n)
{
    if (n >= d->n)
        return;
    for (size_t i = 0, kept = 0; i < d->n; i++) {
        if (kept < n && i == kept * d->n / n) {
            char *path = d->paths[i];
            d->paths[i] = NULL;
            d->labels[kept] = d->labels[i];
            d->paths[kept++] = path;
        } else {
            eff_free(d->paths[i]);
            d->paths[i] = NULL;
        }
    }
    d->n = n;
}

EffStatus dataset_split(Dataset *out, Dataset *from, size_t n)
{
    out->paths = eff_calloc(n, sizeof *out->paths);
    out->labels = eff_calloc(n, sizeof *out->labels);
    if (out->paths == NULL || out->labels == NULL)
        return eff_fail_nomem(n * sizeof *out->paths, "pictures to hold back");
    size_t kept = 0;
    for (size_t i = 0; i < from->n; i++) {
        const bool moves = out->n < n && i == out->n * from->n / n;
        Dataset *to = moves ? out : from;
        size_t *at = moves ? &out->n : &kept;
        to->paths[*at] = from->paths[i];
        to->labels[(*at)++] = from->labels[i];
    }
    from->n = kept;
    return EFF_OK;
}

void dataset_free(Dataset *d)
{
    for (size_t i = 0; i < d->n; i++)
        eff_free(d->paths[i]);
    for (size_t i = 0; i < d->n_classes; i++)
        eff_free(d->classes[i]);
    eff_free(d->paths);
    eff_free(d->labels);
    eff_free(d->classes);
    *d = (Dataset){0};
}
