/* SPDX-License-Identifier: Apache-2.0 */
/* The decoders of src/image: pixels equal to Pillow's, damage and limits reported, clean when memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/compiler.h"
#include "base/file.h"
#include "base/mem.h"
#include "effnet/image.h"
#include "image_util.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

typedef struct ImageRow {
    const char *name;
    int width, height;
    uint64_t hash;
    int turned_width, turned_height;
    uint64_t turned_hash;
} ImageRow;

#include "image_golden.h"

static const EffDecodeOptions turn = {.apply_orientation = 1};

static EffBytes read_data(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "tests/unit/data/%s", name);
    EffBytes bytes = {0};
    if (eff_file_read(&bytes, path, 1 << 20) != EFF_OK)
        fail_msg("%s", eff_last_message());
    return bytes;
}

static void expect(const char *name, const EffImage *image, int width, int height, uint64_t hash)
{
    assert_int_equal(image->width, width);
    assert_int_equal(image->height, height);
    assert_int_equal(image->channels, 3);
    if (fnv64(image->pixels, (size_t)width * (size_t)height * 3, 1) != hash)
        fail_msg("%s: pixels differ from Pillow's", name);
}

static void pixels_equal_pillow(void **state)
{
    (void)state;
    for (size_t i = 0; i < EFF_COUNT(image_rows); i++) {
        const ImageRow *row = &image_rows[i];
        EffBytes bytes = read_data(row->name);
        EffImage image = {0};
        if (eff_image_decode(&image, bytes.data, bytes.size, row->name, NULL) != EFF_OK)
            fail_msg("%s", eff_last_message());
        expect(row->name, &image, row->width, row->height, row->hash);
        eff_image_free(&image);
        if (eff_image_decode(&image, bytes.data, bytes.size, row->name, &turn) != EFF_OK)
            fail_msg("%s", eff_last_message());
        expect(row->name, &image, row->turned_width, row->turned_height, row->turned_hash);
        eff_image_free(&image);
        eff_free(bytes.data);
    }
}

static void expect_failure(const void *data, size_t size, const EffDecodeOptions *options, EffStatus want,
                           const char *words)
{
    EffImage image = {0};
    const EffStatus st = eff_image_decode(&image, data, size, "a.jpg", options);
    if (st != want)
        fail_msg("%s instead of %s: %s", eff_status_name(st), eff_status_name(want), eff_last_message());
    assert_null(image.pixels);
    if (strstr(eff_last_message(), words) == NULL || strncmp(eff_last_message(), "a.jpg: ", 7) != 0)
        fail_msg("'%s' is not in: %s", words, eff_last_message());
}

static void other_files_are_named(void **state)
{
    (void)state;
    expect_failure("", 0, NULL, EFF_ERR_FORMAT, "empty file");
    expect_failure("hello, world\n", 13, NULL, EFF_ERR_UNSUPPORTED, "(starts with 'hello, world')");
    expect_failure("GIF89a\1\0", 8, NULL, EFF_ERR_UNSUPPORTED, "(starts with 'GIF89a\\x01\\x00')");
    expect_failure("\xff\xd8", 2, NULL, EFF_ERR_UNSUPPORTED, "not a JPEG, PNG or WebP");
    EffImage image = {0};
    assert_int_equal(eff_image_decode(&image, NULL, 3, NULL, NULL), EFF_ERR_ARG);
    assert_int_equal(eff_image_open(&image, "tests/unit/data/no-such.jpg", NULL), EFF_ERR_IO);
    assert_int_equal(eff_image_open(&image, "tests/unit/data/420.jpg", NULL), EFF_OK);
    eff_image_free(&image);
    assert_null(image.pixels);
}

/* Each proper prefix is an error, but for a PNG that has all its pixels and lacks its last chunk. */
static void truncated_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t tail; /* bytes that carry no pixels */
    } rows[] = {{"420.jpg", 0},       {"progressive.jpg", 0},  {"ycck.jpg", 0},
                {"gray8.png", 12},    {"palette4.png", 12},    {"lossy.webp", 0},
                {"lossless.webp", 0}, {"lossy-alpha.webp", 0}, {"animated.webp", 0}};
    for (size_t i = 0; i < EFF_COUNT(rows); i++) {
        EffBytes bytes = read_data(rows[i].name);
        for (size_t n = 12; n + rows[i].tail < bytes.size; n++)
            expect_failure(bytes.data, n, &turn, EFF_ERR_FORMAT, "fetch the file again");
        eff_free(bytes.data);
    }
}

