/* SPDX-License-Identifier: Apache-2.0 */
/* How exactly each activation must be computed: staircase tables are fast, interpolated ones fine. */
#ifndef EFF_QUANT_ACTIVATION_H
#define EFF_QUANT_ACTIVATION_H

#include "kernels/epilogue.h"
#include "quant/observe.h"

/* An activation whose input is the output of node `conv`, and what is known of it. */
typedef struct EffActChoice {
    int conv;                 /* node; -1: none */
    EffActivation fn;         /* EFF_ACTIVATION_SILU or _HSWISH */
    int per_channel;          /* the u8 rounding that it is compared with is per channel */
    const EffRange *in, *out; /* before and after the function */
    EffActKind kind;          /* the choice */
    double stair_db, interp_db,
        u8_db; /* SQNR of the function alone by either table, and of rounding its result to u8 */
} EffActChoice;

/*
 * Measure every activation of choices [0, n) over pictures, and choose: the staircase where it is at least 6 dB better
 * than the u8 rounding that follows, interpolation elsewhere.
 */
EffStatus eff_choose_activations(EffActChoice *choices, size_t n, const EffGraph *g, const EffReference *reference,
                                 const EffPictures *pictures, const EffQuantizeOptions *options);

#endif
