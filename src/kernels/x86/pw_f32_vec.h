/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointwise convolution in float: the body of the AVX2 and the AVX-512 kernel, after vec_f32_*.h has told the width of
 * a vector.
 *
 * A tile is m pixels by n vectors of output channels, its sums in registers: an input is broadcast against n vectors of
 * weights. Where loads share the issue slots of arithmetic (Zen), wide and low tiles are best: 3 x 4 vectors with 16
 * registers did 14.8 GMAC/s, 4 x 3 did 14.0, 6 x 2 did 13.2 (Zen 1 at 2.5 GHz, multiplying and adding). With fused
 * multiply-adds on 256 bits a low tile waits for its weights, which come from L2: on Golden Cove the 480 -> 80 layer of
 * B0 took 208 us with panels of up to 6 vectors, 162 with 4, 157 with 3, all layers together 3.5, 3.3 and 3.3 ms.
 *
 * Packed weights: panels of PANEL_VECTORS, the last one of 1 to MAX_VECTORS vectors; [n_in][width] each. Channels
 * beyond n_out are 0.
 */
#ifndef EFF_KERNELS_X86_PW_F32_VEC_H
#define EFF_KERNELS_X86_PW_F32_VEC_H

#include <string.h>

enum {
    PANEL = PANEL_VECTORS * LANES,
    MAX_PIXELS = 12,
};

static size_t n_vectors(size_t n_channels)
{
    return (n_channels + LANES - 1) / LANES;
}

static size_t n_panels(size_t n_out)
{
    const size_t n = n_vectors(n_out);
    return n <= MAX_VECTORS ? n > 0 : 1 + (n - MAX_VECTORS + PANEL_VECTORS - 1) / PANEL_VECTORS;
}

static size_t packed_count(size_t n_in, size_t n_out)
{
    return n_vectors(n_out) * LANES * n_in;
}

/* Of the panel that starts at channel o. */
static size_t width_of(size_t n_out, size_t o)
{
    const size_t left = n_vectors(n_out - o);
    return (left <= MAX_VECTORS ? left : PANEL_VECTORS) * LANES;
}

static void pack(float *packed, const float *wgt, size_t n_in, size_t n_out)
{
    for (size_t panel = 0, o = 0; panel < n_panels(n_out); panel++, o += PANEL) {
        const size_t width = width_of(n_out, o);
        for (size_t i = 0; i < n_in; i++) {
            for (size_t lane = 0; lane < width; lane++)
                *packed++ = o + lane < n_out ? wgt[(o + lane) * n_in + i] : 0.0f;
        }
    }
}

typedef struct Panel {
    const EffPwF32 *op;
    const float *src, *wgt;
    float *dst; /* at the first channel of the panel */
    size_t n_cols;
    bool clamp;
    V lo, hi;
    float bias[MAX_VECTORS * LANES];
} Panel;

/* Pixels [p, p + m), all n vectors of the panel; m and n are constant at each call. */
static EFF_ALWAYS_INLINE void tile(const Panel *panel, size_t p, const int m, const int n)
{
    const EffPwF32 *op = panel->op;
    const float *src = panel->src + p * op->src_stride, *wgt = panel->wgt;
    const size_t n_in = op->n_in, stride = op->src_stride;
    V acc[MAX_PIXELS][MAX_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < m; r++) {
#pragma GCC unroll 6
        for (int v = 0; v < n; v++)
            acc[r][v] = load(panel->bias + v * LANES);
    }
    for (size_t i = 0; i < n_in; i++) {
#pragma GCC unroll 12
        for (int r = 0; r < m; r++) {
            const V x = set1(src[(size_t)r * stride + i]);
#pragma GCC unroll 6
            for (int v = 0; v < n; v++)
                acc[r][v] = muladd(x, load(wgt + v * LANES), acc[r][v]);
        }
        wgt += n * LANES;
    }
    if (panel->clamp) {
#pragma GCC unroll 12
        for (int r = 0; r < m; r++) {
#pragma GCC unroll 6
            for (int v = 0; v < n; v++)
                acc[r][v] = min(max(acc[r][v], panel->lo), panel->hi);
        }
    }
    float *dst = panel->dst + p * op->dst_stride, cut[MAX_PIXELS][MAX_VECTORS * LANES];
    const bool whole = panel->n_cols == (size_t)n * LANES;
    float *to = whole ? dst : cut[0];
    const size_t to_stride = whole ? op->dst_stride : MAX_VECTORS * LANES;
#pragma GCC unroll 12
    for (int r = 0; r < m; r++) {
#pragma GCC unroll 6
        for (int v = 0; v < n; v++)
            store(to + (size_t)r * to_stride + v * LANES, acc[r][v]);
    }
    for (int r = 0; r < m && !whole; r++)
        memcpy(dst + (size_t)r * op->dst_stride, cut[r], panel->n_cols * sizeof *dst);
}

