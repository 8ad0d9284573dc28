/* SPDX-License-Identifier: Apache-2.0 */
/* Views of calibration pictures: seeded, so that the same files give the same model. */
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

static EffStatus random_view(const EffImage *src, const EffPreprocess *pre, uint64_t seed, uint8_t *pixels)
{
    EffRng rng;
    eff_rng_init(&rng, seed);
    /* Sides of 55 to 100 % of the short side: 30 to 100 % of a square's area. */
    const int shorter = src->width < src->height ? src->width : src->height;
    int side = (int)((0.55f + 0.45f * eff_rng_unit(&rng)) * (float)shorter);
    side = side < 1 ? 1 : side;
    const int x = (int)eff_rng_below(&rng, (uint64_t)(src->width - side) + 1);
    const int y = (int)eff_rng_below(&rng, (uint64_t)(src->height - side) + 1);
    EffImage part = {0};
    EffStatus st = cut(&part, src, x, y, side, side, eff_rng_below(&rng, 2) != 0);
    if (st == EFF_OK) {
        EffPreprocess whole = *pre;
        whole.crop = 1;
        st = eff_image_prepare(pixels, &part, &whole);
    }
    eff_image_free(&part);
    return st;
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

EffPictures views_pictures(const Views *views)
{
    return (EffPictures){.n = views->d->n * (size_t)views->n_views,
                         .n_sources = views->d->n,
                         .get = get,
                         .ctx = (void *)(uintptr_t)views};
}
