/* SPDX-License-Identifier: Apache-2.0 */
/* Importing what ONNX does with parts of maps: slices, splits, joined maps, groups of convolutions; in int8 too. */
#include "unit.h"

#include "compiled_util.h"
#include "onnx_maps_util.h"

static void test_slice(void **state)
{
    (void)state;
    enum { END = 1 << 30 };
    static const struct {
        int n;
        int64_t from[3], to[3], axes[3], steps[3];
        int c, h, w;
    } cases[] = {
        {1, {1}, {4}, {1}, {1}, 3, 9, 9},                               /* channels */
        {1, {-1}, {-END}, {1}, {-1}, 6, 9, 9},                          /* last to first */
        {1, {5}, {0}, {-3}, {-2}, 3, 9, 9},                             /* 5, 3, 1 */
        {1, {1}, {END}, {1}, {4}, 2, 9, 9},                             /* every fourth */
        {2, {1, 2}, {END, -2}, {2, 3}, {1, 1}, 6, 8, 5},                /* a window */
        {2, {0, 1}, {END, END}, {2, 3}, {2, 2}, 6, 5, 4},               /* space to depth */
        {2, {3, 8}, {4, 9}, {2, 3}, {1, 1}, 6, 1, 1},                   /* a pixel */
        {2, {8, 0}, {-END, END}, {2, 3}, {-9, 3}, 6, 1, 3},             /* one row, from the end */
        {3, {2, 1, 0}, {5, 8, -1}, {1, 2, 3}, {2, 3, 3}, 2, 3, 3},      /* all three */
        {3, {0, 0, 0}, {END, END, END}, {1, 2, 3}, {1, 1, 1}, 6, 9, 9}, /* everything */
    };
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        Proto g = begin();
        slice(&g, "x", "y", cases[i].n, cases[i].from, cases[i].to, cases[i].axes, cases[i].steps);
        same_numbers(&g, "y", 13, cases[i].c, cases[i].h, cases[i].w, 0, true);
        /* The same in NHWC. */
        int64_t axes[3];
        for (int k = 0; k < 3; k++) {
            const int64_t axis = cases[i].axes[k] < 0 ? cases[i].axes[k] + 4 : cases[i].axes[k];
            axes[k] = axis == 1 ? 3 : axis - 1;
        }
        g = begin();
        transpose(&g, "x", "t", true);
        slice(&g, "t", "s", cases[i].n, cases[i].from, cases[i].to, axes, cases[i].steps);
        transpose(&g, "s", "y", false);
        same_numbers(&g, "y", 13, cases[i].c, cases[i].h, cases[i].w, 0, true);
    }
    Proto g = begin(); /* one after another, as torch.onnx writes x[:, 1:, ::2, 8::-2][:, :, 1:], are one */
    slice(&g, "x", "a", 1, (const int64_t[]){1}, (const int64_t[]){END}, (const int64_t[]){1}, (const int64_t[]){1});
    slice(&g, "a", "b", 1, (const int64_t[]){0}, (const int64_t[]){END}, (const int64_t[]){2}, (const int64_t[]){2});
    slice(&g, "b", "c", 1, (const int64_t[]){8}, (const int64_t[]){-END}, (const int64_t[]){3}, (const int64_t[]){-2});
    slice(&g, "c", "d", 1, (const int64_t[]){4}, (const int64_t[]){-END}, (const int64_t[]){3}, (const int64_t[]){-1});
    slice(&g, "d", "y", 1, (const int64_t[]){1}, (const int64_t[]){END}, (const int64_t[]){2}, (const int64_t[]){1});
    same_numbers(&g, "y", 13, 5, 4, 5, 0, true);
    g = begin(); /* until set 9 in attributes */
    node(&g, "Slice", IN("x"), "y", LISTS({"starts", 2, {0, 1}}, {"ends", 2, {2, 9}}, {"axes", 2, {1, 2}}));
    same_numbers(&g, "y", 9, 2, 8, 9, 0, true);
}

