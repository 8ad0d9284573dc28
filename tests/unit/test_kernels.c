/* SPDX-License-Identifier: Apache-2.0 */
/* src/kernels and base/cpu: what kcheck does not see, since it compares with the same scalar code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "kernels/act_tables.h"
#include "kernels/fma_f32.h"
#include "kernels/stem.h"
#include "kernels/table.h"

#include <float.h>
#include <math.h>
#include <string.h>

static void scalar_arithmetic(void **state)
{
    (void)state;
    assert_int_equal(eff_mulhrs(3, 1 << 14), 2); /* 1.5: halves go up */
    assert_int_equal(eff_mulhrs(-3, 1 << 14), -1);
    assert_int_equal(eff_mulhrs(INT16_MIN, INT16_MAX), -32767);
    assert_int_equal(eff_adds16(32000, 1000), INT16_MAX);
    assert_int_equal(eff_subs16(-32000, 1000), INT16_MIN);
    assert_int_equal(eff_shls16(5000, 2), 20000);
    assert_int_equal(eff_shls16(-5000, 3), INT16_MIN);
    assert_int_equal(eff_acc16(-1, 24), -1); /* arithmetic: towards minus infinity */
    assert_int_equal(eff_acc16(INT32_MAX, 0), INT16_MAX);
    assert_int_equal(eff_abs16(INT16_MIN), INT16_MAX);
    assert_int_equal(eff_sat8(-1), 0);
    assert_int_equal(eff_sat8(256), 255);
}

/* ---- x * w + acc ---- */

