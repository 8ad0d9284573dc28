/* SPDX-License-Identifier: Apache-2.0 */
/* Geometry and padding of row quads. */
#include "kernels/quads.h"
#include "base/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

void eff_quads_init(EffQuads *q, int rows, int cols, int kernel, int stride, int pad_top, int pad_left, int out_rows,
                    int out_cols, int ch_stride)
{
    /* A step of the kernels makes 4 / stride output rows from quad j on; its last window ends within this many more. */
    const int rows_a_step = 4 / stride, more = ((rows_a_step - 1) * stride + kernel - 1) / 4;
    const int steps = (out_rows + rows_a_step - 1) / rows_a_step;
    const int image_quads = (rows + pad_top + 3) / 4, image_cols = cols + pad_left;
    const int read_cols = (out_cols - 1) * stride + kernel;
    *q = (EffQuads){
        .rows = rows,
        .cols = cols,
        .pad_top = pad_top,
        .pad_left = pad_left,
        .n_quads = steps + more > image_quads ? steps + more : image_quads,
        .n_cols = read_cols > image_cols ? read_cols : image_cols,
        .ch_stride = ch_stride,
    };
}

int eff_quads_bytes(size_t *out, const EffQuads *q, int n_quads)
{
    size_t n;
    return eff_mul_size(&n, (size_t)q->n_cols, (size_t)q->ch_stride) && eff_mul_size(&n, n, 4) &&
           eff_mul_size(out, n, (size_t)n_quads);
}

static void fill_columns(uint8_t *dst, size_t ch_stride, const int16_t *zero, int n_ch, int n_cols)
{
    if (n_cols <= 0)
        return;
    for (int c = 0; c < n_ch; c++)
        memset(dst + 4 * (size_t)c, zero[c], 4);
    for (int x = 1; x < n_cols; x++)
        memcpy(dst + 4 * ch_stride * (size_t)x, dst, 4 * (size_t)n_ch);
}

void eff_quads_fill_padding(const EffQuads *q, uint8_t *dst, const int16_t *zero, int n_ch, int quad_begin,
                            int quad_end)
{
    assert(n_ch <= q->ch_stride && quad_begin >= 0 && quad_end <= q->n_quads);
    const size_t column = 4 * (size_t)q->ch_stride, stride = eff_quads_stride(q);
    for (int j = quad_begin; j < quad_end; j++, dst += stride) {
        if (4 * j + 3 < q->pad_top || 4 * j >= q->pad_top + q->rows) {
            fill_columns(dst, (size_t)q->ch_stride, zero, n_ch, q->n_cols);
            continue;
        }
        const int after = q->pad_left + q->cols;
        fill_columns(dst, (size_t)q->ch_stride, zero, n_ch, q->pad_left);
        fill_columns(dst + column * (size_t)after, (size_t)q->ch_stride, zero, n_ch, q->n_cols - after);
    }
}

void eff_quads_from_nhwc(const EffQuads *q, uint8_t *dst, const uint8_t *src, size_t src_stride, const int16_t *zero,
                         int n_ch, int quad_begin, int quad_end)
{
    const size_t column = 4 * (size_t)q->ch_stride, stride = eff_quads_stride(q);
    eff_quads_fill_padding(q, dst, zero, n_ch, quad_begin, quad_end);
    for (int j = quad_begin; j < quad_end; j++, dst += stride) {
        for (int r = 0; r < 4; r++) {
            const int y = 4 * j + r - q->pad_top;
            if (4 * j + 3 < q->pad_top || 4 * j >= q->pad_top + q->rows)
                break;
            for (int x = 0; x < q->cols; x++) {
                uint8_t *to = dst + column * (size_t)(x + q->pad_left) + r;
                if (y < 0 || y >= q->rows) {
                    for (int c = 0; c < n_ch; c++)
                        to[4 * c] = (uint8_t)zero[c];
                    continue;
                }
                const uint8_t *from = src + ((size_t)y * (size_t)q->cols + (size_t)x) * src_stride;
                for (int c = 0; c < n_ch; c++)
                    to[4 * c] = from[c];
            }
        }
    }
}
