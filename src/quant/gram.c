/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products of 16-bit numbers: 32 bits hold those of a block of samples, 64 bits all of them. */
#include "quant/gram.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = 256,  /* samples: 255 * 255 * 256 < 2^31 */
    BLOCKS = 16,  /* transposed at a time */
    TILE = 4,     /* rows and columns of the result that share their loads */
    COLUMNS = 16, /* of f that are summed at a time */
};

EffStatus eff_samples_create(EffSamples *out, size_t n, int n_x, int n_f)
{
    *out = (EffSamples){.n = n, .n_x = n_x, .n_f = n_f};
    out->x = eff_calloc(n, (size_t)n_x);
    out->f = eff_calloc(n * (size_t)n_f, sizeof *out->f);
    if (out->x != NULL && out->f != NULL)
        return EFF_OK;
    eff_samples_free(out);
    return eff_fail_nomem(n * ((size_t)n_x + (size_t)n_f * sizeof(float)), "samples");
}

void eff_samples_free(EffSamples *s)
{
    eff_free(s->x);
    eff_free(s->f);
    *s = (EffSamples){0};
}

/* acc[i][j] += sum over a block of x[i] * x[j], for j <= i, rounded up to a tile; rows of x are BLOCK long. */
typedef struct Product {
    int64_t *acc;     /* [n][n] */
    const int16_t *x; /* [BLOCKS][n][BLOCK] */
    size_t n, n_blocks;
} Product;

static inline void tile(int64_t *acc, size_t stride, const int16_t *restrict a, const int16_t *restrict b, size_t m,
                        size_t n)
{
    if (m == TILE && n == TILE) {
        for (size_t i = 0; i < TILE; i++) {
            int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            const int16_t *restrict row = a + i * BLOCK;
            for (size_t p = 0; p < BLOCK; p++) {
                s0 += row[p] * b[p];
                s1 += row[p] * b[p + BLOCK];
                s2 += row[p] * b[p + 2 * BLOCK];
                s3 += row[p] * b[p + 3 * BLOCK];
            }
            acc[i * stride] += s0;
            acc[i * stride + 1] += s1;
            acc[i * stride + 2] += s2;
            acc[i * stride + 3] += s3;
        }
        return;
    }
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (size_t p = 0; p < BLOCK; p++)
                sum += a[i * BLOCK + p] * b[j * BLOCK + p];
            acc[i * stride + j] += sum;
        }
    }
}

/* Items are tiles of rows. */
static void multiply(void *ctx, size_t begin, size_t end, int worker)
{
    const Product *p = ctx;
    (void)worker;
    for (size_t block = 0; block < p->n_blocks; block++) {
        const int16_t *x = p->x + block * p->n * BLOCK;
        for (size_t i = begin * TILE; i < end * TILE && i < p->n; i += TILE) {
            const size_t m = p->n - i < TILE ? p->n - i : TILE;
            for (size_t j = 0; j < i + m; j += TILE)
                tile(p->acc + i * p->n + j, p->n, x + i * BLOCK, x + j * BLOCK, m, p->n - j < TILE ? p->n - j : TILE);
        }
    }
}

/* x of a run of blocks, transposed. */
typedef struct Transpose {
    const EffSamples *s;
    int16_t *to;
    size_t first; /* sample */
} Transpose;

static void transpose(void *ctx, size_t begin, size_t end, int worker)
{
    const Transpose *t = ctx;
    const size_t n = (size_t)t->s->n_x;
    (void)worker;
    for (size_t block = begin; block < end; block++) {
        int16_t *to = t->to + block * n * BLOCK;
        for (size_t i = 0; i < BLOCK; i++) {
            const size_t sample = t->first + block * BLOCK + i;
            for (size_t c = 0; c < n; c++)
                to[c * BLOCK + i] = sample < t->s->n ? t->s->x[sample * n + c] : 0;
        }
    }
}

static size_t blocks_from(const EffSamples *s, size_t first)
{
    const size_t n = (s->n - first + BLOCK - 1) / BLOCK;
    return n < BLOCKS ? n : BLOCKS;
}

/* Exact sums of x. */
static void sum_x(double *sum, const EffSamples *s)
{
    const size_t n = (size_t)s->n_x;
    for (size_t c = 0; c < n; c++)
        sum[c] = 0;
    for (size_t i = 0; i < s->n; i++) { /* integers below 2^53: exact */
        for (size_t c = 0; c < n; c++)
            sum[c] += s->x[i * n + c];
    }
}

EffStatus eff_gram(double *cov, double *mean, const EffSamples *s, EffPool *pool)
{
    const size_t n = (size_t)s->n_x;
    int64_t *acc = eff_calloc(n * n, sizeof *acc);
    int16_t *x = eff_malloc((size_t)BLOCKS * BLOCK * n * sizeof *x);
    if (acc == NULL || x == NULL) {
        eff_free(acc);
        eff_free(x);
        return eff_fail_nomem(n * n * sizeof *acc, "second moments");
    }
    for (size_t first = 0; first < s->n; first += (size_t)BLOCKS * BLOCK) {
        Transpose t = {.s = s, .to = x, .first = first};
        Product p = {.acc = acc, .x = x, .n = n, .n_blocks = blocks_from(s, first)};
        eff_pool_run(pool, p.n_blocks, 1, transpose, &t);
        eff_pool_run(pool, (n + TILE - 1) / TILE, 1, multiply, &p);
    }
    sum_x(mean, s);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            const double v = (double)acc[i * n + j] - mean[i] * mean[j] / (double)s->n;
            cov[i * n + j] = v;
            cov[j * n + i] = v;
        }
    }
    for (size_t i = 0; i < n; i++)
        mean[i] /= (double)s->n;
    eff_free(acc);
    eff_free(x);
    return EFF_OK;
}

/* Of a run of columns. */
static void column_means(double *f_mean, const EffSamples *s, size_t first, size_t n)
{
    float inverse[COLUMNS] = {0};
    int64_t sum[COLUMNS] = {0};
    for (size_t i = 0; i < s->n; i++) { /* the largest magnitudes: maxima do not depend on any order */
        for (size_t c = 0; c < n; c++)
            inverse[c] = fmaxf(inverse[c], fabsf(s->f[i * (size_t)s->n_f + first + c]));
    }
    for (size_t c = 0; c < n; c++) /* rounding stays within 32767 */
        inverse[c] = 32766.5f / 32767 / (inverse[c] > 0 ? inverse[c] / 32767 : 1);
    for (size_t i = 0; i < s->n; i++) {
        for (size_t c = 0; c < n; c++) {
            const float v = s->f[i * (size_t)s->n_f + first + c] * inverse[c];
            sum[c] += (int64_t)(v < 0 ? v - 0.5f : v + 0.5f);
        }
    }
    for (size_t c = 0; c < n; c++)
        f_mean[first + c] = (double)sum[c] * ((double)(1 / inverse[c]) / (double)s->n);
}

void eff_column_means(double *f_mean, const EffSamples *s)
{
    for (size_t first = 0; first < (size_t)s->n_f; first += COLUMNS)
        column_means(f_mean, s, first, (size_t)s->n_f - first < COLUMNS ? (size_t)s->n_f - first : COLUMNS);
}