static void test_split(void **state)
{
    (void)state;
    Proto g = begin(), p = {0};
    onnx_node_begin(&p, "Split", "split", IN("x"), "a"); /* equal parts, the first unused */
    proto_text(&p, 2, "b");
    proto_text(&p, 2, "c");
    onnx_int(&p, "axis", 1);
    proto_message(&g, 1, &p);
    node(&g, "Concat", IN("c", "b"), "y", LISTS({"axis", 0, {1}}));
    same_numbers(&g, "y", 13, 4, 9, 9, 0, true);
    g = begin();
    onnx_node_begin(&p, "Split", "split", IN("x"), "a"); /* sizes as an attribute, until set 12 */
    proto_text(&p, 2, "b");
    onnx_int(&p, "axis", -2);
    onnx_ints(&p, "split", 2, (const int64_t[]){4, 5});
    proto_message(&g, 1, &p);
    same_numbers(&g, "b", 11, CH, 5, 9, 0, true);
    g = begin();
    onnx_int64s(&g, "sizes", 2, (const int64_t[]){2, 4});
    onnx_node_begin(&p, "Split", "split", IN("x", "sizes"), "a"); /* as an input */
    proto_text(&p, 2, "b");
    onnx_int(&p, "axis", 1);
    proto_message(&g, 1, &p);
    same_numbers(&g, "b", 13, 4, 9, 9, 0, true);
    g = begin();
    onnx_node_begin(&p, "Split", "split", IN("x"), "a"); /* 3, 3 and 3 rows would be 9; of 2 outputs 5 and 4 */
    proto_text(&p, 2, "b");
    onnx_int(&p, "axis", 2);
    onnx_int(&p, "num_outputs", 2);
    proto_message(&g, 1, &p);
    same_numbers(&g, "b", 18, CH, 4, 9, 0, true);
    g = begin();
    onnx_node_begin(&p, "Split", "split", IN("w"), "a"); /* of a constant */
    proto_text(&p, 2, "b");
    onnx_int(&p, "axis", 0);
    proto_message(&g, 1, &p);
    onnx_plain(&g, "Conv", "again", "picture", "b", "y");
    same_numbers(&g, "y", 13, 3, 9, 9, 0, true);
}

static void test_concat(void **state)
{
    (void)state;
    Proto g = begin();
    onnx_plain(&g, "Relu", "r", "x", NULL, "r");
    slice(&g, "x", "s", 1, (const int64_t[]){4}, (const int64_t[]){6}, (const int64_t[]){1}, (const int64_t[]){1});
    slice(&g, "r", "q", 1, (const int64_t[]){0}, (const int64_t[]){3}, (const int64_t[]){1}, (const int64_t[]){1});
    node(&g, "Concat", IN("q", "s", "q"), "y", LISTS({"axis", 0, {-3}}));
    same_numbers(&g, "y", 13, 8 - 2 + 2, 9, 9, 0, true);
    for (int nhwc = 0; nhwc < 2; nhwc++) {
        for (int columns = 0; columns < 2; columns++) {
            const int64_t axis = (nhwc ? 1 : 2) + columns;
            g = begin();
            onnx_plain(&g, "Relu", "r", "x", NULL, "r");
            transpose(&g, "x", "xt", true);
            transpose(&g, "r", "rt", true);
            const char *a = nhwc ? "xt" : "x", *b = nhwc ? "rt" : "r";
            slice(&g, a, "a", 1, (const int64_t[]){7}, (const int64_t[]){9}, &axis, (const int64_t[]){1});
            slice(&g, b, "b", 1, (const int64_t[]){0}, (const int64_t[]){4}, &axis, (const int64_t[]){1});
            slice(&g, a, "c", 1, (const int64_t[]){3}, (const int64_t[]){6}, &axis, (const int64_t[]){1});
            node(&g, "Concat", IN("b", "a", "c"), nhwc ? "j" : "y", LISTS({"axis", 0, {axis}}));
            if (nhwc)
                transpose(&g, "j", "y", false);
            same_numbers(&g, "y", 13, CH, 9, 9, 0, true);
        }
    }
    g = begin(); /* of one, and of vectors */
    node(&g, "Concat", IN("x"), "one", LISTS({"axis", 0, {1}}));
    onnx_plain(&g, "GlobalAveragePool", "mean", "one", NULL, "mean");
    onnx_plain(&g, "GlobalMaxPool", "max", "one", NULL, "max");
    node(&g, "Concat", IN("mean", "max"), "y", LISTS({"axis", 0, {1}}));
    same_numbers(&g, "y", 13, 2 * CH, 1, 1, 1, false);
    g = begin(); /* flat vectors */
    onnx_plain(&g, "GlobalAveragePool", "mean", "x", NULL, "mean");
    onnx_plain(&g, "Flatten", "flat", "mean", NULL, "flat");
    node(&g, "Concat", IN("flat", "flat"), "two", LISTS({"axis", 0, {1}}));
    onnx_int64s(&g, "shape", 4, (const int64_t[]){1, 2 * CH, 1, 1});
    node(&g, "Reshape", IN("two", "shape"), "y", NULL);
    same_numbers(&g, "y", 13, 2 * CH, 1, 1, 0, false);
    g = begin(); /* single channels, whose axis nothing claims once it was transposed */
    slice(&g, "x", "s", 1, (const int64_t[]){2}, (const int64_t[]){3}, (const int64_t[]){1}, (const int64_t[]){1});
    transpose(&g, "s", "t", true);
    node(&g, "Concat", IN("t", "t", "t"), "j", LISTS({"axis", 0, {3}}));
    transpose(&g, "j", "y", false);
    same_numbers(&g, "y", 13, 3, 9, 9, 0, true);
}

