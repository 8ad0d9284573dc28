/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the float steps: kernels/layer_f32.h does the work. */
#include "runtime/session.h"

#include <assert.h>

enum { GRAIN_INPUT = 1 << 14 };

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

void eff_exec_f32(EffRun *r)
{
    EffPool *pool = r->session->pool;
    const EffKernelsF32 *k = &r->session->model->kernels.f32;
    const size_t n_ch = (size_t)r->to->c, n_pixels = (size_t)r->to->h * (size_t)r->to->w, n = n_pixels * n_ch;
    switch (r->step->op) {
    case EFF_STEP_F32_INPUT: eff_pool_run(pool, n_pixels, GRAIN_INPUT, normalize, r); break;
    case EFF_STEP_F32_CONV:
        eff_conv_f32_run(k, &r->layer->f32, r->src[0], r->dst[0], pool, eff_scratch(r->session, 0),
                         r->session->model->scratch_each / sizeof(float));
        break;
    case EFF_STEP_F32_POOL: eff_mean_f32(k, r->dst[0], r->src[0], (size_t)r->in->h * (size_t)r->in->w, n_ch, pool); break;
    case EFF_STEP_F32_ADD: eff_add_f32(k, r->dst[0], r->src[0], r->src[1], n, pool); break;
    case EFF_STEP_F32_MUL: eff_gate_f32(k, r->dst[0], r->src[0], r->src[1], n_pixels, n_ch, pool); break;
    case EFF_STEP_F32_ACT: eff_act_f32(k, (EffActivation)r->step->fact, r->dst[0], r->src[0], n, pool); break;
    default: assert(!"an integer step"); break;
    }
}
