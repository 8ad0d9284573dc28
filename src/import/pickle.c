/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack machine of pickle protocols 2 to 5, less everything that a state dict does not need. Values live in an
 * arena until the reader is freed; no walk recurses, so neither depth nor cycles matter. What the values mean as
 * tensors is left to state_dict.c. The opcodes are those of Python's pickletools.
 */
#include "import/pickle.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "base/status.h"

#include <assert.h>
#include <string.h>

typedef struct EffPickleChunk {
    struct EffPickleChunk *next;
    size_t used, capacity; /* of the bytes that follow this header */
} EffPickleChunk;

enum { FIRST_CHUNK = 4 << 10, LAST_CHUNK = 1 << 20, CHUNK_HEADER = 32 };
_Static_assert(sizeof(EffPickleChunk) <= CHUNK_HEADER, "values behind the header must stay aligned");

static EffStatus damaged(const EffPickle *p, const char *what)
{
    return eff_fail(EFF_ERR_FORMAT, "pickle: %s (offset %zu); the file is damaged, fetch it again", what, p->op_at);
}

static void *arena_take(EffPickle *p, size_t n, size_t size)
{
    size_t n_bytes;
    if (!eff_mul_size(&n_bytes, n, size) || n_bytes > SIZE_MAX / 2)
        return NULL;
    n_bytes = (n_bytes + 7) & ~(size_t)7;
    EffPickleChunk *chunk = p->chunks;
    if (chunk == NULL || chunk->capacity - chunk->used < n_bytes) {
        size_t capacity = chunk == NULL ? FIRST_CHUNK : chunk->capacity * 2;
        capacity = capacity > LAST_CHUNK ? LAST_CHUNK : capacity;
        capacity = capacity < n_bytes ? n_bytes : capacity;
        EffPickleChunk *fresh = eff_malloc(CHUNK_HEADER + capacity);
        if (fresh == NULL)
            return NULL;
        *fresh = (EffPickleChunk){.next = chunk, .capacity = capacity};
        p->chunks = chunk = fresh;
    }
    void *taken = (uint8_t *)chunk + CHUNK_HEADER + chunk->used;
    chunk->used += n_bytes;
    return taken;
}

static EffStatus grow(EffPickleValue **values, size_t *capacity, size_t needed, const char *what)
{
    if (needed <= *capacity)
        return EFF_OK;
    size_t n = *capacity ? *capacity * 2 : 256;
    n = n < needed ? needed : n;
    EffPickleValue *grown = eff_realloc(*values, *capacity * sizeof **values, n, sizeof **values);
    if (grown == NULL)
        return eff_fail_nomem(n * sizeof **values, what);
    *values = grown;
    *capacity = n;
    return EFF_OK;
}

/* ---- Input ---------------------------------------------------------------------------------------------------- */

static EffStatus take(EffPickle *p, const uint8_t **out, uint64_t n)
{
    *out = p->data + p->at;
    if (n > p->end - p->at) {
        if (p->end < p->size)
            return eff_fail(EFF_ERR_LIMIT, "pickle: longer than %d bytes (offset %zu); save the state dict alone",
                            EFF_PICKLE_MAX_BYTES, p->op_at);
        return damaged(p, "cut short");
    }
    p->at += (size_t)n;
    return EFF_OK;
}

/* A little-endian integer of 1 to 8 bytes. */
static EffStatus take_uint(EffPickle *p, uint64_t *out, size_t n)
{
    const uint8_t *bytes;
    const EffStatus st = take(p, &bytes, n);
    *out = 0;
    for (size_t i = 0; st == EFF_OK && i < n; i++)
        *out |= (uint64_t)bytes[i] << 8 * i;
    return st;
}

/* A string behind a length of n_length bytes. */
static EffStatus take_counted(EffPickle *p, EffPickleValue *out, EffPickleKind kind, size_t n_length)
{
    uint64_t n;
    const uint8_t *bytes;
    EffStatus st = take_uint(p, &n, n_length);
    if (st != EFF_OK || (st = take(p, &bytes, n)) != EFF_OK)
        return st;
    *out = (EffPickleValue){.kind = kind, .n = (uint32_t)n, .u.bytes = bytes};
    return EFF_OK;
}

