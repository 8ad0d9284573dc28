/* SPDX-License-Identifier: Apache-2.0 */
/* Operators element by element, with broadcasting, and reductions. */
#include "base/status.h"
#include "import/onnx/onnx_eval.h"

#include <math.h>
#include <string.h>

/* ---- One input ---- */

typedef double unary_fn(const EffOnnxCall *c, double x);

static EffStatus unary(EffOnnxCall *c, unary_fn *f)
{
    const EffOnnxTensor *x = c->in[0];
    const EffStatus st = eff_onnx_result(c, x->type, x->rank, x->dims);
    for (size_t i = 0; st == EFF_OK && c->compute && i < x->n; i++)
        eff_onnx_put(c->out, i, f(c, eff_onnx_get(x, i)));
    return st;
}

static double relu(const EffOnnxCall *c, double x)
{
    (void)c;
    return x > 0 ? x : x < 0 ? 0 : x;
}

static double sigmoid(const EffOnnxCall *c, double x)
{
    (void)c;
    return 1 / (1 + exp(-x));
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double hard_sigmoid(const EffOnnxCall *c, double x)
{
    return clamp(eff_onnx_float(c->node, "alpha", (double)0.2f) * x + eff_onnx_float(c->node, "beta", 0.5), 0, 1);
}

static double hard_swish(const EffOnnxCall *c, double x)
{
    (void)c;
    return x * clamp(x / 6 + 0.5, 0, 1);
}

static double square_root(const EffOnnxCall *c, double x)
{
    (void)c;
    return sqrt(x);
}

static double exponential(const EffOnnxCall *c, double x)
{
    (void)c;
    return exp(x);
}

static double floor_of(const EffOnnxCall *c, double x)
{
    (void)c;
    return floor(x);
}

static double ceil_of(const EffOnnxCall *c, double x)
{
    (void)c;
    return ceil(x);
}

static double negative(const EffOnnxCall *c, double x)
{
    (void)c;
    return -x;
}

static double reciprocal(const EffOnnxCall *c, double x)
{
    (void)c;
    return 1 / x;
}

static EffStatus op_relu(EffOnnxCall *c)
{
    return unary(c, relu);
}
static EffStatus op_sigmoid(EffOnnxCall *c)
{
    return unary(c, sigmoid);
}
static EffStatus op_hard_sigmoid(EffOnnxCall *c)
{
    return unary(c, hard_sigmoid);
}
static EffStatus op_hard_swish(EffOnnxCall *c)
{
    return unary(c, hard_swish);
}
static EffStatus op_sqrt(EffOnnxCall *c)
{
    return unary(c, square_root);
}
static EffStatus op_exp(EffOnnxCall *c)
{
    return unary(c, exponential);
}
static EffStatus op_floor(EffOnnxCall *c)
{
    return unary(c, floor_of);
}
static EffStatus op_ceil(EffOnnxCall *c)
{
    return unary(c, ceil_of);
}
static EffStatus op_neg(EffOnnxCall *c)
{
    return unary(c, negative);
}
static EffStatus op_reciprocal(EffOnnxCall *c)
{
    return unary(c, reciprocal);
}

static EffStatus op_cast(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0];
    const int64_t to = eff_onnx_int(c->node, "to", 0);
    if (to < 1 || to > EFF_ONNX_BFLOAT16 || eff_onnx_type_bytes((EffOnnxType)to) == 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "a cast to %s", eff_onnx_type_name((int)(to & 255)));
    const EffStatus st = eff_onnx_result(c, (EffOnnxType)to, x->rank, x->dims);
    for (size_t i = 0; st == EFF_OK && c->compute && i < x->n; i++)
        eff_onnx_copy(c->out, i, x, i);
    return st;
}

