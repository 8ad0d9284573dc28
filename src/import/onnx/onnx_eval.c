/* SPDX-License-Identifier: Apache-2.0 */
/* Finding an operator's function, and what those functions share. */
#include "import/onnx/onnx_eval.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>

static const EffOnnxOp *find(EffWire name)
{
    const EffOnnxOp *const lists[] = {eff_onnx_shape_ops, eff_onnx_math_ops, eff_onnx_nn_ops};
    for (size_t i = 0; i < EFF_COUNT(lists); i++) {
        for (const EffOnnxOp *op = lists[i]; op->name != NULL; op++) {
            if (eff_wire_is(name, op->name))
                return op;
        }
    }
    return NULL;
}

bool eff_onnx_knows(EffWire op)
{
    return find(op) != NULL;
}

EffStatus eff_onnx_misfit(const char *what)
{
    return eff_fail(EFF_ERR_FORMAT, "%s; export the model again", what);
}

EffStatus eff_onnx_spend(EffOnnxCall *c, int64_t n)
{
    if (n > c->budget->work)
        return eff_fail(EFF_ERR_LIMIT, "constants that take too much to compute; simplify the model first (onnxsim)");
    c->budget->work -= n;
    return EFF_OK;
}

EffStatus eff_onnx_result(EffOnnxCall *c, EffOnnxType type, int rank, const int64_t *dims)
{
    c->out->type = type;
    EffStatus st = eff_onnx_set_dims(c->out, rank, dims);
    if (st != EFF_OK || !c->compute)
        return st;
    if ((int64_t)c->out->n > c->budget->elements)
        return eff_fail(EFF_ERR_LIMIT, "constants of too many elements; simplify the model first (onnxsim)");
    c->budget->elements -= (int64_t)c->out->n;
    return eff_onnx_alloc(c->out);
}

bool eff_onnx_axis(int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank)
        return false;
    *out = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

EffStatus eff_onnx_list(const EffOnnxCall *c, const char *attribute, int i, int64_t *out, int max, int *n)
{
    *n = -1;
    if (attribute != NULL && eff_onnx_has(c->node, attribute)) {
        *n = eff_onnx_ints(c->node, attribute, out, max);
        return *n >= 0 ? EFF_OK : eff_onnx_misfit("a list of integers that is too long");
    }
    const EffOnnxTensor *t = eff_onnx_arg(c, i);
    if (t == NULL)
        return EFF_OK;
    if (t->data == NULL)
        return eff_fail(EFF_ERR_UNSUPPORTED, "input %d depends on the picture; only constants will do there", i);
    if (t->n > (size_t)max)
        return eff_onnx_misfit("a list of integers that is too long");
    *n = (int)t->n;
    for (size_t k = 0; k < t->n; k++)
        out[k] = eff_onnx_get_int(t, k);
    return EFF_OK;
}

void eff_onnx_strides(const EffOnnxTensor *t, int rank, size_t *strides)
{
    size_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        const int own = i - (rank - t->rank);
        strides[i] = own >= 0 && t->dims[own] != 1 ? stride : 0;
        if (own >= 0)
            stride *= (size_t)t->dims[own];
    }
}

bool eff_onnx_step(int rank, const int64_t *dims, int64_t *index)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < dims[i])
            return true;
        index[i] = 0;
    }
    return false;
}

EffStatus eff_onnx_eval(EffOnnxCall *c)
{
    const EffOnnxOp *op = find(c->node->op);
    if (op == NULL)
        return eff_fail(EFF_ERR_UNSUPPORTED, "an operator that is not known; doc/onnx.md lists those that are");
    static const char *const changed[] = {"Add",    "Sub", "Mul", "Div", "Pow", "Equal", "Gemm", "BatchNormalization",
                                          "Dropout"};
    for (size_t i = 0; c->opset < 7 && i < EFF_COUNT(changed); i++) {
        if (eff_wire_is(c->node->op, changed[i]))
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "in its form before operator set 7; export the model with opset_version=11");
    }
    *c->out = (EffOnnxTensor){0};
    c->compute = true;
    for (int i = 0; i < op->min_inputs; i++) {
        if (eff_onnx_arg(c, i) == NULL)
            return eff_onnx_misfit("an input is missing");
    }
    for (int i = 0; i < c->n_in; i++)
        c->compute = c->compute && (c->in[i] == NULL || c->in[i]->data != NULL);
    const EffStatus st = op->run(c);
    if (st != EFF_OK)
        eff_onnx_free(c->out);
    return st;
}
