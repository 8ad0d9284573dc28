/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that move elements and do not change them. */
#include "base/status.h"
#include "import/onnx/onnx_eval.h"

#include <string.h>

/* The same elements in another shape. */
static EffStatus reshaped(EffOnnxCall *c, int rank, const int64_t *dims)
{
    const EffOnnxTensor *x = c->in[0];
    c->compute = x->data != NULL;
    EffOnnxTensor probe = {0};
    EffStatus st = eff_onnx_set_dims(&probe, rank, dims);
    if (st == EFF_OK && probe.n != x->n)
        st = eff_onnx_misfit("a new shape with another number of elements");
    if (st == EFF_OK)
        st = eff_onnx_result(c, x->type, rank, dims);
    for (size_t i = 0; st == EFF_OK && c->compute && i < x->n; i++)
        eff_onnx_copy(c->out, i, x, i);
    return st;
}

static EffStatus op_identity(EffOnnxCall *c)
{
    return reshaped(c, c->in[0]->rank, c->in[0]->dims);
}

static EffStatus op_dropout(EffOnnxCall *c)
{
    const EffOnnxTensor *training = eff_onnx_arg(c, 2);
    if (c->node->n_outputs > 1 && eff_onnx_out(c->model, c->node, 1) >= 0 &&
        c->model->values[eff_onnx_out(c->model, c->node, 1)].n_consumers > 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "the mask of a Dropout; export the model in evaluation mode");
    if (training != NULL && training->n > 0 && (training->data == NULL || eff_onnx_get_int(training, 0) != 0))
        return eff_fail(EFF_ERR_UNSUPPORTED, "a Dropout in training; export the model in evaluation mode");
    return op_identity(c);
}

static EffStatus op_reshape(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t dims[EFF_MAX_RANK], known = 1;
    int n, open = -1;
    EffStatus st = eff_onnx_list(c, NULL, 1, dims, EFF_MAX_RANK, &n);
    if (st != EFF_OK || n < 0)
        return st != EFF_OK ? st : eff_onnx_misfit("no shape");
    const bool zero_stays = eff_onnx_int(c->node, "allowzero", 0) != 0;
    for (int i = 0; i < n; i++) {
        if (dims[i] == 0 && !zero_stays) {
            if (i >= x->rank)
                return eff_onnx_misfit("a 0 in the new shape without a dimension to copy");
            dims[i] = x->dims[i];
        }
        if (dims[i] == -1 && open < 0)
            open = i;
        else if (dims[i] < 0 || dims[i] > EFF_ONNX_MAX_ELEMENTS ||
                 (dims[i] > 0 && known > EFF_ONNX_MAX_ELEMENTS / dims[i]))
            return eff_onnx_misfit("a new shape that is none");
        else
            known *= dims[i];
    }
    if (open >= 0)
        dims[open] = known > 0 ? (int64_t)x->n / known : 0;
    return reshaped(c, n, dims);
}

static EffStatus op_flatten(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    int axis;
    int64_t given = eff_onnx_int(c->node, "axis", 1);
    if (given == x->rank)
        axis = x->rank;
    else if (!eff_onnx_axis(given, x->rank, &axis))
        return eff_onnx_misfit("an axis outside the tensor");
    int64_t dims[2] = {1, 1};
    for (int i = 0; i < x->rank; i++)
        dims[i >= axis] *= x->dims[i];
    return reshaped(c, 2, dims);
}

static EffStatus op_squeeze(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t axes[EFF_MAX_RANK], dims[EFF_MAX_RANK];
    bool drop[EFF_MAX_RANK] = {false};
    int n, rank = 0;
    const EffStatus st = eff_onnx_list(c, "axes", 1, axes, EFF_MAX_RANK, &n);
    if (st != EFF_OK)
        return st;
    for (int i = 0; i < n; i++) {
        int axis;
        if (!eff_onnx_axis(axes[i], x->rank, &axis) || x->dims[axis] != 1)
            return eff_onnx_misfit("an axis to drop that is not 1 long");
        drop[axis] = true;
    }
    for (int i = 0; i < x->rank; i++) {
        if (n < 0 ? x->dims[i] != 1 : !drop[i])
            dims[rank++] = x->dims[i];
    }
    return reshaped(c, rank, dims);
}