static EffStatus op_clip(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0], *low = eff_onnx_arg(c, 1), *high = eff_onnx_arg(c, 2);
    if ((low != NULL && low->n != 1) || (high != NULL && high->n != 1))
        return eff_onnx_misfit("a bound of more than one element");
    const EffStatus st = eff_onnx_result(c, x->type, x->rank, x->dims);
    if (st != EFF_OK || !c->compute)
        return st;
    if (!eff_onnx_is_float(x->type)) {
        const int64_t a = low != NULL ? eff_onnx_get_int(low, 0) : INT64_MIN;
        const int64_t b = high != NULL ? eff_onnx_get_int(high, 0) : INT64_MAX;
        for (size_t i = 0; i < x->n; i++) {
            const int64_t v = eff_onnx_get_int(x, i), up = v < a ? a : v;
            eff_onnx_put_int(c->out, i, up > b ? b : up);
        }
        return EFF_OK;
    }
    const double a = low != NULL ? eff_onnx_get(low, 0) : eff_onnx_float(c->node, "min", -INFINITY);
    const double b = high != NULL ? eff_onnx_get(high, 0) : eff_onnx_float(c->node, "max", INFINITY);
    for (size_t i = 0; i < x->n; i++) {
        const double v = eff_onnx_get(x, i), up = v < a ? a : v;
        eff_onnx_put(c->out, i, up > b ? b : up);
    }
    return EFF_OK;
}

/* ---- Two inputs ---- */

/* Operators of two inputs; the integer form computes in 64 bits, wrapping. */
typedef struct Binary {
    double (*real)(double a, double b);
    uint64_t (*whole)(uint64_t a, uint64_t b);
    bool to_bool;
} Binary;

static double add(double a, double b)
{
    return a + b;
}
static double sub(double a, double b)
{
    return a - b;
}
static double mul(double a, double b)
{
    return a * b;
}
static double quotient(double a, double b)
{
    return a / b;
}
static double smaller(double a, double b)
{
    return isnan(a) || a < b ? a : b;
}
static double larger(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}
static double equal(double a, double b)
{
    return a == b;
}
static uint64_t add_i(uint64_t a, uint64_t b)
{
    return a + b;
}
static uint64_t sub_i(uint64_t a, uint64_t b)
{
    return a - b;
}
static uint64_t mul_i(uint64_t a, uint64_t b)
{
    return a * b;
}
static uint64_t div_i(uint64_t a, uint64_t b)
{
    const int64_t x = (int64_t)a, y = (int64_t)b;
    return y == 0 ? 0 : y == -1 ? 0 - a : (uint64_t)(x / y);
}
static uint64_t min_i(uint64_t a, uint64_t b)
{
    return (int64_t)a < (int64_t)b ? a : b;
}
static uint64_t max_i(uint64_t a, uint64_t b)
{
    return (int64_t)a > (int64_t)b ? a : b;
}
static uint64_t equal_i(uint64_t a, uint64_t b)
{
    return a == b;
}

static bool broadcast_dims(const EffOnnxTensor *a, const EffOnnxTensor *b, int *rank, int64_t *dims)
{
    *rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < *rank; i++) {
        const int64_t x = i - (*rank - a->rank) >= 0 ? a->dims[i - (*rank - a->rank)] : 1;
        const int64_t y = i - (*rank - b->rank) >= 0 ? b->dims[i - (*rank - b->rank)] : 1;
        if (x != y && x != 1 && y != 1)
            return false;
        dims[i] = x == 1 ? y : x;
    }
    return true;
}

static EffStatus apply(EffOnnxCall *c, const EffOnnxTensor *a, const EffOnnxTensor *b, const Binary *op)
{
    int64_t dims[EFF_MAX_RANK], index[EFF_MAX_RANK] = {0};
    size_t from_a[EFF_MAX_RANK], from_b[EFF_MAX_RANK];
    int rank;
    if (!broadcast_dims(a, b, &rank, dims))
        return eff_onnx_misfit("shapes that do not broadcast");
    const EffStatus st = eff_onnx_result(c, op->to_bool ? EFF_ONNX_BOOL : a->type, rank, dims);
    if (st != EFF_OK || !c->compute)
        return st;
    eff_onnx_strides(a, rank, from_a);
    eff_onnx_strides(b, rank, from_b);
    const bool real = eff_onnx_is_float(a->type);
    for (size_t i = 0; i < c->out->n; i++) {
        size_t j = 0, k = 0;
        for (int d = 0; d < rank; d++) {
            j += (size_t)index[d] * from_a[d];
            k += (size_t)index[d] * from_b[d];
        }
        if (real)
            eff_onnx_put(c->out, i, op->real(eff_onnx_get(a, j), eff_onnx_get(b, k)));
        else
            eff_onnx_put_int(c->out, i,
                             (int64_t)op->whole((uint64_t)eff_onnx_get_int(a, j), (uint64_t)eff_onnx_get_int(b, k)));
        eff_onnx_step(rank, dims, index);
    }
    return EFF_OK;
}