/* Groups of channels become a dense convolution. */
static void test_groups(void **state)
{
    (void)state;
    static const struct {
        int out, groups;
    } cases[] = {{6, 2}, {4, 2}, {9, 3}, {12, 6}};
    float w[12 * 3 * 9];
    for (size_t i = 0; i < EFF_COUNT(w); i++)
        w[i] = (float)((int)i * 5 % 13 - 6) * 0.25f;
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        Proto g = begin();
        onnx_weights(&g, "w2", w, 4, (const int64_t[]){cases[i].out, CH / cases[i].groups, 3, 3});
        node(&g, "Conv", IN("x", "w2"), "y",
             LISTS({"group", 0, {cases[i].groups}}, {"strides", 2, {2, 2}}, {"pads", 4, {1, 1, 1, 1}}));
        same_numbers(&g, "y", 13, cases[i].out, 5, 5, 0, false);
    }
}

/* A BatchNorm behind a joined map goes into the convolutions that join it. */
static void test_batchnorm(void **state)
{
    (void)state;
    static const char *const leaves[] = {"gamma", "beta", "mean", "var"};
    Proto g = begin();
    for (int i = 0; i < 4; i++) {
        float v[2 * CH];
        for (int c = 0; c < 2 * CH; c++)
            v[c] = (float)(c * 5 % 7 + (i == 3)) * 0.3f;
        onnx_weights(&g, leaves[i], v, 1, (const int64_t[]){2 * CH});
    }
    onnx_plain(&g, "Relu", "r", "x", NULL, "r");
    node(&g, "Concat", IN("r", "x"), "j", LISTS({"axis", 0, {1}}));
    node(&g, "BatchNormalization", IN("j", "gamma", "beta", "mean", "var"), "n", NULL);
    slice(&g, "n", "y", 1, (const int64_t[]){3}, (const int64_t[]){11}, (const int64_t[]){1}, (const int64_t[]){1});
    same_numbers(&g, "y", 13, 8, 9, 9, 0, false);
}

