/* SPDX-License-Identifier: Apache-2.0 */
/* Float reference: kernels against naive loops, passes keep the output, threads keep the bits, arenas do not overlap.
 */
#include "unit.h"

#include "base/arena.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "effnet/compile.h"
#include "graph/ir.h"
#include "graph/reference_f32.h"
#include "kernels/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *random_floats(EffRng *rng, size_t n)
{
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = eff_rng_normal(rng);
    return x;
}

/* Kernels of the i-th level of this CPU; false past the end, and those of plain C for a level that it lacks. */
static bool kernels_of(EffKernels *k, size_t i)
{
    unsigned flags = 0;
    if (eff_cpu_level_at(i) == NULL)
        return false;
    (void)eff_cpu_level_find(&flags, eff_cpu_level_at(i));
    eff_kernels_init(k, flags);
    return true;
}

static void pointwise_equals_naive(const EffPwF32Kernel *k)
{
    EffRng rng;
    eff_rng_init(&rng, 1);
    for (size_t n_in = 1; n_in < 40; n_in += 7) {
        for (size_t n_out = 1; n_out < 20; n_out++) {
            const size_t n_pixels = 1 + n_out % 7;
            float *src = random_floats(&rng, n_pixels * n_in), *wgt = random_floats(&rng, n_in * n_out);
            float *bias = random_floats(&rng, n_out), *dst = random_floats(&rng, n_pixels * n_out);
            float *packed = random_floats(&rng, k->packed_count(n_in, n_out));
            k->pack(packed, wgt, n_in, n_out);
            const EffPwF32 op = {
                .n_in = n_in, .n_out = n_out, .src_stride = n_in, .dst_stride = n_out, .packed = packed, .bias = bias};
            k->run(&op, src, dst, n_pixels, 0, k->n_panels(n_out));
            for (size_t p = 0; p < n_pixels; p++) {
                for (size_t o = 0; o < n_out; o++) {
                    float sum = bias[o];
                    for (size_t i = 0; i < n_in; i++)
                        sum = fmaf(src[p * n_in + i], wgt[o * n_in + i], sum);
                    assert_true(sum == dst[p * n_out + o]); /* the same order, rounded as often */
                }
            }
            free(src);
            free(wgt);
            free(bias);
            free(dst);
            free(packed);
        }
    }
}

static void depthwise_equals_naive(eff_dw_f32_fn *fn)
{
    EffRng rng;
    eff_rng_init(&rng, 2);
    for (int kernel = 1; kernel <= 7; kernel += 2) {
        for (int stride = 1; stride <= 2; stride++) {
            const int h = 9, w = 6, c = 5 + 13 * stride, pad = kernel / 2;
            EffDwF32 op = {.in_h = h,
                           .in_w = w,
                           .out_h = (h + 2 * pad - kernel) / stride + 1,
                           .out_w = (w + 2 * pad - kernel) / stride + 1,
                           .channels = c,
                           .kernel_h = kernel,
                           .kernel_w = kernel,
                           .stride = stride,
                           .pad_top = pad,
                           .pad_left = pad};
            float *src = random_floats(&rng, (size_t)(h * w * c)), *dst = random_floats(&rng, (size_t)(h * w * c));
            float *wgt = random_floats(&rng, (size_t)(kernel * kernel * c));
            op.wgt = wgt;
            fn(&op, src, dst, 0, op.out_h);
            for (int y = 0; y < op.out_h; y++) {
                for (int x = 0; x < op.out_w; x++) {
                    for (int ch = 0; ch < c; ch++) {
                        float sum = 0;
                        for (int ky = 0; ky < kernel; ky++) {
                            for (int kx = 0; kx < kernel; kx++) {
                                const int iy = y * stride - pad + ky, ix = x * stride - pad + kx;
                                if (iy >= 0 && iy < h && ix >= 0 && ix < w)
                                    sum = fmaf(src[(iy * w + ix) * c + ch], wgt[(ky * kernel + kx) * c + ch], sum);
                            }
                        }
                        assert_true(sum == dst[(y * op.out_w + x) * c + ch]);
                    }
                }
            }
            free(src);
            free(dst);
            free(wgt);
        }
    }
}

