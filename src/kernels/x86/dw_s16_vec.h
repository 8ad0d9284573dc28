/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution of 16-bit inputs: the body of the AVX2 and the AVX-512 kernel, after V, LANES and a few
 * operations have been defined.
 *
 * vpmaddwd multiplies 16 bits by 16 bits and adds neighbours. Neighbours are made of two columns of a row, interleaved
 * channel by channel, and so are weights: column i with i + 1 serves taps 0 and 1 of one output, 2 and 3 of another. A
 * row of an odd kernel ends with a tap beside a weight of 0. Interleaving works inside 128 bits, so that a vector's
 * sums come in two halves, which are put in order when they are stored.
 */
#ifndef EFF_KERNELS_X86_DW_S16_VEC_H
#define EFF_KERNELS_X86_DW_S16_VEC_H

enum { MAX_COLS = 4, MAX_KERNEL = 7, MAX_PAIRS = (MAX_KERNEL + 1) / 2 };

typedef struct Tile {
    const EffDwS16 *op;
    const int16_t *src;
    int32_t *dst; /* of the first column */
    int y, x;
} Tile;

/* n_cols columns from x on, which is constant at each call, as are kernel and stride. The last vector of channels may
 * overlap the one before. */
static EFF_ALWAYS_INLINE void tile(const Tile *t, const int n_cols, const int kernel, const int stride)
{
    const EffDwS16 *op = t->op;
    const size_t n_ch = (size_t)op->channels, line = (size_t)op->in_w * n_ch, wgt_line = (size_t)(kernel + 1) * n_ch;
    const int top = t->y * stride - op->pad_top, left = t->x * stride - op->pad_left;
    const int n_in = (n_cols - 1) * stride + kernel, lo = left < 0 ? -left : 0;
    const int hi = op->in_w - left < n_in ? op->in_w - left : n_in;
    const int ky_begin = top < 0 ? -top : 0, ky_end = op->in_h - top < kernel ? op->in_h - top : kernel;
    for (size_t c = 0;;) {
        V even[MAX_COLS], odd[MAX_COLS];
#pragma GCC unroll 4
        for (int j = 0; j < n_cols; j++)
            even[j] = odd[j] = set1_32(128);
        for (int ky = ky_begin; ky < ky_end; ky++) {
            const int16_t *wgt = op->wgt + (size_t)ky * wgt_line + c;
            /* Of input column 0, which may lie left of the picture: it wraps around, and back. */
            const size_t at = (size_t)(top + ky) * line + (size_t)left * n_ch + c;
            V w_even[MAX_PAIRS], w_odd[MAX_PAIRS];
#pragma GCC unroll 4
            for (int k = 0; k < (kernel + 1) / 2; k++) {
                const V a = load(wgt + (size_t)(2 * k) * n_ch), b = load(wgt + (size_t)(2 * k + 1) * n_ch);
                w_even[k] = interleave_low(a, b);
                w_odd[k] = interleave_high(a, b);
            }
            V next = lo > 0 || hi <= 0 ? set1_32(0) : load(t->src + at);
#pragma GCC unroll 13
            for (int i = 0; i < n_in; i++) {
                const V v = next;
                if (i + 1 < n_in)
                    next = i + 1 < lo || i + 1 >= hi ? set1_32(0) : load(t->src + (at + (size_t)(i + 1) * n_ch));
                const V low = interleave_low(v, next), high = interleave_high(v, next);
#pragma GCC unroll 4
                for (int j = 0; j < n_cols; j++) {
                    const int kx = i - j * stride;
                    if (kx >= 0 && kx < kernel && kx % 2 == 0) {
                        even[j] = add_32(even[j], madd(low, w_even[kx / 2]));
                        odd[j] = add_32(odd[j], madd(high, w_odd[kx / 2]));
                    }
                }
            }
        }
#pragma GCC unroll 4
        for (int j = 0; j < n_cols; j++)
            store_in_order(t->dst + (size_t)j * n_ch + c, shift_8(even[j]), shift_8(odd[j]));
        c += LANES;
        if (c >= n_ch)
            break;
        c = c + LANES > n_ch ? n_ch - LANES : c;
    }
}

static EFF_ALWAYS_INLINE void row(Tile *t, const int kernel, const int stride)
{
    for (int n = 0; t->x < t->op->out_w; t->x += n, t->dst += (size_t)n * (size_t)t->op->channels) {
        const int rest = t->op->out_w - t->x;
        n = rest >= 4 ? 4 : rest >= 2 ? 2 : 1;
        if (n == 4)
            tile(t, 4, kernel, stride);
        else if (n == 2)
            tile(t, 2, kernel, stride);
        else
            tile(t, 1, kernel, stride);
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

static EFF_NOINLINE void row_7s1(Tile *t)
{
    row(t, 7, 1);
}

static EFF_NOINLINE void row_7s2(Tile *t)
{
    row(t, 7, 2);
}

static void run_dw(const EffDwS16 *op, const int16_t *src, int32_t *dst, int y)
{
    static void (*const rows[][2])(Tile *) = {{row_3s1, row_3s2}, {row_5s1, row_5s2}, {row_7s1, row_7s2}};
    Tile t = {.op = op, .src = src, .dst = dst, .y = y};
    if (op->channels < LANES)
        eff_dw_s16_c(op, src, dst, y);
    else
        rows[(op->kernel - 3) / 2][op->stride - 1](&t);
}

#endif