static EffStatus take_line(EffPickle *p, EffPickleValue *out)
{
    const uint8_t *line = p->data + p->at, *end = memchr(line, '\n', p->end - p->at);
    if (end == NULL)
        return damaged(p, "a name without an end");
    *out = (EffPickleValue){.kind = EFF_PICKLE_STRING, .n = (uint32_t)(end - line), .u.bytes = line};
    p->at += out->n + 1;
    return EFF_OK;
}

/* ---- Stack and memo ------------------------------------------------------------------------------------------- */

static EffStatus push(EffPickle *p, EffPickleValue v)
{
    if (p->n_stack == EFF_PICKLE_MAX_STACK)
        return eff_fail(EFF_ERR_LIMIT, "pickle: more than %d values wait on its stack (offset %zu); not a state dict",
                        EFF_PICKLE_MAX_STACK, p->op_at);
    const EffStatus st = grow(&p->stack, &p->stack_capacity, p->n_stack + 1, "the stack of a pickle");
    if (st != EFF_OK)
        return st;
    p->stack[p->n_stack++] = v;
    return EFF_OK;
}

/* The value `depth` below the top, or NULL when there is a mark or nothing. */
static EffPickleValue *peek(const EffPickle *p, size_t depth)
{
    for (size_t i = 0; i <= depth; i++)
        if (p->n_stack <= i || p->stack[p->n_stack - 1 - i].kind == EFF_PICKLE_MARK)
            return NULL;
    return &p->stack[p->n_stack - 1 - depth];
}

/* How many values lie above the topmost mark; false without one. Each call is followed by popping what it walked. */
static bool above_mark(const EffPickle *p, size_t *n)
{
    for (*n = 0; *n < p->n_stack; ++*n)
        if (p->stack[p->n_stack - 1 - *n].kind == EFF_PICKLE_MARK)
            return true;
    return false;
}

static EffStatus memo_put(EffPickle *p, uint64_t index)
{
    const EffPickleValue *top = peek(p, 0);
    if (top == NULL)
        return damaged(p, "nothing to memoize");
    if (index >= p->at - p->begin) /* picklers number what they have written */
        return damaged(p, "a memo number beyond its values");
    const size_t before = p->memo_capacity;
    const EffStatus st = grow(&p->memo, &p->memo_capacity, (size_t)index + 1, "the memo of a pickle");
    if (st != EFF_OK)
        return st;
    if (p->memo_capacity > before)
        memset(p->memo + before, 0, (p->memo_capacity - before) * sizeof *p->memo);
    p->memo[index] = *top;
    p->n_memo++;
    return EFF_OK;
}

static EffStatus memo_get(EffPickle *p, uint64_t index)
{
    if (index >= p->memo_capacity || p->memo[index].kind == EFF_PICKLE_UNSET)
        return damaged(p, "a memo number that was never written");
    return push(p, p->memo[index]);
}

/* ---- Containers ----------------------------------------------------------------------------------------------- */

static EffStatus new_list(EffPickle *p, EffPickleValue *out, EffPickleKind kind)
{
    EffPickleList *list = arena_take(p, 1, sizeof *list);
    if (list == NULL)
        return eff_fail_nomem(sizeof *list, "a container of a pickle");
    *list = (EffPickleList){0};
    *out = (EffPickleValue){.kind = kind, .u.list = list};
    return EFF_OK;
}