static EffStatus op_add(EffOnnxCall *c)
{
    return apply(c, c->in[0], c->in[1], &(Binary){add, add_i, false});
}
static EffStatus op_sub(EffOnnxCall *c)
{
    return apply(c, c->in[0], c->in[1], &(Binary){sub, sub_i, false});
}
static EffStatus op_mul(EffOnnxCall *c)
{
    return apply(c, c->in[0], c->in[1], &(Binary){mul, mul_i, false});
}
static EffStatus op_div(EffOnnxCall *c)
{
    return apply(c, c->in[0], c->in[1], &(Binary){quotient, div_i, false});
}
static EffStatus op_pow(EffOnnxCall *c)
{
    if (!eff_onnx_is_float(c->in[0]->type))
        return eff_fail(EFF_ERR_UNSUPPORTED, "a power of integers");
    return apply(c, c->in[0], c->in[1], &(Binary){pow, mul_i, false});
}
static EffStatus op_equal(EffOnnxCall *c)
{
    return apply(c, c->in[0], c->in[1], &(Binary){equal, equal_i, true});
}

/* Min and Max of any number of inputs: the output so far takes part as one of them. */
static EffStatus chain(EffOnnxCall *c, const Binary *op)
{
    if (c->n_in == 1)
        return apply(c, c->in[0], c->in[0], op); /* x with itself is x */
    if (c->in[1] == NULL)
        return eff_onnx_misfit("an input is missing");
    EffStatus st = apply(c, c->in[0], c->in[1], op);
    for (int i = 2; i < c->n_in && st == EFF_OK; i++) {
        EffOnnxTensor so_far = *c->out;
        if (c->in[i] == NULL)
            return eff_onnx_misfit("an input is missing");
        *c->out = (EffOnnxTensor){0};
        st = apply(c, &so_far, c->in[i], op);
        eff_onnx_free(&so_far);
    }
    return st;
}

static EffStatus op_min(EffOnnxCall *c)
{
    return chain(c, &(Binary){smaller, min_i, false});
}
static EffStatus op_max(EffOnnxCall *c)
{
    return chain(c, &(Binary){larger, max_i, false});
}

static EffStatus op_where(EffOnnxCall *c)
{
    const EffOnnxTensor *t[3] = {c->in[0], c->in[1], c->in[2]};
    EffOnnxTensor both = {0};
    int64_t dims[EFF_MAX_RANK], index[EFF_MAX_RANK] = {0};
    size_t from[3][EFF_MAX_RANK];
    int rank;
    if (!broadcast_dims(t[0], t[1], &both.rank, both.dims) || !broadcast_dims(&both, t[2], &rank, dims))
        return eff_onnx_misfit("shapes that do not broadcast");
    const EffStatus st = eff_onnx_result(c, t[1]->type, rank, dims);
    for (int k = 0; k < 3; k++)
        eff_onnx_strides(t[k], rank, from[k]);
    for (size_t i = 0; st == EFF_OK && c->compute && i < c->out->n; i++) {
        size_t j[3] = {0, 0, 0};
        for (int k = 0; k < 3; k++) {
            for (int d = 0; d < rank; d++)
                j[k] += (size_t)index[d] * from[k][d];
        }
        const int k = eff_onnx_get_int(t[0], j[0]) ? 1 : 2;
        eff_onnx_copy(c->out, i, t[k], j[k]);
        eff_onnx_step(rank, dims, index);
    }
    return st;
}

/* ---- Reductions ---- */

typedef enum Reduction { REDUCE_MEAN, REDUCE_SUM, REDUCE_PROD } Reduction;

