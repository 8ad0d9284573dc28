/* SPDX-License-Identifier: Apache-2.0 */
/* Of models that are quantized already: what rounds and clamps between their operators, as nodes that round. */
#include "base/status.h"
#include "import/onnx/onnx_lower_ops.h"

#include <float.h>
#include <math.h>

/* Append `n`, an EFF_OP_ROUND that has its table, or free it after a failure. */
static EffStatus append_round(EffOnnxLowerer *l, const EffOnnxNode *node, EffNode *n, int v, EffStatus st)
{
    const EffOnnxSpot s = l->spots[v];
    if (st != EFF_OK) {
        eff_node_free_params(n);
        return st;
    }
    return eff_onnx_append(l, node, n, l->g->values[s.value].shape, s.axis);
}

static EffNode round_of(const EffOnnxLowerer *l, int v)
{
    return (EffNode){.op = EFF_OP_ROUND, .n_inputs = 1, .in = {l->spots[v].value}};
}

EffStatus eff_onnx_lower_floor(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int v = eff_onnx_in(l->m, node, 0);
    EffNode n = round_of(l, v);
    const EffStatus st = eff_round_init(&n.round, EFF_ROUNDING_FLOOR, l->g->values[n.in[0]].shape.c);
    return append_round(l, node, &n, v, st);
}

/* Bounds a channel: either may be NULL. */
EffStatus eff_onnx_lower_clamp(EffOnnxLowerer *l, const EffOnnxNode *node, int v, const EffOnnxTensor *low,
                               const EffOnnxTensor *high)
{
    const EffOnnxTensor *x = &l->m->values[v].t, *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t;
    EffNode n = round_of(l, v);
    const int n_ch = l->g->values[n.in[0]].shape.c;
    if (y->n != x->n || y->rank != x->rank)
        return eff_fail(EFF_ERR_UNSUPPORTED, "bounds that are larger than what depends on the picture");
    EffStatus st = eff_round_init(&n.round, EFF_ROUNDING_NONE, n_ch);
    for (int c = 0; c < n_ch && st == EFF_OK; c++) {
        double a = -(double)FLT_MAX, b = (double)FLT_MAX;
        if ((low != NULL && !eff_onnx_per_channel(l, v, low, c, &a)) ||
            (high != NULL && !eff_onnx_per_channel(l, v, high, c, &b)))
            st = eff_fail(EFF_ERR_UNSUPPORTED, "bounds that differ from pixel to pixel; one number a channel is fine");
        else if (isnan(a) || isnan(b))
            st = eff_onnx_not_finite();
        eff_round_row(&n.round, EFF_ROUND_LOW)[c] = (float)fmax(a, -(double)FLT_MAX);
        eff_round_row(&n.round, EFF_ROUND_HIGH)[c] = (float)fmin(b, (double)FLT_MAX);
    }
    return append_round(l, node, &n, v, st);
}

/* QuantizeLinear: integers, as floats. DequantizeLinear: (q - zero) * scale. */
EffStatus eff_onnx_lower_quantize(EffOnnxLowerer *l, const EffOnnxNode *node, bool back)
{
    static const double least[] = {
        [EFF_ONNX_UINT8] = 0, [EFF_ONNX_INT8] = INT8_MIN, [EFF_ONNX_UINT16] = 0, [EFF_ONNX_INT16] = INT16_MIN};
    static const double most[] = {[EFF_ONNX_UINT8] = UINT8_MAX,
                                  [EFF_ONNX_INT8] = INT8_MAX,
                                  [EFF_ONNX_UINT16] = UINT16_MAX,
                                  [EFF_ONNX_INT16] = INT16_MAX};
    const int v = eff_onnx_in(l->m, node, 0), channel = l->spots[v].axis[2];
    const EffOnnxTensor *x = eff_onnx_operand(l, node, 0), *scale = eff_onnx_operand(l, node, 1),
                        *zero = eff_onnx_operand(l, node, 2);
    const EffOnnxType type = back ? x->type : l->m->values[eff_onnx_out(l->m, node, 0)].t.type;
    EffNode n = round_of(l, v);
    const int n_ch = l->g->values[n.in[0]].shape.c;
    int axis = -1;
    if (scale->data == NULL || (zero != NULL && zero->data == NULL))
        return eff_fail(EFF_ERR_UNSUPPORTED, "scales that depend on the picture; quantize the model statically");
    if (type < EFF_ONNX_UINT8 || type > EFF_ONNX_INT16)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%s activations; 8 and 16 bits are", eff_onnx_type_name((int)type));
    if (scale->n != 1 && (!eff_onnx_axis(eff_onnx_int(node, "axis", 1), x->rank, &axis) ||
                          (n_ch > 1 && axis != channel) || scale->n != (size_t)n_ch))
        return eff_fail(EFF_ERR_UNSUPPORTED, "scales along another axis than the channels");
    EffStatus st = eff_round_init(&n.round, back ? EFF_ROUNDING_NONE : EFF_ROUNDING_EVEN, n_ch);
    for (int c = 0; c < n_ch && st == EFF_OK; c++) {
        const size_t at = scale->n == 1 ? 0 : (size_t)c;
        const double z = zero != NULL ? (double)eff_onnx_get_int(zero, at) : 0;
        const float step = (float)eff_onnx_get(scale, at);
        if (!(step > 0) || !isfinite(step))
            st = eff_fail(EFF_ERR_FORMAT, "a scale of %g; positive ones are valid", (double)step);
        eff_round_row(&n.round, back ? EFF_ROUND_MUL : EFF_ROUND_DIV)[c] = step;
        eff_round_row(&n.round, EFF_ROUND_ADD)[c] = (float)(back ? -z : z);
        if (!back) {
            eff_round_row(&n.round, EFF_ROUND_LOW)[c] = (float)(least[type] - z);
            eff_round_row(&n.round, EFF_ROUND_HIGH)[c] = (float)(most[type] - z);
        }
    }
    return append_round(l, node, &n, v, st);
}
