/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small plans made by hand, with seeded random weights whose outputs spread over the range: every operation and
 * layout of the int8 path, every operation of the float path. Plain asserts, since the fuzzer uses them too.
 */
#ifndef EFFNET_TESTS_PLAN_FIXTURE_H
#define EFFNET_TESTS_PLAN_FIXTURE_H

#undef NDEBUG
#include "base/mem.h"
#include "base/rng.h"
#include "effnet/runtime.h"
#include "format/group.h"
#include "format/layer.h"
#include "format/plan.h"
#include "kernels/act_tables.h"
#include "runtime/session.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Fixture {
    EffPlan plan;
    EffRng rng;
} Fixture;

static inline void fx_data(Fixture *f, EffPlanStep *s, EffDataSlot slot, const void *bytes, size_t n_bytes)
{
    const EffStatus st = eff_plan_add_data(&f->plan, &s->data[slot], bytes, n_bytes);
    assert(st == EFF_OK);
    (void)st;
}

static inline int fx_range(Fixture *f, int lo, int hi)
{
    return lo + (int)eff_rng_below(&f->rng, (uint64_t)(hi - lo + 1));
}

static inline void fx_fill16(Fixture *f, EffPlanStep *s, EffDataSlot slot, int n, int lo, int hi)
{
    int16_t *v = calloc((size_t)n, sizeof *v);
    assert(v != NULL);
    for (int i = 0; i < n; i++)
        v[i] = (int16_t)fx_range(f, lo, hi);
    fx_data(f, s, slot, v, (size_t)n * sizeof *v);
    free(v);
}

static inline void fx_fill_f32(Fixture *f, EffPlanStep *s, EffDataSlot slot, size_t n, float scale)
{
    float *v = calloc(n, sizeof *v);
    assert(v != NULL);
    for (size_t i = 0; i < n; i++)
        v[i] = scale * eff_rng_normal(&f->rng);
    fx_data(f, s, slot, v, n * sizeof *v);
    free(v);
}

/* A tensor; integer ones get scales: s16 one, u8 one a channel. */
static inline int fx_tensor(Fixture *f, EffTensorType type, EffLayout layout, int h, int w, int c)
{
    EffPlanTensor t = {.type = type, .layout = layout, .h = h, .w = w, .c = c};
    EffPlanData where;
    int index;
    EffStatus st = EFF_OK;
    snprintf(t.name, sizeof t.name, "tensor %d", f->plan.n_tensors);
    if (type != EFF_TENSOR_F32 && f->plan.n_tensors > 0) {
        float scales[256];
        uint8_t zeros[256];
        assert(c <= 256);
        t.n_scales = type == EFF_TENSOR_U8 ? c : 1;
        for (int i = 0; i < c; i++) {
            scales[i] = 0.01f + eff_rng_unit(&f->rng);
            zeros[i] = (uint8_t)fx_range(f, 0, 255);
        }
        st = eff_plan_add_data(&f->plan, &where, scales, (size_t)t.n_scales * sizeof *scales);
        assert(st == EFF_OK);
        t.scale = where.offset;
        if (type == EFF_TENSOR_U8) {
            st = eff_plan_add_data(&f->plan, &where, zeros, (size_t)t.n_scales);
            assert(st == EFF_OK);
            t.zero = where.offset;
        }
    }
    st = eff_plan_add_tensor(&f->plan, &t, &index);
    assert(st == EFF_OK);
    return index;
}

static inline EffPlanStep fx_step(const Fixture *f, EffStepOp op, int in0, int in1, int out0, int out1)
{
    const EffPlan *p = &f->plan;
    EffPlanStep s = {
        .op = op, .in = {in0, in1}, .out = {out0, out1}, .kernel = 1, .stride = 1, .groups = 1, .wgt_bits = 8};
    snprintf(s.name, sizeof s.name, "step %d", p->n_steps);
    s.in_ch = p->tensors[in0].c;
    s.out_ch = p->tensors[out0 != EFF_PLAN_NONE ? out0 : out1].c;
    return s;
}

static inline void fx_add(Fixture *f, const EffPlanStep *s)
{
    const EffStatus st = eff_plan_add_step(&f->plan, s);
    assert(st == EFF_OK);
    (void)st;
}

/* Activation with tables on y with 11 fraction bits. */
static inline void fx_act(Fixture *f, EffPlanStep *s, EffActKind kind)
{
    uint8_t stair[EFF_STAIR_SIZE];
    int16_t knot[EFF_KNOTS], slope[EFF_KNOTS];
    EffAct act = {.kind = kind};
    if (kind == EFF_ACT_STAIR) {
        eff_act_build_stair(&act, stair, EFF_FN_SILU, 11, 16000);
        fx_data(f, s, EFF_DATA_STAIR, stair, sizeof stair);
    } else if (kind == EFF_ACT_INTERP) {
        eff_act_build_interp(&act, knot, slope, EFF_FN_SILU, 11, 16000);
        fx_data(f, s, EFF_DATA_KNOT, knot, sizeof knot);
        fx_data(f, s, EFF_DATA_SLOPE, slope, sizeof slope);
    }
    s->out_kind = EFF_OUT_ACT;
    s->act = kind;
    s->act_h = act.h;
    s->act_g_shift = act.g_shift;
}

