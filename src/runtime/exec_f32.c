/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the float steps. The kernels in kernels/f32.h sum in one fixed order, and every output is made by one thread, so
 * that every number of threads gives the same bits.
 */
#include "runtime/session.h"

#include <assert.h>
#include <string.h>

enum { GRAIN_PIXELS = 32, GRAIN_PANELS = 8, GRAIN_ROWS = 4, GRAIN_VALUES = 1 << 14, POOL_BLOCK = 64 };

static size_t count(const EffPlanTensor *t)
{
    return (size_t)t->h * (size_t)t->w * (size_t)t->c;
}

static void activate(int32_t act, float *x, size_t n)
{
    switch ((EffActivation)act) {
    case EFF_ACTIVATION_NONE: break;
    case EFF_ACTIVATION_RELU: eff_relu_f32(x, n); break;
    case EFF_ACTIVATION_RELU6: eff_relu6_f32(x, n); break;
    case EFF_ACTIVATION_SILU: eff_silu_f32(x, n); break;
    case EFF_ACTIVATION_HSWISH: eff_hswish_f32(x, n); break;
    case EFF_ACTIVATION_SIGMOID: eff_sigmoid_f32(x, n); break;
    }
}

/* ---- Convolutions ---- */

static EffPwF32 pw_of(const EffRun *r, size_t n_in)
{
    const size_t n_out = (size_t)r->step->out_ch;
    return (EffPwF32){.n_in = n_in,
                      .n_out = n_out,
                      .src_stride = n_in,
                      .dst_stride = n_out,
                      .packed = r->layer->f32.wgt,
                      .bias = r->layer->f32.bias};
}

static size_t n_panels(const EffRun *r)
{
    return ((size_t)r->step->out_ch + EFF_F32_N_TILE - 1) / EFF_F32_N_TILE;
}

static void pw_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t n_in = (size_t)r->step->in_ch, n_out = (size_t)r->step->out_ch;
    const EffPwF32 op = pw_of(r, n_in);
    float *dst = (float *)r->dst[0] + begin * n_out;
    (void)worker;
    eff_pw_f32(&op, (const float *)r->src[0] + begin * n_in, dst, end - begin, 0, n_panels(r));
    activate(r->step->fact, dst, (end - begin) * n_out);
}

/* Few pixels (the classifier has one): split by output channels instead. */
static void pw_panels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffPwF32 op = pw_of(r, (size_t)r->step->in_ch);
    (void)worker;
    eff_pw_f32(&op, r->src[0], r->dst[0], (size_t)r->to->h * (size_t)r->to->w, begin, end);
}

static void dw_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffPlanStep *s = r->step;
    const EffDwF32 op = {.in_h = r->in->h,
                         .in_w = r->in->w,
                         .out_h = r->to->h,
                         .out_w = r->to->w,
                         .channels = s->out_ch,
                         .kernel_h = s->kernel,
                         .kernel_w = s->kernel,
                         .stride = s->stride,
                         .pad_top = s->pad_top,
                         .pad_left = s->pad_left,
                         .wgt = r->layer->f32.wgt,
                         .bias = r->layer->f32.bias};
    const size_t row = (size_t)r->to->w * (size_t)r->to->c;
    (void)worker;
    eff_dw_f32(&op, r->src[0], r->dst[0], (int)begin, (int)end);
    activate(s->fact, (float *)r->dst[0] + begin * row, (end - begin) * row);
}

/* The taps of output row y as a matrix [out_w][kernel * kernel * c]; taps outside the picture are 0. */
static void im2col_row(const EffRun *r, float *row, int y)
{
    const EffPlanStep *s = r->step;
    const float *src = r->src[0];
    const size_t c = (size_t)s->in_ch;
    for (int x = 0; x < r->to->w; x++) {
        for (int ky = 0; ky < s->kernel; ky++) {
            const int in_y = y * s->stride - s->pad_top + ky;
            for (int kx = 0; kx < s->kernel; kx++, row += c) {
                const int in_x = x * s->stride - s->pad_left + kx;
                if (in_y < 0 || in_y >= r->in->h || in_x < 0 || in_x >= r->in->w)
                    memset(row, 0, c * sizeof *row);
                else
                    memcpy(row, src + ((size_t)in_y * (size_t)r->in->w + (size_t)in_x) * c, c * sizeof *row);
            }
        }
    }
}

static void dense_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t taps = (size_t)(r->step->kernel * r->step->kernel), width = (size_t)r->to->w;
    const EffPwF32 op = pw_of(r, taps * (size_t)r->step->in_ch);
    float *matrix = eff_scratch(r->session, worker);
    for (size_t y = begin; y < end; y++) {
        float *dst = (float *)r->dst[0] + y * width * (size_t)r->to->c;
        im2col_row(r, matrix, (int)y);
        eff_pw_f32(&op, matrix, dst, width, 0, n_panels(r));
        activate(r->step->fact, dst, width * (size_t)r->to->c);
    }
}

