/* SPDX-License-Identifier: Apache-2.0 */
/* Every step of a plan against its formula, with nothing of the kernels; and what a tap makes of tensors. */
#include "unit.h"

#include "plan_fixture.h"

#include "effnet/runtime.h"
#include "kernels/levels.h"
#include "runtime/session.h"

enum { MAX_TENSORS = 64, MAX_CLASSES = 16 };

/* Tensors as a tap saw them, dense: integers, or floats. */
typedef struct Seen {
    const EffPlan *plan;
    int32_t *values[MAX_TENSORS]; /* [h][w][c] */
    float *floats[MAX_TENSORS];
    int n_taps;
} Seen;

static size_t count(const EffPlanTensor *t)
{
    return (size_t)t->h * (size_t)t->w * (size_t)t->c;
}

static const EffPlanStep *quads_reader(const EffPlan *plan, int tensor)
{
    int i = 0;
    while (plan->steps[i].op != EFF_STEP_DW || plan->steps[i].in[0] != tensor)
        i++;
    return &plan->steps[i];
}

/* Element (y, x, c) of an integer tensor in its layout, by the definition of the layout. */
static int32_t element(const EffPlan *plan, int tensor, const void *data, int y, int x, int c)
{
    const EffPlanTensor *t = &plan->tensors[tensor];
    size_t i;
    if (t->layout == EFF_LAYOUT_QUADS) {
        EffQuads q;
        eff_plan_quads(&q, plan, quads_reader(plan, tensor));
        y += q.pad_top;
        x += q.pad_left;
        i = (((size_t)(y / 4) * (size_t)q.n_cols + (size_t)x) * (size_t)q.ch_stride + (size_t)c) * 4 + (size_t)(y % 4);
    } else {
        const size_t n = t->layout == EFF_LAYOUT_NHWC ? (size_t)eff_ch_pad(t->c) : (size_t)t->c;
        i = ((size_t)y * (size_t)t->w + (size_t)x) * n + (size_t)c;
    }
    return t->type == EFF_TENSOR_U8 ? ((const uint8_t *)data)[i] : ((const int16_t *)data)[i];
}

static void see(Seen *seen, int tensor, const void *data)
{
    const EffPlanTensor *t = &seen->plan->tensors[tensor];
    assert_true(tensor < MAX_TENSORS);
    free(seen->values[tensor]);
    free(seen->floats[tensor]);
    seen->values[tensor] = NULL;
    seen->floats[tensor] = NULL;
    if (t->type == EFF_TENSOR_F32) {
        float *f = seen->floats[tensor] = malloc(count(t) * sizeof *f);
        assert_non_null(f);
        memcpy(f, data, count(t) * sizeof *f);
        return;
    }
    int32_t *v = seen->values[tensor] = malloc(count(t) * sizeof *v);
    assert_non_null(v);
    for (int y = 0; y < t->h; y++) {
        for (int x = 0; x < t->w; x++) {
            for (int c = 0; c < t->c; c++)
                *v++ = element(seen->plan, tensor, data, y, x, c);
        }
    }
}

static void forget(Seen *seen)
{
    for (int i = 0; i < MAX_TENSORS; i++) {
        free(seen->values[i]);
        free(seen->floats[i]);
    }
}

/* ---- The formulas, with nothing of the kernels ---- */