/* Multipliers, tops and zero points of a layer's epilogue. */
static inline void fx_multipliers(Fixture *f, EffPlanStep *s)
{
    const bool clamp = s->out_kind == EFF_OUT_U8_CLAMP, to_u8 = s->out[0] != EFF_PLAN_NONE;
    const int n = s->out_ch;
    fx_fill16(f, s, EFF_DATA_MULT, n, clamp ? 400 : 16384, clamp ? 800 : 32767);
    if (clamp)
        fx_fill16(f, s, EFF_DATA_TOP, n, 80, 200);
    if (to_u8)
        fx_fill16(f, s, EFF_DATA_ZERO, n, 60, 140);
    if (to_u8 && !clamp)
        fx_fill16(f, s, EFF_DATA_OMULT, n, 200, 700);
}

/*
 * Weights and requantization of a layer with `n_taps` products an output; `spread` is about the standard deviation of
 * its inputs around `centre`. The accumulator comes out near 2^13 in t.
 */
static inline void fx_weights(Fixture *f, EffPlanStep *s, int n_taps, int n_cases, double spread, int centre)
{
    const int n = s->out_ch;
    const size_t n_wgt = (size_t)n * (size_t)n_taps;
    int8_t *w8 = calloc(n_wgt, 1);
    int16_t *w16 = calloc(n_wgt, sizeof *w16);
    int32_t *bias = calloc((size_t)(n * n_cases), sizeof *bias), *shift = calloc((size_t)n, sizeof *shift);
    assert(w8 != NULL && w16 != NULL && bias != NULL && shift != NULL);
    const double one = s->wgt_bits == 8 ? 73 : 19000, acc = spread * one * sqrt((double)n_taps) * 2;
    for (int o = 0; o < n; o++) {
        const int sh = (int)ceil(log2(acc / 8192)) + fx_range(f, 0, 1);
        shift[o] = sh < 0 ? 0 : sh;
        int64_t sum = 0;
        for (int i = 0; i < n_taps; i++) {
            const size_t at = (size_t)o * (size_t)n_taps + (size_t)i;
            w8[at] = (int8_t)fx_range(f, -127, 127);
            w16[at] = (int16_t)fx_range(f, -32767, 32767);
            sum += s->wgt_bits == 8 ? w8[at] : w16[at];
        }
        for (int k = 0; k < n_cases; k++) {
            const int64_t b = -sum * centre + (shift[o] > 0 ? 1 << (shift[o] - 1) : 0) + 1000 * k;
            bias[k * n + o] = (int32_t)b;
        }
    }
    if (s->wgt_bits == 8)
        fx_data(f, s, EFF_DATA_WGT, w8, n_wgt);
    else
        fx_data(f, s, EFF_DATA_WGT, w16, n_wgt * sizeof *w16);
    if (s->op != EFF_STEP_HEAD) {
        fx_data(f, s, EFF_DATA_BIAS, bias, (size_t)(n * n_cases) * sizeof *bias);
        fx_data(f, s, EFF_DATA_SHIFT, shift, (size_t)n * sizeof *shift);
        fx_multipliers(f, s);
    }
    free(w8);
    free(w16);
    free(bias);
    free(shift);
}

static inline void fx_begin(Fixture *f, const char *name, uint64_t seed, int size, int n_classes)
{
    *f = (Fixture){0};
    eff_rng_init(&f->rng, seed);
    EffPlan *p = &f->plan;
    snprintf(p->name, sizeof p->name, "%s", name);
    p->n_classes = n_classes;
    p->params = 1234;
    p->macs = 567890;
    p->pre = (EffPreprocess){.size = size, .crop = 0.875, .interpolation = EFF_INTERP_BICUBIC};
    for (int c = 0; c < 3; c++) {
        p->pre.mean[c] = 120.5f + (float)c;
        p->pre.std[c] = 58.25f + (float)c;
    }
    fx_tensor(f, EFF_TENSOR_U8, EFF_LAYOUT_IMAGE, size, size, 3);
}

static inline void fx_end(Fixture *f, int output)
{
    EffPlan *p = &f->plan;
    p->output = output;
    p->labels = eff_calloc((size_t)p->n_classes, sizeof *p->labels);
    assert(p->labels != NULL);
    for (int i = 0; i < p->n_classes; i++) {
        char label[32];
        snprintf(label, sizeof label, i == 2 ? "" : "cl\xc3\xa4ss %d", i);
        p->labels[i] = eff_strdup(label);
    }
    p->provenance = eff_strdup("{\"source\": \"fixture\"}\n");
    EffStatus st = eff_plan_fuse(p);
    assert(st == EFF_OK);
    st = eff_plan_layout_arena(p);
    assert(st == EFF_OK);
    (void)st;
}

