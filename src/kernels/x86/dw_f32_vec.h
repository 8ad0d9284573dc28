/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution in float: the body of the AVX2 and the AVX-512 kernel, after vec_f32_*.h has told the width of
 * a vector.
 *
 * A tile is some neighbouring columns of an output row; for a vector of channels after the other its sums are made in
 * registers. Each row of the window is walked once: an input column is loaded once and meets the taps that see it. At
 * the picture's edge the columns outside are stepped over, the same ones for all channels.
 */
#ifndef EFF_KERNELS_X86_DW_F32_VEC_H
#define EFF_KERNELS_X86_DW_F32_VEC_H

enum { MAX_COLS = 7, MAX_KERNEL = 5, MAX_IN = (MAX_COLS - 1) * 2 + MAX_KERNEL };

/* The activation in registers where it is a clamp. */
typedef struct Clamp {
    bool on;
    V lo, hi;
} Clamp;

typedef struct Tile {
    const EffDwF32 *op;
    const float *src;
    float *dst; /* of the first column */
    int y, x;
    Clamp clamp;
} Tile;

/* Rows of the window of output row y that lie in the picture: [*begin, *end). */
static EFF_ALWAYS_INLINE void rows_inside(const EffDwF32 *op, int y, int *begin, int *end)
{
    const int top = y * op->stride - op->pad_top;
    *begin = top < 0 ? -top : 0;
    *end = op->in_h - top < op->kernel_h ? op->in_h - top : op->kernel_h;
}

static EFF_ALWAYS_INLINE V finish(const Clamp *clamp, V v)
{
    return clamp->on ? min(max(v, clamp->lo), clamp->hi) : v;
}

/*
 * One tile of n_cols columns. `inside`: all input columns lie in the picture. All but t is constant at each call. The
 * last vector of channels may overlap the one before.
 */
static EFF_ALWAYS_INLINE void tile(const Tile *t, const int n_cols, const int kernel, const int stride,
                                   const bool inside)
{
    const EffDwF32 *op = t->op;
    const size_t n_ch = (size_t)op->channels, line = (size_t)op->in_w * n_ch;
    const int left = t->x * stride - op->pad_left, n_in = (n_cols - 1) * stride + kernel;
    const int lo = left < 0 ? -left : 0, hi = op->in_w - left < n_in ? op->in_w - left : n_in;
    int ky_begin, ky_end;
    rows_inside(op, t->y, &ky_begin, &ky_end);
    /* Of input column 0 of the tile in window row ky_begin; columns left of the picture wrap around, and back. */
    const size_t first = (size_t)(t->y * stride - op->pad_top + ky_begin) * line + (size_t)left * n_ch;
    for (size_t c = 0;;) {
        V acc[MAX_COLS];
        const V bias = op->bias != NULL ? load(op->bias + c) : set1(0);
#pragma GCC unroll 7
        for (int j = 0; j < n_cols; j++)
            acc[j] = bias;
        const float *wgt = op->wgt + (size_t)(ky_begin * kernel) * n_ch + c;
        size_t at = first + c;
        for (int ky = ky_begin; ky < ky_end; ky++, at += line, wgt += (size_t)kernel * n_ch) {
            V w[MAX_KERNEL];
#pragma GCC unroll 5
            for (int kx = 0; kx < kernel; kx++)
                w[kx] = load(wgt + (size_t)kx * n_ch);
#pragma GCC unroll 17
            for (int i = 0; i < n_in; i++) {
                if (!inside && (i < lo || i >= hi))
                    continue;
                const V v = load(t->src + (at + (size_t)i * n_ch));
#pragma GCC unroll 7
                for (int j = 0; j < n_cols; j++) {
                    if (i >= j * stride && i < j * stride + kernel)
                        acc[j] = muladd(v, w[i - j * stride], acc[j]);
                }
            }
        }
#pragma GCC unroll 7
        for (int j = 0; j < n_cols; j++)
            store(t->dst + (size_t)j * n_ch + c, finish(&t->clamp, acc[j]));
        c += LANES;
        if (c >= n_ch)
            break;
        c = c + LANES > n_ch ? n_ch - LANES : c;
    }
}

