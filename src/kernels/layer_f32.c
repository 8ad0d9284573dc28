/* SPDX-License-Identifier: Apache-2.0 */
/* Float layers: how each is split among threads. */
#include "kernels/layer_f32.h"
#include "base/mem.h"

#include <string.h>

enum {
    GRAIN_PIXELS = 24, /* the tiles of every kernel divide it */
    FEW_PIXELS = 64,   /* up to here a layer is split by output channels */
    GRAIN_VALUES = 1 << 14,
    MEAN_BLOCK = 64
};

/* ---- Convolutions ---- */

static bool is_depthwise(const EffConvF32 *op)
{
    return op->groups > 1;
}

/* The picture is the matrix already. */
static bool is_pointwise(const EffConvF32 *op)
{
    return op->groups == 1 && op->kernel_h == 1 && op->kernel_w == 1 && op->stride == 1 && op->pad_top == 0 &&
           op->pad_left == 0 && op->out_h == op->in_h && op->out_w == op->in_w;
}

static size_t n_taps(const EffConvF32 *op)
{
    return (size_t)op->kernel_h * (size_t)op->kernel_w;
}

size_t eff_conv_f32_packed_count(const EffKernelsF32 *k, const EffConvF32 *op)
{
    if (is_depthwise(op))
        return n_taps(op) * (size_t)op->out_ch;
    return k->pw.packed_count(n_taps(op) * (size_t)op->in_ch, (size_t)op->out_ch);
}

void eff_conv_f32_pack(const EffKernelsF32 *k, float *packed, const EffConvF32 *op, const float *wgt)
{
    const size_t taps = n_taps(op), n_out = (size_t)op->out_ch;
    if (!is_depthwise(op)) { /* [o][kh][kw][i] is the matrix of an im2col row already */
        k->pw.pack(packed, wgt, taps * (size_t)op->in_ch, n_out);
        return;
    }
    for (size_t c = 0; c < n_out; c++) {
        for (size_t t = 0; t < taps; t++)
            packed[t * n_out + c] = wgt[c * taps + t];
    }
}

size_t eff_conv_f32_row_floats(const EffConvF32 *op)
{
    size_t n = 0;
    if (is_depthwise(op) || is_pointwise(op))
        return 0;
    return eff_mul_size(&n, n_taps(op), (size_t)op->in_ch) && eff_mul_size(&n, n, (size_t)op->out_w) ? n : SIZE_MAX;
}

typedef struct ConvTask {
    const EffKernelsF32 *k;
    const EffConvF32 *op;
    const float *src;
    float *dst, *rows;
    size_t row_stride;
} ConvTask;

static EffPwF32 matrix_of(const EffConvF32 *op)
{
    const size_t n_in = n_taps(op) * (size_t)op->in_ch, n_out = (size_t)op->out_ch;
    return (EffPwF32){.n_in = n_in,
                      .n_out = n_out,
                      .src_stride = n_in,
                      .dst_stride = n_out,
                      .packed = op->wgt,
                      .bias = op->bias,
                      .act = op->act};
}

static void pw_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const ConvTask *t = ctx;
    const EffPwF32 pw = matrix_of(t->op);
    (void)worker;
    t->k->pw.run(&pw, t->src + begin * pw.n_in, t->dst + begin * pw.n_out, end - begin, 0, t->k->pw.n_panels(pw.n_out));
}

/* Few pixels: the classifier has one, and the last stages more weights than pixels. */
static void pw_panels(void *ctx, size_t begin, size_t end, int worker)
{
    const ConvTask *t = ctx;
    const EffPwF32 pw = matrix_of(t->op);
    (void)worker;
    t->k->pw.run(&pw, t->src, t->dst, (size_t)t->op->out_h * (size_t)t->op->out_w, begin, end);
}

static void dw_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const ConvTask *t = ctx;
    const EffConvF32 *op = t->op;
    const EffDwF32 dw = {.in_h = op->in_h,
                         .in_w = op->in_w,
                         .out_h = op->out_h,
                         .out_w = op->out_w,
                         .channels = op->out_ch,
                         .kernel_h = op->kernel_h,
                         .kernel_w = op->kernel_w,
                         .stride = op->stride,
                         .pad_top = op->pad_top,
                         .pad_left = op->pad_left,
                         .wgt = op->wgt,
                         .bias = op->bias,
                         .act = op->act};
    (void)worker;
    t->k->dw(&dw, t->src, t->dst, (int)begin, (int)end);
}

/* The taps of output row y as a matrix [out_w][kernel_h * kernel_w * in_ch]. */
static void im2col_row(const EffConvF32 *op, const float *src, float *row, int y)
{
    const size_t c = (size_t)op->in_ch, width = (size_t)op->kernel_w * c;
    for (int x = 0; x < op->out_w; x++) {
        const int left = x * op->stride - op->pad_left;
        const int begin = left < 0 ? -left : 0, end = op->in_w - left < op->kernel_w ? op->in_w - left : op->kernel_w;
        for (int ky = 0; ky < op->kernel_h; ky++, row += width) {
            const int in_y = y * op->stride - op->pad_top + ky;
            const bool inside = in_y >= 0 && in_y < op->in_h;
            if (!inside || end - begin < op->kernel_w)
                memset(row, 0, width * sizeof *row);
            if (inside && begin < end)
                memcpy(row + (size_t)begin * c, src + ((size_t)in_y * (size_t)op->in_w + (size_t)(left + begin)) * c,
                       (size_t)(end - begin) * c * sizeof *row);
        }
    }
}

