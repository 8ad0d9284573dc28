/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: the float kernels, bit for bit against plain C. The first cases are the layers of our models, cut in height.
 */
#include "kcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PIXELS = 61, /* of a layer's picture that a case takes */
    MAX_ROWS = 3
};

static void fill(KCheck *t, KcBuf *buf, float scale)
{
    float *v = buf->data;
    const int kind = kc_range(t, 0, 9);
    for (size_t i = 0; i < buf->bytes / sizeof *v; i++) {
        const float r = scale * (eff_rng_unit(&t->rng) * 2 - 1);
        /* Halves of small integers cancel to zeros of both signs; kind 1 is full of them. */
        v[i] = kind == 0 ? (float)kc_range(t, -4, 4) * 0.5f : kind == 1 && r < 0 ? -0.0f : r;
    }
}

static KcBuf floats(size_t n)
{
    return kc_buf(n * sizeof(float), sizeof(float));
}

static EffActivation random_act(KCheck *t)
{
    return (EffActivation)kc_range(t, EFF_ACTIVATION_NONE, EFF_ACTIVATION_SIGMOID);
}

static EffActivation act_of(const KcShape *s)
{
    return strcmp(s->act, "clamp") == 0     ? EFF_ACTIVATION_RELU6
           : strcmp(s->act, "silu") == 0    ? EFF_ACTIVATION_SILU
           : strcmp(s->act, "sigmoid") == 0 ? EFF_ACTIVATION_SIGMOID
                                            : EFF_ACTIVATION_NONE;
}

/* Pixels that differ as bits; the sums are the same only when every rounding was. */
static bool same(KCheck *t, const char *what, const KcBuf *ref, const KcBuf *got, size_t line)
{
    return kc_equal_bytes(t, what, ref->data, got->data, ref->bytes / sizeof(float), sizeof(float), line);
}

/* Most values 0 or 6 would hide errors. */
static void weigh(KCheck *t, const KcBuf *buf)
{
    const float *v = buf->data;
    size_t limit = 0;
    for (size_t i = 0; i < buf->bytes / sizeof *v; i++)
        limit += v[i] == 0 || v[i] == 6;
    if (limit * sizeof *v * 10 > buf->bytes * 9)
        t->n_weak++;
}

/* The i-th layer of the models that is (not) depthwise; NULL past the last. */
static const KcShape *layer_at(const KCheck *t, int i, bool dw)
{
    for (size_t k = 0; k < t->shapes.n; k++) {
        if ((strcmp(t->shapes.items[k].op, "dw") == 0) == dw && i-- == 0)
            return &t->shapes.items[k];
    }
    return NULL;
}

static int n_layers(const KCheck *t, bool dw)
{
    int n = 0;
    while (layer_at(t, n, dw) != NULL)
        n++;
    return n;
}

static bool pw_case(KCheck *t, const EffPwF32Kernel *k, int i)
{
    kc_case(t, i);
    const KcShape *s = layer_at(t, i, false);
    size_t n_in = (size_t)kc_range(t, 1, 70), n_out = (size_t)kc_range(t, 1, kc_chance(t, 30) ? 400 : 70);
    size_t n_pixels = (size_t)kc_range(t, 1, kc_chance(t, 20) ? 1 : 40);
    EffActivation act = random_act(t);
    if (s != NULL) {
        const size_t all = (size_t)s->out_size * (size_t)s->out_size;
        n_in = (size_t)(s->in_ch * s->kernel * s->kernel);
        n_out = (size_t)s->out_ch;
        n_pixels = all < MAX_PIXELS ? all : MAX_PIXELS - (size_t)kc_range(t, 0, 11);
        act = act_of(s);
        if (n_in * n_out > 400000) /* the largest: time matters */
            n_pixels = n_pixels < 7 ? n_pixels : 7;
    }
    const size_t src_stride = n_in + (size_t)(kc_chance(t, 30) ? kc_range(t, 1, 9) : 0);
    const size_t dst_stride = n_out + (size_t)(kc_chance(t, 30) ? kc_range(t, 1, 9) : 0);
    const bool has_bias = kc_chance(t, 80);
    snprintf(t->what, sizeof t->what, "%zu pixels, %zu -> %zu channels, strides %zu %zu, activation %d, bias %d",
             n_pixels, n_in, n_out, src_stride, dst_stride, (int)act, has_bias);
    KcBuf src = floats((n_pixels - 1) * src_stride + n_in), wgt = floats(n_in * n_out), bias = floats(n_out);
    KcBuf ref_packed = floats(eff_pw_f32_4x8_c.packed_count(n_in, n_out)),
          got_packed = floats(k->packed_count(n_in, n_out));
    KcBuf ref = floats((n_pixels - 1) * dst_stride + n_out), got = floats((n_pixels - 1) * dst_stride + n_out);
    fill(t, &src, 3);
    fill(t, &wgt, 1);
    fill(t, &bias, 1);
    eff_pw_f32_4x8_c.pack(ref_packed.data, wgt.data, n_in, n_out);
    k->pack(got_packed.data, wgt.data, n_in, n_out);
    EffPwF32 op = {.n_in = n_in,
                   .n_out = n_out,
                   .src_stride = src_stride,
                   .dst_stride = dst_stride,
                   .packed = ref_packed.data,
                   .bias = has_bias ? bias.data : NULL,
                   .act = act};
    eff_pw_f32_4x8_c.run(&op, src.data, ref.data, n_pixels, 0, eff_pw_f32_4x8_c.n_panels(n_out));
    op.packed = got_packed.data;
    /* In four parts, as threads would. */
    const size_t n_panels = k->n_panels(n_out), cut = (size_t)kc_range(t, 0, (int)n_pixels);
    const size_t panel = (size_t)kc_range(t, 0, (int)n_panels);
    const float *from = src.data;
    float *to = got.data;
    k->run(&op, from, to, cut, 0, panel);
    k->run(&op, from, to, cut, panel, n_panels);
    if (cut < n_pixels) {
        k->run(&op, from + cut * src_stride, to + cut * dst_stride, n_pixels - cut, panel, n_panels);
        k->run(&op, from + cut * src_stride, to + cut * dst_stride, n_pixels - cut, 0, panel);
    }
    KcBuf *bufs[] = {&src, &wgt, &bias, &ref_packed, &got_packed, &ref, &got};
    const bool ok = same(t, "output", &ref, &got, dst_stride) && kc_intact(t, (const KcBuf *const *)bufs, 7);
    weigh(t, &ref);
    for (int b = 0; b < 7; b++)
        kc_buf_free(bufs[b]);
    return ok;
}

