/* SPDX-License-Identifier: Apache-2.0 */
/* src/quant and src/compile: the integers that are chosen, reproducible bytes, equal logits everywhere, small errors.
 */
#include "unit.h"

#include "compiled_util.h"

#include "base/cpu.h"
#include "base/file.h"
#include "base/rng.h"
#include "effnet/compile.h"
#include "effnet/image.h"
#include "graph/ir.h"
#include "quant/requantize.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Scales and integers ---- */

static void requantization_keeps_its_promises(void **state)
{
    (void)state;
    EffRng rng;
    eff_rng_init(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        const double acc_min = exp2(-30 + 30 * (double)eff_rng_unit(&rng));
        const double out = acc_min * exp2(1 + 18 * (double)eff_rng_unit(&rng));
        const EffRequantU8 r = eff_requantize_u8(acc_min, out, 255 * out);
        assert_in_range(r.shift, 0, 24);
        assert_in_range(r.mult, 1, 32767);
        assert_true(r.acc_unit >= acc_min * (1 - 1e-12) && r.acc_unit <= acc_min * 1.001);
        /* One step of the output is what the integers say. */
        assert_true(fabs(r.acc_unit * exp2(r.shift + 15) / r.mult / out - 1) < 1e-9);
        assert_true(255 * out / (r.acc_unit * exp2(r.shift)) < 4097); /* t stays near 2^12 */

        double units[3];
        EffRequantS16 s[3];
        int frac_bits = (int)eff_rng_below(&rng, 15), wanted = frac_bits;
        for (int c = 0; c < 3; c++)
            units[c] = exp2(-frac_bits - 12 + 14 * (double)eff_rng_unit(&rng));
        const int pre_shift = eff_requantize_s16(s, units, NULL, 3, &frac_bits);
        assert_in_range(pre_shift, 0, 8);
        assert_true(frac_bits <= wanted);
        for (int c = 0; c < 3; c++) {
            assert_in_range(s[c].shift, 0, 24);
            assert_in_range(s[c].mult, 16384, 32767);
            assert_true(s[c].acc_unit >= units[c] * 0.9999);
            const double unit = s[c].acc_unit * exp2(s[c].shift - pre_shift + 15) / s[c].mult;
            assert_true(fabs(unit * exp2(frac_bits) - 1) < 1e-9);
        }
    }
}

static void copies_cover_their_range(void **state)
{
    (void)state;
    EffRng rng;
    eff_rng_init(&rng, 2);
    for (int i = 0; i < 20000; i++) {
        const double range = exp2(-8 + 16 * (double)eff_rng_unit(&rng));
        const double min = -range * (double)eff_rng_unit(&rng), max = range * (double)eff_rng_unit(&rng);
        const int f = eff_choose_frac_bits(range, 14), k = eff_choose_post_shift(range, f);
        assert_true(1.25 * range * exp2(f) <= 16384);
        assert_true(1.25 * range * exp2(f + k) <= 32767);
        const EffRequantCopy copy = eff_requantize_copy(min, max, range, f, k);
        assert_in_range(copy.mult, 1, 32767);
        assert_in_range(copy.zero, 0, 255);
        assert_true(min / copy.scale + copy.zero > -0.51 && max / copy.scale + copy.zero < 255.51);
    }
    /* Nothing seen: the fallback. */
    const EffRequantCopy dead = eff_requantize_copy(0, 0, 4, 10, 1);
    assert_true(dead.scale >= 4.0 / 255 && dead.zero == 0);
    assert_true(eff_round_clamp(-2.5, -10, 10) == -3 && eff_round_clamp(1e30, -10, 10) == 10);
    assert_true(eff_round_clamp((double)NAN, -10, 10) == -10);
}

/* ---- Whole networks ---- */

static EffGraph *narrow_network(const char *name, int size, double width)
{
    EffArch arch;
    EffGraph *g = NULL;
    assert_int_equal(eff_arch_find(&arch, name), EFF_OK);
    arch.pre.size = size;
    arch.n_classes = 50;
    arch.width *= width;
    assert_int_equal(eff_graph_build(&g, &arch), EFF_OK);
    assert_int_equal(eff_graph_randomize(g, 7), EFF_OK);
    assert_int_equal(eff_graph_optimize(g), EFF_OK);
    return g;
}

static EffGraph *random_network(const char *name, int size)
{
    return narrow_network(name, size, 1);
}

static EffStatus get_leaves(void *ctx, size_t i, uint8_t *pixels)
{
    return eff_leaves_picture(pixels, *(int *)ctx, i);
}

static EffStatus get_synthetic(void *ctx, size_t i, uint8_t *pixels)
{
    eff_synthetic_picture(pixels, *(int *)ctx, 100 + i);
    return EFF_OK;
}

