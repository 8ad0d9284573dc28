/* SPDX-License-Identifier: Apache-2.0 */
/* Least squares a channel: moments and integers. */
#include "quant/round_dw.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { MAX = EFF_DW_MAX_TAPS, MAX_SWEEPS = 16, CHUNK = 8 };

/* ---- Moments ---- */

EffStatus eff_dw_moments_create(EffDwMoments *out, int channels, int taps)
{
    const size_t c = (size_t)channels, t = (size_t)taps, n = 2 + t + t * (t + 1) / 2;
    *out = (EffDwMoments){.channels = channels, .taps = taps};
    int64_t *at = eff_calloc(n * c, sizeof *at);
    if (at == NULL)
        return eff_fail_nomem(n * c * sizeof *at, "second moments");
    out->n = at;
    out->f = at + c;
    out->x = at + 2 * c;
    out->xx = out->x + t * c;
    return EFF_OK;
}

void eff_dw_moments_free(EffDwMoments *m)
{
    eff_free(m->n);
    *m = (EffDwMoments){0};
}

void eff_dw_moments_add(EffDwMoments *m, const int16_t *x, const int16_t *f, const int16_t *weight)
{
    const size_t n_ch = (size_t)m->channels, taps = (size_t)m->taps;
    for (size_t c = 0; c < n_ch; c++) {
        m->n[c] += weight[c];
        m->f[c] += weight[c] * f[c];
    }
    int64_t *restrict xx = m->xx;
    for (size_t a = 0; a < taps; a++) {
        const int16_t *restrict xa = x + a * n_ch;
        int64_t *restrict sum = m->x + a * n_ch;
        for (size_t c = 0; c < n_ch; c++)
            sum[c] += xa[c] * weight[c];
        for (size_t b = 0; b <= a; b++, xx += n_ch) {
            const int16_t *restrict xb = x + b * n_ch;
            for (size_t c = 0; c < n_ch; c++)
                xx[c] += xa[c] * xb[c] * weight[c];
        }
    }
}

void eff_dw_moments_merge(EffDwMoments *to, const EffDwMoments *from)
{
    const size_t t = (size_t)to->taps, n = (2 + t + t * (t + 1) / 2) * (size_t)to->channels;
    for (size_t i = 0; i < n; i++)
        to->n[i] += from->n[i];
}

/* ---- One channel ---- */

typedef struct Channel {
    size_t n;
    double damping;
    double h[MAX][MAX], l[MAX][MAX]; /* damped moments of the taps, and their Cholesky factor */
} Channel;

static void load(Channel *ch, const EffDwRounding *r, size_t c)
{
    const EffDwMoments *m = r->m;
    const size_t n_ch = (size_t)m->channels, n = (size_t)m->taps;
    const double count = (double)(m->n[c] > 0 ? m->n[c] : 1);
    const int64_t *xx = m->xx + c;
    double trace = 0;
    ch->n = n;
    for (size_t a = 0; a < n; a++) {
        const double xa = (double)m->x[a * n_ch + c];
        for (size_t b = 0; b <= a; b++, xx += n_ch) {
            const double v = ((double)*xx - xa * (double)m->x[b * n_ch + c] / count) / count;
            ch->h[a][b] = v;
            ch->h[b][a] = v;
        }
        trace += ch->h[a][a];
    }
    ch->damping = trace > 0 ? r->damping * trace / (double)n : 1;
    for (size_t a = 0; a < n; a++)
        ch->h[a][a] += ch->damping;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k <= i; k++) {
            double v = ch->h[i][k];
            for (size_t p = 0; p < k; p++)
                v -= ch->l[i][p] * ch->l[k][p];
            /* Damping keeps the pivots positive; a tenth of it is their floor against cancellation. */
            ch->l[i][k] = i == k ? sqrt(fmax(v, 0.1 * ch->damping)) : v / ch->l[k][k];
        }
    }
}

static double step(double v, int q_max)
{
    const double r = v < 0 ? -(double)(int64_t)(0.5 - v) : (double)(int64_t)(v + 0.5);
    return r < -q_max ? -q_max : r > q_max ? q_max : r;
}

/* e H e^T; g = H e. */
static double energy(const Channel *ch, const double *e, double *g)
{
    double sum = 0;
    for (size_t i = 0; i < ch->n; i++) {
        double v = 0;
        for (size_t k = 0; k < ch->n; k++)
            v += ch->h[i][k] * e[k];
        g[i] = v;
        sum += v * e[i];
    }
    return sum;
}

