/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into compiled models. */
#ifndef EFFNET_TESTS_COMPILED_UTIL_H
#define EFFNET_TESTS_COMPILED_UTIL_H

#include "base/file.h"
#include "compile/promote.h"
#include "effnet/compile.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The bytes of its .bin, which passes verification; eff_free(.data). */
static inline EffBytes written(const EffCompiled *c)
{
    char path[] = "/tmp/effnet-bin-XXXXXX";
    EffBytes bytes = {0};
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(eff_compiled_write(c, path), EFF_OK);
    assert_int_equal(eff_model_verify(path), EFF_OK);
    assert_int_equal(eff_file_read(&bytes, path, SIZE_MAX / 2), EFF_OK);
    unlink(path);
    return bytes;
}

/* Of a node's first tensor, by the report. */
static inline double sqnr_of(const EffCompiled *c, const char *node)
{
    const EffNodeReport *row;
    for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++) {
        if (strcmp(row->name, node) == 0)
            return row->sqnr_db;
    }
    fail_msg("no row of %s", node);
    return 0;
}

/* A table with the type of one convolution edited as a user would; free(). */
static inline char *with_type(const char *table, const char *node, const char *word)
{
    const size_t n_bytes = strlen(table) + strlen(word) + 1;
    char *text = malloc(n_bytes), start[128];
    if (text == NULL)
        abort();
    snprintf(start, sizeof start, "\n%s ", node);
    const char *line = strstr(table, start);
    assert_non_null(line);
    const char *type = line + strlen(start);
    type += strspn(type, " ");
    const char *rest = strchr(type, ' ');
    snprintf(text, n_bytes, "%.*s%s%s", (int)(type - table), table, word, rest);
    return text;
}

/* The same for all that can; free(). */
static inline char *all_with_type(const char *table, const EffGraph *g, const char *word)
{
    char *text = strdup(table);
    assert_non_null(text);
    for (int i = 0; i < g->n_nodes; i++) {
        if (!eff_node_can_be_wide(g, i))
            continue;
        char *more = with_type(text, g->nodes[i].name, word);
        free(text);
        text = more;
    }
    return text;
}

#endif
