/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Antialiased separable resizing, byte for byte as Pillow does it. For output pixel i of an axis (scale = n_in / n_out,
 * stretch = max(scale, 1), radius that of the kernel at stretch 1):
 *
 *   centre = (i + 0.5) * scale
 *   taps     from int(centre - radius * stretch + 0.5) to int(centre + radius * stretch + 0.5), cut at the edges
 *   weight   kernel((tap - centre + 0.5) / stretch), divided by the sum of the weights, in double
 *   fixed    weight * 2^22, rounded half away from zero
 *   output   clamp((2^21 + sum of pixel * fixed) >> 22, 0, 255)
 *
 * A pass rounds to 8 bits; one whose axis keeps its size is left out. The horizontal pass comes first, unless the
 * height shrinks by more than twice the pixels that the width does: the order of Pillow 13 (up to 12.1 it was always
 * horizontal first). Rows go through a ring just tall enough for one output row's taps, so that the picture between the
 * passes stays in the cache.
 */
#include "image/resize.h"

#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"
#include "image/decode.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    FIXED_BITS = 32 - 8 - 2, /* 8 bits of pixel, a sign, and one bit for lobes that overshoot */
    BLOCK = 512              /* bytes of a row whose sums are kept on the stack */
};
static const size_t max_ring_bytes = (size_t)1 << 30;
static const double pi = 3.14159265358979323846;

typedef double kernel_fn(double x);

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x)
{
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= pi;
    return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x)); /* Pillow's constants are floats */
}

static double bicubic(double x) /* Keys, a = -0.5 */
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0)
        return 1.0;
    x *= pi;
    return sin(x) / x;
}

static double lanczos(double x) /* three lobes */
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

static const struct {
    kernel_fn *fn;
    double radius;
} kernels[] = {
    [EFF_INTERP_BOX] = {box, 0.5},         [EFF_INTERP_BILINEAR] = {bilinear, 1.0},
    [EFF_INTERP_HAMMING] = {hamming, 1.0}, [EFF_INTERP_BICUBIC] = {bicubic, 2.0},
    [EFF_INTERP_LANCZOS] = {lanczos, 3.0},
};

/* Where the taps of one output pixel start, how many there are. */
typedef struct Taps {
    int first, n;
} Taps;

/* One axis of the window: output i takes taps[i], weighed by wgt[i * stride ..]. Empty when the size stays. */
typedef struct Axis {
    Taps *taps;
    int32_t *wgt;
    size_t stride;
    int max_taps;
} Axis;

static void axis_free(Axis *axis)
{
    eff_free(axis->taps);
    eff_free(axis->wgt);
}

