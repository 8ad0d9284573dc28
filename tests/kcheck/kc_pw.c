/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: pointwise convolution, NHWC and row quads. */
#include "kcheck.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct PwCase {
    int in_ch, out_ch;
    int8_t *wgt;
    KcEpilogue epi;
    EffPw ref, got;
    KcBuf ref_packed, got_packed;
} PwCase;

static void make_case(KCheck *t, PwCase *c, const EffPwKernel *k, int in_ch, int out_ch)
{
    const size_t n = (size_t)in_ch * (size_t)out_ch;
    *c = (PwCase){.in_ch = in_ch, .out_ch = out_ch, .wgt = malloc(n)};
    if (c->wgt == NULL)
        abort();
    kc_fill_weights(t, c->wgt, n);
    kc_epilogue(t, &c->epi, out_ch, in_ch, 70.0 * 90.0 * sqrt(in_ch));
    c->ref_packed = kc_buf(eff_pw_u8s8_c.packed_bytes(in_ch, out_ch), 64);
    c->got_packed = kc_buf(k->packed_bytes(in_ch, out_ch), 64);
    eff_pw_u8s8_c.pack(c->ref_packed.data, c->wgt, in_ch, out_ch);
    k->pack(c->got_packed.data, c->wgt, in_ch, out_ch);
    c->ref = (EffPw){in_ch, out_ch, c->ref_packed.data, c->epi.epi};
    c->got = (EffPw){in_ch, out_ch, c->got_packed.data, c->epi.epi};
    if (eff_pw_check(&c->got, c->wgt, 1) != EFF_OK) {
        fprintf(stderr, "kcheck: %s\n", eff_last_message());
        abort();
    }
}

static void free_case(PwCase *c)
{
    free(c->wgt);
    kc_epilogue_free(&c->epi);
    kc_buf_free(&c->ref_packed);
    kc_buf_free(&c->got_packed);
}

/* Layer shapes first, then random ones with every tail, and some that are deeper than kernels keep on the stack. */
static void next_channels(KCheck *t, int i, int *in_ch, int *out_ch)
{
    const KcShape *s = &t->shapes.items[eff_rng_below(&t->rng, t->shapes.n)];
    *in_ch = kc_range(t, 1, kc_chance(t, 20) ? 300 : 40);
    *out_ch = kc_range(t, 1, 100);
    if (i % 4 == 0 && (strcmp(s->op, "expand") == 0 || strcmp(s->op, "project") == 0 || strcmp(s->op, "head") == 0)) {
        *in_ch = s->in_ch;
        *out_ch = s->out_ch > 700 ? s->out_ch % 256 + 64 : s->out_ch; /* wide outputs repeat the same blocks */
    }
    if (i % 32 == 1) {
        *in_ch = kc_range(t, 4000, 9000);
        *out_ch = kc_range(t, 1, 40);
    }
}

