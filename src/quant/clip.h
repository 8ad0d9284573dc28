/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges that leave out the rarest values, by the methods that other tools offer: a percentile, the least squared
 * error, the least divergence of the histogram. What lies beyond is cut off.
 */
#ifndef EFF_QUANT_CLIP_H
#define EFF_QUANT_CLIP_H

#include "quant/observe.h"

enum { EFF_CLIP_BINS = 2048 };

/*
 * How often magnitudes occur, as shares of the largest: bin i counts those in (i, i + 1] / EFF_CLIP_BINS.
 */
typedef struct EffHistogram {
    uint64_t bins[EFF_CLIP_BINS];
    uint64_t zeros;
    double span; /* max - min, in multiples of the largest magnitude: 1 or 2, or between where channels differ */
} EffHistogram;

/*
 * The share of the largest magnitude to keep, a number of bins.
 * @param percentile  of EFF_RANGES_PERCENTILE, in (0, 100].
 */
int eff_clip_choose(const EffHistogram *h, EffRangeMethod method, double percentile);

/*
 * Shrink the ranges of what convolutions read by options->ranges, which is one of these methods; histograms over all of
 * `pictures`. A tensor with one step has one limit, others lose the same share in each channel.
 * @return EFF_OK, EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED, what the picture source returned.
 */
EffStatus eff_ranges_clip(EffRanges *r, const EffGraph *g, const EffReference *reference, const EffPictures *pictures,
                          const EffQuantizeOptions *options);

#endif
