/* SPDX-License-Identifier: Apache-2.0 */
/* Scales a channel before pointwise convolutions: precision moved between activations and weights. */
#ifndef EFF_COMPILE_MIGRATE_H
#define EFF_COMPILE_MIGRATE_H

#include "compile/lower.h"

/*
 * Choose tuning->factors of every value that a pointwise convolution of a map reads, so that the rounding of inputs and
 * that of weights together disturb the convolution's output least. The variances are observed on `pictures`.
 * @return EFF_OK, EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED, or what the picture source returned.
 */
EffStatus eff_migrate(EffTuning *tuning, const EffGraph *g, const EffReference *reference, const EffRanges *ranges,
                      const EffPictures *pictures, const EffQuantizeOptions *options);

#endif
