/* SPDX-License-Identifier: Apache-2.0 */
/* 16-bit inputs of convolutions: their bytes apart, and what these come to together. Plain C; `join` has faster forms
 * (pw_u8s8_....h), the rest is memory-bound, and compilers vectorize it. */
#include "kernels/levels.h"
#include "base/status.h"

#include <assert.h>
#include <stdlib.h>

void eff_split_s16(uint8_t *restrict hi, uint8_t *restrict lo, const int16_t *restrict src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned v = (uint16_t)src[i] ^ 0x8000u;
        hi[i] = (uint8_t)(v >> 8);
        lo[i] = (uint8_t)(v & 255);
    }
}

void eff_gate_s16(int16_t *dst, const int16_t *src, const int16_t *gate, int shift, int ch_pad, size_t n_pixels)
{
    for (size_t p = 0; p < n_pixels; p++, src += ch_pad, dst += ch_pad) {
        for (int c = 0; c < ch_pad; c++)
            dst[c] = eff_mulhrs(eff_shls16(src[c], shift), gate[c]);
    }
}

EffStatus eff_wide_check(const int8_t *wgt, const int32_t *bias, int n_out, int fan_in)
{
    for (int o = 0; o < n_out; o++) {
        int64_t bound = llabs((long long)bias[o]) + 1;
        for (int i = 0; i < fan_in; i++)
            bound += 256 * abs(wgt[(size_t)o * (size_t)fan_in + (size_t)i]);
        if (bound > INT32_MAX)
            return eff_fail(EFF_ERR_FORMAT, "output %d with 16-bit inputs: accumulator may reach %lld, beyond 32 bits",
                            o, (long long)bound);
    }
    return EFF_OK;
}

void eff_join_c(const EffEpilogue *e, int channels, const EffJoinIo *io)
{
    const int n = eff_ch_pad(channels);
    assert(io->residual == NULL || e->kind == EFF_OUT_S16);
    for (size_t p = 0; p < io->n_pixels; p++) {
        for (int o = 0; o < n; o++) {
            const size_t at = p * (size_t)n + (size_t)o;
            const int32_t acc = e->bias[o] + io->hi[at] + ((io->lo[at] + 128) >> 8);
            eff_epilogue_store(e, o, acc, at, io->residual, io->dst_s16, io->dst_u8);
        }
    }
}