static EffStatus op_unsqueeze(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t axes[EFF_MAX_RANK], dims[EFF_MAX_RANK] = {0};
    int n;
    const EffStatus st = eff_onnx_list(c, "axes", 1, axes, EFF_MAX_RANK, &n);
    if (st != EFF_OK)
        return st;
    if (n < 0 || x->rank + n > EFF_MAX_RANK)
        return eff_onnx_misfit("axes that do not fit");
    for (int i = 0; i < n; i++) {
        int axis;
        if (!eff_onnx_axis(axes[i], x->rank + n, &axis) || dims[axis] == -1)
            return eff_onnx_misfit("an axis outside the tensor, or twice the same");
        dims[axis] = -1;
    }
    for (int i = 0, k = 0; i < x->rank + n; i++)
        dims[i] = dims[i] == -1 ? 1 : x->dims[k++];
    return reshaped(c, x->rank + n, dims);
}

static EffStatus op_transpose(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t perm[EFF_MAX_RANK], dims[EFF_MAX_RANK], index[EFF_MAX_RANK] = {0};
    size_t strides[EFF_MAX_RANK], from[EFF_MAX_RANK];
    unsigned seen = 0;
    int n = eff_onnx_ints(c->node, "perm", perm, EFF_MAX_RANK);
    for (int i = 0; n < 0 && i < x->rank; i++)
        perm[i] = x->rank - 1 - i;
    if (n >= 0 && n != x->rank)
        return eff_onnx_misfit("a permutation of another number of axes");
    size_t stride = 1;
    for (int i = x->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= (size_t)x->dims[i];
    }
    for (int i = 0; i < x->rank; i++) {
        if (perm[i] < 0 || perm[i] >= x->rank || (seen >> perm[i] & 1) != 0)
            return eff_onnx_misfit("a permutation that is none");
        seen |= 1u << perm[i];
        dims[i] = x->dims[perm[i]];
        from[i] = strides[perm[i]];
    }
    const EffStatus st = eff_onnx_result(c, x->type, x->rank, dims);
    for (size_t i = 0; st == EFF_OK && c->compute && i < x->n; i++) {
        size_t j = 0;
        for (int k = 0; k < x->rank; k++)
            j += (size_t)index[k] * from[k];
        eff_onnx_copy(c->out, i, x, j);
        eff_onnx_step(x->rank, dims, index);
    }
    return st;
}

static EffStatus op_shape(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t start = eff_onnx_int(c->node, "start", 0), end = eff_onnx_int(c->node, "end", x->rank);
    start = start < 0 ? start + x->rank : start;
    end = end < 0 ? end + x->rank : end;
    start = start < 0 ? 0 : start > x->rank ? x->rank : start;
    end = end < start ? start : end > x->rank ? x->rank : end;
    const int64_t n = end - start;
    c->compute = true; /* a shape is known even where the elements are not */
    const EffStatus st = eff_onnx_result(c, EFF_ONNX_INT64, 1, &n);
    for (int64_t i = 0; st == EFF_OK && i < n; i++)
        eff_onnx_put_int(c->out, (size_t)i, x->dims[start + i]);
    return st;
}

static EffStatus op_size(EffOnnxCall *c)
{
    c->compute = true;
    const EffStatus st = eff_onnx_result(c, EFF_ONNX_INT64, 0, NULL);
    if (st == EFF_OK)
        eff_onnx_put_int(c->out, 0, (int64_t)c->in[0]->n);
    return st;
}

