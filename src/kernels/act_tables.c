/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the tables of swish-like activations and of the sigmoids. */
#include "kernels/act_tables.h"

#include <assert.h>
#include <math.h>

/*
 * exp(-a) for a >= 0, the same on every machine: exp(-a / 2^k) by Taylor's polynomial, squared k times. Relative error
 * below 1e-12; 0 from 708 on.
 */
static double exp_minus(double a)
{
    enum { TERMS = 14 };
    int k = 0;
    if (a > 708)
        return 0;
    for (; a > 0.25; a /= 2)
        k++;
    double sum = 1;
    for (int i = TERMS; i > 0; i--)
        sum = 1 - a / i * sum;
    for (; k > 0; k--)
        sum *= sum;
    return sum;
}

double eff_act_g(EffActFn fn, double a)
{
    switch (fn) {
    case EFF_FN_SILU: return a * exp_minus(a) / (1 + exp_minus(a));
    case EFF_FN_HARD_SWISH: return a < 3 ? a * (3 - a) / 6 : 0;
    case EFF_FN_SIGMOID: return exp_minus(a) / (1 + exp_minus(a));
    case EFF_FN_HARD_SIGMOID: return a < 3 ? (3 - a) / 6 : 0;
    }
    return 0;
}

/* One in y's unit; of the sigmoids in Q15. */
static double unit(EffActFn fn, int frac_bits)
{
    return fn == EFF_FN_SIGMOID || fn == EFF_FN_HARD_SIGMOID ? 32768.0 : ldexp(1, frac_bits);
}

/* The smallest step that covers what matters: up to y_max, or up to where g rounds to 0, whichever is nearer. */
static int choose_step(EffActFn fn, int frac_bits, int y_max, int n_steps, int h_max)
{
    const double one = ldexp(1, frac_bits);
    int h = 0;
    while (h < h_max) {
        const double end = (double)((int64_t)n_steps << h);
        if (end >= y_max || (end / one > 3 && eff_act_g(fn, end / one) * unit(fn, frac_bits) < 0.5))
            break;
        h++;
    }
    return h;
}

void eff_act_build_stair(EffAct *act, uint8_t stair[EFF_STAIR_SIZE], EffActFn fn, int frac_bits, int y_max)
{
    assert(fn == EFF_FN_SILU || fn == EFF_FN_HARD_SWISH);
    const int h = choose_step(fn, frac_bits, y_max, EFF_STAIR_SIZE - 1, 15);
    const double one = ldexp(1, frac_bits), step = ldexp(1, h - frac_bits);
    double g_max = 0;
    for (int i = 0; i < EFF_STAIR_SIZE; i++)
        g_max = fmax(g_max, eff_act_g(fn, (i + 0.5) * step) * one);
    int g_shift = 0;
    while (g_shift < 7 && g_max >= 255.5 * (1 << g_shift))
        g_shift++;
    for (int i = 0; i < EFF_STAIR_SIZE; i++) {
        const double g = ldexp(eff_act_g(fn, (i + 0.5) * step) * one, -g_shift);
        stair[i] = (uint8_t)fmin(255, floor(g + 0.5));
    }
    *act = (EffAct){.kind = EFF_ACT_STAIR, .h = h, .g_shift = g_shift, .stair = stair};
}

void eff_act_build_interp(EffAct *act, int16_t knot[EFF_KNOTS], int16_t slope[EFF_KNOTS], EffActFn fn, int frac_bits,
                          int y_max)
{
    const int h = choose_step(fn, frac_bits, y_max, EFF_KNOTS, 9);
    const double one = unit(fn, frac_bits), step = ldexp(1, h - frac_bits);
    for (int i = 0; i < EFF_KNOTS; i++) {
        const double here = floor(eff_act_g(fn, i * step) * one + 0.5);
        const double next = floor(eff_act_g(fn, (i + 1) * step) * one + 0.5);
        knot[i] = (int16_t)fmin(here, 32767);
        slope[i] = (int16_t)(next - here);
    }
    *act = (EffAct){.kind = EFF_ACT_INTERP, .h = h, .knot = knot, .slope = slope};
}