static bool nhwc_case(KCheck *t, const EffPwKernel *k, int i)
{
    PwCase c;
    int in_ch, out_ch;
    kc_case(t, i);
    next_channels(t, i, &in_ch, &out_ch);
    const int n_pixels = in_ch > 400 ? kc_range(t, 1, 13) : kc_range(t, 1, 40);
    const size_t stride = (size_t)(in_ch + 3) / 4 * 4 + 4 * (size_t)kc_range(t, 0, 2);
    const size_t n_dst = (size_t)n_pixels * (size_t)eff_ch_pad(out_ch);
    make_case(t, &c, k, in_ch, out_ch);
    const EffEpilogue *e = &c.epi.epi;
    const bool clamp = e->kind == EFF_OUT_U8_CLAMP;
    const int outputs = clamp ? 1 : kc_range(t, 1, 3); /* bits: u8, s16 */
    const bool residual = e->kind == EFF_OUT_S16 && kc_chance(t, 60);
    const bool in_place = residual && outputs & 2 && kc_chance(t, 50), other_bias = kc_chance(t, 20);
    snprintf(t->what, sizeof t->what,
             "%d pixels, %d to %d channels, stride %zu, %s, shifts %d %d, outputs %d, residual %d%s", n_pixels, in_ch,
             out_ch, stride, kc_epilogue_name(e), e->pre_shift, e->post_shift, outputs, residual,
             in_place ? " in place" : "");
    /* The last pixel ends after in_ch rounded up to 4, not after a whole stride. */
    KcBuf src = kc_buf((size_t)(n_pixels - 1) * stride + (size_t)(in_ch + 3) / 4 * 4, 1);
    KcBuf res = kc_buf(n_dst * 2, 1), ref8 = kc_buf(n_dst, 1), got8 = kc_buf(n_dst, 1);
    KcBuf ref16 = kc_buf(n_dst * 2, 1), got16 = kc_buf(n_dst * 2, 1), bias = kc_buf(c.epi.bias.bytes, 1);
    kc_fill_u8(t, src.data, src.bytes);
    kc_fill_s16(t, res.data, n_dst);
    memset(bias.data, 0, bias.bytes);
    for (int o = 0; o < out_ch; o++)
        ((int32_t *)bias.data)[o] = kc_range(t, -1000000, 1000000);
    if (in_place) {
        memcpy(ref16.data, res.data, n_dst * 2);
        memcpy(got16.data, res.data, n_dst * 2);
    }
    EffPwIo io = {
        .src = src.data,
        .src_stride = stride,
        .dst_u8 = outputs & 1 ? ref8.data : NULL,
        .dst_s16 = outputs & 2 ? ref16.data : NULL,
        .residual = !residual  ? NULL
                    : in_place ? ref16.data
                               : res.data,
        .bias = other_bias ? bias.data : NULL,
        .n_pixels = (size_t)n_pixels,
        .ahead = kc_buf_ahead(&c.got_packed),
    };
    eff_pw_u8s8_c.run(&c.ref, &io);
    io.dst_u8 = outputs & 1 ? got8.data : NULL;
    io.dst_s16 = outputs & 2 ? got16.data : NULL;
    io.residual = !residual ? NULL : in_place ? got16.data : res.data;
    /* In two parts: the result must not depend on the split. */
    const int cut = kc_chance(t, 50) ? n_pixels : kc_range(t, 0, n_pixels);
    const size_t at = (size_t)cut * (size_t)eff_ch_pad(out_ch);
    EffPwIo part = io;
    part.n_pixels = (size_t)cut;
    k->run(&c.got, &part);
    if (cut < n_pixels) {
        part.n_pixels = (size_t)(n_pixels - cut);
        part.src += (size_t)cut * stride;
        part.dst_u8 = part.dst_u8 ? part.dst_u8 + at : NULL;
        part.dst_s16 = part.dst_s16 ? part.dst_s16 + at : NULL;
        part.residual = part.residual ? part.residual + at : NULL;
        k->run(&c.got, &part);
    }
    const size_t line = (size_t)eff_ch_pad(out_ch);
    const KcBuf *const bufs[] = {&src, &res, &ref8, &got8, &ref16, &got16, &bias, &c.got_packed};
    const bool ok = (!(outputs & 2) || kc_equal_bytes(t, "s16 output", ref16.data, got16.data, n_dst, 2, line)) &&
                    (!(outputs & 1) || kc_equal_bytes(t, "u8 output", ref8.data, got8.data, n_dst, 1, line)) &&
                    kc_intact(t, bufs, 8) && kc_epilogue_intact(t, &c.epi);
    if (outputs & 1)
        kc_weigh_u8(t, ref8.data, n_dst);
    else
        kc_weigh_s16(t, ref16.data, n_dst);
    KcBuf *all[] = {&src, &res, &ref8, &got8, &ref16, &got16, &bias};
    for (int b = 0; b < 7; b++)
        kc_buf_free(all[b]);
    free_case(&c);
    return ok;
}