/* What the importer's convolutions hold is no parameter. */
static void test_parameters(void **state)
{
    (void)state;
    static const float w2[8 * 2 * 9] = {1};
    EffGraph *net = NULL;
    EffGraphStats stats;
    Proto g = begin();
    node(&g, "AveragePool", IN("x"), "a", LISTS({"kernel_shape", 2, {2, 2}}));
    node(&g, "Concat", IN("a", "a"), "j", LISTS({"axis", 0, {1}}));
    slice(&g, "j", "s", 1, (const int64_t[]){2}, (const int64_t[]){10}, (const int64_t[]){1}, (const int64_t[]){1});
    onnx_weights(&g, "w2", w2, 4, (const int64_t[]){8, 2, 3, 3});
    node(&g, "Conv", IN("s", "w2"), "y", LISTS({"group", 0, {4}}));
    Proto file = end(&g, "y", 13, 8, 6, 6);
    ok(eff_onnx_read(&net, file.data, file.n, "test.onnx", NULL));
    eff_graph_stats(net, &stats);
    assert_int_equal(stats.params, CH * 3 + 8 * 2 * 9 + 288 * 288 + 288);
    assert_true(stats.macs > 8 * 8 * CH * 9); /* but it is work */
    eff_graph_free(net);
    free(file.data);
}

/* Names of the nodes that a Concat and a Slice become: the last has the file's. */
static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"expand", "s_channels", "s", "j_part0", "j_part1",
                                        "j_sum1", "j_part2",    "j", "logits"};
    EffGraph *net = NULL;
    Proto g = begin();
    slice(&g, "x", "s", 2, (const int64_t[]){0, 1}, (const int64_t[]){2, 9}, (const int64_t[]){1, 2},
          (const int64_t[]){1, 1});
    node(&g, "Concat", IN("s", "s", "s"), "j", LISTS({"axis", 0, {1}}));
    Proto file = end(&g, "j", 13, 6, 8, 9);
    ok(eff_onnx_read(&net, file.data, file.n, "test.onnx", NULL));
    assert_int_equal(net->n_nodes, EFF_COUNT(names));
    for (int i = 0; i < net->n_nodes; i++)
        assert_string_equal(net->nodes[i].name, names[i]);
    eff_graph_free(net);
    free(file.data);
}

/* ---- Refusals ---- */

static void test_parts_refused(void **state)
{
    (void)state;
    static const int64_t zero[2] = {0, 0}, ones[2] = {1, 1}, all[2] = {9, 9}, spatial[2] = {2, 3};
    Proto g = begin();
    slice(&g, "x", "y", 1, ones, ones, ones, ones);
    refused(&g, "y (Slice, opset 13): nothing is left of axis 1");
    g = begin();
    slice(&g, "x", "y", 2, zero, all, spatial, (const int64_t[]){1, 2});
    refused(&g, "steps of 1 rows and 2 columns");
    g = begin();
    slice(&g, "x", "y", 1, (const int64_t[]){8}, (const int64_t[]){-20}, spatial, (const int64_t[]){-1});
    refused(&g, "rows or columns from last to first");
    g = begin();
    onnx_int64s(&g, "zero", 1, zero);
    onnx_plain(&g, "GlobalAveragePool", "m", "x", NULL, "m");
    node(&g, "Slice", IN("x", "zero", "m"), "y", NULL);
    refused(&g, "depends on the picture");
    g = begin();
    onnx_weights(&g, "c", (const float[2 * SIZE * SIZE]){0}, 4, (const int64_t[]){1, 2, SIZE, SIZE});
    node(&g, "Concat", IN("x", "c"), "y", LISTS({"axis", 0, {1}}));
    refused(&g, "y (Concat, opset 13): input 1 is a constant");
    g = begin();
    node(&g, "Concat", IN("x", "x"), "y", LISTS({"axis", 0, {0}}));
    refused(&g, "along axis 0, which has neither rows, columns nor channels");
    g = begin(); /* equal sizes, other places */
    Proto p = {0};
    onnx_node_begin(&p, "Transpose", "t", IN("x"), "t");
    onnx_ints(&p, "perm", 4, (const int64_t[]){0, 1, 3, 2});
    proto_message(&g, 1, &p);
    node(&g, "Concat", IN("x", "t"), "y", LISTS({"axis", 0, {1}}));
    refused(&g, "input 1 has its rows, columns and channels elsewhere");
}