static void dense_rows(void *ctx, size_t begin, size_t end, int worker)
{
    const ConvTask *t = ctx;
    const EffPwF32 pw = matrix_of(t->op);
    const size_t width = (size_t)t->op->out_w;
    float *matrix = t->rows + (size_t)worker * t->row_stride;
    for (size_t y = begin; y < end; y++) {
        float *dst = t->dst + y * width * pw.n_out;
        im2col_row(t->op, t->src, matrix, (int)y);
        t->k->pw.run(&pw, matrix, dst, width, 0, t->k->pw.n_panels(pw.n_out));
    }
}

/* Long pieces, but four a thread: the last ones even out what the threads have to wait. */
static void run_in_pieces(EffPool *pool, size_t n, eff_task_fn *fn, ConvTask *t)
{
    const size_t n_pieces = 4 * (size_t)eff_pool_size(pool);
    eff_pool_run(pool, n, n > n_pieces ? n / n_pieces : 1, fn, t);
}

void eff_conv_f32_run(const EffKernelsF32 *k, const EffConvF32 *op, const float *src, float *dst, EffPool *pool,
                      float *rows, size_t row_stride)
{
    ConvTask t = {.k = k, .op = op, .src = src, .dst = dst, .rows = rows, .row_stride = row_stride};
    const size_t n_rows = (size_t)op->out_h, n_pixels = n_rows * (size_t)op->out_w;
    if (is_depthwise(op))
        run_in_pieces(pool, n_rows, dw_rows, &t);
    else if (!is_pointwise(op))
        run_in_pieces(pool, n_rows, dense_rows, &t);
    else if (n_pixels > FEW_PIXELS)
        eff_pool_run(pool, n_pixels, GRAIN_PIXELS, pw_pixels, &t);
    else
        run_in_pieces(pool, k->pw.n_panels((size_t)op->out_ch), pw_panels, &t);
}

/* ---- The rest ---- */

typedef struct ValueTask {
    const EffKernelsF32 *k;
    float *dst;
    const float *src, *src2;
    size_t n_pixels, n_ch;
    EffActivation act;
} ValueTask;

static void activate_values(void *ctx, size_t begin, size_t end, int worker)
{
    const ValueTask *t = ctx;
    (void)worker;
    memcpy(t->dst + begin, t->src + begin, (end - begin) * sizeof *t->dst);
    t->k->act(t->act, t->dst + begin, end - begin);
}

void eff_act_f32(const EffKernelsF32 *k, EffActivation act, float *dst, const float *src, size_t n, EffPool *pool)
{
    ValueTask t = {.k = k, .dst = dst, .src = src, .act = act};
    eff_pool_run(pool, n, GRAIN_VALUES, activate_values, &t);
}

static void add_values(void *ctx, size_t begin, size_t end, int worker)
{
    const ValueTask *t = ctx;
    (void)worker;
    t->k->add(t->dst + begin, t->src + begin, t->src2 + begin, end - begin);
}

void eff_add_f32(const EffKernelsF32 *k, float *dst, const float *a, const float *b, size_t n, EffPool *pool)
{
    ValueTask t = {.k = k, .dst = dst, .src = a, .src2 = b};
    eff_pool_run(pool, n, GRAIN_VALUES, add_values, &t);
}

static void gate_pixels(void *ctx, size_t begin, size_t end, int worker)
{
    const ValueTask *t = ctx;
    (void)worker;
    t->k->gate(t->dst + begin * t->n_ch, t->src + begin * t->n_ch, t->src2, end - begin, t->n_ch);
}

void eff_gate_f32(const EffKernelsF32 *k, float *dst, const float *src, const float *gate, size_t n_pixels, size_t n_ch,
                  EffPool *pool)
{
    ValueTask t = {.k = k, .dst = dst, .src = src, .src2 = gate, .n_ch = n_ch};
    eff_pool_run(pool, n_pixels, GRAIN_VALUES / n_ch + 1, gate_pixels, &t);
}

static void mean_blocks(void *ctx, size_t begin, size_t end, int worker)
{
    const ValueTask *t = ctx;
    const size_t ch_end = end * MEAN_BLOCK < t->n_ch ? end * MEAN_BLOCK : t->n_ch;
    (void)worker;
    t->k->mean(t->dst, t->src, t->n_pixels, t->n_ch, begin * MEAN_BLOCK, ch_end);
}

void eff_mean_f32(const EffKernelsF32 *k, float *dst, const float *src, size_t n_pixels, size_t n_ch, EffPool *pool)
{
    ValueTask t = {.k = k, .dst = dst, .src = src, .n_pixels = n_pixels, .n_ch = n_ch};
    eff_pool_run(pool, (n_ch + MEAN_BLOCK - 1) / MEAN_BLOCK, 1, mean_blocks, &t);
}
