/* SPDX-License-Identifier: Apache-2.0 */
/* The container behind EffWeights: four blocks, whatever the number of tensors. */
#ifndef EFF_IMPORT_WEIGHTS_H
#define EFF_IMPORT_WEIGHTS_H

#include "effnet/compile.h"

struct EffWeights {
    EffTensor *tensors; /* in the order of the file; names point into `names`, data into `data` */
    size_t n;
    uint32_t *by_name; /* indices of `tensors` in strcmp order of the names */
    char *names;
    uint8_t *data; /* each tensor at a multiple of EFF_ALIGN */
};

#endif