/* Damage inside the data, which libjpeg alone would paint over in grey. */
static void damaged_jpeg_is_refused(void **state)
{
    (void)state;
    EffBytes bytes = read_data("420.jpg");
    memcpy(bytes.data + bytes.size - 60, "\xff\xd9", 2);
    expect_failure(bytes.data, bytes.size, NULL, EFF_ERR_FORMAT, "truncated or damaged JPEG");
    eff_free(bytes.data);
}

static size_t find(const EffBytes *bytes, const char *what, size_t n)
{
    for (size_t i = 0; i + n <= bytes->size; i++) {
        if (memcmp(bytes->data + i, what, n) == 0)
            return i;
    }
    fail_msg("no such bytes");
    return 0;
}

static void limits_come_before_memory(void **state)
{
    (void)state;
    static const uint8_t huge_png[] = {0x89, 'P',  'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0, 0,
                                       13,   'I',  'H', 'D', 'R',  0,    0,    0xea, 0x60, 0, 0,
                                       0xea, 0x60, 8,   2,   0,    0,    0,    0,    0,    0, 0};
    eff_mem_fail_after(-1);
    expect_failure(huge_png, sizeof huge_png, NULL, EFF_ERR_LIMIT, "60000 x 60000");
    expect_failure(huge_png, sizeof huge_png, NULL, EFF_ERR_LIMIT, "limit of 100000000");
    uint8_t wide_png[sizeof huge_png];
    memcpy(wide_png, huge_png, sizeof huge_png);
    wide_png[17] = 1; /* 125536 wide */
    expect_failure(wide_png, sizeof wide_png, NULL, EFF_ERR_LIMIT, "125536 x 60000");

    EffBytes jpeg = read_data("444.jpg");
    const size_t sof = find(&jpeg, "\xff\xc0", 2);
    memcpy(jpeg.data + sof + 5, "\xfd\xe8\xfd\xe8", 4);
    expect_failure(jpeg.data, jpeg.size, NULL, EFF_ERR_LIMIT, "65000 x 65000");
    eff_free(jpeg.data);

    const EffDecodeOptions tight = {.max_pixels = 37 * 23 - 1}, exact = {.max_pixels = 37 * 23};
    static const char *const names[] = {"444.jpg", "rgb.png", "lossy.webp", "lossless.webp", "animated.webp"};
    assert_int_equal(eff_mem_fail_after(-1), 1); /* nothing but the reading of 444.jpg */
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffBytes bytes = read_data(names[i]);
        expect_failure(bytes.data, bytes.size, &tight, EFF_ERR_LIMIT, "37 x 23 = 851 pixels, above the limit of 850");
        EffImage image = {0};
        assert_int_equal(eff_image_decode(&image, bytes.data, bytes.size, NULL, &exact), EFF_OK);
        eff_image_free(&image);
        eff_free(bytes.data);
    }
}

