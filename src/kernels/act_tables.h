/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables for the activations of epilogue.h. The compiler stores them in the model, so that a libm's last digit never
 * enters a result.
 */
#ifndef EFF_KERNELS_ACT_TABLES_H
#define EFF_KERNELS_ACT_TABLES_H

#include "kernels/epilogue.h"

typedef enum EffActFn {
    EFF_FN_SILU = 0,    /**< x / (1 + exp(-x)):   g(a) = a / (1 + exp(a)), at most 0.2785 */
    EFF_FN_HARD_SWISH,  /**< x relu6(x + 3) / 6:  g(a) = a (3 - a) / 6 below 3, at most 0.375 */
    EFF_FN_SIGMOID,     /**< g(a) = 1 / (1 + exp(a)), tables in Q15 */
    EFF_FN_HARD_SIGMOID /**< relu6(x + 3) / 6:   g(a) = (3 - a) / 6 below 3 */
} EffActFn;

/** max(x, 0) - g(|x|) of SiLU and hard-swish; g(-|x|) mirrored by eff_gate() of the sigmoids. */
double eff_act_g(EffActFn fn, double a);

/**
 * STAIR tables for SiLU or hard-swish on y with `frac_bits` fraction bits: g at the middle of each step, 0 at and
 * beyond the last where g has vanished. Chooses act->h, so that |y| <= y_max reaches step 255 at most or g is below
 * half a unit there, and act->g_shift, so that g fits a byte.
 */
void eff_act_build_stair(EffAct *act, uint8_t stair[EFF_STAIR_SIZE], EffActFn fn, int frac_bits, int y_max);

/** INTERP tables: value and slope at 64 knots 2^h apart; h chosen likewise. For the sigmoids the values are Q15. */
void eff_act_build_interp(EffAct *act, int16_t knot[EFF_KNOTS], int16_t slope[EFF_KNOTS], EffActFn fn, int frac_bits,
                          int y_max);

#endif
