/* SPDX-License-Identifier: Apache-2.0 */
/* src/image/resize.c and prepare.c: equal to Pillow byte for byte, bounded, and clean when memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/compiler.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "effnet/image.h"
#include "image/resize.h"
#include "image_util.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct ResizeRow {
    uint64_t seed;
    int src_width, src_height, width, height, channels;
    EffInterpolation kernel;
    uint64_t hash;
} ResizeRow;

typedef struct PhotoRow {
    const char *name;
    uint64_t pixels, crops[3];
} PhotoRow;

#include "pillow_resize_golden.h"

static size_t n_bytes(const EffImage *image)
{
    return (size_t)image->width * (size_t)image->height * (size_t)image->channels;
}

/* The noise of tests/model/pillow_resize.py. */
static EffImage noise(uint64_t seed, int width, int height, int channels)
{
    EffImage image = {.width = width, .height = height, .channels = channels};
    image.pixels = eff_malloc(n_bytes(&image));
    assert_non_null(image.pixels);
    EffRng rng;
    eff_rng_init(&rng, seed);
    for (size_t i = 0; i < n_bytes(&image); i++) {
        const uint8_t v = (uint8_t)(eff_rng_next(&rng) >> 56);
        image.pixels[i] = seed % 2 == 0 ? v : v > 127 ? 255 : 0;
    }
    return image;
}

/* CPU levels with passes of their own: plain C, and what this machine has. */
static unsigned level(int i)
{
    return i == 0 ? 0 : eff_cpu_detect();
}

static void resize_equals_pillow(void **state)
{
    (void)state;
    for (size_t i = 0; i < EFF_COUNT(resize_rows); i++) {
        const ResizeRow *row = &resize_rows[i];
        EffImage src = noise(row->seed, row->src_width, row->src_height, row->channels), dst = {0};
        assert_int_equal(eff_image_resize(&dst, &src, row->width, row->height, row->kernel), EFF_OK);
        assert_int_equal(dst.width, row->width);
        assert_int_equal(dst.height, row->height);
        assert_int_equal(dst.channels, row->channels);
        const EffImagePart all = {.image = src, .full_width = src.width, .full_height = src.height};
        const EffResizeWindow window = {dst.width, dst.height, 0, 0, dst.width, dst.height};
        for (int l = 0; l < 2; l++) {
            memset(dst.pixels, 0, n_bytes(&dst));
            assert_int_equal(eff_resize_window(dst.pixels, &all, &window, row->kernel, level(l)), EFF_OK);
            if (fnv64(dst.pixels, n_bytes(&dst), 1) != row->hash)
                fail_msg("row %zu: %d x %d x %d to %d x %d, %s, %s: differs from Pillow", i, row->src_width,
                         row->src_height, row->channels, row->width, row->height, eff_interpolation_name(row->kernel),
                         eff_cpu_level_name(level(l)));
        }
        eff_image_free(&src);
        eff_image_free(&dst);
    }
}

static int draw(EffRng *rng, int low, int high)
{
    return low + (int)(eff_rng_next(rng) % (uint64_t)(high - low + 1));
}

/* The part of src that a window needs, in memory of exactly that size: what reads past it is the sanitizer's. */
static EffImagePart cut(const EffImage *src, const EffRect *rect)
{
    EffImagePart part = {.image = {.width = rect->width, .height = rect->height, .channels = src->channels},
                         .x = rect->x,
                         .y = rect->y,
                         .full_width = src->width,
                         .full_height = src->height};
    const size_t row = (size_t)(rect->width * src->channels);
    part.image.pixels = eff_malloc(n_bytes(&part.image));
    assert_non_null(part.image.pixels);
    for (int y = 0; y < rect->height; y++)
        memcpy(part.image.pixels + (size_t)y * row,
               src->pixels + (size_t)((rect->y + y) * src->width + rect->x) * (size_t)src->channels, row);
    return part;
}

/* Random sizes, windows and kernels: every level from exactly the needed pixels as plain C from all, and no byte past
 * the end of the result. */
