/* SPDX-License-Identifier: Apache-2.0 */
/* Running a model over many pictures, several at a time. */
#ifndef EFFNET_TOOLS_EVALUATE_H
#define EFFNET_TOOLS_EVALUATE_H

#include "dataset.h"
#include "model.h"

typedef struct Evaluation {
    float *logits; /* [pictures][n_views][n_classes], in the order of the dataset */
    int n_views, n_classes, n_threads;
    double seconds;
} Evaluation;

/* How to run. */
typedef struct EvaluateOptions {
    int n_threads;          /* pictures at a time; 0: one a CPU */
    int n_views;            /* of each picture (views.h), at least 1 */
    bool apply_orientation; /* turn pictures as their EXIF says */
    bool fast_decode;       /* see ModelSession */
    bool quiet;             /* no progress line */
} EvaluateOptions;

/*
 * Run all pictures, one thread each. The first picture that can't be read ends it, and so does Ctrl-C
 * (EFF_ERR_INTERRUPTED). evaluation_free() afterwards.
 */
EffStatus evaluate(Evaluation *out, const Model *m, const Dataset *d, const EvaluateOptions *options);
void evaluation_free(Evaluation *e);

#endif