/* The classifier, which ends a plan. */
static inline void fx_head(Fixture *f, int features, int wgt_bits, float scale)
{
    enum { NONE = EFF_PLAN_NONE };
    const int n_classes = f->plan.n_classes;
    const int logits = fx_tensor(f, EFF_TENSOR_F32, EFF_LAYOUT_IMAGE, 1, 1, n_classes);
    EffPlanStep s = fx_step(f, EFF_STEP_HEAD, features, NONE, logits, NONE);
    s.wgt_bits = wgt_bits;
    fx_weights(f, &s, s.in_ch, 1, 1, 0);
    fx_fill_f32(f, &s, EFF_DATA_SCALE, (size_t)n_classes, scale);
    fx_fill_f32(f, &s, EFF_DATA_FBIAS, (size_t)n_classes, 1);
    fx_add(f, &s);
    fx_end(f, logits);
}

/* stem -> quads -> dw -> pw -> pw residual -> quads step -> dw -> expand quads -> dw SiLU + SE -> pw -> head */
static inline void fx_int8(EffPlan *out, uint64_t seed)
{
    enum { NONE = EFF_PLAN_NONE, CLASSES = 11 };
    const EffTensorType U8 = EFF_TENSOR_U8, S16 = EFF_TENSOR_S16;
    const EffLayout NHWC = EFF_LAYOUT_NHWC, QUADS = EFF_LAYOUT_QUADS, VECTOR = EFF_LAYOUT_VECTOR;
    Fixture f;
    fx_begin(&f, "fixture-int8", seed, 20, CLASSES);

    const int stem = fx_tensor(&f, U8, QUADS, 10, 10, 12);
    EffPlanStep s = fx_step(&f, EFF_STEP_STEM, 0, NONE, stem, NONE);
    s.kernel = 3;
    s.stride = 2; /* TF SAME: no pad before, one after */
    fx_act(&f, &s, EFF_ACT_STAIR);
    {
        int cases[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL];
        const int n = eff_stem_cases(cases, 3, 2, 0, 20, 10);
        fx_weights(&f, &s, 27, n * n, 73, 128);
    }
    fx_add(&f, &s);

    const int dw1 = fx_tensor(&f, U8, NHWC, 10, 10, 12);
    s = fx_step(&f, EFF_STEP_DW, stem, NONE, dw1, NONE);
    s.kernel = 3;
    s.pad_top = s.pad_left = 1;
    fx_weights(&f, &s, 9, 1, 40, 100);
    fx_add(&f, &s);

    const int pw1 = fx_tensor(&f, S16, NHWC, 10, 10, 20), pw1_u8 = fx_tensor(&f, U8, NHWC, 10, 10, 20);
    s = fx_step(&f, EFF_STEP_PW, dw1, NONE, pw1_u8, pw1);
    s.out_kind = EFF_OUT_S16;
    fx_weights(&f, &s, 12, 1, 40, 100);
    fx_add(&f, &s);

    const int pw2 = fx_tensor(&f, S16, NHWC, 10, 10, 20), pw2_u8 = fx_tensor(&f, U8, NHWC, 10, 10, 20);
    s = fx_step(&f, EFF_STEP_PW, pw1_u8, pw1, pw2_u8, pw2);
    s.out_kind = EFF_OUT_S16;
    s.pre_shift = 1;
    fx_weights(&f, &s, 20, 1, 60, 100);
    fx_add(&f, &s);

    const int quads = fx_tensor(&f, U8, QUADS, 10, 10, 20);
    s = fx_step(&f, EFF_STEP_QUADS, pw2_u8, NONE, quads, NONE);
    fx_fill16(&f, &s, EFF_DATA_ZERO, 20, 0, 255);
    fx_add(&f, &s);

    const int dw2 = fx_tensor(&f, U8, NHWC, 10, 10, 20), dw2_s16 = fx_tensor(&f, S16, NHWC, 10, 10, 20);
    s = fx_step(&f, EFF_STEP_DW, quads, NONE, dw2, dw2_s16);
    s.kernel = 7;
    s.pad_top = s.pad_left = 3;
    s.out_kind = EFF_OUT_S16;
    s.post_shift = 1;
    fx_weights(&f, &s, 49, 1, 60, 100);
    fx_add(&f, &s);

    const int pool1 = fx_tensor(&f, S16, VECTOR, 1, 1, 20); /* nobody reads it */
    s = fx_step(&f, EFF_STEP_POOL, dw2, NONE, NONE, pool1);
    s.frac_bits = 7;
    fx_add(&f, &s);

    const int expand = fx_tensor(&f, U8, QUADS, 10, 10, 100);
    s = fx_step(&f, EFF_STEP_PW, dw2, NONE, expand, NONE);
    fx_weights(&f, &s, 20, 1, 60, 100);
    fx_add(&f, &s);

    const int dw3 = fx_tensor(&f, S16, NHWC, 5, 5, 100);
    s = fx_step(&f, EFF_STEP_DW, expand, NONE, NONE, dw3);
    s.kernel = 5;
    s.stride = 2;
    s.pad_top = s.pad_left = 2;
    fx_act(&f, &s, EFF_ACT_INTERP);
    fx_weights(&f, &s, 25, 1, 60, 100);
    fx_add(&f, &s);

    const int pool2 = fx_tensor(&f, S16, VECTOR, 1, 1, 100);
    s = fx_step(&f, EFF_STEP_POOL, dw3, NONE, NONE, pool2);
    s.frac_bits = 2;
    fx_add(&f, &s);

    const int reduce = fx_tensor(&f, S16, VECTOR, 1, 1, 6);
    s = fx_step(&f, EFF_STEP_FC, pool2, NONE, NONE, reduce);
    fx_act(&f, &s, EFF_ACT_STAIR);
    fx_weights(&f, &s, 100, 1, 6000, 0);
    fx_add(&f, &s);

    const int gate = fx_tensor(&f, S16, VECTOR, 1, 1, 100);
    s = fx_step(&f, EFF_STEP_FC, reduce, NONE, NONE, gate);
    s.out_kind = EFF_OUT_S16;
    s.wgt_bits = 16;
    {
        EffAct act;
        int16_t knots[2 * EFF_KNOTS];
        eff_act_build_interp(&act, knots, knots + EFF_KNOTS, EFF_FN_SIGMOID, 11, 16000);
        fx_data(&f, &s, EFF_DATA_SIGMOID, knots, sizeof knots);
        s.sigmoid_h = act.h;
    }
    fx_weights(&f, &s, 6, 1, 4000, 0);
    fx_add(&f, &s);

    const int gated = fx_tensor(&f, U8, NHWC, 5, 5, 100);
    s = fx_step(&f, EFF_STEP_QUANT, dw3, gate, gated, NONE);
    s.post_shift = 2;
    fx_fill16(&f, &s, EFF_DATA_OMULT, 100, 300, 500);
    fx_fill16(&f, &s, EFF_DATA_ZERO, 100, 20, 60);
    fx_add(&f, &s);

    const int last = fx_tensor(&f, S16, NHWC, 5, 5, 70);
    s = fx_step(&f, EFF_STEP_PW, gated, NONE, NONE, last);
    fx_act(&f, &s, EFF_ACT_RELU);
    fx_weights(&f, &s, 100, 1, 40, 60);
    fx_add(&f, &s);

    const int features = fx_tensor(&f, S16, VECTOR, 1, 1, 70);
    s = fx_step(&f, EFF_STEP_POOL, last, NONE, NONE, features);
    fx_add(&f, &s);

    fx_head(&f, features, 8, 1e-6f);
    *out = f.plan;
}

