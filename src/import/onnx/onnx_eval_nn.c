/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of networks on general tensors [n][c][spatial...]: sums in double, one output at a time. */
#include "base/status.h"
#include "import/onnx/onnx_eval.h"

#include <math.h>
#include <string.h>

/* ---- Windows ---- */

enum { MAX_WINDOW = 1 << 20 };

static EffStatus read_sizes(const EffOnnxNode *node, const char *name, int n, int64_t *out, int64_t least)
{
    const int found = eff_onnx_ints(node, name, out, n);
    if (found < 0 && !eff_onnx_has(node, name)) {
        for (int i = 0; i < n; i++)
            out[i] = least;
        return EFF_OK;
    }
    for (int i = 0; i < n && found == n; i++) {
        if (out[i] < least || out[i] > MAX_WINDOW)
            return eff_onnx_misfit("a window beyond all bounds");
    }
    return found == n ? EFF_OK : eff_onnx_misfit("a window of another number of axes than the tensor");
}

EffStatus eff_onnx_window(EffOnnxWindow *w, const EffOnnxNode *node, const EffOnnxTensor *x, const int64_t *kernel)
{
    *w = (EffOnnxWindow){.n = x->rank - 2};
    int64_t pads[2 * EFF_MAX_RANK];
    if (w->n < 1)
        return eff_onnx_misfit("a tensor without spatial axes");
    EffStatus st = EFF_OK;
    if (kernel != NULL)
        memcpy(w->kernel, kernel, (size_t)w->n * sizeof *kernel);
    else if (!eff_onnx_has(node, "kernel_shape"))
        st = eff_onnx_misfit("no kernel_shape");
    else
        st = read_sizes(node, "kernel_shape", w->n, w->kernel, 1);
    if (st == EFF_OK)
        st = read_sizes(node, "strides", w->n, w->stride, 1);
    if (st == EFF_OK)
        st = read_sizes(node, "dilations", w->n, w->dilation, 1);
    if (st == EFF_OK)
        st = read_sizes(node, "pads", 2 * w->n, pads, 0);
    if (st != EFF_OK)
        return st;
    const EffWire mode = eff_onnx_string(node, "auto_pad");
    const bool is_set = mode.at != NULL && !eff_wire_is(mode, "NOTSET");
    const bool upper = is_set && eff_wire_is(mode, "SAME_UPPER"), lower = is_set && eff_wire_is(mode, "SAME_LOWER");
    const bool up = eff_onnx_int(node, "ceil_mode", 0) != 0;
    if (is_set && !upper && !lower && !eff_wire_is(mode, "VALID"))
        return eff_fail(EFF_ERR_UNSUPPORTED, "an auto_pad that is not known");
    for (int i = 0; i < w->n; i++) {
        const int64_t n = x->dims[i + 2], span = (w->kernel[i] - 1) * w->dilation[i] + 1, stride = w->stride[i];
        if (w->kernel[i] < 1 || w->kernel[i] > MAX_WINDOW)
            return eff_onnx_misfit("a window beyond all bounds");
        w->before[i] = is_set ? 0 : pads[i];
        w->after[i] = is_set ? 0 : pads[i + w->n];
        if (upper || lower) {
            const int64_t n_out = (n + stride - 1) / stride, total = (n_out - 1) * stride + span - n;
            const int64_t pad = total > 0 ? total : 0;
            w->before[i] = upper ? pad / 2 : pad - pad / 2;
            w->after[i] = pad - w->before[i];
        }
        const int64_t room = n + w->before[i] + w->after[i] - span;
        if (room < 0)
            return eff_onnx_misfit("a window that is larger than its padded input");
        w->out[i] = (up ? room + stride - 1 : room) / stride + 1;
        if (up && (w->out[i] - 1) * stride >= n + w->before[i]) /* a window that starts in the padding is none */
            w->out[i]--;
    }
    return EFF_OK;
}

/* Offset of the input element under a tap of the window at `at`; false in the padding. */
static bool under(const EffOnnxWindow *w, const EffOnnxTensor *x, const int64_t *at, const int64_t *tap, size_t *offset)
{
    *offset = 0;
    for (int i = 0; i < w->n; i++) {
        const int64_t p = at[i] * w->stride[i] + tap[i] * w->dilation[i] - w->before[i];
        if (p < 0 || p >= x->dims[i + 2])
            return false;
        *offset = *offset * (size_t)x->dims[i + 2] + (size_t)p;
    }
    return true;
}

static size_t product(const int64_t *dims, int n)
{
    size_t p = 1;
    for (int i = 0; i < n; i++)
        p *= (size_t)dims[i];
    return p;
}

static EffStatus spend_product(EffOnnxCall *c, size_t a, size_t b)
{
    if (b > 0 && a > (size_t)INT64_MAX / b)
        return eff_onnx_spend(c, INT64_MAX);
    return eff_onnx_spend(c, (int64_t)(a * b));
}

