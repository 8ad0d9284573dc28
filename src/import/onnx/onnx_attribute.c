/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of a node, looked up in its bytes each time: nodes have few of them. */
#include "import/onnx/onnx_model.h"

#include <string.h>

/* Fields of AttributeProto. */
enum { NAME = 1, F = 2, I = 3, S = 4, T = 5, FLOATS = 7, INTS = 8 };

static bool find(const EffOnnxNode *node, const char *name, EffWire *out)
{
    EffWire rest = node->proto;
    EffWireField f, g;
    while (eff_wire_next(&rest, &f) == EFF_WIRE_FIELD) {
        if (f.number != 5 || f.type != EFF_WIRE_BYTES)
            continue;
        EffWire attribute = f.bytes;
        while (eff_wire_next(&attribute, &g) == EFF_WIRE_FIELD) {
            if (g.number == NAME && g.type == EFF_WIRE_BYTES && eff_wire_is(g.bytes, name)) {
                *out = f.bytes;
                return true;
            }
        }
    }
    return false;
}

static bool field(const EffOnnxNode *node, const char *name, uint32_t number, EffWireField *out)
{
    EffWire attribute;
    if (!find(node, name, &attribute))
        return false;
    bool found = false;
    EffWireField f;
    while (eff_wire_next(&attribute, &f) == EFF_WIRE_FIELD) {
        if (f.number == number) {
            *out = f;
            found = true;
        }
    }
    return found;
}

bool eff_onnx_has(const EffOnnxNode *node, const char *name)
{
    EffWire attribute;
    return find(node, name, &attribute);
}

int64_t eff_onnx_int(const EffOnnxNode *node, const char *name, int64_t missing)
{
    EffWireField f;
    return field(node, name, I, &f) && f.type == EFF_WIRE_VARINT ? (int64_t)f.value : missing;
}

static float to_float(uint64_t bits)
{
    const uint32_t low = (uint32_t)bits;
    float v;
    memcpy(&v, &low, sizeof v);
    return v;
}

double eff_onnx_float(const EffOnnxNode *node, const char *name, double missing)
{
    EffWireField f;
    return field(node, name, F, &f) && f.type == EFF_WIRE_FIXED32 ? (double)to_float(f.value) : missing;
}

EffWire eff_onnx_string(const EffOnnxNode *node, const char *name)
{
    EffWireField f;
    return field(node, name, S, &f) ? f.bytes : (EffWire){0};
}

bool eff_onnx_tensor(const EffOnnxNode *node, const char *name, EffWire *out)
{
    EffWireField f;
    if (!field(node, name, T, &f) || f.type != EFF_WIRE_BYTES)
        return false;
    *out = f.bytes;
    return true;
}

int eff_onnx_ints(const EffOnnxNode *node, const char *name, int64_t *out, int max)
{
    EffWire attribute;
    EffWireField f;
    int n = 0;
    if (!find(node, name, &attribute))
        return -1;
    while (eff_wire_next(&attribute, &f) == EFF_WIRE_FIELD) {
        if (f.number != INTS)
            continue;
        uint64_t v = f.value;
        bool more = f.type == EFF_WIRE_VARINT || f.bytes.at < f.bytes.end;
        while (more) {
            if ((f.type == EFF_WIRE_BYTES && !eff_wire_varint(&f.bytes, &v)) || n == max)
                return -1;
            out[n++] = (int64_t)v;
            more = f.type == EFF_WIRE_BYTES && f.bytes.at < f.bytes.end;
        }
    }
    return n;
}

int eff_onnx_floats(const EffOnnxNode *node, const char *name, float *out, int max)
{
    EffWire attribute;
    EffWireField f;
    int n = 0;
    if (!find(node, name, &attribute))
        return -1;
    while (eff_wire_next(&attribute, &f) == EFF_WIRE_FIELD) {
        if (f.number != FLOATS)
            continue;
        if (f.type == EFF_WIRE_FIXED32) {
            if (n == max)
                return -1;
            out[n++] = to_float(f.value);
        }
        for (; eff_wire_size(f.bytes) >= 4; f.bytes.at += 4) {
            if (n == max)
                return -1;
            memcpy(&out[n++], f.bytes.at, 4);
        }
    }
    return n;
}