static EffStatus append(EffPickle *p, EffPickleList *list, EffPickleValue v)
{
    /* Without this bound, OrderedDict(items) of one memoized list, again and again, would grow without end. */
    if (p->n_cells >= p->at - p->begin)
        return eff_fail(EFF_ERR_LIMIT, "pickle: more items than bytes (offset %zu); not a state dict", p->op_at);
    EffPickleCell *cell = arena_take(p, 1, sizeof *cell);
    if (cell == NULL)
        return eff_fail_nomem(sizeof *cell, "an item of a pickle");
    *cell = (EffPickleCell){.value = v};
    if (list->last != NULL)
        list->last->next = cell;
    else
        list->first = cell;
    list->last = cell;
    list->n++;
    p->n_cells++;
    return EFF_OK;
}

/* Pop n values and append them to the container below; `n_drop` counts the mark between them. */
static EffStatus append_top(EffPickle *p, EffPickleKind kind, size_t n, size_t n_drop)
{
    const size_t first = p->n_stack - n;
    const EffPickleValue *into = first > n_drop ? &p->stack[first - n_drop - 1] : NULL;
    if (into == NULL || into->kind != kind || (kind == EFF_PICKLE_DICT && n % 2 != 0))
        return damaged(p, kind == EFF_PICKLE_DICT ? "entries that belong to no dict" : "items that belong to no list");
    for (size_t i = 0; i < n; i++) {
        const EffStatus st = append(p, into->u.list, p->stack[first + i]);
        if (st != EFF_OK)
            return st;
    }
    p->n_stack = first - n_drop;
    return EFF_OK;
}

static EffStatus append_few(EffPickle *p, EffPickleKind kind, size_t n)
{
    return peek(p, n - 1) != NULL ? append_top(p, kind, n, 0) : damaged(p, "too few values on the stack");
}

static EffStatus append_marked(EffPickle *p, EffPickleKind kind)
{
    size_t n;
    return above_mark(p, &n) ? append_top(p, kind, n, 1) : damaged(p, "no mark on the stack");
}

static EffStatus make_tuple(EffPickle *p, size_t n, size_t n_drop)
{
    EffPickleValue *items = arena_take(p, n, sizeof *items);
    if (items == NULL)
        return eff_fail_nomem(n * sizeof *items, "a tuple of a pickle");
    p->n_stack -= n;
    if (n > 0)
        memcpy(items, p->stack + p->n_stack, n * sizeof *items);
    p->n_stack -= n_drop;
    return push(p, (EffPickleValue){.kind = EFF_PICKLE_TUPLE, .n = (uint32_t)n, .u.items = items});
}

static EffStatus tuple_of_few(EffPickle *p, size_t n)
{
    return peek(p, n - 1) != NULL ? make_tuple(p, n, 0) : damaged(p, "too few values on the stack");
}

static EffStatus tuple_of_marked(EffPickle *p)
{
    size_t n;
    return above_mark(p, &n) ? make_tuple(p, n, 1) : damaged(p, "no mark on the stack");
}

/* ---- Globals and calls ---------------------------------------------------------------------------------------- */

static const struct {
    const char *module, *name;
} globals[] = {
    [EFF_GLOBAL_ORDERED_DICT] = {"collections", "OrderedDict"},
    [EFF_GLOBAL_SIZE] = {"torch", "Size"},
    [EFF_GLOBAL_TENSOR] = {"torch._utils", "_rebuild_tensor"},
    [EFF_GLOBAL_TENSOR_V2] = {"torch._utils", "_rebuild_tensor_v2"},
    [EFF_GLOBAL_PARAMETER] = {"torch._utils", "_rebuild_parameter"},
    [EFF_GLOBAL_FLOAT_STORAGE] = {"torch", "FloatStorage"},
    [EFF_GLOBAL_DOUBLE_STORAGE] = {"torch", "DoubleStorage"},
    [EFF_GLOBAL_HALF_STORAGE] = {"torch", "HalfStorage"},
    [EFF_GLOBAL_BFLOAT16_STORAGE] = {"torch", "BFloat16Storage"},
    [EFF_GLOBAL_LONG_STORAGE] = {"torch", "LongStorage"},
    [EFF_GLOBAL_INT_STORAGE] = {"torch", "IntStorage"},
    [EFF_GLOBAL_SHORT_STORAGE] = {"torch", "ShortStorage"},
    [EFF_GLOBAL_CHAR_STORAGE] = {"torch", "CharStorage"},
    [EFF_GLOBAL_BYTE_STORAGE] = {"torch", "ByteStorage"},
    [EFF_GLOBAL_BOOL_STORAGE] = {"torch", "BoolStorage"},
};

