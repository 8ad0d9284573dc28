/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol Buffers' wire format: https://protobuf.dev/programming-guides/encoding/ */
#include "export/onnx_write.h"
#include "base/mem.h"
#include "base/status.h"

#include <assert.h>
#include <string.h>

enum { VARINT = 0, BYTES = 2, FIXED32 = 5 };

static void put(EffProto *p, const void *bytes, size_t n)
{
    if (p->data != NULL && n > 0)
        memcpy(p->data + p->n_bytes, bytes, n);
    p->n_bytes += n;
}

static void varint(EffProto *p, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; v > 127; v >>= 7)
        bytes[n++] = (uint8_t)(v | 128);
    bytes[n++] = (uint8_t)v;
    put(p, bytes, n);
}

static void tag(EffProto *p, uint32_t field, unsigned type)
{
    varint(p, (uint64_t)field << 3 | type);
}

void eff_proto_start_writing(EffProto *p, uint8_t *data)
{
    assert(p->status == EFF_OK && p->depth == 0 && p->data == NULL);
    p->data = data;
    p->n_bytes = 0;
    p->n_messages = 0;
}

void eff_proto_int(EffProto *p, uint32_t field, int64_t v)
{
    if (p->status != EFF_OK)
        return;
    tag(p, field, VARINT);
    varint(p, (uint64_t)v);
}

void eff_proto_float(EffProto *p, uint32_t field, float v)
{
    if (p->status != EFF_OK)
        return;
    tag(p, field, FIXED32);
    put(p, &v, sizeof v);
}

uint8_t *eff_proto_bytes(EffProto *p, uint32_t field, uint64_t n)
{
    if (p->status != EFF_OK)
        return NULL;
    tag(p, field, BYTES);
    varint(p, n);
    uint8_t *at = p->data != NULL ? p->data + p->n_bytes : NULL;
    p->n_bytes += n;
    return at;
}

void eff_proto_text2(EffProto *p, uint32_t field, const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    uint8_t *at = eff_proto_bytes(p, field, n + m);
    if (at == NULL)
        return;
    memcpy(at, a, n);
    memcpy(at + n, b, m);
}

void eff_proto_text(EffProto *p, uint32_t field, const char *text)
{
    eff_proto_text2(p, field, text, "");
}

/* Room for the length of one more message. */
static bool note(EffProto *p)
{
    if (p->n_messages < p->capacity)
        return true;
    const size_t wanted = p->capacity ? 2 * p->capacity : 1024;
    uint64_t *grown = eff_realloc(p->lengths, p->n_messages * sizeof *grown, wanted, sizeof *grown);
    if (grown == NULL) {
        p->status = eff_fail_nomem(wanted * sizeof *grown, "the ONNX model");
        return false;
    }
    p->lengths = grown;
    p->capacity = wanted;
    return true;
}

void eff_proto_begin(EffProto *p, uint32_t field)
{
    if (p->status != EFF_OK || (p->data == NULL && !note(p)))
        return;
    assert(p->depth < EFF_PROTO_MAX_DEPTH);
    tag(p, field, BYTES);
    if (p->data != NULL)
        varint(p, p->lengths[p->n_messages]);
    p->open[p->depth].message = p->n_messages++;
    p->open[p->depth++].start = p->n_bytes;
}

void eff_proto_end(EffProto *p)
{
    if (p->status != EFF_OK)
        return;
    assert(p->depth > 0);
    p->depth--;
    const uint64_t length = p->n_bytes - p->open[p->depth].start;
    uint64_t *noted = &p->lengths[p->open[p->depth].message];
    if (p->data != NULL) {
        assert(*noted == length);
        return;
    }
    *noted = length;
    varint(p, length); /* counted behind the message, written before it */
}
