/* SPDX-License-Identifier: Apache-2.0 */
/* The pictures that effnet quantize works with. */
#include "calibration.h"

#include "base/mem.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_SYNTHETIC = 128 };

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    return eff_leaves_picture(pixels, ((const Calibration *)ctx)->size, i);
}

static const char *name_synthetic(void *ctx, size_t i)
{
    (void)ctx;
    (void)i;
    return "a synthetic picture";
}

ExitCode calibration_open(Calibration *c, const Args *a)
{
    const char *calib = cli_value(a, "calib");
    int n_images = 0, n_held = 0;
    c->n_views = 1;
    if (!cli_int(a, "images", 1, 1 << 30, &n_images) || !cli_int(a, "views", 1, VIEWS_MAX, &c->n_views) ||
        !cli_int(a, "hold-back", 1, 1 << 30, &n_held))
        return EXIT_USAGE;
    if (calib == NULL)
        return cli_usage(a, "name a folder of pictures like those that the model will see: --calib DIR");
    if (strcmp(calib, "synthetic") == 0) {
        if (n_held > 0 || c->n_views > 1)
            return cli_usage(a, "--hold-back and --views are for pictures of a folder; for another number of synthetic "
                                "ones say --images N");
        c->n_synthetic = n_images > 0 ? (size_t)n_images : DEFAULT_SYNTHETIC;
        return EXIT_OK;
    }
    const EffStatus st = dataset_add(&c->d, calib);
    if (st != EFF_OK)
        return cli_fail(a, st);
    if (n_images > 0)
        dataset_spread(&c->d, (size_t)n_images);
    if (n_held > 0 && (size_t)n_held >= c->d.n)
        return cli_usage(a, "--hold-back %d leaves none of %zu pictures to calibrate on", n_held, c->d.n);
    if (n_held > 0 && dataset_split(&c->held, &c->d, (size_t)n_held) != EFF_OK)
        return cli_fail(a, EFF_ERR_NOMEM);
    return EXIT_OK;
}

/* As views of a folder, remembering which are of one colour. */
static EffStatus get_watched(void *ctx, size_t i, uint8_t *pixels)
{
    Calibration *c = ctx;
    const EffPictures pictures = views_pictures(&c->views);
    const EffStatus st = pictures.get(pictures.ctx, i, pixels);
    if (st == EFF_OK)
        c->one_colour[i] = memcmp(pixels, pixels + 3, (size_t)c->size * (size_t)c->size * 3 - 3) == 0;
    return st;
}

static const char *name_watched(void *ctx, size_t i)
{
    const EffPictures pictures = views_pictures(&((Calibration *)ctx)->views);
    return pictures.name(pictures.ctx, i);
}

/* Usually the first picture will do. */
static EffStatus find_colours(Calibration *c)
{
    const size_t n_bytes = (size_t)c->size * (size_t)c->size * 3;
    uint8_t *pixels = eff_malloc(n_bytes);
    EffStatus st = pixels != NULL ? EFF_OK : eff_fail_nomem(n_bytes, "a picture");
    bool found = false;
    for (size_t i = 0; i < c->pictures.n && st == EFF_OK && !found; i++) {
        st = get_watched(c, i, pixels);
        found = c->one_colour[i] == 0;
    }
    eff_free(pixels);
    if (st == EFF_OK && !found)
        return eff_fail(EFF_ERR_FORMAT,
                        "%s: %s of one colour, which shows no ranges; calibrate on photos like those that the model "
                        "will see",
                        c->d.paths[0], c->d.n > 1 ? "this and all other pictures are" : "the only picture is");
    return st;
}

EffStatus calibration_prepare(Calibration *c, const EffPreprocess *pre)
{
    c->size = pre->size;
    c->views = (Views){.d = &c->d, .n_views = c->n_views, .pre = *pre};
    c->held_views = (Views){.d = &c->held, .n_views = 1, .pre = *pre};
    c->held_back = views_pictures(&c->held_views);
    if (c->n_synthetic > 0) {
        c->pictures = (EffPictures){.n = c->n_synthetic, .get = get_synthetic, .name = name_synthetic, .ctx = c};
        return EFF_OK;
    }
    c->pictures = views_pictures(&c->views);
    c->pictures.get = get_watched;
    c->pictures.name = name_watched;
    c->pictures.ctx = c;
    c->one_colour = eff_calloc(c->pictures.n, sizeof *c->one_colour);
    return c->one_colour != NULL ? find_colours(c) : eff_fail_nomem(c->pictures.n, "the list of pictures");
}

size_t calibration_count_one_colour(const Calibration *c, const char **first)
{
    size_t n = 0;
    for (size_t file = 0; c->one_colour != NULL && file < c->d.n; file++) {
        const uint8_t *of = c->one_colour + file * (size_t)c->n_views;
        if (memchr(of, 0, (size_t)c->n_views) == NULL && n++ == 0)
            *first = c->d.paths[file];
    }
    return n;
}

void calibration_free(Calibration *c)
{
    eff_free(c->one_colour);
    dataset_free(&c->d);
    dataset_free(&c->held);
}