static void run_conv(EffRun *r)
{
    const size_t n_pixels = (size_t)r->to->h * (size_t)r->to->w, n_rows = (size_t)r->to->h;
    switch (eff_f32_conv_kind(r->step)) {
    case EFF_F32_DEPTHWISE: eff_pool_run(r->session->pool, n_rows, GRAIN_ROWS, dw_rows, r); break;
    case EFF_F32_DENSE: eff_pool_run(r->session->pool, n_rows, GRAIN_ROWS, dense_rows, r); break;
    case EFF_F32_POINTWISE:
        if (n_pixels >= 2 * GRAIN_PIXELS) {
            eff_pool_run(r->session->pool, n_pixels, GRAIN_PIXELS, pw_pixels, r);
        } else {
            eff_pool_run(r->session->pool, n_panels(r), GRAIN_PANELS, pw_panels, r);
            activate(r->step->fact, r->dst[0], count(r->to));
        }
        break;
    }
}

/* ---- The rest ---- */

static void normalize(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const EffPreprocess *pre = &r->session->model->plan.pre;
    const uint8_t *src = r->src[0];
    float *dst = r->dst[0];
    (void)worker;
    for (size_t p = begin; p < end; p++) {
        for (size_t c = 0; c < EFF_STEM_CH; c++)
            dst[p * EFF_STEM_CH + c] = ((float)src[p * EFF_STEM_CH + c] - pre->mean[c]) / pre->std[c];
    }
}

/* Means of blocks of channels: each is one sum in double, pixel after pixel. */
static void mean_blocks(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const size_t n_ch = (size_t)r->in->c, n = (size_t)r->in->h * (size_t)r->in->w;
    float *dst = r->dst[0];
    (void)worker;
    for (size_t first = begin * POOL_BLOCK; begin < end; begin++, first += POOL_BLOCK) {
        const size_t width = n_ch - first < POOL_BLOCK ? n_ch - first : POOL_BLOCK;
        double sums[POOL_BLOCK] = {0};
        const float *src = (const float *)r->src[0] + first;
        for (size_t p = 0; p < n; p++, src += n_ch) {
            for (size_t c = 0; c < width; c++)
                sums[c] += (double)src[c];
        }
        for (size_t c = 0; c < width; c++)
            dst[first + c] = (float)(sums[c] / (double)n);
    }
}

static void add_values(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const float *a = r->src[0], *b = r->src[1];
    float *dst = r->dst[0];
    (void)worker;
    for (size_t i = begin; i < end; i++)
        dst[i] = a[i] + b[i];
}

static void multiply_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    const float *src = r->src[0], *gate = r->src[1];
    const size_t n_ch = (size_t)r->to->c;
    float *dst = r->dst[0];
    (void)worker;
    for (size_t p = begin; p < end; p++) {
        for (size_t c = 0; c < n_ch; c++)
            dst[p * n_ch + c] = src[p * n_ch + c] * gate[c];
    }
}

static void activate_values(void *ctx, size_t begin, size_t end, int worker)
{
    const EffRun *r = ctx;
    float *dst = (float *)r->dst[0] + begin;
    (void)worker;
    memcpy(dst, (const float *)r->src[0] + begin, (end - begin) * sizeof *dst);
    activate(r->step->fact, dst, end - begin);
}

void eff_exec_f32(EffRun *r)
{
    EffPool *pool = r->session->pool;
    const size_t n = count(r->to), n_ch = (size_t)r->to->c, n_pixels = n / n_ch;
    switch (r->step->op) {
    case EFF_STEP_F32_INPUT: eff_pool_run(pool, n_pixels, GRAIN_VALUES, normalize, r); break;
    case EFF_STEP_F32_CONV: run_conv(r); break;
    case EFF_STEP_F32_POOL: eff_pool_run(pool, (n_ch + POOL_BLOCK - 1) / POOL_BLOCK, 1, mean_blocks, r); break;
    case EFF_STEP_F32_ADD: eff_pool_run(pool, n, GRAIN_VALUES, add_values, r); break;
    case EFF_STEP_F32_MUL: eff_pool_run(pool, n_pixels, GRAIN_VALUES / n_ch + 1, multiply_pixels, r); break;
    case EFF_STEP_F32_ACT: eff_pool_run(pool, n, GRAIN_VALUES, activate_values, r); break;
    default: assert(!"an integer step"); break;
    }
}
