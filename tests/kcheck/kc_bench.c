/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kcheck --bench: multiply-accumulates a cycle, layer by layer, beside the level's peak. A layer, the clock and the
 * peak take turns, so that what disturbs one disturbs all. Layers are cut to rows that fit L2, as the runtime cuts
 * them.
 */
#include "kcheck.h"
#include "base/compiler.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/threads.h"
#include "effnet/runtime.h"
#include "kernels/act_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    L2_BYTES = 384 * 1024,
    ROUNDS = 24 /* short ones, of which the fastest counts: other programs share the machine */
};

static const double least_slice = 2e-4; /* seconds */

static double slice(void (*fn)(void *ctx), void *ctx, long n)
{
    const double start = eff_now();
    for (long i = 0; i < n; i++)
        fn(ctx);
    return eff_now() - start;
}

static long calls_a_slice(void (*fn)(void *ctx), void *ctx)
{
    long n = 1;
    fn(ctx);
    while (slice(fn, ctx, n) < least_slice)
        n *= 2;
    return n;
}

double kc_time(void (*fn)(void *ctx), void *ctx)
{
    const long n = calls_a_slice(fn, ctx);
    double best = 1e9;
    for (int r = 0; r < ROUNDS; r++) {
        const double t = slice(fn, ctx, n);
        best = t < best ? t : best;
    }
    return best / (double)n;
}

/* A layer and, in turns with it and for as long, what the core does at most. */
typedef struct Timed {
    double seconds, hz, peak; /* peak: multiply-accumulates a second, 0 for plain C */
} Timed;

enum { PEAK_OPS = 24000 };

static void run_peak(void *ctx)
{
    eff_peak_fn *const *peak = ctx;
    (*peak)(PEAK_OPS);
}

static Timed time_beside_peak(const char *cpu, const EffKernels *k, void (*fn)(void *ctx), void *ctx)
{
    eff_peak_fn *peak = k->peak;
    const long n = calls_a_slice(fn, ctx), n_peak = peak ? calls_a_slice(run_peak, &peak) : 0;
    Timed best = {.seconds = 1e9};
    for (int r = 0; r < ROUNDS; r++) {
        EffPeak p;
        const double t = slice(fn, ctx, n) / (double)n;
        const double rate = n_peak > 0 ? (double)n_peak * PEAK_OPS * 64 / slice(run_peak, &peak, n_peak) : 0;
        if (eff_cpu_peak(&p, cpu) != EFF_OK)
            abort();
        best.seconds = t < best.seconds ? t : best.seconds;
        best.peak = rate > best.peak ? rate : best.peak;
        best.hz = p.hz > best.hz ? p.hz : best.hz;
    }
    return best;
}

/* ---- layers -------------------------------------------------------------------------------------------------------
 */

typedef struct Params {
    int32_t *bias, *shift;
    int16_t *mult, *top, *zero;
    uint8_t stair[EFF_STAIR_SIZE];
    int16_t knot[EFF_KNOTS], slope[EFF_KNOTS];
} Params;

static void *need(size_t n, size_t size)
{
    void *p = eff_calloc(n, size);
    if (p == NULL)
        abort();
    return p;
}

static void make_params(Params *p, int n)
{
    const size_t pad = (size_t)eff_param_pad(n);
    p->bias = need(pad, 4);
    p->shift = need(pad, 4);
    p->mult = need(pad, 2);
    p->top = need(pad, 2);
    p->zero = need(pad, 2);
    for (int c = 0; c < n; c++) {
        p->shift[c] = 4;
        p->mult[c] = 20000;
        p->top[c] = 255;
        p->zero[c] = 20;
    }
}

static void free_params(Params *p)
{
    eff_free(p->bias);
    eff_free(p->shift);
    eff_free(p->mult);
    eff_free(p->top);
    eff_free(p->zero);
}

static EffEpilogue epilogue(Params *p, const char *act)
{
    EffEpilogue e = {.kind = EFF_OUT_S16,
                     .bias = p->bias,
                     .shift = p->shift,
                     .mult = p->mult,
                     .top = p->top,
                     .zero = p->zero,
                     .omult = p->mult};
    if (strcmp(act, "clamp") == 0)
        e.kind = EFF_OUT_U8_CLAMP;
    if (strcmp(act, "stair") == 0) {
        e.kind = EFF_OUT_ACT;
        eff_act_build_stair(&e.act, p->stair, EFF_FN_SILU, 9, 8000);
    }
    if (strcmp(act, "interp") == 0) {
        e.kind = EFF_OUT_ACT;
        eff_act_build_interp(&e.act, p->knot, p->slope, EFF_FN_SILU, 10, 8000);
    }
    return e;
}

