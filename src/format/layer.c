/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the kernels' operators from the canonical data of a plan. */
#include "format/layer.h"
#include "base/mem.h"

#include <string.h>

/* ---- Memory and parameters ---- */

static void *take(EffLayerMem *mem, size_t n_bytes)
{
    void *p = mem->base != NULL ? mem->base + mem->used : NULL;
    mem->used += eff_align_up(n_bytes);
    return p;
}

/* The data of a slot followed by zeros up to n_bytes; NULL where the step has none. */
static const void *padded(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, EffDataSlot slot, size_t n_bytes)
{
    const void *src = eff_plan_data(plan, s, slot);
    if (src == NULL)
        return NULL;
    void *dst = take(mem, n_bytes);
    if (dst != NULL)
        memcpy(dst, src, (size_t)s->data[slot].n_bytes);
    return dst;
}

static const int16_t *params16(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, EffDataSlot slot)
{
    return padded(mem, plan, s, slot, (size_t)eff_param_pad(s->out_ch) * sizeof(int16_t));
}

static const int32_t *params32(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, EffDataSlot slot)
{
    return padded(mem, plan, s, slot, (size_t)eff_param_pad(s->out_ch) * sizeof(int32_t));
}

static const void *table(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, EffDataSlot slot)
{
    return padded(mem, plan, s, slot, (size_t)s->data[slot].n_bytes);
}

static EffEpilogue epilogue(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s)
{
    return (EffEpilogue){
        .kind = (EffOutKind)s->out_kind,
        .pre_shift = s->pre_shift,
        .post_shift = s->post_shift,
        .bias = s->op == EFF_STEP_STEM ? NULL : params32(mem, plan, s, EFF_DATA_BIAS),
        .shift = params32(mem, plan, s, EFF_DATA_SHIFT),
        .mult = params16(mem, plan, s, EFF_DATA_MULT),
        .top = params16(mem, plan, s, EFF_DATA_TOP),
        .zero = params16(mem, plan, s, EFF_DATA_ZERO),
        .omult = params16(mem, plan, s, EFF_DATA_OMULT),
        .act = {.kind = (EffActKind)s->act,
                .h = s->act_h,
                .g_shift = s->act_g_shift,
                .stair = table(mem, plan, s, EFF_DATA_STAIR),
                .knot = table(mem, plan, s, EFF_DATA_KNOT),
                .slope = table(mem, plan, s, EFF_DATA_SLOPE)},
    };
}

/* ---- Int8 layers ---- */

static EffPw pointwise(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, int in_ch, const EffKernels *k)
{
    EffPw pw = {.in_ch = in_ch, .out_ch = s->out_ch, .epi = epilogue(mem, plan, s)};
    if (k != NULL) {
        void *packed = take(mem, k->pw_u8s8.packed_bytes(in_ch, s->out_ch));
        if (packed != NULL)
            k->pw_u8s8.pack(packed, eff_plan_data(plan, s, EFF_DATA_WGT), in_ch, s->out_ch);
        pw.packed = packed;
    }
    return pw;
}

int eff_stem_cases(int *cases, int kernel, int stride, int pad, int size, int out)
{
    int n = 0;
    for (int i = 0; i < out; i++) { /* an insertion into an ascending list without repetitions */
        const int c = eff_stem_case(eff_stem_taps(i, kernel, stride, pad, size), kernel);
        int at = 0;
        while (at < n && cases[at] < c)
            at++;
        if (at < n && cases[at] == c)
            continue;
        memmove(cases + at + 1, cases + at, (size_t)(n - at) * sizeof *cases);
        cases[at] = c;
        n++;
    }
    return n;
}

/* Row and column cases of a stem step. */
static void stem_step_cases(const EffPlan *plan, const EffPlanStep *s, int *rows, int *n_rows, int *cols, int *n_cols)
{
    const EffPlanTensor *in = &plan->tensors[s->in[0]], *out = eff_step_output(plan, s);
    *n_rows = eff_stem_cases(rows, s->kernel, s->stride, s->pad_top, in->h, out->h);
    *n_cols = eff_stem_cases(cols, s->kernel, s->stride, s->pad_left, in->w, out->w);
}

int eff_stem_n_cases(const EffPlan *plan, const EffPlanStep *s)
{
    int rows[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL], cols[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL];
    int n_rows, n_cols;
    stem_step_cases(plan, s, rows, &n_rows, cols, &n_cols);
    return n_rows * n_cols;
}