/* A state of the search: weights, errors and gradient in units of a weight's step. */
typedef struct State {
    double w[MAX], q[MAX], e[MAX], g[MAX], energy;
} State;

static void move(State *s, const Channel *ch, size_t i, double d)
{
    s->q[i] += d;
    s->e[i] += d;
    for (size_t k = 0; k < ch->n; k++)
        s->g[k] += d * ch->h[i][k];
}

static bool inside(double q, int q_max)
{
    return q >= -q_max && q <= q_max;
}

static void improve(State *s, const Channel *ch, int q_max)
{
    const size_t n = ch->n;
    for (size_t i = 0; i < n; i++)
        s->e[i] = s->q[i] - s->w[i];
    s->energy = energy(ch, s->e, s->g);
    for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
        const double before = s->energy, least = -1e-9 * before;
        for (size_t i = 0; i < n; i++) {
            const double d = step(s->q[i] - s->g[i] / ch->h[i][i], q_max) - s->q[i];
            const double change = d * (2 * s->g[i] + d * ch->h[i][i]);
            if (change < least) {
                move(s, ch, i, d);
                s->energy += change;
            }
        }
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < i; k++) {
                for (int sign = 0; sign < 4; sign++) {
                    const double a = sign & 1 ? 1 : -1, b = sign & 2 ? 1 : -1;
                    const double change =
                        2 * (a * s->g[i] + b * s->g[k]) + ch->h[i][i] + ch->h[k][k] + 2 * a * b * ch->h[i][k];
                    if (change < least && inside(s->q[i] + a, q_max) && inside(s->q[k] + b, q_max)) {
                        move(s, ch, i, a);
                        move(s, ch, k, b);
                        s->energy += change;
                    }
                }
            }
        }
        if (s->energy >= before + least)
            break;
    }
    s->energy = energy(ch, s->e, s->g);
}

/* Nearest plane, from the last tap down; then single steps, and pairs of them. */
static void round_channel(State *s, const Channel *ch, int q_max)
{
    double sum[MAX] = {0};
    for (size_t i = ch->n; i-- > 0;) {
        s->q[i] = step(s->w[i] - sum[i] / ch->l[i][i], q_max);
        for (size_t k = 0; k < i; k++)
            sum[k] += (s->q[i] - s->w[i]) * ch->l[i][k];
    }
    improve(s, ch, q_max);
}

static double round_plain(State *s, const Channel *ch, int q_max)
{
    for (size_t i = 0; i < ch->n; i++) {
        s->q[i] = step(s->w[i], q_max);
        s->e[i] = s->q[i] - s->w[i];
    }
    s->energy = energy(ch, s->e, s->g);
    return s->energy;
}

/* ---- All channels ---- */

typedef struct Job {
    const EffDwRounding *r;
    const double *w, *unit;
    int16_t *q;
    double *plain, *chosen;
} Job;

static void round_channels(void *ctx, size_t begin, size_t end, int worker)
{
    const Job *job = ctx;
    (void)worker;
    for (size_t c = begin; c < end; c++) {
        Channel ch;
        State s, flat;
        load(&ch, job->r, c);
        for (size_t k = 0; k < ch.n; k++)
            s.w[k] = flat.w[k] = job->w[c * ch.n + k] / job->unit[c];
        const double plain = round_plain(&flat, &ch, job->r->q_max);
        round_channel(&s, &ch, job->r->q_max);
        if (plain < s.energy) { /* a weight at the limit cannot make up for others */
            improve(&flat, &ch, job->r->q_max);
            s = flat;
        }
        for (size_t k = 0; k < ch.n; k++)
            job->q[c * ch.n + k] = (int16_t)s.q[k];
        if (job->plain != NULL)
            job->plain[c] = plain * job->unit[c] * job->unit[c];
        if (job->chosen != NULL)
            job->chosen[c] = s.energy * job->unit[c] * job->unit[c];
    }
}

void eff_dw_round(const EffDwRounding *r, int16_t *q, const double *wgt, const double *unit, double *plain,
                  double *chosen, EffPool *pool)
{
    Job job = {.r = r, .w = wgt, .unit = unit, .q = q, .plain = plain, .chosen = chosen};
    eff_pool_run(pool, (size_t)r->m->channels, CHUNK, round_channels, &job);
}
