/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: the stem against a direct convolution that skips the taps outside the image. */
#include "kcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_K = 5, MAX_CASES = MAX_K * MAX_K };

typedef struct StemCase {
    EffStem op;
    const int8_t *wgt;
    const uint8_t *image;
} StemCase;

/* The accumulator of output (y, x, o), by the definition. */
static int32_t direct(const StemCase *c, int y, int x, int o)
{
    const EffStem *s = &c->op;
    const int k = s->kernel;
    const EffTaps ty = eff_stem_taps(y, k, s->stride, s->pad_top, s->rows);
    const EffTaps tx = eff_stem_taps(x, k, s->stride, s->pad_left, s->cols);
    int32_t acc = s->bias[eff_stem_case(ty, k) * k * k + eff_stem_case(tx, k)][o];
    for (int ky = 0; o < s->pw.out_ch && ky < k; ky++) {
        for (int kx = 0; kx < k; kx++) {
            const int row = y * s->stride - s->pad_top + ky, col = x * s->stride - s->pad_left + kx;
            for (int c3 = 0; row >= 0 && row < s->rows && col >= 0 && col < s->cols && c3 < 3; c3++)
                acc += c->image[(row * s->cols + col) * 3 + c3] * c->wgt[((o * k + ky) * k + kx) * 3 + c3];
        }
    }
    return acc;
}

static uint8_t to_u8(const EffEpilogue *e, int o, int32_t acc)
{
    return e->kind == EFF_OUT_U8_CLAMP
               ? eff_epilogue_u8_clamp(e, o, acc)
               : eff_quant_u8(eff_epilogue_s16(e, o, acc), e->post_shift, e->omult[o], e->zero[o]);
}

static bool compare(KCheck *t, const StemCase *c, const uint8_t *nhwc, const uint8_t *quads, const EffQuads *q)
{
    const EffStem *s = &c->op;
    const int pad = eff_ch_pad(s->pw.out_ch);
    for (int y = 0; y < s->out_rows; y++) {
        for (int x = 0; x < s->out_cols; x++) {
            for (int o = 0; o < pad; o++) {
                const uint8_t want = to_u8(&s->pw.epi, o, direct(c, y, x, o));
                const uint8_t flat = nhwc[(y * s->out_cols + x) * pad + o];
                const int row = y + q->pad_top;
                const uint8_t quad = quads[(size_t)(row / 4) * eff_quads_stride(q) +
                                           (size_t)((x + q->pad_left) * pad + o) * 4 + (size_t)(row % 4)];
                if (flat != want || quad != want) {
                    printf("stem output %d %d %d\n", y, x, o);
                    return kc_equal_bytes(t, "NHWC", &want, &flat, 1, 1, 1) &&
                           kc_equal_bytes(t, "row quads", &want, &quad, 1, 1, 1);
                }
            }
        }
    }
    return true;
}

