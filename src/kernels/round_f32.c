/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding a channel. Such models are run to be compared, not to be fast: one version for every CPU level. */
#include "kernels/round_f32.h"

#include <math.h>

enum { GRAIN_VALUES = 1 << 13 };

typedef struct RoundTask {
    EffRounding how;
    float *dst;
    const float *src, *table;
    size_t n_ch;
} RoundTask;

static float rounded(EffRounding how, float v)
{
    switch (how) {
    case EFF_ROUNDING_FLOOR: return floorf(v);
    case EFF_ROUNDING_EVEN: return rintf(v);
    case EFF_ROUNDING_NONE: break;
    }
    return v;
}

static void round_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const RoundTask *t = ctx;
    const float *div = t->table + EFF_ROUND_DIV * t->n_ch, *low = t->table + EFF_ROUND_LOW * t->n_ch;
    const float *high = t->table + EFF_ROUND_HIGH * t->n_ch, *add = t->table + EFF_ROUND_ADD * t->n_ch;
    const float *mul = t->table + EFF_ROUND_MUL * t->n_ch;
    (void)worker;
    for (size_t i = begin * t->n_ch; i < end * t->n_ch;) {
        for (size_t c = 0; c < t->n_ch; c++, i++) {
            float v = t->src[i] / div[c];
            v = v < low[c] ? low[c] : v;
            v = v > high[c] ? high[c] : v;
            t->dst[i] = (rounded(t->how, v) + add[c]) * mul[c];
        }
    }
}

void eff_round_f32(EffRounding how, float *dst, const float *src, const float *table, size_t n_pixels, size_t n_ch,
                   EffPool *pool)
{
    RoundTask t = {.how = how, .dst = dst, .src = src, .table = table, .n_ch = n_ch};
    eff_pool_run(pool, n_pixels, GRAIN_VALUES / n_ch + 1, round_pixels, &t);
}
