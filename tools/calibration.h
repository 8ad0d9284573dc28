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
} Calibration;

/* --calib, --images, --views, --hold-back. Prints what is wrong. */
ExitCode calibration_open(Calibration *c, const Args *a);
/* Its pictures for a network. */
void calibration_prepare(Calibration *c, const EffPreprocess *pre);
void calibration_free(Calibration *c);

#endif