/* Large enough that threads share pools and pixels: stem -> quant -> pw -> pool -> head. */
static inline void fx_wide(EffPlan *out, uint64_t seed)
{
    enum { NONE = EFF_PLAN_NONE, CLASSES = 5 };
    Fixture f;
    fx_begin(&f, "fixture-wide", seed, 96, CLASSES);
    const int stem = fx_tensor(&f, EFF_TENSOR_S16, EFF_LAYOUT_NHWC, 48, 48, 24);
    EffPlanStep s = fx_step(&f, EFF_STEP_STEM, 0, NONE, NONE, stem);
    s.kernel = 3;
    s.stride = 2;
    s.pad_top = s.pad_left = 1;
    fx_act(&f, &s, EFF_ACT_INTERP);
    fx_weights(&f, &s, 27, 4, 73, 128);
    fx_add(&f, &s);

    const int stem_u8 = fx_tensor(&f, EFF_TENSOR_U8, EFF_LAYOUT_NHWC, 48, 48, 24);
    s = fx_step(&f, EFF_STEP_QUANT, stem, NONE, stem_u8, NONE);
    fx_fill16(&f, &s, EFF_DATA_OMULT, 24, 500, 900);
    fx_fill16(&f, &s, EFF_DATA_ZERO, 24, 20, 60);
    fx_add(&f, &s);

    const int pw = fx_tensor(&f, EFF_TENSOR_S16, EFF_LAYOUT_NHWC, 48, 48, 200);
    s = fx_step(&f, EFF_STEP_PW, stem_u8, NONE, NONE, pw);
    s.out_kind = EFF_OUT_S16;
    fx_weights(&f, &s, 24, 1, 60, 100);
    fx_add(&f, &s);

    const int features = fx_tensor(&f, EFF_TENSOR_S16, EFF_LAYOUT_VECTOR, 1, 1, 200);
    s = fx_step(&f, EFF_STEP_POOL, pw, NONE, NONE, features);
    s.frac_bits = 1;
    fx_add(&f, &s);

    fx_head(&f, features, 16, 1e-7f);
    *out = f.plan;
}

/* A pointwise layer in the given forms, which may be EFF_PLAN_NONE; EFF_ACT_NONE: a clamp where `s16` is none. */
static inline void fx_pw(Fixture *f, int in, int residual, int u8, int s16, EffActKind act)
{
    EffPlanStep s = fx_step(f, EFF_STEP_PW, in, residual, u8, s16);
    if (act != EFF_ACT_NONE)
        fx_act(f, &s, act);
    else if (s16 != EFF_PLAN_NONE)
        s.out_kind = EFF_OUT_S16;
    fx_weights(f, &s, s.in_ch, 1, 50, 100);
    fx_add(f, &s);
}

static inline void fx_dw(Fixture *f, int in, int u8, int s16, int kernel, int stride, EffActKind act)
{
    EffPlanStep s = fx_step(f, EFF_STEP_DW, in, EFF_PLAN_NONE, u8, s16);
    s.kernel = kernel;
    s.stride = stride;
    s.pad_top = s.pad_left = (kernel - 1) / 2;
    if (act != EFF_ACT_NONE)
        fx_act(f, &s, act);
    fx_weights(f, &s, kernel * kernel, 1, 50, 100);
    fx_add(f, &s);
}

