/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of general tensors, whatever their type. */
#include "import/onnx/onnx_tensor.h"
#include "base/mem.h"
#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t n_bytes;
} types[] = {
    [EFF_ONNX_UNDEFINED] = {"undefined", 0},
    [EFF_ONNX_FLOAT] = {"float", 4},
    [EFF_ONNX_UINT8] = {"uint8", 1},
    [EFF_ONNX_INT8] = {"int8", 1},
    [EFF_ONNX_UINT16] = {"uint16", 2},
    [EFF_ONNX_INT16] = {"int16", 2},
    [EFF_ONNX_INT32] = {"int32", 4},
    [EFF_ONNX_INT64] = {"int64", 8},
    [EFF_ONNX_STRING] = {"string", 0},
    [EFF_ONNX_BOOL] = {"bool", 1},
    [EFF_ONNX_FLOAT16] = {"float16", 2},
    [EFF_ONNX_DOUBLE] = {"double", 8},
    [EFF_ONNX_UINT32] = {"uint32", 4},
    [EFF_ONNX_UINT64] = {"uint64", 8},
    [14] = {"complex64", 0},
    [15] = {"complex128", 0},
    [EFF_ONNX_BFLOAT16] = {"bfloat16", 2},
};

const char *eff_onnx_type_name(int type)
{
    return type >= 0 && type < (int)EFF_COUNT(types) ? types[type].name : "an unknown type";
}

size_t eff_onnx_type_bytes(EffOnnxType type)
{
    return (int)type >= 0 && (int)type < (int)EFF_COUNT(types) ? types[type].n_bytes : 0;
}

bool eff_onnx_is_float(EffOnnxType type)
{
    return type == EFF_ONNX_FLOAT || type == EFF_ONNX_FLOAT16 || type == EFF_ONNX_BFLOAT16 || type == EFF_ONNX_DOUBLE;
}

EffStatus eff_onnx_set_dims(EffOnnxTensor *t, int rank, const int64_t *dims)
{
    if (rank < 0 || rank > EFF_MAX_RANK)
        return eff_fail(EFF_ERR_LIMIT, "a tensor of %d dimensions; at most %d are supported", rank, EFF_MAX_RANK);
    int64_t n = 1;
    for (int i = 0; i < rank; i++) {
        /* A zero must not hide a huge product of the others. */
        const int64_t d = dims[i] > 0 ? dims[i] : 1;
        if (dims[i] < 0 || dims[i] > EFF_ONNX_MAX_ELEMENTS || n > EFF_ONNX_MAX_ELEMENTS / d)
            return eff_fail(EFF_ERR_LIMIT, "a tensor with dimension %lld, or too many elements; at most %lld",
                            (long long)dims[i], (long long)EFF_ONNX_MAX_ELEMENTS);
        n *= d;
    }
    t->rank = rank;
    for (int i = 0; i < rank; i++) {
        t->dims[i] = dims[i];
        if (dims[i] == 0)
            n = 0;
    }
    t->n = (size_t)n;
    return EFF_OK;
}

EffStatus eff_onnx_alloc(EffOnnxTensor *t)
{
    t->stored = !eff_onnx_is_float(t->type)  ? EFF_ONNX_INT64
                : t->type == EFF_ONNX_DOUBLE ? EFF_ONNX_DOUBLE
                                             : EFF_ONNX_FLOAT;
    const size_t n_bytes = eff_onnx_type_bytes(t->stored);
    t->owned = eff_calloc(t->n, n_bytes);
    if (t->owned == NULL)
        return eff_fail_nomem(t->n * n_bytes, "a tensor");
    t->data = t->owned;
    return EFF_OK;
}

void eff_onnx_free(EffOnnxTensor *t)
{
    eff_free(t->owned);
    t->owned = NULL;
    t->data = NULL;
}

