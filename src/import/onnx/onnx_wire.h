/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol Buffers' wire format, read in place: a message is a run of fields, and nothing is copied. Every length is
 * checked against the bytes that hold it, so that what comes out may be trusted as far as it goes.
 */
#ifndef EFF_IMPORT_ONNX_WIRE_H
#define EFF_IMPORT_ONNX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is left of a message, a string or a packed array; borrowed. */
typedef struct EffWire {
    const uint8_t *at, *end;
} EffWire;

typedef enum EffWireType {
    EFF_WIRE_VARINT = 0,
    EFF_WIRE_FIXED64 = 1,
    EFF_WIRE_BYTES = 2,
    EFF_WIRE_FIXED32 = 5
} EffWireType;

typedef struct EffWireField {
    uint32_t number;
    EffWireType type;
    uint64_t value; /* of the other three types */
    EffWire bytes;  /* of EFF_WIRE_BYTES */
} EffWireField;

typedef enum EffWireResult { EFF_WIRE_END, EFF_WIRE_FIELD, EFF_WIRE_DAMAGED } EffWireResult;

/* The next field, moving on behind it. Groups, which nobody writes any more, count as damage. */
EffWireResult eff_wire_next(EffWire *w, EffWireField *out);
/* A number of a packed array, or of a field; false past the end or beyond 64 bits. */
bool eff_wire_varint(EffWire *w, uint64_t *out);

static inline size_t eff_wire_size(EffWire w)
{
    return (size_t)(w.end - w.at);
}
/* Whether the bytes are this text. */
bool eff_wire_is(EffWire w, const char *text);

#endif