static int64_t clip(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

static int64_t sat(int64_t x)
{
    return clip(x, -32768, 32767);
}

static int64_t rounded(int64_t a, int64_t b)
{
    return (int64_t)floor((double)a * (double)b / 32768 + 0.5);
}

static int64_t interpolate(const int16_t *knot, const int16_t *slope, int h, int64_t y)
{
    int64_t a = sat(y < 0 ? -y : y);
    a = clip(a, 0, (64 << h) - 1);
    return sat(knot[a >> h] + rounded(slope[a >> h], (a % (1 << h)) << (15 - h)));
}

static int64_t activation(const EffPlan *p, const EffPlanStep *s, int64_t y)
{
    const int64_t positive = y > 0 ? y : 0;
    if (s->out_kind != EFF_OUT_ACT || s->act == EFF_ACT_NONE)
        return y;
    if (s->act == EFF_ACT_RELU)
        return positive;
    if (s->act == EFF_ACT_STAIR) {
        const uint8_t *stair = eff_plan_data(p, s, EFF_DATA_STAIR);
        return sat(positive - ((int64_t)stair[clip(sat(y < 0 ? -y : y) >> s->act_h, 0, 255)] << s->act_g_shift));
    }
    return sat(positive -
               interpolate(eff_plan_data(p, s, EFF_DATA_KNOT), eff_plan_data(p, s, EFF_DATA_SLOPE), s->act_h, y));
}

static int64_t param16(const EffPlan *p, const EffPlanStep *s, EffDataSlot slot, int c)
{
    return ((const int16_t *)eff_plan_data(p, s, slot))[c];
}

static int64_t to_u8(const EffPlan *p, const EffPlanStep *s, int c, int64_t y, int64_t mult)
{
    return clip(sat(rounded(sat(y * (1 << s->post_shift)), mult) + param16(p, s, EFF_DATA_ZERO, c)), 0, 255);
}

typedef struct Result {
    int64_t u8, s16;
} Result;

/* The epilogue on a whole accumulator. */
static Result epilogue(const EffPlan *p, const EffPlanStep *s, int c, int64_t acc, int64_t residual)
{
    const int32_t *shift = eff_plan_data(p, s, EFF_DATA_SHIFT); /* float nodes have none */
    const int64_t t = sat(acc >> (shift != NULL ? shift[c] : 0));
    const int64_t mult = param16(p, s, EFF_DATA_MULT, c);
    Result r = {0};
    if (s->out_kind == EFF_OUT_U8_CLAMP) {
        const int64_t y = rounded(t, mult), top = param16(p, s, EFF_DATA_TOP, c);
        r.u8 = clip(sat((y < top ? y : top) + param16(p, s, EFF_DATA_ZERO, c)), 0, 255);
        return r;
    }
    r.s16 = sat(activation(p, s, rounded(sat(t * (1 << s->pre_shift)), mult)) + residual);
    if (s->out[0] != EFF_PLAN_NONE)
        r.u8 = to_u8(p, s, c, r.s16, param16(p, s, EFF_DATA_OMULT, c));
    return r;
}

/* Zero points that pad a row-quad tensor: those of the step that wrote it. */
static const int16_t *padding(const EffPlan *p, int tensor)
{
    int i = 0;
    while (p->steps[i].out[0] != tensor)
        i++;
    return eff_plan_data(p, &p->steps[i], EFF_DATA_ZERO);
}

/* A convolution's accumulator without bias. Outside the image: `pad`, or nothing where that is NULL. */
static int64_t products(const EffPlan *p, const EffPlanStep *s, const int32_t *src, int y, int x, int o,
                        const int16_t *pad)
{
    const EffPlanTensor *in = &p->tensors[s->in[0]];
    const int8_t *wgt = eff_plan_data(p, s, EFF_DATA_WGT);
    const bool dw = s->op == EFF_STEP_DW;
    const int n_in = dw ? 1 : s->in_ch, k = s->kernel;
    int64_t acc = 0;
    for (int ky = 0; ky < k; ky++) {
        for (int kx = 0; kx < k; kx++) {
            const int iy = y * s->stride - s->pad_top + ky, ix = x * s->stride - s->pad_left + kx;
            const bool inside = iy >= 0 && iy < in->h && ix >= 0 && ix < in->w;
            for (int i = 0; i < n_in; i++) {
                const int c = dw ? o : i;
                const int64_t v = inside ? src[(iy * in->w + ix) * in->c + c] : pad != NULL ? pad[c] : 0;
                acc += v * wgt[((o * k + ky) * k + kx) * n_in + i];
            }
        }
    }
    return acc;
}

/* Bias of a stem at an output, by the order of the border cases. */
static int64_t stem_bias(const EffPlan *p, const EffPlanStep *s, int y, int x, int o)
{
    const EffPlanTensor *in = &p->tensors[0], *out = eff_step_output(p, s);
    int rows[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL], cols[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL], r = 0, c = 0;
    eff_stem_cases(rows, s->kernel, s->stride, s->pad_top, in->h, out->h);
    const int n_cols = eff_stem_cases(cols, s->kernel, s->stride, s->pad_left, in->w, out->w);
    while (rows[r] != eff_stem_case(eff_stem_taps(y, s->kernel, s->stride, s->pad_top, in->h), s->kernel))
        r++;
    while (cols[c] != eff_stem_case(eff_stem_taps(x, s->kernel, s->stride, s->pad_left, in->w), s->kernel))
        c++;
    return ((const int32_t *)eff_plan_data(p, s, EFF_DATA_BIAS))[(r * n_cols + c) * s->out_ch + o];
}

static void check_equal(const EffPlanStep *s, const char *what, int64_t got, int64_t want, size_t at)
{
    if (got != want)
        fail_msg("%s (%s): %s[%zu] is %lld, the formula gives %lld", s->name, eff_step_op_name(s->op), what, at,
                 (long long)got, (long long)want);
}

/* Outputs that differ from each other, so that a saturated step does not pass for a right one. */
static void check_spread(const EffPlanStep *s, const int32_t *v, size_t n)
{
    size_t n_same = 0;
    for (size_t i = 1; i < n; i++)
        n_same += v[i] == v[0];
    if (n > 4 && n_same * 2 > n)
        fail_msg("%s: %zu of %zu outputs are %d", s->name, n_same + 1, n, (int)v[0]);
}

static void check_conv(const Seen *seen, const EffPlanStep *s)
{
    const EffPlan *p = seen->plan;
    const EffPlanTensor *out = eff_step_output(p, s);
    const int16_t *pad = s->op == EFF_STEP_DW ? padding(p, s->in[0]) : NULL;
    const int32_t *u8 = s->out[0] != EFF_PLAN_NONE ? seen->values[s->out[0]] : NULL;
    const int32_t *s16 = s->out[1] != EFF_PLAN_NONE ? seen->values[s->out[1]] : NULL;
    size_t at = 0;
    for (int y = 0; y < out->h; y++) {
        for (int x = 0; x < out->w; x++) {
            for (int o = 0; o < out->c; o++, at++) {
                const int64_t bias = s->op == EFF_STEP_STEM ? stem_bias(p, s, y, x, o)
                                                            : ((const int32_t *)eff_plan_data(p, s, EFF_DATA_BIAS))[o];
                const int64_t residual = s->in[1] != EFF_PLAN_NONE ? seen->values[s->in[1]][at] : 0;
                const int64_t acc = bias + products(p, s, seen->values[s->in[0]], y, x, o, pad);
                const Result want = epilogue(p, s, o, acc, residual);
                if (u8 != NULL)
                    check_equal(s, "u8", u8[at], want.u8, at);
                if (s16 != NULL)
                    check_equal(s, "s16", s16[at], want.s16, at);
            }
        }
    }
    check_spread(s, u8 != NULL ? u8 : s16, at);
}

/* The sum in float, in the order that is specified, its activation, and the rounding. */
static int64_t node_sum(const EffPlan *p, const EffPlanStep *s, const int32_t *src, int y, int x, int o)
{
    const EffPlanTensor *in = &p->tensors[s->in[0]];
    const float *wgt = eff_plan_data(p, s, EFF_DATA_FWGT);
    const bool dw = s->op == EFF_STEP_DW_F32;
    const int n_in = dw ? 1 : s->in_ch, k = s->kernel;
    float sum = ((const float *)eff_plan_data(p, s, EFF_DATA_FBIAS))[o];
    for (int ky = 0; ky < k; ky++) {
        for (int kx = 0; kx < k; kx++) {
            const int iy = y * s->stride - s->pad_top + ky, ix = x * s->stride - s->pad_left + kx;
            for (int i = 0; i < n_in && iy >= 0 && iy < in->h && ix >= 0 && ix < in->w; i++)
                sum += (float)src[(iy * in->w + ix) * in->c + (dw ? o : i)] * wgt[((o * k + ky) * k + kx) * n_in + i];
        }
    }
    eff_act_f32_c((EffActivation)s->fact, &sum, 1);
    const float scaled = sum * ((const float *)eff_plan_data(p, s, EFF_DATA_SCALE))[o];
    return (int64_t)rint(fmax(-32768, fmin(32767, (double)scaled)));
}

static void check_node(const Seen *seen, const EffPlanStep *s)
{
    const EffPlan *p = seen->plan;
    const EffPlanTensor *out = eff_step_output(p, s);
    const int32_t *u8 = s->out[0] != EFF_PLAN_NONE ? seen->values[s->out[0]] : NULL;
    const int32_t *s16 = s->out[1] != EFF_PLAN_NONE ? seen->values[s->out[1]] : NULL;
    for (int i = 0; i < out->h * out->w * out->c; i++) {
        const int o = i % out->c, x = i / out->c % out->w, y = i / out->c / out->w;
        const int64_t residual = s->in[1] != EFF_PLAN_NONE ? seen->values[s->in[1]][i] : 0;
        const Result want = epilogue(p, s, o, node_sum(p, s, seen->values[s->in[0]], y, x, o), residual);
        if (u8 != NULL)
            check_equal(s, "u8", u8[i], want.u8, (size_t)i);
        if (s16 != NULL)
            check_equal(s, "s16", s16[i], want.s16, (size_t)i);
    }
    check_spread(s, u8 != NULL ? u8 : s16, count(out));
}

/* The gate of squeeze-excite in 16 bits. */
static void check_gate(const Seen *seen, const EffPlanStep *s)
{
    const EffPlanTensor *in = &seen->plan->tensors[s->in[0]];
    for (size_t i = 0; i < count(in); i++)
        check_equal(s, "gate", seen->values[s->out[1]][i],
                    rounded(sat((int64_t)seen->values[s->in[0]][i] * (1 << s->post_shift)),
                            seen->values[s->in[1]][i % (size_t)in->c]),
                    i);
    check_spread(s, seen->values[s->out[1]], count(in));
}

static void check_pool(const Seen *seen, const EffPlanStep *s)
{
    const EffPlanTensor *in = &seen->plan->tensors[s->in[0]];
    const int n = in->h * in->w;
    for (int c = 0; c < in->c; c++) {
        int64_t sum = 0;
        for (int i = 0; i < n; i++)
            sum += seen->values[s->in[0]][i * in->c + c];
        const int64_t mult = (int64_t)floor((double)((int64_t)1 << (40 + s->frac_bits)) / n + 0.5);
        check_equal(s, "mean", seen->values[s->out[1]][c], sat((sum * mult + ((int64_t)1 << 39)) >> 40), (size_t)c);
        assert_true(fabs((double)seen->values[s->out[1]][c] - (double)sum / n * (1 << s->frac_bits)) < 0.51);
    }
}

static int64_t dot(const Seen *seen, const EffPlanStep *s, int o)
{
    const void *wgt = eff_plan_data(seen->plan, s, EFF_DATA_WGT);
    int64_t acc = 0;
    for (int i = 0; i < s->in_ch; i++) {
        const int at = o * s->in_ch + i;
        acc += (int64_t)seen->values[s->in[0]][i] *
               (s->wgt_bits == 8 ? ((const int8_t *)wgt)[at] : ((const int16_t *)wgt)[at]);
    }
    return acc;
}

static void check_fc(const Seen *seen, const EffPlanStep *s)
{
    const int16_t *knots = eff_plan_data(seen->plan, s, EFF_DATA_SIGMOID);
    for (int o = 0; o < s->out_ch; o++) {
        const int64_t bias = ((const int32_t *)eff_plan_data(seen->plan, s, EFF_DATA_BIAS))[o];
        int64_t y = epilogue(seen->plan, s, o, dot(seen, s, o) + bias, 0).s16;
        if (knots != NULL) {
            const int64_t v = interpolate(knots, knots + EFF_KNOTS, s->sigmoid_h, y);
            const double sigmoid = 32768 / (1 + exp(-(double)y / 2048));
            y = y < 0 ? v : sat(32768 - v);
            assert_true(fabs((double)y - sigmoid) < 40);
        }
        check_equal(s, "fc", seen->values[s->out[1]][o], y, (size_t)o);
    }
    check_spread(s, seen->values[s->out[1]], (size_t)s->out_ch);
}

static void check_quant(const Seen *seen, const EffPlanStep *s)
{
    const EffPlanTensor *in = &seen->plan->tensors[s->in[0]];
    const int32_t *gate = s->in[1] != EFF_PLAN_NONE ? seen->values[s->in[1]] : NULL;
    for (size_t i = 0; i < count(in); i++) {
        const int c = (int)(i % (size_t)in->c);
        int64_t mult = param16(seen->plan, s, EFF_DATA_OMULT, c);
        if (gate != NULL)
            mult = rounded(gate[c], mult);
        check_equal(s, "quant", seen->values[s->out[0]][i], to_u8(seen->plan, s, c, seen->values[s->in[0]][i], mult),
                    i);
    }
    check_spread(s, seen->values[s->out[0]], count(in));
}

static void check_head(const Seen *seen, const EffPlanStep *s)
{
    const float *scale = eff_plan_data(seen->plan, s, EFF_DATA_SCALE),
                *bias = eff_plan_data(seen->plan, s, EFF_DATA_FBIAS);
    for (int o = 0; o < s->out_ch; o++) {
        const float product = (float)dot(seen, s, o) * scale[o];
        assert_true(seen->floats[s->out[0]][o] == product + bias[o]);
        assert_true(fabsf(product) > 1e-3f);
    }
}

/* ---- Float formulas ---- */

static double real_activation(int act, double x)
{
    switch (act) {
    case EFF_ACTIVATION_RELU: return fmax(x, 0);
    case EFF_ACTIVATION_RELU6: return fmin(fmax(x, 0), 6);
    case EFF_ACTIVATION_SILU: return x / (1 + exp(-x));
    case EFF_ACTIVATION_HSWISH: return x * fmin(fmax(x + 3, 0), 6) / 6;
    case EFF_ACTIVATION_SIGMOID: return 1 / (1 + exp(-x));
    default: return x;
    }
}

static double real_conv(const EffPlan *p, const EffPlanStep *s, const float *src, int y, int x, int o)
{
    const EffPlanTensor *in = &p->tensors[s->in[0]];
    const float *wgt = eff_plan_data(p, s, EFF_DATA_FWGT), *bias = eff_plan_data(p, s, EFF_DATA_FBIAS);
    const int n_in = s->in_ch / s->groups, k = s->kernel, first = s->groups > 1 ? o : 0;
    double sum = bias != NULL ? (double)bias[o] : 0;
    for (int ky = 0; ky < k; ky++) {
        for (int kx = 0; kx < k; kx++) {
            const int iy = y * s->stride - s->pad_top + ky, ix = x * s->stride - s->pad_left + kx;
            for (int i = 0; i < n_in && iy >= 0 && iy < in->h && ix >= 0 && ix < in->w; i++)
                sum += (double)src[(iy * in->w + ix) * in->c + first + i] *
                       (double)wgt[((o * k + ky) * k + kx) * n_in + i];
        }
    }
    return sum;
}

/* Tap by tap, those outside left out. */
static double real_pool(const EffPlan *p, const EffPlanStep *s, const float *a, int y, int x, int c)
{
    const EffPlanTensor *in = &p->tensors[s->in[0]];
    double sum = 0, most = -HUGE_VAL;
    int n = 0;
    for (int k = 0; k < s->kernel * s->kernel; k++) {
        const int iy = y * s->stride - s->pad_top + k / s->kernel, ix = x * s->stride - s->pad_left + k % s->kernel;
        if (iy < 0 || iy >= in->h || ix < 0 || ix >= in->w)
            continue;
        const double v = (double)a[(iy * in->w + ix) * in->c + c];
        sum += v;
        most = fmax(most, v);
        n++;
    }
    return s->op == EFF_STEP_F32_MAXPOOL ? most : sum / n;
}

static double real_step(const Seen *seen, const EffPlanStep *s, int y, int x, int c, size_t i)
{
    const EffPlan *p = seen->plan;
    const EffPlanTensor *in = &p->tensors[s->in[0]];
    const float *a = seen->floats[s->in[0]], *b = s->in[1] != EFF_PLAN_NONE ? seen->floats[s->in[1]] : NULL;
    switch (s->op) {
    case EFF_STEP_F32_INPUT: return ((double)seen->values[0][i] - (double)p->pre.mean[c]) / (double)p->pre.std[c];
    case EFF_STEP_F32_CONV: return real_activation(s->fact, real_conv(p, s, a, y, x, c));
    case EFF_STEP_F32_MAXPOOL:
    case EFF_STEP_F32_AVGPOOL: return real_pool(p, s, a, y, x, c);
    case EFF_STEP_F32_ADD: return (double)a[i] + (double)b[i];
    case EFF_STEP_F32_MUL: return (double)a[i] * (double)b[c];
    case EFF_STEP_F32_ACT: return real_activation(s->fact, (double)a[i]);
    default: break;
    }
    double sum = 0;
    for (int k = 0; k < in->h * in->w; k++)
        sum += (double)a[k * in->c + c];
    return sum / (in->h * in->w);
}

static void check_float(const Seen *seen, const EffPlanStep *s)
{
    const EffPlanTensor *out = eff_step_output(seen->plan, s);
    size_t i = 0;
    for (int y = 0; y < out->h; y++) {
        for (int x = 0; x < out->w; x++) {
            for (int c = 0; c < out->c; c++, i++) {
                const double want = real_step(seen, s, y, x, c, i), got = (double)seen->floats[s->out[0]][i];
                if (fabs(want - got) > 1e-5 * (1 + fabs(want)))
                    fail_msg("%s: [%d][%d][%d] is %g, the formula gives %g", s->name, y, x, c, got, want);
            }
        }
    }
}

/* ---- Tests ---- */

static void check_step(void *ctx, int step, const EffPlanTensor *tensor, const void *data)
{
    Seen *seen = ctx;
    const EffPlan *p = seen->plan;
    const EffPlanStep *s = &p->steps[step];
    const int index = (int)(tensor - p->tensors);
    see(seen, index, data);
    seen->n_taps++;
    if (s->out[1] != EFF_PLAN_NONE && s->out[1] != index)
        return; /* check when both outputs have been seen */
    switch (s->op) {
    case EFF_STEP_STEM:
    case EFF_STEP_PW:
    case EFF_STEP_DW: check_conv(seen, s); break;
    case EFF_STEP_PW_F32:
    case EFF_STEP_DW_F32: check_node(seen, s); break;
    case EFF_STEP_GATE: check_gate(seen, s); break;
    case EFF_STEP_QUADS:
        assert_memory_equal(seen->values[s->out[0]], seen->values[s->in[0]], count(tensor) * sizeof(int32_t));
        break;
    case EFF_STEP_POOL: check_pool(seen, s); break;
    case EFF_STEP_FC: check_fc(seen, s); break;
    case EFF_STEP_QUANT: check_quant(seen, s); break;
    case EFF_STEP_HEAD: check_head(seen, s); break;
    default: check_float(seen, s); break;
    }
}

static void steps_equal_formulas(void (*make)(EffPlan *, uint64_t))
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        EffModel *m = fx_model(make, seed, "auto");
        EffSession *s = NULL;
        uint8_t *pixels = fx_pixels(eff_model_plan(m), seed);
        float logits[MAX_CLASSES];
        Seen seen = {.plan = eff_model_plan(m)};
        see(&seen, 0, pixels);
        assert_int_equal(eff_session_create_unfused(&s, m, 2), EFF_OK);
        eff_session_run_tapped(s, pixels, logits, check_step, &seen);
        assert_true(seen.n_taps >= eff_model_info(m)->n_steps);
        assert_memory_equal(logits, seen.floats[eff_model_plan(m)->output],
                            (size_t)eff_model_info(m)->n_classes * sizeof *logits);
        forget(&seen);
        eff_session_destroy(s);
        eff_model_close(m);
        free(pixels);
    }
}