static EffStatus op_gather(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0], *indices = c->in[1];
    int axis;
    if (!eff_onnx_axis(eff_onnx_int(c->node, "axis", 0), x->rank, &axis) || x->rank - 1 + indices->rank > EFF_MAX_RANK)
        return eff_onnx_misfit("an axis outside the tensor");
    int64_t dims[EFF_MAX_RANK];
    int rank = 0;
    size_t outer = 1, inner = 1;
    for (int i = 0; i < axis; i++) {
        dims[rank++] = x->dims[i];
        outer *= (size_t)x->dims[i];
    }
    for (int i = 0; i < indices->rank; i++)
        dims[rank++] = indices->dims[i];
    for (int i = axis + 1; i < x->rank; i++) {
        dims[rank++] = x->dims[i];
        inner *= (size_t)x->dims[i];
    }
    const EffStatus st = eff_onnx_result(c, x->type, rank, dims);
    if (st != EFF_OK || !c->compute)
        return st;
    const int64_t n_axis = x->dims[axis];
    size_t at = 0;
    for (size_t o = 0; o < outer; o++) {
        for (size_t k = 0; k < indices->n; k++) {
            int64_t j = eff_onnx_get_int(indices, k);
            j = j < 0 ? j + n_axis : j;
            if (j < 0 || j >= n_axis)
                return eff_onnx_misfit("an index outside the tensor");
            for (size_t i = 0; i < inner; i++)
                eff_onnx_copy(c->out, at++, x, (o * (size_t)n_axis + (size_t)j) * inner + i);
        }
    }
    return EFF_OK;
}

/* Where slicing an axis of n elements really starts and how many it takes. */
static void clamp_slice(int64_t n, int64_t *start, int64_t end, int64_t step, int64_t *count)
{
    int64_t s = *start < 0 ? *start + n : *start, e = end < 0 ? (end < -n ? -1 : end + n) : end;
    if (step > 0) {
        s = s < 0 ? 0 : s > n ? n : s;
        e = e < 0 ? 0 : e > n ? n : e;
        *count = e > s ? (e - s - 1) / step + 1 : 0;
    } else {
        s = s < 0 ? 0 : s > n - 1 ? n - 1 : s;
        e = e < -1 ? -1 : e > n - 1 ? n - 1 : e;
        *count = s > e && n > 0 ? (s - e - 1) / -step + 1 : 0;
    }
    *start = s;
}

EffStatus eff_onnx_slice(const EffOnnxCall *c, EffOnnxSlice *out)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t starts[EFF_MAX_RANK], ends[EFF_MAX_RANK], axes[EFF_MAX_RANK], steps[EFF_MAX_RANK];
    int n, n_ends, n_axes, n_steps;
    EffStatus st = eff_onnx_list(c, "starts", 1, starts, EFF_MAX_RANK, &n);
    if (st == EFF_OK)
        st = eff_onnx_list(c, "ends", 2, ends, EFF_MAX_RANK, &n_ends);
    if (st == EFF_OK)
        st = eff_onnx_list(c, "axes", 3, axes, EFF_MAX_RANK, &n_axes);
    if (st == EFF_OK)
        st = eff_onnx_list(c, NULL, 4, steps, EFF_MAX_RANK, &n_steps);
    if (st != EFF_OK)
        return st;
    if (n < 0 || n_ends != n || (n_axes >= 0 && n_axes != n) || (n_steps >= 0 && n_steps != n))
        return eff_onnx_misfit("starts, ends, axes and steps of different lengths");
    for (int i = 0; i < x->rank; i++) {
        out->dims[i] = x->dims[i];
        out->begin[i] = 0;
        out->step[i] = 1;
    }
    for (int i = 0; i < n; i++) {
        int axis;
        if (!eff_onnx_axis(n_axes >= 0 ? axes[i] : i, x->rank, &axis))
            return eff_onnx_misfit("an axis outside the tensor");
        out->step[axis] = n_steps >= 0 ? steps[i] : 1;
        if (out->step[axis] == 0 || out->step[axis] < -INT32_MAX)
            return eff_onnx_misfit("a step of 0");
        out->begin[axis] = starts[i];
        clamp_slice(x->dims[axis], &out->begin[axis], ends[i], out->step[axis], &out->dims[axis]);
    }
    return EFF_OK;
}

/* The elements of a slice as the output. */
static EffStatus take_slice(EffOnnxCall *c, const EffOnnxSlice *s)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t index[EFF_MAX_RANK] = {0};
    const EffStatus st = eff_onnx_result(c, x->type, x->rank, s->dims);
    for (size_t i = 0; st == EFF_OK && c->compute && i < c->out->n; i++) {
        size_t j = 0;
        for (int k = 0; k < x->rank; k++)
            j = j * (size_t)x->dims[k] + (size_t)(s->begin[k] + index[k] * s->step[k]);
        eff_onnx_copy(c->out, i, x, j);
        eff_onnx_step(x->rank, s->dims, index);
    }
    return st;
}

