/* SPDX-License-Identifier: Apache-2.0 */
/* What a network is quantized with: pictures of a folder, views of them, or synthetic ones; and those held back. */
#ifndef EFFNET_TOOLS_CALIBRATION_H
#define EFFNET_TOOLS_CALIBRATION_H

#include "dataset.h"
#include "views.h"

/* Zero it first; calibration_free() it, also after a failure. It must stay where it is while its pictures are used. */
typedef struct Calibration {
    Dataset d, held;
    int n_views;
    size_t n_synthetic; /* 0: pictures of a folder */
    Views views, held_views;
    EffPictures pictures, held_back; /* held_back.n 0: none */
    int size;
    uint8_t *one_colour; /* [d.n * n_views] 1: a view that was seen, and all of its pixels are alike */
} Calibration;

/* --calib, --images, --views, --hold-back. Prints what is wrong. */
ExitCode calibration_open(Calibration *c, const Args *a);
/* Its pictures for a network. Some of them must have more than one colour. */
EffStatus calibration_prepare(Calibration *c, const EffPreprocess *pre);
/* How many files gave nothing but views of one colour; *first is the first of them. For after the pictures were used.
 */
size_t calibration_count_one_colour(const Calibration *c, const char **first);
void calibration_free(Calibration *c);

#endif