static bool ends_with(const EffPickleValue *v, const char *tail)
{
    const size_t n = strlen(tail);
    return v->n >= n && memcmp(v->u.bytes + v->n - n, tail, n) == 0;
}

static EffStatus refuse_global(const EffPickle *p, const EffPickleValue *module, const EffPickleValue *name)
{
    char m[EFF_SHOWN_BYTES], f[EFF_SHOWN_BYTES];
    eff_show(m, module->u.bytes, module->n);
    eff_show(f, name->u.bytes, name->n);
    if (eff_pickle_is_string(module, "torch") && ends_with(name, "Storage"))
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "pickle holds elements of type %s.%s (offset %zu), which this version does not read; convert "
                        "the weights first, with model.float()",
                        m, f, p->op_at);
    if (eff_pickle_is_string(module, "torch._utils") && name->n > 9 && memcmp(name->u.bytes, "_rebuild_", 9) == 0)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "pickle asks for %s.%s (offset %zu), a kind of tensor that this version does not read; save "
                        "plain, dense float tensors",
                        m, f, p->op_at);
    return eff_fail(EFF_ERR_UNSUPPORTED,
                    "pickle asks for %s.%s (offset %zu): refused, since a state dict needs no code; save it again with "
                    "torch.save(model.state_dict(), path)",
                    m, f, p->op_at);
}

static EffStatus push_global(EffPickle *p, const EffPickleValue *module, const EffPickleValue *name)
{
    for (size_t i = 0; i < EFF_COUNT(globals); i++)
        if (eff_pickle_is_string(module, globals[i].module) && eff_pickle_is_string(name, globals[i].name))
            return push(p, (EffPickleValue){.kind = EFF_PICKLE_GLOBAL, .u.global = (EffPickleGlobal)i});
    return refuse_global(p, module, name);
}

static EffStatus op_global(EffPickle *p)
{
    EffPickleValue module, name;
    EffStatus st = take_line(p, &module);
    if (st != EFF_OK || (st = take_line(p, &name)) != EFF_OK)
        return st;
    return push_global(p, &module, &name);
}

static EffStatus op_stack_global(EffPickle *p)
{
    if (peek(p, 1) == NULL || peek(p, 1)->kind != EFF_PICKLE_STRING || peek(p, 0)->kind != EFF_PICKLE_STRING)
        return damaged(p, "a global without a name");
    const EffPickleValue module = *peek(p, 1), name = *peek(p, 0);
    p->n_stack -= 2;
    return push_global(p, &module, &name);
}

/* Two values of a tuple or list. */
static bool get_pair(const EffPickleValue *v, EffPickleValue pair[2])
{
    if (v->kind == EFF_PICKLE_TUPLE && v->n == 2) {
        memcpy(pair, v->u.items, 2 * sizeof *pair);
        return true;
    }
    if (v->kind == EFF_PICKLE_LIST && v->u.list->n == 2) {
        pair[0] = v->u.list->first->value;
        pair[1] = v->u.list->last->value;
        return true;
    }
    return false;
}

/* OrderedDict() as Python 3 writes it, OrderedDict([[key, value], ...]) as Python 2 does. */
static EffStatus call_ordered_dict(EffPickle *p, EffPickleValue *out, const EffPickleValue *args)
{
    EffStatus st = new_list(p, out, EFF_PICKLE_DICT);
    if (st != EFF_OK || args->n == 0)
        return st;
    if (args->n != 1 || args->u.items[0].kind != EFF_PICKLE_LIST)
        return damaged(p, "an OrderedDict of something else than a list");
    /* The list is fixed while we walk: `out` is a new one. */
    for (const EffPickleCell *cell = args->u.items[0].u.list->first; cell != NULL; cell = cell->next) {
        EffPickleValue pair[2];
        if (!get_pair(&cell->value, pair))
            return damaged(p, "an OrderedDict whose items are no pairs");
        if ((st = append(p, out->u.list, pair[0])) != EFF_OK || (st = append(p, out->u.list, pair[1])) != EFF_OK)
            return st;
    }
    return EFF_OK;
}