/* A valid progressive file with each coefficient's bits in scans of their own: 568 walks over the whole picture. */
static void scans_are_bounded(void **state)
{
    (void)state;
    enum { N_SCANS = 1 + 3 * 63 * 3 };
    static jpeg_scan_info scans[N_SCANS];
    scans[0] = (jpeg_scan_info){.comps_in_scan = 3, .component_index = {0, 1, 2}};
    for (int i = 1; i < N_SCANS; i++) {
        const int round = (i - 1) / (3 * 63), k = 1 + (i - 1) / 3 % 63; /* bits from 2 up, then bit 1, then bit 0 */
        scans[i] = (jpeg_scan_info){.comps_in_scan = 1,
                                    .component_index = {(i - 1) % 3},
                                    .Ss = k,
                                    .Se = k,
                                    .Ah = round == 0 ? 0 : 3 - round,
                                    .Al = 2 - round};
    }
    static const int counts[] = {500, N_SCANS};
    for (size_t i = 0; i < EFF_COUNT(counts); i++) {
        struct jpeg_compress_struct c;
        struct jpeg_error_mgr errors;
        uint8_t row[16 * 3] = {200, 10, 90, 255}, *rows = row, *data = NULL;
        unsigned long size = 0;
        c.err = jpeg_std_error(&errors);
        jpeg_create_compress(&c);
        jpeg_mem_dest(&c, &data, &size);
        c.image_width = c.image_height = 16;
        c.input_components = 3;
        c.in_color_space = JCS_RGB;
        jpeg_set_defaults(&c);
        c.scan_info = scans;
        c.num_scans = counts[i];
        jpeg_start_compress(&c, TRUE);
        while (c.next_scanline < c.image_height)
            jpeg_write_scanlines(&c, &rows, 1);
        jpeg_finish_compress(&c);
        jpeg_destroy_compress(&c);
        if (counts[i] > 500) {
            expect_failure(data, size, NULL, EFF_ERR_LIMIT, "in more than 500 scans");
        } else {
            EffImage image = {0};
            assert_int_equal(eff_image_decode(&image, data, size, NULL, NULL), EFF_OK);
            eff_image_free(&image);
        }
        free(data);
    }
}

static void twelve_bits_are_unsupported(void **state)
{
    (void)state;
    EffBytes bytes = read_data("gray.jpg");
    bytes.data[find(&bytes, "\xff\xc0", 2) + 4] = 12;
    expect_failure(bytes.data, bytes.size, NULL, EFF_ERR_UNSUPPORTED, "convert it to baseline");
    eff_free(bytes.data);
}

static void out_of_memory_is_reported(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        long n_allocations;
    } rows[] = {{"420.jpg", 1},   {"turn6.jpg", 2},  {"progressive.jpg", 1}, {"ycck.jpg", 2},     {"rgb.png", 1},
                {"turn6.png", 3}, {"lossy.webp", 1}, {"turn8.webp", 3},      {"animated.webp", 1}};
    for (size_t i = 0; i < EFF_COUNT(rows); i++) {
        EffBytes bytes = read_data(rows[i].name);
        for (long k = 0; k <= rows[i].n_allocations; k++) {
            EffImage image = {0};
            eff_mem_fail_after(k);
            const EffStatus st = eff_image_decode(&image, bytes.data, bytes.size, rows[i].name, &turn);
            eff_mem_fail_after(-1);
            if (st != (k < rows[i].n_allocations ? EFF_ERR_NOMEM : EFF_OK))
                fail_msg("%s, allocation %ld: %s, %s", rows[i].name, k, eff_status_name(st), eff_last_message());
            assert_true((st == EFF_OK) == (image.pixels != NULL));
            eff_image_free(&image);
        }
        eff_free(bytes.data);
    }
}

/* ---- Parts ---- */

static const EffPreprocess part_pres[] = {
    {.size = 8, .crop = 0.5, .interpolation = EFF_INTERP_BICUBIC},
    {.size = 24, .crop = 0.875, .interpolation = EFF_INTERP_BILINEAR},
    {.size = 5, .crop = 0.11, .interpolation = EFF_INTERP_LANCZOS},
    {.size = 40, .crop = 1.0, .interpolation = EFF_INTERP_BOX},
    {.size = 61, .crop = 0.3, .interpolation = EFF_INTERP_BICUBIC},
    {.size = 224, .crop = 0.875, .interpolation = EFF_INTERP_BICUBIC},
};

