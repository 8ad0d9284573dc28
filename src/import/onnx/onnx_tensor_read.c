/* SPDX-License-Identifier: Apache-2.0 */
/* TensorProto: shape, type, and elements in one of three places: raw bytes, typed fields, or a file beside the model.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "import/onnx/onnx_tensor.h"

#include <stdio.h>
#include <string.h>

/* Fields of TensorProto. */
enum {
    DIMS = 1,
    DATA_TYPE = 2,
    FLOAT_DATA = 4,
    INT32_DATA = 5,
    STRING_DATA = 6,
    INT64_DATA = 7,
    NAME = 8,
    RAW_DATA = 9,
    DOUBLE_DATA = 10,
    UINT64_DATA = 11,
    EXTERNAL_DATA = 13,
    DATA_LOCATION = 14
};
enum { MAX_EXTERNAL_FILES = 4096 };

static EffStatus damaged(const char *what)
{
    return eff_fail(EFF_ERR_FORMAT, "%s; the file is damaged, fetch or export it again", what);
}

typedef struct Reader {
    EffOnnxTensor t;
    EffWire raw, floats; /* the one field of raw or packed bytes */
    bool has_raw, external;
    int n_floats; /* fields of float_data; more than one are collected */
    EffWire location;
    uint64_t offset, length;
    bool has_length;
} Reader;

/* Calls for each number of a repeated field, packed or not. */
static bool each_number(EffWireField f, size_t size, bool (*take)(void *ctx, uint64_t v), void *ctx)
{
    if (f.type != EFF_WIRE_BYTES)
        return take(ctx, f.value);
    while (f.bytes.at < f.bytes.end) {
        uint64_t v = 0;
        if (size == 0) {
            if (!eff_wire_varint(&f.bytes, &v))
                return false;
        } else {
            if (eff_wire_size(f.bytes) < size)
                return false;
            memcpy(&v, f.bytes.at, size);
            f.bytes.at += size;
        }
        if (!take(ctx, v))
            return false;
    }
    return true;
}

typedef struct Dims {
    int rank;
    int64_t dims[EFF_MAX_RANK];
} Dims;

static bool take_dim(void *ctx, uint64_t v)
{
    Dims *d = ctx;
    if (d->rank == EFF_MAX_RANK)
        return false;
    d->dims[d->rank++] = (int64_t)v;
    return true;
}

typedef struct Collect {
    EffOnnxTensor *t;
    size_t n;
    uint32_t field;
} Collect;

static bool take_element(void *ctx, uint64_t v)
{
    Collect *c = ctx;
    EffOnnxTensor *t = c->t;
    if (c->n >= t->n)
        return false;
    if (c->field == FLOAT_DATA) {
        float x;
        const uint32_t bits = (uint32_t)v;
        memcpy(&x, &bits, sizeof x);
        eff_onnx_put(t, c->n, (double)x);
    } else if (c->field == DOUBLE_DATA) {
        double x;
        memcpy(&x, &v, sizeof x);
        eff_onnx_put(t, c->n, x);
    } else if (t->stored == EFF_ONNX_FLOAT) { /* float16 and bfloat16 as bits in int32_data */
        const uint16_t bits = (uint16_t)v;
        const EffOnnxTensor one = {.stored = t->type, .data = (const uint8_t *)&bits};
        eff_onnx_put(t, c->n, eff_onnx_get(&one, 0));
    } else {
        eff_onnx_put_int(t, c->n, (int64_t)v);
    }
    c->n++;
    return true;
}

/* The field that holds the elements of a type, where they are no raw bytes. */
static uint32_t field_of(EffOnnxType type)
{
    switch (type) {
    case EFF_ONNX_FLOAT: return FLOAT_DATA;
    case EFF_ONNX_DOUBLE: return DOUBLE_DATA;
    case EFF_ONNX_INT64: return INT64_DATA;
    case EFF_ONNX_UINT32:
    case EFF_ONNX_UINT64: return UINT64_DATA;
    default: return INT32_DATA;
    }
}