static void int8_steps_equal_formulas(void **state)
{
    (void)state;
    steps_equal_formulas(fx_int8);
    steps_equal_formulas(fx_wide);
    steps_equal_formulas(fx_blocks);
}

static void float_steps_equal_formulas(void **state)
{
    (void)state;
    steps_equal_formulas(fx_f32);
    steps_equal_formulas(fx_pools);
}

static void float_nodes_equal_formulas(void **state)
{
    (void)state;
    steps_equal_formulas(fx_nodes);
}

/* Halves to even, ends, and sums that are infinite once they are scaled. */
static void sums_are_rounded_to_even(void **state)
{
    (void)state;
    static const float sums[16] = {0.5f,     1.5f,     2.5f,      -0.5f,     -1.5f, -2.5f,  0.49999997f, 32766.5f,
                                   32767.4f, 32767.5f, -32767.5f, -32768.5f, 1e38f, -1e38f, -0.0f,       8191.5f};
    static const int32_t wanted[16] = {0,     2,     2,      0,      -2,    -2,     0, 32766,
                                       32767, 32767, -32768, -32768, 32767, -32768, 0, 8192};
    float scale[16];
    int32_t t[16];
    for (int i = 0; i < 16; i++)
        scale[i] = fabsf(sums[i]) > 1e30f ? 1e30f : 1;
    eff_s32_from_f32(t, sums, scale, 16, 1);
    assert_memory_equal(t, wanted, sizeof t);
    for (int i = 0; i < 16; i++)
        t[i] = 99;
    eff_s32_from_f32(t, sums, scale, 7, 1);
    for (int i = 7; i < 16; i++)
        assert_int_equal(t[i], 0);
}

