/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products of 16-bit numbers: 32 bits hold those of a block of samples, 64 bits all of them. */
#include "quant/gram.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = 256, /* samples: 255 * 32767 * 256 < 2^31 */
    BLOCKS = 16, /* transposed at a time */
    TILE = 4     /* rows and columns of the result that share their loads */
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

/* acc[i][j] += sum over a block of a[i] * b[j]; rows of a and b are BLOCK long. */
typedef struct Product {
    int64_t *acc;         /* [n_a][n_b] */
    const int16_t *a, *b; /* [BLOCKS][n_a][BLOCK] */
    size_t n_a, n_b, n_blocks;
    bool lower; /* only j <= i, rounded up to a tile */
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
        const int16_t *a = p->a + block * p->n_a * BLOCK, *b = p->b + block * p->n_b * BLOCK;
        for (size_t i = begin * TILE; i < end * TILE && i < p->n_a; i += TILE) {
            const size_t m = p->n_a - i < TILE ? p->n_a - i : TILE;
            for (size_t j = 0; j < p->n_b && (!p->lower || j < i + m); j += TILE)
                tile(p->acc + i * p->n_b + j, p->n_b, a + i * BLOCK, b + j * BLOCK, m,
                     p->n_b - j < TILE ? p->n_b - j : TILE);
        }
    }
}

/* Samples of a run of blocks, transposed. */
typedef struct Transpose {
    const EffSamples *s;
    const float *inverse; /* [n_f] 1 / unit; NULL: of x */
    int16_t *to;
    size_t first; /* sample */
} Transpose;

static void transpose(void *ctx, size_t begin, size_t end, int worker)
{
    const Transpose *t = ctx;
    const size_t n = (size_t)(t->inverse != NULL ? t->s->n_f : t->s->n_x);
    (void)worker;
    for (size_t block = begin; block < end; block++) {
        int16_t *to = t->to + block * n * BLOCK;
        for (size_t i = 0; i < BLOCK; i++) {
            const size_t sample = t->first + block * BLOCK + i;
            if (sample >= t->s->n) {
                for (size_t c = 0; c < n; c++)
                    to[c * BLOCK + i] = 0;
            } else if (t->inverse == NULL) {
                for (size_t c = 0; c < n; c++)
                    to[c * BLOCK + i] = t->s->x[sample * n + c];
            } else {
                for (size_t c = 0; c < n; c++) {
                    const float v = t->s->f[sample * n + c] * t->inverse[c];
                    to[c * BLOCK + i] = (int16_t)(v < 0 ? v - 0.5f : v + 0.5f);
                }
            }
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
        Product p = {.acc = acc, .a = x, .b = x, .n_a = n, .n_b = n, .n_blocks = blocks_from(s, first), .lower = true};
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

/* Largest magnitudes of the columns of f: maxima do not depend on any order. */
static void find_units(float *unit, float *inverse, const EffSamples *s)
{
    const size_t n = (size_t)s->n_f;
    for (size_t c = 0; c < n; c++)
        unit[c] = 0;
    for (size_t i = 0; i < s->n; i++) {
        for (size_t c = 0; c < n; c++) {
            const float v = fabsf(s->f[i * n + c]);
            unit[c] = v > unit[c] ? v : unit[c];
        }
    }
    for (size_t c = 0; c < n; c++) {
        unit[c] = unit[c] > 0 ? unit[c] / 32767 : 1;
        inverse[c] = 32766.5f / 32767 / unit[c]; /* rounding stays within 32767 */
        unit[c] = 1 / inverse[c];
    }
}

EffStatus eff_gram_cross(double *cross, double *f_mean, double *f_power, const EffSamples *s, EffPool *pool)
{
    const size_t n_x = (size_t)s->n_x, n_f = (size_t)s->n_f, step = (size_t)BLOCKS * BLOCK;
    int64_t *acc = eff_calloc(n_f * n_x, sizeof *acc);
    int16_t *x = eff_malloc(step * n_x * sizeof *x), *f = eff_malloc(step * n_f * sizeof *f);
    float *unit = eff_calloc(2 * n_f, sizeof *unit), *inverse = unit + n_f;
    double *sum = eff_calloc(n_x, sizeof *sum);
    EffStatus st = EFF_OK;
    if (acc == NULL || x == NULL || f == NULL || unit == NULL || sum == NULL)
        st = eff_fail_nomem(n_f * n_x * sizeof *acc, "second moments");
    if (st == EFF_OK) {
        find_units(unit, inverse, s);
        memset(f_mean, 0, n_f * sizeof *f_mean);
        memset(f_power, 0, n_f * sizeof *f_power);
    }
    for (size_t first = 0; first < s->n && st == EFF_OK; first += step) {
        Transpose tx = {.s = s, .to = x, .first = first}, tf = {.s = s, .inverse = inverse, .to = f, .first = first};
        Product p = {.acc = acc, .a = f, .b = x, .n_a = n_f, .n_b = n_x, .n_blocks = blocks_from(s, first)};
        eff_pool_run(pool, p.n_blocks, 1, transpose, &tx);
        eff_pool_run(pool, p.n_blocks, 1, transpose, &tf);
        eff_pool_run(pool, (n_f + TILE - 1) / TILE, 1, multiply, &p);
        for (size_t block = 0; block < p.n_blocks; block++) {
            for (size_t c = 0; c < n_f; c++) {
                const int16_t *row = f + (block * n_f + c) * BLOCK;
                int64_t total = 0, squares = 0;
                for (size_t i = 0; i < BLOCK; i++) {
                    total += row[i];
                    squares += row[i] * row[i];
                }
                f_mean[c] += (double)total; /* below 2^53: exact */
                f_power[c] += (double)squares;
            }
        }
    }
    if (st == EFF_OK) {
        sum_x(sum, s);
        for (size_t j = 0; j < n_f; j++) {
            const double u = (double)unit[j];
            for (size_t a = 0; a < n_x; a++)
                cross[j * n_x + a] = ((double)acc[j * n_x + a] - f_mean[j] * sum[a] / (double)s->n) * u;
            f_power[j] = (f_power[j] - f_mean[j] * f_mean[j] / (double)s->n) * u * u;
            f_mean[j] *= u / (double)s->n;
        }
    }
    eff_free(acc);
    eff_free(x);
    eff_free(f);
    eff_free(unit);
    eff_free(sum);
    return st;
}