static double half_value(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

double eff_onnx_get(const EffOnnxTensor *t, size_t i)
{
    if (t->stored == EFF_ONNX_FLOAT) {
        float v;
        memcpy(&v, t->data + i * sizeof v, sizeof v);
        return (double)v;
    }
    if (t->stored == EFF_ONNX_DOUBLE) {
        double v;
        memcpy(&v, t->data + i * sizeof v, sizeof v);
        return v;
    }
    if (t->stored == EFF_ONNX_FLOAT16 || t->stored == EFF_ONNX_BFLOAT16) {
        uint16_t h;
        memcpy(&h, t->data + i * sizeof h, sizeof h);
        if (t->stored == EFF_ONNX_FLOAT16)
            return half_value(h);
        const uint32_t bits = (uint32_t)h << 16;
        float v;
        memcpy(&v, &bits, sizeof v);
        return (double)v;
    }
    const int64_t v = eff_onnx_get_int(t, i);
    return t->stored == EFF_ONNX_UINT64 ? (double)(uint64_t)v : (double)v;
}

/* Beyond the range of the integers, and NaN, as x86 converts: the smallest. */
static int64_t to_int(double v)
{
    return v >= -9223372036854775808.0 && v < 9223372036854775808.0 ? (int64_t)v : INT64_MIN;
}

int64_t eff_onnx_get_int(const EffOnnxTensor *t, size_t i)
{
    const size_t n = eff_onnx_type_bytes(t->stored);
    if (eff_onnx_is_float(t->stored))
        return to_int(eff_onnx_get(t, i));
    uint64_t v = 0;
    memcpy(&v, t->data + i * n, n); /* little-endian */
    switch (t->stored) {
    case EFF_ONNX_INT8: return (int8_t)v;
    case EFF_ONNX_INT16: return (int16_t)v;
    case EFF_ONNX_INT32: return (int32_t)v;
    case EFF_ONNX_BOOL: return v != 0;
    default: return (int64_t)v;
    }
}

static int64_t wrap(EffOnnxType type, int64_t v)
{
    switch (type) {
    case EFF_ONNX_UINT8: return (uint8_t)v;
    case EFF_ONNX_INT8: return (int8_t)v;
    case EFF_ONNX_UINT16: return (uint16_t)v;
    case EFF_ONNX_INT16: return (int16_t)v;
    case EFF_ONNX_INT32: return (int32_t)v;
    case EFF_ONNX_UINT32: return (uint32_t)v;
    case EFF_ONNX_BOOL: return v != 0;
    default: return v;
    }
}

void eff_onnx_put_int(EffOnnxTensor *t, size_t i, int64_t v)
{
    if (t->stored == EFF_ONNX_INT64)
        ((int64_t *)t->owned)[i] = wrap(t->type, v);
    else
        eff_onnx_put(t, i, (double)v);
}

/* To the nearest of a type with `bits` of fraction, whose smallest normal number is 2^least; ties to even. */
static double round_to(double v, int bits, int least, double most)
{
    int exponent;
    if (v == 0 || !isfinite(v))
        return v;
    frexp(v, &exponent);
    const int unit = (exponent - 1 > least ? exponent - 1 : least) - bits;
    const double r = ldexp(nearbyint(ldexp(v, -unit)), unit);
    return fabs(r) > most ? copysign(INFINITY, r) : r;
}

void eff_onnx_put(EffOnnxTensor *t, size_t i, double v)
{
    if (t->type == EFF_ONNX_FLOAT16)
        v = round_to(v, 10, -14, 65504);
    else if (t->type == EFF_ONNX_BFLOAT16)
        v = round_to((double)(float)v, 7, -126, 3.3895313892515355e38);
    if (t->stored == EFF_ONNX_FLOAT)
        ((float *)t->owned)[i] = (float)v;
    else if (t->stored == EFF_ONNX_DOUBLE)
        ((double *)t->owned)[i] = v;
    else
        ((int64_t *)t->owned)[i] = t->type == EFF_ONNX_BOOL ? v != 0 : wrap(t->type, to_int(v));
}

void eff_onnx_copy(EffOnnxTensor *t, size_t i, const EffOnnxTensor *src, size_t j)
{
    if (t->stored == EFF_ONNX_INT64)
        ((int64_t *)t->owned)[i] = eff_onnx_get_int(src, j);
    else
        eff_onnx_put(t, i, eff_onnx_get(src, j));
}

const char *eff_onnx_dims_text(char *buffer, size_t n_bytes, const EffOnnxTensor *t)
{
    size_t at = 0;
    snprintf(buffer, n_bytes, "scalar");
    for (int i = 0; i < t->rank && at < n_bytes; i++)
        at += (size_t)snprintf(buffer + at, n_bytes - at, "%s%lld", i ? "x" : "", (long long)t->dims[i]);
    return buffer;
}
