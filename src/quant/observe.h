/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Observing a float network over pictures. What is kept is a few numbers a channel, however many pictures there are,
 * and it does not depend on the number of threads: minima and maxima are exact, and sums are added up in the pictures'
 * order.
 */
#ifndef EFF_QUANT_OBSERVE_H
#define EFF_QUANT_OBSERVE_H

#include "effnet/compile.h"
#include "graph/ir.h"

/* Smallest and largest value of each channel of a node's output, over all pictures and positions; 0 is always inside.
 */
typedef struct EffRange {
    float *min, *max; /* [c] */
    int c;
} EffRange;

typedef struct EffLoudness EffLoudness; /* quant/loud.h */

typedef struct EffRanges {
    EffRange *values; /* [n_values]; c = 0 for values that no node computes */
    int n_values;
    float *storage;
} EffRanges;

/* Largest magnitude that is taken: far beyond it no choice of integers is left. Trained networks stay below 1e4. */
#define EFF_MAX_RANGE 1e12f

/* Whether all ranges are below that. @return EFF_OK, EFF_ERR_UNSUPPORTED naming the node. */
EffStatus eff_ranges_check(const EffRanges *r, const EffGraph *g);

/* Ranges of a graph's values, all [0, 0]. @return EFF_OK (eff_ranges_free), EFF_ERR_NOMEM. */
EffStatus eff_ranges_create(EffRanges *out, const EffGraph *g);

/* Over all channels. */
float eff_range_min(const EffRange *r);
float eff_range_max(const EffRange *r);
/* Largest magnitude over all channels. */
float eff_range_abs(const EffRange *r);
/*
 * Largest magnitude before an activation that makes a difference after it: swish is all but silent left of -12, and a
 * channel that a large negative bias keeps silent must not take fraction bits from the others.
 */
float eff_range_before(const EffRange *r, EffActivation act);

/*
 * Run the network over all pictures and note the ranges of every value, without the pictures that are too loud for it
 * (a second run, where there are some). The graph is folded, its activations not fused.
 * @return EFF_OK (eff_ranges_free, eff_loudness_free), what the picture source returned, EFF_ERR_FORMAT for values that
 * are not finite, EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED.
 */
EffStatus eff_observe_ranges(EffRanges *out, EffLoudness *loudness, const EffGraph *g, const EffReference *reference,
                             const EffPictures *pictures, const EffQuantizeOptions *options);
/*
 * Widen all ranges for what the pictures did not show: by 1.15 + 1 / sqrt(n_sources), n_sources the number of different
 * pictures, up to what a clamp lets through (doc/quantization.md has the measurement).
 */
void eff_ranges_widen(EffRanges *r, const EffGraph *g, size_t n_sources);
void eff_ranges_free(EffRanges *r);

/* 10 log10(signal / error) of two sums of squares; 200 without error, 0 without signal. */
double eff_sqnr_db(double signal, double error);

/*
 * Call fn(ctx, picture, worker, pixels) for pictures [0, n) from options->n_threads threads, in rounds: fn runs for a
 * round of as many pictures as there are threads, then commit(ctx, worker) once a picture in order. Either may be NULL.
 */
typedef EffStatus eff_each_fn(void *ctx, size_t picture, int worker, const uint8_t *pixels);
typedef void eff_commit_fn(void *ctx, int worker);
EffStatus eff_each_picture(const EffPictures *pictures, const EffQuantizeOptions *options, const char *phase, int size,
                           eff_each_fn *fn, eff_commit_fn *commit, void *ctx);

#endif
