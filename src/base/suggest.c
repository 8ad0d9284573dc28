/* SPDX-License-Identifier: Apache-2.0 */
/* Nearest name by edit distance. */
#include "base/suggest.h"

#include <string.h>

enum { MAX_WORD = 48 };

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t d[MAX_WORD + 1][MAX_WORD + 1];
    for (size_t i = 0; i <= n_a; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= n_b; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = min_size(best, min_size(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = min_size(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    }
    return d[n_a][n_b];
}

const char *eff_suggest(const char *word, const char *const *first, size_t n, size_t stride_bytes)
{
    const size_t n_word = strlen(word);
    size_t best = n_word / 3 + 1; /* anything further is no slip of the finger */
    const char *found = NULL;
    for (size_t i = 0; i < n && n_word <= MAX_WORD; i++) {
        const char *name = *(const char *const *)((const char *)first + i * stride_bytes);
        const size_t n_name = name != NULL ? strlen(name) : MAX_WORD + 1;
        if (n_name > MAX_WORD)
            continue;
        const size_t distance = edit_distance(word, n_word, name, n_name);
        if (distance < best) {
            best = distance;
            found = name;
        }
    }
    return found;
}