typedef struct Dequantized {
    Seen seen;
    int n_checked;
} Dequantized;

static void dequantize_tap(void *ctx, int step, const EffPlanTensor *t, const void *data)
{
    Dequantized *d = ctx;
    const EffPlan *p = d->seen.plan;
    const int index = (int)(t - p->tensors);
    float *real = malloc(count(t) * sizeof *real);
    (void)step;
    assert_non_null(real);
    see(&d->seen, index, data);
    assert_int_equal(eff_tensor_to_f32(p, index, data, real), EFF_OK);
    const float *scale = (const float *)(const void *)(p->data + t->scale);
    for (size_t i = 0; i < count(t); i++) {
        const size_t c = t->n_scales > 1 ? i % (size_t)t->c : 0;
        if (t->type == EFF_TENSOR_F32)
            assert_true(real[i] == d->seen.floats[index][i]);
        else if (t->type == EFF_TENSOR_S16)
            assert_true(real[i] == scale[c] * (float)d->seen.values[index][i]);
        else
            assert_true(real[i] == scale[c] * (float)(d->seen.values[index][i] - p->data[t->zero + c]));
    }
    d->n_checked++;
    free(real);
}

static void tensors_become_real_numbers(void **state)
{
    (void)state;
    EffModel *m = fx_model(fx_int8, 4, "c");
    EffSession *s = NULL;
    uint8_t *pixels = fx_pixels(eff_model_plan(m), 4);
    float logits[MAX_CLASSES], unused[1];
    Dequantized d = {.seen = {.plan = eff_model_plan(m)}};
    assert_int_equal(eff_session_create_unfused(&s, m, 1), EFF_OK);
    eff_session_run_tapped(s, pixels, logits, dequantize_tap, &d);
    assert_true(d.n_checked > 15);
    assert_int_equal(eff_tensor_to_f32(d.seen.plan, 0, pixels, unused), EFF_ERR_UNSUPPORTED); /* pixels: no scales */
    forget(&d.seen);
    eff_session_destroy(s);
    eff_model_close(m);
    free(pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_steps_equal_formulas),   cmocka_unit_test(float_steps_equal_formulas),
        cmocka_unit_test(float_nodes_equal_formulas),  cmocka_unit_test(sums_are_rounded_to_even),
        cmocka_unit_test(tensors_become_real_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
