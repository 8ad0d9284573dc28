/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is a list of fields in the order of the file, each with its depth: what a message holds follows it, deeper.
 * So a field with all that it holds is a run of the list, and moving, repeating or wrapping it moves a run.
 */
#include "proto_mutate.h"

#include "base/compiler.h"
#include "import/onnx/onnx_wire.h"

#include <stdlib.h>
#include <string.h>

typedef enum Kind {
    LEAF,
    MODEL,
    GRAPH,
    NODE,
    ATTRIBUTE,
    TENSOR,
    ENTRY,
    VALUE,
    TYPE,
    TENSOR_TYPE,
    SHAPE,
    DIM,
    SET
} Kind;

/* Which fields are messages; all other lengths are of strings and of packed numbers. */
static const struct Message {
    Kind kind;
    uint32_t number;
    Kind inside;
} messages[] = {
    {MODEL, 7, GRAPH},    {MODEL, 8, SET},        {MODEL, 14, ENTRY},      {GRAPH, 1, NODE},
    {GRAPH, 5, TENSOR},   {GRAPH, 11, VALUE},     {GRAPH, 12, VALUE},      {GRAPH, 13, VALUE},
    {NODE, 5, ATTRIBUTE}, {ATTRIBUTE, 5, TENSOR}, {ATTRIBUTE, 6, GRAPH},   {TENSOR, 13, ENTRY},
    {VALUE, 2, TYPE},     {TYPE, 1, TENSOR_TYPE}, {TENSOR_TYPE, 2, SHAPE}, {SHAPE, 1, DIM},
};

typedef struct Field {
    EffWireField f;
    int depth;
    bool is_message; /* f.bytes is not used */
} Field;

/* Most fields of a mutant, and how deep they may lie. */
enum { MAX_FIELDS = 4096, MAX_DEPTH = 1000, MAX_MUTANT_BYTES = 1 << 20 };

typedef struct Fields {
    Field items[MAX_FIELDS];
    int n;
} Fields;

static Kind kind_inside(Kind kind, uint32_t number)
{
    for (size_t i = 0; i < EFF_COUNT(messages); i++) {
        if (messages[i].kind == kind && messages[i].number == number)
            return messages[i].inside;
    }
    return LEAF;
}

static bool take_apart(Fields *l, Kind kind, EffWire w, int depth)
{
    EffWireField f;
    EffWireResult result;
    while ((result = eff_wire_next(&w, &f)) == EFF_WIRE_FIELD) {
        if (l->n == MAX_FIELDS)
            return false;
        const Kind inside = f.type == EFF_WIRE_BYTES ? kind_inside(kind, f.number) : LEAF;
        l->items[l->n++] = (Field){.f = f, .depth = depth, .is_message = inside != LEAF};
        if (inside != LEAF && !take_apart(l, inside, f.bytes, depth + 1))
            return false;
    }
    return result == EFF_WIRE_END;
}

/* ---- Writing, from the end to the front, so that a length is known when it is written ---- */

typedef struct Writer {
    uint8_t *start, *at; /* what is written lies behind `at` */
    bool full;
} Writer;

static void put(Writer *w, const void *bytes, size_t n)
{
    if ((size_t)(w->at - w->start) < n) {
        w->full = true;
        return;
    }
    w->at -= n;
    if (n > 0)
        memcpy(w->at, bytes, n);
}

static void put_varint(Writer *w, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; v > 127; v >>= 7)
        bytes[n++] = (uint8_t)(v | 128);
    bytes[n++] = (uint8_t)v;
    put(w, bytes, n);
}

/* The first field behind field i that does not lie in it. */
static int end_of(const Fields *l, int i)
{
    const int depth = l->items[i].depth;
    do
        i++;
    while (i < l->n && l->items[i].depth > depth);
    return i;
}

static void write(Writer *w, const Fields *l)
{
    const uint8_t *ends[MAX_DEPTH + 1]; /* of the messages that are being written, by depth */
    int depth = -1;
    for (int i = l->n - 1; i >= 0 && !w->full; i--) {
        const Field *f = &l->items[i];
        for (; depth < f->depth; depth++)
            ends[depth + 1] = w->at;
        if (f->f.type == EFF_WIRE_VARINT) {
            put_varint(w, f->f.value);
        } else if (f->f.type == EFF_WIRE_BYTES && f->is_message) {
            const bool holds = i + 1 < l->n && l->items[i + 1].depth > f->depth;
            put_varint(w, holds ? (uint64_t)(ends[f->depth + 1] - w->at) : 0);
        } else if (f->f.type == EFF_WIRE_BYTES) {
            put(w, f->f.bytes.at, eff_wire_size(f->f.bytes));
            put_varint(w, eff_wire_size(f->f.bytes));
        } else {
            put(w, &f->f.value, f->f.type == EFF_WIRE_FIXED64 ? 8 : 4); /* little-endian, as we are */
        }
        put_varint(w, (uint64_t)f->f.number << 3 | f->f.type);
        depth = f->depth;
    }
}

