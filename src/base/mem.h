/* SPDX-License-Identifier: Apache-2.0 */
/* All memory of the library comes from here, so that a test can make any allocation fail. */
#ifndef EFF_BASE_MEM_H
#define EFF_BASE_MEM_H

#include "effnet/base.h"

#include <stdbool.h>

enum { EFF_ALIGN = 64 }; /* cache line, and the widest vector */

/** a * b, or false when it does not fit. */
bool eff_mul_size(size_t *out, size_t a, size_t b);
/** a + b, or false when it does not fit. */
bool eff_add_size(size_t *out, size_t a, size_t b);
/** n rounded up to a multiple of EFF_ALIGN; n must be far from SIZE_MAX (checked by assert). */
size_t eff_align_up(size_t n);

/** n * size zeroed bytes, aligned to EFF_ALIGN; NULL when memory is short or the product overflows. n = 0 gives a block
 * too. */
void *eff_calloc(size_t n, size_t size);
/**
 * eff_malloc() for what is read again and again. Large blocks are asked to be in huge pages: weights and maps pass
 * by once a picture, thousands of pages of 4 KiB, more than a TLB holds. They are rounded up to whole huge pages where
 * that costs less than half of one.
 */
void *eff_malloc_hot(size_t n_bytes);
/** n_bytes bytes, aligned to EFF_ALIGN, not cleared; NULL when memory is short. */
void *eff_malloc(size_t n_bytes);
/** Grow a block from eff_malloc or eff_calloc (or NULL) to n * size bytes; on failure NULL, and `p` stays valid. */
void *eff_realloc(void *p, size_t old_bytes, size_t n, size_t size);
/** Copy of a string, at most n bytes of it; NULL when memory is short. */
char *eff_strndup(const char *s, size_t n);
char *eff_strdup(const char *s);
/** Free a block from this file; NULL is fine. */
void eff_free(void *p);

/**
 * For tests: let `n` more allocations of the process succeed and fail the one after that, once; negative switches
 * it off. @return how many allocations there have been since the last call.
 */
long eff_mem_fail_after(long n);

#endif