static int32_t to_fixed(double w)
{
    const double scaled = w * (1 << FIXED_BITS);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* Outputs [begin, begin + n) of an axis of n_full outputs from n_in inputs. */
static EffStatus axis_init(Axis *axis, int n_in, int n_full, int begin, int n, EffInterpolation kernel)
{
    const double scale = (double)n_in / n_full;
    const double stretch = scale < 1.0 ? 1.0 : scale;
    const double radius = kernels[kernel].radius * stretch, inv_stretch = 1.0 / stretch;
    axis->stride = (size_t)ceil(radius) * 2 + 1;
    axis->taps = eff_calloc((size_t)n, sizeof *axis->taps);
    size_t n_wgt;
    axis->wgt = eff_mul_size(&n_wgt, (size_t)n, axis->stride) ? eff_calloc(n_wgt, sizeof *axis->wgt) : NULL;
    double *exact = eff_calloc(axis->stride, sizeof *exact);
    if (axis->taps == NULL || axis->wgt == NULL || exact == NULL) {
        eff_free(exact);
        return eff_fail_nomem((size_t)n * axis->stride * sizeof *axis->wgt, "resize weights");
    }
    for (int i = 0; i < n; i++) {
        const double centre = (begin + i + 0.5) * scale;
        int first = (int)(centre - radius + 0.5), end = (int)(centre + radius + 0.5);
        first = first < 0 ? 0 : first;
        end = end > n_in ? n_in : end;
        const int n_taps = end - first;
        assert(n_taps > 0 && (size_t)n_taps <= axis->stride);
        double sum = 0.0;
        for (int t = 0; t < n_taps; t++) {
            exact[t] = kernels[kernel].fn((t + first - centre + 0.5) * inv_stretch);
            sum += exact[t];
        }
        for (int t = 0; t < n_taps; t++)
            axis->wgt[(size_t)i * axis->stride + (size_t)t] = to_fixed(sum != 0.0 ? exact[t] / sum : exact[t]);
        axis->taps[i] = (Taps){.first = first, .n = n_taps};
        axis->max_taps = n_taps > axis->max_taps ? n_taps : axis->max_taps;
    }
    eff_free(exact);
    return EFF_OK;
}

static EFF_ALWAYS_INLINE uint8_t to_pixel(int32_t acc)
{
    acc >>= FIXED_BITS; /* arithmetic, on every compiler we take */
    return (uint8_t)(acc < 0 ? 0 : acc > 255 ? 255 : acc);
}

/* One row through the horizontal pass. n_ch is a constant where this is inlined. */
static EFF_ALWAYS_INLINE void row_pass(uint8_t *restrict dst, const uint8_t *restrict src, const Axis *axis, int width,
                                       int n_ch)
{
    for (int x = 0; x < width; x++) {
        const uint8_t *p = src + (ptrdiff_t)axis->taps[x].first * n_ch;
        const int32_t *wgt = axis->wgt + (size_t)x * axis->stride;
        const int n = axis->taps[x].n;
        int32_t acc[3] = {1 << (FIXED_BITS - 1), 1 << (FIXED_BITS - 1), 1 << (FIXED_BITS - 1)};
        for (int t = 0; t < n; t++) {
            for (int c = 0; c < n_ch; c++)
                acc[c] += p[t * n_ch + c] * wgt[t];
        }
        for (int c = 0; c < n_ch; c++)
            *dst++ = to_pixel(acc[c]);
    }
}

static void row_pass_gray(uint8_t *dst, const uint8_t *src, const Axis *axis, int width)
{
    row_pass(dst, src, axis, width, 1);
}

static void row_pass_rgb(uint8_t *dst, const uint8_t *src, const Axis *axis, int width)
{
    row_pass(dst, src, axis, width, 3);
}

/*
 * State of one resize: source rows [next - ring rows, next) have gone through the horizontal pass. With the vertical
 * pass first the ring is one row, of the source's width.
 */
typedef struct Resizer {
    const EffImage *src;
    const EffResizeWindow *window;
    Axis horizontal, vertical;
    bool has_horizontal, has_vertical, vertical_first;
    uint8_t *ring;
    int n_ring, next;
    size_t row_bytes; /* of the window */
} Resizer;

static const uint8_t *source_row(const Resizer *r, int y)
{
    return r->src->pixels + (size_t)y * (size_t)r->src->width * (size_t)r->src->channels;
}

static void horizontal_pass(const Resizer *r, uint8_t *dst, const uint8_t *row)
{
    if (r->src->channels == 1)
        row_pass_gray(dst, row, &r->horizontal, r->window->width);
    else
        row_pass_rgb(dst, row, &r->horizontal, r->window->width);
}

/* Row y of the source as the vertical pass takes it. */
static const uint8_t *vertical_input(const Resizer *r, int y)
{
    if (r->vertical_first)
        return source_row(r, y);
    if (!r->has_horizontal)
        return source_row(r, y) + (size_t)r->window->x * (size_t)r->src->channels;
    return r->ring + (size_t)(y % r->n_ring) * r->row_bytes;
}

static void vertical_pass(const Resizer *r, uint8_t *dst, size_t n_bytes, int i)
{
    const Taps taps = r->vertical.taps[i];
    const int32_t *wgt = r->vertical.wgt + (size_t)i * r->vertical.stride;
    for (size_t x = 0; x < n_bytes; x += BLOCK) {
        const size_t n = n_bytes - x < BLOCK ? n_bytes - x : BLOCK;
        int32_t acc[BLOCK];
        for (size_t j = 0; j < n; j++)
            acc[j] = 1 << (FIXED_BITS - 1);
        for (int t = 0; t < taps.n; t++) {
            const uint8_t *restrict row = vertical_input(r, taps.first + t) + x;
            for (size_t j = 0; j < n; j++)
                acc[j] += row[j] * wgt[t];
        }
        for (size_t j = 0; j < n; j++)
            dst[x + j] = to_pixel(acc[j]);
    }
}

static EffStatus ring_alloc(Resizer *r)
{
    const size_t source_bytes = (size_t)r->src->width * (size_t)r->src->channels;
    r->n_ring = r->vertical_first ? 1 : r->vertical.max_taps;
    size_t n_bytes;
    if (!eff_mul_size(&n_bytes, (size_t)r->n_ring, r->vertical_first ? source_bytes : r->row_bytes) ||
        n_bytes > max_ring_bytes)
        return eff_fail(EFF_ERR_LIMIT,
                        "resizing %d x %d to %d x %d needs more than 1 GiB between the passes; do it in "
                        "two steps",
                        r->src->width, r->src->height, r->window->full_width, r->window->full_height);
    r->ring = eff_malloc(n_bytes);
    return r->ring != NULL ? EFF_OK : eff_fail_nomem(n_bytes, "rows between the passes");
}

/* Output row i of the window. */
static void resize_row(Resizer *r, uint8_t *dst, int i)
{
    const int y = r->window->y + i;
    if (!r->has_vertical) {
        if (r->has_horizontal)
            horizontal_pass(r, dst, source_row(r, y));
        else
            memcpy(dst, vertical_input(r, y), r->row_bytes);
        return;
    }
    if (r->vertical_first) {
        vertical_pass(r, r->ring, (size_t)r->src->width * (size_t)r->src->channels, i);
        horizontal_pass(r, dst, r->ring);
        return;
    }
    if (r->has_horizontal) {
        const Taps taps = r->vertical.taps[i];
        r->next = r->next < taps.first ? taps.first : r->next;
        for (; r->next < taps.first + taps.n; r->next++)
            horizontal_pass(r, r->ring + (size_t)(r->next % r->n_ring) * r->row_bytes, source_row(r, r->next));
    }
    vertical_pass(r, dst, r->row_bytes, i);
}

EffStatus eff_resize_window(uint8_t *dst, const EffImage *src, const EffResizeWindow *window, EffInterpolation kernel)
{
    assert(window->x >= 0 && window->width > 0 && window->width <= window->full_width - window->x);
    assert(window->y >= 0 && window->height > 0 && window->height <= window->full_height - window->y);
    if (eff_interpolation_name(kernel) == NULL)
        return eff_fail(EFF_ERR_ARG, "resize: no interpolation has the number %d; use an EffInterpolation",
                        (int)kernel);
    Resizer r = {
        .src = src,
        .window = window,
        .has_horizontal = window->full_width != src->width,
        .has_vertical = window->full_height != src->height,
        .row_bytes = (size_t)window->width * (size_t)src->channels,
    };
    const int shrinks_by = src->height - window->full_height;
    r.vertical_first = r.has_horizontal && shrinks_by > 0 && shrinks_by > 2 * (src->width - window->full_width);
    EffStatus st = EFF_OK;
    if (r.has_horizontal)
        st = axis_init(&r.horizontal, src->width, window->full_width, window->x, window->width, kernel);
    if (st == EFF_OK && r.has_vertical)
        st = axis_init(&r.vertical, src->height, window->full_height, window->y, window->height, kernel);
    if (st == EFF_OK && r.has_horizontal && r.has_vertical)
        st = ring_alloc(&r);
    for (int i = 0; st == EFF_OK && i < window->height; i++)
        resize_row(&r, dst + (size_t)i * r.row_bytes, i);
    eff_free(r.ring);
    axis_free(&r.horizontal);
    axis_free(&r.vertical);
    return st;
}

EffStatus eff_resize_check_source(const EffImage *src)
{
    if (src == NULL || src->pixels == NULL || (src->channels != 1 && src->channels != 3))
        return eff_fail(EFF_ERR_ARG, "resize: the source is not a picture of 1 or 3 channels; decode one first");
    if (src->width < 1 || src->height < 1 || src->width > EFF_IMAGE_MAX_SIDE || src->height > EFF_IMAGE_MAX_SIDE)
        return eff_fail(EFF_ERR_ARG, "resize: a source of %d x %d pixels; sides are 1 to %d", src->width, src->height,
                        EFF_IMAGE_MAX_SIDE);
    return EFF_OK;
}

EffStatus eff_image_resize(EffImage *out, const EffImage *src, int width, int height, EffInterpolation kernel)
{
    EffStatus st = eff_resize_check_source(src);
    if (st != EFF_OK)
        return st;
    if (out == NULL || width < 1 || height < 1 || width > EFF_IMAGE_MAX_SIDE || height > EFF_IMAGE_MAX_SIDE)
        return eff_fail(EFF_ERR_ARG, "resize: cannot make %d x %d pixels; sides are 1 to %d", width, height,
                        EFF_IMAGE_MAX_SIDE);
    size_t n_bytes;
    if (!eff_mul_size(&n_bytes, (size_t)width, (size_t)height) ||
        !eff_mul_size(&n_bytes, n_bytes, (size_t)src->channels))
        return eff_fail(EFF_ERR_LIMIT, "resize: %d x %d pixels do not fit in memory; ask for fewer", width, height);
    EffImage result = {.width = width, .height = height, .channels = src->channels, .pixels = eff_malloc(n_bytes)};
    if (result.pixels == NULL)
        return eff_fail_nomem(n_bytes, "the resized picture");
    const EffResizeWindow window = {.full_width = width, .full_height = height, .width = width, .height = height};
    st = eff_resize_window(result.pixels, src, &window, kernel);
    if (st != EFF_OK) {
        eff_image_free(&result);
        return st;
    }
    *out = result;
    return EFF_OK;
}
