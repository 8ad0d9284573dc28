/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures that are far louder than the others. One in a hundred that drives a node to hundreds of times the usual
 * would take all resolution from the rest, if its values counted in the node's range. They don't: there it is cut off,
 * and named.
 */
#ifndef EFF_QUANT_LOUD_H
#define EFF_QUANT_LOUD_H

#include "quant/observe.h"

#include <stdbool.h>

/*
 * Of the pictures up to EFF_LOUD_SHARE, rounded up, may be cut off in a node: those more than EFF_LOUD_TIMES as loud as
 * the loudest of the others. Twice the share needs sqrt(2) times the loudness, up to eight times the share: what
 * the cut costs goes with the share, what it saves with the square of the loudness. None of fewer than EFF_LOUD_LEAST.
 */
#define EFF_LOUD_SHARE 0.03
#define EFF_LOUD_TIMES 8.0
enum { EFF_LOUD_LEAST = 8, EFF_LOUD_MOST_SHARES = 8 };

/* The largest magnitude of every value on every picture, and what does not count in the ranges. */
struct EffLoudness {
    size_t n_pictures;
    int n_values;
    float *most;  /* [n_pictures][n_values] */
    uint8_t *cut; /* [n_pictures][n_values]: 1 where the picture does not count */
    float *usual; /* [n_values]: the loudest picture that is never cut off; 0 without any that could be */
    size_t n_cut; /* ones in `cut` */
};

/* All quiet. @return EFF_OK (eff_loudness_free), EFF_ERR_NOMEM. */
EffStatus eff_loudness_create(EffLoudness *out, size_t n_pictures, int n_values);
void eff_loudness_free(EffLoudness *l);

/* Set `cut` and `usual` from `most`; the graph's output is never cut off, since it is not rounded. EFF_ERR_NOMEM. */
EffStatus eff_loudness_judge(EffLoudness *l, const EffGraph *g);

/* A picture in the node where it is loudest; false where it is cut off nowhere. */
bool eff_loudness_worst(const EffLoudness *l, size_t picture, int *value, int *n_values, double *times);

/*
 * The pictures that are cut off nowhere: what is summed over pictures (moments, biases, errors) must not hang on one
 * either. All of them where that would be less than half.
 * @param q  must stay while *out is used; eff_free(q->indices) afterwards.
 */
typedef struct EffQuietPictures {
    const EffPictures *all;
    size_t *indices; /* [all->n], the first of them set */
} EffQuietPictures;
EffStatus eff_quiet_pictures(EffPictures *out, EffQuietPictures *q, const EffLoudness *l, const EffPictures *all);

#endif