/* Choosing weights takes seconds, by the cube of the width; where that is not the question they are rounded. */
static EffCompiled *quantize(const EffGraph *g, int size, int n_threads, bool choose)
{
    const EffPictures pictures = {.n = 6, .get = get_synthetic, .ctx = &size};
    const EffQuantizeOptions options = {.n_threads = n_threads, .n_report = 3, .no_gptq = !choose};
    EffCompiled *c = NULL;
    assert_int_equal(eff_quantize(&c, g, &pictures, &options), EFF_OK);
    return c;
}

static void bytes_do_not_depend_on_threads(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-b0"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffGraph *g = narrow_network(names[i], 48, 0.4);
        EffCompiled *one = quantize(g, 48, 1, true), *three = quantize(g, 48, 3, true);
        EffBytes a = written(one), b = written(three);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        eff_free(a.data);
        eff_free(b.data);
        eff_compiled_free(one);
        eff_compiled_free(three);
        eff_graph_free(g);
    }
}

/* The thread sanitizer makes everything twenty times as slow, and has seen all there is after a few. */
#if defined(__SANITIZE_THREAD__)
enum { N_PHOTOS = 4 };
#else
enum { N_PHOTOS = 20 };
#endif

/* Twenty crops of the photos in data/photos. */
static uint8_t *load_photos(int size)
{
    static const char *const names[] = {"astronaut", "cat", "espresso", "rocket"};
    const size_t n_bytes = (size_t)size * (size_t)size * 3;
    uint8_t *all = malloc(N_PHOTOS * n_bytes);
    assert_non_null(all);
    for (int i = 0; i < N_PHOTOS; i++) {
        char path[64];
        EffImage image = {0};
        snprintf(path, sizeof path, "data/photos/%s.jpg", names[i % 4]);
        assert_int_equal(eff_image_open(&image, path, NULL), EFF_OK);
        const EffPreprocess pre = {
            .size = size, .crop = 1 - 0.15 * (i / 4), .interpolation = EFF_INTERP_BICUBIC, .std = {1, 1, 1}};
        assert_int_equal(eff_image_prepare(all + (size_t)i * n_bytes, &image, &pre), EFF_OK);
        eff_image_free(&image);
    }
    return all;
}

/* n_threads = 0: one thread, and the steps one by one. */
static uint64_t digest(const EffCompiled *c, const char *cpu, int n_threads, const uint8_t *photos, int size)
{
    EffModel *m = NULL;
    EffSession *s = NULL;
    uint64_t hash = 0xcbf29ce484222325u;
    float logits[50];
    assert_int_equal(eff_compiled_model(&m, c, cpu), EFF_OK);
    assert_int_equal(n_threads > 0 ? eff_session_create(&s, m, n_threads) : eff_session_create_unfused(&s, m, 1),
                     EFF_OK);
    for (int i = 0; i < N_PHOTOS; i++) {
        eff_session_run(s, photos + (size_t)i * (size_t)size * (size_t)size * 3, logits);
        const uint8_t *bytes = (const uint8_t *)logits;
        for (size_t k = 0; k < sizeof logits; k++)
            hash = (hash ^ bytes[k]) * 0x100000001b3u;
    }
    eff_session_destroy(s);
    eff_model_close(m);
    return hash;
}

static void logits_are_the_same_at_every_level(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-b0"};
    enum { SIZE = 40 };
    uint8_t *photos = load_photos(SIZE);
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffGraph *g = random_network(names[i], SIZE);
        EffCompiled *int8 = quantize(g, SIZE, 2, false), *f32 = NULL;
        assert_int_equal(eff_compile_float(&f32, g), EFF_OK);
        const uint64_t wanted = digest(int8, "c", 0, photos, SIZE), wanted_f32 = digest(f32, "c", 1, photos, SIZE);
        int n_levels = 0;
        for (size_t level = 0; eff_cpu_level_at(level) != NULL; level++) {
            unsigned flags;
            if (eff_cpu_level_find(&flags, eff_cpu_level_at(level)) != EFF_OK)
                continue;
            n_levels++;
            for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
                assert_true(digest(int8, eff_cpu_level_at(level), n_threads, photos, SIZE) == wanted);
                assert_true(digest(f32, eff_cpu_level_at(level), n_threads, photos, SIZE) == wanted_f32);
            }
        }
        print_message("%s: equal at %d levels of this CPU\n", names[i], n_levels);
        eff_compiled_free(int8);
        eff_compiled_free(f32);
        eff_graph_free(g);
    }
    free(photos);
}

/*
 * Nothing is trained here, and every projection cancels most of its input, so errors grow from block to block. What the
 * arithmetic alone does shows before the first projection, where all numbers are known to be this good.
 */
