/* SPDX-License-Identifier: Apache-2.0 */
/* src/quant/loud.c and ranges: one picture must not decide for all others. */
#include "unit.h"

#include "effnet/compile.h"
#include "graph/ir.h"
#include "graph/reference_f32.h"
#include "quant/clip.h"
#include "quant/loud.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 40, N_PICTURES = 40, N_CLASSES = 20 };

static EffStatus get_picture(void *ctx, size_t i, uint8_t *pixels)
{
    (void)ctx;
    eff_synthetic_picture(pixels, SIZE, 100 + i);
    return EFF_OK;
}

static const EffPictures pictures = {.n = N_PICTURES, .get = get_picture};

static int add_conv(EffGraph *g, const char *name, int in, int n_in, int n_out, int kernel, int stride)
{
    char copy[32];
    snprintf(copy, sizeof copy, "%s", name);
    const int pad = (kernel - 1) / 2;
    EffNode node = {.name = copy, .module = copy, .op = EFF_OP_CONV, .n_inputs = 1, .in = {in}};
    node.conv = (EffConv){.in_ch = n_in,
                          .out_ch = n_out,
                          .groups = 1,
                          .kernel_h = kernel,
                          .kernel_w = kernel,
                          .stride = stride,
                          .pad_top = pad,
                          .pad_left = pad,
                          .pad_bottom = pad,
                          .pad_right = pad,
                          .has_bias = true};
    node.conv.wgt.n = (size_t)(n_out * kernel * kernel * n_in);
    node.conv.bias.n = (size_t)n_out;
    int out = 0;
    assert_int_equal(eff_graph_add_node(g, &node, &out), EFF_OK);
    return out;
}

static int add_plain(EffGraph *g, const char *name, EffOp op, int in)
{
    char copy[32];
    snprintf(copy, sizeof copy, "%s", name);
    const EffNode node = {.name = copy, .op = op, .n_inputs = 1, .in = {in}, .act = EFF_ACTIVATION_SILU};
    int out = 0;
    assert_int_equal(eff_graph_add_node(g, &node, &out), EFF_OK);
    return out;
}

/* Stem, head, classifier, with swish; random weights. Shallow, so that int8 is close to float. */
static EffGraph *network(void)
{
    EffGraph *g = NULL;
    assert_int_equal(eff_graph_create(&g, "small", (EffShape){SIZE, SIZE, 3}), EFF_OK);
    g->pre = (EffPreprocess){
        .size = SIZE, .crop = 1, .interpolation = EFF_INTERP_BILINEAR, .mean = {127, 127, 127}, .std = {64, 64, 64}};
    g->n_classes = N_CLASSES;
    int x = add_plain(g, "stem/act", EFF_OP_ACT, add_conv(g, "stem", g->input, 3, 16, 3, 2));
    x = add_plain(g, "head/act", EFF_OP_ACT, add_conv(g, "head", x, 16, 48, 1, 1));
    x = add_plain(g, "pool", EFF_OP_GLOBAL_AVGPOOL, x);
    g->output = add_conv(g, "classifier", x, 48, N_CLASSES, 1, 1);
    assert_int_equal(eff_graph_infer_shapes(g), EFF_OK);
    assert_int_equal(eff_graph_randomize(g, 7), EFF_OK);
    assert_int_equal(eff_graph_optimize(g), EFF_OK);
    return g;
}

/* The head: the last convolution of a map, and the classifier. */
static int head_of(const EffGraph *g)
{
    int head = -1;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == EFF_OP_CONV && g->values[g->nodes[i].out].shape.h > 1)
            head = i;
    }
    return head;
}

typedef struct Watch {
    int node;
    float *most; /* [channels] */
} Watch;

static void watch(void *ctx, int node, EffShape shape, const float *data)
{
    const Watch *w = ctx;
    if (node != w->node)
        return;
    for (int c = 0; c < shape.c; c++) {
        w->most[c] = -HUGE_VALF;
        for (int p = 0; p < shape.h * shape.w; p++)
            w->most[c] = fmaxf(w->most[c], data[p * shape.c + c]);
    }
}

static void run_float(const EffGraph *g, float (*logits)[N_CLASSES], int node, float *most)
{
    EffReference *r = NULL;
    EffReferenceSession *s = NULL;
    uint8_t *pixels = malloc(SIZE * SIZE * 3);
    float *input = malloc(sizeof *input * SIZE * SIZE * 3);
    assert_int_equal(eff_reference_create(&r, g, NULL), EFF_OK);
    assert_int_equal(eff_reference_session_create(&s, r, 1), EFF_OK);
    for (size_t i = 0; i < N_PICTURES; i++) {
        Watch w = {.node = node, .most = node >= 0 ? most + i * (size_t)g->values[g->nodes[node].out].shape.c : NULL};
        get_picture(NULL, i, pixels);
        eff_graph_normalize(g, input, pixels);
        eff_reference_run_tapped(s, input, logits[i], watch, &w);
    }
    free(pixels);
    free(input);
    eff_reference_session_free(s);
    eff_reference_free(r);
}