static EffStatus op_slice(EffOnnxCall *c)
{
    EffOnnxSlice s;
    const EffStatus st = eff_onnx_slice(c, &s);
    return st == EFF_OK ? take_slice(c, &s) : st;
}

/* Sizes from an attribute until set 12, then from an input; without, equal ones, the last smaller where it must be. */
EffStatus eff_onnx_split(const EffOnnxCall *c, EffOnnxSlice *out)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t sizes[EFF_ONNX_MAX_SPLIT], sum = 0;
    const int n_out = c->node->n_outputs;
    int axis, n;
    if (n_out > EFF_ONNX_MAX_SPLIT)
        return eff_fail(EFF_ERR_LIMIT, "%d outputs; at most %d are supported", n_out, EFF_ONNX_MAX_SPLIT);
    if (!eff_onnx_axis(eff_onnx_int(c->node, "axis", 0), x->rank, &axis))
        return eff_onnx_misfit("an axis outside the tensor");
    const EffStatus st = eff_onnx_list(c, "split", 1, sizes, EFF_ONNX_MAX_SPLIT, &n);
    if (st != EFF_OK)
        return st;
    const int64_t all = x->dims[axis], parts = eff_onnx_int(c->node, "num_outputs", n_out);
    const int64_t each = parts > 0 ? all / parts + (all % parts != 0) : 0;
    for (int i = 0; n < 0 && i < n_out; i++)
        sizes[i] = each * (i + 1) <= all ? each : each * i < all ? all - each * i : 0;
    if (n >= 0 ? n != n_out : parts != n_out)
        return eff_onnx_misfit("parts of another number than the outputs");
    for (int i = 0; i < x->rank; i++) {
        out->dims[i] = x->dims[i];
        out->begin[i] = 0;
        out->step[i] = 1;
    }
    for (int i = 0; i < n_out; i++) {
        if (sizes[i] < 0 || sizes[i] > all - sum)
            return eff_onnx_misfit("parts that are larger than the whole");
        if (i == c->which) {
            out->begin[axis] = sum;
            out->dims[axis] = sizes[i];
        }
        sum += sizes[i];
    }
    return sum == all ? EFF_OK : eff_onnx_misfit("parts that are smaller than the whole");
}

static EffStatus op_split(EffOnnxCall *c)
{
    EffOnnxSlice s;
    const EffStatus st = eff_onnx_split(c, &s);
    return st == EFF_OK ? take_slice(c, &s) : st;
}

