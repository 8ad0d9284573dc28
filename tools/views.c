/* SPDX-License-Identifier: Apache-2.0 */
/* Views of pictures: seeded or listed, so that the same files give the same model and the same figures. */
#include "views.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"

#include <string.h>

/* A crop of `src`, mirrored or not, in new pixels. */
static EffStatus cut(EffImage *out, const EffImage *src, int x, int y, int width, int height, bool mirror)
{
    const size_t n_ch = (size_t)src->channels;
    EffImage part = {.width = width, .height = height, .channels = src->channels};
    part.pixels = eff_malloc((size_t)width * (size_t)height * n_ch);
    if (part.pixels == NULL)
        return eff_fail_nomem((size_t)width * (size_t)height * n_ch, "a crop");
    for (int row = 0; row < height; row++) {
        const uint8_t *from = src->pixels + ((size_t)(y + row) * (size_t)src->width + (size_t)x) * n_ch;
        uint8_t *to = part.pixels + (size_t)row * (size_t)width * n_ch;
        for (int col = 0; col < width; col++)
            memcpy(to + (size_t)(mirror ? width - 1 - col : col) * n_ch, from + (size_t)col * n_ch, n_ch);
    }
    *out = part;
    return EFF_OK;
}

/* A square with its corner at (x, y), resized to the network's input without a further crop. */
static EffStatus prepare_square(uint8_t *pixels, const EffImage *src, const EffPreprocess *pre, int x, int y, int side,
                                bool mirror)
{
    EffImage part = {0};
    EffStatus st = cut(&part, src, x, y, side, side, mirror);
    if (st == EFF_OK) {
        EffPreprocess whole = *pre;
        whole.crop = 1;
        st = eff_image_prepare(pixels, &part, &whole);
    }
    eff_image_free(&part);
    return st;
}

static int shorter_side(const EffImage *src)
{
    return src->width < src->height ? src->width : src->height;
}

/* ---- Calibration ---- */

static EffStatus random_view(const EffImage *src, const EffPreprocess *pre, uint64_t seed, uint8_t *pixels)
{
    EffRng rng;
    eff_rng_init(&rng, seed);
    /* Sides of 55 to 100 % of the short side: 30 to 100 % of a square's area. */
    int side = (int)((0.55f + 0.45f * eff_rng_unit(&rng)) * (float)shorter_side(src));
    side = side < 1 ? 1 : side;
    const int x = (int)eff_rng_below(&rng, (uint64_t)(src->width - side) + 1);
    const int y = (int)eff_rng_below(&rng, (uint64_t)(src->height - side) + 1);
    return prepare_square(pixels, src, pre, x, y, side, eff_rng_below(&rng, 2) != 0);
}

static EffStatus get(void *ctx, size_t i, uint8_t *pixels)
{
    const Views *views = ctx;
    const char *path = views->d->paths[i / (size_t)views->n_views];
    const size_t view = i % (size_t)views->n_views;
    EffImage image = {0};
    EffStatus st = eff_image_open(&image, path, NULL);
    if (st != EFF_OK)
        return st;
    st = view == 0 ? eff_image_prepare(pixels, &image, &views->pre) : random_view(&image, &views->pre, i, pixels);
    eff_image_free(&image);
    return st == EFF_OK ? st : eff_fail_in(st, "%s", path);
}

static const char *name_of(void *ctx, size_t i)
{
    const Views *views = ctx;
    return views->d->paths[i / (size_t)views->n_views];
}

EffPictures views_pictures(const Views *views)
{
    return (EffPictures){.n = views->d->n * (size_t)views->n_views,
                         .n_sources = views->d->n,
                         .get = get,
                         .name = name_of,
                         .ctx = (void *)(uintptr_t)views};
}

/* ---- Evaluation ---- */

/* The digits of k in `base`, mirrored at the point: 1, 2, 3 give 1/2, 1/4, 3/4 in base 2. */
static double halton(int k, int base)
{
    double v = 0, unit = 1;
    for (; k > 0; k /= base) {
        unit /= base;
        v += unit * (k % base);
    }
    return v;
}

static void mirror_rows(uint8_t *pixels, int size)
{
    for (int y = 0; y < size; y++, pixels += 3 * size) {
        for (int left = 0, right = size - 1; left < right; left++, right--) {
            uint8_t swapped[3];
            memcpy(swapped, pixels + 3 * left, 3);
            memcpy(pixels + 3 * left, pixels + 3 * right, 3);
            memcpy(pixels + 3 * right, swapped, 3);
        }
    }
}

EffStatus views_evaluate(uint8_t *pixels, const EffImage *src, const EffPreprocess *pre, int view)
{
    const int k = view / 2;
    const bool mirror = view % 2 != 0;
    if (k == 0) {
        const EffStatus st = eff_image_prepare(pixels, src, pre);
        if (st == EFF_OK && mirror)
            mirror_rows(pixels, pre->size);
        return st;
    }
    int side = (int)((1 - 0.3 * halton(k, 2)) * shorter_side(src) + 0.5);
    side = side < 1 ? 1 : side;
    const int x = (int)(halton(k, 3) * (src->width - side + 1)), y = (int)(halton(k, 5) * (src->height - side + 1));
    return prepare_square(pixels, src, pre, x, y, side, mirror);
}
