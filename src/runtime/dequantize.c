/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of any layout as real numbers, for reports. */
#include "runtime/session.h"
#include "base/status.h"

#include <string.h>

/*
 * Where the values of a tensor lie: element (y, x, c) at y * row + x * column + c * channel, in row quads, with the
 * padding added to y and x, at y / 4 * row + x * column + c * channel + y % 4.
 */
typedef struct Strides {
    size_t row, column, channel, top, left;
    bool quads;
} Strides;

static Strides strides_of(const EffPlan *plan, int tensor)
{
    const EffPlanTensor *t = &plan->tensors[tensor];
    const size_t n = t->layout == EFF_LAYOUT_NHWC ? (size_t)eff_ch_pad(t->c) : (size_t)t->c;
    if (t->layout != EFF_LAYOUT_QUADS)
        return (Strides){.row = n * (size_t)t->w, .column = n, .channel = 1};
    int i = 0; /* the reader, which row quads of every proven plan have */
    while (plan->steps[i].op != EFF_STEP_DW || plan->steps[i].in[0] != tensor)
        i++;
    EffQuads q;
    eff_plan_quads(&q, plan, &plan->steps[i]);
    return (Strides){.row = eff_quads_stride(&q),
                     .column = (size_t)q.ch_stride * 4,
                     .channel = 4,
                     .top = (size_t)q.pad_top,
                     .left = (size_t)q.pad_left,
                     .quads = true};
}

EffStatus eff_tensor_to_f32(const EffPlan *plan, int tensor, const void *data, float *dst)
{
    const EffPlanTensor *t = &plan->tensors[tensor];
    const size_t n_ch = (size_t)t->c;
    if (t->type == EFF_TENSOR_F32) {
        memcpy(dst, data, (size_t)t->h * (size_t)t->w * n_ch * sizeof *dst);
        return EFF_OK;
    }
    if (t->n_scales == 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "tensor %d (%s) has no scales", tensor, t->name);
    const Strides s = strides_of(plan, tensor);
    const float *scale = (const float *)(const void *)(plan->data + t->scale);
    const uint8_t *zero = plan->data + t->zero;
    const size_t a_channel = t->n_scales > 1;
    for (size_t y = 0; y < (size_t)t->h; y++) {
        const size_t row = y + s.top, line = s.quads ? row / 4 * s.row + row % 4 : row * s.row;
        for (size_t x = 0; x < (size_t)t->w; x++) {
            const size_t at = line + (x + s.left) * s.column;
            for (size_t c = 0; c < n_ch; c++) {
                const size_t i = at + c * s.channel;
                const int q = t->type == EFF_TENSOR_U8 ? ((const uint8_t *)data)[i] - zero[c * a_channel]
                                                       : ((const int16_t *)data)[i];
                *dst++ = scale[c * a_channel] * (float)q;
            }
        }
    }
    return EFF_OK;
}