static void levels_and_parts_agree(void **state)
{
    (void)state;
    enum { CASES = 400, GUARD = 64 };
    EffRng rng;
    eff_rng_init(&rng, 20);
    for (int i = 0; i < CASES; i++) {
        const int max = i % 10 == 0 ? 700 : 90, channels = draw(&rng, 0, 3) == 0 ? 1 : 3;
        EffImage src = noise((uint64_t)i, draw(&rng, 1, max), draw(&rng, 1, max), channels);
        EffResizeWindow w = {.full_width = draw(&rng, 0, 9) == 0 ? src.width : draw(&rng, 1, max),
                             .full_height = draw(&rng, 0, 9) == 0 ? src.height : draw(&rng, 1, max)};
        w.x = draw(&rng, 0, w.full_width - 1);
        w.y = draw(&rng, 0, w.full_height - 1);
        w.width = draw(&rng, 1, w.full_width - w.x);
        w.height = draw(&rng, 1, w.full_height - w.y);
        const EffInterpolation kernel = (EffInterpolation)draw(&rng, EFF_INTERP_BOX, EFF_INTERP_LANCZOS);
        const size_t n = (size_t)w.width * (size_t)w.height * (size_t)channels;
        uint8_t *want = eff_malloc(n), *got = eff_malloc(n + GUARD);
        assert_true(want != NULL && got != NULL);
        const EffImagePart all = {.image = src, .full_width = src.width, .full_height = src.height};
        assert_int_equal(eff_resize_window(want, &all, &w, kernel, 0), EFF_OK);
        EffRect needs;
        eff_resize_needs(&needs, src.width, src.height, &w, kernel);
        EffImagePart part = cut(&src, &needs);
        for (int l = 0; l < 2; l++) {
            memset(got, 0xa5, n + GUARD);
            assert_int_equal(eff_resize_window(got, &part, &w, kernel, level(l)), EFF_OK);
            if (memcmp(want, got, n) != 0)
                fail_msg("case %d: %d x %d x %d to %d x %d, %s, %s: differs from plain C", i, src.width, src.height,
                         channels, w.full_width, w.full_height, eff_interpolation_name(kernel),
                         eff_cpu_level_name(level(l)));
            for (size_t k = n; k < n + GUARD; k++)
                assert_int_equal(got[k], 0xa5);
        }
        eff_image_free(&src);
        eff_image_free(&part.image);
        eff_free(want);
        eff_free(got);
    }
}

/* Any window is the same bytes as a cut out of the whole. */
static void windows_are_cuts(void **state)
{
    (void)state;
    static const int sizes[][2] = {{31, 20}, {67, 41}, {120, 90}, {67, 20}, {9, 41}};
    EffImage src = noise(2, 67, 41, 3);
    const EffImagePart all = {.image = src, .full_width = 67, .full_height = 41};
    for (size_t i = 0; i < EFF_COUNT(sizes); i++) {
        const int width = sizes[i][0], height = sizes[i][1];
        EffImage whole = {0};
        assert_int_equal(eff_image_resize(&whole, &src, width, height, EFF_INTERP_LANCZOS), EFF_OK);
        const EffResizeWindow w = {width, height, width / 3, height / 4, width / 2, height / 2};
        uint8_t part[60 * 45 * 3];
        assert_int_equal(eff_resize_window(part, &all, &w, EFF_INTERP_LANCZOS, eff_cpu_detect()), EFF_OK);
        for (int y = 0; y < w.height; y++)
            assert_memory_equal(part + y * w.width * 3, whole.pixels + ((w.y + y) * width + w.x) * 3,
                                (size_t)w.width * 3);
        eff_image_free(&whole);
    }
    eff_image_free(&src);
}

static EffPreprocess preprocess(int size, double crop)
{
    return (EffPreprocess){.size = size,
                           .crop = crop,
                           .interpolation = EFF_INTERP_BICUBIC,
                           .mean = {127, 127, 127},
                           .std = {128, 128, 128}};
}