static EffStatus op_conv(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0], *weight = c->in[1], *bias = eff_onnx_arg(c, 2);
    const int64_t groups = eff_onnx_int(c->node, "group", 1);
    EffOnnxWindow w;
    if (x->rank < 3 || weight->rank != x->rank)
        return eff_onnx_misfit("weights of another rank than the input");
    if (groups < 1 || groups > weight->dims[0] || weight->dims[0] % groups != 0 ||
        weight->dims[1] > EFF_ONNX_MAX_ELEMENTS / groups || x->dims[1] != weight->dims[1] * groups ||
        (bias != NULL && bias->n != (size_t)weight->dims[0]))
        return eff_onnx_misfit("weights for another number of channels than the input has");
    EffStatus st = eff_onnx_window(&w, c->node, x, weight->dims + 2);
    if (st != EFF_OK)
        return st;
    int64_t dims[EFF_MAX_RANK] = {x->dims[0], weight->dims[0]};
    memcpy(dims + 2, w.out, (size_t)w.n * sizeof *dims);
    st = eff_onnx_result(c, x->type, x->rank, dims);
    if (st != EFF_OK || !c->compute)
        return st;
    const size_t per_out = weight->n / (size_t)weight->dims[0], taps = product(w.kernel, w.n);
    const size_t plane = product(x->dims + 2, w.n), in_ch = (size_t)weight->dims[1];
    if ((st = spend_product(c, c->out->n, per_out)) != EFF_OK)
        return st;
    size_t i = 0;
    for (int64_t b = 0; b < dims[0]; b++) {
        for (int64_t o = 0; o < dims[1]; o++) {
            const size_t first = (size_t)b * (size_t)x->dims[1] + (size_t)(o / (dims[1] / groups)) * in_ch;
            int64_t at[EFF_MAX_RANK] = {0};
            for (size_t p = product(w.out, w.n); p > 0; p--) {
                double sum = bias != NULL ? eff_onnx_get(bias, (size_t)o) : 0;
                int64_t tap[EFF_MAX_RANK] = {0};
                for (size_t t = 0; t < taps; t++) {
                    size_t offset;
                    if (under(&w, x, at, tap, &offset)) {
                        for (size_t ch = 0; ch < in_ch; ch++)
                            sum += eff_onnx_get(x, (first + ch) * plane + offset) *
                                   eff_onnx_get(weight, ((size_t)o * in_ch + ch) * taps + t);
                    }
                    eff_onnx_step(w.n, w.kernel, tap);
                }
                eff_onnx_put(c->out, i++, sum);
                eff_onnx_step(w.n, w.out, at);
            }
        }
    }
    return EFF_OK;
}

static EffStatus pool(EffOnnxCall *c, bool average)
{
    const EffOnnxTensor *x = c->in[0];
    EffOnnxWindow w;
    if (x->rank < 3)
        return eff_onnx_misfit("a tensor without spatial axes");
    EffStatus st = eff_onnx_window(&w, c->node, x, NULL);
    if (st != EFF_OK)
        return st;
    int64_t dims[EFF_MAX_RANK] = {x->dims[0], x->dims[1]};
    memcpy(dims + 2, w.out, (size_t)w.n * sizeof *dims);
    st = eff_onnx_result(c, x->type, x->rank, dims);
    if (st != EFF_OK || !c->compute)
        return st;
    const bool with_pads = eff_onnx_int(c->node, "count_include_pad", 0) != 0;
    const size_t taps = product(w.kernel, w.n), plane = product(x->dims + 2, w.n);
    if ((st = spend_product(c, c->out->n, taps)) != EFF_OK)
        return st;
    size_t i = 0;
    for (size_t b = 0; b < (size_t)dims[0] * (size_t)dims[1]; b++) {
        int64_t at[EFF_MAX_RANK] = {0};
        for (size_t p = product(w.out, w.n); p > 0; p--) {
            double sum = average ? 0 : -INFINITY, count = 0;
            int64_t tap[EFF_MAX_RANK] = {0};
            for (size_t t = 0; t < taps; t++) {
                size_t offset;
                bool padded =
                    with_pads; /* windows that ceil_mode lets hang over do not count what is beyond the pads */
                for (int k = 0; k < w.n; k++)
                    padded = padded &&
                             at[k] * w.stride[k] + tap[k] * w.dilation[k] < x->dims[k + 2] + w.before[k] + w.after[k];
                if (under(&w, x, at, tap, &offset)) {
                    const double v = eff_onnx_get(x, b * plane + offset);
                    sum = average ? sum + v : v > sum ? v : sum;
                    count++;
                } else {
                    count += padded;
                }
                eff_onnx_step(w.n, w.kernel, tap);
            }
            eff_onnx_put(c->out, i++, average ? sum / count : sum);
            eff_onnx_step(w.n, w.out, at);
        }
    }
    return EFF_OK;
}

