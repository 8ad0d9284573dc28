/* SPDX-License-Identifier: Apache-2.0 */
/* The float steps. The kernels of kernels/f32.h sum in one fixed order, so every number of threads gives the same bits.
 */
#include "runtime/session.h"

#include <string.h>

typedef struct Task {
    EffSession *s;
    const EffPlanStep *step;
    const EffLayer *layer;
    const EffPlanTensor *in, *out;
    const float *src, *src2;
    float *dst;
} Task;

static void activate(int act, float *x, size_t n)
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

static EffPwF32 pw_of(const Task *t, size_t n_in)
{
    return (EffPwF32){.n_in = n_in,
                      .n_out = (size_t)t->out->c,
                      .src_stride = n_in,
                      .dst_stride = (size_t)t->out->c,
                      .packed = t->layer->f32.wgt,
                      .bias = t->layer->f32.bias};
}

static size_t n_panels(const Task *t)
{
    return ((size_t)t->out->c + EFF_F32_N_TILE - 1) / EFF_F32_N_TILE;
}

static void run_pw_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    (void)worker;
    const size_t n_in = (size_t)t->in->c, n_out = (size_t)t->out->c;
    const EffPwF32 op = pw_of(t, n_in);
    eff_pw_f32(&op, t->src + begin * n_in, t->dst + begin * n_out, end - begin, 0, n_panels(t));
    activate(t->step->fact, t->dst + begin * n_out, (end - begin) * n_out);
}

/* Few pixels (the classifier has one): split by output channels instead. */
static void run_pw_panels(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    (void)worker;
    const EffPwF32 op = pw_of(t, (size_t)t->in->c);
    eff_pw_f32(&op, t->src, t->dst, (size_t)t->out->h * (size_t)t->out->w, begin, end);
}

static void run_dw_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    (void)worker;
    const EffDwF32 op = {.in_h = t->in->h,
                         .in_w = t->in->w,
                         .out_h = t->out->h,
                         .out_w = t->out->w,
                         .channels = t->out->c,
                         .kernel_h = t->step->kernel,
                         .kernel_w = t->step->kernel,
                         .stride = t->step->stride,
                         .pad_top = t->step->pad_top,
                         .pad_left = t->step->pad_left,
                         .wgt = t->layer->f32.wgt,
                         .bias = t->layer->f32.bias};
    const size_t row = (size_t)t->out->w * (size_t)t->out->c;
    eff_dw_f32(&op, t->src, t->dst, (int)begin, (int)end);
    activate(t->step->fact, t->dst + begin * row, (end - begin) * row);
}

/* The taps of one output row as a matrix [out_w][kernel^2 * c]; taps outside the picture are 0. */
static void im2col_row(const Task *t, float *row, int y)
{
    const size_t c = (size_t)t->in->c;
    const EffPlanStep *s = t->step;
    for (int x = 0; x < t->out->w; x++) {
        for (int ky = 0; ky < s->kernel; ky++) {
            const int in_y = y * s->stride - s->pad_top + ky;
            for (int kx = 0; kx < s->kernel; kx++, row += c) {
                const int in_x = x * s->stride - s->pad_left + kx;
                if (in_y < 0 || in_y >= t->in->h || in_x < 0 || in_x >= t->in->w)
                    memset(row, 0, c * sizeof *row);
                else
                    memcpy(row, t->src + ((size_t)in_y * (size_t)t->in->w + (size_t)in_x) * c, c * sizeof *row);
            }
        }
    }
}

static void run_dense_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const Task *t = ctx;
    float *cols = (float *)(void *)(t->s->each + (size_t)worker * t->s->model->each_bytes);
    const EffPwF32 op = pw_of(t, (size_t)(t->step->kernel * t->step->kernel) * (size_t)t->in->c);
    const size_t row = (size_t)t->out->w * (size_t)t->out->c;
    for (size_t y = begin; y < end; y++) {
        im2col_row(t, cols, (int)y);
        eff_pw_f32(&op, cols, t->dst + y * row, (size_t)t->out->w, 0, n_panels(t));
        activate(t->step->fact, t->dst + y * row, row);
    }
}

static void run_conv(Task *t)
{
    enum { PIXELS = 32, PANELS = 8 };
    const size_t n_pixels = (size_t)t->out->h * (size_t)t->out->w, n_rows = (size_t)t->out->h;
    EffPool *pool = t->s->pool;
    switch (eff_f32_conv_kind(t->step)) {
    case EFF_F32_DEPTHWISE: eff_pool_run(pool, n_rows, eff_session_grain(t->s, n_rows, 1), run_dw_rows, t); break;
    case EFF_F32_DENSE: eff_pool_run(pool, n_rows, eff_session_grain(t->s, n_rows, 1), run_dense_rows, t); break;
    case EFF_F32_POINTWISE:
        if (n_pixels >= 2 * PIXELS) {
            eff_pool_run(pool, n_pixels, PIXELS, run_pw_pixels, t); /* small pieces: they stay in the cache */
        } else {
            eff_pool_run(pool, n_panels(t), eff_session_grain(t->s, n_panels(t), PANELS), run_pw_panels, t);
            activate(t->step->fact, t->dst, n_pixels * (size_t)t->out->c);
        }
        break;
    }
}

static void global_avgpool(const Task *t)
{
    const size_t c = (size_t)t->in->c, n = (size_t)t->in->h * (size_t)t->in->w;
    for (size_t ch = 0; ch < c; ch++) {
        double sum = 0;
        for (size_t p = 0; p < n; p++)
            sum += (double)t->src[p * c + ch];
        t->dst[ch] = (float)(sum / (double)n);
    }
}

static void normalize(const Task *t, const uint8_t *pixels)
{
    const EffPreprocess *pre = &t->s->model->plan.pre;
    const size_t n = (size_t)t->out->h * (size_t)t->out->w * 3;
    for (size_t i = 0; i < n; i++)
        t->dst[i] = ((float)pixels[i] - pre->mean[i % 3]) / pre->std[i % 3];
}

void eff_exec_f32(EffSession *s, int i)
{
    const EffModel *m = s->model;
    const EffPlanStep *step = &m->plan.steps[i];
    Task t = {.s = s,
              .step = step,
              .layer = &m->layers[i],
              .in = &m->plan.tensors[step->in[0]],
              .out = &m->plan.tensors[step->out[0]],
              .src = eff_session_data(s, step->in[0]),
              .src2 = eff_session_data(s, step->in[1]),
              .dst = eff_session_data(s, step->out[0])};
    const size_t c = (size_t)t.out->c, n = (size_t)t.out->h * (size_t)t.out->w * c;
    switch (step->op) {
    case EFF_STEP_F32_INPUT: normalize(&t, eff_session_data(s, step->in[0])); break;
    case EFF_STEP_F32_CONV: run_conv(&t); break;
    case EFF_STEP_F32_POOL: global_avgpool(&t); break;
    case EFF_STEP_F32_ADD:
        for (size_t k = 0; k < n; k++)
            t.dst[k] = t.src[k] + t.src2[k];
        break;
    case EFF_STEP_F32_MUL:
        for (size_t p = 0; p < n; p += c) {
            for (size_t k = 0; k < c; k++)
                t.dst[p + k] = t.src[p + k] * t.src2[k];
        }
        break;
    case EFF_STEP_F32_ACT:
        memcpy(t.dst, t.src, n * sizeof *t.dst);
        activate(step->fact, t.dst, n);
        break;
    default: break;
    }
}
