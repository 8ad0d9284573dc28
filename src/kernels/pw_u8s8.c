/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution in plain C: the reference that every CPU level must equal. Weights stay as they are. */
#include "kernels/levels.h"
#include "base/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static EffStatus check_weights(const EffPw *op, const int8_t *wgt)
{
    for (int o = 0; o < op->out_ch; o++) {
        const int8_t *row = wgt + (size_t)o * (size_t)op->in_ch;
        int sum = 0, least = 0; /* no branches: most of a file is such weights */
        for (int i = 0; i < op->in_ch; i++) {
            sum += abs(row[i]);
            least = row[i] < least ? row[i] : least;
        }
        for (int i = 0; least < -127 && i < op->in_ch; i++) {
            if (row[i] < -127)
                return eff_fail(EFF_ERR_FORMAT, "pointwise weight [%d][%d] is %d; -127..127 is valid", o, i, row[i]);
        }
        const int64_t bound = llabs((long long)op->epi.bias[o]) + 255 * (int64_t)sum;
        if (bound > INT32_MAX)
            return eff_fail(EFF_ERR_FORMAT, "pointwise output %d: accumulator may reach %lld, beyond 32 bits", o,
                            (long long)bound);
    }
    return EFF_OK;
}

EffStatus eff_pw_check(const EffPw *op, const int8_t *wgt, int to_u8)
{
    if (op->in_ch < 1 || op->in_ch > EFF_PW_MAX_IN_CH)
        return eff_fail(EFF_ERR_FORMAT, "pointwise layer: %d input channels; 1..%d is valid", op->in_ch,
                        EFF_PW_MAX_IN_CH);
    const EffStatus st = eff_epilogue_check(&op->epi, op->out_ch, to_u8);
    return st != EFF_OK ? st : check_weights(op, wgt);
}

static size_t packed_bytes(int in_ch, int out_ch)
{
    return (size_t)in_ch * (size_t)out_ch;
}

static void pack(void *packed, const int8_t *wgt, int in_ch, int out_ch)
{
    memcpy(packed, wgt, packed_bytes(in_ch, out_ch));
}

/* The padding after out_ch has weights 0 and bias 0. */
static int32_t accumulate(const EffPw *op, const uint8_t *src, int o, int32_t acc)
{
    if (o >= op->out_ch)
        return acc;
    const int8_t *wgt = (const int8_t *)op->packed + (size_t)o * (size_t)op->in_ch;
    for (int i = 0; i < op->in_ch; i++)
        acc += src[i] * wgt[i];
    return acc;
}

static void run(const EffPw *op, const EffPwIo *io)
{
    const EffEpilogue *e = &op->epi;
    const int32_t *bias = io->bias ? io->bias : e->bias;
    const int n = eff_ch_pad(op->out_ch);
    assert(io->src_stride >= (size_t)(op->in_ch + 3) / 4 * 4);
    assert(io->residual == NULL || e->kind == EFF_OUT_S16);
    for (size_t p = 0; p < io->n_pixels; p++) {
        const uint8_t *src = io->src + p * io->src_stride;
        for (int o = 0; o < n; o++) {
            const size_t at = p * (size_t)n + (size_t)o;
            const int32_t acc = accumulate(op, src, o, bias[o]);
            if (e->kind == EFF_OUT_S32) {
                io->dst_s32[at] = acc;
                continue;
            }
            eff_epilogue_store(e, o, acc, at, io->residual, io->dst_s16, io->dst_u8);
        }
    }
}

static void run_quads(const EffPw *op, const EffPwQuadIo *io)
{
    const EffEpilogue *e = &op->epi;
    const EffQuads *q = io->quads;
    const int top = 4 * io->quad_begin - q->pad_top, row0 = top > 0 ? top : 0;
    assert(io->ch_begin % EFF_PARAM_ALIGN == 0 && io->ch_end - io->ch_begin <= q->ch_stride);
    assert(io->col_begin >= 0 && io->col_end <= q->cols && io->quad_end <= q->n_quads);
    for (int j = io->quad_begin; j < io->quad_end; j++) {
        for (int r = 0; r < 4; r++) {
            const int y = 4 * j + r - q->pad_top;
            const int inside = y >= 0 && y < q->rows;
            const uint8_t *src = inside ? io->src + (size_t)(y - row0) * io->src_row_stride : NULL;
            const int32_t *bias = inside && io->row_bias ? io->row_bias[y - row0] : e->bias;
            uint8_t *dst = io->dst + (size_t)(j - io->quad_begin) * eff_quads_stride(q) + r;
            for (int x = io->col_begin; x < io->col_end; x++) {
                uint8_t *to = dst + (size_t)(x + q->pad_left) * (size_t)q->ch_stride * 4;
                for (int o = io->ch_begin; o < io->ch_end; o++, to += 4) {
                    if (!inside) {
                        *to = (uint8_t)e->zero[o];
                        continue;
                    }
                    const int32_t acc = accumulate(op, src + (size_t)x * io->src_stride, o, bias[o]);
                    *to = e->kind == EFF_OUT_U8_CLAMP
                              ? eff_epilogue_u8_clamp(e, o, acc)
                              : eff_quant_u8(eff_epilogue_s16(e, o, acc), e->post_shift, e->omult[o], e->zero[o]);
                }
            }
        }
    }
}

const EffPwKernel eff_pw_u8s8_c = {"pw_u8s8_c", packed_bytes, pack, run, run_quads, eff_join_c};