static EffStem stem(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, const EffKernels *k)
{
    const EffPlanTensor *in = &plan->tensors[s->in[0]], *out = eff_step_output(plan, s);
    const size_t n_cases = (size_t)(s->kernel * s->kernel), n = (size_t)s->out_ch;
    int rows[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL], cols[EFF_STEM_MAX_KERNEL * EFF_STEM_MAX_KERNEL];
    int n_rows, n_cols;
    stem_step_cases(plan, s, rows, &n_rows, cols, &n_cols);
    EffStem op = {.pw = pointwise(mem, plan, s, EFF_STEM_CH * s->kernel * s->kernel, k),
                  .kernel = s->kernel,
                  .stride = s->stride,
                  .rows = in->h,
                  .cols = in->w,
                  .pad_top = s->pad_top,
                  .pad_left = s->pad_left,
                  .out_rows = out->h,
                  .out_cols = out->w};
    const int32_t **bias = take(mem, n_cases * n_cases * sizeof *bias);
    int32_t *sets = take(mem, (size_t)(n_rows * n_cols) * (size_t)eff_param_pad(s->out_ch) * sizeof *sets);
    if (sets == NULL)
        return op;
    const int32_t *src = eff_plan_data(plan, s, EFF_DATA_BIAS);
    for (int r = 0; r < n_rows; r++) {
        for (int c = 0; c < n_cols; c++, src += n, sets += eff_param_pad(s->out_ch)) {
            memcpy(sets, src, n * sizeof *sets);
            bias[(size_t)rows[r] * n_cases + (size_t)cols[c]] = sets;
            op.pw.epi.bias = sets;
        }
    }
    op.bias = bias;
    return op;
}

static EffDw depthwise(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, const EffKernels *k)
{
    EffDw dw = {.channels = s->out_ch, .kernel = s->kernel, .stride = s->stride, .epi = epilogue(mem, plan, s)};
    if (k != NULL) {
        void *packed = take(mem, k->dw_u8s8.packed_bytes(s->out_ch, s->kernel, s->stride));
        if (packed != NULL)
            k->dw_u8s8.pack(packed, eff_plan_data(plan, s, EFF_DATA_WGT), s->out_ch, s->kernel, s->stride);
        dw.packed = packed;
    }
    return dw;
}

/* Weights as the kernels want them: tap by tap, a column of zeros behind each row of the window. */
static EffDwS16 depthwise_s16(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, const EffKernels *k)
{
    const EffPlanTensor *in = &plan->tensors[s->in[0]];
    const size_t kernel = (size_t)s->kernel, taps = kernel * kernel, pad = (size_t)eff_ch_pad(s->out_ch);
    EffDwS16 op = {.in_h = in->h,
                   .in_w = in->w,
                   .out_w = eff_step_output(plan, s)->w,
                   .channels = (int)pad,
                   .kernel = s->kernel,
                   .stride = s->stride,
                   .pad_top = s->pad_top,
                   .pad_left = s->pad_left};
    const int8_t *src = eff_plan_data(plan, s, EFF_DATA_WGT);
    int16_t *wgt = k != NULL ? take(mem, kernel * (kernel + 1) * pad * sizeof *wgt) : NULL;
    for (size_t i = 0; wgt != NULL && i < taps * (size_t)s->out_ch; i++)
        wgt[(i % taps / kernel * (kernel + 1) + i % kernel) * pad + i / taps] = src[i];
    op.wgt = wgt;
    return op;
}

/* A file's bias is that of the bytes 256 (hi - 128) + lo of an input: without the -128. */
static const int32_t *signed_bias(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s)
{
    const size_t taps = (size_t)(s->kernel * s->kernel);
    const int8_t *wgt = eff_plan_data(plan, s, EFF_DATA_WGT);
    const int32_t *src = eff_plan_data(plan, s, EFF_DATA_BIAS);
    int32_t *bias = take(mem, (size_t)eff_param_pad(s->out_ch) * sizeof *bias);
    for (size_t o = 0; bias != NULL && o < (size_t)s->out_ch; o++) {
        bias[o] = src[o];
        for (size_t i = 0; i < taps; i++)
            bias[o] += 128 * wgt[o * taps + i];
    }
    return bias;
}

static const int32_t *no_bias(EffLayerMem *mem, const EffPlanStep *s)
{
    return take(mem, (size_t)eff_param_pad(s->out_ch) * sizeof(int32_t));
}

static EffFc fully_connected(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, const EffKernels *k)
{
    EffFc op = {.in_ch = s->in_ch, .out_ch = s->out_ch, .wgt_bits = s->wgt_bits};
    if (k != NULL) {
        void *packed = take(mem, k->fc_s16.packed_bytes(s->in_ch, s->out_ch, s->wgt_bits));
        if (packed != NULL)
            k->fc_s16.pack(packed, eff_plan_data(plan, s, EFF_DATA_WGT), s->in_ch, s->out_ch, s->wgt_bits);
        op.packed = packed;
    }
    return op;
}

/* ---- Float layers ---- */

