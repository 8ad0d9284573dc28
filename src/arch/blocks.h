/* SPDX-License-Identifier: Apache-2.0 */
/* Block strings: the field's one-line description of a stage, "ir_r2_k3_s2_e6_c24_se0.25". */
#ifndef EFF_ARCH_BLOCKS_H
#define EFF_ARCH_BLOCKS_H

#include "effnet/base.h"

#include <stdbool.h>

enum { EFF_MAX_BLOCK_VALUE = 10000 };

typedef struct EffBlockArgs {
    bool expand;     /* "ir": inverted residual with an expansion; "ds": depthwise separable, without one */
    int repeats;     /* r */
    int kernel;      /* k: 3, 5 or 7 */
    int stride;      /* s: 1 or 2, of the first block of the stage */
    int expansion;   /* e: factor of the expanded channels */
    int out_ch;      /* c, before scaling */
    double se_ratio; /* se: squeeze-excite channels as a share of the block's input; 0 without */
} EffBlockArgs;

/* Parse one block string. @return EFF_OK, or EFF_ERR_ARG naming the part that is wrong. */
EffStatus eff_block_parse(EffBlockArgs *out, const char *text);

/* Channels times width, rounded to a multiple of 8, at least 8, never below 0.9 of the exact value. */
int eff_round_channels(int channels, double width);
/* Repeats times depth, rounded up. */
int eff_round_repeats(int repeats, double depth);

#endif
