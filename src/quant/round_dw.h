/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights of a depthwise convolution: each channel is a least-squares problem of its own, of 9 to 49 weights, small
 * enough to search more than GPTQ does.
 */
#ifndef EFF_QUANT_ROUND_DW_H
#define EFF_QUANT_ROUND_DW_H

#include "base/threads.h"

#include <stdint.h>

enum { EFF_DW_MAX_TAPS = 49 };

/* Sums over samples of the taps x and the target f (an integer of some unit), all weighted alike, exact. */
typedef struct EffDwMoments {
    int channels, taps;
    int64_t *n;      /* [channels] */
    int64_t *x, *xx; /* [taps][channels], [taps (taps + 1) / 2][channels]: pairs (a, b <= a) */
    int64_t *f;      /* [channels] */
} EffDwMoments;

EffStatus eff_dw_moments_create(EffDwMoments *out, int channels, int taps);
void eff_dw_moments_free(EffDwMoments *m);
/* Add one sample: x [taps][channels], f [channels], weight [channels] of 0..255. |f| < 2^15. */
void eff_dw_moments_add(EffDwMoments *m, const int16_t *x, const int16_t *f, const int16_t *weight);
/* to += from */
void eff_dw_moments_merge(EffDwMoments *to, const EffDwMoments *from);

/* How to choose the weights of all channels. */
typedef struct EffDwRounding {
    const EffDwMoments *m;
    double damping; /* share of the mean of a channel's moments' diagonal */
    int q_max;
} EffDwRounding;

/* wgt [channels][taps], in units of an input step; unit [channels], of the weights; q [channels][taps], in [-q_max,
 * q_max]; plain and chosen as in eff_moments_round(), a sample. */
void eff_dw_round(const EffDwRounding *r, int16_t *q, const double *wgt, const double *unit, double *plain,
                  double *chosen, EffPool *pool);

#endif