/* A part has the pixels of the whole, and makes the same input. Returns the share of the pixels in it. */
static double expect_part(const char *name, const uint8_t *data, size_t size, const EffDecodeOptions *options,
                          const EffPreprocess *pre)
{
    static uint8_t want[224 * 224 * 3], got[224 * 224 * 3];
    EffImage whole = {0};
    EffImagePart part = {0};
    if (eff_image_decode(&whole, data, size, name, options) != EFF_OK ||
        eff_image_decode_part(&part, data, size, name, options, pre) != EFF_OK)
        fail_msg("%s", eff_last_message());
    assert_int_equal(part.full_width, whole.width);
    assert_int_equal(part.full_height, whole.height);
    const size_t row = (size_t)part.image.width * 3;
    for (int y = 0; y < part.image.height; y++) {
        const uint8_t *in = whole.pixels + ((size_t)(part.y + y) * (size_t)whole.width + (size_t)part.x) * 3;
        if (memcmp(in, part.image.pixels + (size_t)y * row, row) != 0)
            fail_msg("%s: row %d of the part at (%d, %d) for size %d differs from the whole", name, y, part.x, part.y,
                     pre->size);
    }
    assert_int_equal(eff_image_prepare(want, &whole, pre), EFF_OK);
    if (eff_image_prepare_part(got, &part, pre) != EFF_OK)
        fail_msg("%s: %s", name, eff_last_message());
    assert_memory_equal(want, got, (size_t)pre->size * (size_t)pre->size * 3);
    const double share = (double)part.image.width * part.image.height / ((double)whole.width * whole.height);
    eff_image_free(&whole);
    eff_image_free(&part.image);
    return share;
}

static void parts_equal_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < EFF_COUNT(image_rows); i++) {
        EffBytes bytes = read_data(image_rows[i].name);
        for (size_t k = 0; k < EFF_COUNT(part_pres); k++) {
            expect_part(image_rows[i].name, bytes.data, bytes.size, NULL, &part_pres[k]);
            expect_part(image_rows[i].name, bytes.data, bytes.size, &turn, &part_pres[k]);
        }
        eff_free(bytes.data);
    }
}

/* How a JPEG of noise is coded. */
typedef struct Coding {
    int width, height, n_ch, h, v; /* sampling of the first component */
    bool progressive, arithmetic;
    int restart;     /* interval in blocks; 0 for none */
    int orientation; /* 0 for no EXIF */
} Coding;

static uint8_t *encode(const Coding *coding, unsigned long *size)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    uint8_t *data = NULL, *row = eff_malloc((size_t)coding->width * 3);
    assert_non_null(row);
    *size = 0;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &data, size);
    c.image_width = (JDIMENSION)coding->width;
    c.image_height = (JDIMENSION)coding->height;
    c.input_components = coding->n_ch;
    c.in_color_space = coding->n_ch == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    c.comp_info[0].h_samp_factor = coding->h;
    c.comp_info[0].v_samp_factor = coding->v;
    c.arith_code = coding->arithmetic;
    c.restart_interval = (unsigned)coding->restart;
    if (coding->progressive)
        jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    if (coding->orientation != 0) {
        uint8_t exif[] = {'E', 'x',  'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1,
                          1,   0x12, 0,   3,   0, 0, 0,   1,   0, 0,  0, 0, 0, 0, 0, 0};
        exif[25] = (uint8_t)coding->orientation;
        jpeg_write_marker(&c, JPEG_APP0 + 1, exif, sizeof exif);
    }
    uint32_t random = 1;
    while (c.next_scanline < c.image_height) {
        for (int i = 0; i < coding->width * coding->n_ch; i++) { /* edges everywhere, of colour too */
            random = random * 1664525u + 1013904223u;
            row[i] = (uint8_t)(random >> 24);
        }
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    eff_free(row);
    return data;
}

