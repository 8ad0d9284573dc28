/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol Buffers' wire format: https://protobuf.dev/programming-guides/encoding/ */
#include "import/onnx/onnx_wire.h"

#include <string.h>

bool eff_wire_varint(EffWire *w, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
        const uint64_t byte = *w->at++;
        if (shift == 63 && byte > 1)
            return false;
        v |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool fixed(EffWire *w, size_t n, uint64_t *out)
{
    if (eff_wire_size(*w) < n)
        return false;
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t)w->at[i] << 8 * i;
    w->at += n;
    return true;
}

EffWireResult eff_wire_next(EffWire *w, EffWireField *out)
{
    uint64_t tag, n;
    if (w->at == w->end)
        return EFF_WIRE_END;
    if (!eff_wire_varint(w, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return EFF_WIRE_DAMAGED;
    *out = (EffWireField){.number = (uint32_t)(tag >> 3), .type = (EffWireType)(tag & 7)};
    switch (tag & 7) {
    case EFF_WIRE_VARINT: return eff_wire_varint(w, &out->value) ? EFF_WIRE_FIELD : EFF_WIRE_DAMAGED;
    case EFF_WIRE_FIXED64: return fixed(w, 8, &out->value) ? EFF_WIRE_FIELD : EFF_WIRE_DAMAGED;
    case EFF_WIRE_FIXED32: return fixed(w, 4, &out->value) ? EFF_WIRE_FIELD : EFF_WIRE_DAMAGED;
    case EFF_WIRE_BYTES:
        if (!eff_wire_varint(w, &n) || n > eff_wire_size(*w))
            return EFF_WIRE_DAMAGED;
        out->bytes = (EffWire){w->at, w->at + n};
        w->at += n;
        return EFF_WIRE_FIELD;
    default: return EFF_WIRE_DAMAGED;
    }
}

bool eff_wire_is(EffWire w, const char *text)
{
    const size_t n = strlen(text);
    return eff_wire_size(w) == n && (n == 0 || memcmp(w.at, text, n) == 0);
}
