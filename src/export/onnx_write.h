/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol Buffers' wire format, written without a copy. A message's length stands before it, so the same calls are
 * made twice: first nothing is written and the lengths of all messages are noted, then they go to a buffer of just the
 * size that was measured.
 */
#ifndef EFF_EXPORT_ONNX_WRITE_H
#define EFF_EXPORT_ONNX_WRITE_H

#include "effnet/base.h"

#include <stdint.h>

enum { EFF_PROTO_MAX_DEPTH = 8 };

/* Zeroed, it measures. After a failure (memory is short) calls do nothing. */
typedef struct EffProto {
    uint8_t *data;     /* NULL while measuring */
    uint64_t n_bytes;  /* measured or written so far */
    uint64_t *lengths; /* of the messages, in the order in which they begin; eff_free() */
    size_t n_messages, capacity;
    struct {
        size_t message;
        uint64_t start;
    } open[EFF_PROTO_MAX_DEPTH];
    int depth;
    EffStatus status;
} EffProto;

/* What was measured will be written to data, which has n_bytes bytes. */
void eff_proto_start_writing(EffProto *p, uint8_t *data);

void eff_proto_int(EffProto *p, uint32_t field, int64_t v);
void eff_proto_float(EffProto *p, uint32_t field, float v);
void eff_proto_text(EffProto *p, uint32_t field, const char *text);
/* One text in two parts, which saves the memory to join them. */
void eff_proto_text2(EffProto *p, uint32_t field, const char *a, const char *b);
/* Room for n bytes, which the caller fills; NULL while measuring. */
uint8_t *eff_proto_bytes(EffProto *p, uint32_t field, uint64_t n);
/* Fields between the two belong to a message inside. */
void eff_proto_begin(EffProto *p, uint32_t field);
void eff_proto_end(EffProto *p);

#endif
