/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing the weights of an int8 network, layer by layer, on calibration pictures. */
#ifndef EFF_COMPILE_TUNE_H
#define EFF_COMPILE_TUNE_H

#include "compile/lower.h"
#include "graph/reference_f32.h"

EffStatus eff_tuning_create(EffTuning *out, const EffGraph *g);
void eff_tuning_free(EffTuning *t, const EffGraph *g);

/**
 * Choose weights and biases of all 8-bit convolutions, from the first to the last: each on the inputs that the int8
 * network so far gives it, aimed at what the float network puts out there.
 *
 * @return EFF_OK, EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED, what the picture source returned, or what lowering returns.
 */
EffStatus eff_tune(EffTuning *t, const EffGraph *g, const EffReference *reference, const EffRanges *ranges,
                   const EffActChoice *choices, size_t n_choices, const EffPictures *pictures,
                   const EffQuantizeOptions *options);

#endif