static bool stem_case(KCheck *t, const EffKernels *k, int i)
{
    kc_case(t, i);
    const int kernel = kc_chance(t, 70) ? 3 : MAX_K, stride = kc_range(t, 1, 2), in_ch = 3 * kernel * kernel;
    const int rows = kc_range(t, 3, 25), cols = kc_range(t, 3, 25), out_ch = kc_range(t, 1, 50);
    StemCase c = {.op = {.kernel = kernel, .stride = stride, .rows = rows, .cols = cols}};
    c.op.out_rows = (rows + stride - 1) / stride;
    c.op.out_cols = (cols + stride - 1) / stride;
    const int need_rows = (c.op.out_rows - 1) * stride + kernel - rows,
              need_cols = (c.op.out_cols - 1) * stride + kernel - cols;
    c.op.pad_top = kc_chance(t, 50) ? kernel / 2 : need_rows > 0 ? need_rows / 2 : 0;
    c.op.pad_left = kc_chance(t, 50) ? kernel / 2 : need_cols > 0 ? need_cols / 2 : 0;
    KcEpilogue epi;
    kc_epilogue(t, &epi, out_ch, in_ch, 40000);
    const size_t n_param = (size_t)eff_param_pad(out_ch), n_image = (size_t)(rows * cols * 3);
    KcBuf bias = kc_buf(n_param * 4 * MAX_CASES, 1), wgt = kc_buf((size_t)(in_ch * out_ch), 1);
    KcBuf image = kc_buf(n_image + EFF_OVERREAD, 1), packed = kc_buf(k->pw_u8s8.packed_bytes(in_ch, out_ch), 64);
    const int32_t *biases[MAX_CASES * MAX_CASES];
    memset(bias.data, 0, bias.bytes);
    for (int b = 0; b < kernel * kernel * kernel * kernel; b++)
        biases[b] = (const int32_t *)bias.data + (size_t)(b % MAX_CASES) * n_param;
    for (int b = 0; b < MAX_CASES; b++) {
        for (int o = 0; o < out_ch; o++)
            ((int32_t *)bias.data)[(size_t)b * n_param + (size_t)o] = kc_range(t, -30000, 30000);
    }
    kc_fill_weights(t, wgt.data, wgt.bytes);
    kc_fill_u8(t, image.data, image.bytes);
    k->pw_u8s8.pack(packed.data, wgt.data, in_ch, out_ch);
    c.op.bias = biases;
    c.op.pw = (EffPw){in_ch, out_ch, packed.data, epi.epi};
    c.wgt = wgt.data;
    c.image = image.data;
    EffQuads q;
    size_t quad_bytes;
    eff_quads_init(&q, c.op.out_rows, c.op.out_cols, 3, 1, 1, 1, c.op.out_rows, c.op.out_cols, eff_ch_pad(out_ch));
    if (eff_stem_check(&c.op) != EFF_OK || !eff_quads_bytes(&quad_bytes, &q, q.n_quads)) {
        fprintf(stderr, "kcheck: %s\n", eff_last_message());
        abort();
    }
    snprintf(t->what, sizeof t->what, "%dx%d s%d, %dx%d pixels, pad %d %d, %d channels, %s", kernel, kernel, stride,
             rows, cols, c.op.pad_top, c.op.pad_left, out_ch, kc_epilogue_name(&epi.epi));
    KcBuf dst = kc_buf((size_t)(c.op.out_rows * c.op.out_cols) * (size_t)eff_ch_pad(out_ch), 1);
    KcBuf quads = kc_buf(quad_bytes, 1), work = kc_buf(eff_stem_workspace_bytes(&c.op), 64);
    const EffPwIo out = {.dst_u8 = dst.data};
    eff_stem_run(k, &c.op, image.data, &out, 0, c.op.out_rows, work.data);
    eff_stem_run_quads(k, &c.op, image.data, quads.data, &q, 0, q.n_quads, work.data);
    KcBuf *bufs[] = {&bias, &wgt, &image, &packed, &dst, &quads, &work};
    const bool ok = compare(t, &c, dst.data, quads.data, &q) && kc_intact(t, (const KcBuf *const *)bufs, 7);
    kc_weigh_u8(t, dst.data, dst.bytes);
    for (int b = 0; b < 7; b++)
        kc_buf_free(bufs[b]);
    kc_epilogue_free(&epi);
    return ok;
}

void kc_test_stem(KCheck *t, const EffKernels *k)
{
    if (t->only != NULL && strcmp(t->only, "stem") != 0)
        return;
    /* The stem is the pointwise kernel's caller: it is checked again wherever that differs. */
    if (!kc_begin(t, "stem", (uintptr_t)k->pw_u8s8.run + 1))
        return;
    for (int i = 0; i < t->n_cases / 4 + 1; i++) {
        if (!stem_case(t, k, i))
            return;
    }
    kc_end(t);
}
