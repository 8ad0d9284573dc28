/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointwise convolution on AMX: tile registers multiply 16 pixels by 64 input channels by 16 output channels in 16
 * cycles, eight times what VNNI does, beside the vector units. What outputs in NHWC and in row quads share.
 *
 * Results leave a tile some 100 cycles after its inputs entered, through memory, and a store of tiles is not forwarded
 * to loads. So three blocks are on their way at a time, and none waits for another:
 *
 *   the tiles of the block before go to one of two buffers, one by one as this block's take their place;
 *   this block's products;
 *   the epilogue of the block before the one before.
 *
 *   packed weights   [out_ch / 16][step][k / 4][16][4], k = min(64, in_ch rounded up to 4) input channels a step
 *
 * The last step ends with the last input channel, so that no pixel is read beyond its end; what it has in common with
 * the step before has weights of 0. Static, for pw_u8s8_avx512amx.c only.
 */
#ifndef EFF_KERNELS_X86_PW_AMX_H
#define EFF_KERNELS_X86_PW_AMX_H

#include "kernels/table.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/lookup_avx512vbmi.h"
#include "kernels/x86/quads_avx512.h"

/* How the input channels are cut. */
typedef struct Steps {
    int n, k; /* k input channels each */
    int last; /* where the last one begins */
} Steps;

static Steps steps_of(int in_ch)
{
    const int n_in = (in_ch + 3) / 4 * 4, k = n_in < TILE_K ? n_in : TILE_K;
    return (Steps){(n_in + k - 1) / k, k, n_in - k};
}

static size_t tile_bytes(const Steps *s)
{
    return (size_t)s->k * TILE_CH;
}

/* Sums of a block. */
typedef struct Sums {
    _Alignas(64) int32_t at[4 * TILE_PIXELS][TILE_CH];
} Sums;

static EFF_ALWAYS_INLINE Z sum_of(const Sums *s, int row)
{
    return _mm512_load_si512(s->at[row]);
}

#endif