static EffConvF32 float_conv(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, const EffKernels *k)
{
    const EffPlanTensor *in = &plan->tensors[s->in[0]], *out = eff_step_output(plan, s);
    EffConvF32 op = {.in_h = in->h,
                     .in_w = in->w,
                     .in_ch = s->in_ch,
                     .out_h = out->h,
                     .out_w = out->w,
                     .out_ch = s->out_ch,
                     .kernel_h = s->kernel,
                     .kernel_w = s->kernel,
                     .stride = s->stride,
                     .pad_top = s->pad_top,
                     .pad_left = s->pad_left,
                     .groups = s->groups,
                     .bias = eff_plan_data(plan, s, EFF_DATA_FBIAS),
                     .act = (EffActivation)s->fact};
    float *wgt = k != NULL ? take(mem, eff_conv_f32_packed_count(&k->f32, &op) * sizeof *wgt) : NULL;
    if (wgt != NULL)
        eff_conv_f32_pack(&k->f32, wgt, &op, eff_plan_data(plan, s, EFF_DATA_FWGT));
    op.wgt = wgt;
    return op;
}

/* Channels are padded as activations are, weights of the padding are 0. */
static EffFloatNode float_node(EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, const EffKernels *k)
{
    EffFloatNode n = {.epi = epilogue(mem, plan, s),
                      .bias = padded(mem, plan, s, EFF_DATA_FBIAS, (size_t)eff_ch_pad(s->out_ch) * sizeof(float)),
                      .scale = eff_plan_data(plan, s, EFF_DATA_SCALE)};
    n.epi.bias = n.epi.shift = no_bias(mem, s);
    if (k == NULL)
        return n;
    const size_t taps = (size_t)(s->kernel * s->kernel), n_in = (size_t)s->in_ch, n_out = (size_t)s->out_ch;
    const size_t pad = (size_t)eff_ch_pad(s->out_ch);
    const float *src = eff_plan_data(plan, s, EFF_DATA_FWGT);
    const bool dw = s->op == EFF_STEP_DW_F32;
    float *wgt = take(mem, (dw ? taps * pad : k->f32.pw.packed_count(n_in, n_out)) * sizeof *wgt);
    if (wgt != NULL && !dw)
        k->f32.pw.pack(wgt, src, n_in, n_out);
    for (size_t i = 0; wgt != NULL && dw && i < taps * n_out; i++)
        wgt[i % taps * pad + i / taps] = src[i];
    n.wgt = wgt;
    return n;
}

/* ---- All ---- */

static uint64_t count_macs(const EffPlan *plan, const EffPlanStep *s)
{
    const EffPlanTensor *out = eff_step_output(plan, s);
    uint64_t n = (uint64_t)out->h * (uint64_t)out->w * (uint64_t)out->c;
    switch (s->op) {
    case EFF_STEP_STEM:
    case EFF_STEP_PW:
    case EFF_STEP_PW16:
    case EFF_STEP_PW_F32:
    case EFF_STEP_FC:
    case EFF_STEP_HEAD:
    case EFF_STEP_F32_CONV: n *= (uint64_t)s->in_ch / (uint64_t)s->groups; break;
    case EFF_STEP_DW:
    case EFF_STEP_DW16:
    case EFF_STEP_DW_F32: break;
    default: return 0;
    }
    return n * (uint64_t)(s->kernel * s->kernel);
}

uint64_t eff_step_work(const EffPlan *plan, const EffPlanStep *s)
{
    const EffPlanTensor *out = eff_step_output(plan, s);
    if (!eff_step_is_float_pool(s->op))
        return count_macs(plan, s);
    return (uint64_t)out->h * (uint64_t)out->w * (uint64_t)out->c * (uint64_t)(s->kernel * s->kernel);
}

static bool is_quads(const EffPlan *plan, int tensor)
{
    return tensor != EFF_PLAN_NONE && plan->tensors[tensor].layout == EFF_LAYOUT_QUADS;
}