/*
 * A channel of the head answers to one picture alone, and then `times` what is usual there; the classifier undoes it.
 * Returns the picture: the one that stands out most in any channel.
 */
static size_t make_rare(EffGraph *g, float times)
{
    static float logits[N_PICTURES][N_CLASSES];
    const int head = head_of(g);
    EffConv *conv = &g->nodes[head].conv, *classifier = &g->nodes[g->values[g->output].producer].conv;
    const size_t n_ch = (size_t)conv->out_ch, n_in = (size_t)conv->in_ch;
    float *most = malloc(sizeof *most * N_PICTURES * n_ch);
    run_float(g, logits, head, most);
    size_t channel = 0, picture = 0;
    float threshold = 0, best = 0, usual = 0;
    for (size_t c = 0; c < n_ch; c++) {
        float first = -HUGE_VALF, second = -HUGE_VALF;
        size_t loudest = 0;
        for (size_t i = 0; i < N_PICTURES; i++) {
            const float v = most[i * n_ch + c];
            usual = fmaxf(usual, v);
            if (v > first) {
                second = first;
                first = v;
                loudest = i;
            } else {
                second = fmaxf(second, v);
            }
        }
        if (first - second > best) {
            best = first - second;
            threshold = second;
            channel = c;
            picture = loudest;
        }
    }
    free(most);
    assert_true(best > 0);
    const float gain = times * usual / best;
    for (size_t i = 0; i < n_in; i++)
        conv->wgt.data[channel * n_in + i] *= gain;
    conv->bias.data[channel] = (conv->bias.data[channel] - threshold - 0.02f * best) * gain;
    for (size_t o = 0; o < N_CLASSES; o++)
        classifier->wgt.data[o * n_ch + channel] /= gain;
    return picture;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median over the pictures of the logits' SQNR against float. */
static double median_db(const EffGraph *g, const EffCompiled *c)
{
    static float wanted[N_PICTURES][N_CLASSES];
    double db[N_PICTURES];
    EffModel *m = NULL;
    EffSession *s = NULL;
    uint8_t *pixels = malloc(SIZE * SIZE * 3);
    run_float(g, wanted, -1, NULL);
    assert_int_equal(eff_compiled_model(&m, c, NULL), EFF_OK);
    assert_int_equal(eff_session_create(&s, m, 1), EFF_OK);
    for (size_t i = 0; i < N_PICTURES; i++) {
        float got[N_CLASSES];
        double signal = 0, error = 0;
        get_picture(NULL, i, pixels);
        eff_session_run(s, pixels, got);
        for (int k = 0; k < N_CLASSES; k++) {
            signal += (double)wanted[i][k] * (double)wanted[i][k];
            error += ((double)got[k] - (double)wanted[i][k]) * ((double)got[k] - (double)wanted[i][k]);
        }
        db[i] = eff_sqnr_db(signal, error);
    }
    free(pixels);
    eff_session_destroy(s);
    eff_model_close(m);
    qsort(db, N_PICTURES, sizeof *db, ascending);
    return db[N_PICTURES / 2];
}

static EffCompiled *quantize(const EffGraph *g, int n_threads, EffRangeMethod method)
{
    const EffQuantizeOptions options = {
        .n_threads = n_threads, .n_report = 3, .ranges = method, .percentile = 99.99, .no_gptq = 1};
    EffCompiled *c = NULL;
    if (eff_quantize(&c, g, &pictures, &options) != EFF_OK)
        fail_msg("%s", eff_last_message());
    return c;
}

static void a_loud_picture_does_not_decide(void **state)
{
    (void)state;
    EffGraph *plain = network(), *rare = network();
    const size_t picture = make_rare(rare, 500);
    EffCompiled *a = quantize(plain, 2, EFF_RANGES_AUTO), *b = quantize(rare, 2, EFF_RANGES_AUTO);
    const double before = median_db(plain, a), after = median_db(rare, b);
    print_message("median SQNR of the logits: %.1f dB, with a loud picture %.1f dB\n", before, after);
    /* The swish's table has to reach further to the left, which costs 12 dB here. Were the picture counted: 29 dB. */
    assert_true(after > before - 14);
    /* And it is named. */
    assert_null(eff_compiled_loud(a, 0));
    const EffLoudPicture *loud = eff_compiled_loud(b, 0);
    assert_non_null(loud);
    assert_int_equal(loud->picture, picture);
    assert_true(loud->times > 100 && loud->n_nodes >= 2);
    assert_non_null(strstr(loud->node, "head"));
    assert_null(eff_compiled_loud(b, 1));
    /* Minima and maxima, as asked for: the picture counts. */
    EffCompiled *all = quantize(rare, 2, EFF_RANGES_MINMAX);
    assert_null(eff_compiled_loud(all, 0));
    assert_true(median_db(rare, all) < after - 6);
    eff_compiled_free(all);
    EffCompiled *one = quantize(rare, 1, EFF_RANGES_AUTO);
    assert_string_equal(eff_compiled_table(b), eff_compiled_table(one));
    eff_compiled_free(one);
    eff_compiled_free(a);
    eff_compiled_free(b);
    eff_graph_free(plain);
    eff_graph_free(rare);
}

static EffStatus quantize_once(void *ctx)
{
    const EffQuantizeOptions options = {.n_threads = 1, .n_report = 1, .no_gptq = 1};
    const EffPictures few = {.n = N_PICTURES, .get = get_picture};
    EffCompiled *c = NULL;
    const EffStatus st = eff_quantize(&c, ctx, &few, &options);
    eff_compiled_free(c);
    return st;
}

static void memory_may_run_out_with_a_loud_picture(void **state)
{
    (void)state;
    EffGraph *rare = network();
    make_rare(rare, 500);
    sweep_allocations(quantize_once, rare);
    eff_graph_free(rare);
}

/* Loudness that many pictures share is no exception, and silence of the others is no reason. */
static void only_rare_pictures_are_cut_off(void **state)
{
    (void)state;
    EffGraph *g = network();
    EffLoudness l = {0};
    assert_int_equal(eff_loudness_create(&l, 100, g->n_values), EFF_OK);
    const size_t n = (size_t)g->n_values;
    const int v = g->nodes[0].out, w = g->nodes[1].out, x = g->nodes[2].out;
    for (size_t p = 0; p < 100; p++) {
        l.most[p * n + (size_t)v] = p % 34 == 5 ? 500 : 1 + (float)p / 100; /* three */
        l.most[p * n + (size_t)w] = p % 25 == 5 ? 10 : 1;                   /* four, not so loud */
        l.most[p * n + (size_t)x] = p == 5 ? 500 : 0;
        l.most[p * n + (size_t)g->output] = p == 5 ? 500 : 1;
    }
    assert_int_equal(eff_loudness_judge(&l, g), EFF_OK);
    assert_int_equal(l.n_cut, 3);
    assert_true(l.cut[5 * n + (size_t)v] && l.cut[39 * n + (size_t)v] && l.cut[73 * n + (size_t)v]);
    int value, n_values;
    double times;
    assert_true(eff_loudness_worst(&l, 39, &value, &n_values, &times));
    assert_int_equal(value, v);
    assert_int_equal(n_values, 1);
    assert_false(eff_loudness_worst(&l, 30, &value, &n_values, &times));
    eff_loudness_free(&l);
    eff_graph_free(g);
}

/* Swish does not tell -1000 from -20. */
static void what_swish_hides_takes_no_range(void **state)
{
    (void)state;
    float min[] = {-1000, -1}, max[] = {0, 5};
    const EffRange r = {.min = min, .max = max, .c = 2};
    assert_true(eff_range_before(&r, EFF_ACTIVATION_NONE) == 1000);
    assert_true(eff_range_before(&r, EFF_ACTIVATION_SILU) == 12);
    assert_true(eff_range_before(&r, EFF_ACTIVATION_HSWISH) == 5);
    assert_true(eff_range_before(&r, EFF_ACTIVATION_SIGMOID) == 12);
}

/* 1,000,000 values up to a quarter of the largest, and one that is the largest. */
static EffHistogram *one_outlier(void)
{
    EffHistogram *h = eff_calloc(1, sizeof *h);
    assert_non_null(h);
    for (int i = 0; i < EFF_CLIP_BINS / 4; i++)
        h->bins[i] = 1000000 / (EFF_CLIP_BINS / 4);
    h->bins[EFF_CLIP_BINS - 1] = 1;
    h->span = 1;
    return h;
}

static void methods_cut_where_they_should(void **state)
{
    (void)state;
    EffHistogram *h = one_outlier();
    assert_int_equal(eff_clip_choose(h, EFF_RANGES_PERCENTILE, 100), EFF_CLIP_BINS);
    assert_int_equal(eff_clip_choose(h, EFF_RANGES_PERCENTILE, 99.99), EFF_CLIP_BINS / 4);
    assert_int_equal(eff_clip_choose(h, EFF_RANGES_PERCENTILE, 49.9), EFF_CLIP_BINS / 8);
    h->zeros = 3000000; /* they count: three of four values are 0 now */
    assert_int_equal(eff_clip_choose(h, EFF_RANGES_PERCENTILE, 87.5), EFF_CLIP_BINS / 8);
    /* The least squared error, by trying every end. */
    const int n = eff_clip_choose(h, EFF_RANGES_MSE, 0);
    double least = HUGE_VAL;
    int best = 0;
    for (int end = 128; end <= EFF_CLIP_BINS; end += 16) {
        double sum = 0;
        for (int i = 0; i < EFF_CLIP_BINS; i++)
            sum += (double)h->bins[i] * (i < end ? end / 255.0 * end / 255.0 / 12 : (i + 0.5 - end) * (i + 0.5 - end));
        if (sum < least) {
            least = sum;
            best = end;
        }
    }
    assert_int_equal(n, best);
    assert_true(n >= EFF_CLIP_BINS / 4 && n < EFF_CLIP_BINS);
    /* Coarse levels lose the shape of what falls off, a low end piles it up in the last bin. */
    double count = 4e6;
    for (int i = 0; i < EFF_CLIP_BINS / 4; i++, count *= 0.97)
        h->bins[i] = (uint64_t)count + 1;
    h->zeros = 0;
    const int kl = eff_clip_choose(h, EFF_RANGES_KL, 0);
    assert_true(kl > EFF_CLIP_BINS / 8 && kl < EFF_CLIP_BINS);
    /* Of nothing but zeros all is kept. */
    *h = (EffHistogram){.zeros = 5, .span = 1};
    assert_int_equal(eff_clip_choose(h, EFF_RANGES_PERCENTILE, 99), EFF_CLIP_BINS);
    assert_int_equal(eff_clip_choose(h, EFF_RANGES_KL, 0), EFF_CLIP_BINS);
    eff_free(h);
}

/* Each method quantizes a network, with ranges that are no wider, the same for every number of threads. */
static void methods_shrink_ranges(void **state)
{
    (void)state;
    static const EffRangeMethod methods[] = {EFF_RANGES_PERCENTILE, EFF_RANGES_MSE, EFF_RANGES_KL};
    EffGraph *g = network();
    EffReference *reference;
    EffRanges whole, one, three;
    EffLoudness loudness;
    assert_int_equal(eff_reference_create(&reference, g, NULL), EFF_OK);
    EffQuantizeOptions o = {.n_threads = 1, .percentile = 99};
    for (size_t i = 0; i < 3; i++) {
        o.ranges = methods[i];
        EffRanges *const both[2] = {&one, &three};
        for (int k = 0; k < 2; k++) {
            o.n_threads = k == 0 ? 1 : 3;
            assert_int_equal(eff_observe_ranges(both[k], &loudness, g, reference, &pictures, &o), EFF_OK);
            eff_loudness_free(&loudness);
            assert_int_equal(eff_ranges_clip(both[k], g, reference, &pictures, &o), EFF_OK);
        }
        assert_int_equal(eff_observe_ranges(&whole, &loudness, g, reference, &pictures, &o), EFF_OK);
        int n_less = 0;
        for (int v = 0; v < g->n_values; v++) {
            for (int c = 0; c < whole.values[v].c; c++) {
                assert_true(one.values[v].min[c] == three.values[v].min[c] &&
                            one.values[v].max[c] == three.values[v].max[c]);
                assert_true(one.values[v].min[c] >= whole.values[v].min[c] &&
                            one.values[v].max[c] <= whole.values[v].max[c]);
                n_less += one.values[v].max[c] < whole.values[v].max[c];
            }
        }
        assert_true(methods[i] != EFF_RANGES_PERCENTILE || n_less > 0);
        EffCompiled *c = quantize(g, 0, methods[i]);
        assert_true(median_db(g, c) > 15);
        eff_compiled_free(c);
        eff_loudness_free(&loudness);
        eff_ranges_free(&whole);
        eff_ranges_free(&one);
        eff_ranges_free(&three);
    }
    eff_reference_free(reference);
    eff_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loud_picture_does_not_decide), cmocka_unit_test(memory_may_run_out_with_a_loud_picture),
        cmocka_unit_test(only_rare_pictures_are_cut_off), cmocka_unit_test(what_swish_hides_takes_no_range),
        cmocka_unit_test(methods_cut_where_they_should),  cmocka_unit_test(methods_shrink_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