/* A row in tiles of 7 columns (which divides most sizes of this family), then of 4, 2 and 1. */
static EFF_ALWAYS_INLINE void row(Tile *t, const int kernel, const int stride)
{
    const EffDwF32 *op = t->op;
    for (int n = 0; t->x < op->out_w; t->x += n, t->dst += (size_t)n * (size_t)op->channels) {
        const int rest = op->out_w - t->x, left = t->x * stride - op->pad_left;
        n = rest >= 7 && rest != 8 ? 7 : rest >= 4 ? 4 : rest >= 2 ? 2 : 1;
        const bool inside = left >= 0 && left + (n - 1) * stride + kernel <= op->in_w;
        if (n == 7 && inside)
            tile(t, 7, kernel, stride, true);
        else if (n == 7)
            tile(t, 7, kernel, stride, false);
        else if (n == 4 && inside)
            tile(t, 4, kernel, stride, true);
        else if (n == 4)
            tile(t, 4, kernel, stride, false);
        else if (n == 2)
            tile(t, 2, kernel, stride, false);
        else
            tile(t, 1, kernel, stride, false);
        if (!t->clamp.on)
            activate(op->act, t->dst, (size_t)n * (size_t)op->channels); /* while it is in L1 */
    }
}

static EFF_NOINLINE void row_3s1(Tile *t)
{
    row(t, 3, 1);
}

static EFF_NOINLINE void row_3s2(Tile *t)
{
    row(t, 3, 2);
}

static EFF_NOINLINE void row_5s1(Tile *t)
{
    row(t, 5, 1);
}

static EFF_NOINLINE void row_5s2(Tile *t)
{
    row(t, 5, 2);
}

/* Any kernel and stride, pixel by pixel. */
static EFF_NOINLINE void row_any(Tile *t)
{
    const EffDwF32 *op = t->op;
    const size_t n_ch = (size_t)op->channels;
    int ky_begin, ky_end;
    rows_inside(op, t->y, &ky_begin, &ky_end);
    for (; t->x < op->out_w; t->x++, t->dst += n_ch) {
        const int top = t->y * op->stride - op->pad_top, left = t->x * op->stride - op->pad_left;
        const int kx_begin = left < 0 ? -left : 0;
        const int kx_end = op->in_w - left < op->kernel_w ? op->in_w - left : op->kernel_w;
        for (size_t c = 0;;) {
            V acc = op->bias != NULL ? load(op->bias + c) : set1(0);
            for (int ky = ky_begin; ky < ky_end; ky++) {
                for (int kx = kx_begin; kx < kx_end; kx++) {
                    const size_t pixel = (size_t)(top + ky) * (size_t)op->in_w + (size_t)(left + kx);
                    const float *wgt = op->wgt + (size_t)(ky * op->kernel_w + kx) * n_ch + c;
                    acc = muladd(load(t->src + pixel * n_ch + c), load(wgt), acc);
                }
            }
            store(t->dst + c, finish(&t->clamp, acc));
            c += LANES;
            if (c >= n_ch)
                break;
            c = c + LANES > n_ch ? n_ch - LANES : c;
        }
        if (!t->clamp.on)
            activate(op->act, t->dst, n_ch);
    }
}

static void run_dw(const EffDwF32 *op, const float *src, float *dst, int row_begin, int row_end)
{
    if (op->channels < LANES) {
        eff_dw_f32_c(op, src, dst, row_begin, row_end);
        return;
    }
    void (*run_row)(Tile *) = row_any;
    if (op->kernel_h == op->kernel_w && op->stride <= 2) {
        if (op->kernel_h == 3)
            run_row = op->stride == 1 ? row_3s1 : row_3s2;
        else if (op->kernel_h == 5)
            run_row = op->stride == 1 ? row_5s1 : row_5s2;
    }
    const Clamp clamp = {.on = op->act == EFF_ACTIVATION_RELU || op->act == EFF_ACTIVATION_RELU6,
                         .lo = set1(0),
                         .hi = set1(op->act == EFF_ACTIVATION_RELU6 ? 6 : INFINITY)};
    const size_t n_row = (size_t)op->out_w * (size_t)op->channels;
    for (int y = row_begin; y < row_end; y++) {
        Tile t = {.op = op, .src = src, .dst = dst + (size_t)y * n_row, .y = y, .clamp = clamp};
        run_row(&t);
    }
}

#endif