static void test_sizes_refused(void **state)
{
    (void)state;
    Proto g = begin_large(130, 2);
    slice(&g, "x", "y", 1, (const int64_t[]){10}, (const int64_t[]){75}, (const int64_t[]){2}, (const int64_t[]){1});
    refused(&g, "65 of 130 rows, from 10 on; up to 63 may be left out");
    g = begin_large(65, 2);
    node(&g, "Concat", IN("x", "x"), "y", LISTS({"axis", 0, {3}}));
    refused(&g, "65 columns beside 65 others; up to 63 others");
    g = begin_large(70, 2);
    node(&g, "MaxPool", IN("x"), "y", LISTS({"kernel_shape", 2, {65, 65}}));
    refused(&g, "a pool of 65 x 65");
    g = begin_large(2, 5000);
    slice(&g, "x", "y", 1, (const int64_t[]){0}, (const int64_t[]){4000}, (const int64_t[]){1}, (const int64_t[]){1});
    refused(&g, "4000 of 5000 channels");
    g = begin_large(64, 5000);
    node(&g, "AveragePool", IN("x"), "y", LISTS({"kernel_shape", 2, {63, 63}}));
    refused(&g, "a window of 63x63, stride 1, for 5000 channels");
    g = begin_large(2, 8200);
    float *w = calloc(8200 * 2, sizeof *w);
    assert_non_null(w);
    onnx_weights(&g, "w2", w, 4, (const int64_t[]){8200, 2, 1, 1});
    free(w);
    node(&g, "Conv", IN("x", "w2"), "y", LISTS({"group", 0, {4100}}));
    refused(&g, "4100 groups of 2 channels are 67240000 weights without groups; up to 16777216");
    enum { SLICES = 17 }; /* of 16,384,000 weights each; zeros that nothing touches take no memory */
    char names[SLICES][16];
    const char *in[SLICES + 1] = {NULL};
    g = begin_large(1, 16384);
    for (int i = 0; i < SLICES; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        in[i] = names[i];
        slice(&g, "x", names[i], 1, (const int64_t[]){i}, (const int64_t[]){i + 1000}, (const int64_t[]){1},
              (const int64_t[]){1});
    }
    node(&g, "Concat", in, "y", LISTS({"axis", 0, {2}}));
    refused_as(&g, EFF_ERR_LIMIT,
               "s16 (Slice, opset 13): parts of maps and groups of channels become convolutions of more");
}

/* ---- Int8 ---- */

/* Branches that are joined, averaged and cut; with_max: a pool that int8 has no form of. */
static EffGraph *branches(bool with_max)
{
    enum { IN_SIZE = 16, A = 8, B = 6 };
    float w[A * (A + B) * 9], fc[3 * 10];
    EffGraph *net = NULL;
    Proto g = {0}, p = {0};
    for (size_t i = 0; i < EFF_COUNT(w); i++)
        w[i] = (float)((int)i * 37 % 101 - 50) * 0.01f;
    for (size_t i = 0; i < EFF_COUNT(fc); i++)
        fc[i] = (float)((int)i * 5 % 7 - 3);
    onnx_value(&g, 11, "picture", 4, (const int64_t[]){1, 3, IN_SIZE, IN_SIZE});
    onnx_weights(&g, "stem", w, 4, (const int64_t[]){A, 3, 3, 3});
    onnx_weights(&g, "wa", w + 7, 4, (const int64_t[]){A, A, 1, 1});
    onnx_weights(&g, "wb", w + 3, 4, (const int64_t[]){B, A, 1, 1});
    onnx_weights(&g, "wc", w + 1, 4, (const int64_t[]){10, 9, 1, 1});
    onnx_weights(&g, "fc", fc, 2, (const int64_t[]){3, 10});
    node(&g, "Conv", IN("picture", "stem"), "s", LISTS({"pads", 4, {1, 1, 1, 1}}));
    onnx_plain(&g, "Relu", "sr", "s", NULL, "sr");
    if (with_max)
        node(&g, "MaxPool", IN("sr"), "m", LISTS({"kernel_shape", 2, {2, 2}}));
    onnx_plain(&g, "Conv", "a", with_max ? "m" : "sr", "wa", "a");
    onnx_plain(&g, "Relu", "ar", "a", NULL, "ar");
    onnx_plain(&g, "Conv", "b", with_max ? "m" : "sr", "wb", "b");
    node(&g, "Concat", IN("ar", "b"), "j", LISTS({"axis", 0, {1}}));
    node(&g, "AveragePool", IN("j"), "v", LISTS({"kernel_shape", 2, {2, 2}}, {"strides", 2, {2, 2}}));
    slice(&g, "v", "cut", 1, (const int64_t[]){3}, (const int64_t[]){12}, (const int64_t[]){1}, (const int64_t[]){1});
    onnx_plain(&g, "Conv", "c", "cut", "wc", "c");
    onnx_plain(&g, "Relu", "cr", "c", NULL, "cr");
    onnx_plain(&g, "GlobalAveragePool", "pool", "cr", NULL, "pool");
    onnx_plain(&g, "Flatten", "flat", "pool", NULL, "flat");
    onnx_node_begin(&p, "Gemm", "fc", IN("flat", "fc"), "logits");
    onnx_int(&p, "transB", 1);
    proto_message(&g, 1, &p);
    onnx_value(&g, 12, "logits", 2, (const int64_t[]){1, 3});
    Proto file = onnx_model(&g, 13);
    ok(eff_onnx_read(&net, file.data, file.n, "test.onnx", NULL));
    free(file.data);
    return net;
}

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    eff_synthetic_picture(pixels, *(int *)ctx, 100 + i);
    return EFF_OK;
}

