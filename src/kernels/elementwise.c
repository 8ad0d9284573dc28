/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels without weights in plain C: s16 to u8, residual add, pooling. */
#include "kernels/levels.h"
#include "base/status.h"

#include <assert.h>

EffStatus eff_quant_check(const EffQuant *op)
{
    if (op->channels < 1 || op->channels > EFF_MAX_CH || op->shift < 0 || op->shift > EFF_MAX_PRE_SHIFT)
        return eff_fail(EFF_ERR_FORMAT, "s16 to u8: %d channels, shift %d; 1..%d and 0..%d are valid", op->channels,
                        op->shift, EFF_MAX_CH, EFF_MAX_PRE_SHIFT);
    for (int c = 0; c < eff_param_pad(op->channels); c++) {
        const int last = c < op->channels ? 255 : 0;
        if (op->mult[c] < 0 || op->zero[c] < 0 || op->zero[c] > last || (last == 0 && op->mult[c] != 0))
            return eff_fail(EFF_ERR_FORMAT, "s16 to u8: channel %d of %d has multiplier %d, zero point %d", c,
                            op->channels, op->mult[c], op->zero[c]);
    }
    return EFF_OK;
}

void eff_quant_s16u8_c(const EffQuant *op, const int16_t *src, uint8_t *dst, size_t n_pixels)
{
    const int n = eff_ch_pad(op->channels);
    for (size_t p = 0; p < n_pixels; p++, src += n, dst += n) {
        for (int c = 0; c < n; c++)
            dst[c] = eff_quant_u8(src[c], op->shift, op->mult[c], op->zero[c]);
    }
}

void eff_add_s16_c(int16_t *dst, const int16_t *a, const int16_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = eff_adds16(a[i], b[i]);
}

void eff_pool_s16_c(int32_t *sums, const int16_t *src, int ch_pad, size_t n_pixels)
{
    assert(n_pixels <= EFF_DW_POOL_MAX);
    for (size_t p = 0; p < n_pixels; p++, src += ch_pad) {
        for (int c = 0; c < ch_pad; c++)
            sums[c] += src[c];
    }
}

void eff_pool_u8_c(int32_t *sums, const uint8_t *src, int ch_pad, size_t n_pixels)
{
    assert(n_pixels <= EFF_DW_POOL_MAX);
    for (size_t p = 0; p < n_pixels; p++, src += ch_pad) {
        for (int c = 0; c < ch_pad; c++)
            sums[c] += src[c];
    }
}

int64_t eff_pool_mult(int64_t n_positions, int frac_bits)
{
    assert(n_positions >= 1 && n_positions <= INT32_MAX && frac_bits >= 0 && frac_bits <= 7);
    return (((int64_t)1 << (40 + frac_bits)) + n_positions / 2) / n_positions;
}

void eff_pool_mean(int16_t *mean, const int64_t *sums, int n_ch, int64_t mult)
{
    for (int c = 0; c < n_ch; c++)
        mean[c] = eff_sat16((sums[c] * mult + ((int64_t)1 << 39)) >> 40);
    for (int c = n_ch; c < eff_param_pad(n_ch); c++)
        mean[c] = 0;
}