static void kernels_equal_naive_loops(void **state)
{
    (void)state;
    EffKernels k;
    for (size_t level = 0; kernels_of(&k, level); level++) {
        pointwise_equals_naive(&k.f32.pw);
        depthwise_equals_naive(k.f32.dw);
    }
}

static void activations_are_accurate(void **state)
{
    (void)state;
    for (double x = -100; x < 100; x += 0.0137) {
        float silu = (float)x, sigmoid = (float)x, hswish = (float)x, relu6 = (float)x;
        eff_silu_f32(&silu, 1);
        eff_sigmoid_f32(&sigmoid, 1);
        eff_hswish_f32(&hswish, 1);
        eff_relu6_f32(&relu6, 1);
        const double v = (double)(float)x, s = 1 / (1 + exp(-v));
        assert_true(fabs((double)sigmoid - s) <= 4e-7 * s + 1e-37);
        assert_true(fabs((double)silu - v * s) <= 4e-7 * fabs(v * s) + 1e-35);
        assert_true(fabs((double)hswish - v * fmin(fmax(v + 3, 0), 6) / 6) <= 3e-7 * fabs(v));
        assert_true(relu6 == (float)fmin(fmax(v, 0), 6));
    }
}

/* Weights that keep activations alive: scale 1/sqrt(fan in), BatchNorms away from the identity. */
static EffGraph *random_network(const char *name, int size, int n_classes)
{
    EffArch arch;
    EffGraph *g = NULL;
    EffRng rng;
    eff_rng_init(&rng, 3);
    assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
    arch.pre.size = size;
    arch.n_classes = n_classes;
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    for (int i = 0; i < g->n_nodes; i++) {
        EffConv *c = &g->nodes[i].conv;
        EffBatchNorm *bn = &g->nodes[i].bn;
        if (g->nodes[i].op == EFF_OP_CONV) {
            const size_t fan_in = c->wgt.n / (size_t)c->out_ch;
            assert_int_equal(eff_param_alloc(&c->wgt, c->wgt.n), EFF_OK);
            for (size_t k = 0; k < c->wgt.n; k++)
                c->wgt.data[k] = eff_rng_normal(&rng) / sqrtf((float)fan_in);
            if (c->has_bias)
                assert_int_equal(eff_param_alloc(&c->bias, c->bias.n), EFF_OK);
        } else if (g->nodes[i].op == EFF_OP_BATCHNORM) {
            EffParam *const params[] = {&bn->gamma, &bn->beta, &bn->mean, &bn->var};
            for (int p = 0; p < 4; p++) {
                assert_int_equal(eff_param_alloc(params[p], params[p]->n), EFF_OK);
                for (size_t k = 0; k < params[p]->n; k++)
                    params[p]->data[k] = p == 0 || p == 3 ? 0.5f + eff_rng_unit(&rng) : 0.2f * eff_rng_normal(&rng);
            }
        }
    }
    return g;
}

static void run(const EffGraph *g, const char *cpu, int n_threads, const float *src, float *dst)
{
    EffReference *r = NULL;
    EffReferenceSession *s = NULL;
    assert_int_equal(eff_reference_create(&r, g, cpu), EFF_OK);
    assert_int_equal(eff_reference_session_create(&s, r, n_threads), EFF_OK);
    assert_true(eff_reference_arena_bytes(r) > 0);
    eff_mem_fail_after(-1);
    eff_reference_run(s, src, dst);
    assert_int_equal(eff_mem_fail_after(-1), 0); /* no allocation while running */
    eff_reference_session_free(s);
    eff_reference_free(r);
}

/* BatchNorm as a depthwise 1x1 convolution, so that the graph runs before folding too. */
static void replace_batchnorms(EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *node = &g->nodes[i];
        if (node->op != EFF_OP_BATCHNORM)
            continue;
        const int n = (int)node->bn.gamma.n;
        EffConv c = {.in_ch = n, .out_ch = n, .groups = n, .kernel_h = 1, .kernel_w = 1, .stride = 1, .has_bias = true};
        assert_int_equal(eff_param_alloc(&c.wgt, (size_t)n), EFF_OK);
        assert_int_equal(eff_param_alloc(&c.bias, (size_t)n), EFF_OK);
        for (int k = 0; k < n; k++) {
            const float scale = node->bn.gamma.data[k] / sqrtf(node->bn.var.data[k] + node->bn.eps);
            c.wgt.data[k] = scale;
            c.bias.data[k] = node->bn.beta.data[k] - node->bn.mean.data[k] * scale;
        }
        node->op = EFF_OP_CONV;
        node->conv = c;
    }
}

