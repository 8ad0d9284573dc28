/* SPDX-License-Identifier: Apache-2.0 */
/* Calibration pictures: files, and more views of each where there are few. */
#ifndef EFFNET_TOOLS_VIEWS_H
#define EFFNET_TOOLS_VIEWS_H

#include "dataset.h"

/* Pictures of a dataset, n_views each: the usual centre crop first, then seeded crops of 30 to 100 % of the area, some
 * mirrored. */
typedef struct Views {
    const Dataset *d;
    int n_views;
    EffPreprocess pre;
} Views;

/* As calibration pictures; `views` must stay. */
EffPictures views_pictures(const Views *views);

#endif