/* Pool, squeeze and excite of an s16 map; returns the gate. */
static inline int fx_gate(Fixture *f, int map)
{
    enum { NONE = EFF_PLAN_NONE };
    const int n = f->plan.tensors[map].c;
    const int mean = fx_tensor(f, EFF_TENSOR_S16, EFF_LAYOUT_VECTOR, 1, 1, n);
    EffPlanStep s = fx_step(f, EFF_STEP_POOL, map, NONE, NONE, mean);
    s.frac_bits = 2;
    fx_add(f, &s);
    const int squeezed = fx_tensor(f, EFF_TENSOR_S16, EFF_LAYOUT_VECTOR, 1, 1, 6);
    s = fx_step(f, EFF_STEP_FC, mean, NONE, NONE, squeezed);
    fx_act(f, &s, EFF_ACT_INTERP);
    fx_weights(f, &s, n, 1, 6000, 0);
    fx_add(f, &s);
    const int gate = fx_tensor(f, EFF_TENSOR_S16, EFF_LAYOUT_VECTOR, 1, 1, n);
    s = fx_step(f, EFF_STEP_FC, squeezed, NONE, NONE, gate);
    s.out_kind = EFF_OUT_S16;
    s.wgt_bits = 16;
    EffAct act;
    int16_t knots[2 * EFF_KNOTS];
    eff_act_build_interp(&act, knots, knots + EFF_KNOTS, EFF_FN_SIGMOID, 11, 16000);
    fx_data(f, &s, EFF_DATA_SIGMOID, knots, sizeof knots);
    s.sigmoid_h = act.h;
    fx_weights(f, &s, 6, 1, 4000, 0);
    fx_add(f, &s);
    return gate;
}

/* An s16 map times its gate; returns the gated u8 map. */
static inline int fx_gated(Fixture *f, int map)
{
    enum { NONE = EFF_PLAN_NONE };
    const int n = f->plan.tensors[map].c, h = f->plan.tensors[map].h;
    const int gate = fx_gate(f, map);
    const int gated = fx_tensor(f, EFF_TENSOR_U8, EFF_LAYOUT_NHWC, h, h, n);
    EffPlanStep s = fx_step(f, EFF_STEP_QUANT, map, gate, gated, NONE);
    s.post_shift = 2;
    fx_fill16(f, &s, EFF_DATA_OMULT, n, 300, 500);
    fx_fill16(f, &s, EFF_DATA_ZERO, n, 20, 60);
    fx_add(f, &s);
    return gated;
}

/*
 * Blocks as the networks have them, on maps large enough for several strips, segments and blocks of channels, and every
 * form of group: stem, dw, project; expand, dw, project and residual; row quads, dw; expand, dw, pool, gate, project;
 * a 7x7 window; a map that is averaged.
 */
