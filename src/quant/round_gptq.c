/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frantar et al., GPTQ (arXiv 2210.17323), computes each rounding's compensation from the Cholesky factor of the
 * inverse; going from the last input to the first with the factor of the moments themselves gives the same roundings
 * (nearest plane: Babai 1986) and needs no inverse.
 */
#include "quant/round_gptq.h"
#include "base/mem.h"
#include "base/status.h"
#include "quant/cholesky.h"
#include "quant/requantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 4, MAX_SWEEPS = 8 };

typedef struct Place {
    double power;
    size_t input;
} Place;

static int by_power(const void *a, const void *b)
{
    const Place *x = a, *y = b;
    if (x->power != y->power)
        return x->power < y->power ? -1 : 1;
    return x->input < y->input ? -1 : x->input > y->input;
}

void eff_moments_free(EffMoments *m)
{
    eff_free(m->order);
    eff_free(m->h);
    eff_free(m->l);
    *m = (EffMoments){0};
}

EffStatus eff_moments_create(EffMoments *out, const double *cov, size_t n, double damping, EffPool *pool)
{
    EffMoments m = {.n = n};
    Place *places = eff_calloc(n, sizeof *places);
    m.order = eff_calloc(n, sizeof *m.order);
    m.h = eff_calloc(n * n, sizeof *m.h);
    m.l = eff_calloc(n * n, sizeof *m.l);
    EffStatus st = EFF_OK;
    if (places == NULL || m.order == NULL || m.h == NULL || m.l == NULL)
        st = eff_fail_nomem(2 * n * n * sizeof *m.h, "second moments");
    double trace = 0;
    for (size_t i = 0; i < n && st == EFF_OK; i++) {
        places[i] = (Place){.power = cov[i * n + i], .input = i};
        trace += cov[i * n + i];
    }
    if (st == EFF_OK && !isfinite(trace))
        st = eff_fail(EFF_ERR_ARG, "second moments that are not finite");
    if (st == EFF_OK) {
        qsort(places, n, sizeof *places, by_power);
        m.damping = trace > 0 ? damping * trace / (double)n : 1;
        for (size_t i = 0; i < n; i++) {
            m.order[i] = places[i].input;
            for (size_t k = 0; k < n; k++)
                m.h[i * n + k] = cov[places[i].input * n + places[k].input];
            m.h[i * n + i] += m.damping;
        }
        memcpy(m.l, m.h, n * n * sizeof *m.h);
        st = eff_cholesky(m.l, n, pool);
    }
    eff_free(places);
    if (st != EFF_OK) {
        eff_moments_free(&m);
        return st;
    }
    *out = m;
    return EFF_OK;
}

/* ---- Round ---- */

typedef struct Rounding {
    const EffMoments *m;
    int16_t *q;
    const double *wgt, *unit;
    int q_max;
    size_t n_out;
    double *plain, *chosen;
    double *scratch; /* a thread: ROWS times w, e, s, and g */
} Rounding;

static double step(double v, int q_max)
{
    const double r = v < 0 ? -(double)(int64_t)(0.5 - v) : (double)(int64_t)(v + 0.5);
    return r < -q_max ? -q_max : r > q_max ? q_max : r;
}

/* g = H e; e is mostly dense. @return e H e^T. */
static double gradient(double *restrict g, const EffMoments *m, const double *e)
{
    const size_t n = m->n;
    memset(g, 0, n * sizeof *g);
    for (size_t k = 0; k < n; k++) {
        const double *restrict row = m->h + k * n;
        const double f = e[k];
        for (size_t i = 0; i < n && f != 0; i++)
            g[i] += f * row[i];
    }
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += e[k] * g[k];
    return sum;
}

