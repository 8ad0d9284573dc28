/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded random numbers that are the same everywhere: splitmix64 (Steele, Lea, Flood, OOPSLA 2014, fig. 17). */
#ifndef EFF_BASE_RNG_H
#define EFF_BASE_RNG_H

#include <stdint.h>

typedef struct EffRng {
    uint64_t state;
} EffRng;

static inline void eff_rng_init(EffRng *rng, uint64_t seed)
{
    rng->state = seed;
}

static inline uint64_t eff_rng_next(EffRng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, n), n > 0; the bias of the modulus is below 2^-32 for the small n used here. */
static inline uint64_t eff_rng_below(EffRng *rng, uint64_t n)
{
    return eff_rng_next(rng) % n;
}

/* Uniform in [0, 1), 24 bits: exact in float. */
static inline float eff_rng_unit(EffRng *rng)
{
    return (float)(eff_rng_next(rng) >> 40) * 0x1p-24f;
}

/* About normal, mean 0, variance 1: the sum of twelve uniforms, so that no libm call enters the result. */
static inline float eff_rng_normal(EffRng *rng)
{
    float sum = -6.0f;
    for (int i = 0; i < 12; i++)
        sum += eff_rng_unit(rng);
    return sum;
}

#endif