static inline void fx_blocks_of(EffPlan *out, uint64_t seed, int size)
{
    enum { NONE = EFF_PLAN_NONE, CLASSES = 7 };
    const EffTensorType U8 = EFF_TENSOR_U8, S16 = EFF_TENSOR_S16;
    const EffLayout NHWC = EFF_LAYOUT_NHWC, QUADS = EFF_LAYOUT_QUADS;
    const int large = (size + 1) / 2, middle = (large + 1) / 2, small = (middle + 1) / 2;
    Fixture f;
    fx_begin(&f, "fixture-blocks", seed, size, CLASSES);

    const int stem = fx_tensor(&f, U8, QUADS, large, large, 16);
    EffPlanStep s = fx_step(&f, EFF_STEP_STEM, 0, NONE, stem, NONE);
    s.kernel = 3;
    s.stride = 2;
    s.pad_top = s.pad_left = 1;
    int cases[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL];
    const int n_cases = eff_stem_cases(cases, 3, 2, 1, size, large);
    fx_weights(&f, &s, 27, n_cases * n_cases, 73, 128);
    fx_add(&f, &s);
    const int dw1 = fx_tensor(&f, U8, NHWC, large, large, 16);
    fx_dw(&f, stem, dw1, NONE, 3, 1, EFF_ACT_NONE);
    const int a8 = fx_tensor(&f, U8, NHWC, large, large, 24), a = fx_tensor(&f, S16, NHWC, large, large, 24);
    fx_pw(&f, dw1, NONE, a8, a, EFF_ACT_NONE);

    const int expand2 = fx_tensor(&f, U8, QUADS, large, large, 144), dw2 = fx_tensor(&f, U8, NHWC, large, large, 144);
    const int b8 = fx_tensor(&f, U8, NHWC, large, large, 24), b = fx_tensor(&f, S16, NHWC, large, large, 24);
    fx_pw(&f, a8, NONE, expand2, NONE, EFF_ACT_NONE);
    fx_dw(&f, expand2, dw2, NONE, 5, 1, EFF_ACT_STAIR);
    fx_pw(&f, dw2, a, b8, b, EFF_ACT_NONE);

    const int quads = fx_tensor(&f, U8, QUADS, large, large, 24), dw3 = fx_tensor(&f, U8, NHWC, large, large, 24);
    s = fx_step(&f, EFF_STEP_QUADS, b8, NONE, quads, NONE);
    fx_fill16(&f, &s, EFF_DATA_ZERO, 24, 0, 255);
    fx_add(&f, &s);
    fx_dw(&f, quads, dw3, NONE, 7, 1, EFF_ACT_NONE);

    const int expand4 = fx_tensor(&f, U8, QUADS, large, large, 112),
              dw4 = fx_tensor(&f, S16, NHWC, middle, middle, 112);
    const int c8 = fx_tensor(&f, U8, NHWC, middle, middle, 40), c = fx_tensor(&f, S16, NHWC, middle, middle, 40);
    fx_pw(&f, dw3, NONE, expand4, NONE, EFF_ACT_INTERP);
    fx_dw(&f, expand4, NONE, dw4, 5, 2, EFF_ACT_INTERP);
    fx_pw(&f, fx_gated(&f, dw4), NONE, c8, c, EFF_ACT_NONE);

    const int expand5 = fx_tensor(&f, U8, QUADS, middle, middle, 240),
              dw5 = fx_tensor(&f, S16, NHWC, middle, middle, 240);
    const int d8 = fx_tensor(&f, U8, NHWC, middle, middle, 40), d = fx_tensor(&f, S16, NHWC, middle, middle, 40);
    fx_pw(&f, c8, NONE, expand5, NONE, EFF_ACT_STAIR);
    fx_dw(&f, expand5, NONE, dw5, 3, 1, EFF_ACT_STAIR);
    fx_pw(&f, fx_gated(&f, dw5), c, d8, d, EFF_ACT_NONE);

    const int expand6 = fx_tensor(&f, U8, QUADS, middle, middle, 72), dw6 = fx_tensor(&f, U8, NHWC, small, small, 72);
    const int e = fx_tensor(&f, U8, NHWC, small, small, 40);
    fx_pw(&f, d8, NONE, expand6, NONE, EFF_ACT_NONE);
    fx_dw(&f, expand6, dw6, NONE, 3, 2, EFF_ACT_NONE);
    fx_pw(&f, dw6, NONE, e, NONE, EFF_ACT_NONE);

    const int map = fx_tensor(&f, U8, NHWC, small, small, 200);
    const int features = fx_tensor(&f, S16, EFF_LAYOUT_VECTOR, 1, 1, 200);
    fx_pw(&f, e, NONE, map, NONE, EFF_ACT_NONE);
    s = fx_step(&f, EFF_STEP_POOL, map, NONE, NONE, features);
    s.frac_bits = 7;
    fx_add(&f, &s);
    fx_head(&f, features, 16, 1e-7f);
    *out = f.plan;
}

static inline void fx_blocks(EffPlan *out, uint64_t seed)
{
    fx_blocks_of(out, seed, 61);
}

/* A hundredth of the work. */
static inline void fx_small_blocks(EffPlan *out, uint64_t seed)
{
    fx_blocks_of(out, seed, 9);
}

/* Of a convolution with 16-bit inputs, multiplied byte by byte or in float; its sums come out near 2^13 in t. */
static inline void fx_wide_weights(Fixture *f, EffPlanStep *s, int n_taps)
{
    const int n = s->out_ch;
    float scale[64];
    if (!eff_step_is_float_node(s->op)) {
        fx_weights(f, s, n_taps, 1, 32, 128);
        return;
    }
    const float one = s->fact != EFF_ACTIVATION_NONE ? 2000 : 1; /* an activation bends within a few units */
    fx_fill_f32(f, s, EFF_DATA_FWGT, (size_t)(n * n_taps), 1 / (one * sqrtf((float)n_taps)));
    fx_fill_f32(f, s, EFF_DATA_FBIAS, (size_t)n, 1000 / one);
    for (int o = 0; o < n; o++)
        scale[o] = one * (float)fx_range(f, 700, 1900) / 1000;
    fx_data(f, s, EFF_DATA_SCALE, scale, (size_t)n * sizeof *scale);
    fx_multipliers(f, s);
}

/*
 * Steps with 16-bit inputs: stem -> dw -> (pool, squeeze, excite) gate -> pw to both forms -> pw with residual -> dw to
 * a clamp -> pw of 8 bits -> pool -> head.
 */
