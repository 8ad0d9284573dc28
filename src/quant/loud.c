/* SPDX-License-Identifier: Apache-2.0 */
/* Which pictures are too loud to count in a node's range. */
#include "quant/loud.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>

EffStatus eff_loudness_create(EffLoudness *out, size_t n_pictures, int n_values)
{
    size_t n;
    EffLoudness l = {.n_pictures = n_pictures, .n_values = n_values};
    if (!eff_mul_size(&n, n_pictures, (size_t)n_values))
        return eff_fail_nomem(SIZE_MAX, "how loud pictures are");
    l.most = eff_calloc(n, sizeof *l.most);
    l.cut = eff_calloc(n, sizeof *l.cut);
    l.usual = eff_calloc((size_t)n_values, sizeof *l.usual);
    if (l.most == NULL || l.cut == NULL || l.usual == NULL) {
        eff_loudness_free(&l);
        return eff_fail_nomem(n * sizeof *l.most, "how loud pictures are");
    }
    *out = l;
    return EFF_OK;
}

void eff_loudness_free(EffLoudness *l)
{
    eff_free(l->most);
    eff_free(l->cut);
    eff_free(l->usual);
    *l = (EffLoudness){0};
}

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* What is louder than the result is cut off: by whichever share cuts most. */
static float limit_of(const float *sorted, size_t n, float *usual)
{
    double least = HUGE_VAL;
    *usual = 0;
    for (int shares = 1; shares <= EFF_LOUD_MOST_SHARES; shares *= 2) {
        const size_t rank = (size_t)ceil(shares * EFF_LOUD_SHARE * (double)n);
        const double limit = EFF_LOUD_TIMES * sqrt(shares) * (double)sorted[rank];
        /* Where the others are silent, they lose nothing to a coarse step. */
        if (limit > 0 && limit < least && (double)sorted[0] > limit) {
            least = limit;
            *usual = sorted[rank];
        }
    }
    return (float)least;
}

EffStatus eff_loudness_judge(EffLoudness *l, const EffGraph *g)
{
    const size_t n = l->n_pictures, n_values = (size_t)l->n_values;
    if (n < EFF_LOUD_LEAST)
        return EFF_OK;
    float *sorted = eff_malloc(n * sizeof *sorted);
    if (sorted == NULL)
        return eff_fail_nomem(n * sizeof *sorted, "how loud pictures are");
    for (size_t v = 0; v < n_values; v++) {
        if ((int)v == g->output)
            continue;
        for (size_t p = 0; p < n; p++)
            sorted[p] = l->most[p * n_values + v];
        qsort(sorted, n, sizeof *sorted, descending);
        const float limit = limit_of(sorted, n, &l->usual[v]);
        for (size_t p = 0; p < n; p++) {
            const bool cut = l->most[p * n_values + v] > limit;
            l->cut[p * n_values + v] = cut;
            l->n_cut += cut;
        }
    }
    eff_free(sorted);
    return EFF_OK;
}

bool eff_loudness_worst(const EffLoudness *l, size_t picture, int *value, int *n_values, double *times)
{
    *n_values = 0;
    *times = 0;
    for (int v = 0; v < l->n_values; v++) {
        const size_t at = picture * (size_t)l->n_values + (size_t)v;
        if (!l->cut[at])
            continue;
        const double t = (double)l->most[at] / (double)l->usual[v];
        (*n_values)++;
        if (t > *times) {
            *times = t;
            *value = v;
        }
    }
    return *n_values > 0;
}

static const char *name_quiet(void *ctx, size_t i)
{
    const EffQuietPictures *q = ctx;
    return q->all->name(q->all->ctx, q->indices[i]);
}

static EffStatus get_quiet(void *ctx, size_t i, uint8_t *pixels)
{
    const EffQuietPictures *q = ctx;
    return q->all->get(q->all->ctx, q->indices[i], pixels);
}

EffStatus eff_quiet_pictures(EffPictures *out, EffQuietPictures *q, const EffLoudness *l, const EffPictures *all)
{
    int value, n_values;
    double times;
    size_t n = 0;
    *out = *all;
    if (l->n_cut == 0)
        return EFF_OK;
    q->all = all;
    q->indices = eff_calloc(all->n, sizeof *q->indices);
    if (q->indices == NULL)
        return eff_fail_nomem(all->n * sizeof *q->indices, "pictures");
    for (size_t p = 0; p < all->n; p++) {
        if (!eff_loudness_worst(l, p, &value, &n_values, &times))
            q->indices[n++] = p;
    }
    if (2 * n >= all->n)
        *out = (EffPictures){.n = n, .get = get_quiet, .ctx = q, .name = all->name != NULL ? name_quiet : NULL};
    return EFF_OK;
}
