/* SPDX-License-Identifier: Apache-2.0 */
/* Did you mean ...? */
#ifndef EFF_BASE_SUGGEST_H
#define EFF_BASE_SUGGEST_H

#include <stddef.h>

/**
 * The candidate nearest to `word` by edit distance (insert, delete, replace, swap of neighbours; Damerau 1964), if it
 * is near enough to be a slip: at most a third of the word's length. NULL otherwise.
 *
 * @param first   the first candidate's name pointer; the others follow at `stride_bytes`, so that the name may be the
 * first member of a struct. NULL names are skipped.
 */
const char *eff_suggest(const char *word, const char *const *first, size_t n, size_t stride_bytes);

#endif
