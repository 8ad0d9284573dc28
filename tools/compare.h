/* SPDX-License-Identifier: Apache-2.0 */
/* Two models on the same pictures: how far apart they are, what that costs, and how sure one can be of it. */
#ifndef EFFNET_TOOLS_COMPARE_H
#define EFFNET_TOOLS_COMPARE_H

#include "evaluate.h"
#include "stats.h"

/* With fewer photos than this a standard error is little more than a guess: nothing counts as detectable. */
enum { COMPARE_FEWEST = 50 };

/* An estimate with its 95 % interval. */
typedef struct Estimate {
    double value;
    Interval ci;
} Estimate;

/* Shares are in [0, 1]. Means are over all views of all photos; intervals are by the cluster bootstrap over photos. */
typedef struct Comparison {
    size_t n, n_views;                 /* photos, and views of each */
    size_t lost, gained;               /* views: right by A only, right by B only */
    size_t photos_lost, photos_gained; /* photos that lost more views than they gained, and the reverse */
    double mcnemar_p;           /* chance that these two are as uneven or more (exact, two-sided); as McNemar's with
                                   one view */
    Estimate agree;             /* same best class; with one view the interval is Wilson's */
    Estimate kl;                /* mean of KL(A || B) of the softmaxes, nats */
    Estimate sqnr_p50, sqnr_p5; /* dB, of B's logits as A's plus noise */
    Estimate top1_diff;         /* right by B less right by A */
    Estimate expected_diff;     /* the same, averaged over noise like that measured (noise.h) */
    double expected_agree;      /* under the same noise: where it is far from `agree`, mistrust the former */
    double detect_top1;         /* smallest true difference that these photos find (95 % confidence, 80 % power) */
    double detect_expected;     /* the same by what is expected */
} Comparison;

/* a and b have the same pictures and views. @return EFF_OK, EFF_ERR_ARG (other classes), EFF_ERR_NOMEM. */
EffStatus compare(Comparison *out, const Evaluation *a, const Evaluation *b, const int *labels, size_t n);

#endif