static void errors_are_small(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double sqnr_db;
    } wanted[] = {{"/bn1/act/Mul", 32},
                  {"/blocks/blocks.0/blocks.0.0/bn1/act/Mul", 30},
                  {"/blocks/blocks.0/blocks.0.0/se/ReduceMean", 35},
                  {"/blocks/blocks.0/blocks.0.0/se/act1/Mul", 35},
                  {"/blocks/blocks.0/blocks.0.0/se/gate/Sigmoid", 48},
                  {"/blocks/blocks.0/blocks.0.0/se/Mul", 25}};
    EffGraph *g = random_network("efficientnet-b0", 96);
    EffCompiled *c = quantize(g, 96, 0, false);
    const EffNodeReport *row, *last = NULL;
    size_t n = 0;
    for (; (row = eff_compiled_report(c, n)) != NULL; n++) {
        if (n < EFF_COUNT(wanted)) {
            assert_string_equal(row->name, wanted[n].name);
            assert_true(row->sqnr_db >= wanted[n].sqnr_db);
        }
        if (strcmp(row->act, "stair") == 0) /* chosen only where it costs less than the rounding after it */
            assert_true(row->act_sqnr_db >= row->act_u8_sqnr_db + 5.9);
        last = row;
    }
    assert_true(n > 100);
    assert_string_equal(last->name, "/classifier/Gemm");
    eff_compiled_free(c);
    eff_graph_free(g);
}

/* Channels of every bottleneck times powers of two, undone in the weights that read them: the same function. */
static void rescale_bottlenecks(EffGraph *g)
{
    EffRng rng;
    eff_rng_init(&rng, 3);
    float factor[512] = {0};
    for (int i = 0; i < g->n_nodes; i++) {
        EffConv *c = &g->nodes[i].conv;
        if (g->nodes[i].op != EFF_OP_CONV || !eff_conv_is_pointwise(c))
            continue;
        const int in = g->values[g->nodes[i].in[0]].producer;
        const bool reads = in >= 0 && g->nodes[in].op != EFF_OP_ACT && g->nodes[in].op != EFF_OP_MUL &&
                           g->nodes[in].op != EFF_OP_GLOBAL_AVGPOOL;
        for (size_t k = 0; reads && k < c->wgt.n; k++)
            c->wgt.data[k] /= factor[k % (size_t)c->in_ch];
        const EffOp next = i + 1 < g->n_nodes ? g->nodes[i + 1].op : EFF_OP_ACT;
        const bool projects = in >= 0 && !reads && next != EFF_OP_ACT && g->nodes[in].op != EFF_OP_GLOBAL_AVGPOOL &&
                              g->values[g->nodes[i].out].shape.h > 1;
        if (!projects)
            continue;
        assert_in_range(c->out_ch, 1, (int)EFF_COUNT(factor));
        for (int o = 0; o < c->out_ch; o++) {
            if (next != EFF_OP_ADD)
                factor[o] = (float)exp2((double)eff_rng_below(&rng, 13) - 6);
            for (size_t k = 0; k < (size_t)c->in_ch; k++)
                c->wgt.data[(size_t)o * (size_t)c->in_ch + k] *= factor[o];
            c->bias.data[o] *= factor[o];
        }
    }
}

/* Each stage is measured, on the pictures that are held back, in numbers that the rows can't contradict. */
static void stages_are_measured(void **state)
{
    (void)state;
    int size = 48;
    EffGraph *g = narrow_network("efficientnet-b0", size, 0.4);
    rescale_bottlenecks(g); /* what one step a tensor can't follow */
    const EffPictures pictures = {.n = 6, .get = get_synthetic, .ctx = &size},
                      held_back = {.n = 3, .get = get_leaves, .ctx = &size};
    EffQuantizeOptions o = {.held_back = &held_back};
    EffCompiled *c;
    assert_int_equal(eff_quantize(&c, g, &pictures, &o), EFF_OK);
    const EffQuality q = eff_compiled_quality(c);
    assert_int_equal(q.n_pictures, 3);
    assert_true(q.held_back);
    for (int i = 0; i < EFF_N_STAGES; i++)
        assert_true(q.kl[i] >= 0 && q.agreement[i] >= 0 && q.agreement[i] <= 1);
    assert_true(q.kl[EFF_STAGE_STEPS] < q.kl[EFF_STAGE_PLAIN]);
    const EffNodeReport *row, *last = NULL;
    double gain = 0;
    int n = 0;
    for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++) {
        if (!isnan(row->plain_db) && !isnan(row->steps_db) && strstr(row->name, "/act/") != NULL) {
            gain += row->steps_db - row->plain_db;
            n++;
        }
        last = row;
    }
    assert_true(n > 20 && gain / n > 1);
    assert_false(isnan(last->plain_db) || isnan(last->steps_db));
    eff_compiled_free(c);

    /* Without steps a channel and with rounded weights what is written is the plain network. */
    o = (EffQuantizeOptions){.no_gptq = 1, .no_migration = 1, .n_report = 2};
    assert_int_equal(eff_quantize(&c, g, &pictures, &o), EFF_OK);
    const EffQuality plain = eff_compiled_quality(c);
    assert_int_equal(plain.n_pictures, 2);
    assert_false(plain.held_back);
    assert_true(isnan(plain.kl[EFF_STAGE_STEPS]));
    assert_memory_equal(&plain.kl[EFF_STAGE_PLAIN], &plain.kl[EFF_STAGE_FINAL], sizeof plain.kl[0]);
    for (size_t i = 0; (row = eff_compiled_report(c, i)) != NULL; i++)
        assert_memory_equal(&row->plain_db, &row->sqnr_db, sizeof row->sqnr_db);
    eff_compiled_free(c);
    eff_graph_free(g);
}