typedef struct Loudness {
    const bool *counts; /* [n_nodes] */
    double least, most; /* root mean squares */
} Loudness;

static void weigh(void *ctx, int node, EffShape shape, const float *data)
{
    Loudness *l = ctx;
    const size_t n = eff_shape_count(shape);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)data[i] * (double)data[i];
    if (l->counts[node]) {
        l->least = fmin(l->least, sqrt(sum / (double)n));
        l->most = fmax(l->most, sqrt(sum / (double)n));
    }
}

/* Behind every BatchNorm values are near 1 on pictures whose statistics it has not seen, however deep. */
static void random_weights_suit_other_pictures(void **state)
{
    (void)state;
    enum { SIZE = 160, CLASSES = 10, PICTURES = 3 };
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, "efficientnet-b0"), EFF_OK);
    arch.pre.size = SIZE;
    arch.n_classes = CLASSES;
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_randomize(g, 1), EFF_OK);
    bool *is_norm = calloc((size_t)g->n_nodes, sizeof *is_norm);
    uint8_t *pixels = malloc((size_t)SIZE * SIZE * 3);
    float *in = malloc((size_t)SIZE * SIZE * 3 * sizeof *in), out[CLASSES];
    assert_true(is_norm != NULL && pixels != NULL && in != NULL);
    for (int i = 0; i < g->n_nodes; i++)
        is_norm[i] = g->nodes[i].op == EFF_OP_BATCHNORM;
    replace_batchnorms(g);
    EffReference *r = NULL;
    EffReferenceSession *s = NULL;
    assert_int_equal(eff_reference_create(&r, g, NULL), EFF_OK);
    assert_int_equal(eff_reference_session_create(&s, r, 1), EFF_OK);
    Loudness l = {.counts = is_norm, .least = 1};
    for (uint64_t k = 0; k < PICTURES; k++) {
        assert_int_equal(eff_leaves_picture(pixels, SIZE, 1000 + k), EFF_OK);
        eff_graph_normalize(g, in, pixels);
        eff_reference_run_tapped(s, in, out, weigh, &l);
    }
    if (l.least < 0.2 || l.most > 5)
        fail_msg("root mean squares of %.3g to %.3g", l.least, l.most);
    eff_reference_session_free(s);
    eff_reference_free(r);
    eff_graph_free(g);
    free(is_norm);
    free(pixels);
    free(in);
}

static void passes_keep_the_output(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-b0", "efficientnet-lite1", "tf-efficientnet-b1"};
    enum { SIZE = 40, CLASSES = 17 };
    EffRng rng;
    eff_rng_init(&rng, 4);
    float *src = random_floats(&rng, (size_t)SIZE * SIZE * 3);
    for (size_t k = 0; k < EFF_COUNT(names); k++) {
        float plain[CLASSES], folded[CLASSES];
        EffGraph *g = random_network(names[k], SIZE, CLASSES);
        replace_batchnorms(g);
        run(g, NULL, 1, src, plain);
        eff_graph_free(g);
        g = random_network(names[k], SIZE, CLASSES);
        const int n_before = g->n_nodes;
        assert_int_equal(eff_graph_optimize(g), EFF_OK);
        assert_true(g->n_nodes < n_before);
        for (int i = 0; i < g->n_nodes; i++)
            assert_true(g->nodes[i].op != EFF_OP_BATCHNORM);
        run(g, NULL, 1, src, folded);
        eff_graph_free(g);
        float max = 0, difference = 0;
        for (int i = 0; i < CLASSES; i++) {
            max = fmaxf(max, fabsf(plain[i]));
            difference = fmaxf(difference, fabsf(plain[i] - folded[i]));
        }
        assert_true(max > 1e-3f);
        assert_true(difference <= 1e-4f * max);
    }
    free(src);
}

