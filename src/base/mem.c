/* SPDX-License-Identifier: Apache-2.0 */
/* Checked size arithmetic and the allocator, with a switch that makes the n-th allocation fail. */
#define _DEFAULT_SOURCE /* madvise */
#include "base/mem.h"
#include "base/compiler.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_long n_allocations;
static atomic_long fail_at = -1;

bool eff_mul_size(size_t *out, size_t a, size_t b)
{
    return !EFF_MUL_OVERFLOW(a, b, out);
}

bool eff_add_size(size_t *out, size_t a, size_t b)
{
    return !EFF_ADD_OVERFLOW(a, b, out);
}

size_t eff_align_up(size_t n)
{
    assert(n <= SIZE_MAX - EFF_ALIGN);
    return (n + EFF_ALIGN - 1) / EFF_ALIGN * EFF_ALIGN;
}

long eff_mem_fail_after(long n)
{
    const long seen = atomic_exchange(&n_allocations, 0);
    atomic_store(&fail_at, n);
    return seen;
}

/* Whether the next allocation may go ahead; n_bytes is rounded up. */
static bool may_allocate(size_t *n_bytes)
{
    if (atomic_fetch_add(&n_allocations, 1) == atomic_load(&fail_at) || *n_bytes > SIZE_MAX / 2)
        return false;
    *n_bytes = eff_align_up(*n_bytes ? *n_bytes : 1);
    return true;
}

void *eff_malloc(size_t n_bytes)
{
    return may_allocate(&n_bytes) ? aligned_alloc(EFF_ALIGN, n_bytes) : NULL;
}

/* Not under the address sanitizer, which would not see what goes beyond the block. */
#if defined(MADV_HUGEPAGE) && !defined(__SANITIZE_ADDRESS__)
void *eff_malloc_hot(size_t n_bytes)
{
    enum { HUGE_PAGE = 2 << 20 };
    if (n_bytes <= HUGE_PAGE / 2)
        return eff_malloc(n_bytes);
    if (!may_allocate(&n_bytes))
        return NULL;
    const size_t tail = n_bytes % HUGE_PAGE;
    void *p = NULL;
    if (tail > HUGE_PAGE / 2)
        n_bytes += HUGE_PAGE - tail;
    if (posix_memalign(&p, HUGE_PAGE, n_bytes) != 0)
        return NULL;
    /* Advice: where the system takes none, nothing is lost. */
    (void)madvise(p, n_bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    return p;
}
#else
void *eff_malloc_hot(size_t n_bytes)
{
    return eff_malloc(n_bytes);
}
#endif

void *eff_calloc(size_t n, size_t size)
{
    size_t n_bytes;
    if (!eff_mul_size(&n_bytes, n, size))
        return NULL;
    void *p = eff_malloc(n_bytes);
    if (p != NULL)
        memset(p, 0, n_bytes);
    return p;
}

void *eff_realloc(void *p, size_t old_bytes, size_t n, size_t size)
{
    size_t n_bytes;
    if (!eff_mul_size(&n_bytes, n, size))
        return NULL;
    void *q = eff_malloc(n_bytes);
    if (q != NULL && p != NULL)
        memcpy(q, p, old_bytes < n_bytes ? old_bytes : n_bytes);
    if (q != NULL)
        eff_free(p);
    return q;
}

char *eff_strndup(const char *s, size_t n)
{
    const size_t len = strnlen(s, n);
    char *copy = eff_malloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }
    return copy;
}

char *eff_strdup(const char *s)
{
    return eff_strndup(s, strlen(s));
}

void eff_free(void *p)
{
    free(p);
}
