/* SPDX-License-Identifier: Apache-2.0 */
/* Running a model over many pictures, several at a time. */
#ifndef EFFNET_TOOLS_EVALUATE_H
#define EFFNET_TOOLS_EVALUATE_H

#include "dataset.h"
#include "model.h"

typedef struct Evaluation {
    float *logits; /* [pictures][n_classes], in the order of the dataset */
    int n_classes, n_threads;
    double seconds;
} Evaluation;

/* Run all pictures, one thread each. The first picture that can't be read ends it. evaluation_free() afterwards. */
EffStatus evaluate(Evaluation *out, const Model *m, const Dataset *d, int n_threads, bool apply_orientation,
                   bool quiet);
void evaluation_free(Evaluation *e);

#endif