static void fill(void *v, size_t n)
{
    EffRng rng;
    eff_rng_init(&rng, 7);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)v)[i] = (uint8_t)(1 + eff_rng_below(&rng, 254));
}

typedef struct PwBench {
    const EffPwKernel *k;
    EffPw op;
    EffPwIo io;
    EffPwQuadIo quad_io;
    EffQuads quads;
} PwBench;

static void run_nhwc(void *ctx)
{
    const PwBench *b = ctx;
    b->k->run(&b->op, &b->io);
}

static void run_quads(void *ctx)
{
    const PwBench *b = ctx;
    b->k->run_quads(&b->op, &b->quad_io);
}

typedef struct DwBench {
    const EffDwKernel *k;
    EffDw op;
    EffDwIo io;
    EffQuads quads;
} DwBench;

static void run_dw(void *ctx)
{
    const DwBench *b = ctx;
    b->k->run(&b->op, &b->io);
}

/* `padded` counts the products with the zeros that fill up channels. */
static void report(const KCheck *t, const KcShape *s, const char *form, int rows, double mac, double padded, Timed x)
{
    const double rate = mac / (x.seconds * x.hz), peak = x.peak * x.seconds;
    const double of_peak = peak > 0 ? mac / peak : 0, of_peak_padded = peak > 0 ? padded / peak : 0;
    if (t->json)
        printf("{\"net\":\"%s\",\"op\":\"%s\",\"form\":\"%s\",\"in_ch\":%d,\"out_ch\":%d,\"kernel\":%d,\"stride\":%d,"
               "\"size\":%d,\"rows\":%d,\"us\":%.2f,\"ghz\":%.3f,\"mac_per_cycle\":%.2f,\"of_peak\":%.4f,"
               "\"of_peak_padded\":%.4f}\n",
               s->net, s->op, form, s->in_ch, s->out_ch, s->kernel, s->stride, s->in_size, rows, x.seconds * 1e6,
               x.hz * 1e-9, rate, of_peak, of_peak_padded);
    else
        printf("%-6s %-8s %-14s %4d %4d %dx%d s%d %4d %4d rows %9.2f us %5.2f GHz %6.1f MAC/cycle %6.1f %% of peak, "
               "%5.1f padded\n",
               s->net, s->op, form, s->in_ch, s->out_ch, s->kernel, s->kernel, s->stride, s->in_size, rows,
               x.seconds * 1e6, x.hz * 1e-9, rate, 100 * of_peak, 100 * of_peak_padded);
}

/* Rows that fit L2 at `bytes` a row; whole quads, at least 8. */
static int rows_in_cache(int rows, size_t bytes)
{
    const size_t fit = L2_BYTES / bytes / 4 * 4;
    const int n = fit < 8 ? 8 : fit > 4096 ? 4096 : (int)fit;
    return n < rows ? n : rows;
}

