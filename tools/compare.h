/* SPDX-License-Identifier: Apache-2.0 */
/* Two models on the same pictures: how far apart they are, and what that costs. */
#ifndef EFFNET_TOOLS_COMPARE_H
#define EFFNET_TOOLS_COMPARE_H

#include "evaluate.h"
#include "stats.h"

typedef struct Comparison {
    size_t n;
    size_t agree;                            /* pictures with the same best class */
    size_t lost, gained;                     /* right by A only, right by B only */
    double mcnemar_p;                        /* that a difference as large is chance (exact, two-sided) */
    double kl_mean;                          /* mean of KL(A || B) of the softmaxes, nats */
    double sqnr_p50, sqnr_p5;                /* dB, of B's logits as A's plus noise */
    Interval kl_ci, sqnr_p50_ci, sqnr_p5_ci; /* 95 %, bootstrap over pictures */
} Comparison;

EffStatus compare(Comparison *out, const Evaluation *a, const Evaluation *b, const int *labels, size_t n);

#endif