/* Every sampling, odd sizes, every coding, every orientation. */
static void jpeg_parts_equal_the_whole(void **state)
{
    (void)state;
    static const struct {
        int h, v;
    } samplings[] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}, {4, 2}, {3, 1}};
    static const struct {
        int width, height;
    } sizes[] = {{203, 97}, {96, 211}, {64, 64}, {17, 150}};
    double least = 1;
    int n = 0;
    for (size_t i = 0; i < EFF_COUNT(samplings) * EFF_COUNT(sizes) * 3; i++, n++) {
        const Coding coding = {.width = sizes[i % EFF_COUNT(sizes)].width,
                               .height = sizes[i % EFF_COUNT(sizes)].height,
                               .n_ch = n % 13 == 12 ? 1 : 3,
                               .h = n % 13 == 12 ? 1 : samplings[i / EFF_COUNT(sizes) % EFF_COUNT(samplings)].h,
                               .v = n % 13 == 12 ? 1 : samplings[i / EFF_COUNT(sizes) % EFF_COUNT(samplings)].v,
                               .progressive = n % 3 == 1,
                               .arithmetic = n % 5 == 4,
                               .restart = n % 4 == 3 ? 5 : 0,
                               .orientation = n % 9};
        char name[96];
        snprintf(name, sizeof name, "%d x %d x %d, sampling %d x %d, progressive %d, arithmetic %d, orientation %d",
                 coding.width, coding.height, coding.n_ch, coding.h, coding.v, coding.progressive, coding.arithmetic,
                 coding.orientation);
        unsigned long size;
        uint8_t *data = encode(&coding, &size);
        for (size_t k = 0; k < EFF_COUNT(part_pres); k++) {
            const double share = expect_part(name, data, size, &turn, &part_pres[k]);
            least = share < least ? share : least;
        }
        free(data);
    }
    assert_true(least < 0.1); /* parts are parts */
}

static void photo_parts_equal_the_whole(void **state)
{
    (void)state;
    static const char *const dirs[] = {"data/photos", "../shared/photos"};
    for (size_t i = 0; i < EFF_COUNT(dirs); i++) {
        EffStrings names = {0};
        if (!eff_is_dir(dirs[i])) {
            print_message("skipped: no photos in %s\n", dirs[i]);
            continue;
        }
        assert_int_equal(eff_dir_list(&names, dirs[i]), EFF_OK);
        for (size_t k = 0; k<names.n; k += names.n> 40 ? names.n / 40 : 1) {
            char *path = eff_path_join(dirs[i], names.items[k]);
            EffBytes bytes = {0};
            if (strstr(path, ".jpg") != NULL) {
                assert_int_equal(eff_file_read(&bytes, path, 64 << 20), EFF_OK);
                expect_part(path, bytes.data, bytes.size, &turn, &part_pres[5]);
                expect_part(path, bytes.data, bytes.size, &turn, &part_pres[4]);
            }
            eff_free(bytes.data);
            eff_free(path);
        }
        eff_strings_free(&names);
    }
}

/* Damage below the part is found as in the whole picture. */
static void damage_outside_a_part_is_found(void **state)
{
    (void)state;
    for (int progressive = 0; progressive < 2; progressive++) {
        const Coding coding = {.width = 120, .height = 200, .n_ch = 3, .h = 2, .v = 2, .progressive = progressive != 0};
        unsigned long size;
        uint8_t *data = encode(&coding, &size);
        for (size_t cut = 3; cut < 200; cut += 13) {
            EffImagePart part = {0};
            assert_int_equal(eff_image_decode_part(&part, data, size - cut, "cut", NULL, &part_pres[0]),
                             EFF_ERR_FORMAT);
            assert_non_null(strstr(eff_last_message(), "truncated or damaged JPEG"));
            assert_null(part.image.pixels);
        }
        free(data);
    }
}

