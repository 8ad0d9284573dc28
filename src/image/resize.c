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

#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"
#include "image/decode.h"
#include "image/resize_passes.h"

#include <assert.h>
#include <math.h>
#include <string.h>

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

static void axis_free(EffResizeAxis *axis)
{
    eff_free(axis->taps);
    eff_free(axis->wgt);
    eff_free(axis->split);
}

static int32_t to_fixed(double w)
{
    const double scaled = w * (1 << EFF_RESIZE_FIXED_BITS);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* An axis of n_full outputs from n_in inputs. */
typedef struct AxisRule {
    int n_in;
    double scale, radius, inv_stretch;
} AxisRule;

static AxisRule axis_rule(int n_in, int n_full, EffInterpolation kernel)
{
    const double scale = (double)n_in / n_full, stretch = scale < 1.0 ? 1.0 : scale;
    return (AxisRule){
        .n_in = n_in, .scale = scale, .radius = kernels[kernel].radius * stretch, .inv_stretch = 1.0 / stretch};
}

static double rule_centre(const AxisRule *rule, int i)
{
    return (i + 0.5) * rule->scale;
}

static EffTaps rule_taps(const AxisRule *rule, int i)
{
    const double centre = rule_centre(rule, i);
    int first = (int)(centre - rule->radius + 0.5), end = (int)(centre + rule->radius + 0.5);
    first = first < 0 ? 0 : first;
    end = end > rule->n_in ? rule->n_in : end;
    return (EffTaps){.first = first, .n = end - first};
}

/* axis->split from axis->wgt. */
static EffStatus split_weights(EffResizeAxis *axis, int n)
{
    const size_t n_chunks = (axis->stride + EFF_RESIZE_CHUNK - 1) / EFF_RESIZE_CHUNK;
    size_t n_values;
    axis->split_stride = n_chunks * 2 * EFF_RESIZE_CHUNK;
    axis->split =
        eff_mul_size(&n_values, (size_t)n, axis->split_stride) ? eff_calloc(n_values, sizeof *axis->split) : NULL;
    if (axis->split == NULL)
        return eff_fail_nomem((size_t)n * axis->split_stride * sizeof *axis->split, "resize weights");
    for (int i = 0; i < n; i++) {
        const int32_t *wgt = axis->wgt + (size_t)i * axis->stride;
        int16_t *split = axis->split + (size_t)i * axis->split_stride;
        for (int t = 0; t < axis->taps[i].n; t++) {
            int16_t *chunk = split + t / EFF_RESIZE_CHUNK * 2 * EFF_RESIZE_CHUNK + t % EFF_RESIZE_CHUNK;
            chunk[0] = (int16_t)(wgt[t] >> EFF_RESIZE_SPLIT_BITS); /* floor */
            chunk[EFF_RESIZE_CHUNK] = (int16_t)(wgt[t] & ((1 << EFF_RESIZE_SPLIT_BITS) - 1));
        }
    }
    return EFF_OK;
}

/* Outputs [begin, begin + n) of an axis of n_full outputs from n_in inputs. */
static EffStatus axis_init(EffResizeAxis *axis, int n_in, int n_full, int begin, int n, EffInterpolation kernel,
                           bool split)
{
    const AxisRule rule = axis_rule(n_in, n_full, kernel);
    axis->stride = (size_t)ceil(rule.radius) * 2 + 1;
    axis->taps = eff_calloc((size_t)n, sizeof *axis->taps);
    size_t n_wgt;
    axis->wgt = eff_mul_size(&n_wgt, (size_t)n, axis->stride) ? eff_calloc(n_wgt, sizeof *axis->wgt) : NULL;
    double *exact = eff_calloc(axis->stride, sizeof *exact);
    if (axis->taps == NULL || axis->wgt == NULL || exact == NULL) {
        eff_free(exact);
        return eff_fail_nomem((size_t)n * axis->stride * sizeof *axis->wgt, "resize weights");
    }
    for (int i = 0; i < n; i++) {
        const double centre = rule_centre(&rule, begin + i);
        const EffTaps taps = rule_taps(&rule, begin + i);
        assert(taps.n > 0 && (size_t)taps.n <= axis->stride);
        double sum = 0.0;
        for (int t = 0; t < taps.n; t++) {
            exact[t] = kernels[kernel].fn((t + taps.first - centre + 0.5) * rule.inv_stretch);
            sum += exact[t];
        }
        for (int t = 0; t < taps.n; t++)
            axis->wgt[(size_t)i * axis->stride + (size_t)t] = to_fixed(sum != 0.0 ? exact[t] / sum : exact[t]);
        axis->taps[i] = taps;
        axis->max_taps = taps.n > axis->max_taps ? taps.n : axis->max_taps;
    }
    eff_free(exact);
    return split ? split_weights(axis, n) : EFF_OK;
}

/*
 * State of one resize: source rows [next - ring rows, next) have gone through the horizontal pass. With the vertical
 * pass first the ring is one row, of the source's width.
 */
typedef struct Resizer {
    const EffImagePart *src;
    const EffResizeWindow *window;
    const EffResizePasses *passes;
    EffResizeAxis horizontal, vertical;
    bool has_horizontal, has_vertical, vertical_first;
    uint8_t *ring;
    const uint8_t **rows; /* what the vertical pass takes */
    int n_ring, next;
    size_t row_bytes; /* of the window */
} Resizer;

static size_t source_row_bytes(const Resizer *r)
{
    return (size_t)r->src->image.width * (size_t)r->src->image.channels;
}

/* Row y of the whole source, from the part's first column on. */
static const uint8_t *source_row(const Resizer *r, int y)
{
    return r->src->image.pixels + (size_t)(y - r->src->y) * source_row_bytes(r);
}

/* Rows through the horizontal pass; `readable` bytes follow the last row's first. */
static void horizontal_pass(const Resizer *r, uint8_t *const *dst, const uint8_t *const *src, int n_rows,
                            size_t readable)
{
    const int width = r->window->width, x0 = r->src->x;
    if (r->src->image.channels == 3) {
        r->passes->rgb(dst, src, n_rows, &r->horizontal, x0, width, readable);
        return;
    }
    for (int i = 0; i < n_rows; i++) {
        for (int x = 0; x < width; x++)
            eff_resize_output(dst[i] + x, src[i], &r->horizontal, x0, x, 1);
    }
}

static uint8_t *ring_row(const Resizer *r, int y)
{
    return r->ring + (size_t)(y % r->n_ring) * r->row_bytes;
}

/* Source rows [y, y + n) through the horizontal pass to dst. */
static void source_pass(const Resizer *r, uint8_t *const *dst, int y, int n)
{
    const uint8_t *src[EFF_RESIZE_ROWS];
    for (int i = 0; i < n; i++)
        src[i] = source_row(r, y + i);
    const size_t n_after = (size_t)(r->src->y + r->src->image.height - (y + n - 1));
    horizontal_pass(r, dst, src, n, n_after * source_row_bytes(r));
}

/* Row y of the source as the vertical pass takes it. */
static const uint8_t *vertical_input(const Resizer *r, int y)
{
    if (r->vertical_first)
        return source_row(r, y);
    if (!r->has_horizontal)
        return source_row(r, y) + (size_t)(r->window->x - r->src->x) * (size_t)r->src->image.channels;
    return ring_row(r, y);
}

static void vertical_pass(const Resizer *r, uint8_t *dst, size_t n_bytes, int i)
{
    const EffTaps taps = r->vertical.taps[i];
    const int16_t *split = r->vertical.split;
    for (int t = 0; t < taps.n; t++)
        r->rows[t] = vertical_input(r, taps.first + t);
    r->passes->vertical(dst, r->rows, taps.n, r->vertical.wgt + (size_t)i * r->vertical.stride,
                        split != NULL ? split + (size_t)i * r->vertical.split_stride : NULL, n_bytes);
}

static EffStatus ring_alloc(Resizer *r)
{
    /* The horizontal pass runs ahead by less than one group of rows. */
    r->n_ring = r->vertical_first ? 1 : r->vertical.max_taps + EFF_RESIZE_ROWS - 1;
    size_t n_bytes;
    if (!eff_mul_size(&n_bytes, (size_t)r->n_ring, r->vertical_first ? source_row_bytes(r) : r->row_bytes) ||
        n_bytes > max_ring_bytes)
        return eff_fail(EFF_ERR_LIMIT,
                        "resizing %d x %d to %d x %d needs more than 1 GiB between the passes; do it in "
                        "two steps",
                        r->src->full_width, r->src->full_height, r->window->full_width, r->window->full_height);
    r->ring = eff_malloc(n_bytes);
    return r->ring != NULL ? EFF_OK : eff_fail_nomem(n_bytes, "rows between the passes");
}

/* Bring source rows up to `end` through the horizontal pass, in groups where the window needs what follows. */
static void advance(Resizer *r, int end)
{
    const EffTaps last = r->vertical.taps[r->window->height - 1];
    while (r->next < end) {
        const int left = last.first + last.n - r->next, n = left < EFF_RESIZE_ROWS ? left : EFF_RESIZE_ROWS;
        uint8_t *dst[EFF_RESIZE_ROWS];
        for (int i = 0; i < n; i++)
            dst[i] = ring_row(r, r->next + i);
        source_pass(r, dst, r->next, n);
        r->next += n;
    }
}

/* Output row i of the window, unless the horizontal pass is the only one. */
static void resize_row(Resizer *r, uint8_t *dst, int i)
{
    if (!r->has_vertical) {
        memcpy(dst, vertical_input(r, r->window->y + i), r->row_bytes);
        return;
    }
    if (r->vertical_first) {
        vertical_pass(r, r->ring, source_row_bytes(r), i);
        const uint8_t *row = r->ring;
        horizontal_pass(r, &dst, &row, 1, source_row_bytes(r));
        return;
    }
    if (r->has_horizontal) {
        const EffTaps taps = r->vertical.taps[i];
        r->next = r->next < taps.first ? taps.first : r->next;
        advance(r, taps.first + taps.n);
    }
    vertical_pass(r, dst, r->row_bytes, i);
}

/* The window where the height stays. */
static void resize_rows_only(const Resizer *r, uint8_t *dst)
{
    for (int y = 0; y < r->window->height; y += EFF_RESIZE_ROWS) {
        const int left = r->window->height - y, n = left < EFF_RESIZE_ROWS ? left : EFF_RESIZE_ROWS;
        uint8_t *rows[EFF_RESIZE_ROWS];
        for (int i = 0; i < n; i++)
            rows[i] = dst + (size_t)(y + i) * r->row_bytes;
        source_pass(r, rows, r->window->y + y, n);
    }
}

static const EffResizePasses *choose_passes(unsigned cpu)
{
#if EFF_ARCH_X86_64
    if (cpu & EFF_CPU_AVX2)
        return &eff_resize_passes_avx2;
#endif
    (void)cpu;
    return &eff_resize_passes_c;
}

/* The inputs [begin, end) of outputs [first, first + n). */
static void axis_needs(int *begin, int *end, int n_in, int n_full, int first, int n, EffInterpolation kernel)
{
    if (n_in == n_full) {
        *begin = first;
        *end = first + n;
        return;
    }
    const AxisRule rule = axis_rule(n_in, n_full, kernel);
    const EffTaps a = rule_taps(&rule, first), b = rule_taps(&rule, first + n - 1);
    *begin = a.first;
    *end = b.first + b.n;
}

void eff_resize_needs(EffRect *out, int width, int height, const EffResizeWindow *w, EffInterpolation kernel)
{
    int x_end, y_end;
    axis_needs(&out->x, &x_end, width, w->full_width, w->x, w->width, kernel);
    axis_needs(&out->y, &y_end, height, w->full_height, w->y, w->height, kernel);
    out->width = x_end - out->x;
    out->height = y_end - out->y;
}

EffStatus eff_resize_window(uint8_t *dst, const EffImagePart *src, const EffResizeWindow *window,
                            EffInterpolation kernel, unsigned cpu)
{
    assert(window->x >= 0 && window->width > 0 && window->width <= window->full_width - window->x);
    assert(window->y >= 0 && window->height > 0 && window->height <= window->full_height - window->y);
    if (eff_interpolation_name(kernel) == NULL)
        return eff_fail(EFF_ERR_ARG, "resize: no interpolation has the number %d; use an EffInterpolation",
                        (int)kernel);
    Resizer r = {
        .src = src,
        .window = window,
        .passes = choose_passes(cpu),
        .has_horizontal = window->full_width != src->full_width,
        .has_vertical = window->full_height != src->full_height,
        .row_bytes = (size_t)window->width * (size_t)src->image.channels,
    };
    const int shrinks_by = src->full_height - window->full_height;
    r.vertical_first = r.has_horizontal && shrinks_by > 0 && shrinks_by > 2 * (src->full_width - window->full_width);
    const bool split = r.passes->wants_split;
    EffStatus st = EFF_OK;
    if (r.has_horizontal)
        st = axis_init(&r.horizontal, src->full_width, window->full_width, window->x, window->width, kernel,
                       split && src->image.channels == 3);
    if (st == EFF_OK && r.has_vertical) {
        st = axis_init(&r.vertical, src->full_height, window->full_height, window->y, window->height, kernel, split);
        r.rows = st == EFF_OK ? eff_calloc((size_t)r.vertical.max_taps, sizeof *r.rows) : NULL;
        if (st == EFF_OK && r.rows == NULL)
            st = eff_fail_nomem((size_t)r.vertical.max_taps * sizeof *r.rows, "rows of a pass");
    }
    if (st == EFF_OK && r.has_horizontal && r.has_vertical)
        st = ring_alloc(&r);
    if (st == EFF_OK && r.has_horizontal && !r.has_vertical)
        resize_rows_only(&r, dst);
    else
        for (int i = 0; st == EFF_OK && i < window->height; i++)
            resize_row(&r, dst + (size_t)i * r.row_bytes, i);
    eff_free(r.ring);
    eff_free(r.rows);
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
    const EffImagePart whole = {.image = *src, .full_width = src->width, .full_height = src->height};
    st = eff_resize_window(result.pixels, &whole, &window, kernel, eff_cpu_detect());
    if (st != EFF_OK) {
        eff_image_free(&result);
        return st;
    }
    *out = result;
    return EFF_OK;
}