static void bench_pw(const KCheck *t, const EffKernels *k, const KcShape *s, const char *act, bool quads)
{
    PwBench b = {.k = &k->pw_u8s8};
    Params p;
    const size_t src_px = (size_t)(s->in_ch + 15) / 16 * 16, dst_px = (size_t)eff_ch_pad(s->out_ch);
    const bool s16 = strcmp(act, "s16") == 0;
    const int rows = rows_in_cache(s->in_size, (size_t)s->in_size * (src_px + dst_px * (s16 ? 5 : 1)));
    const size_t n_px = (size_t)rows * (size_t)s->in_size, n_wgt = (size_t)s->in_ch * (size_t)s->out_ch;
    int8_t *wgt = need(n_wgt, 1);
    void *packed = need(b.k->packed_bytes(s->in_ch, s->out_ch), 1);
    uint8_t *src = need(n_px * src_px + 64, 1);
    make_params(&p, s->out_ch);
    fill(wgt, n_wgt);
    fill(src, n_px * src_px);
    b.k->pack(packed, wgt, s->in_ch, s->out_ch);
    eff_quads_init(&b.quads, rows, s->in_size, 3, 1, 1, 1, rows, s->in_size, (int)dst_px);
    uint8_t *dst = need(eff_quads_stride(&b.quads), (size_t)b.quads.n_quads + 1);
    int16_t *dst16 = need(n_px * dst_px, 2), *residual = need(n_px * dst_px, 2);
    b.op = (EffPw){s->in_ch, s->out_ch, packed, epilogue(&p, act)};
    b.io = (EffPwIo){.src = src, .src_stride = src_px, .dst_u8 = dst, .n_pixels = n_px};
    if (s16) {
        b.io.dst_s16 = dst16;
        b.io.residual = residual;
    }
    b.quad_io = (EffPwQuadIo){
        .src = src,
        .src_stride = src_px,
        .src_row_stride = src_px * (size_t)s->in_size,
        .dst = dst,
        .quads = &b.quads,
        .quad_end = (rows + 1 + 3) / 4,
        .col_end = s->in_size,
        .ch_end = (int)dst_px,
    };
    char form[24];
    snprintf(form, sizeof form, "%s %s", act, quads ? "quads" : "nhwc");
    const double k4 = (s->in_ch + 3) / 4 * 4;
    report(t, s, form, rows, (double)n_px * (double)n_wgt, (double)n_px * k4 * (double)dst_px,
           time_beside_peak(t->level, k, quads ? run_quads : run_nhwc, &b));
    eff_free(wgt);
    eff_free(packed);
    eff_free(src);
    eff_free(dst);
    eff_free(dst16);
    eff_free(residual);
    free_params(&p);
}

static void bench_dw(const KCheck *t, const EffKernels *k, const KcShape *s, const char *act)
{
    DwBench b = {.k = &k->dw_u8s8};
    Params p;
    const int pad = eff_ch_pad(s->out_ch), taps = s->kernel * s->kernel;
    const size_t line = (size_t)s->in_size * (size_t)pad;
    const int rows = rows_in_cache(s->out_size, line * (size_t)s->stride * 2);
    int8_t *wgt = need((size_t)(s->out_ch * taps), 1);
    void *packed = need(b.k->packed_bytes(s->out_ch, s->kernel, s->stride), 1);
    make_params(&p, s->out_ch);
    fill(wgt, (size_t)(s->out_ch * taps));
    b.k->pack(packed, wgt, s->out_ch, s->kernel, s->stride);
    eff_quads_init(&b.quads, rows * s->stride, s->in_size, s->kernel, s->stride, s->kernel / 2, s->kernel / 2, rows,
                   s->out_size, pad);
    const size_t src_bytes = eff_quads_stride(&b.quads) * (size_t)b.quads.n_quads;
    uint8_t *src = need(src_bytes, 1), *dst = need((size_t)(rows * s->out_size) * (size_t)pad, 1);
    int16_t *dst16 = need((size_t)(rows * s->out_size) * (size_t)pad, 2);
    int32_t *pool = need((size_t)pad, 4);
    fill(src, src_bytes);
    const bool clamp = strcmp(act, "clamp") == 0;
    b.op = (EffDw){s->out_ch, s->kernel, s->stride, packed, epilogue(&p, act)};
    b.io = (EffDwIo){
        .src = src,
        .quads = &b.quads,
        .dst_u8 = clamp ? dst : NULL,
        .dst_s16 = clamp ? NULL : dst16,
        .pool = clamp ? NULL : pool,
        .out_cols = s->out_size,
        .row_end = rows,
        .ch_end = pad,
    };
    const double outputs = (double)(rows * s->out_size);
    char form[24];
    snprintf(form, sizeof form, "%s%s", act, clamp ? "" : " s16+pool");
    report(t, s, form, rows, outputs * s->out_ch * taps, outputs * pad * taps,
           time_beside_peak(t->level, k, run_dw, &b));
    eff_free(wgt);
    eff_free(packed);
    eff_free(src);
    eff_free(dst);
    eff_free(dst16);
    eff_free(pool);
    free_params(&p);
}

/* The gate of squeeze-excite, per value. */
typedef struct QuantBench {
    eff_quant_fn *fn;
    EffQuant op;
    int16_t *src;
    uint8_t *dst;
    size_t n_pixels;
} QuantBench;

