/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: random epilogues whose outputs spread over their range, and some that sit at every limit. */
#include "kcheck.h"
#include "kernels/act_tables.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static KcBuf zeros(int n, size_t width)
{
    KcBuf b = kc_buf((size_t)eff_param_pad(n) * width, 1);
    memset(b.data, 0, b.bytes);
    return b;
}

static int pick(KCheck *t, const int *values, int n)
{
    return values[kc_range(t, 0, n - 1)];
}

static void random_act(KCheck *t, KcEpilogue *e)
{
    EffAct *act = &e->epi.act;
    const int frac_bits = kc_range(t, 4, 14), kind = kc_range(t, 0, 6);
    const EffActFn fn = kc_chance(t, 50) ? EFF_FN_SILU : EFF_FN_HARD_SWISH;
    switch (kind) {
    case 0: *act = (EffAct){.kind = EFF_ACT_RELU}; break;
    case 1: *act = (EffAct){.kind = EFF_ACT_NONE}; break;
    case 6: *act = (EffAct){.kind = EFF_ACT_RELU6, .h = kc_range(t, 0, EFF_RELU6_MAX_H)}; break;
    case 2: eff_act_build_stair(act, e->stair, fn, frac_bits, kc_range(t, 1, INT16_MAX)); break;
    case 3: eff_act_build_interp(act, e->knot, e->slope, fn, frac_bits, kc_range(t, 1, INT16_MAX)); break;
    case 4:
        for (int i = 0; i < EFF_STAIR_SIZE; i++)
            e->stair[i] = (uint8_t)kc_range(t, 0, 255);
        *act =
            (EffAct){.kind = EFF_ACT_STAIR, .h = kc_range(t, 0, 15), .g_shift = kc_range(t, 0, 7), .stair = e->stair};
        break;
    default:
        for (int i = 0; i < EFF_KNOTS; i++) {
            e->knot[i] = (int16_t)kc_range(t, INT16_MIN, INT16_MAX);
            e->slope[i] = (int16_t)kc_range(t, INT16_MIN, INT16_MAX);
        }
        *act = (EffAct){.kind = EFF_ACT_INTERP, .h = kc_range(t, 0, 9), .knot = e->knot, .slope = e->slope};
    }
}

void kc_epilogue(KCheck *t, KcEpilogue *e, int n, int k, double spread)
{
    static const int zeros_at[] = {0, 255, 128, 1, 254}, mults[] = {0, 1, 16384, 32767}, shifts[] = {0, 1, 23, 24};
    static const int tops[] = {INT16_MAX, INT16_MIN, 0, 255, -1};
    const bool limits = kc_chance(t, 15);
    *e = (KcEpilogue){
        .bias = zeros(n, 4),
        .shift = zeros(n, 4),
        .mult = zeros(n, 2),
        .top = zeros(n, 2),
        .zero = zeros(n, 2),
        .omult = zeros(n, 2),
    };
    int32_t *bias = e->bias.data, *shift = e->shift.data;
    int16_t *mult = e->mult.data, *top = e->top.data, *zero = e->zero.data, *omult = e->omult.data;
    const EffOutKind kind = (EffOutKind)kc_range(t, EFF_OUT_U8_CLAMP, EFF_OUT_ACT);
    /* Half of the time the accumulator is left-shifted a bit, to exercise pre_shift; the same for post_shift. */
    const int pre = kc_chance(t, 60) ? 0 : kc_range(t, 1, limits ? 8 : 3);
    const int post = kc_chance(t, 40) ? 0 : kc_range(t, 1, limits ? 8 : 3);
    const int bits = (int)floor(log2(spread + 1));
    const int64_t room = INT32_MAX - 255ll * 127 * k;
    for (int c = 0; c < n; c++) {
        /* Form 1 wants t near 2^12, the others y near 2^13. */
        const int s = bits - 12 + (kind == EFF_OUT_U8_CLAMP ? 0 : pre) + kc_range(t, -1, 1);
        shift[c] = s < 0 ? 0 : s > 24 ? 24 : s;
        mult[c] = (int16_t)(kind == EFF_OUT_U8_CLAMP ? kc_range(t, 500, 3000) : kc_range(t, 16384, 32767));
        top[c] = (int16_t)(kc_chance(t, 30) ? INT16_MAX : kc_range(t, 0, 255));
        zero[c] = (int16_t)kc_range(t, 0, 255);
        omult[c] = (int16_t)(kc_range(t, 300, 2000) >> post);
        bias[c] = (int32_t)(spread * (kc_range(t, -100, 100) / 100.0)) + (shift[c] > 0 ? 1 << (shift[c] - 1) : 0);
        if (limits) {
            shift[c] = pick(t, shifts, 4);
            mult[c] = (int16_t)pick(t, mults, 4);
            top[c] = (int16_t)pick(t, tops, 5);
            zero[c] = (int16_t)pick(t, zeros_at, 5);
            omult[c] = (int16_t)pick(t, mults, 4);
            bias[c] = (int32_t)(kc_chance(t, 50) ? (kc_chance(t, 50) ? room : -room) : kc_range(t, -1000, 1000));
        }
    }
    e->epi = (EffEpilogue){
        .kind = kind,
        .pre_shift = pre,
        .post_shift = post,
        .bias = bias,
        .shift = shift,
        .mult = mult,
        .top = top,
        .zero = zero,
        .omult = omult,
    };
    if (kind == EFF_OUT_ACT)
        random_act(t, e);
}

bool kc_epilogue_intact(KCheck *t, const KcEpilogue *e)
{
    const KcBuf *const bufs[] = {&e->bias, &e->shift, &e->mult, &e->top, &e->zero, &e->omult};
    return kc_intact(t, bufs, 6);
}

void kc_epilogue_free(KcEpilogue *e)
{
    KcBuf *bufs[] = {&e->bias, &e->shift, &e->mult, &e->top, &e->zero, &e->omult};
    for (int i = 0; i < 6; i++)
        kc_buf_free(bufs[i]);
}

const char *kc_epilogue_name(const EffEpilogue *e)
{
    static const char *const acts[] = {"none", "relu", "stair", "interp", "relu6"};
    return e->kind == EFF_OUT_U8_CLAMP ? "u8 clamp" : e->kind == EFF_OUT_S16 ? "s16" : acts[e->act.kind];
}