static EffStatus op_reduce(EffPickle *p)
{
    const EffPickleValue *fn = peek(p, 1);
    if (fn == NULL || fn->kind != EFF_PICKLE_GLOBAL || peek(p, 0)->kind != EFF_PICKLE_TUPLE)
        return damaged(p, "a call of something that cannot be called");
    const EffPickleValue args = *peek(p, 0);
    EffPickleValue result = args;
    EffStatus st = EFF_OK;
    switch (fn->u.global) {
    case EFF_GLOBAL_ORDERED_DICT: st = call_ordered_dict(p, &result, &args); break;
    case EFF_GLOBAL_SIZE:
        if (args.n != 1 || args.u.items[0].kind != EFF_PICKLE_TUPLE)
            return damaged(p, "a torch.Size of something else than a tuple");
        result = args.u.items[0];
        break;
    case EFF_GLOBAL_TENSOR:
    case EFF_GLOBAL_TENSOR_V2:
        if (args.n < 4 || args.u.items[0].kind != EFF_PICKLE_STORAGE)
            return damaged(p, "a tensor without storage, offset, size and stride");
        result.kind = EFF_PICKLE_TENSOR;
        break;
    case EFF_GLOBAL_PARAMETER:
        if (args.n < 1 || args.u.items[0].kind != EFF_PICKLE_TENSOR)
            return damaged(p, "a parameter without a tensor");
        result = args.u.items[0];
        break;
    default: return damaged(p, "a storage type that is called");
    }
    if (st != EFF_OK)
        return st;
    p->n_stack -= 2;
    return push(p, result);
}

static EffStatus op_persistent_id(EffPickle *p)
{
    EffPickleValue *id = peek(p, 0);
    if (id == NULL || id->kind != EFF_PICKLE_TUPLE || id->n < 5)
        return damaged(p, "a persistent id that is no storage");
    const EffPickleValue *field = id->u.items;
    if (!eff_pickle_is_string(&field[0], "storage"))
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "pickle holds a whole module (offset %zu); save its state dict: "
                        "torch.save(model.state_dict(), path)",
                        p->op_at);
    if (field[1].kind != EFF_PICKLE_GLOBAL || field[1].u.global < EFF_GLOBAL_FLOAT_STORAGE ||
        field[2].kind != EFF_PICKLE_STRING || field[4].kind != EFF_PICKLE_INT || field[4].u.integer < 0)
        return damaged(p, "a storage without type, key and size");
    id->kind = EFF_PICKLE_STORAGE;
    const EffStatus st = grow(&p->storages, &p->storages_capacity, p->n_storages + 1, "the list of storages");
    if (st == EFF_OK)
        p->storages[p->n_storages++] = *id;
    return st;
}

/* The state of an OrderedDict is its _metadata: versions of modules, which say nothing about weights. */
static EffStatus op_build(EffPickle *p)
{
    if (peek(p, 1) == NULL)
        return damaged(p, "too few values on the stack");
    if (peek(p, 1)->kind != EFF_PICKLE_DICT)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "pickle sets attributes of %s (offset %zu), which a state dict does not need; save it again "
                        "with torch.save(model.state_dict(), path)",
                        eff_pickle_kind_name(peek(p, 1)->kind), p->op_at);
    p->n_stack--;
    return EFF_OK;
}

/* ---- Opcodes -------------------------------------------------------------------------------------------------- */

