/* SPDX-License-Identifier: Apache-2.0 */
/* Fully connected layers on s16 in plain C, and what follows them: squeeze-excite's epilogues, the head's logits. */
#include "kernels/levels.h"
#include "base/status.h"

#include <assert.h>
#include <string.h>

EffStatus eff_fc_check(const EffFc *op, const void *wgt)
{
    if (op->in_ch < 1 || op->in_ch > EFF_MAX_CH || op->out_ch < 1 || op->out_ch > (1 << 20) ||
        (op->wgt_bits != 8 && op->wgt_bits != 16))
        return eff_fail(EFF_ERR_FORMAT,
                        "fully connected layer: %d to %d, %d-bit weights; 1..%d, 1..%d, and 8 or 16 are valid",
                        op->in_ch, op->out_ch, op->wgt_bits, EFF_MAX_CH, 1 << 20);
    const size_t n = (size_t)op->in_ch * (size_t)op->out_ch;
    for (size_t i = 0; i < n; i++) {
        if (op->wgt_bits == 8 ? ((const int8_t *)wgt)[i] == INT8_MIN : ((const int16_t *)wgt)[i] == INT16_MIN)
            return eff_fail(EFF_ERR_FORMAT,
                            "fully connected layer: weight %zu is the lowest value, which has no negative", i);
    }
    return EFF_OK;
}

static size_t packed_bytes(int in_ch, int out_ch, int wgt_bits)
{
    return (size_t)in_ch * (size_t)out_ch * (size_t)(wgt_bits / 8);
}

static void pack(void *packed, const void *wgt, int in_ch, int out_ch, int wgt_bits)
{
    memcpy(packed, wgt, packed_bytes(in_ch, out_ch, wgt_bits));
}

static void run(const EffFc *op, const int16_t *src, int64_t *acc, int out_begin, int out_end)
{
    for (int o = out_begin; o < out_end; o++) {
        const size_t at = (size_t)o * (size_t)op->in_ch;
        int64_t sum = 0;
        for (int i = 0; i < op->in_ch; i++) {
            const int32_t w = op->wgt_bits == 8 ? ((const int8_t *)op->packed)[at + (size_t)i]
                                                : ((const int16_t *)op->packed)[at + (size_t)i];
            sum += src[i] * w;
        }
        acc[o] = sum;
    }
    if (out_end == op->out_ch)
        memset(acc + out_end, 0, (size_t)(eff_ch_pad(out_end) - out_end) * sizeof *acc);
}

const EffFcKernel eff_fc_s16_c = {"fc_s16_c", packed_bytes, pack, run};

void eff_fc_epilogue_c(const EffFcEpilogue *op, const int64_t *acc, int16_t *dst)
{
    const EffEpilogue *e = &op->epi;
    assert(e->kind != EFF_OUT_U8_CLAMP);
    for (int o = 0; o < op->out_ch; o++) {
        const int16_t t = eff_sat16((acc[o] + e->bias[o]) >> e->shift[o]);
        const int16_t y = eff_mulhrs(eff_shls16(t, e->pre_shift), e->mult[o]);
        dst[o] = op->sigmoid ? eff_gate(op->sigmoid, y) : e->kind == EFF_OUT_ACT ? eff_act_apply(&e->act, y) : y;
    }
    memset(dst + op->out_ch, 0, (size_t)(eff_param_pad(op->out_ch) - op->out_ch) * sizeof *dst);
}

void eff_gate_mult(int16_t *mult, const int16_t *gate, const int16_t *omult, int n)
{
    for (int c = 0; c < n; c++)
        mult[c] = eff_mulhrs(gate[c], omult[c]);
}

void eff_head_logits(float *logits, const int64_t *acc, const float *scale, const float *bias, int n)
{
    for (int o = 0; o < n; o++) {
        const float product = (float)acc[o] * scale[o];
        logits[o] = product + bias[o];
    }
}
