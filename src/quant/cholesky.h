/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cholesky factors in double, in one fixed order of summation: a system BLAS would choose its kernels by CPU and number
 * of threads, and the rounded weights would then differ from machine to machine.
 */
#ifndef EFF_QUANT_CHOLESKY_H
#define EFF_QUANT_CHOLESKY_H

#include "base/threads.h"

#include <stddef.h>

/**
 * A = L L^T.
 *
 * @param a     [n][n] row-major, symmetric; its lower triangle is read, and becomes L. The upper triangle becomes 0.
 * @param pool  shares the work, or NULL; the result is the same for every number of threads.
 * @return EFF_OK, EFF_ERR_ARG when A is not positive definite (in its numbers), EFF_ERR_NOMEM.
 */
EffStatus eff_cholesky(double *a, size_t n, EffPool *pool);

#endif