static bool dw_case(KCheck *t, eff_dw_f32_fn *fn, int i)
{
    kc_case(t, i);
    const KcShape *s = layer_at(t, i, true);
    EffDwF32 op = {.in_h = kc_range(t, 1, 14),
                   .in_w = kc_range(t, 1, 40),
                   .channels = kc_range(t, 1, 70),
                   .kernel_h = kc_range(t, 1, 7),
                   .stride = kc_range(t, 1, kc_chance(t, 10) ? 3 : 2),
                   .act = random_act(t)};
    op.kernel_w = kc_chance(t, 80) ? op.kernel_h : kc_range(t, 1, 7);
    if (kc_chance(t, 60))
        op.kernel_h = op.kernel_w = kc_chance(t, 50) ? 3 : 5;
    if (s != NULL) {
        op = (EffDwF32){.in_h = s->stride * MAX_ROWS < s->in_size ? s->stride * MAX_ROWS : s->in_size,
                        .in_w = s->in_size,
                        .channels = s->in_ch,
                        .kernel_h = s->kernel,
                        .kernel_w = s->kernel,
                        .stride = s->stride,
                        .act = act_of(s)};
    }
    op.pad_top = kc_range(t, 0, op.kernel_h - 1);
    op.pad_left = kc_range(t, 0, op.kernel_w - 1);
    op.out_h = (op.in_h + op.stride - 1) / op.stride;
    op.out_w = (op.in_w + op.stride - 1) / op.stride;
    const bool has_bias = kc_chance(t, 80);
    snprintf(t->what, sizeof t->what, "%dx%d s%d, %dx%d pixels, %d channels, padding %d %d, activation %d, bias %d",
             op.kernel_h, op.kernel_w, op.stride, op.in_h, op.in_w, op.channels, op.pad_top, op.pad_left, (int)op.act,
             has_bias);
    const size_t n_ch = (size_t)op.channels, n_dst = (size_t)(op.out_h * op.out_w) * n_ch;
    KcBuf src = floats((size_t)(op.in_h * op.in_w) * n_ch), wgt = floats((size_t)(op.kernel_h * op.kernel_w) * n_ch);
    KcBuf bias = floats(n_ch), ref = floats(n_dst), got = floats(n_dst);
    fill(t, &src, 3);
    fill(t, &wgt, 1);
    fill(t, &bias, 1);
    op.wgt = wgt.data;
    op.bias = has_bias ? bias.data : NULL;
    eff_dw_f32_c(&op, src.data, ref.data, 0, op.out_h);
    const int cut = kc_range(t, 0, op.out_h);
    fn(&op, src.data, got.data, cut, op.out_h);
    fn(&op, src.data, got.data, 0, cut);
    KcBuf *bufs[] = {&src, &wgt, &bias, &ref, &got};
    const bool ok = same(t, "output", &ref, &got, n_ch) && kc_intact(t, (const KcBuf *const *)bufs, 5);
    weigh(t, &ref);
    for (int b = 0; b < 5; b++)
        kc_buf_free(bufs[b]);
    return ok;
}