static void crop_is_centred(void **state)
{
    (void)state;
    /* Width, height, size, crop -> the resized picture and the corner, with halves to even: 31 / 2 to 16, 33 / 2 to 16,
       and 10 x 17 at 8 to 8 x 13 (13.6 cut). */
    static const struct {
        int width, height, size;
        double crop;
        int full_width, full_height, x, y;
    } rows[] = {
        {100, 100, 224, 0.875, 256, 256, 16, 16},
        {500, 375, 240, 0.882, 362, 272, 61, 16},
        {40, 71, 9, 0.225, 40, 71, 16, 31},
        {40, 70, 7, 0.175, 40, 70, 16, 32},
        {10, 17, 8, 1.0, 8, 13, 0, 2},
        {17, 10, 8, 1.0, 13, 8, 2, 0},
        {3, 2000, 5, 1.0, 5, 3333, 0, 1664},
        {1, 1, 1, 1.0, 1, 1, 0, 0},
    };
    for (size_t i = 0; i < EFF_COUNT(rows); i++) {
        EffImage src = noise(i, rows[i].width, rows[i].height, 3), whole = {0};
        const int size = rows[i].size;
        const EffPreprocess pre = preprocess(size, rows[i].crop);
        EffImage got = {.width = size, .height = size, .channels = 3};
        got.pixels = eff_malloc(n_bytes(&got));
        assert_non_null(got.pixels);
        assert_int_equal(eff_image_prepare(got.pixels, &src, &pre), EFF_OK);
        assert_int_equal(eff_image_resize(&whole, &src, rows[i].full_width, rows[i].full_height, EFF_INTERP_BICUBIC),
                         EFF_OK);
        for (int y = 0; y < size; y++)
            assert_memory_equal(got.pixels + y * size * 3,
                                whole.pixels + ((rows[i].y + y) * whole.width + rows[i].x) * 3, (size_t)size * 3);
        eff_image_free(&src);
        eff_image_free(&whole);
        eff_image_free(&got);
    }
}

static void gray_fills_three_channels(void **state)
{
    (void)state;
    EffImage gray = noise(4, 50, 40, 1), rgb = noise(4, 50, 40, 3);
    for (size_t i = 0; i < n_bytes(&rgb); i++)
        rgb.pixels[i] = gray.pixels[i / 3];
    const EffPreprocess pre = preprocess(24, 0.8);
    uint8_t a[24 * 24 * 3], b[24 * 24 * 3];
    assert_int_equal(eff_image_prepare(a, &gray, &pre), EFF_OK);
    assert_int_equal(eff_image_prepare(b, &rgb, &pre), EFF_OK);
    assert_memory_equal(a, b, sizeof a);
    eff_image_free(&gray);
    eff_image_free(&rgb);
}

static void normalize_is_per_channel(void **state)
{
    (void)state;
    EffPreprocess pre = preprocess(1, 1.0);
    pre.mean[2] = 10.0f;
    pre.std[2] = 3.0f;
    const uint8_t src[6] = {0, 127, 255, 255, 1, 0};
    float dst[6];
    eff_image_normalize(dst, src, 2, &pre);
    const float want[6] = {-127.0f / 128, 0.0f, 245.0f / 3, 1.0f, -126.0f / 128, -10.0f / 3};
    assert_memory_equal(dst, want, sizeof want);
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    EffImage src = noise(1, 8, 8, 3), dst = {0}, bad = src;
    const EffInterpolation k = EFF_INTERP_BICUBIC;
    assert_int_equal(eff_image_resize(&dst, &src, 0, 5, k), EFF_ERR_ARG);
    assert_int_equal(eff_image_resize(&dst, &src, 5, 65536, k), EFF_ERR_ARG);
    assert_int_equal(eff_image_resize(&dst, &src, 5, 5, (EffInterpolation)5), EFF_ERR_ARG);
    assert_int_equal(eff_image_resize(&dst, NULL, 5, 5, k), EFF_ERR_ARG);
    bad.channels = 4;
    assert_int_equal(eff_image_resize(&dst, &bad, 5, 5, k), EFF_ERR_ARG);
    bad = src;
    bad.height = 0;
    assert_int_equal(eff_image_resize(&dst, &bad, 5, 5, k), EFF_ERR_ARG);
    assert_null(dst.pixels);
    uint8_t out[5 * 5 * 3];
    const double crops[] = {0.0, -1.0, 1.5, NAN};
    for (size_t i = 0; i < EFF_COUNT(crops); i++) {
        const EffPreprocess pre = preprocess(5, crops[i]);
        assert_int_equal(eff_image_prepare(out, &src, &pre), EFF_ERR_ARG);
    }
    EffPreprocess pre = preprocess(4097, 1.0);
    assert_int_equal(eff_image_prepare(out, &src, &pre), EFF_ERR_ARG);
    pre = preprocess(5, 1e-9);
    assert_int_equal(eff_image_prepare(out, &src, &pre), EFF_ERR_LIMIT);
    eff_image_free(&src);
    eff_image_free(NULL);
}

