/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: depthwise convolution on row quads. */
#include "kcheck.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool dw_case(KCheck *t, const EffDwKernel *k, int i)
{
    kc_case(t, i);
    const int kernel = 3 + 2 * kc_range(t, 0, kc_chance(t, 10) ? 2 : 1), stride = kc_range(t, 1, 2);
    const int channels = kc_range(t, 1, 90), pad = eff_ch_pad(channels), taps = kernel * kernel;
    const int rows = kc_range(t, 1, 20), cols = kc_range(t, 1, 20);
    const int out_rows = (rows + stride - 1) / stride, out_cols = (cols + stride - 1) / stride;
    int8_t *wgt = malloc((size_t)(channels * taps));
    KcEpilogue epi;
    EffQuads q;
    size_t quad_bytes;
    if (wgt == NULL)
        abort();
    kc_fill_weights(t, wgt, (size_t)(channels * taps));
    kc_epilogue(t, &epi, channels, taps, 70.0 * 90.0 * kernel);
    const EffEpilogue *e = &epi.epi;
    const bool clamp = e->kind == EFF_OUT_U8_CLAMP;
    const int outputs = clamp ? 1 : kc_range(t, 1, 3);
    const bool pool = !clamp && kc_chance(t, 60);
    /* A block of channels with a buffer of its own, and rows in two parts. */
    const int n_blocks = pad / EFF_CH_ALIGN, first = kc_chance(t, 60) ? 0 : kc_range(t, 0, n_blocks - 1);
    const int ch_begin = first * EFF_CH_ALIGN;
    const int ch_end = (kc_chance(t, 60) ? n_blocks : kc_range(t, first + 1, n_blocks)) * EFF_CH_ALIGN;
    eff_quads_init(&q, rows, cols, kernel, stride, kc_range(t, 0, kernel - 1), kc_range(t, 0, kernel - 1), out_rows,
                   out_cols, ch_end - ch_begin + EFF_CH_ALIGN * kc_range(t, 0, 1));
    if (!eff_quads_bytes(&quad_bytes, &q, q.n_quads))
        abort();
    snprintf(t->what, sizeof t->what,
             "%dx%d s%d, %dx%d pixels, %d channels (%d..%d), %s, shifts %d %d, outputs %d, pool %d", kernel, kernel,
             stride, rows, cols, channels, ch_begin, ch_end, kc_epilogue_name(e), e->pre_shift, e->post_shift, outputs,
             pool);
    const size_t n_dst = (size_t)(out_rows * out_cols) * (size_t)pad,
                 skip = (size_t)(q.ch_stride - (ch_end - ch_begin)) * 4;
    KcBuf src = kc_buf(quad_bytes - skip, 1),
          ref_packed = kc_buf(eff_dw_u8s8_c.packed_bytes(channels, kernel, stride), 64);
    KcBuf got_packed = kc_buf(k->packed_bytes(channels, kernel, stride), 64);
    KcBuf ref8 = kc_buf(n_dst, 1), got8 = kc_buf(n_dst, 1), ref16 = kc_buf(2 * n_dst, 1), got16 = kc_buf(2 * n_dst, 1);
    KcBuf ref_pool = kc_buf((size_t)pad * 4, 1), got_pool = kc_buf((size_t)pad * 4, 1);
    kc_fill_u8(t, src.data, src.bytes);
    memset(ref_pool.data, 0, ref_pool.bytes);
    memset(got_pool.data, 0, got_pool.bytes);
    eff_dw_u8s8_c.pack(ref_packed.data, wgt, channels, kernel, stride);
    k->pack(got_packed.data, wgt, channels, kernel, stride);
    const EffDw ref = {channels, kernel, stride, ref_packed.data, *e},
                got = {channels, kernel, stride, got_packed.data, *e};
    if (eff_dw_check(&got, wgt, 1) != EFF_OK)
        abort();
    EffDwIo io = {
        .src = src.data,
        .quads = &q,
        .dst_u8 = outputs & 1 ? ref8.data : NULL,
        .dst_s16 = outputs & 2 ? ref16.data : NULL,
        .pool = pool ? ref_pool.data : NULL,
        .out_cols = out_cols,
        .row_end = out_rows,
        .ch_begin = ch_begin,
        .ch_end = ch_end,
        .ahead = kc_buf_ahead(&got_packed),
    };
    eff_dw_u8s8_c.run(&ref, &io);
    io.dst_u8 = outputs & 1 ? got8.data : NULL;
    io.dst_s16 = outputs & 2 ? got16.data : NULL;
    io.pool = pool ? got_pool.data : NULL;
    const int step = 4 / stride, cut = kc_chance(t, 50) ? 0 : kc_range(t, 0, (out_rows - 1) / step) * step;
    if (cut > 0) {
        EffDwIo part = io;
        part.row_end = cut;
        k->run(&got, &part);
    }
    const size_t at = (size_t)(cut * out_cols) * (size_t)pad;
    io.row_begin = cut;
    io.src += (size_t)(cut * stride / 4) * eff_quads_stride(&q);
    io.dst_u8 = io.dst_u8 ? io.dst_u8 + at : NULL;
    io.dst_s16 = io.dst_s16 ? io.dst_s16 + at : NULL;
    k->run(&got, &io);
    const size_t line = (size_t)pad;
    KcBuf *bufs[] = {&src, &ref8, &got8, &ref16, &got16, &ref_pool, &got_pool, &ref_packed, &got_packed};
    const bool ok = (!(outputs & 2) || kc_equal_bytes(t, "s16 output", ref16.data, got16.data, n_dst, 2, line)) &&
                    (!(outputs & 1) || kc_equal_bytes(t, "u8 output", ref8.data, got8.data, n_dst, 1, line)) &&
                    kc_equal_bytes(t, "pool", ref_pool.data, got_pool.data, line, 4, line) &&
                    kc_intact(t, (const KcBuf *const *)bufs, 9) && kc_epilogue_intact(t, &epi);
    if (ch_end - ch_begin == pad && (outputs & 1))
        kc_weigh_u8(t, ref8.data, n_dst);
    for (int b = 0; b < 9; b++)
        kc_buf_free(bufs[b]);
    kc_epilogue_free(&epi);
    free(wgt);
    return ok;
}

void kc_test_dw(KCheck *t, const EffKernels *k)
{
    if (!kc_begin(t, "dw_u8s8", (uintptr_t)k->dw_u8s8.run))
        return;
    for (int i = 0; i < t->n_cases; i++) {
        if (!dw_case(t, &k->dw_u8s8, i))
            return;
    }
    kc_end(t);
}