enum {
    OP_MARK = '(',
    OP_STOP = '.',
    OP_BINFLOAT = 'G',
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_NONE = 'N',
    OP_BINPERSID = 'Q',
    OP_REDUCE = 'R',
    OP_BINSTRING = 'T',
    OP_SHORT_BINSTRING = 'U',
    OP_BINUNICODE = 'X',
    OP_APPEND = 'a',
    OP_BUILD = 'b',
    OP_GLOBAL = 'c',
    OP_APPENDS = 'e',
    OP_BINGET = 'h',
    OP_LONG_BINGET = 'j',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_SETITEM = 's',
    OP_TUPLE = 't',
    OP_SETITEMS = 'u',
    OP_EMPTY_TUPLE = ')',
    OP_EMPTY_LIST = ']',
    OP_EMPTY_DICT = '}',
    OP_PROTO = 0x80,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_LONG1 = 0x8a,
    OP_SHORT_BINUNICODE = 0x8c,
    OP_STACK_GLOBAL = 0x93,
    OP_MEMOIZE = 0x94,
    OP_FRAME = 0x95
};

/* Known, and not needed: named in the message. */
static const struct {
    uint8_t op;
    const char *name;
} refused[] = {
    {'0', "POP"},
    {'1', "POP_MARK"},
    {'2', "DUP"},
    {'B', "BINBYTES"},
    {'C', "SHORT_BINBYTES"},
    {'F', "FLOAT"},
    {'I', "INT"},
    {'L', "LONG"},
    {'P', "PERSID"},
    {'S', "STRING"},
    {'V', "UNICODE"},
    {'d', "DICT"},
    {'g', "GET"},
    {'i', "INST"},
    {'l', "LIST"},
    {'o', "OBJ"},
    {'p', "PUT"},
    {0x81, "NEWOBJ"},
    {0x82, "EXT1"},
    {0x83, "EXT2"},
    {0x84, "EXT4"},
    {0x8b, "LONG4"},
    {0x8d, "BINUNICODE8"},
    {0x8e, "BINBYTES8"},
    {0x8f, "EMPTY_SET"},
    {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"},
    {0x92, "NEWOBJ_EX"},
    {0x96, "BYTEARRAY8"},
    {0x97, "NEXT_BUFFER"},
    {0x98, "READONLY_BUFFER"},
};

static EffStatus refuse_op(const EffPickle *p, uint8_t op)
{
    for (size_t i = 0; i < EFF_COUNT(refused); i++)
        if (refused[i].op == op)
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "pickle uses the opcode %s (offset %zu), which a state dict does not need; save it again "
                            "with torch.save(model.state_dict(), path)",
                            refused[i].name, p->op_at);
    return eff_fail(EFF_ERR_FORMAT, "pickle: 0x%02x is no opcode (offset %zu); the file is damaged, fetch it again", op,
                    p->op_at);
}

static EffStatus op_proto(EffPickle *p)
{
    uint64_t version;
    const EffStatus st = take_uint(p, &version, 1);
    if (st == EFF_OK && (version < 2 || version > 5))
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "pickle of protocol %d (offset %zu), this version reads 2 to 5; save it again with "
                        "torch.save(model.state_dict(), path)",
                        (int)version, p->op_at);
    return st;
}

static EffStatus op_float(EffPickle *p)
{
    const uint8_t *bytes;
    const EffStatus st = take(p, &bytes, 8);
    if (st != EFF_OK)
        return st;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) /* the one big-endian field of the format */
        bits = bits << 8 | bytes[i];
    EffPickleValue v = {.kind = EFF_PICKLE_FLOAT};
    memcpy(&v.u.real, &bits, sizeof bits);
    return push(p, v);
}

static EffStatus op_int(EffPickle *p, size_t n_bytes)
{
    uint64_t v;
    const EffStatus st = take_uint(p, &v, n_bytes);
    if (st != EFF_OK)
        return st;
    const int64_t integer = n_bytes == 4 && v > INT32_MAX ? (int64_t)v - ((int64_t)1 << 32) : (int64_t)v;
    return push(p, (EffPickleValue){.kind = EFF_PICKLE_INT, .u.integer = integer});
}