static inline void fx_wide_of(EffPlan *out, uint64_t seed, const char *name, EffStepOp pw_op, EffStepOp dw_op)
{
    enum { NONE = EFF_PLAN_NONE, CLASSES = 6 };
    const EffTensorType U8 = EFF_TENSOR_U8, S16 = EFF_TENSOR_S16;
    const EffLayout NHWC = EFF_LAYOUT_NHWC, VECTOR = EFF_LAYOUT_VECTOR;
    Fixture f;
    fx_begin(&f, name, seed, 20, CLASSES);
    const int stem = fx_tensor(&f, S16, NHWC, 10, 10, 12);
    EffPlanStep s = fx_step(&f, EFF_STEP_STEM, 0, NONE, NONE, stem);
    s.kernel = 3;
    s.stride = 2;
    s.pad_top = s.pad_left = 1;
    s.out_kind = EFF_OUT_S16;
    int cases[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL];
    const int n_cases = eff_stem_cases(cases, 3, 2, 1, 20, 10);
    fx_weights(&f, &s, 27, n_cases * n_cases, 73, 128);
    fx_add(&f, &s);

    const int dw = fx_tensor(&f, S16, NHWC, 5, 5, 12);
    s = fx_step(&f, dw_op, stem, NONE, NONE, dw);
    s.kernel = 5;
    s.stride = 2;
    s.pad_top = s.pad_left = 2;
    fx_act(&f, &s, EFF_ACT_INTERP);
    fx_wide_weights(&f, &s, 25);
    fx_add(&f, &s);

    const int gate = fx_gate(&f, dw), gated = fx_tensor(&f, S16, NHWC, 5, 5, 12);
    s = fx_step(&f, EFF_STEP_GATE, dw, gate, NONE, gated);
    s.post_shift = 1;
    fx_add(&f, &s);

    const int pw = fx_tensor(&f, S16, NHWC, 5, 5, 20), pw_u8 = fx_tensor(&f, U8, NHWC, 5, 5, 20);
    s = fx_step(&f, pw_op, gated, NONE, pw_u8, pw);
    s.fact = eff_step_is_float_node(pw_op) ? EFF_ACTIVATION_SILU : EFF_ACTIVATION_NONE;
    s.out_kind = EFF_OUT_S16;
    fx_wide_weights(&f, &s, 12);
    fx_add(&f, &s);

    const int sum = fx_tensor(&f, S16, NHWC, 5, 5, 20);
    s = fx_step(&f, pw_op, pw, pw, NONE, sum);
    s.out_kind = EFF_OUT_S16;
    s.pre_shift = 1;
    fx_wide_weights(&f, &s, 20);
    fx_add(&f, &s);

    const int clamped = fx_tensor(&f, U8, NHWC, 5, 5, 20);
    s = fx_step(&f, dw_op, sum, NONE, clamped, NONE);
    s.fact = eff_step_is_float_node(dw_op) ? EFF_ACTIVATION_HSWISH : EFF_ACTIVATION_NONE;
    s.kernel = 3;
    s.pad_top = s.pad_left = 1;
    fx_wide_weights(&f, &s, 9);
    fx_add(&f, &s);

    const int map = fx_tensor(&f, U8, NHWC, 5, 5, 70), features = fx_tensor(&f, S16, VECTOR, 1, 1, 70);
    fx_pw(&f, clamped, NONE, map, NONE, EFF_ACT_NONE);
    s = fx_step(&f, EFF_STEP_POOL, map, NONE, NONE, features);
    s.frac_bits = 7;
    fx_add(&f, &s);

    fx_head(&f, features, 8, 1e-6f);
    *out = f.plan;
}

static inline void fx_int16(EffPlan *out, uint64_t seed)
{
    fx_wide_of(out, seed, "fixture-int16", EFF_STEP_PW16, EFF_STEP_DW16);
}

/* The same with float nodes. */
static inline void fx_nodes(EffPlan *out, uint64_t seed)
{
    fx_wide_of(out, seed, "fixture-nodes", EFF_STEP_PW_F32, EFF_STEP_DW_F32);
}

/* A float convolution onto a new tensor; returns it. */
static inline int fx_conv(Fixture *f, int in, int n_out, int kernel, int stride, int groups, EffActivation act,
                          bool has_bias)
{
    const EffPlanTensor *t = &f->plan.tensors[in];
    const int pad = (kernel - 1) / 2, n_in = t->c / groups, h = (t->h + 2 * pad - kernel) / stride + 1;
    const int to = fx_tensor(f, EFF_TENSOR_F32, EFF_LAYOUT_IMAGE, h, h, n_out);
    EffPlanStep s = fx_step(f, EFF_STEP_F32_CONV, in, EFF_PLAN_NONE, to, EFF_PLAN_NONE);
    s.kernel = kernel;
    s.stride = stride;
    s.pad_top = s.pad_left = pad;
    s.groups = groups;
    s.fact = act;
    const int taps = kernel * kernel * n_in;
    fx_fill_f32(f, &s, EFF_DATA_FWGT, (size_t)(taps * n_out), 1 / sqrtf((float)taps));
    if (has_bias)
        fx_fill_f32(f, &s, EFF_DATA_FBIAS, (size_t)n_out, 0.3f);
    fx_add(f, &s);
    return to;
}

static inline int fx_float_op(Fixture *f, EffStepOp op, int a, int b, EffActivation act)
{
    const EffPlanTensor *t = &f->plan.tensors[a];
    const int h = op == EFF_STEP_F32_POOL ? 1 : t->h;
    const int to = fx_tensor(f, EFF_TENSOR_F32, EFF_LAYOUT_IMAGE, h, h, t->c);
    EffPlanStep s = fx_step(f, op, a, b, to, EFF_PLAN_NONE);
    s.fact = act;
    fx_add(f, &s);
    return to;
}