static EffStatus collect(Reader *r, EffWire proto)
{
    EffWireField f;
    /* An element takes a byte at least, so that a small file cannot ask for much memory. */
    if (r->t.n > eff_wire_size(proto))
        return damaged("a tensor holds fewer elements than its shape says");
    EffStatus st = eff_onnx_alloc(&r->t);
    if (st != EFF_OK)
        return st;
    Collect c = {.t = &r->t, .field = field_of(r->t.type)};
    const size_t size = c.field == FLOAT_DATA ? 4 : c.field == DOUBLE_DATA ? 8 : 0;
    while (eff_wire_next(&proto, &f) == EFF_WIRE_FIELD) {
        if (f.number == c.field && !each_number(f, size, take_element, &c))
            return damaged("a tensor holds more elements than its shape says");
    }
    return c.n == r->t.n ? EFF_OK : damaged("a tensor holds fewer elements than its shape says");
}

static bool decimal(EffWire text, uint64_t *out)
{
    *out = 0;
    if (eff_wire_size(text) == 0 || eff_wire_size(text) > 18)
        return false;
    for (; text.at < text.end; text.at++) {
        if (*text.at < '0' || *text.at > '9')
            return false;
        *out = *out * 10 + (uint64_t)(*text.at - '0');
    }
    return true;
}

static EffStatus read_entry(Reader *r, EffWire entry)
{
    EffWire key = {0}, value = {0};
    EffWireField f;
    EffWireResult result;
    while ((result = eff_wire_next(&entry, &f)) == EFF_WIRE_FIELD) {
        if (f.type == EFF_WIRE_BYTES && f.number == 1)
            key = f.bytes;
        else if (f.type == EFF_WIRE_BYTES && f.number == 2)
            value = f.bytes;
    }
    bool ok = result == EFF_WIRE_END;
    if (eff_wire_is(key, "location"))
        r->location = value;
    else if (eff_wire_is(key, "offset"))
        ok = ok && decimal(value, &r->offset);
    else if (eff_wire_is(key, "length"))
        ok = ok && (r->has_length = decimal(value, &r->length));
    return ok ? EFF_OK : damaged("where a tensor's external data is cannot be read");
}

/* A path below the folder: relative, without "..", so that a model cannot read other files of the user. */
static bool stays_inside(const char *path)
{
    if (path[0] == '\0' || path[0] == '/' || strchr(path, '\\') != NULL)
        return false;
    for (const char *at = path; at != NULL; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return false;
    }
    return true;
}

/* Whether a folder on the way to the file is a link: from the model's folder, whose name has `from` bytes. */
static bool leads_astray(char *path, size_t from)
{
    bool found = false;
    for (char *slash = strchr(path + from, '/'); slash != NULL && !found; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        found = eff_is_link(path);
        *slash = '/';
    }
    return found;
}

