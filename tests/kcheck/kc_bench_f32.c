/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck --bench: the float kernels, layer by layer, in GFLOP/s (a multiply and an add are two), beside plain C. */
#include "kcheck.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { L2_FLOATS = 96 * 1024 }; /* rows are cut to what fits L2, as strips of a network are */

typedef struct Work {
    const EffKernelsF32 *k;
    EffPwF32 pw;
    EffDwF32 dw;
    const float *src;
    float *dst;
    size_t n;
    EffActivation act;
} Work;

static void run_pw(void *ctx)
{
    const Work *w = ctx;
    w->k->pw.run(&w->pw, w->src, w->dst, w->n, 0, w->k->pw.n_panels(w->pw.n_out));
}

static void run_dw(void *ctx)
{
    const Work *w = ctx;
    w->k->dw(&w->dw, w->src, w->dst, 0, w->dw.out_h);
}

static void run_act(void *ctx)
{
    const Work *w = ctx;
    w->k->act(w->act, w->dst, w->n);
}

static float *some(size_t n, float scale)
{
    float *v = eff_calloc(n, sizeof *v);
    EffRng rng;
    if (v == NULL)
        abort();
    eff_rng_init(&rng, n);
    for (size_t i = 0; i < n; i++)
        v[i] = scale * (eff_rng_unit(&rng) - 0.5f);
    return v;
}

static void report(const KCheck *t, const KcShape *s, size_t n_pixels, double flop, const double *seconds)
{
    if (t->json)
        printf("{\"net\":\"%s\",\"op\":\"%s_f32\",\"in_ch\":%d,\"out_ch\":%d,\"kernel\":%d,\"stride\":%d,\"size\":%d,"
               "\"pixels\":%zu,\"us\":%.2f,\"gflops\":%.2f,\"ratio_to_c\":%.3f}\n",
               s->net, s->op, s->in_ch, s->out_ch, s->kernel, s->stride, s->in_size, n_pixels, 1e6 * seconds[1],
               1e-9 * flop / seconds[1], seconds[0] / seconds[1]);
    else
        printf("%-6s %-8s %4d %4d %dx%d s%d %4d %6zu pixels %9.2f us %7.2f GFLOP/s  %5.2f x C\n", s->net, s->op,
               s->in_ch, s->out_ch, s->kernel, s->kernel, s->stride, s->in_size, n_pixels, 1e6 * seconds[1],
               1e-9 * flop / seconds[1], seconds[0] / seconds[1]);
}

static void bench_pw(const KCheck *t, const EffKernelsF32 *const levels[2], const KcShape *s)
{
    const size_t n_in = (size_t)(s->in_ch * s->kernel * s->kernel), n_out = (size_t)s->out_ch;
    const size_t all = (size_t)s->out_size * (size_t)s->out_size, fit = 1 + L2_FLOATS / (n_in + n_out);
    const size_t n_pixels = all < fit ? all : fit;
    float *src = some(n_pixels * n_in, 2), *wgt = some(n_in * n_out, 1), *dst = some(n_pixels * n_out, 1);
    double seconds[2];
    for (int i = 0; i < 2; i++) {
        float *packed = some(levels[i]->pw.packed_count(n_in, n_out), 1);
        levels[i]->pw.pack(packed, wgt, n_in, n_out);
        Work w = {.k = levels[i], .src = src, .dst = dst, .n = n_pixels};
        w.pw = (EffPwF32){.n_in = n_in, .n_out = n_out, .src_stride = n_in, .dst_stride = n_out, .packed = packed};
        w.pw.act = strcmp(s->act, "clamp") == 0 ? EFF_ACTIVATION_RELU6 : EFF_ACTIVATION_NONE;
        seconds[i] = kc_time(run_pw, &w);
        eff_free(packed);
    }
    report(t, s, n_pixels, 2.0 * (double)(n_pixels * n_in * n_out), seconds);
    eff_free(src);
    eff_free(wgt);
    eff_free(dst);
}

static void bench_dw(const KCheck *t, const EffKernelsF32 *const levels[2], const KcShape *s)
{
    const int fit = 1 + L2_FLOATS / (s->in_size * s->in_ch * s->stride), rows = s->out_size < fit ? s->out_size : fit;
    EffDwF32 op = {.in_h = rows * s->stride,
                   .in_w = s->in_size,
                   .out_h = rows,
                   .out_w = s->out_size,
                   .channels = s->in_ch,
                   .kernel_h = s->kernel,
                   .kernel_w = s->kernel,
                   .stride = s->stride,
                   .pad_top = s->kernel / 2,
                   .pad_left = s->kernel / 2};
    const size_t n_ch = (size_t)s->in_ch, n_pixels = (size_t)(rows * s->out_size),
                 taps = (size_t)(s->kernel * s->kernel);
    float *src = some((size_t)(op.in_h * op.in_w) * n_ch, 2), *wgt = some(taps * n_ch, 1),
          *dst = some(n_pixels * n_ch, 1);
    double seconds[2];
    op.wgt = wgt;
    op.act = strcmp(s->act, "clamp") == 0 ? EFF_ACTIVATION_RELU6 : EFF_ACTIVATION_NONE;
    for (int i = 0; i < 2; i++) {
        Work w = {.k = levels[i], .src = src, .dst = dst, .dw = op};
        seconds[i] = kc_time(run_dw, &w);
    }
    report(t, s, n_pixels, 2.0 * (double)(n_pixels * n_ch * taps), seconds);
    eff_free(src);
    eff_free(wgt);
    eff_free(dst);
}

static void bench_act(const KCheck *t, const EffKernelsF32 *const levels[2])
{
    static const char *const names[] = {[EFF_ACTIVATION_RELU] = "relu",
                                        [EFF_ACTIVATION_RELU6] = "relu6",
                                        [EFF_ACTIVATION_SILU] = "silu",
                                        [EFF_ACTIVATION_HSWISH] = "hswish",
                                        [EFF_ACTIVATION_SIGMOID] = "sigmoid"};
    for (int act = EFF_ACTIVATION_RELU; act <= EFF_ACTIVATION_SIGMOID; act++) {
        const size_t n = 2048;
        float *dst = some(n, 8);
        double seconds[2];
        for (int i = 0; i < 2; i++) {
            Work w = {.k = levels[i], .dst = dst, .n = n, .act = (EffActivation)act};
            seconds[i] = kc_time(run_act, &w) / (double)n;
        }
        if (t->json)
            printf("{\"op\":\"%s_f32\",\"ns_per_value\":%.4f,\"ratio_to_c\":%.3f}\n", names[act], 1e9 * seconds[1],
                   seconds[0] / seconds[1]);
        else
            printf("%-8s %.3f ns a value, %.2f x C\n", names[act], 1e9 * seconds[1], seconds[0] / seconds[1]);
        eff_free(dst);
    }
}

void kc_bench_f32(KCheck *t, const EffKernelsF32 *k, const char *net)
{
    EffKernels c;
    eff_kernels_init(&c, 0);
    const EffKernelsF32 *const levels[2] = {&c.f32, k};
    for (size_t i = 0; i < t->shapes.n; i++) {
        const KcShape *s = &t->shapes.items[i];
        if (strcmp(s->net, net) != 0)
            continue;
        if (strcmp(s->op, "dw") == 0)
            bench_dw(t, levels, s);
        else
            bench_pw(t, levels, s);
    }
    bench_act(t, levels);
}