static void units_of_bottlenecks_do_not_matter(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-b0"};
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        EffGraph *plain = narrow_network(names[i], 48, 0.4), *hard = narrow_network(names[i], 48, 0.4);
        rescale_bottlenecks(hard);
        EffCompiled *a = quantize(plain, 48, 0, false), *b = quantize(hard, 48, 0, false);
        const EffNodeReport *x, *y;
        double cost = 0;
        int n = 0;
        for (size_t k = 0; (x = eff_compiled_report(a, k)) != NULL; k++) {
            y = eff_compiled_report(b, k);
            assert_string_equal(x->name, y->name);
            if (strstr(x->name, "/act/") != NULL) { /* errors of a bottleneck itself are summed in other units */
                cost += x->sqnr_db - y->sqnr_db;
                n++;
            }
        }
        assert_true(n > 20 && cost / n < 0.5); /* 10 dB with one unit for all channels */
        eff_compiled_free(a);
        eff_compiled_free(b);
        eff_graph_free(plain);
        eff_graph_free(hard);
    }
}

/* ---- What is refused ---- */

static EffStatus get_nothing(void *ctx, size_t i, uint8_t *pixels)
{
    (void)ctx;
    (void)pixels;
    return i < 2 ? (memset(pixels, 0, 48 * 48 * 3), EFF_OK) : EFF_ERR_IO;
}

static int stop_at_once(void *ctx, const char *phase, size_t done, size_t total)
{
    (void)ctx;
    (void)phase;
    return done <= total;
}

static int stop_while_choosing(void *ctx, const char *phase, size_t done, size_t total)
{
    int *n_left = ctx;
    (void)done;
    (void)total;
    return strcmp(phase, "choosing weights") == 0 && --*n_left == 0;
}

static void failures_are_reported(void **state)
{
    (void)state;
    int size = 48;
    EffGraph *g = narrow_network("lite0", size, 0.4);
    EffCompiled *c = NULL;
    const EffPictures none = {.n = 0, .get = get_synthetic, .ctx = &size};
    assert_int_equal(eff_quantize(&c, g, &none, NULL), EFF_ERR_ARG);
    const EffPictures broken = {.n = 4, .get = get_nothing};
    assert_int_equal(eff_quantize(&c, g, &broken, NULL), EFF_ERR_IO);
    const EffPictures good = {.n = 4, .get = get_synthetic, .ctx = &size};
    const EffQuantizeOptions stopped = {.progress = stop_at_once};
    assert_int_equal(eff_quantize(&c, g, &good, &stopped), EFF_ERR_INTERRUPTED);
    /* One colour only: every range is a point, and no input moves. */
    const EffPictures black = {.n = 2, .get = get_nothing};
    assert_int_equal(eff_quantize(&c, g, &black, NULL), EFF_OK);
    eff_compiled_free(c);
    int n_left = 20;
    const EffQuantizeOptions stopped_later = {.progress = stop_while_choosing, .ctx = &n_left};
    assert_int_equal(eff_quantize(&c, g, &good, &stopped_later), EFF_ERR_INTERRUPTED);
    assert_non_null(strstr(eff_last_message(), "choosing weights"));
    /* Finite in float, but beyond all integers. */
    for (size_t i = 0; i < g->nodes[0].conv.bias.n; i++)
        g->nodes[0].conv.bias.data[i] = -2e12f;
    c = NULL;
    assert_int_equal(eff_quantize(&c, g, &good, NULL), EFF_ERR_UNSUPPORTED);
    assert_non_null(strstr(eff_last_message(), "/conv_stem/Conv: values up to"));
    eff_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requantization_keeps_its_promises),
        cmocka_unit_test(copies_cover_their_range),
        cmocka_unit_test(bytes_do_not_depend_on_threads),
        cmocka_unit_test(logits_are_the_same_at_every_level),
        cmocka_unit_test(errors_are_small),
        cmocka_unit_test(stages_are_measured),
        cmocka_unit_test(units_of_bottlenecks_do_not_matter),
        cmocka_unit_test(failures_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
