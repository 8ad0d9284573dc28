/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution on row quads in plain C: the reference that every CPU level must equal, and the 7x7 window. */
#include "kernels/levels.h"
#include "base/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

EffStatus eff_dw_check(const EffDw *op, const int8_t *wgt, int to_u8)
{
    if ((op->kernel != 3 && op->kernel != 5 && op->kernel != 7) || (op->stride != 1 && op->stride != 2))
        return eff_fail(EFF_ERR_FORMAT, "depthwise layer: kernel %d, stride %d; 3, 5, 7 and 1, 2 are valid", op->kernel,
                        op->stride);
    const EffStatus st = eff_epilogue_check(&op->epi, op->channels, to_u8);
    if (st != EFF_OK)
        return st;
    const int taps = op->kernel * op->kernel;
    for (int c = 0; c < op->channels; c++) {
        int64_t bound = llabs((long long)op->epi.bias[c]);
        for (int t = 0; t < taps; t++) {
            const int w = wgt[(size_t)c * (size_t)taps + (size_t)t];
            if (w < -127)
                return eff_fail(EFF_ERR_FORMAT, "depthwise weight [%d][%d] is %d; -127..127 is valid", c, t, w);
            bound += 255 * abs(w);
        }
        if (bound > INT32_MAX)
            return eff_fail(EFF_ERR_FORMAT, "depthwise channel %d: accumulator may reach %lld, beyond 32 bits", c,
                            (long long)bound);
    }
    return EFF_OK;
}

static size_t packed_bytes(int channels, int kernel, int stride)
{
    (void)stride;
    return (size_t)channels * (size_t)(kernel * kernel);
}

static void pack(void *packed, const int8_t *wgt, int channels, int kernel, int stride)
{
    memcpy(packed, wgt, packed_bytes(channels, kernel, stride));
}

/* One output: (y, x) is the window's top left in the padded image, y counted from the first quad of src. */
static int32_t accumulate(const EffDw *op, const EffDwIo *io, int y, int x, int c)
{
    int32_t acc = op->epi.bias[c];
    if (c >= op->channels)
        return acc;
    const int k = op->kernel;
    const int8_t *wgt = (const int8_t *)op->packed + (size_t)c * (size_t)(k * k);
    const size_t column = (size_t)io->quads->ch_stride * 4, stride = eff_quads_stride(io->quads);
    for (int ky = 0; ky < k; ky++) {
        const uint8_t *src = io->src + (size_t)((y + ky) / 4) * stride + (size_t)x * column +
                             (size_t)(c - io->ch_begin) * 4 + (size_t)((y + ky) % 4);
        for (int kx = 0; kx < k; kx++)
            acc += src[(size_t)kx * column] * wgt[ky * k + kx];
    }
    return acc;
}

static void run(const EffDw *op, const EffDwIo *io)
{
    const EffEpilogue *e = &op->epi;
    const int n = eff_ch_pad(op->channels);
    assert(io->row_begin % (4 / op->stride) == 0 && io->ch_end - io->ch_begin <= io->quads->ch_stride);
    for (int y = 0; y < io->row_end - io->row_begin; y++) {
        for (int x = 0; x < io->out_cols; x++) {
            const size_t pixel = ((size_t)y * (size_t)io->out_cols + (size_t)x) * (size_t)n;
            for (int c = io->ch_begin; c < io->ch_end; c++) {
                const size_t at = pixel + (size_t)c;
                const int32_t acc = accumulate(op, io, y * op->stride, x * op->stride, c);
                if (e->kind == EFF_OUT_U8_CLAMP) {
                    io->dst_u8[at] = eff_epilogue_u8_clamp(e, c, acc);
                    continue;
                }
                const int16_t v = eff_epilogue_s16(e, c, acc);
                if (io->dst_s16)
                    io->dst_s16[at] = v;
                if (io->dst_u8)
                    io->dst_u8[at] = eff_quant_u8(v, e->post_shift, e->omult[c], e->zero[c]);
                if (io->pool)
                    io->pool[c] += v;
            }
        }
    }
}

const EffDwKernel eff_dw_u8s8_c = {"dw_u8s8_c", packed_bytes, pack, run};