static EffStatus op_average_pool(EffOnnxCall *c)
{
    return pool(c, true);
}
static EffStatus op_max_pool(EffOnnxCall *c)
{
    return pool(c, false);
}

static EffStatus global_pool(EffOnnxCall *c, bool average)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t dims[EFF_MAX_RANK];
    if (x->rank < 2)
        return eff_onnx_misfit("a tensor without channels");
    for (int i = 0; i < x->rank; i++)
        dims[i] = i < 2 ? x->dims[i] : 1;
    const EffStatus st = eff_onnx_result(c, x->type, x->rank, dims);
    if (st != EFF_OK || !c->compute || c->out->n == 0)
        return st;
    const size_t n = x->n / c->out->n;
    for (size_t o = 0; o < c->out->n; o++) {
        double sum = average ? 0 : -INFINITY;
        for (size_t i = 0; i < n; i++) {
            const double v = eff_onnx_get(x, o * n + i);
            sum = average ? sum + v : v > sum ? v : sum;
        }
        eff_onnx_put(c->out, o, average ? sum / (double)n : sum);
    }
    return EFF_OK;
}

static EffStatus op_global_average_pool(EffOnnxCall *c)
{
    return global_pool(c, true);
}
static EffStatus op_global_max_pool(EffOnnxCall *c)
{
    return global_pool(c, false);
}

static EffStatus op_batch_normalization(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    if (x->rank < 2)
        return eff_onnx_misfit("a tensor without channels");
    if (eff_onnx_int(c->node, "training_mode", 0) != 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "BatchNormalization in training; call model.eval() before the export");
    for (int i = 1; i < 5; i++) {
        if (c->in[i]->n != (size_t)x->dims[1])
            return eff_onnx_misfit("statistics of another number of channels");
    }
    const EffStatus st = eff_onnx_result(c, x->type, x->rank, x->dims);
    const double eps = eff_onnx_float(c->node, "epsilon", (double)1e-5f);
    const size_t inner = product(x->dims + 2, x->rank - 2);
    for (size_t i = 0; st == EFF_OK && c->compute && i < x->n; i++) {
        const size_t ch = i / inner % (size_t)x->dims[1];
        const double k = eff_onnx_get(c->in[1], ch) / sqrt(eff_onnx_get(c->in[4], ch) + eps);
        eff_onnx_put(c->out, i, (eff_onnx_get(x, i) - eff_onnx_get(c->in[3], ch)) * k + eff_onnx_get(c->in[2], ch));
    }
    return st;
}

static EffStatus op_gemm(EffOnnxCall *c)
{
    const EffOnnxTensor *a = c->in[0], *b = c->in[1], *add = eff_onnx_arg(c, 2);
    const bool ta = eff_onnx_int(c->node, "transA", 0) != 0, tb = eff_onnx_int(c->node, "transB", 0) != 0;
    if (a->rank != 2 || b->rank != 2 || a->dims[!ta] != b->dims[tb])
        return eff_onnx_misfit("matrices that do not fit");
    const int64_t dims[2] = {a->dims[ta], b->dims[!tb]}, n = a->dims[!ta];
    size_t from[2] = {0, 0};
    if (add != NULL) {
        if (add->rank > 2)
            return eff_onnx_misfit("a bias of more than two dimensions");
        for (int i = 0; i < add->rank; i++) {
            const int64_t d = add->dims[add->rank - 1 - i];
            if (d != 1 && d != dims[1 - i])
                return eff_onnx_misfit("a bias that does not broadcast");
        }
        eff_onnx_strides(add, 2, from);
    }
    const double alpha = eff_onnx_float(c->node, "alpha", 1), beta = eff_onnx_float(c->node, "beta", 1);
    EffStatus st = eff_onnx_result(c, a->type, 2, dims);
    if (st != EFF_OK || !c->compute || (st = spend_product(c, c->out->n, (size_t)n)) != EFF_OK)
        return st;
    for (size_t i = 0; i < c->out->n; i++) {
        const size_t row = i / (size_t)dims[1], column = i % (size_t)dims[1];
        double sum = 0;
        for (size_t k = 0; k < (size_t)n; k++)
            sum += eff_onnx_get(a, ta ? k * (size_t)dims[0] + row : row * (size_t)n + k) *
                   eff_onnx_get(b, tb ? column * (size_t)n + k : k * (size_t)dims[1] + column);
        eff_onnx_put(c->out, i,
                     alpha * sum + (add != NULL ? beta * eff_onnx_get(add, row * from[0] + column * from[1]) : 0));
    }
    return EFF_OK;
}