static inline void fx_f32(EffPlan *out, uint64_t seed)
{
    enum { NONE = EFF_PLAN_NONE, CLASSES = 9 };
    Fixture f;
    fx_begin(&f, "fixture-f32", seed, 18, CLASSES);
    const int input = fx_float_op(&f, EFF_STEP_F32_INPUT, 0, NONE, EFF_ACTIVATION_NONE);
    const int stem = fx_conv(&f, input, 10, 3, 2, 1, EFF_ACTIVATION_SILU, true);
    const int dw = fx_conv(&f, stem, 10, 5, 1, 10, EFF_ACTIVATION_RELU6, true);
    const int pw = fx_conv(&f, dw, 10, 1, 1, 1, EFF_ACTIVATION_NONE, false);
    const int sum = fx_float_op(&f, EFF_STEP_F32_ADD, pw, stem, EFF_ACTIVATION_NONE);
    const int mean = fx_float_op(&f, EFF_STEP_F32_POOL, sum, NONE, EFF_ACTIVATION_NONE);
    const int gate = fx_conv(&f, mean, 10, 1, 1, 1, EFF_ACTIVATION_SIGMOID, true);
    const int gated = fx_float_op(&f, EFF_STEP_F32_MUL, sum, gate, EFF_ACTIVATION_NONE);
    const int act = fx_float_op(&f, EFF_STEP_F32_ACT, gated, NONE, EFF_ACTIVATION_HSWISH);
    const int strided = fx_conv(&f, act, 70, 1, 2, 1, EFF_ACTIVATION_RELU, true);
    const int features = fx_float_op(&f, EFF_STEP_F32_POOL, strided, NONE, EFF_ACTIVATION_NONE);
    const int logits = fx_conv(&f, features, CLASSES, 1, 1, 1, EFF_ACTIVATION_NONE, true);
    fx_end(&f, logits);
    *out = f.plan;
}

/* A pool over windows, `before` rows and columns of padding above and to the left, onto h x h. */
static inline int fx_window(Fixture *f, EffStepOp op, int in, int kernel, int stride, int before, int h)
{
    const int to = fx_tensor(f, EFF_TENSOR_F32, EFF_LAYOUT_IMAGE, h, h, f->plan.tensors[in].c);
    EffPlanStep s = fx_step(f, op, in, EFF_PLAN_NONE, to, EFF_PLAN_NONE);
    s.kernel = kernel;
    s.stride = stride;
    s.pad_top = s.pad_left = before;
    fx_add(f, &s);
    return to;
}

/* Pools: of one channel and of many, with windows that lie in the map, hang over both ends, and leave rows out. */
enum { FX_MAXPOOL = 2, FX_AVGPOOL = 3 }; /* steps */
static inline void fx_pools(EffPlan *out, uint64_t seed)
{
    enum { NONE = EFF_PLAN_NONE, CLASSES = 5 };
    Fixture f;
    fx_begin(&f, "fixture-pools", seed, 19, CLASSES);
    const int input = fx_float_op(&f, EFF_STEP_F32_INPUT, 0, NONE, EFF_ACTIVATION_NONE);
    const int stem = fx_conv(&f, input, 37, 3, 1, 1, EFF_ACTIVATION_RELU, true);
    const int max = fx_window(&f, EFF_STEP_F32_MAXPOOL, stem, 3, 2, 1, 10);
    const int mean = fx_window(&f, EFF_STEP_F32_AVGPOOL, max, 3, 1, 1, 10);
    const int one = fx_conv(&f, mean, 1, 1, 1, 1, EFF_ACTIVATION_NONE, false);
    const int rest = fx_window(&f, EFF_STEP_F32_MAXPOOL, one, 2, 3, 0, 3); /* the last row and column in no window */
    const int over = fx_window(&f, EFF_STEP_F32_AVGPOOL, rest, 4, 2, 3, 3);
    const int features = fx_float_op(&f, EFF_STEP_F32_POOL, over, NONE, EFF_ACTIVATION_NONE);
    const int logits = fx_conv(&f, features, CLASSES, 1, 1, 1, EFF_ACTIVATION_NONE, true);
    fx_end(&f, logits);
    *out = f.plan;
}

/* Seeded pixels for a plan: [size][size][3]; free(). */
static inline uint8_t *fx_pixels(const EffPlan *plan, uint64_t seed)
{
    EffRng rng;
    eff_rng_init(&rng, seed);
    const size_t n = (size_t)plan->pre.size * (size_t)plan->pre.size * 3;
    uint8_t *pixels = malloc(n);
    assert(pixels != NULL);
    for (size_t i = 0; i < n; i++)
        pixels[i] = (uint8_t)eff_rng_next(&rng);
    return pixels;
}

/* A model of the plan that `make` draws; cpu as in eff_model_from_plan(). eff_model_close(). */
static inline EffModel *fx_model(void (*make)(EffPlan *, uint64_t), uint64_t seed, const char *cpu)
{
    EffPlan plan;
    EffModel *m = NULL;
    make(&plan, seed);
    const EffStatus st = eff_model_from_plan(&m, &plan, cpu);
    if (st != EFF_OK)
        fprintf(stderr, "%s\n", eff_last_message());
    assert(st == EFF_OK && plan.steps == NULL); /* taken over */
    return m;
}

#endif