static void run_quant(void *ctx)
{
    const QuantBench *b = ctx;
    b->fn(&b->op, b->src, b->dst, b->n_pixels);
}

static void bench_quant(const KCheck *t, const EffKernels *k)
{
    Params p;
    const int channels = 672;
    make_params(&p, channels);
    QuantBench b = {.fn = k->quant_s16u8, .op = {channels, 0, p.mult, p.zero}, .n_pixels = 48};
    const size_t n = (size_t)channels * b.n_pixels;
    b.src = need(n, 2);
    b.dst = need(n, 1);
    const Timed x = time_beside_peak(t->level, k, run_quant, &b);
    const double cycles = x.seconds * x.hz / (double)n;
    if (t->json)
        printf("{\"op\":\"quant_s16u8\",\"channels\":%d,\"cycles_per_value\":%.4f}\n", channels, cycles);
    else
        printf("quant_s16u8 %d channels: %.4f cycles a value\n", channels, cycles);
    eff_free(b.src);
    eff_free(b.dst);
    free_params(&p);
}

typedef struct FcBench {
    const EffFcKernel *k;
    EffFc op;
    int16_t *src;
    int64_t *acc;
} FcBench;

static void run_fc(void *ctx)
{
    const FcBench *b = ctx;
    b->k->run(&b->op, b->src, b->acc, 0, b->op.out_ch);
}

static void bench_fc(const KCheck *t, const EffKernels *k, const KcShape *s)
{
    FcBench b = {.k = &k->fc_s16};
    const size_t n = (size_t)s->in_ch * (size_t)s->out_ch;
    int8_t *wgt = need(n, 1);
    void *packed = need(b.k->packed_bytes(s->in_ch, s->out_ch, 8), 1);
    fill(wgt, n);
    b.k->pack(packed, wgt, s->in_ch, s->out_ch, 8);
    b.op = (EffFc){s->in_ch, s->out_ch, 8, packed};
    b.src = need((size_t)eff_param_pad(s->in_ch), 2);
    b.acc = need((size_t)eff_ch_pad(s->out_ch), 8);
    fill(b.src, (size_t)s->in_ch * 2);
    report(t, s, "s16 x s8", 1, (double)n, (double)s->in_ch * eff_ch_pad(s->out_ch),
           time_beside_peak(t->level, k, run_fc, &b));
    eff_free(wgt);
    eff_free(packed);
    eff_free(b.src);
    eff_free(b.acc);
}

void kc_bench(KCheck *t, const EffKernels *k, const char *net)
{
    EffPeak peak;
    if (eff_cpu_peak(&peak, t->level) != EFF_OK)
        abort();
    bool found = false;
    if (t->json)
        printf("{\"level\":\"%s\",\"clock_ghz\":%.3f,\"peak_mac_per_cycle\":%.1f}\n", t->level, peak.hz * 1e-9,
               peak.macs_per_s / peak.hz);
    else
        printf("level %s, clock %.3f GHz, peak %.1f MAC/cycle\n", t->level, peak.hz * 1e-9, peak.macs_per_s / peak.hz);
    for (size_t i = 0; i < t->shapes.n; i++) {
        const KcShape *s = &t->shapes.items[i];
        if (strcmp(s->net, net) != 0)
            continue;
        found = true;
        if (strcmp(s->op, "expand") == 0 || strcmp(s->op, "head") == 0) {
            bench_pw(t, k, s, "clamp", false);
            bench_pw(t, k, s, "clamp", true);
            if (strcmp(s->act, "silu") == 0) {
                bench_pw(t, k, s, "stair", true);
                bench_pw(t, k, s, "interp", true);
            }
        } else if (strcmp(s->op, "project") == 0) {
            bench_pw(t, k, s, "clamp", false);
            bench_pw(t, k, s, "s16", false);
        } else if (strcmp(s->op, "dw") == 0) {
            bench_dw(t, k, s, "clamp");
            if (strcmp(s->act, "silu") == 0) {
                bench_dw(t, k, s, "stair");
                bench_dw(t, k, s, "interp");
            }
        } else if (strcmp(s->op, "se") == 0 || strcmp(s->op, "fc") == 0) {
            bench_fc(t, k, s);
        }
    }
    bench_quant(t, k);
    if (!found) {
        printf("kcheck: no network is called '%s' in the layer shapes\n", net);
        t->n_failed++;
    }
}