/* As many tiles of m pixels as fit; returns the first pixel that is left. */
static EFF_ALWAYS_INLINE size_t tiles(const Panel *panel, size_t p, size_t n_pixels, const int m, const int n)
{
    for (; p + (size_t)m <= n_pixels; p += (size_t)m)
        tile(panel, p, m, n);
    return p;
}

/* Tiles of m pixels, of half and of a quarter as many, and of one. */
static EFF_ALWAYS_INLINE void all_tiles(const Panel *panel, size_t n_pixels, const int m, const int n)
{
    size_t p = tiles(panel, 0, n_pixels, m, n);
    if (m > 3)
        p = tiles(panel, p, n_pixels, m / 2, n);
    if (m > 7)
        p = tiles(panel, p, n_pixels, m / 4, n);
    if (m > 1)
        tiles(panel, p, n_pixels, 1, n);
}

static EFF_NOINLINE void panel_1(const Panel *p, size_t n_pixels)
{
    all_tiles(p, n_pixels, PIXELS_1, 1);
}

static EFF_NOINLINE void panel_2(const Panel *p, size_t n_pixels)
{
    all_tiles(p, n_pixels, PIXELS_2, 2);
}

static EFF_NOINLINE void panel_3(const Panel *p, size_t n_pixels)
{
    all_tiles(p, n_pixels, PIXELS_3, 3);
}

static EFF_NOINLINE void panel_4(const Panel *p, size_t n_pixels)
{
    all_tiles(p, n_pixels, PIXELS_4, 4);
}

#if MAX_VECTORS > 4
static EFF_NOINLINE void panel_5(const Panel *p, size_t n_pixels)
{
    all_tiles(p, n_pixels, PIXELS_5, 5);
}

static EFF_NOINLINE void panel_6(const Panel *p, size_t n_pixels)
{
    all_tiles(p, n_pixels, PIXELS_6, 6);
}
#endif

/* Channels [o, end) of all pixels: what is no clamp waits until all panels are done, for it wants long rows. */
static void activate_rows(const EffPwF32 *op, float *dst, size_t n_pixels, size_t o, size_t end)
{
    if (end - o == op->dst_stride) {
        activate(op->act, dst, n_pixels * op->dst_stride);
        return;
    }
    for (size_t p = 0; p < n_pixels; p++)
        activate(op->act, dst + p * op->dst_stride + o, end - o);
}

static void run(const EffPwF32 *op, const float *src, float *dst, size_t n_pixels, size_t panel_begin, size_t panel_end)
{
    static void (*const run_panel[])(const Panel *, size_t) = {
        panel_1,
        panel_2,
        panel_3,
        panel_4,
#if MAX_VECTORS > 4
        panel_5,
        panel_6,
#endif
    };
    Panel p = {.op = op,
               .src = src,
               .clamp = op->act == EFF_ACTIVATION_RELU || op->act == EFF_ACTIVATION_RELU6,
               .lo = set1(0),
               .hi = set1(op->act == EFF_ACTIVATION_RELU6 ? 6 : INFINITY)};
    for (size_t panel = panel_begin, o = panel_begin * PANEL; panel < panel_end; panel++, o += PANEL) {
        const size_t width = width_of(op->n_out, o);
        p.wgt = op->packed + o * op->n_in;
        p.dst = dst + o;
        p.n_cols = op->n_out - o < width ? op->n_out - o : width;
        memset(p.bias, 0, sizeof p.bias);
        if (op->bias != NULL)
            memcpy(p.bias, op->bias + o, p.n_cols * sizeof *p.bias);
        run_panel[width / LANES - 1](&p, n_pixels);
        if (panel + 1 == panel_end && !p.clamp && op->act != EFF_ACTIVATION_NONE)
            activate_rows(op, dst, n_pixels, panel_begin * PANEL, o + p.n_cols);
    }
}

#endif