/* ---- Changes ---- */

static void change_number(EffRng *rng, uint64_t *v)
{
    static const uint64_t values[] = {0,          1,          UINT64_MAX, INT64_MAX,  (uint64_t)INT64_MIN, INT32_MAX,
                                      1ull << 31, 1ull << 32, UINT32_MAX, 1ull << 16, 1ull << 62};
    switch (eff_rng_below(rng, 5)) {
    case 0: *v += 1; break;
    case 1: *v -= 1; break;
    case 2: *v *= 2; break;
    case 3: *v = eff_rng_below(rng, 24); break; /* types, ranks, axes, sizes */
    default: *v = values[eff_rng_below(rng, EFF_COUNT(values))];
    }
}

static void change_fixed(EffRng *rng, uint64_t *v)
{
    static const uint64_t values[] = {0,          0x7fc00000, 0x7f800000, 0xff800000,         0xbf800000,
                                      0x7f7fffff, 1,          UINT64_MAX, 0x7ff0000000000000, 0x7ff8000000000000};
    *v = values[eff_rng_below(rng, EFF_COUNT(values))];
}

/* A run of the list goes to `to` too; false where there is no room. */
static bool copy_run(Fields *l, int from, int to, int deeper)
{
    const int n = end_of(l, from) - from;
    int deepest = 0;
    for (int i = from; i < from + n; i++)
        deepest = l->items[i].depth > deepest ? l->items[i].depth : deepest;
    if (l->n + n > MAX_FIELDS || deepest + deeper > MAX_DEPTH)
        return false;
    Field *copy = malloc((size_t)n * sizeof *copy);
    if (copy == NULL)
        abort();
    memcpy(copy, &l->items[from], (size_t)n * sizeof *copy);
    memmove(&l->items[to + n], &l->items[to], (size_t)(l->n - to) * sizeof *copy);
    for (int i = 0; i < n; i++) {
        l->items[to + i] = copy[i];
        l->items[to + i].depth += deeper;
    }
    l->n += n;
    free(copy);
    return true;
}

static void drop_run(Fields *l, int from)
{
    const int end = end_of(l, from);
    memmove(&l->items[from], &l->items[end], (size_t)(l->n - end) * sizeof *l->items);
    l->n -= end - from;
}

/* Put field i into n messages of its own number, one in another. */
static void wrap(Fields *l, int i, int n)
{
    const int end = end_of(l, i);
    int deepest = 0;
    for (int k = i; k < end; k++)
        deepest = l->items[k].depth > deepest ? l->items[k].depth : deepest;
    if (l->n + n > MAX_FIELDS || deepest + n > MAX_DEPTH)
        return;
    const Field outer = {
        .f = {.number = l->items[i].f.number, .type = EFF_WIRE_BYTES}, .depth = l->items[i].depth, .is_message = true};
    memmove(&l->items[i + n], &l->items[i], (size_t)(l->n - i) * sizeof *l->items);
    l->n += n;
    for (int k = 0; k < n; k++) {
        l->items[i + k] = outer;
        l->items[i + k].depth += k;
    }
    for (int k = i + n; k < end + n; k++)
        l->items[k].depth += n;
}

/* A field with the same type, message or not, as field i; i itself where chance finds none. */
static int alike(const Fields *l, EffRng *rng, int i)
{
    for (int tries = 0; tries < 32; tries++) {
        const int k = (int)eff_rng_below(rng, (uint64_t)l->n);
        if (l->items[k].f.type == l->items[i].f.type && l->items[k].is_message == l->items[i].is_message)
            return k;
    }
    return i;
}

