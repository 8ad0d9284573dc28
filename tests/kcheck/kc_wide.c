/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: convolutions with 16-bit inputs. Raw sums of the pointwise kernel, the depthwise one, and the join of two
 * maps.
 */
#include "kcheck.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool raw_pw_case(KCheck *t, const EffPwKernel *k, int i)
{
    kc_case(t, i);
    const bool deep = i % 32 == 1;
    const int in_ch = deep ? kc_range(t, 4000, 9000) : kc_range(t, 1, 300), out_ch = kc_range(t, 1, 100);
    const int n_pixels = kc_range(t, 1, deep ? 5 : 50), depth = (in_ch + 3) / 4 * 4;
    const size_t n_wgt = (size_t)in_ch * (size_t)out_ch, n_dst = (size_t)n_pixels * (size_t)eff_ch_pad(out_ch);
    snprintf(t->what, sizeof t->what, "%d pixels, %d to %d channels", n_pixels, in_ch, out_ch);
    int8_t *wgt = malloc(n_wgt);
    if (wgt == NULL)
        abort();
    kc_fill_weights(t, wgt, n_wgt);
    KcBuf ref_packed = kc_buf(eff_pw_u8s8_c.packed_bytes(in_ch, out_ch), 64);
    KcBuf got_packed = kc_buf(k->packed_bytes(in_ch, out_ch), 64);
    KcBuf src = kc_buf((size_t)n_pixels * (size_t)depth, 1), bias = kc_buf((size_t)eff_param_pad(out_ch) * 4, 1);
    KcBuf ref = kc_buf(n_dst * 4, 1), got = kc_buf(n_dst * 4, 1);
    kc_fill_u8(t, src.data, src.bytes);
    memset(bias.data, 0, bias.bytes);
    for (int o = 0; o < out_ch; o++)
        ((int32_t *)bias.data)[o] = kc_range(t, -1000000, 1000000);
    eff_pw_u8s8_c.pack(ref_packed.data, wgt, in_ch, out_ch);
    k->pack(got_packed.data, wgt, in_ch, out_ch);
    EffPw op = {
        .in_ch = in_ch, .out_ch = out_ch, .packed = ref_packed.data, .epi = {.kind = EFF_OUT_S32, .bias = bias.data}};
    EffPwIo io = {.src = src.data, .src_stride = (size_t)depth, .dst_s32 = ref.data, .n_pixels = (size_t)n_pixels};
    eff_pw_u8s8_c.run(&op, &io);
    op.packed = got_packed.data;
    io.dst_s32 = got.data;
    k->run(&op, &io);
    KcBuf *bufs[] = {&src, &bias, &ref, &got, &ref_packed, &got_packed};
    const bool ok = kc_equal_bytes(t, "sums", ref.data, got.data, n_dst, 4, (size_t)eff_ch_pad(out_ch)) &&
                    kc_intact(t, (const KcBuf *const *)bufs, 6);
    for (int b = 0; b < 6; b++)
        kc_buf_free(bufs[b]);
    free(wgt);
    return ok;
}

/* By the definition: tap by tap, in 64 bits. */
static int32_t dw_sum(const EffDwS16 *op, const int16_t *src, int y, int x, int c)
{
    int64_t sum = 128;
    for (int i = 0; i < op->kernel * op->kernel; i++) {
        const int ky = i / op->kernel, kx = i % op->kernel;
        const int in_y = y * op->stride - op->pad_top + ky, in_x = x * op->stride - op->pad_left + kx;
        if (in_y >= 0 && in_y < op->in_h && in_x >= 0 && in_x < op->in_w)
            sum += (int64_t)src[(in_y * op->in_w + in_x) * op->channels + c] *
                   op->wgt[(ky * (op->kernel + 1) + kx) * op->channels + c];
    }
    return (int32_t)(sum >> 8);
}

static bool dw_s16_case(KCheck *t, eff_dw_s16_fn *fn, int i)
{
    kc_case(t, i);
    const int kernel = 3 + 2 * kc_range(t, 0, 2), stride = kc_range(t, 1, 2);
    const int channels = eff_ch_pad(kc_range(t, 1, 130)), rows = kc_range(t, 1, 12), cols = kc_range(t, 1, 20);
    /* As plans have them: each window has something of the picture. */
    const int pad_top = kc_range(t, 0, kernel - 1), pad_left = kc_range(t, 0, kernel - 1);
    const int out_h = 1 + kc_range(t, 0, (rows - 1 + pad_top) / stride);
    const int out_w = 1 + kc_range(t, 0, (cols - 1 + pad_left) / stride);
    const size_t n_src = (size_t)(rows * cols * channels), n_dst = (size_t)(out_w * channels);
    const size_t n_wgt = (size_t)(kernel * (kernel + 1) * channels);
    snprintf(t->what, sizeof t->what, "%dx%d s%d, %dx%d pixels, %d channels", kernel, kernel, stride, rows, cols,
             channels);
    KcBuf src = kc_buf(2 * n_src, 1), wgt = kc_buf(2 * n_wgt, 1), got = kc_buf(4 * n_dst, 1);
    KcBuf ref = kc_buf(4 * n_dst, 1);
    int8_t *small = malloc(n_wgt);
    if (small == NULL)
        abort();
    kc_fill_s16(t, src.data, n_src);
    kc_fill_weights(t, small, n_wgt);
    const bool most = kc_chance(t, 10); /* the largest sums that there are */
    for (size_t k = 0; k < n_wgt; k++) {
        const bool is_beside = k / (size_t)channels % (size_t)(kernel + 1) == (size_t)kernel;
        ((int16_t *)wgt.data)[k] = (int16_t)(is_beside ? 0 : most ? (k % 2 ? 127 : -127) : small[k]);
    }
    for (size_t k = 0; most && k < n_src; k++)
        ((int16_t *)src.data)[k] = -32768;
    const EffDwS16 op = {.in_h = rows,
                         .in_w = cols,
                         .out_w = out_w,
                         .channels = channels,
                         .kernel = kernel,
                         .stride = stride,
                         .pad_top = pad_top,
                         .pad_left = pad_left,
                         .wgt = wgt.data};
    bool ok = true;
    for (int y = 0; y < out_h && ok; y++) {
        for (size_t k = 0; k < n_dst; k++)
            ((int32_t *)ref.data)[k] =
                dw_sum(&op, src.data, y, (int)(k / (size_t)channels), (int)(k % (size_t)channels));
        fn(&op, src.data, got.data, y);
        ok = kc_equal_bytes(t, "a row", ref.data, got.data, n_dst, 4, (size_t)channels);
    }
    KcBuf *bufs[] = {&src, &wgt, &ref, &got};
    ok = ok && kc_intact(t, (const KcBuf *const *)bufs, 4);
    for (int b = 0; b < 4; b++)
        kc_buf_free(bufs[b]);
    free(small);
    return ok;
}

