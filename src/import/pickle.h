/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pickle read as data: the opcodes and the globals that torch.save() writes for a state dict, and no others. Nothing
 * is imported, called or executed: a "call" of an allowed global turns its arguments into a value of another kind.
 */
#ifndef EFF_IMPORT_PICKLE_H
#define EFF_IMPORT_PICKLE_H

#include "effnet/base.h"

#include <stdbool.h>

enum {
    EFF_PICKLE_MAX_BYTES = 16 << 20, /* of one pickle: that of EfficientNet-B0 has 0.05 MB */
    EFF_PICKLE_MAX_STACK = 1 << 16   /* picklers write containers in batches of 1,000 */
};

typedef enum EffPickleKind {
    EFF_PICKLE_UNSET = 0, /* a memo entry that was never written */
    EFF_PICKLE_MARK,      /* on the stack only */
    EFF_PICKLE_NONE,
    EFF_PICKLE_BOOL,
    EFF_PICKLE_INT,
    EFF_PICKLE_LONG, /* an integer beyond 64 bits: `n` little-endian bytes */
    EFF_PICKLE_FLOAT,
    EFF_PICKLE_STRING,
    EFF_PICKLE_TUPLE,
    EFF_PICKLE_LIST,
    EFF_PICKLE_DICT, /* a list of key, value, key, value; an OrderedDict too */
    EFF_PICKLE_GLOBAL,
    EFF_PICKLE_STORAGE, /* the tuple of a persistent id: ("storage", type, key, location, n_elements, ...) */
    EFF_PICKLE_TENSOR   /* the arguments of _rebuild_tensor: (storage, offset, size, stride, ...) */
} EffPickleKind;

/* The globals that are allowed. The storage types stand last: they name the type of the elements. */
typedef enum EffPickleGlobal {
    EFF_GLOBAL_ORDERED_DICT,
    EFF_GLOBAL_SIZE,
    EFF_GLOBAL_TENSOR,
    EFF_GLOBAL_TENSOR_V2,
    EFF_GLOBAL_PARAMETER,
    EFF_GLOBAL_FLOAT_STORAGE,
    EFF_GLOBAL_DOUBLE_STORAGE,
    EFF_GLOBAL_HALF_STORAGE,
    EFF_GLOBAL_BFLOAT16_STORAGE,
    EFF_GLOBAL_LONG_STORAGE,
    EFF_GLOBAL_INT_STORAGE,
    EFF_GLOBAL_SHORT_STORAGE,
    EFF_GLOBAL_CHAR_STORAGE,
    EFF_GLOBAL_BYTE_STORAGE,
    EFF_GLOBAL_BOOL_STORAGE
} EffPickleGlobal;

typedef struct EffPickleValue {
    EffPickleKind kind;
    uint32_t n; /* bytes of a string or long, items of a tuple */
    union {
        bool truth;
        int64_t integer;
        double real;
        const uint8_t *bytes; /* string, long: inside the input, no NUL at the end */
        const struct EffPickleValue *items;
        struct EffPickleList *list;
        EffPickleGlobal global;
    } u;
} EffPickleValue;

/* Item of a list or dict. Containers may hold themselves: walk one level at a time. */
typedef struct EffPickleCell {
    EffPickleValue value;
    struct EffPickleCell *next;
} EffPickleCell;

typedef struct EffPickleList {
    EffPickleCell *first, *last;
    size_t n; /* cells: twice the entries of a dict */
} EffPickleList;

/* Reader of the pickles in `data`; it owns every value it has returned. Start with {.data, .size, .at}. */
typedef struct EffPickle {
    const uint8_t *data;
    size_t size;
    size_t at; /* the next byte: behind the last pickle after eff_pickle_next() */

    EffPickleValue *storages; /* all persistent ids met so far, in order */
    size_t n_storages, storages_capacity;

    /* State of the machine. */
    size_t begin, end, op_at;
    EffPickleValue *stack, *memo;
    size_t n_stack, stack_capacity, n_memo, memo_capacity;
    size_t n_cells; /* of this pickle: never more than its bytes */
    struct EffPickleChunk *chunks;
} EffPickle;

/**
 * Read the pickle at p->at, up to and with its STOP. Memory stays below about 64 bytes a byte of pickle.
 *
 * @return EFF_OK, EFF_ERR_FORMAT (damaged), EFF_ERR_UNSUPPORTED (an opcode or a global that is not allowed),
 *         EFF_ERR_LIMIT or EFF_ERR_NOMEM.
 */
EffStatus eff_pickle_next(EffPickle *p, EffPickleValue *out);
/* Frees every value; a zeroed reader is fine. */
void eff_pickle_free(EffPickle *p);

bool eff_pickle_is_string(const EffPickleValue *v, const char *text);
/* The value under a string key, or NULL; `dict` is of kind DICT. */
const EffPickleValue *eff_pickle_dict_get(const EffPickleValue *dict, const char *key);
/* "a list", "a number": for messages. */
const char *eff_pickle_kind_name(EffPickleKind kind);

enum { EFF_SHOWN_BYTES = 100 };
/* Bytes of a hostile file for a message: printable ASCII stays, the rest becomes '?', long ones are cut. */
const char *eff_show(char out[EFF_SHOWN_BYTES], const uint8_t *bytes, size_t n);

#endif