static EffStatus read_external(Reader *r, EffOnnxFiles *files)
{
    char name[256];
    const size_t n = eff_wire_size(r->location);
    if (files->folder == NULL)
        return eff_fail(EFF_ERR_UNSUPPORTED, "its weights lie in another file; allow that with --external-data");
    if (n == 0 || n >= sizeof name || memchr(r->location.at, '\0', n) != NULL)
        return damaged("the name of an external data file cannot be used");
    memcpy(name, r->location.at, n);
    name[n] = '\0';
    if (!stays_inside(name))
        return eff_fail(EFF_ERR_FORMAT, "external data outside the model's folder; put the data file beside the model");
    if (files->n_read++ >= MAX_EXTERNAL_FILES)
        return eff_fail(EFF_ERR_LIMIT, "more than %d tensors in other files; save the model as one file",
                        MAX_EXTERNAL_FILES);
    const size_t wanted = r->t.n * eff_onnx_type_bytes(r->t.type);
    char *path = eff_path_join(files->folder, name);
    uint64_t size = 0;
    if (path == NULL)
        return eff_fail_nomem(n, "a path");
    uint8_t *bytes = NULL;
    FILE *file = NULL;
    EffStatus st = EFF_OK;
    if (r->has_length && r->length != wanted)
        st = damaged("external data has not the size that the tensor's shape says");
    else if (leads_astray(path, strlen(path) - n) || !eff_plain_file_size(&size, path))
        st = eff_fail(EFF_ERR_IO, "%s: no such file, or a link; put the data file beside the model", path);
    else if (r->offset > size || wanted > size - r->offset)
        st = eff_fail(EFF_ERR_FORMAT, "%s: ends before byte %llu + %zu; fetch the data file again", path,
                      (unsigned long long)r->offset, wanted);
    else if ((bytes = eff_malloc(wanted ? wanted : 1)) == NULL)
        st = eff_fail_nomem(wanted, "external data");
    else if ((file = fopen(path, "rb")) == NULL || fseek(file, (long)r->offset, SEEK_SET) != 0 ||
             fread(bytes, 1, wanted, file) != wanted)
        st = eff_fail(EFF_ERR_IO, "%s: cannot be read; check its permissions", path);
    if (file != NULL)
        fclose(file);
    eff_free(path);
    if (st != EFF_OK) {
        eff_free(bytes);
        return st;
    }
    r->t.owned = bytes;
    r->t.data = bytes;
    r->t.stored = r->t.type;
    return EFF_OK;
}

EffStatus eff_onnx_tensor_read(EffOnnxTensor *out, EffWire *name, EffWire proto, EffOnnxFiles *files)
{
    Reader r = {0};
    Dims d = {0};
    EffWire rest = proto;
    EffWireField f;
    EffWireResult result;
    EffStatus st = EFF_OK;
    *name = (EffWire){0};
    while (st == EFF_OK && (result = eff_wire_next(&rest, &f)) != EFF_WIRE_END) {
        if (result == EFF_WIRE_DAMAGED)
            return damaged("a tensor breaks off");
        if (f.number == DIMS && !each_number(f, 0, take_dim, &d))
            return eff_fail(EFF_ERR_LIMIT, "a tensor of more than %d dimensions", EFF_MAX_RANK);
        else if (f.number == DATA_TYPE)
            r.t.type = f.value <= EFF_ONNX_BFLOAT16 ? (EffOnnxType)f.value : EFF_ONNX_UNDEFINED;
        else if (f.number == NAME && f.type == EFF_WIRE_BYTES)
            *name = f.bytes;
        else if (f.number == RAW_DATA && f.type == EFF_WIRE_BYTES) {
            r.raw = f.bytes;
            r.has_raw = true;
        } else if (f.number == FLOAT_DATA) {
            r.n_floats++;
            r.floats = f.bytes;
        } else if (f.number == EXTERNAL_DATA && f.type == EFF_WIRE_BYTES)
            st = read_entry(&r, f.bytes);
        else if (f.number == DATA_LOCATION)
            r.external = f.value == 1;
    }
    if (st == EFF_OK && eff_onnx_type_bytes(r.t.type) == 0)
        st = eff_fail(EFF_ERR_UNSUPPORTED, "a tensor of %s; float and integer tensors are read",
                      eff_onnx_type_name((int)r.t.type));
    if (st == EFF_OK)
        st = eff_onnx_set_dims(&r.t, d.rank, d.dims);
    if (st != EFF_OK)
        return st;
    const size_t n_bytes = r.t.n * eff_onnx_type_bytes(r.t.type);
    if (r.external) {
        st = read_external(&r, files);
    } else if (r.has_raw || (r.t.type == EFF_ONNX_FLOAT && r.n_floats == 1 && eff_wire_size(r.floats) == n_bytes)) {
        const EffWire bytes = r.has_raw ? r.raw : r.floats;
        if (eff_wire_size(bytes) != n_bytes)
            return damaged("a tensor has not the number of bytes that its shape says");
        r.t.stored = r.t.type;
        r.t.data = bytes.at;
    } else {
        st = collect(&r, proto);
    }
    if (st != EFF_OK) {
        eff_onnx_free(&r.t);
        return st;
    }
    *out = r.t;
    return EFF_OK;
}