static bool act_case(KCheck *t, eff_act_f32_fn *fn, int i)
{
    kc_case(t, i);
    const EffActivation act = random_act(t);
    const size_t n = (size_t)kc_range(t, 1, 150);
    const float scale = (float)kc_range(t, 1, 120);
    snprintf(t->what, sizeof t->what, "activation %d of %zu values up to %g", (int)act, n, (double)scale);
    KcBuf ref = floats(n), got = floats(n);
    fill(t, &ref, scale);
    memcpy(got.data, ref.data, ref.bytes);
    eff_act_f32_c(act, ref.data, n);
    fn(act, got.data, n);
    const KcBuf *const bufs[] = {&ref, &got};
    const bool ok = same(t, "output", &ref, &got, n) && kc_intact(t, bufs, 2);
    kc_buf_free(&ref);
    kc_buf_free(&got);
    return ok;
}

/* Every float within the range where exp() does something, at a step: no value rounds differently. */
static bool act_sweep(KCheck *t, eff_act_f32_fn *fn)
{
    enum { N = 4096 };
    static float ref[N], got[N];
    for (int act = EFF_ACTIVATION_RELU; act <= EFF_ACTIVATION_SIGMOID; act++) {
        for (int block = 0; block < 256; block++) {
            for (int i = 0; i < N; i++)
                ref[i] = got[i] = ((float)(block * N + i) / (128 * N) - 1) * 93.7f;
            eff_act_f32_c((EffActivation)act, ref, N);
            fn((EffActivation)act, got, N);
            snprintf(t->what, sizeof t->what, "activation %d, block %d of the sweep", act, block);
            if (!kc_equal_bytes(t, "output", ref, got, N, sizeof *ref, N))
                return false;
        }
    }
    return true;
}

static bool values_case(KCheck *t, const EffKernelsF32 *k, int i)
{
    kc_case(t, i);
    const size_t n_ch = (size_t)kc_range(t, 1, 90), n_pixels = (size_t)kc_range(t, 1, 30), n = n_ch * n_pixels;
    const size_t begin = (size_t)kc_range(t, 0, (int)n_ch), end = (size_t)kc_range(t, (int)begin, (int)n_ch);
    snprintf(t->what, sizeof t->what, "%zu pixels, %zu channels, means of %zu..%zu", n_pixels, n_ch, begin, end);
    KcBuf a = floats(n), b = floats(n), gate = floats(n_ch), ref = floats(n), got = floats(n);
    KcBuf ref_mean = floats(n_ch), got_mean = floats(n_ch);
    fill(t, &a, 3);
    fill(t, &b, 3);
    fill(t, &gate, 1);
    eff_add_f32_c(ref.data, a.data, b.data, n);
    k->add(got.data, a.data, b.data, n);
    bool ok = same(t, "sum", &ref, &got, n_ch);
    eff_gate_f32_c(ref.data, a.data, gate.data, n_pixels, n_ch);
    k->gate(got.data, a.data, gate.data, n_pixels, n_ch);
    ok = ok && same(t, "gated", &ref, &got, n_ch);
    eff_mean_f32_c(ref_mean.data, a.data, n_pixels, n_ch, begin, end); /* the rest stays as it was */
    k->mean(got_mean.data, a.data, n_pixels, n_ch, begin, end);
    ok = ok && same(t, "mean", &ref_mean, &got_mean, n_ch);
    KcBuf *bufs[] = {&a, &b, &gate, &ref, &got, &ref_mean, &got_mean};
    ok = ok && kc_intact(t, (const KcBuf *const *)bufs, 7);
    for (int f = 0; f < 7; f++)
        kc_buf_free(bufs[f]);
    return ok;
}

void kc_test_f32(KCheck *t, const EffKernelsF32 *k)
{
    if (kc_begin(t, "pw_f32", (uintptr_t)k->pw.run)) {
        const int n = n_layers(t, false) + t->n_cases;
        bool ok = true;
        for (int i = 0; ok && i < n; i++)
            ok = pw_case(t, &k->pw, i);
        if (ok)
            kc_end(t);
    }
    if (kc_begin(t, "dw_f32", (uintptr_t)k->dw)) {
        const int n = n_layers(t, true) + t->n_cases;
        bool ok = true;
        for (int i = 0; ok && i < n; i++)
            ok = dw_case(t, k->dw, i);
        if (ok)
            kc_end(t);
    }
    if (kc_begin(t, "act_f32", (uintptr_t)k->act)) {
        bool ok = true;
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = act_case(t, k->act, i);
        if (ok && act_sweep(t, k->act))
            kc_end(t);
    }
    if (kc_begin(t, "values_f32", (uintptr_t)k->add)) {
        bool ok = true;
        for (int i = 0; ok && i < t->n_cases; i++)
            ok = values_case(t, k, i);
        if (ok)
            kc_end(t);
    }
}
