/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the float steps: kernels/layer_f32.h does the work. */
#include "runtime/exec.h"
#include "kernels/pool_f32.h"
#include "kernels/round_f32.h"

#include <assert.h>

enum { GRAIN_INPUT = 1 << 12 };

/* What each value of a pixel becomes. */
typedef struct Normalized {
    const uint8_t *src;
    float *dst;
    float of[EFF_STEM_CH][256];
} Normalized;

static void normalize(void *ctx, size_t begin, size_t end, int worker)
{
    const Normalized *n = ctx;
    (void)worker;
    for (size_t p = begin * EFF_STEM_CH; p < end * EFF_STEM_CH; p += EFF_STEM_CH) {
        for (size_t c = 0; c < EFF_STEM_CH; c++)
            n->dst[p + c] = n->of[c][n->src[p + c]];
    }
}

static void input(EffRun *r, size_t n_pixels)
{
    const EffPreprocess *pre = &r->session->model->plan.pre;
    Normalized n = {.src = r->src[0], .dst = r->dst[0]};
    for (int c = 0; c < EFF_STEM_CH; c++) {
        for (int v = 0; v < 256; v++)
            n.of[c][v] = ((float)v - pre->mean[c]) / pre->std[c];
    }
    eff_pool_run(r->session->pool, n_pixels, GRAIN_INPUT, normalize, &n);
}

static void window_pool(EffRun *r)
{
    const EffPlanStep *s = r->step;
    const EffPoolF32 op = {.how = s->op == EFF_STEP_F32_MAXPOOL ? EFF_POOLING_MAX : EFF_POOLING_MEAN,
                           .in_h = r->in->h,
                           .in_w = r->in->w,
                           .out_h = r->to->h,
                           .out_w = r->to->w,
                           .channels = r->to->c,
                           .kernel_h = s->kernel,
                           .kernel_w = s->kernel,
                           .stride = s->stride,
                           .pad_top = s->pad_top,
                           .pad_left = s->pad_left};
    eff_pool_f32(&op, r->dst[0], r->src[0], r->session->pool);
}

void eff_exec_f32(EffRun *r)
{
    EffPool *pool = r->session->pool;
    const EffKernelsF32 *k = &r->session->model->kernels.f32;
    const size_t n_ch = (size_t)r->to->c, n_pixels = (size_t)r->to->h * (size_t)r->to->w, n = n_pixels * n_ch;
    switch (r->step->op) {
    case EFF_STEP_F32_INPUT: input(r, n_pixels); break;
    case EFF_STEP_F32_CONV:
        eff_conv_f32_run(k, &r->layer->f32, r->src[0], r->dst[0], pool, (float *)(void *)eff_scratch(r->session, 0),
                         r->session->each_bytes / sizeof(float));
        break;
    case EFF_STEP_F32_POOL:
        eff_mean_f32(k, r->dst[0], r->src[0], (size_t)r->in->h * (size_t)r->in->w, n_ch, pool);
        break;
    case EFF_STEP_F32_MAXPOOL:
    case EFF_STEP_F32_AVGPOOL: window_pool(r); break;
    case EFF_STEP_F32_ADD: eff_add_f32(k, r->dst[0], r->src[0], r->src[1], n, pool); break;
    case EFF_STEP_F32_MUL: {
        const EffPlanTensor *by = &r->session->model->plan.tensors[r->step->in[1]];
        if (by->h == 1 && by->w == 1)
            eff_gate_f32(k, r->dst[0], r->src[0], r->src[1], n_pixels, n_ch, pool);
        else
            eff_gate_f32(k, r->dst[0], r->src[0], r->src[1], 1, n, pool);
        break;
    }
    case EFF_STEP_F32_ROUND:
        eff_round_f32((EffRounding)r->step->fact, r->dst[0], r->src[0],
                      eff_plan_data(&r->session->model->plan, r->step, EFF_DATA_FWGT), n_pixels, n_ch, pool);
        break;
    case EFF_STEP_F32_ACT: eff_act_f32(k, (EffActivation)r->step->fact, r->dst[0], r->src[0], n, pool); break;
    default: assert(!"an integer step"); break;
    }
}