static float any_float(EffRng *rng)
{
    const uint32_t bits = (uint32_t)(eff_rng_next(rng) >> 32);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Any float, or one of those at which something changes. */
static float acc_of(EffRng *rng)
{
    const float edges[] = {0, FLT_TRUE_MIN, FLT_MIN - FLT_TRUE_MIN, FLT_MIN, 1, FLT_MAX, INFINITY};
    const uint64_t kind = eff_rng_below(rng, 3);
    const float v = kind == 0   ? any_float(rng)
                    : kind == 1 ? edges[eff_rng_below(rng, EFF_COUNT(edges))]
                                : (float)eff_rng_below(rng, 20) * FLT_TRUE_MIN;
    return eff_rng_below(rng, 2) ? v : -v;
}

/* 1 or one of its neighbours. */
static float near_1(EffRng *rng)
{
    return 1 + ((float)eff_rng_below(rng, 3) - 1) * 0x1p-23f;
}

static void a_product_and_a_sum(EffRng *rng, float *x, float *w, float *acc)
{
    const uint64_t kind = eff_rng_below(rng, 4);
    *acc = acc_of(rng);
    if (kind == 0) { /* mostly far apart, infinite or NaN */
        *x = acc_of(rng);
        *w = acc_of(rng);
    } else if (kind == 1) { /* the sum has more bits than a double, or fewer */
        const int scale = (int)eff_rng_below(rng, 260) - 130;
        *x = eff_rng_normal(rng);
        *w = ldexpf(eff_rng_normal(rng), scale);
        *acc = ldexpf(eff_rng_normal(rng), scale + (int)eff_rng_below(rng, 70) - 35);
    } else if (kind == 2 && isfinite(*acc)) { /* half a step of acc, or nearly: halfway in double is not yet halfway */
        int half;
        frexpf(nextafterf(fabsf(*acc), 0) - fabsf(*acc), &half);
        half = *acc == 0 ? -150 : half - 2 + (int)eff_rng_below(rng, 2);
        *x = (float)(1 + 2 * eff_rng_below(rng, 2)) * ldexpf(near_1(rng), half / 2);
        *w = ldexpf(eff_rng_below(rng, 2) ? near_1(rng) : -near_1(rng), half - half / 2);
    } else { /* nearly nothing is left, or a subnormal number */
        *x = ldexpf(eff_rng_normal(rng), -(int)eff_rng_below(rng, 76));
        *w = ldexpf(eff_rng_normal(rng), -(int)eff_rng_below(rng, 76));
        *acc = -(*x * *w) * near_1(rng);
    }
}

static void assert_fused(float got, float x, float w, float acc)
{
    const float want = fmaf(x, w, acc);
    if (memcmp(&got, &want, sizeof want) != 0 && !(isnan(got) && isnan(want)))
        fail_msg("%a * %a + %a is %a, not %a", (double)x, (double)w, (double)acc, (double)want, (double)got);
}

static void sums_of_products_are_rounded_once(void **state)
{
    (void)state;
    EffRng rng;
    eff_rng_init(&rng, 1);
    for (int i = 0; i < 500000; i++) {
        float x[4], w[4], acc[4], y[4];
        for (int k = 0; k < 4; k++)
            a_product_and_a_sum(&rng, &x[k], &w[k], &acc[k]);
        eff_store_f4(y, eff_fma_f4(eff_load_f4(x), eff_load_f4(w), eff_load_f4(acc)));
        for (int k = 0; k < 4; k++) {
            assert_fused(y[k], x[k], w[k], acc[k]);
            assert_fused(eff_fma_f32(x[k], w[k], acc[k]), x[k], w[k], acc[k]);
        }
    }
}

/* Largest error of an activation in units of x, over |y| <= y_max. */
static double worst(const EffAct *act, EffActFn fn, int frac_bits, int y_max)
{
    double most = 0;
    for (int y = -y_max; y <= y_max; y++) {
        const double x = ldexp(y, -frac_bits), want = fmax(x, 0) - eff_act_g(fn, fabs(x));
        most = fmax(most, fabs(ldexp(eff_act_apply(act, (int16_t)y), -frac_bits) - want));
    }
    return most;
}

static void swish_tables_are_accurate(void **state)
{
    (void)state;
    uint8_t stair[EFF_STAIR_SIZE];
    int16_t knot[EFF_KNOTS], slope[EFF_KNOTS];
    const EffActFn fns[] = {EFF_FN_SILU, EFF_FN_HARD_SWISH};
    for (size_t f = 0; f < 2; f++) {
        for (int frac_bits = 8; frac_bits <= 14; frac_bits++) {
            EffAct act;
            /* A range of 0.8 .. 8 in steps of sixteen: half a step times the largest slope, 1/2. */
            const int y_max = frac_bits < 12 ? 8 << frac_bits : INT16_MAX - 1;
            eff_act_build_stair(&act, stair, fns[f], frac_bits, y_max);
            assert_int_equal(eff_act_check(&act), EFF_OK);
            assert_true(worst(&act, fns[f], frac_bits, y_max) <= ldexp(1, act.h - frac_bits) / 4 + 0.004);
            eff_act_build_interp(&act, knot, slope, fns[f], frac_bits, y_max);
            assert_int_equal(eff_act_check(&act), EFF_OK);
            assert_true(worst(&act, fns[f], frac_bits, y_max) <= 0.003 + ldexp(1.5, -frac_bits));
        }
    }
}

static void gates_are_accurate_and_bounded(void **state)
{
    (void)state;
    int16_t knot[EFF_KNOTS], slope[EFF_KNOTS];
    EffAct act;
    eff_act_build_interp(&act, knot, slope, EFF_FN_SIGMOID, 12, 8 << 12);
    for (int y = -INT16_MAX; y <= INT16_MAX; y++) {
        const double want = 32768 / (1 + exp(-ldexp(y, -12)));
        assert_true(fabs(eff_gate(&act, (int16_t)y) - want) <= 32768 * 0.0006);
        assert_true(eff_gate(&act, (int16_t)y) >= 0);
    }
    assert_int_equal(eff_gate(&act, 0), 16384);
}

static void means_are_rounded(void **state)
{
    (void)state;
    const int64_t sums[] = {7 * 49, 7 * 49 + 25, 7 * 49 + 24, -5 * 49 - 25, -5 * 49 - 24, 32767 * 49};
    const int16_t want[] = {7, 8, 7, -6, -5, 32767};
    int16_t mean[32];
    eff_pool_mean(mean, sums, 6, eff_pool_mult(49, 0));
    assert_memory_equal(mean, want, sizeof want);
    for (int c = 6; c < 32; c++)
        assert_int_equal(mean[c], 0);
    const int64_t bytes = 200 * 81;
    eff_pool_mean(mean, &bytes, 1, eff_pool_mult(81, 7));
    assert_int_equal(mean[0], 200 << 7);
}

static void quads_cover_what_windows_read(void **state)
{
    (void)state;
    for (int kernel = 3; kernel <= 7; kernel += 2) {
        for (int stride = 1; stride <= 2; stride++) {
            for (int rows = 1; rows < 30; rows++) {
                EffQuads q;
                const int out = (rows + stride - 1) / stride;
                eff_quads_init(&q, rows, rows, kernel, stride, kernel / 2, kernel / 2, out, out, 16);
                assert_true(4 * q.n_quads >= (out - 1) * stride + kernel);
                assert_true(4 * q.n_quads >= rows + q.pad_top && q.n_cols >= rows + q.pad_left);
                assert_true(q.n_cols >= (out - 1) * stride + kernel);
            }
        }
    }
}

static void quads_hold_image_and_padding(void **state)
{
    (void)state;
    enum { ROWS = 5, COLS = 3, CH = 16 };
    uint8_t image[ROWS * COLS * CH], quads[4096];
    int16_t zero[CH];
    EffQuads q;
    size_t bytes;
    for (int i = 0; i < ROWS * COLS * CH; i++)
        image[i] = (uint8_t)(i + 1);
    for (int c = 0; c < CH; c++)
        zero[c] = (int16_t)(100 + c);
    eff_quads_init(&q, ROWS, COLS, 3, 1, 1, 1, ROWS, COLS, CH);
    assert_true(eff_quads_bytes(&bytes, &q, q.n_quads) && bytes <= sizeof quads);
    memset(quads, 0, sizeof quads);
    eff_quads_from_nhwc(&q, quads, image, CH, zero, CH, 0, q.n_quads);
    for (int row = 0; row < 4 * q.n_quads; row++) {
        for (int col = 0; col < q.n_cols; col++) {
            for (int c = 0; c < CH; c++) {
                const int y = row - 1, x = col - 1;
                const int inside = y >= 0 && y < ROWS && x >= 0 && x < COLS;
                const int want = inside ? image[(y * COLS + x) * CH + c] : zero[c];
                assert_int_equal(quads[(((size_t)(row / 4) * (size_t)q.n_cols + (size_t)col) * CH + (size_t)c) * 4 +
                                       (size_t)(row % 4)],
                                 want);
            }
        }
    }
}

static void bad_operators_are_refused(void **state)
{
    (void)state;
    int32_t bias[32] = {0}, shift[32] = {0};
    int16_t mult[32] = {0}, top[32] = {0}, zero[32] = {0};
    int8_t wgt[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    EffPw op = {.in_ch = 4, .out_ch = 2};
    op.epi = (EffEpilogue){.bias = bias, .shift = shift, .mult = mult, .top = top, .zero = zero, .omult = mult};
    assert_int_equal(eff_pw_check(&op, wgt, 1), EFF_OK);
    shift[1] = 25;
    assert_int_equal(eff_pw_check(&op, wgt, 1), EFF_ERR_FORMAT);
    shift[1] = 0;
    zero[2] = 1; /* a padding channel */
    assert_int_equal(eff_pw_check(&op, wgt, 1), EFF_ERR_FORMAT);
    zero[2] = 0;
    mult[0] = -1;
    assert_int_equal(eff_pw_check(&op, wgt, 1), EFF_ERR_FORMAT);
    mult[0] = 0;
    wgt[3] = -128;
    assert_int_equal(eff_pw_check(&op, wgt, 1), EFF_ERR_FORMAT);
    wgt[3] = 127;
    bias[0] = INT32_MAX - 1000;
    assert_int_equal(eff_pw_check(&op, wgt, 1), EFF_ERR_FORMAT);
    assert_non_null(strstr(eff_last_message(), "beyond 32 bits"));
    bias[0] = 0;
    op.epi.kind = EFF_OUT_ACT;
    op.epi.act = (EffAct){.kind = EFF_ACT_INTERP, .h = 10, .knot = mult, .slope = mult};
    assert_int_equal(eff_pw_check(&op, wgt, 1), EFF_ERR_FORMAT);
    op.epi.act = (EffAct){.kind = (EffActKind)9};
    assert_int_equal(eff_pw_check(&op, wgt, 1), EFF_ERR_FORMAT);
    const EffDw dw = {.channels = 2, .kernel = 4, .stride = 1, .epi = op.epi};
    assert_int_equal(eff_dw_check(&dw, wgt, 1), EFF_ERR_FORMAT);
}

static void levels_have_names(void **state)
{
    (void)state;
    unsigned flags = 7;
    assert_int_equal(eff_cpu_level_find(&flags, "c"), EFF_OK);
    assert_int_equal(flags, 0);
    assert_string_equal(eff_cpu_level_name(0), "c");
    assert_int_equal(eff_cpu_level_find(&flags, "auto"), EFF_OK);
    assert_int_equal(flags, eff_cpu_detect());
    assert_string_equal(eff_cpu_level_name(EFF_CPU_AVX2 | EFF_CPU_AVX512VL), "avx512vl");
    assert_int_equal(eff_cpu_level_find(&flags, "sse9"), EFF_ERR_ARG);
    assert_non_null(strstr(eff_last_message(), "avx512amx"));
    for (size_t i = 0; eff_cpu_level_at(i) != NULL; i++) {
        const EffStatus st = eff_cpu_level_find(&flags, eff_cpu_level_at(i));
        assert_true(st == EFF_OK || st == EFF_ERR_UNSUPPORTED);
        if (st == EFF_OK)
            assert_int_equal(flags & ~eff_cpu_detect(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_arithmetic),
        cmocka_unit_test(sums_of_products_are_rounded_once),
        cmocka_unit_test(swish_tables_are_accurate),
        cmocka_unit_test(gates_are_accurate_and_bounded),
        cmocka_unit_test(means_are_rounded),
        cmocka_unit_test(quads_cover_what_windows_read),
        cmocka_unit_test(quads_hold_image_and_padding),
        cmocka_unit_test(bad_operators_are_refused),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
