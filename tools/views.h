/* SPDX-License-Identifier: Apache-2.0 */
/* Views of pictures: for calibration where there are few, and for evaluation, where more pairs make better statistics.
 */
#ifndef EFFNET_TOOLS_VIEWS_H
#define EFFNET_TOOLS_VIEWS_H

#include "dataset.h"

enum { VIEWS_MAX = 1000 };

/* Pictures of a dataset, n_views each: the usual centre crop first, then seeded crops of 30 to 100 % of the area, some
 * mirrored. */
typedef struct Views {
    const Dataset *d;
    int n_views;
    EffPreprocess pre;
} Views;

/* As calibration pictures; `views` must stay. */
EffPictures views_pictures(const Views *views);

/*
 * View `view` of a picture for evaluation, the same for every picture and machine; the first K do not depend on how
 * many there are. 0 is the usual centre crop, and an odd view mirrors the one before it. Views 2k and 2k + 1 are a
 * square with 70 to 100 % of the short side, side and place from a sequence that fills the range evenly (Halton 1960):
 * side by base 2, x by base 3, y by base 5, at index k.
 * @param pixels  receives [size][size][3] RGB.
 */
EffStatus views_evaluate(uint8_t *pixels, const EffImage *src, const EffPreprocess *pre, int view);

#endif