/* Nearest plane for ROWS rows at once, so that the factor is read once. In units of a weight's step. */
static void nearest_plane(const Rounding *r, const double *w, double *q, double *s)
{
    const size_t n = r->m->n;
    memset(s, 0, ROWS * n * sizeof *s);
    for (size_t i = n; i-- > 0;) {
        const double *restrict row = r->m->l + i * n;
        for (size_t x = 0; x < ROWS; x++) {
            double *restrict sum = s + x * n;
            q[x * n + i] = step(w[x * n + i] - sum[i] / row[i], r->q_max);
            const double e = q[x * n + i] - w[x * n + i];
            for (size_t k = 0; k < i; k++)
                sum[k] += e * row[k];
        }
    }
}

/* Change single weights while that helps. @return e H e^T. */
static double improve(const Rounding *r, const double *w, double *q, double *e, double *g)
{
    const EffMoments *m = r->m;
    const size_t n = m->n;
    for (size_t i = 0; i < n; i++)
        e[i] = q[i] - w[i];
    double sum = gradient(g, m, e);
    for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
        int n_changes = 0;
        for (size_t i = n; i-- > 0;) {
            const double *restrict row = m->h + i * n;
            const double to = step(q[i] - g[i] / row[i], r->q_max), d = to - q[i];
            const double change = d * (2 * g[i] + d * row[i]);
            if (!(change < -1e-9 * sum))
                continue;
            q[i] = to;
            e[i] += d;
            sum += change;
            for (size_t k = 0; k < n; k++)
                g[k] += d * row[k];
            n_changes++;
        }
        if (n_changes == 0)
            break;
    }
    return sum;
}

static void round_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const Rounding *r = ctx;
    const EffMoments *m = r->m;
    const size_t n = m->n;
    double *w = r->scratch + (size_t)worker * (3 * ROWS + 3) * n, *q = w + ROWS * n, *s = q + ROWS * n;
    double *e = s + ROWS * n, *g = e + n, *flat = g + n;
    for (size_t first = begin * ROWS; first < end * ROWS && first < r->n_out; first += ROWS) {
        const size_t n_rows = r->n_out - first < ROWS ? r->n_out - first : ROWS;
        memset(w, 0, ROWS * n * sizeof *w);
        for (size_t x = 0; x < n_rows; x++) {
            for (size_t i = 0; i < n; i++)
                w[x * n + i] = r->wgt[(first + x) * n + m->order[i]] / r->unit[first + x];
        }
        nearest_plane(r, w, q, s);
        for (size_t x = 0; x < n_rows; x++) {
            const size_t o = first + x;
            for (size_t i = 0; i < n; i++) {
                flat[i] = step(w[x * n + i], r->q_max);
                e[i] = flat[i] - w[x * n + i];
            }
            const double plain = gradient(g, m, e);
            double chosen = improve(r, w + x * n, q + x * n, e, g);
            const double *best = q + x * n;
            if (plain < chosen) { /* a weight at the limit cannot make up for others */
                chosen = improve(r, w + x * n, flat, e, g);
                best = flat;
            }
            for (size_t i = 0; i < n; i++)
                r->q[o * n + m->order[i]] = (int16_t)best[i];
            if (r->plain != NULL)
                r->plain[o] = plain * r->unit[o] * r->unit[o];
            if (r->chosen != NULL)
                r->chosen[o] = chosen * r->unit[o] * r->unit[o];
        }
    }
}

EffStatus eff_moments_round(const EffMoments *m, int16_t *q, const double *wgt, const double *unit, int q_max,
                            size_t n_out, double *plain, double *chosen, EffPool *pool)
{
    Rounding r = {
        .m = m, .q = q, .wgt = wgt, .unit = unit, .q_max = q_max, .n_out = n_out, .plain = plain, .chosen = chosen};
    r.scratch = eff_calloc((size_t)eff_pool_size(pool), (3 * ROWS + 3) * m->n * sizeof *r.scratch);
    if (r.scratch == NULL)
        return eff_fail_nomem((3 * ROWS + 3) * m->n * sizeof *r.scratch, "weights");
    eff_pool_run(pool, (n_out + ROWS - 1) / ROWS, 1, round_rows, &r);
    eff_free(r.scratch);
    return EFF_OK;
}