static void bits_are_the_same_at_every_level(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-b0", "efficientnet-lite0"};
    enum { SIZE = 72, CLASSES = 43 }; /* maps of 36, 18, 9, 5 and 3: tails of every tile */
    EffRng rng;
    eff_rng_init(&rng, 6);
    float *src = random_floats(&rng, (size_t)SIZE * SIZE * 3);
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        float wanted[CLASSES], got[CLASSES];
        EffGraph *g = random_network(names[i], SIZE, CLASSES);
        assert_int_equal(eff_graph_optimize(g), EFF_OK);
        run(g, "c", 1, src, wanted);
        for (size_t level = 0; eff_cpu_level_at(level) != NULL; level++) {
            unsigned flags;
            if (eff_cpu_level_find(&flags, eff_cpu_level_at(level)) != EFF_OK)
                continue; /* not on this CPU */
            for (int n_threads = 1; n_threads <= 4; n_threads++) {
                run(g, eff_cpu_level_at(level), n_threads, src, got);
                assert_memory_equal(got, wanted, sizeof got);
            }
        }
        EffReference *r = NULL;
        assert_int_equal(eff_reference_create(&r, g, "fastest"), EFF_ERR_ARG);
        assert_null(r);
        eff_graph_free(g);
    }
    free(src);
}

static void a_network_without_weights_is_refused(void **state)
{
    (void)state;
    EffArch arch;
    EffGraph *g = NULL;
    EffReference *r = NULL;
    assert_int_equal(eff_arch_find(&arch, "lite0"), EFF_OK);
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_optimize(g), EFF_ERR_ARG);
    assert_int_equal(eff_reference_create(&r, g, NULL), EFF_ERR_ARG);
    assert_null(r);
    eff_graph_free(g);
}

static void arena_blocks_do_not_overlap(void **state)
{
    (void)state;
    EffRng rng;
    eff_rng_init(&rng, 5);
    for (int round = 0; round < 200; round++) {
        enum { N = 40 };
        EffArenaBlock b[N];
        size_t total = 0, sum = 0;
        for (int i = 0; i < N; i++) {
            b[i] = (EffArenaBlock){.n_bytes = (size_t)eff_rng_below(&rng, 1000), .first = (int)eff_rng_below(&rng, 30)};
            b[i].last = b[i].first + (int)eff_rng_below(&rng, 10);
            sum += eff_align_up(b[i].n_bytes);
        }
        assert_int_equal(eff_arena_plan(b, N, &total), EFF_OK);
        assert_true(total <= sum);
        for (int i = 0; i < N; i++) {
            assert_true(b[i].n_bytes == 0 || b[i].offset + b[i].n_bytes <= total);
            for (int k = 0; k < i; k++) {
                const int both_live = b[i].first <= b[k].last && b[k].first <= b[i].last;
                const int apart = b[i].offset + b[i].n_bytes <= b[k].offset ||
                                  b[k].offset + b[k].n_bytes <= b[i].offset || b[i].n_bytes == 0 || b[k].n_bytes == 0;
                assert_true(!both_live || apart);
            }
        }
    }
}

static EffStatus prepare_once(void *ctx)
{
    EffReference *r = NULL;
    EffReferenceSession *s = NULL;
    EffStatus st = eff_reference_create(&r, ctx, NULL);
    if (st == EFF_OK)
        st = eff_reference_session_create(&s, r, 2);
    eff_reference_session_free(s);
    eff_reference_free(r);
    return st;
}

static void allocation_failures_are_clean(void **state)
{
    (void)state;
    EffGraph *g = random_network("lite0", 32, 10);
    assert_int_equal(eff_graph_optimize(g), EFF_OK);
    sweep_allocations(prepare_once, g);
    eff_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_equal_naive_loops),          cmocka_unit_test(activations_are_accurate),
        cmocka_unit_test(random_weights_suit_other_pictures), cmocka_unit_test(passes_keep_the_output),
        cmocka_unit_test(bits_are_the_same_at_every_level),   cmocka_unit_test(a_network_without_weights_is_refused),
        cmocka_unit_test(arena_blocks_do_not_overlap),        cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
