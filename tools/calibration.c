/* SPDX-License-Identifier: Apache-2.0 */
/* The pictures that effnet quantize works with. */
#include "calibration.h"

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

void calibration_prepare(Calibration *c, const EffPreprocess *pre)
{
    c->size = pre->size;
    c->views = (Views){.d = &c->d, .n_views = c->n_views, .pre = *pre};
    c->held_views = (Views){.d = &c->held, .n_views = 1, .pre = *pre};
    c->pictures = c->n_synthetic > 0
                      ? (EffPictures){.n = c->n_synthetic, .get = get_synthetic, .name = name_synthetic, .ctx = c}
                      : views_pictures(&c->views);
    c->held_back = views_pictures(&c->held_views);
}

void calibration_free(Calibration *c)
{
    dataset_free(&c->d);
    dataset_free(&c->held);
}