static EffStatus op_concat(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    int axis;
    if (!eff_onnx_axis(eff_onnx_int(c->node, "axis", 1), x->rank, &axis))
        return eff_onnx_misfit("an axis outside the tensor");
    int64_t dims[EFF_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = 0;
    for (int i = 0; i < c->n_in; i++) {
        const EffOnnxTensor *t = c->in[i];
        if (t == NULL || t->rank != x->rank)
            return eff_onnx_misfit("inputs of different rank");
        for (int k = 0; k < x->rank; k++) {
            if (k != axis && t->dims[k] != x->dims[k])
                return eff_onnx_misfit("inputs of different shape");
        }
        dims[axis] += t->dims[axis];
    }
    const EffStatus st = eff_onnx_result(c, x->type, x->rank, dims);
    if (st != EFF_OK || !c->compute)
        return st;
    size_t outer = 1, at = 0;
    for (int k = 0; k < axis; k++)
        outer *= (size_t)x->dims[k];
    for (size_t o = 0; o < outer; o++) {
        for (int i = 0; i < c->n_in; i++) {
            const size_t n = c->in[i]->n / outer;
            for (size_t j = 0; j < n; j++)
                eff_onnx_copy(c->out, at++, c->in[i], o * n + j);
        }
    }
    return EFF_OK;
}

static EffStatus op_expand(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t dims[EFF_MAX_RANK], index[EFF_MAX_RANK] = {0};
    size_t strides[EFF_MAX_RANK];
    int n;
    EffStatus st = eff_onnx_list(c, NULL, 1, dims, EFF_MAX_RANK, &n);
    if (st != EFF_OK)
        return st;
    const int rank = n > x->rank ? n : x->rank;
    int64_t wanted[EFF_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        const int64_t a = i - (rank - x->rank) >= 0 ? x->dims[i - (rank - x->rank)] : 1;
        const int64_t b = i - (rank - n) >= 0 ? dims[i - (rank - n)] : 1;
        if (a != b && a != 1 && b != 1)
            return eff_onnx_misfit("shapes that do not broadcast");
        wanted[i] = a == 1 ? b : a;
    }
    st = eff_onnx_result(c, x->type, rank, wanted);
    eff_onnx_strides(x, rank, strides);
    for (size_t i = 0; st == EFF_OK && c->compute && i < c->out->n; i++) {
        size_t j = 0;
        for (int k = 0; k < rank; k++)
            j += (size_t)index[k] * strides[k];
        eff_onnx_copy(c->out, i, x, j);
        eff_onnx_step(rank, wanted, index);
    }
    return st;
}

static EffStatus op_constant(EffOnnxCall *c)
{
    static const char *const lists[] = {"value_ints", "value_floats"};
    EffWire proto, name;
    EffOnnxTensor t = {0};
    EffOnnxFiles files = {0};
    EffStatus st;
    if (eff_onnx_tensor(c->node, "value", &proto)) {
        if ((st = eff_onnx_tensor_read(&t, &name, proto, &files)) == EFF_OK)
            *c->out = t;
        return st;
    }
    if (eff_onnx_has(c->node, "value_float") || eff_onnx_has(c->node, "value_int")) {
        const bool real = eff_onnx_has(c->node, "value_float");
        if ((st = eff_onnx_result(c, real ? EFF_ONNX_FLOAT : EFF_ONNX_INT64, 0, NULL)) == EFF_OK) {
            if (real)
                eff_onnx_put(c->out, 0, eff_onnx_float(c->node, "value_float", 0));
            else
                eff_onnx_put_int(c->out, 0, eff_onnx_int(c->node, "value_int", 0));
        }
        return st;
    }
    enum { MOST = 4096 };
    for (int k = 0; k < 2; k++) {
        if (!eff_onnx_has(c->node, lists[k]))
            continue;
        int64_t ints[MOST];
        float floats[MOST];
        const int n =
            k == 0 ? eff_onnx_ints(c->node, lists[k], ints, MOST) : eff_onnx_floats(c->node, lists[k], floats, MOST);
        const int64_t dims = n;
        if (n < 0)
            return eff_onnx_misfit("a list that is too long");
        st = eff_onnx_result(c, k == 0 ? EFF_ONNX_INT64 : EFF_ONNX_FLOAT, 1, &dims);
        for (int i = 0; st == EFF_OK && i < n; i++) {
            if (k == 0)
                eff_onnx_put_int(c->out, (size_t)i, ints[i]);
            else
                eff_onnx_put(c->out, (size_t)i, (double)floats[i]);
        }
        return st;
    }
    return eff_fail(EFF_ERR_UNSUPPORTED, "a constant that is no tensor of numbers");
}

static EffStatus op_constant_of_shape(EffOnnxCall *c)
{
    EffWire proto, name;
    EffOnnxTensor value = {0};
    EffOnnxFiles files = {0};
    int64_t dims[EFF_MAX_RANK];
    int n;
    EffStatus st = eff_onnx_list(c, NULL, 0, dims, EFF_MAX_RANK, &n);
    const bool has_value = eff_onnx_tensor(c->node, "value", &proto);
    if (st == EFF_OK && has_value && (st = eff_onnx_tensor_read(&value, &name, proto, &files)) == EFF_OK &&
        value.n != 1)
        st = eff_onnx_misfit("a fill value of more than one element");
    if (st == EFF_OK)
        st = eff_onnx_result(c, has_value ? value.type : EFF_ONNX_FLOAT, n, dims);
    for (size_t i = 0; st == EFF_OK && has_value && i < c->out->n; i++)
        eff_onnx_copy(c->out, i, &value, 0);
    eff_onnx_free(&value);
    return st;
}

/* Index i of an axis padded from n, in `mode`: constant gives -1 outside. */
static int64_t padded_index(int64_t i, int64_t n, char mode)
{
    if (i >= 0 && i < n)
        return i;
    if (mode == 'c' || n == 0)
        return -1;
    if (mode == 'e')
        return i < 0 ? 0 : n - 1;
    if (mode == 'w')
        return (i % n + n) % n;
    if (n == 1)
        return 0;
    const int64_t period = 2 * (n - 1), k = (i % period + period) % period;
    return k < n ? k : period - k;
}

static EffStatus op_pad(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0], *fill = eff_onnx_arg(c, 2);
    int64_t pads[2 * EFF_MAX_RANK], axes[EFF_MAX_RANK], dims[EFF_MAX_RANK], before[EFF_MAX_RANK] = {0},
                                                                            index[EFF_MAX_RANK] = {0};
    int n, n_axes = -1;
    EffStatus st = eff_onnx_list(c, "pads", 1, pads, 2 * EFF_MAX_RANK, &n);
    if (st == EFF_OK)
        st = eff_onnx_list(c, NULL, 3, axes, EFF_MAX_RANK, &n_axes);
    if (st != EFF_OK)
        return st;
    const int count = n_axes >= 0 ? n_axes : x->rank;
    if (n != 2 * count)
        return eff_onnx_misfit("pads for another number of axes");
    const EffWire given = eff_onnx_string(c->node, "mode");
    const char mode = given.at == NULL || eff_wire_is(given, "constant") ? 'c'
                      : eff_wire_is(given, "edge")                       ? 'e'
                      : eff_wire_is(given, "reflect")                    ? 'r'
                      : eff_wire_is(given, "wrap")                       ? 'w'
                                                                         : 0;
    if (mode == 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a mode of padding that is not known");
    memcpy(dims, x->dims, sizeof dims);
    for (int i = 0; i < count; i++) {
        int axis = i;
        if (n_axes >= 0 && !eff_onnx_axis(axes[i], x->rank, &axis))
            return eff_onnx_misfit("an axis outside the tensor");
        if (pads[i] < -EFF_ONNX_MAX_ELEMENTS || pads[i] > EFF_ONNX_MAX_ELEMENTS ||
            pads[i + count] < -EFF_ONNX_MAX_ELEMENTS || pads[i + count] > EFF_ONNX_MAX_ELEMENTS)
            return eff_onnx_misfit("pads beyond all bounds");
        before[axis] = pads[i];
        dims[axis] = x->dims[axis] + pads[i] + pads[i + count];
    }
    const double attribute = eff_onnx_float(c->node, "value", 0);
    st = eff_onnx_result(c, x->type, x->rank, dims);
    for (size_t i = 0; st == EFF_OK && c->compute && i < c->out->n; i++) {
        size_t j = 0;
        bool inside = true;
        for (int k = 0; k < x->rank; k++) {
            const int64_t at = padded_index(index[k] - before[k], x->dims[k], mode);
            inside = inside && at >= 0;
            j = j * (size_t)x->dims[k] + (size_t)(at >= 0 ? at : 0);
        }
        if (inside)
            eff_onnx_copy(c->out, i, x, j);
        else if (fill != NULL && fill->n > 0)
            eff_onnx_copy(c->out, i, fill, 0);
        else
            eff_onnx_put(c->out, i, attribute);
        eff_onnx_step(x->rank, dims, index);
    }
    return st;
}

const EffOnnxOp eff_onnx_shape_ops[] = {{"Identity", op_identity, 1},
                                        {"Dropout", op_dropout, 1},
                                        {"Reshape", op_reshape, 1},
                                        {"Flatten", op_flatten, 1},
                                        {"Squeeze", op_squeeze, 1},
                                        {"Unsqueeze", op_unsqueeze, 1},
                                        {"Transpose", op_transpose, 1},
                                        {"Shape", op_shape, 1},
                                        {"Size", op_size, 1},
                                        {"Gather", op_gather, 2},
                                        {"Slice", op_slice, 1},
                                        {"Split", op_split, 1},
                                        {"Concat", op_concat, 1},
                                        {"Expand", op_expand, 2},
                                        {"Constant", op_constant, 0},
                                        {"ConstantOfShape", op_constant_of_shape, 1},
                                        {"Pad", op_pad, 1},
                                        {0}};
