/* SPDX-License-Identifier: Apache-2.0 */
/* The stem: im2col of a few rows, then the pointwise kernel of the table, once a border case. */
#include "kernels/stem.h"
#include "base/status.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum {
    COPY = 32,         /* bytes copied a window row: the largest, 7 x 3, in one fixed-size move */
    MAX_BIAS = 1 << 30 /* leaves room for 7 x 7 x 3 products */
};

EffTaps eff_stem_taps(int out, int kernel, int stride, int pad, int size)
{
    const int at = out * stride - pad;
    return (EffTaps){at < 0 ? -at : 0, at + kernel > size ? size - at : kernel};
}

static bool dimension_ok(int kernel, int stride, int pad, int size, int out)
{
    return size >= 1 && size <= EFF_MAX_CH && out >= 1 && out <= size + kernel && pad >= 0 && pad < kernel &&
           (out - 1) * stride - pad < size && kernel - pad > 0;
}

EffStatus eff_stem_check(const EffStem *op)
{
    const int k = op->kernel;
    if (k < 1 || k > EFF_STEM_MAX_KERNEL || op->stride < 1 || op->stride > k || op->pw.in_ch != EFF_STEM_CH * k * k ||
        !dimension_ok(k, op->stride, op->pad_top, op->rows, op->out_rows) ||
        !dimension_ok(k, op->stride, op->pad_left, op->cols, op->out_cols))
        return eff_fail(EFF_ERR_FORMAT, "stem: kernel %d, stride %d, %dx%d to %dx%d pixels is not a valid convolution",
                        k, op->stride, op->rows, op->cols, op->out_rows, op->out_cols);
    for (int y = 0; y < op->out_rows; y++) {
        const int row_case = eff_stem_case(eff_stem_taps(y, k, op->stride, op->pad_top, op->rows), k);
        for (int x = 0; x < op->out_cols; x++) {
            const int col_case = eff_stem_case(eff_stem_taps(x, k, op->stride, op->pad_left, op->cols), k);
            const int32_t *bias = op->bias[row_case * k * k + col_case];
            for (int o = 0; bias != NULL && o < op->pw.out_ch; o++) {
                if (bias[o] < -MAX_BIAS || bias[o] > MAX_BIAS)
                    return eff_fail(EFF_ERR_FORMAT, "stem: bias %d of output channel %d is beyond 2^30", (int)bias[o],
                                    o);
            }
            if (bias == NULL)
                return eff_fail(EFF_ERR_FORMAT, "stem: no bias for the border case of output %d, %d", y, x);
        }
    }
    return EFF_OK;
}

/* Bytes a pixel of the im2col matrix: the window, a multiple of 4. */
static size_t pixel_bytes(const EffStem *op)
{
    return ((size_t)op->pw.in_ch + 3) / 4 * 4;
}

static size_t row_bytes(const EffStem *op)
{
    return (size_t)op->out_cols * pixel_bytes(op);
}

size_t eff_stem_workspace_bytes(const EffStem *op)
{
    return 4 * row_bytes(op) + COPY; /* the last fixed-size copy */
}

/* One window with taps outside the image: those become 0. */
static void border_pixel(const EffStem *op, const uint8_t *image, uint8_t *dst, int y, int x)
{
    const EffTaps ty = eff_stem_taps(y, op->kernel, op->stride, op->pad_top, op->rows);
    const EffTaps tx = eff_stem_taps(x, op->kernel, op->stride, op->pad_left, op->cols);
    const size_t n = (size_t)(tx.end - tx.first) * EFF_STEM_CH;
    memset(dst, 0, pixel_bytes(op));
    for (int ky = ty.first; ky < ty.end; ky++) {
        const size_t row = (size_t)(y * op->stride - op->pad_top + ky);
        const size_t col = (size_t)(x * op->stride - op->pad_left + tx.first);
        memcpy(dst + (ky * op->kernel + tx.first) * EFF_STEM_CH, image + (row * (size_t)op->cols + col) * EFF_STEM_CH,
               n);
    }
}

/*
 * Row y of the im2col matrix. Interior windows copy a fixed number of bytes a window row, more than it has: the next
 * copy overwrites the excess, which after the last row lands in the next pixel, and that is written later.
 */
