/* SPDX-License-Identifier: Apache-2.0 */
/* Float nodes: into floats, and out of them. */
#include "kernels/float_node.h"
#include "base/status.h"

#include <math.h>

void eff_f32_from_s16(float *restrict dst, const int16_t *restrict src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = (float)src[i];
}

void eff_s32_from_f32(int32_t *restrict t, const float *restrict sums, const float *restrict scale, int channels,
                      size_t n_pixels)
{
    /* Floats from 2^23 to 2^24 are integers: adding 1.5 * 2^23 rounds what is below 2^22. */
    const float whole = 12582912;
    const size_t n = (size_t)channels, stride = (size_t)eff_ch_pad(channels);
    for (size_t p = 0; p < n_pixels; p++, t += stride, sums += stride) {
        for (size_t c = 0; c < n; c++) {
            float v = sums[c] * scale[c]; /* may be infinite */
            v = v > -32768 ? v : -32768;
            v = v < 32767 ? v : 32767;
            t[c] = (int32_t)(v + whole - whole);
        }
        for (size_t c = n; c < stride; c++)
            t[c] = 0;
    }
}

EffStatus eff_float_node_check(const float *wgt, const float *bias, const float *scale, int n_out, int fan_in)
{
    const double most = ldexp(1, 120);
    for (int o = 0; o < n_out; o++) {
        double bound = fabs((double)bias[o]);
        for (int i = 0; i < fan_in; i++)
            bound += 32768 * fabs((double)wgt[(size_t)o * (size_t)fan_in + (size_t)i]);
        if (!(bound < most))
            return eff_fail(EFF_ERR_FORMAT, "output %d in float: the sum may reach %g, beyond 2^120", o, bound);
        if (!(scale[o] > 0))
            return eff_fail(EFF_ERR_FORMAT, "output %d in float: scale %g; a positive one is valid", o,
                            (double)scale[o]);
    }
    return EFF_OK;
}