static EffStatus op_long(EffPickle *p)
{
    EffPickleValue v;
    const EffStatus st = take_counted(p, &v, EFF_PICKLE_LONG, 1);
    if (st != EFF_OK)
        return st;
    if (v.n <= 8) {
        uint64_t bits = v.n > 0 && v.u.bytes[v.n - 1] >= 0x80 ? UINT64_MAX : 0;
        for (size_t i = v.n; i-- > 0;)
            bits = bits << 8 | v.u.bytes[i];
        int64_t integer;
        memcpy(&integer, &bits, sizeof bits);
        v = (EffPickleValue){.kind = EFF_PICKLE_INT, .u.integer = integer};
    }
    return push(p, v);
}

static EffStatus op_string(EffPickle *p, size_t n_length)
{
    EffPickleValue v;
    const EffStatus st = take_counted(p, &v, EFF_PICKLE_STRING, n_length);
    return st == EFF_OK ? push(p, v) : st;
}

static EffStatus op_empty(EffPickle *p, EffPickleKind kind)
{
    EffPickleValue v;
    const EffStatus st = new_list(p, &v, kind);
    return st == EFF_OK ? push(p, v) : st;
}

static EffStatus op_memo(EffPickle *p, size_t n_bytes, EffStatus (*fn)(EffPickle *, uint64_t))
{
    uint64_t index;
    const EffStatus st = take_uint(p, &index, n_bytes);
    return st == EFF_OK ? fn(p, index) : st;
}

/* A frame is a hint for buffered readers; only its length can be wrong. */
static EffStatus op_frame(EffPickle *p)
{
    uint64_t n;
    const EffStatus st = take_uint(p, &n, 8);
    return st == EFF_OK && n > p->size - p->at ? damaged(p, "a frame beyond the end of the file") : st;
}

static EffStatus run(EffPickle *p, uint8_t op)
{
    switch (op) {
    case OP_PROTO: return op_proto(p);
    case OP_FRAME: return op_frame(p);
    case OP_MARK: return push(p, (EffPickleValue){.kind = EFF_PICKLE_MARK});
    case OP_NONE: return push(p, (EffPickleValue){.kind = EFF_PICKLE_NONE});
    case OP_NEWTRUE: return push(p, (EffPickleValue){.kind = EFF_PICKLE_BOOL, .u.truth = true});
    case OP_NEWFALSE: return push(p, (EffPickleValue){.kind = EFF_PICKLE_BOOL});
    case OP_BINFLOAT: return op_float(p);
    case OP_BININT1: return op_int(p, 1);
    case OP_BININT2: return op_int(p, 2);
    case OP_BININT: return op_int(p, 4);
    case OP_LONG1: return op_long(p);
    case OP_SHORT_BINSTRING:
    case OP_SHORT_BINUNICODE: return op_string(p, 1);
    case OP_BINSTRING:
    case OP_BINUNICODE: return op_string(p, 4);
    case OP_EMPTY_TUPLE: return make_tuple(p, 0, 0);
    case OP_TUPLE1: return tuple_of_few(p, 1);
    case OP_TUPLE2: return tuple_of_few(p, 2);
    case OP_TUPLE3: return tuple_of_few(p, 3);
    case OP_TUPLE: return tuple_of_marked(p);
    case OP_EMPTY_LIST: return op_empty(p, EFF_PICKLE_LIST);
    case OP_APPEND: return append_few(p, EFF_PICKLE_LIST, 1);
    case OP_APPENDS: return append_marked(p, EFF_PICKLE_LIST);
    case OP_EMPTY_DICT: return op_empty(p, EFF_PICKLE_DICT);
    case OP_SETITEM: return append_few(p, EFF_PICKLE_DICT, 2);
    case OP_SETITEMS: return append_marked(p, EFF_PICKLE_DICT);
    case OP_MEMOIZE: return memo_put(p, p->n_memo);
    case OP_BINPUT: return op_memo(p, 1, memo_put);
    case OP_LONG_BINPUT: return op_memo(p, 4, memo_put);
    case OP_BINGET: return op_memo(p, 1, memo_get);
    case OP_LONG_BINGET: return op_memo(p, 4, memo_get);
    case OP_GLOBAL: return op_global(p);
    case OP_STACK_GLOBAL: return op_stack_global(p);
    case OP_REDUCE: return op_reduce(p);
    case OP_BUILD: return op_build(p);
    case OP_BINPERSID: return op_persistent_id(p);
    default: return refuse_op(p, op);
    }
}

