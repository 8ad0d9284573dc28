/* SPDX-License-Identifier: Apache-2.0 */
/* Importing ONNX's pools over windows: as convolutions, or as pools. */
#include "unit.h"

#include "onnx_maps_util.h"

static void test_max_pool(void **state)
{
    (void)state;
    static const int64_t none[4] = {0}, one[4] = {1, 1, 1, 1}, uneven[4] = {0, 1, 2, 1};
    Proto g = begin();
    pool(&g, "MaxPool", 3, 2, one, 0, 0); /* as ResNet's */
    same_numbers(&g, "y", 13, CH, 5, 5, 1, true);
    g = begin();
    pool(&g, "MaxPool", 2, 2, none, 0, 0); /* leaves the last row and column out */
    same_numbers(&g, "y", 9, CH, 4, 4, 1, true);
    g = begin();
    pool(&g, "MaxPool", 2, 2, none, 1, 0); /* hangs over */
    same_numbers(&g, "y", 13, CH, 5, 5, 1, true);
    g = begin();
    pool(&g, "MaxPool", 3, 1, uneven, 0, 0);
    same_numbers(&g, "y", 21, CH, 9, 9, 1, true);
    g = begin();
    node(&g, "MaxPool", IN("x"), "y", LISTS({"kernel_shape", 2, {2, 3}}, {"strides", 2, {1, 1}}));
    same_numbers(&g, "y", 13, CH, 8, 7, 1, true);
    g = begin(); /* one row: its stride does not matter */
    node(&g, "MaxPool", IN("x"), "y", LISTS({"kernel_shape", 2, {9, 3}}, {"strides", 2, {7, 2}}));
    same_numbers(&g, "y", 13, CH, 1, 4, 1, true);
    g = begin();
    Proto p = {0}, a = {0};
    onnx_node_begin(&p, "MaxPool", "y", IN("x"), "y");
    onnx_ints(&p, "kernel_shape", 2, (const int64_t[]){2, 2});
    onnx_ints(&p, "strides", 2, (const int64_t[]){2, 2});
    proto_text(&a, 1, "auto_pad");
    proto_text(&a, 4, "SAME_UPPER");
    proto_int(&a, 20, 3);
    proto_message(&p, 5, &a);
    proto_message(&g, 1, &p);
    same_numbers(&g, "y", 13, CH, 5, 5, 1, true);
    g = begin();
    onnx_plain(&g, "GlobalMaxPool", "y", "x", NULL, "y");
    same_numbers(&g, "y", 13, CH, 1, 1, 1, true);
}

static void test_average_pool(void **state)
{
    (void)state;
    static const int64_t none[4] = {0}, one[4] = {1, 1, 1, 1}, uneven[4] = {2, 0, 1, 1};
    Proto g = begin();
    pool(&g, "AveragePool", 3, 1, one, 0, 1); /* zeros count: a convolution */
    same_numbers(&g, "y", 13, CH, 9, 9, 0, false);
    g = begin();
    pool(&g, "AveragePool", 3, 1, one, 0, 0);
    same_numbers(&g, "y", 13, CH, 9, 9, 1, false);
    g = begin();
    pool(&g, "AveragePool", 3, 2, uneven, 0, 0);
    same_numbers(&g, "y", 11, CH, 5, 4, 1, false);
    g = begin();
    pool(&g, "AveragePool", 2, 2, none, 0, 0); /* in a window of 3x3 */
    same_numbers(&g, "y", 9, CH, 4, 4, 0, false);
    g = begin();
    pool(&g, "AveragePool", 2, 2, none, 1, 1); /* what hangs over counts for nothing: not there in ONNX either */
    same_numbers(&g, "y", 19, CH, 5, 5, 1, false);
    g = begin();
    pool(&g, "AveragePool", 5, 4, none, 1, 1); /* nothing hangs over */
    same_numbers(&g, "y", 13, CH, 2, 2, 0, false);
    g = begin();
    pool(&g, "AveragePool", 9, 1, none, 0, 0); /* the whole map */
    same_numbers(&g, "y", 13, CH, 1, 1, 0, false);
    g = begin();
    node(&g, "AveragePool", IN("x"), "y", LISTS({"kernel_shape", 2, {1, 9}}, {"strides", 2, {3, 1}}));
    same_numbers(&g, "y", 13, CH, 3, 1, 0, false);
}

/* Zeros around what is never negative are padding of a maximum; around other maps they are not. A Pad of none is none.
 */
static void test_pads(void **state)
{
    (void)state;
    for (int negative = 0; negative < 2; negative++) {
        EffGraph *net = NULL;
        Proto g = begin();
        onnx_int64s(&g, "one", 8, (const int64_t[]){0, 0, 1, 1, 0, 0, 1, 1});
        onnx_int64s(&g, "nothing", 8, (const int64_t[8]){0});
        onnx_plain(&g, "Relu", "r", "x", NULL, "r");
        node(&g, "Pad", IN(negative ? "x" : "r", "nothing"), "a", NULL);
        node(&g, "Pad", IN("a", "one"), "b", NULL);
        node(&g, "MaxPool", IN("b"), "y", LISTS({"kernel_shape", 2, {3, 3}}, {"strides", 2, {2, 2}}));
        if (!negative) {
            same_numbers(&g, "y", 13, CH, 5, 5, 1, true);
            continue;
        }
        Proto file = end(&g, "y", 13, CH, 5, 5);
        assert_int_equal(eff_onnx_read(&net, file.data, file.n, "test.onnx", NULL), EFF_ERR_UNSUPPORTED);
        assert_non_null(strstr(eff_last_message(), "b: pads that no convolution follows"));
        free(file.data);
    }
}

/* ---- Refusals ---- */

static void test_pools_refused(void **state)
{
    (void)state;
    static const int64_t one[4] = {1, 1, 1, 1}, two[4] = {2, 2, 2, 2};
    Proto g = begin();
    node(&g, "MaxPool", IN("x"), "y", LISTS({"kernel_shape", 2, {2, 2}}, {"dilations", 2, {2, 2}}));
    refused(&g, "y (MaxPool, opset 13): dilation 2 x 2");
    g = begin();
    node(&g, "MaxPool", IN("x"), "y", LISTS({"kernel_shape", 2, {2, 2}}, {"strides", 2, {1, 2}}));
    refused(&g, "a pool of 2 x 2, strides 1 x 2; equal strides, up to 64");
    g = begin();
    pool(&g, "MaxPool", 2, 2, two, 0, 0);
    refused(&g, "pads that are as large as its window of 2 x 2");
    g = begin();
    pool(&g, "AveragePool", 3, 3, one, 1, 1);
    refused(&g, "count_include_pad with windows that hang over");
    g = begin();
    transpose(&g, "x", "t", true);
    node(&g, "MaxPool", IN("t"), "y", LISTS({"kernel_shape", 2, {2, 2}}));
    refused(&g, "not in the order NCHW");
    g = begin();
    Proto p = {0};
    onnx_node_begin(&p, "MaxPool", "max", IN("x"), "m");
    proto_text(&p, 2, "y"); /* the indices */
    onnx_ints(&p, "kernel_shape", 2, (const int64_t[]){2, 2});
    proto_message(&g, 1, &p);
    refused(&g, "output 1 is used");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max_pool),
        cmocka_unit_test(test_average_pool),
        cmocka_unit_test(test_pads),
        cmocka_unit_test(test_pools_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