static EffStatus op_matmul(EffOnnxCall *c)
{
    EffOnnxTensor a = *c->in[0], b = *c->in[1]; /* borrowed; vectors become matrices of one row or column */
    const bool row = a.rank == 1, column = b.rank == 1;
    if (a.rank == 0 || b.rank == 0)
        return eff_onnx_misfit("a product with a scalar");
    if (row) {
        a.dims[1] = a.dims[0];
        a.dims[0] = 1;
        a.rank = 2;
    }
    if (column) {
        b.dims[1] = 1;
        b.rank = 2;
    }
    const int64_t m = a.dims[a.rank - 2], n = a.dims[a.rank - 1], p = b.dims[b.rank - 1];
    if (b.dims[b.rank - 2] != n)
        return eff_onnx_misfit("matrices that do not fit");
    int64_t dims[EFF_MAX_RANK], index[EFF_MAX_RANK] = {0};
    size_t from_a[EFF_MAX_RANK], from_b[EFF_MAX_RANK];
    const int rank = a.rank > b.rank ? a.rank : b.rank;
    for (int i = 0; i < rank - 2; i++) {
        const int64_t x = i - (rank - a.rank) >= 0 ? a.dims[i - (rank - a.rank)] : 1;
        const int64_t y = i - (rank - b.rank) >= 0 ? b.dims[i - (rank - b.rank)] : 1;
        if (x != y && x != 1 && y != 1)
            return eff_onnx_misfit("matrices that do not broadcast");
        dims[i] = x == 1 ? y : x;
    }
    eff_onnx_strides(&a, rank, from_a);
    eff_onnx_strides(&b, rank, from_b);
    int64_t shape[EFF_MAX_RANK];
    int n_shape = rank - 2;
    memcpy(shape, dims, (size_t)n_shape * sizeof *shape);
    if (!row)
        shape[n_shape++] = m;
    if (!column)
        shape[n_shape++] = p;
    EffStatus st = eff_onnx_result(c, a.type, n_shape, shape);
    if (st != EFF_OK || !c->compute || (st = spend_product(c, c->out->n, (size_t)n)) != EFF_OK)
        return st;
    for (size_t o = 0; o < c->out->n;) {
        size_t base_a = 0, base_b = 0;
        for (int k = 0; k < rank - 2; k++) {
            base_a += (size_t)index[k] * from_a[k];
            base_b += (size_t)index[k] * from_b[k];
        }
        for (size_t i = 0; i < (size_t)m; i++) {
            for (size_t j = 0; j < (size_t)p; j++) {
                double sum = 0;
                for (size_t k = 0; k < (size_t)n; k++)
                    sum += eff_onnx_get(&a, base_a + i * (size_t)n + k) * eff_onnx_get(&b, base_b + k * (size_t)p + j);
                eff_onnx_put(c->out, o++, sum);
            }
        }
        eff_onnx_step(rank - 2, dims, index);
    }
    return EFF_OK;
}

static EffStatus op_softmax(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    const bool flat = c->opset < 13; /* until then all axes from `axis` on were one */
    int axis = 0;
    if (x->rank > 0 && !eff_onnx_axis(eff_onnx_int(c->node, "axis", flat ? 1 : -1), x->rank, &axis))
        return eff_onnx_misfit("an axis outside the tensor");
    const EffStatus st = eff_onnx_result(c, x->type, x->rank, x->dims);
    if (st != EFF_OK || !c->compute || x->n == 0)
        return st;
    const size_t inner = flat ? 1 : product(x->dims + axis + (x->rank > 0), x->rank > 0 ? x->rank - axis - 1 : 0);
    const size_t n = x->rank == 0 ? 1 : flat ? product(x->dims + axis, x->rank - axis) : (size_t)x->dims[axis];
    for (size_t o = 0; o < x->n / n; o++) {
        const size_t base = o / inner * n * inner + o % inner;
        double top = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++)
            top = fmax(top, eff_onnx_get(x, base + i * inner));
        for (size_t i = 0; i < n; i++)
            sum += exp(eff_onnx_get(x, base + i * inner) - top);
        for (size_t i = 0; i < n; i++)
            eff_onnx_put(c->out, base + i * inner, exp(eff_onnx_get(x, base + i * inner) - top) / sum);
    }
    return EFF_OK;
}

const EffOnnxOp eff_onnx_nn_ops[] = {{"Conv", op_conv, 2},
                                     {"AveragePool", op_average_pool, 1},
                                     {"MaxPool", op_max_pool, 1},
                                     {"GlobalAveragePool", op_global_average_pool, 1},
                                     {"GlobalMaxPool", op_global_max_pool, 1},
                                     {"BatchNormalization", op_batch_normalization, 5},
                                     {"Gemm", op_gemm, 2},
                                     {"MatMul", op_matmul, 2},
                                     {"Softmax", op_softmax, 1},
                                     {0}};
