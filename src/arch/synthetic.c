/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures from a seed, for networks with random weights: soft colours on three scales, and noise. */
#include "base/compiler.h"
#include "base/rng.h"
#include "effnet/compile.h"

/* A number in [-1, 1) for a grid point; the same for every picture of that seed. */
static float grid_value(uint64_t seed, uint64_t octave, int y, int x, int c)
{
    EffRng rng;
    eff_rng_init(&rng, seed * 1000003 + (((uint64_t)y * 101 + (uint64_t)x) * 3 + (uint64_t)c) * 8191 + octave);
    return 2 * eff_rng_unit(&rng) - 1;
}

/* Bilinear between the points of a grid of n x n cells; fy and fx count cells. */
static float interpolate(uint64_t seed, uint64_t octave, float fy, float fx, int c)
{
    const int y = (int)fy, x = (int)fx;
    const float ty = fy - (float)y, tx = fx - (float)x;
    const float top = grid_value(seed, octave, y, x, c) * (1 - tx) + grid_value(seed, octave, y, x + 1, c) * tx;
    const float bottom =
        grid_value(seed, octave, y + 1, x, c) * (1 - tx) + grid_value(seed, octave, y + 1, x + 1, c) * tx;
    return top * (1 - ty) + bottom * ty;
}

void eff_synthetic_picture(uint8_t *pixels, int size, uint64_t seed)
{
    static const struct {
        int cells;
        float weight;
    } octaves[] = {{4, 80}, {16, 40}, {64, 20}};
    EffRng noise;
    eff_rng_init(&noise, seed);
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++, pixels += 3) {
            for (int c = 0; c < 3; c++) {
                float v = 128 + 16 * eff_rng_unit(&noise) - 8;
                for (size_t o = 0; o < EFF_COUNT(octaves); o++)
                    v += octaves[o].weight * interpolate(seed, o, (float)(y * octaves[o].cells) / (float)size,
                                                         (float)(x * octaves[o].cells) / (float)size, c);
                pixels[c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
    }
}