static void test_int8(void **state)
{
    (void)state;
    for (int with_max = 0; with_max < 2; with_max++) {
        EffGraph *g = branches(with_max);
        int size = g->pre.size;
        const EffPictures pictures = {.n = 4, .get = get_synthetic, .ctx = &size};
        const EffQuantizeOptions options = {.n_threads = 1, .n_report = 2, .no_gptq = 1};
        EffCompiled *c = NULL;
        const EffStatus st = eff_quantize(&c, g, &pictures, &options);
        if (with_max) {
            assert_int_equal(st, EFF_ERR_UNSUPPORTED);
            assert_non_null(
                strstr(eff_last_message(), "m: a maximum, or a mean that leaves out its padding, runs in float"));
            assert_non_null(strstr(eff_last_message(), "compile --float"));
        } else {
            ok(st);
            assert_true(sqnr_of(c, "j") > 30 && sqnr_of(c, "v") > 30 && sqnr_of(c, "cut") > 30 &&
                        sqnr_of(c, "cr") > 30);
            eff_compiled_free(c);
        }
        eff_graph_free(g);
    }
}

/* ---- Damage ---- */

static void test_memory(void **state)
{
    (void)state;
    Proto g = begin(), p = {0};
    onnx_node_begin(&p, "Split", "split", IN("x"), "a");
    proto_text(&p, 2, "b");
    onnx_int(&p, "axis", 1);
    proto_message(&g, 1, &p);
    slice(&g, "b", "s", 2, (const int64_t[]){0, 1}, (const int64_t[]){2, 9}, (const int64_t[]){1, 3},
          (const int64_t[]){1, 1});
    slice(&g, "a", "t", 1, (const int64_t[]){1}, (const int64_t[]){9}, (const int64_t[]){3}, (const int64_t[]){1});
    node(&g, "Concat", IN("s", "t", "s"), "j", LISTS({"axis", 0, {1}}));
    node(&g, "MaxPool", IN("j"), "y", LISTS({"kernel_shape", 2, {2, 2}}));
    Proto file = end(&g, "y", 13, 7, 8, 7);
    ok(onnx_read_once(&file));
    sweep_allocations(onnx_read_once, &file);
    free(file.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slice),  cmocka_unit_test(test_split),         cmocka_unit_test(test_concat),
        cmocka_unit_test(test_groups), cmocka_unit_test(test_batchnorm),     cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_parts_refused), cmocka_unit_test(test_sizes_refused),
        cmocka_unit_test(test_int8),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
