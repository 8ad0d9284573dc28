/* SPDX-License-Identifier: Apache-2.0 */
/* tools/views.c: the views that evaluation takes of a picture. */
#include "unit.h"

#include "../../tools/views.h"

#include <string.h>

enum { SIZE = 24, BYTES = SIZE * SIZE * 3 };
static const EffPreprocess pre = {.size = SIZE, .crop = 0.875, .interpolation = EFF_INTERP_BICUBIC, .std = {1, 1, 1}};

static void views_come_in_mirrored_pairs(void **state)
{
    (void)state;
    EffImage cat = {0};
    assert_int_equal(eff_image_open(&cat, "data/photos/cat.jpg", NULL), EFF_OK);
    uint8_t usual[BYTES], a[BYTES], b[BYTES], earlier[BYTES];
    assert_int_equal(eff_image_prepare(usual, &cat, &pre), EFF_OK);
    for (int k = 0; k < 12; k++) {
        assert_int_equal(views_evaluate(a, &cat, &pre, 2 * k), EFF_OK);
        assert_int_equal(views_evaluate(b, &cat, &pre, 2 * k + 1), EFF_OK);
        if (k == 0)
            assert_memory_equal(a, usual, BYTES);
        else
            assert_memory_not_equal(a, earlier, BYTES);
        int differing = 0;
        for (int i = 0; i < BYTES; i++) {
            const int row = i / (3 * SIZE), col = i / 3 % SIZE, ch = i % 3;
            const int d = a[i] - b[(row * SIZE + SIZE - 1 - col) * 3 + ch];
            differing += d < -1 || d > 1; /* mirrored before resizing: sums round another way */
        }
        assert_int_equal(differing, 0);
        memcpy(earlier, a, BYTES);
    }
    eff_image_free(&cat);
}

/* Every square lies inside, of the smallest picture and of a thin one too; the sanitizers look on. */
static void squares_stay_inside(void **state)
{
    (void)state;
    static const int sides[][2] = {{1, 1}, {1, 50}, {50, 1}, {2, 3}, {37, 31}};
    uint8_t grey[50 * 50], pixels[BYTES];
    memset(grey, 77, sizeof grey);
    for (size_t i = 0; i < EFF_COUNT(sides); i++) {
        const EffImage image = {.pixels = grey, .width = sides[i][0], .height = sides[i][1], .channels = 1};
        for (int view = 0; view < 200; view++) {
            assert_int_equal(views_evaluate(pixels, &image, &pre, view), EFF_OK);
            for (int p = 0; p < BYTES; p++)
                assert_int_equal(pixels[p], 77);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_come_in_mirrored_pairs),
        cmocka_unit_test(squares_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