/* 1/8, 1/4, 1/2, 1: no smaller than what is needed, and near the exact result. */
static void fast_scale_takes_the_smallest_that_suffices(void **state)
{
    (void)state;
    static const struct {
        int width, height, orientation, size, full_width, full_height;
    } rows[] = {
        {1000, 800, 0, 100, 125, 100}, {1000, 800, 0, 101, 250, 200}, {1000, 800, 6, 100, 100, 125},
        {1000, 800, 0, 200, 250, 200}, {1000, 800, 0, 201, 500, 400}, {1000, 800, 0, 224, 500, 400},
        {300, 250, 0, 224, 300, 250},  {801, 805, 0, 200, 201, 202},
    };
    for (size_t i = 0; i < EFF_COUNT(rows); i++) {
        const Coding coding = {.width = rows[i].width,
                               .height = rows[i].height,
                               .n_ch = 3,
                               .h = 2,
                               .v = 2,
                               .orientation = rows[i].orientation};
        const EffPreprocess pre = {.size = rows[i].size, .crop = 1, .interpolation = EFF_INTERP_BICUBIC};
        const EffDecodeOptions fast = {.apply_orientation = 1, .fast_scale = 1};
        static uint8_t want[224 * 224 * 3], got[224 * 224 * 3];
        unsigned long size;
        uint8_t *data = encode(&coding, &size);
        EffImagePart part = {0}, exact = {0};
        assert_int_equal(eff_image_decode_part(&part, data, size, "fast", &fast, &pre), EFF_OK);
        assert_int_equal(part.full_width, rows[i].full_width);
        assert_int_equal(part.full_height, rows[i].full_height);
        assert_int_equal(eff_image_prepare_part(got, &part, &pre), EFF_OK);
        assert_int_equal(eff_image_decode_part(&exact, data, size, "exact", &turn, &pre), EFF_OK);
        assert_int_equal(eff_image_prepare_part(want, &exact, &pre), EFF_OK);
        double sum = 0;
        const size_t n = (size_t)pre.size * (size_t)pre.size * 3;
        for (size_t k = 0; k < n; k++)
            sum += abs(want[k] - got[k]);
        assert_true(sum / (double)n < 12); /* of noise, the hardest case */
        eff_image_free(&part.image);
        eff_image_free(&exact.image);
        free(data);
    }
}

static void parts_that_lack_pixels_are_refused(void **state)
{
    (void)state;
    EffBytes bytes = read_data("420.jpg");
    EffImagePart part = {0};
    static uint8_t dst[224 * 224 * 3];
    assert_int_equal(eff_image_decode_part(&part, bytes.data, bytes.size, NULL, NULL, &part_pres[2]), EFF_OK);
    assert_true(part.image.width < part.full_width);
    assert_int_equal(eff_image_prepare_part(dst, &part, &part_pres[3]), EFF_ERR_ARG);
    assert_non_null(strstr(eff_last_message(), "decode it for this preprocessing"));
    part.x = part.full_width;
    assert_int_equal(eff_image_prepare_part(dst, &part, &part_pres[2]), EFF_ERR_ARG);
    part.x = -1;
    assert_int_equal(eff_image_prepare_part(dst, &part, &part_pres[2]), EFF_ERR_ARG);
    eff_image_free(&part.image);
    const EffPreprocess bad = {.size = 0, .crop = 1};
    assert_int_equal(eff_image_decode_part(&part, bytes.data, bytes.size, NULL, NULL, &bad), EFF_ERR_ARG);
    for (long k = 0; k < 2; k++) {
        eff_mem_fail_after(k);
        assert_int_equal(eff_image_decode_part(&part, bytes.data, bytes.size, NULL, NULL, &part_pres[2]),
                         EFF_ERR_NOMEM);
        eff_mem_fail_after(-1);
        assert_null(part.image.pixels);
    }
    eff_free(bytes.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_equal_pillow),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(damaged_jpeg_is_refused),
        cmocka_unit_test(limits_come_before_memory),
        cmocka_unit_test(scans_are_bounded),
        cmocka_unit_test(twelve_bits_are_unsupported),
        cmocka_unit_test(out_of_memory_is_reported),
        cmocka_unit_test(parts_equal_the_whole),
        cmocka_unit_test(jpeg_parts_equal_the_whole),
        cmocka_unit_test(photo_parts_equal_the_whole),
        cmocka_unit_test(damage_outside_a_part_is_found),
        cmocka_unit_test(fast_scale_takes_the_smallest_that_suffices),
        cmocka_unit_test(parts_that_lack_pixels_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