/* Sums of k inputs of 0..255, at times the largest there are. */
static void fill_sums(KCheck *t, int32_t *sums, size_t n, int k, double spread)
{
    const int32_t most = 255 * 127 * k;
    const double usual = fmin(spread, most); /* few inputs cannot come to what many usually do */
    for (size_t i = 0; i < n; i++)
        sums[i] = kc_chance(t, 3) ? (kc_chance(t, 50) ? most : -most)
                                  : (int32_t)(usual * (kc_range(t, -1000, 1000) / 1000.0));
}

static bool join_case(KCheck *t, eff_join_fn *fn, int i)
{
    kc_case(t, i);
    const int k = kc_range(t, 1, 2000), channels = kc_range(t, 1, 100), n_pixels = kc_range(t, 1, 20);
    const size_t n = (size_t)n_pixels * (size_t)eff_ch_pad(channels);
    const double spread = 70.0 * 90.0 * sqrt(k);
    KcEpilogue epi;
    kc_epilogue(t, &epi, channels, k + k / 256 + 1, spread);
    const EffEpilogue *e = &epi.epi;
    const int outputs = e->kind == EFF_OUT_U8_CLAMP ? 1 : kc_range(t, 1, 3); /* bits: u8, s16 */
    const bool residual = e->kind == EFF_OUT_S16 && kc_chance(t, 60);
    snprintf(t->what, sizeof t->what, "%d pixels, %d channels, %s, shifts %d %d, outputs %d, residual %d", n_pixels,
             channels, kc_epilogue_name(e), e->pre_shift, e->post_shift, outputs, residual);
    KcBuf hi = kc_buf(4 * n, 1), lo = kc_buf(4 * n, 1), res = kc_buf(2 * n, 1);
    KcBuf ref8 = kc_buf(n, 1), got8 = kc_buf(n, 1), ref16 = kc_buf(2 * n, 1), got16 = kc_buf(2 * n, 1);
    fill_sums(t, hi.data, n, k, spread);
    fill_sums(t, lo.data, n, k, spread * 256);
    kc_fill_s16(t, res.data, n);
    EffJoinIo io = {.hi = hi.data,
                    .lo = lo.data,
                    .dst_u8 = outputs & 1 ? ref8.data : NULL,
                    .dst_s16 = outputs & 2 ? ref16.data : NULL,
                    .residual = residual ? res.data : NULL,
                    .n_pixels = (size_t)n_pixels};
    eff_join_c(e, channels, &io);
    io.dst_u8 = outputs & 1 ? got8.data : NULL;
    io.dst_s16 = outputs & 2 ? got16.data : NULL;
    fn(e, channels, &io);
    const size_t line = (size_t)eff_ch_pad(channels);
    KcBuf *bufs[] = {&hi, &lo, &res, &ref8, &got8, &ref16, &got16};
    const bool ok = (!(outputs & 2) || kc_equal_bytes(t, "s16 output", ref16.data, got16.data, n, 2, line)) &&
                    (!(outputs & 1) || kc_equal_bytes(t, "u8 output", ref8.data, got8.data, n, 1, line)) &&
                    kc_intact(t, (const KcBuf *const *)bufs, 7) && kc_epilogue_intact(t, &epi);
    if (outputs & 1)
        kc_weigh_u8(t, ref8.data, n);
    for (int b = 0; b < 7; b++)
        kc_buf_free(bufs[b]);
    kc_epilogue_free(&epi);
    return ok;
}

/* Raw sums are another form of kernels that have been checked: one off, so that they count as new. */
void kc_test_wide(KCheck *t, const EffKernels *k)
{
    bool ok = true;
    if (kc_begin(t, "pw_raw", (uintptr_t)k->pw_u8s8.run + 2)) { /* + 1: the stem */
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = raw_pw_case(t, &k->pw_u8s8, i);
        if (ok)
            kc_end(t);
    }
    ok = true;
    if (kc_begin(t, "dw_s16", (uintptr_t)k->dw_s16)) {
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = dw_s16_case(t, k->dw_s16, i);
        if (ok)
            kc_end(t);
    }
    ok = true;
    if (kc_begin(t, "join", (uintptr_t)k->pw_u8s8.join)) {
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = join_case(t, k->pw_u8s8.join, i);
        if (ok)
            kc_end(t);
    }
}