static EffStatus reduce(EffOnnxCall *c, Reduction kind)
{
    const EffOnnxTensor *x = c->in[0];
    int64_t axes[EFF_MAX_RANK], kept[EFF_MAX_RANK], dims[EFF_MAX_RANK], index[EFF_MAX_RANK] = {0};
    bool over[EFF_MAX_RANK] = {false};
    int n, rank = 0;
    EffStatus st = eff_onnx_list(c, "axes", 1, axes, EFF_MAX_RANK, &n);
    if (st != EFF_OK)
        return st;
    const bool keep = eff_onnx_int(c->node, "keepdims", 1) != 0;
    if (n <= 0 && eff_onnx_int(c->node, "noop_with_empty_axes", 0) != 0)
        n = 0;
    else if (n <= 0)
        for (n = 0; n < x->rank; n++)
            axes[n] = n;
    for (int i = 0; i < n; i++) {
        int axis;
        if (!eff_onnx_axis(axes[i], x->rank, &axis))
            return eff_onnx_misfit("an axis outside the tensor");
        over[axis] = true;
    }
    double count = 1;
    for (int i = 0; i < x->rank; i++) {
        kept[i] = over[i] ? 1 : x->dims[i];
        count *= over[i] ? (double)x->dims[i] : 1;
        if (!over[i] || keep)
            dims[rank++] = kept[i];
    }
    if ((st = eff_onnx_result(c, x->type, rank, dims)) != EFF_OK || !c->compute ||
        (st = eff_onnx_spend(c, (int64_t)x->n)) != EFF_OK)
        return st;
    for (size_t o = 0; o < c->out->n; o++) { /* one output at a time, so that sums are in double */
        double sum = kind == REDUCE_PROD ? 1 : 0;
        int64_t at[EFF_MAX_RANK] = {0}, extent[EFF_MAX_RANK];
        size_t rest = o;
        for (int k = x->rank - 1; k >= 0; k--) {
            index[k] = (int64_t)(rest % (size_t)(kept[k] ? kept[k] : 1));
            rest /= (size_t)(kept[k] ? kept[k] : 1);
            extent[k] = over[k] ? x->dims[k] : 1;
        }
        bool more = count > 0;
        while (more) {
            size_t j = 0;
            for (int k = 0; k < x->rank; k++)
                j = j * (size_t)x->dims[k] + (size_t)(index[k] + at[k]);
            const double v = eff_onnx_get(x, j);
            sum = kind == REDUCE_PROD ? sum * v : sum + v;
            more = eff_onnx_step(x->rank, extent, at);
        }
        eff_onnx_put(c->out, o, kind == REDUCE_MEAN ? sum / count : sum);
    }
    return EFF_OK;
}

static EffStatus op_reduce_mean(EffOnnxCall *c)
{
    return reduce(c, REDUCE_MEAN);
}
static EffStatus op_reduce_sum(EffOnnxCall *c)
{
    return reduce(c, REDUCE_SUM);
}
static EffStatus op_reduce_prod(EffOnnxCall *c)
{
    return reduce(c, REDUCE_PROD);
}

/* ---- Quantization ---- */

/* Position of the scale for element i: of the whole tensor, or of its channel along the axis. */
static EffStatus scale_axis(const EffOnnxCall *c, const EffOnnxTensor *x, const EffOnnxTensor *scale, size_t *inner,
                            size_t *n)
{
    int axis;
    *inner = 1;
    *n = 1;
    if (eff_onnx_int(c->node, "block_size", 0) != 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "scales of blocks; scales of tensors and channels are read");
    if (scale->n == 1)
        return EFF_OK;
    if (!eff_onnx_axis(eff_onnx_int(c->node, "axis", 1), x->rank, &axis) || scale->n != (size_t)x->dims[axis])
        return eff_onnx_misfit("scales for another number of channels");
    *n = scale->n;
    for (int i = axis + 1; i < x->rank; i++)
        *inner *= (size_t)x->dims[i];
    return EFF_OK;
}