static void change_text(Fields *l, EffRng *rng, int i, const uint8_t *end)
{
    EffWire *text = &l->items[i].f.bytes, *other = &l->items[alike(l, rng, i)].f.bytes;
    const EffWire kept = *text;
    switch (eff_rng_below(rng, 5)) {
    case 0: text->end = text->at; break;
    case 1: *text = *other, *other = kept; break; /* a node reads another value, or has another operator */
    case 2: *text = *other; break;                /* two things have one name */
    case 3: text->end -= text->end > text->at; break;
    default: text->end += text->end < end; /* what follows in the file */
    }
}

static void change_place(Fields *l, EffRng *rng, int i)
{
    const int k = alike(l, rng, i);
    switch (eff_rng_below(rng, 6)) {
    case 0: drop_run(l, i); break;
    case 1: /* again, behind itself */
        for (uint64_t n = eff_rng_below(rng, 8) + 1; n > 0 && copy_run(l, i, end_of(l, i), 0); n--)
            continue;
        break;
    case 2: /* at the place of one that is like it: another order, or a message where none of its kind belongs */
        copy_run(l, i, k, l->items[k].depth - l->items[i].depth);
        break;
    case 3: /* into a message: a graph in its own node's attribute */
        if (l->items[k].is_message)
            copy_run(l, i, k + 1, l->items[k].depth + 1 - l->items[i].depth);
        break;
    case 4: wrap(l, i, (int)(1 + eff_rng_below(rng, eff_rng_below(rng, 8) == 0 ? 800 : 3))); break;
    default: l->items[i].f.number = 1 + (uint32_t)eff_rng_below(rng, 24);
    }
}

/* Another type of the wire for the same field; what a message holds goes. */
static void change_type(Fields *l, EffRng *rng, int i, const uint8_t *end)
{
    static const EffWireType types[] = {EFF_WIRE_VARINT, EFF_WIRE_FIXED64, EFF_WIRE_BYTES, EFF_WIRE_FIXED32};
    while (end_of(l, i) > i + 1)
        drop_run(l, i + 1);
    const EffWireField old = l->items[i].f;
    l->items[i].is_message = false;
    l->items[i].f = (EffWireField){.number = old.number, .type = types[eff_rng_below(rng, EFF_COUNT(types))]};
    l->items[i].f.bytes = (EffWire){end, end};
}

static void change(Fields *l, EffRng *rng, const uint8_t *end)
{
    const int i = (int)eff_rng_below(rng, (uint64_t)l->n);
    const Field *f = &l->items[i];
    const uint64_t what = eff_rng_below(rng, 8);
    if (what == 0)
        change_type(l, rng, i, end);
    else if (what < 4 || f->is_message)
        change_place(l, rng, i);
    else if (f->f.type == EFF_WIRE_BYTES)
        change_text(l, rng, i, end);
    else if (f->f.type == EFF_WIRE_VARINT)
        change_number(rng, &l->items[i].f.value);
    else
        change_fixed(rng, &l->items[i].f.value);
}

/* ---- A file ---- */

static size_t put_together(uint8_t **out, const Fields *l)
{
    uint8_t *room = malloc(MAX_MUTANT_BYTES);
    if (room == NULL)
        abort();
    Writer w = {.start = room, .at = room + MAX_MUTANT_BYTES};
    write(&w, l);
    const size_t n = w.full ? 0 : (size_t)(room + MAX_MUTANT_BYTES - w.at);
    memmove(room, w.at, n);
    *out = room;
    return n;
}

static Fields *fields_of(const uint8_t *data, size_t size)
{
    Fields *l = malloc(sizeof *l);
    if (l == NULL)
        abort();
    l->n = 0;
    if (take_apart(l, MODEL, (EffWire){data, data + size}, 0))
        return l;
    free(l);
    return NULL;
}

bool proto_returns(const uint8_t *data, size_t size)
{
    uint8_t *back = NULL;
    Fields *l = fields_of(data, size);
    const bool same = l != NULL && put_together(&back, l) == size && memcmp(back, data, size) == 0;
    free(back);
    free(l);
    return same;
}

size_t proto_mutate(uint8_t **out, EffRng *rng, const uint8_t *data, size_t size)
{
    Fields *l = fields_of(data, size);
    if (l == NULL) {
        if ((*out = malloc(size ? size : 1)) == NULL)
            abort();
        memcpy(*out, data, size);
        return size;
    }
    for (uint64_t n = 1 + eff_rng_below(rng, 4); n > 0 && l->n > 0; n--)
        change(l, rng, data + size);
    const size_t n = put_together(out, l);
    free(l);
    return n;
}