static void im2col_row(const EffStem *op, const uint8_t *image, uint8_t *dst, int y)
{
    const int k = op->kernel;
    const size_t bytes = pixel_bytes(op), window = (size_t)k * EFF_STEM_CH, line = (size_t)op->cols * EFF_STEM_CH;
    const EffTaps ty = eff_stem_taps(y, k, op->stride, op->pad_top, op->rows);
    for (int x = 0; x < op->out_cols; x++, dst += bytes) {
        const EffTaps tx = eff_stem_taps(x, k, op->stride, op->pad_left, op->cols);
        if (tx.first > 0 || tx.end < k || ty.first > 0 || ty.end < k) {
            border_pixel(op, image, dst, y, x);
            continue;
        }
        const uint8_t *src = image + (size_t)(y * op->stride - op->pad_top) * line +
                             (size_t)(x * op->stride - op->pad_left) * EFF_STEM_CH;
        if (k == 3) {
            memcpy(dst, src, 16);
            memcpy(dst + 9, src + line, 16);
            memcpy(dst + 18, src + 2 * line, 16);
            continue;
        }
        for (int ky = 0; ky < k; ky++)
            memcpy(dst + (size_t)ky * window, src + (size_t)ky * line, COPY);
    }
}

/* The end of the run of columns from x on that share a border case. */
static int same_case_end(const EffStem *op, int x, int *col_case)
{
    const int k = op->kernel;
    *col_case = eff_stem_case(eff_stem_taps(x, k, op->stride, op->pad_left, op->cols), k);
    int end = x + 1;
    while (end < op->out_cols &&
           eff_stem_case(eff_stem_taps(end, k, op->stride, op->pad_left, op->cols), k) == *col_case)
        end++;
    return end;
}

void eff_stem_run(const EffKernels *k, const EffStem *op, const uint8_t *image, const EffPwIo *out, int row_begin,
                  int row_end, void *workspace)
{
    const int cases = op->kernel * op->kernel;
    const size_t n = (size_t)eff_ch_pad(op->pw.out_ch), bytes = pixel_bytes(op);
    for (int y = row_begin; y < row_end; y++) {
        im2col_row(op, image, workspace, y);
        const int row_case = eff_stem_case(eff_stem_taps(y, op->kernel, op->stride, op->pad_top, op->rows), op->kernel);
        int end, col_case;
        for (int x = 0; x < op->out_cols; x = end) {
            end = same_case_end(op, x, &col_case);
            const size_t at = ((size_t)(y - row_begin) * (size_t)op->out_cols + (size_t)x) * n;
            const EffPwIo io = {
                .src = (const uint8_t *)workspace + (size_t)x * bytes,
                .src_stride = bytes,
                .dst_u8 = out->dst_u8 ? out->dst_u8 + at : NULL,
                .dst_s16 = out->dst_s16 ? out->dst_s16 + at : NULL,
                .bias = op->bias[row_case * cases + col_case],
                .n_pixels = (size_t)(end - x),
            };
            k->pw_u8s8.run(&op->pw, &io);
        }
    }
}

void eff_stem_run_quads(const EffKernels *k, const EffStem *op, const uint8_t *image, uint8_t *dst,
                        const EffQuads *quads, int quad_begin, int quad_end, void *workspace)
{
    const int cases = op->kernel * op->kernel;
    const size_t line = row_bytes(op);
    assert(quads->rows == op->out_rows && quads->cols == op->out_cols);
    for (int j = quad_begin; j < quad_end; j++, dst += eff_quads_stride(quads)) {
        const int top = 4 * j - quads->pad_top;
        const int row0 = top > 0 ? top : 0, row1 = top + 4 < op->out_rows ? top + 4 : op->out_rows;
        if (row1 <= row0)
            continue; /* a quad of padding only */
        int row_case[4], end, col_case;
        for (int y = row0; y < row1; y++) {
            im2col_row(op, image, (uint8_t *)workspace + (size_t)(y - row0) * line, y);
            row_case[y - row0] =
                eff_stem_case(eff_stem_taps(y, op->kernel, op->stride, op->pad_top, op->rows), op->kernel);
        }
        for (int x = 0; x < op->out_cols; x = end) {
            end = same_case_end(op, x, &col_case);
            const int32_t *row_bias[4];
            for (int y = 0; y < row1 - row0; y++)
                row_bias[y] = op->bias[row_case[y] * cases + col_case];
            const EffPwQuadIo io = {
                .src = workspace,
                .src_stride = pixel_bytes(op),
                .src_row_stride = line,
                .dst = dst,
                .quads = quads,
                .quad_begin = j,
                .quad_end = j + 1,
                .col_begin = x,
                .col_end = end,
                .ch_end = eff_ch_pad(op->pw.out_ch),
                .row_bias = row_bias,
            };
            k->pw_u8s8.run_quads(&op->pw, &io);
        }
    }
}