EffStatus eff_pickle_next(EffPickle *p, EffPickleValue *out)
{
    assert(p->at <= p->size);
    p->begin = p->at;
    p->end = p->size - p->at > EFF_PICKLE_MAX_BYTES ? p->at + EFF_PICKLE_MAX_BYTES : p->size;
    p->n_stack = p->n_memo = p->n_cells = 0;
    if (p->memo_capacity > 0)
        memset(p->memo, 0, p->memo_capacity * sizeof *p->memo);
    for (;;) {
        const uint8_t *op;
        p->op_at = p->at;
        EffStatus st = take(p, &op, 1);
        if (st != EFF_OK)
            return st;
        if (*op == OP_STOP)
            break;
        if ((st = run(p, *op)) != EFF_OK)
            return st;
    }
    if (p->n_stack != 1 || peek(p, 0) == NULL)
        return damaged(p, "its end comes too early");
    *out = p->stack[0];
    return EFF_OK;
}

void eff_pickle_free(EffPickle *p)
{
    for (EffPickleChunk *chunk = p->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        eff_free(chunk);
    }
    eff_free(p->stack);
    eff_free(p->memo);
    eff_free(p->storages);
    *p = (EffPickle){0};
}

/* ---- Looking at values ---------------------------------------------------------------------------------------- */

bool eff_pickle_is_string(const EffPickleValue *v, const char *text)
{
    return v->kind == EFF_PICKLE_STRING && v->n == strlen(text) && memcmp(v->u.bytes, text, v->n) == 0;
}

const EffPickleValue *eff_pickle_dict_get(const EffPickleValue *dict, const char *key)
{
    assert(dict->kind == EFF_PICKLE_DICT && dict->u.list->n % 2 == 0);
    for (const EffPickleCell *cell = dict->u.list->first; cell != NULL; cell = cell->next->next)
        if (eff_pickle_is_string(&cell->value, key))
            return &cell->next->value;
    return NULL;
}

const char *eff_pickle_kind_name(EffPickleKind kind)
{
    switch (kind) {
    case EFF_PICKLE_NONE: return "None";
    case EFF_PICKLE_BOOL: return "a truth value";
    case EFF_PICKLE_INT:
    case EFF_PICKLE_LONG:
    case EFF_PICKLE_FLOAT: return "a number";
    case EFF_PICKLE_STRING: return "a string";
    case EFF_PICKLE_TUPLE: return "a tuple";
    case EFF_PICKLE_LIST: return "a list";
    case EFF_PICKLE_DICT: return "a dict";
    case EFF_PICKLE_GLOBAL: return "a function or class";
    case EFF_PICKLE_STORAGE: return "a storage";
    case EFF_PICKLE_TENSOR: return "a tensor";
    case EFF_PICKLE_UNSET:
    case EFF_PICKLE_MARK: break;
    }
    return "nothing";
}

const char *eff_show(char out[EFF_SHOWN_BYTES], const uint8_t *bytes, size_t n)
{
    const size_t room = EFF_SHOWN_BYTES - 4, shown = n < room ? n : room;
    for (size_t i = 0; i < shown; i++)
        out[i] = (char)(bytes[i] >= 0x20 && bytes[i] < 0x7f ? bytes[i] : '?');
    memcpy(out + shown, n > shown ? "..." : "", n > shown ? 4 : 1);
    return out;
}
