/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of epilogues as they come from a file; the arithmetic itself is in the header. */
#include "kernels/epilogue.h"
#include "base/status.h"

#include <stdbool.h>

EffStatus eff_act_check(const EffAct *act)
{
    switch (act->kind) {
    case EFF_ACT_NONE:
    case EFF_ACT_RELU: return EFF_OK;
    case EFF_ACT_RELU6:
        if (act->h < 0 || act->h > EFF_RELU6_MAX_H)
            return eff_fail(EFF_ERR_FORMAT, "ReLU6 with %d fraction bits; 0..%d is valid", act->h, EFF_RELU6_MAX_H);
        return EFF_OK;
    case EFF_ACT_STAIR:
        if (act->h < 0 || act->h > 15 || act->g_shift < 0 || act->g_shift > 7 || act->stair == NULL)
            return eff_fail(EFF_ERR_FORMAT,
                            "staircase activation: step 2^%d, shift %d; 0..15 and 0..7 with a table are valid", act->h,
                            act->g_shift);
        return EFF_OK;
    case EFF_ACT_INTERP:
        if (act->h < 0 || act->h > 9 || act->knot == NULL || act->slope == NULL)
            return eff_fail(EFF_ERR_FORMAT, "interpolated activation: step 2^%d; 0..9 with two tables is valid",
                            act->h);
        return EFF_OK;
    }
    return eff_fail(EFF_ERR_FORMAT, "activation kind %d is unknown", (int)act->kind);
}

static EffStatus check_s16(const int16_t *a, int n, int n_pad, int lo, int hi, const char *name)
{
    if (a == NULL)
        return eff_fail(EFF_ERR_FORMAT, "epilogue: no %s", name);
    for (int c = 0; c < n_pad; c++) {
        if (c < n ? a[c] < lo || a[c] > hi : a[c] != 0)
            return eff_fail(EFF_ERR_FORMAT, "epilogue: %s[%d] is %d; %d..%d is valid, and 0 from channel %d on", name,
                            c, a[c], lo, hi, n);
    }
    return EFF_OK;
}

EffStatus eff_epilogue_check(const EffEpilogue *e, int n_channels, int to_u8)
{
    EffStatus st;
    if (n_channels < 1 || n_channels > EFF_MAX_CH)
        return eff_fail(EFF_ERR_FORMAT, "epilogue: %d channels; 1..%d is valid", n_channels, EFF_MAX_CH);
    if ((int)e->kind < EFF_OUT_U8_CLAMP || e->kind > EFF_OUT_ACT)
        return eff_fail(EFF_ERR_FORMAT, "epilogue kind %d is unknown", (int)e->kind);
    if (e->pre_shift < 0 || e->pre_shift > EFF_MAX_PRE_SHIFT || e->post_shift < 0 || e->post_shift > EFF_MAX_PRE_SHIFT)
        return eff_fail(EFF_ERR_FORMAT, "epilogue: shifts %d and %d; 0..%d is valid", e->pre_shift, e->post_shift,
                        EFF_MAX_PRE_SHIFT);
    if (e->bias == NULL || e->shift == NULL)
        return eff_fail(EFF_ERR_FORMAT, "epilogue: no %s", e->bias ? "shift" : "bias");
    const int n_pad = eff_param_pad(n_channels);
    for (int c = 0; c < n_pad; c++) {
        const int top = c < n_channels ? EFF_MAX_SHIFT : 0;
        if (e->shift[c] < 0 || e->shift[c] > top || (c >= n_channels && e->bias[c] != 0))
            return eff_fail(EFF_ERR_FORMAT,
                            "epilogue: shift[%d] is %d, bias %d; shifts 0..%d are valid, and 0 from channel %d on", c,
                            (int)e->shift[c], (int)e->bias[c], EFF_MAX_SHIFT, n_channels);
    }
    const bool clamp = e->kind == EFF_OUT_U8_CLAMP;
    if ((st = check_s16(e->mult, n_channels, n_pad, 0, INT16_MAX, "mult")) != EFF_OK)
        return st;
    if (clamp && (st = check_s16(e->top, n_channels, n_pad, INT16_MIN, INT16_MAX, "top")) != EFF_OK)
        return st;
    if ((clamp || to_u8) && (st = check_s16(e->zero, n_channels, n_pad, 0, 255, "zero")) != EFF_OK)
        return st;
    if (!clamp && to_u8 && (st = check_s16(e->omult, n_channels, n_pad, 0, INT16_MAX, "omult")) != EFF_OK)
        return st;
    return e->kind == EFF_OUT_ACT ? eff_act_check(&e->act) : EFF_OK;
}
