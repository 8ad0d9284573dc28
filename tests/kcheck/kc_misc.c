/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: fully connected layers and their epilogue, s16 to u8, add, pooling. */
#include "kcheck.h"
#include "kernels/act_tables.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool fc_case(KCheck *t, const EffFcKernel *k, int i)
{
    kc_case(t, i);
    const bool big = i % 16 == 0;
    const int in_ch = big ? kc_range(t, 3000, 5000) : kc_range(t, 1, 300), out_ch = big ? 16 : kc_range(t, 1, 70);
    const int bits = kc_chance(t, 60) ? 8 : 16;
    const size_t n = (size_t)in_ch * (size_t)out_ch;
    int16_t *wide = malloc(2 * n);
    if (wide == NULL)
        abort();
    if (bits == 8)
        kc_fill_weights(t, (int8_t *)wide, n);
    else
        kc_fill_s16(t, wide, n);
    for (size_t j = 0; bits == 16 && j < n; j++)
        wide[j] = wide[j] == INT16_MIN ? -INT16_MAX : wide[j];
    snprintf(t->what, sizeof t->what, "%d to %d, %d-bit weights", in_ch, out_ch, bits);
    KcBuf src = kc_buf((size_t)eff_param_pad(in_ch) * 2, 1), packed = kc_buf(k->packed_bytes(in_ch, out_ch, bits), 64);
    KcBuf ref = kc_buf((size_t)eff_ch_pad(out_ch) * 8, 1), got = kc_buf(ref.bytes, 1);
    kc_fill_s16(t, src.data, src.bytes / 2);
    k->pack(packed.data, wide, in_ch, out_ch, bits);
    const EffFc ref_op = {in_ch, out_ch, bits, wide}, got_op = {in_ch, out_ch, bits, packed.data};
    eff_fc_s16_c.run(&ref_op, src.data, ref.data, 0, out_ch);
    const int cut = kc_range(t, 0, out_ch / 16) * 16;
    k->run(&got_op, src.data, got.data, 0, cut);
    if (cut < out_ch)
        k->run(&got_op, src.data, got.data, cut, out_ch);
    KcBuf *bufs[] = {&src, &packed, &ref, &got};
    const bool ok = eff_fc_check(&got_op, wide) == EFF_OK &&
                    kc_equal_bytes(t, "sums", ref.data, got.data, (size_t)out_ch, 8, 1) &&
                    kc_intact(t, (const KcBuf *const *)bufs, 4);
    for (int b = 0; b < 4; b++)
        kc_buf_free(bufs[b]);
    free(wide);
    return ok;
}

static bool fc_epilogue_case(KCheck *t, eff_fc_epilogue_fn *fn, int i)
{
    KcEpilogue epi;
    int16_t knot[EFF_KNOTS], slope[EFF_KNOTS];
    EffAct sigmoid;
    kc_case(t, i);
    const int n = kc_range(t, 1, 100), pad = eff_param_pad(n);
    const double spread = ldexp(1, kc_range(t, 14, 34));
    kc_epilogue(t, &epi, n, 1, fmin(spread, 1e9));
    epi.epi.kind = epi.epi.kind == EFF_OUT_U8_CLAMP ? EFF_OUT_S16 : epi.epi.kind;
    eff_act_build_interp(&sigmoid, knot, slope, kc_chance(t, 50) ? EFF_FN_SIGMOID : EFF_FN_HARD_SIGMOID,
                         kc_range(t, 6, 13), kc_range(t, 1, INT16_MAX));
    const EffFcEpilogue op = {n, epi.epi, kc_chance(t, 50) ? &sigmoid : NULL};
    snprintf(t->what, sizeof t->what, "%d outputs, %s, %s", n, kc_epilogue_name(&op.epi),
             op.sigmoid ? "gate" : "no gate");
    KcBuf acc = kc_buf((size_t)eff_ch_pad(n) * 8, 1), ref = kc_buf((size_t)pad * 2, 1),
          got = kc_buf((size_t)pad * 2, 1);
    memset(acc.data, 0, acc.bytes);
    for (int o = 0; o < n; o++)
        ((int64_t *)acc.data)[o] = (int64_t)(spread * (kc_range(t, -1000, 1000) / 700.0));
    eff_fc_epilogue_c(&op, acc.data, ref.data);
    fn(&op, acc.data, got.data);
    KcBuf *bufs[] = {&acc, &ref, &got};
    const bool ok = kc_equal_bytes(t, "output", ref.data, got.data, (size_t)pad, 2, (size_t)pad) &&
                    kc_intact(t, (const KcBuf *const *)bufs, 3) && kc_epilogue_intact(t, &epi);
    for (int b = 0; b < 3; b++)
        kc_buf_free(bufs[b]);
    kc_epilogue_free(&epi);
    return ok;
}

void kc_test_fc(KCheck *t, const EffKernels *k)
{
    bool ok = true;
    if (kc_begin(t, "fc_s16", (uintptr_t)k->fc_s16.run)) {
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = fc_case(t, &k->fc_s16, i);
        if (ok)
            kc_end(t);
    }
    ok = true;
    if (kc_begin(t, "fc_epilogue", (uintptr_t)k->fc_epilogue)) {
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = fc_epilogue_case(t, k->fc_epilogue, i);
        if (ok)
            kc_end(t);
    }
}