static EffStatus op_dequantize(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0], *scale = c->in[1], *zero = eff_onnx_arg(c, 2);
    size_t inner, n;
    EffStatus st = scale_axis(c, x, scale, &inner, &n);
    if (st == EFF_OK && zero != NULL && zero->n != scale->n)
        st = eff_onnx_misfit("as many zero points as scales are needed");
    if (st == EFF_OK)
        st = eff_onnx_result(c, scale->type, x->rank, x->dims);
    for (size_t i = 0; st == EFF_OK && c->compute && i < x->n; i++) {
        const size_t k = i / inner % n;
        const int64_t z = zero != NULL ? eff_onnx_get_int(zero, k) : 0;
        eff_onnx_put(c->out, i, (double)(eff_onnx_get_int(x, i) - z) * eff_onnx_get(scale, k));
    }
    return st;
}

static EffStatus op_quantize(EffOnnxCall *c)
{
    const EffOnnxTensor *x = c->in[0], *scale = c->in[1], *zero = eff_onnx_arg(c, 2);
    size_t inner, n;
    EffStatus st = scale_axis(c, x, scale, &inner, &n);
    const int64_t wanted = eff_onnx_int(c->node, "output_dtype", EFF_ONNX_UINT8);
    const EffOnnxType type = zero != NULL                ? zero->type
                             : wanted > 0 && wanted < 17 ? (EffOnnxType)wanted
                                                         : EFF_ONNX_UNDEFINED;
    static const double low[] = {
        [EFF_ONNX_UINT8] = 0, [EFF_ONNX_INT8] = -128, [EFF_ONNX_UINT16] = 0, [EFF_ONNX_INT16] = -32768};
    static const double high[] = {
        [EFF_ONNX_UINT8] = 255, [EFF_ONNX_INT8] = 127, [EFF_ONNX_UINT16] = 65535, [EFF_ONNX_INT16] = 32767};
    if (st == EFF_OK && (type < EFF_ONNX_UINT8 || type > EFF_ONNX_INT16))
        st = eff_fail(EFF_ERR_UNSUPPORTED, "quantization to %s", eff_onnx_type_name((int)type));
    if (st == EFF_OK && zero != NULL && zero->n != scale->n)
        st = eff_onnx_misfit("as many zero points as scales are needed");
    if (st == EFF_OK)
        st = eff_onnx_result(c, type, x->rank, x->dims);
    for (size_t i = 0; st == EFF_OK && c->compute && i < x->n; i++) {
        const size_t k = i / inner % n;
        const double z = zero != NULL ? (double)eff_onnx_get_int(zero, k) : 0;
        const float v = (float)eff_onnx_get(x, i) / (float)eff_onnx_get(scale, k);
        eff_onnx_put_int(c->out, i, (int64_t)clamp(nearbyint((double)v) + z, low[type], high[type]));
    }
    return st;
}

const EffOnnxOp eff_onnx_math_ops[] = {{"Relu", op_relu, 1},
                                       {"Sigmoid", op_sigmoid, 1},
                                       {"HardSigmoid", op_hard_sigmoid, 1},
                                       {"HardSwish", op_hard_swish, 1},
                                       {"Sqrt", op_sqrt, 1},
                                       {"Exp", op_exp, 1},
                                       {"Floor", op_floor, 1},
                                       {"Ceil", op_ceil, 1},
                                       {"Neg", op_neg, 1},
                                       {"Reciprocal", op_reciprocal, 1},
                                       {"Cast", op_cast, 1},
                                       {"Clip", op_clip, 1},
                                       {"Add", op_add, 2},
                                       {"Sub", op_sub, 2},
                                       {"Mul", op_mul, 2},
                                       {"Div", op_div, 2},
                                       {"Pow", op_pow, 2},
                                       {"Equal", op_equal, 2},
                                       {"Min", op_min, 1},
                                       {"Max", op_max, 1},
                                       {"Where", op_where, 3},
                                       {"ReduceMean", op_reduce_mean, 1},
                                       {"ReduceSum", op_reduce_sum, 1},
                                       {"ReduceProd", op_reduce_prod, 1},
                                       {"DequantizeLinear", op_dequantize, 2},
                                       {"QuantizeLinear", op_quantize, 2},
                                       {0}};