static bool quads_case(KCheck *t, const EffPwKernel *k, int i)
{
    PwCase c;
    int in_ch, out_ch;
    kc_case(t, i);
    next_channels(t, i, &in_ch, &out_ch);
    in_ch = in_ch > 400 && in_ch < 4000 ? in_ch % 400 + 1 : in_ch;
    make_case(t, &c, k, in_ch, out_ch);
    const int kernel = 3 + 2 * kc_range(t, 0, 1), stride = kc_range(t, 1, 2);
    const int rows = kc_range(t, 1, 17), cols = kc_range(t, 1, in_ch < 4000 ? 17 : 3);
    const int pad_top = kc_range(t, 0, kernel - 1), pad_left = kc_range(t, 0, kernel - 1);
    const int out_rows = (rows + stride - 1) / stride, out_cols = (cols + stride - 1) / stride;
    const int ch_pad = eff_ch_pad(out_ch), n_blocks = (ch_pad + EFF_PARAM_ALIGN - 1) / EFF_PARAM_ALIGN;
    const int first = kc_chance(t, 70) ? 0 : kc_range(t, 0, n_blocks - 1);
    const int ch_begin = first * EFF_PARAM_ALIGN;
    const int last = kc_chance(t, 70) ? n_blocks : kc_range(t, first + 1, n_blocks);
    const int ch_end = last == n_blocks ? ch_pad : last * EFF_PARAM_ALIGN, n_ch = ch_end - ch_begin;
    const size_t src_stride = (size_t)(in_ch + 3) / 4 * 4, src_row = src_stride * (size_t)cols + 8;
    EffQuads q;
    eff_quads_init(&q, rows, cols, kernel, stride, pad_top, pad_left, out_rows, out_cols,
                   n_ch + EFF_CH_ALIGN * kc_range(t, 0, 1));
    const int quad_begin = kc_chance(t, 50) ? 0 : kc_range(t, 0, q.n_quads - 1);
    const int quad_end = kc_range(t, quad_begin + 1, q.n_quads);
    snprintf(t->what, sizeof t->what, "quads %d..%d of %dx%d, pad %d %d, %d to %d channels (%d..%d), %s", quad_begin,
             quad_end, rows, cols, pad_top, pad_left, in_ch, out_ch, ch_begin, ch_end, kc_epilogue_name(&c.epi.epi));
    size_t bytes;
    if (!eff_quads_bytes(&bytes, &q, quad_end - quad_begin))
        abort();
    const int top = 4 * quad_begin - pad_top, row0 = top > 0 ? top : 0;
    const int n_rows = rows - row0 > 0 ? rows - row0 : 0;
    KcBuf src = kc_buf(n_rows ? (size_t)(n_rows - 1) * src_row + (size_t)cols * src_stride : 1, 1);
    KcBuf ref = kc_buf(bytes, 1), got = kc_buf(bytes, 1);
    kc_fill_u8(t, src.data, src.bytes);
    memset(ref.data, 77, bytes); /* what is not to be written stays */
    memset(got.data, 77, bytes);
    const int32_t *row_bias[32];
    for (int r = 0; r < n_rows; r++)
        row_bias[r] = r % 2 ? (const int32_t *)c.epi.bias.data : (const int32_t *)c.epi.shift.data;
    EffPwQuadIo io = {
        .src = src.data,
        .src_stride = src_stride,
        .src_row_stride = src_row,
        .dst = ref.data,
        .quads = &q,
        .quad_begin = quad_begin,
        .quad_end = quad_end,
        .col_begin = kc_chance(t, 70) ? 0 : kc_range(t, 0, cols - 1),
        .col_end = cols,
        .ch_begin = ch_begin,
        .ch_end = ch_end,
        .row_bias = kc_chance(t, 30) ? row_bias : NULL,
        .ahead = kc_buf_ahead(&c.got_packed),
    };
    eff_pw_u8s8_c.run_quads(&c.ref, &io);
    io.dst = got.data;
    k->run_quads(&c.got, &io);
    const KcBuf *const bufs[] = {&src, &ref, &got, &c.got_packed};
    const bool ok = kc_equal_bytes(t, "row quads", ref.data, got.data, bytes, 1, (size_t)q.ch_stride * 4) &&
                    kc_intact(t, bufs, 4) && kc_epilogue_intact(t, &c.epi);
    kc_weigh_u8(t, ref.data, bytes);
    kc_buf_free(&src);
    kc_buf_free(&ref);
    kc_buf_free(&got);
    free_case(&c);
    return ok;
}

void kc_test_pw(KCheck *t, const EffKernels *k)
{
    const EffPwKernel *pw = &k->pw_u8s8;
    if (kc_begin(t, "pw_u8s8", (uintptr_t)pw->run)) {
        for (int i = 0; i < t->n_cases; i++) {
            if (!nhwc_case(t, pw, i))
                return;
        }
        kc_end(t);
    }
    if (kc_begin(t, "pw_quads", (uintptr_t)pw->run_quads)) {
        for (int i = 0; i < t->n_cases; i++) {
            if (!quads_case(t, pw, i))
                return;
        }
        kc_end(t);
    }
}
