/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise convolution on AMX: pw_amx.h has what there is to say. */
#include "kernels/levels.h"
#include "kernels/x86/pw_amx_nhwc.h"
#include "kernels/x86/pw_amx_quads.h"

#include <assert.h>
#include <string.h>

enum { FEW_CH = 16 }; /* up to here moving sums through memory costs more than VNNI's products */

/* For layers with few input channels. */
static const EffPwKernel *const vnni = &eff_pw_u8s8_12x32_avx512vbmi;

static size_t packed_bytes(int in_ch, int out_ch)
{
    if (in_ch <= FEW_CH)
        return vnni->packed_bytes(in_ch, out_ch);
    const Steps s = steps_of(in_ch);
    return (size_t)(eff_ch_pad(out_ch) / TILE_CH * s.n) * tile_bytes(&s);
}

static void pack(void *packed, const int8_t *wgt, int in_ch, int out_ch)
{
    if (in_ch <= FEW_CH) {
        vnni->pack(packed, wgt, in_ch, out_ch);
        return;
    }
    const Steps s = steps_of(in_ch);
    memset(packed, 0, packed_bytes(in_ch, out_ch));
    for (int o = 0; o < out_ch; o++) {
        const int8_t *from = wgt + (size_t)o * (size_t)in_ch;
        int8_t *to = (int8_t *)packed + (size_t)(o / TILE_CH * s.n) * tile_bytes(&s) + (size_t)(o % TILE_CH * 4);
        for (int step = 0; step < s.n; step++, to += tile_bytes(&s)) {
            const bool is_last = step == s.n - 1;
            const int first = step * s.k, end = is_last ? in_ch : first + s.k, begin = is_last ? s.last : first;
            int i = first;
            for (; i + 4 <= end; i += 4)
                memcpy(to + (size_t)(i - begin) * TILE_CH, from + i, 4);
            memcpy(to + (size_t)(i - begin) * TILE_CH, from + i, (size_t)(end - i));
        }
    }
}

/* ---- NHWC ---- */

static EFF_NOINLINE void nhwc_clamp(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_CLAMP);
}

static EFF_NOINLINE void nhwc_linear(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_LINEAR);
}

static EFF_NOINLINE void nhwc_stair(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_STAIR);
}

static EFF_NOINLINE void nhwc_interp(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_INTERP);
}

static EFF_NOINLINE void nhwc_raw(const EffPw *op, const EffPwIo *io)
{
    run_nhwc(op, io, MODE_RAW);
}

static void run(const EffPw *op, const EffPwIo *io)
{
    assert(io->src_stride >= (size_t)(op->in_ch + 3) / 4 * 4);
    assert(io->residual == NULL || op->epi.kind == EFF_OUT_S16);
    if (op->in_ch <= FEW_CH) {
        vnni->run(op, io);
        return;
    }
    if (io->n_pixels == 0)
        return;
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: nhwc_clamp(op, io); break;
    case MODE_LINEAR: nhwc_linear(op, io); break;
    case MODE_STAIR: nhwc_stair(op, io); break;
    case MODE_INTERP: nhwc_interp(op, io); break;
    case MODE_RAW: nhwc_raw(op, io); break;
    }
}

/* ---- Row quads ---- */

static EFF_NOINLINE void quads_clamp(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_CLAMP);
}

static EFF_NOINLINE void quads_linear(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_LINEAR);
}

static EFF_NOINLINE void quads_stair(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_STAIR);
}

static EFF_NOINLINE void quads_interp(const EffPw *op, const EffPwQuadIo *io)
{
    run_quads(op, io, MODE_INTERP);
}

static void run_all_quads(const EffPw *op, const EffPwQuadIo *io)
{
    assert(io->ch_begin % EFF_PARAM_ALIGN == 0 && io->ch_end - io->ch_begin <= io->quads->ch_stride);
    assert(io->ch_end % EFF_PARAM_ALIGN == 0 || io->ch_end == eff_ch_pad(op->out_ch));
    assert(io->col_begin >= 0 && io->col_end <= io->quads->cols && io->quad_end <= io->quads->n_quads);
    if (op->in_ch <= FEW_CH) {
        vnni->run_quads(op, io);
        return;
    }
    if (io->col_begin >= io->col_end)
        return;
    switch (epilogue_mode(&op->epi)) {
    case MODE_CLAMP: quads_clamp(op, io); break;
    case MODE_LINEAR: quads_linear(op, io); break;
    case MODE_STAIR: quads_stair(op, io); break;
    case MODE_INTERP: quads_interp(op, io); break;
    case MODE_RAW: assert(!"quads of sums"); break;
    }
}

/* Joining the bytes of 16-bit inputs has no products: that is the next lower level's. */
const EffPwKernel eff_pw_u8s8_32x32_avx512amx = {
    "pw_u8s8_32x32_avx512amx", packed_bytes, pack, run, run_all_quads, NULL};