static bool quant_case(KCheck *t, eff_quant_fn *fn, int i)
{
    kc_case(t, i);
    const int channels = kc_range(t, 1, 200), pad = eff_ch_pad(channels), n_pixels = kc_range(t, 1, 9);
    const int n_param = eff_param_pad(channels), shift = kc_chance(t, 50) ? 0 : kc_range(t, 0, 8);
    const size_t n = (size_t)(pad * n_pixels);
    snprintf(t->what, sizeof t->what, "%d pixels, %d channels, shift %d", n_pixels, channels, shift);
    KcBuf mult = kc_buf((size_t)n_param * 2, 1), zero = kc_buf((size_t)n_param * 2, 1), src = kc_buf(2 * n, 1);
    KcBuf ref = kc_buf(n, 1), got = kc_buf(n, 1);
    memset(mult.data, 0, mult.bytes);
    memset(zero.data, 0, zero.bytes);
    for (int c = 0; c < channels; c++) {
        ((int16_t *)mult.data)[c] = (int16_t)(kc_chance(t, 5) ? 32767 : kc_range(t, 0, 1500) >> shift);
        ((int16_t *)zero.data)[c] = (int16_t)(kc_chance(t, 5) ? 255 : kc_range(t, 0, 255));
    }
    kc_fill_s16(t, src.data, n);
    const EffQuant op = {channels, shift, mult.data, zero.data};
    eff_quant_s16u8_c(&op, src.data, ref.data, (size_t)n_pixels);
    fn(&op, src.data, got.data, (size_t)n_pixels);
    kc_weigh_u8(t, ref.data, n);
    KcBuf *bufs[] = {&mult, &zero, &src, &ref, &got};
    const bool ok = eff_quant_check(&op) == EFF_OK && kc_equal_bytes(t, "u8", ref.data, got.data, n, 1, (size_t)pad) &&
                    kc_intact(t, (const KcBuf *const *)bufs, 5);
    for (int b = 0; b < 5; b++)
        kc_buf_free(bufs[b]);
    return ok;
}

static bool add_case(KCheck *t, eff_add_s16_fn *fn, int i)
{
    kc_case(t, i);
    const size_t n = (size_t)kc_range(t, 0, 200);
    snprintf(t->what, sizeof t->what, "%zu values", n);
    KcBuf a = kc_buf(2 * n, 1), b = kc_buf(2 * n, 1), ref = kc_buf(2 * n, 1), got = kc_buf(2 * n, 1);
    kc_fill_s16(t, a.data, n);
    kc_fill_s16(t, b.data, n);
    eff_add_s16_c(ref.data, a.data, b.data, n);
    const bool in_place = kc_chance(t, 50);
    fn(in_place ? a.data : got.data, a.data, b.data, n);
    KcBuf *bufs[] = {&a, &b, &ref, &got};
    const bool ok = kc_equal_bytes(t, "sum", ref.data, in_place ? a.data : got.data, n, 2, n + 1) &&
                    kc_intact(t, (const KcBuf *const *)bufs, 4);
    for (int j = 0; j < 4; j++)
        kc_buf_free(bufs[j]);
    return ok;
}

static bool pool_case(KCheck *t, const EffKernels *k, bool wide, int i)
{
    kc_case(t, i);
    const int pad = 16 * kc_range(t, 1, 9), n_pixels = kc_range(t, 1, 60);
    const size_t n = (size_t)(pad * n_pixels), width = wide ? 2 : 1;
    snprintf(t->what, sizeof t->what, "%d pixels, %d channels", n_pixels, pad);
    KcBuf src = kc_buf(width * n, 1), ref = kc_buf((size_t)pad * 4, 1), got = kc_buf((size_t)pad * 4, 1);
    memset(ref.data, 0, ref.bytes);
    memset(got.data, 0, got.bytes);
    if (wide) {
        kc_fill_s16(t, src.data, n);
        eff_pool_s16_c(ref.data, src.data, pad, (size_t)n_pixels);
        k->pool_s16(got.data, src.data, pad, (size_t)n_pixels);
    } else {
        kc_fill_u8(t, src.data, n);
        eff_pool_u8_c(ref.data, src.data, pad, (size_t)n_pixels);
        k->pool_u8(got.data, src.data, pad, (size_t)n_pixels);
    }
    KcBuf *bufs[] = {&src, &ref, &got};
    const bool ok = kc_equal_bytes(t, "sums", ref.data, got.data, (size_t)pad, 4, (size_t)pad) &&
                    kc_intact(t, (const KcBuf *const *)bufs, 3);
    for (int j = 0; j < 3; j++)
        kc_buf_free(bufs[j]);
    return ok;
}

void kc_test_elementwise(KCheck *t, const EffKernels *k)
{
    bool ok = true;
    if (kc_begin(t, "quant_s16u8", (uintptr_t)k->quant_s16u8)) {
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = quant_case(t, k->quant_s16u8, i);
        if (ok)
            kc_end(t);
    }
    ok = true;
    if (kc_begin(t, "add_s16", (uintptr_t)k->add_s16)) {
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = add_case(t, k->add_s16, i);
        if (ok)
            kc_end(t);
    }
    ok = true;
    if (kc_begin(t, "pool_s16", (uintptr_t)k->pool_s16)) {
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = pool_case(t, k, true, i);
        if (ok)
            kc_end(t);
    }
    ok = true;
    if (kc_begin(t, "pool_u8", (uintptr_t)k->pool_u8)) {
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = pool_case(t, k, false, i);
        if (ok)
            kc_end(t);
    }
}