/* A strip of 65535 pixels: the resized picture is 17 million wide, the crop costs next to nothing. */
static void narrow_pictures_are_cheap(void **state)
{
    (void)state;
    EffImage strip = noise(1, 65535, 1, 3);
    uint8_t out[224 * 224 * 3];
    EffPreprocess pre = preprocess(224, 0.875);
    assert_int_equal(eff_image_prepare(out, &strip, &pre), EFF_OK);
    pre = preprocess(4096, 0.0625);
    assert_int_equal(eff_image_prepare(out, &strip, &pre), EFF_ERR_LIMIT);
    strip.width = 1;
    strip.height = 65535;
    EffImage dst = {0};
    assert_int_equal(eff_image_resize(&dst, &strip, 65535, 1, EFF_INTERP_BOX), EFF_OK); /* vertical pass first */
    eff_image_free(&dst);
    eff_image_free(&strip);
}

static void out_of_memory_is_reported(void **state)
{
    (void)state;
    EffImage src = noise(1, 61, 47, 3);
    for (long k = 0;; k++) {
        EffImage dst = {0};
        eff_mem_fail_after(k);
        const EffStatus st = eff_image_resize(&dst, &src, 30, 70, EFF_INTERP_BICUBIC);
        eff_mem_fail_after(-1);
        if (st == EFF_OK) {
            /* The picture, three tables an axis, and for vectors a fourth; pointers to rows, the ring. */
            assert_int_equal(k, (eff_cpu_detect() & EFF_CPU_AVX2) != 0 ? 11 : 9);
            eff_image_free(&dst);
            break;
        }
        assert_int_equal(st, EFF_ERR_NOMEM);
        assert_null(dst.pixels);
    }
    eff_image_free(&src);
}

static void photos_equal_pillow(void **state)
{
    (void)state;
    if (!eff_is_dir("../shared/photos")) {
        print_message("skipped: no photos in ../shared/photos\n");
        skip();
    }
    static const struct {
        int size;
        double crop;
    } models[3] = {{224, 0.875}, {240, 0.882}, {260, 0.89}};
    static uint8_t crop[260 * 260 * 3];
    for (size_t i = 0; i < EFF_COUNT(photo_rows); i++) {
        char path[256];
        snprintf(path, sizeof path, "../shared/photos/%s", photo_rows[i].name);
        EffImage photo = {0};
        assert_int_equal(eff_image_open(&photo, path, NULL), EFF_OK);
        if (fnv64(photo.pixels, n_bytes(&photo), PHOTO_STRIDE) != photo_rows[i].pixels)
            fail_msg("%s: decoded pixels differ from Pillow's", path);
        for (size_t m = 0; m < EFF_COUNT(models); m++) {
            const EffPreprocess pre = preprocess(models[m].size, models[m].crop);
            assert_int_equal(eff_image_prepare(crop, &photo, &pre), EFF_OK);
            if (fnv64(crop, (size_t)pre.size * (size_t)pre.size * 3, CROP_STRIDE) != photo_rows[i].crops[m])
                fail_msg("%s: prepared for size %d, differs from Pillow", path, pre.size);
        }
        eff_image_free(&photo);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_equals_pillow),      cmocka_unit_test(levels_and_parts_agree),
        cmocka_unit_test(windows_are_cuts),          cmocka_unit_test(crop_is_centred),
        cmocka_unit_test(gray_fills_three_channels), cmocka_unit_test(normalize_is_per_channel),
        cmocka_unit_test(bad_arguments_are_refused), cmocka_unit_test(narrow_pictures_are_cheap),
        cmocka_unit_test(out_of_memory_is_reported), cmocka_unit_test(photos_equal_pillow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