void eff_layer_build(EffLayer *out, EffLayerMem *mem, const EffPlan *plan, const EffPlanStep *s, const int *readers,
                     const EffKernels *k)
{
    EffLayer l = {.macs = count_macs(plan, s)};
    if (eff_step_is_dw(s->op))
        eff_plan_quads(&l.quads, plan, s);
    else if (is_quads(plan, s->out[0]))
        eff_plan_quads(&l.quads, plan, &plan->steps[readers[s->out[0]]]);
    switch (s->op) {
    case EFF_STEP_STEM: l.stem = stem(mem, plan, s, k); break;
    case EFF_STEP_PW: l.pw = pointwise(mem, plan, s, s->in_ch, k); break;
    case EFF_STEP_DW: l.dw = depthwise(mem, plan, s, k); break;
    case EFF_STEP_PW16:
        l.pw = pointwise(mem, plan, s, s->in_ch, k);
        l.raw = l.pw;
        l.raw.epi = (EffEpilogue){.kind = EFF_OUT_S32, .bias = no_bias(mem, s)};
        break;
    case EFF_STEP_DW16:
        l.dw16.op = depthwise_s16(mem, plan, s, k);
        l.dw16.epi = epilogue(mem, plan, s);
        if (k != NULL)
            l.dw16.epi.bias = signed_bias(mem, plan, s);
        l.out_cols = eff_step_output(plan, s)->w;
        break;
    case EFF_STEP_PW_F32:
    case EFF_STEP_DW_F32:
        l.node = float_node(mem, plan, s, k);
        l.out_cols = eff_step_output(plan, s)->w;
        break;
    case EFF_STEP_POOL: {
        const EffPlanTensor *in = &plan->tensors[s->in[0]];
        l.pool_mult = eff_pool_mult((int64_t)in->h * in->w, s->frac_bits);
        break;
    }
    case EFF_STEP_FC: {
        l.fc.op = fully_connected(mem, plan, s, k);
        l.fc.epi = (EffFcEpilogue){.out_ch = s->out_ch, .epi = epilogue(mem, plan, s)};
        const int16_t *knots = table(mem, plan, s, EFF_DATA_SIGMOID);
        if (knots != NULL) {
            l.fc.sigmoid =
                (EffAct){.kind = EFF_ACT_INTERP, .h = s->sigmoid_h, .knot = knots, .slope = knots + EFF_KNOTS};
            l.fc.epi.sigmoid = &out->fc.sigmoid;
        }
        break;
    }
    case EFF_STEP_QUADS:
    case EFF_STEP_QUANT:
        l.quant = (EffQuant){.channels = s->out_ch,
                             .shift = s->post_shift,
                             .mult = params16(mem, plan, s, EFF_DATA_OMULT),
                             .zero = params16(mem, plan, s, EFF_DATA_ZERO)};
        break;
    case EFF_STEP_HEAD:
        l.fc.op = fully_connected(mem, plan, s, k);
        l.fc.scale = eff_plan_data(plan, s, EFF_DATA_SCALE);
        l.fc.bias = eff_plan_data(plan, s, EFF_DATA_FBIAS);
        break;
    case EFF_STEP_F32_CONV: l.f32 = float_conv(mem, plan, s, k); break;
    default: break; /* no data */
    }
    *out = l;
}

bool eff_layer_scratch(size_t *each, size_t *shared, const EffLayer *layer, const EffPlanStep *s)
{
    const size_t n = (size_t)eff_param_pad(s->out_ch > s->in_ch ? s->out_ch : s->in_ch);
    *each = *shared = 0;
    switch (s->op) {
    case EFF_STEP_STEM: *each = eff_stem_workspace_bytes(&layer->stem); break;
    case EFF_STEP_PW16:
        *each =
            EFF_WIDE_TILE * (2 * (size_t)eff_ch_pad(s->in_ch) + 2 * sizeof(int32_t) * (size_t)eff_ch_pad(s->out_ch));
        break;
    case EFF_STEP_DW16:
        if (!eff_mul_size(each, (size_t)layer->out_cols, 2 * sizeof(int32_t) * (size_t)eff_ch_pad(s->out_ch)))
            return false;
        break;
    case EFF_STEP_PW_F32:
        *each = EFF_WIDE_TILE * ((size_t)eff_ch_pad(s->in_ch) + 2 * (size_t)eff_ch_pad(s->out_ch)) * sizeof(float);
        break;
    case EFF_STEP_DW_F32:
        if (!eff_mul_size(shared, (size_t)layer->quads.rows, (size_t)layer->quads.cols) ||
            !eff_mul_size(shared, *shared, (size_t)eff_ch_pad(s->in_ch) * sizeof(float)) ||
            !eff_mul_size(each, (size_t)layer->out_cols, 2 * sizeof(float) * (size_t)eff_ch_pad(s->out_ch)))
            return false;
        break;
    case EFF_STEP_POOL: *each = n * (sizeof(int32_t) + sizeof(int64_t)); break;
    case EFF_STEP_FC:
    case EFF_STEP_HEAD: *shared = n * sizeof(int64_t); break;
    case EFF_STEP_QUANT: *shared = n * sizeof(int16_t); break;
    case EFF_STEP_F32_CONV:
        if (!eff_mul_size(each, eff_conv_f32_row_floats(&layer->f32), sizeof(float)))
            return false;
        break;
    default: break;
    }
    return *each <= EFF_PLAN_MAX_ARENA && *shared <= EFF_PLAN_MAX_ARENA;
}
