/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Right-looking blocked Cholesky. An element's value is the sum of its updates in the order of the block columns, and
 * of the columns within a block, whoever computes it.
 */
#include "quant/cholesky.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>

enum {
    BLOCK = 64, /* columns that are eliminated together */
    WIDTH = 512 /* doubles of a row that stay in the first-level cache */
};

typedef struct Update {
    double *a, *panel; /* panel: [BLOCK][n], the block column transposed */
    size_t n, first, end;
} Update;

/* The block on the diagonal, [first, end). */
static int factor_diagonal(double *a, size_t n, size_t first, size_t end)
{
    for (size_t j = first; j < end; j++) {
        double *row = a + j * n;
        for (size_t k = first; k < j; k++) {
            double v = row[k];
            for (size_t p = first; p < k; p++)
                v -= row[p] * a[k * n + p];
            row[k] = v / a[k * n + k];
        }
        double d = row[j];
        for (size_t p = first; p < j; p++)
            d -= row[p] * row[p];
        if (!(d > 0))
            return 0;
        row[j] = sqrt(d);
    }
    return 1;
}

/* Rows below the block: their entries in its columns. Items count from u->end. */
static void solve_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const Update *u = ctx;
    const size_t n = u->n;
    (void)worker;
    for (size_t i = u->end + begin; i < u->end + end; i++) {
        double *row = u->a + i * n;
        for (size_t k = u->first; k < u->end; k++) {
            double v = row[k];
            for (size_t p = u->first; p < k; p++)
                v -= row[p] * u->a[k * n + p];
            row[k] = v / u->a[k * n + k];
            u->panel[(k - u->first) * n + i] = row[k];
        }
    }
}

/* What the block's columns take from the rows below it. */
static void update_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const Update *u = ctx;
    const size_t n = u->n, n_cols = u->end - u->first;
    (void)worker;
    for (size_t i = u->end + begin; i < u->end + end; i++) {
        const double *factors = u->a + i * n + u->first;
        for (size_t k = u->end; k <= i; k += WIDTH) {
            const size_t width = i + 1 - k < WIDTH ? i + 1 - k : WIDTH;
            double *restrict row = u->a + i * n + k;
            size_t p = 0;
            for (; p + 4 <= n_cols; p += 4) {
                const double *restrict c0 = u->panel + p * n + k, *restrict c1 = c0 + n, *restrict c2 = c1 + n,
                                       *restrict c3 = c2 + n;
                const double f0 = factors[p], f1 = factors[p + 1], f2 = factors[p + 2], f3 = factors[p + 3];
                for (size_t x = 0; x < width; x++)
                    row[x] = row[x] - f0 * c0[x] - f1 * c1[x] - f2 * c2[x] - f3 * c3[x];
            }
            for (; p < n_cols; p++) {
                const double *restrict c = u->panel + p * n + k;
                for (size_t x = 0; x < width; x++)
                    row[x] -= factors[p] * c[x];
            }
        }
    }
}

EffStatus eff_cholesky(double *a, size_t n, EffPool *pool)
{
    double *panel = eff_calloc((size_t)BLOCK * n, sizeof *panel);
    if (panel == NULL)
        return eff_fail_nomem((size_t)BLOCK * n * sizeof *panel, "a matrix");
    EffStatus st = EFF_OK;
    for (size_t first = 0; first < n && st == EFF_OK; first += BLOCK) {
        Update u = {.a = a, .panel = panel, .n = n, .first = first};
        u.end = first + BLOCK < n ? first + BLOCK : n;
        if (!factor_diagonal(a, n, first, u.end)) {
            st = eff_fail(EFF_ERR_ARG, "a matrix of %zu rows is not positive definite; damp it more", n);
            continue;
        }
        eff_pool_run(pool, n - u.end, 16, solve_rows, &u);
        eff_pool_run(pool, n - u.end, 16, update_rows, &u);
    }
    for (size_t i = 0; i < n && st == EFF_OK; i++) {
        for (size_t k = i + 1; k < n; k++)
            a[i * n + k] = 0;
    }
    eff_free(panel);
    return st;
}
