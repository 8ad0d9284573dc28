/* SPDX-License-Identifier: Apache-2.0 */
/* Pools over windows. Loops over channels, which compilers make vectors of: one version for every CPU level. */
#include "kernels/pool_f32.h"

#include <string.h>

enum { GRAIN_VALUES = 1 << 14 };

typedef struct PoolTask {
    const EffPoolF32 *op;
    float *dst;
    const float *src;
} PoolTask;

static void raise_to(float *restrict dst, const float *restrict src, size_t n)
{
    for (size_t c = 0; c < n; c++)
        dst[c] = src[c] > dst[c] ? src[c] : dst[c];
}

static void add_to(float *restrict dst, const float *restrict src, size_t n)
{
    for (size_t c = 0; c < n; c++)
        dst[c] = dst[c] + src[c];
}

/* The taps [*begin, *end) of a window at `at` that are inside a picture of n. */
static void inside(int at, int kernel, int n, int *begin, int *end)
{
    *begin = at < 0 ? -at : 0;
    *end = n - at < kernel ? n - at : kernel;
}

static void pool_rows(void *ctx, size_t first, size_t last, int worker)
{
    const PoolTask *t = ctx;
    const EffPoolF32 *op = t->op;
    const size_t n_ch = (size_t)op->channels;
    float *dst = t->dst + first * (size_t)op->out_w * n_ch;
    (void)worker;
    for (int y = (int)first; y < (int)last; y++) {
        const int top = y * op->stride - op->pad_top;
        int y0, y1;
        inside(top, op->kernel_h, op->in_h, &y0, &y1);
        for (int x = 0; x < op->out_w; x++, dst += n_ch) {
            const int left = x * op->stride - op->pad_left;
            int x0, x1;
            inside(left, op->kernel_w, op->in_w, &x0, &x1);
            for (int ky = y0; ky < y1; ky++) {
                const float *src = t->src + ((size_t)(top + ky) * (size_t)op->in_w + (size_t)(left + x0)) * n_ch;
                for (int kx = x0; kx < x1; kx++, src += n_ch) {
                    if (ky == y0 && kx == x0)
                        memcpy(dst, src, n_ch * sizeof *dst);
                    else if (op->how == EFF_POOLING_MAX)
                        raise_to(dst, src, n_ch);
                    else
                        add_to(dst, src, n_ch);
                }
            }
            const float count = (float)((y1 - y0) * (x1 - x0));
            for (size_t c = 0; op->how == EFF_POOLING_MEAN && c < n_ch; c++)
                dst[c] = dst[c] / count;
        }
    }
}

void eff_pool_f32(const EffPoolF32 *op, float *dst, const float *src, EffPool *pool)
{
    PoolTask t = {.op = op, .dst = dst, .src = src};
    const size_t row = (size_t)op->out_w * (size_t)op->channels * (size_t)(op->kernel_h * op->kernel_w);
    eff_pool_run(pool, (size_t)op->out_h, GRAIN_VALUES / row + 1, pool_rows, &t);
}
