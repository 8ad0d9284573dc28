/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy's .npy format, version 1.0 (numpy.lib.format), float32 matrices in C order. */
#ifndef EFFNET_TOOLS_NPY_H
#define EFFNET_TOOLS_NPY_H

#include "effnet/base.h"

/* Write [n_rows][n_cols] atomically. */
EffStatus npy_write(const char *path, const float *data, size_t n_rows, size_t n_cols);

#endif
