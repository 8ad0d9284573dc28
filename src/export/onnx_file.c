/* SPDX-License-Identifier: Apache-2.0 */
/* What every ONNX file that is written here has, whatever the network in it: see onnx_file.h. */
#include "export/onnx_file.h"
#include "base/mem.h"
#include "base/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields of onnx.proto that no other file here writes. */
enum { MODEL_IR_VERSION = 1, MODEL_PRODUCER = 2, MODEL_PRODUCER_VERSION = 3, MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { MODEL_METADATA = 14, OPSET_VERSION = 2, ENTRY_KEY = 1, ENTRY_VALUE = 2 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_F = 2, ATTRIBUTE_I = 3, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20 };
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_INTS = 7 };
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2 };

void eff_onnx_attr_int(EffOnnxFile *f, const char *name, int64_t v)
{
    eff_proto_begin(&f->p, NODE_ATTRIBUTE);
    eff_proto_text(&f->p, ATTRIBUTE_NAME, name);
    eff_proto_int(&f->p, ATTRIBUTE_I, v);
    eff_proto_int(&f->p, ATTRIBUTE_TYPE, TYPE_INT);
    eff_proto_end(&f->p);
}

void eff_onnx_attr_float(EffOnnxFile *f, const char *name, float v)
{
    eff_proto_begin(&f->p, NODE_ATTRIBUTE);
    eff_proto_text(&f->p, ATTRIBUTE_NAME, name);
    eff_proto_float(&f->p, ATTRIBUTE_F, v);
    eff_proto_int(&f->p, ATTRIBUTE_TYPE, TYPE_FLOAT);
    eff_proto_end(&f->p);
}

void eff_onnx_attr_ints(EffOnnxFile *f, const char *name, int n, const int64_t *v)
{
    eff_proto_begin(&f->p, NODE_ATTRIBUTE);
    eff_proto_text(&f->p, ATTRIBUTE_NAME, name);
    for (int i = 0; i < n; i++)
        eff_proto_int(&f->p, ATTRIBUTE_INTS, v[i]);
    eff_proto_int(&f->p, ATTRIBUTE_TYPE, TYPE_INTS);
    eff_proto_end(&f->p);
}

/* What stands before the name and the bytes of a constant. */
void eff_onnx_begin_constant(EffOnnxFile *f, int type, int rank, const int64_t *dims)
{
    uint64_t n = 1;
    eff_proto_begin(&f->p, GRAPH_INITIALIZER);
    for (int i = 0; i < rank; i++) {
        eff_proto_int(&f->p, TENSOR_DIMS, dims[i]);
        n *= (uint64_t)dims[i];
    }
    eff_proto_int(&f->p, TENSOR_TYPE, type);
    f->size.initializers += n;
}

void eff_onnx_number(EffOnnxFile *f, const char *name, float v)
{
    eff_onnx_begin_constant(f, EFF_ONNX_FLOAT, 0, NULL);
    eff_proto_text(&f->p, EFF_ONNX_TENSOR_NAME, name);
    uint8_t *at = eff_proto_bytes(&f->p, EFF_ONNX_TENSOR_RAW, sizeof v);
    if (at != NULL)
        memcpy(at, &v, sizeof v);
    eff_proto_end(&f->p);
}

/* A node goes: begin_node(), its inputs, its output, end_node(), its attributes, eff_proto_end(). */
void eff_onnx_begin_node(EffOnnxFile *f)
{
    eff_proto_begin(&f->p, GRAPH_NODE);
    f->size.n_nodes++;
}

void eff_onnx_end_node(EffOnnxFile *f, const char *name, const char *op)
{
    eff_proto_text(&f->p, NODE_NAME, name);
    eff_proto_text(&f->p, NODE_OP, op);
}

/* ---- The file ---- */

/* ValueInfoProto, down to TypeProto.Tensor and TensorShapeProto. */
static void put_info(EffOnnxFile *f, uint32_t field, const char *name, int rank, const int64_t *dims)
{
    eff_proto_begin(&f->p, field);
    eff_proto_text(&f->p, 1, name);
    eff_proto_begin(&f->p, 2);
    eff_proto_begin(&f->p, 1);
    eff_proto_int(&f->p, 1, EFF_ONNX_FLOAT);
    eff_proto_begin(&f->p, 2);
    for (int i = 0; i < rank; i++) {
        eff_proto_begin(&f->p, 1);
        eff_proto_int(&f->p, 1, dims[i]);
        eff_proto_end(&f->p);
    }
    for (int i = 0; i < 4; i++)
        eff_proto_end(&f->p);
}

static void put_entry(EffOnnxFile *f, const char *key, const char *value)
{
    eff_proto_begin(&f->p, MODEL_METADATA);
    eff_proto_text(&f->p, ENTRY_KEY, key);
    eff_proto_text(&f->p, ENTRY_VALUE, value);
    eff_proto_end(&f->p);
}

/* Three numbers of 0..255 as shares of 1, as people write them; the importer tells by the largest. */
static void put_three(EffOnnxFile *f, const char *key, const float v[3], bool shares)
{
    char text[128];
    double out[3];
    for (int c = 0; c < 3; c++)
        out[c] = (double)v[c] / (shares ? 255 : 1);
    snprintf(text, sizeof text, "%.9g,%.9g,%.9g", out[0], out[1], out[2]);
    for (int c = 0; c < 3; c++) { /* enough digits? the importer multiplies in double */
        double back[3];
        if (sscanf(text, "%lf,%lf,%lf", &back[0], &back[1], &back[2]) != 3 ||
            (float)(back[c] * (shares ? 255 : 1)) != v[c])
            snprintf(text, sizeof text, "%.17g,%.17g,%.17g", out[0], out[1], out[2]);
    }
    put_entry(f, key, text);
}

static void put_preprocess(EffOnnxFile *f, const EffPreprocess *pre)
{
    char text[64];
    const float *m = pre->mean, *s = pre->std;
    const bool shares = m[0] <= 255 && m[1] <= 255 && m[2] <= 255 && s[0] <= 255;
    put_three(f, "mean", m, shares);
    put_three(f, "std", s, shares);
    snprintf(text, sizeof text, "%d", pre->size);
    put_entry(f, "size", text);
    snprintf(text, sizeof text, "%.17g", pre->crop);
    char brief[64];
    snprintf(brief, sizeof brief, "%.6g", pre->crop);
    put_entry(f, "crop", strtod(brief, NULL) == pre->crop ? brief : text);
    put_entry(f, "interpolation", eff_interpolation_name(pre->interpolation));
}

/* Lines, as a file of labels has them. */
static void put_labels(EffOnnxFile *f, const char *const *labels, int n_classes)
{
    size_t n = 0;
    for (int i = 0; i < n_classes; i++)
        n += strlen(labels[i]) + 1;
    eff_proto_begin(&f->p, MODEL_METADATA);
    eff_proto_text(&f->p, ENTRY_KEY, "labels");
    uint8_t *at = eff_proto_bytes(&f->p, ENTRY_VALUE, n);
    for (int i = 0; at != NULL && i < n_classes; i++) {
        const size_t length = strlen(labels[i]);
        memcpy(at, labels[i], length);
        at[length] = '\n';
        at += length + 1;
    }
    eff_proto_end(&f->p);
}

static void put_model(EffOnnxFile *f, const EffOnnxContent *c)
{
    f->size = (EffOnnxSize){.opset = f->opset, .ir_version = f->size.ir_version};
    eff_proto_int(&f->p, MODEL_IR_VERSION, f->size.ir_version);
    eff_proto_text(&f->p, MODEL_PRODUCER, "effnet");
    eff_proto_text(&f->p, MODEL_PRODUCER_VERSION, EFF_VERSION);
    eff_proto_begin(&f->p, MODEL_GRAPH);
    c->put_nodes(c->ctx);
    eff_proto_text(&f->p, GRAPH_NAME, c->name);
    c->put_constants(c->ctx);
    put_info(f, GRAPH_INPUT, "data", 4, (const int64_t[]){1, c->input.c, c->input.h, c->input.w});
    put_info(f, GRAPH_OUTPUT, "output", 2, (const int64_t[]){1, c->n_classes});
    eff_proto_end(&f->p);
    eff_proto_begin(&f->p, MODEL_OPSET);
    eff_proto_int(&f->p, OPSET_VERSION, f->opset);
    eff_proto_end(&f->p);
    put_preprocess(f, c->pre);
    if (c->labels != NULL)
        put_labels(f, c->labels, c->n_classes);
    f->size.file_bytes = f->p.n_bytes;
}

/* The version of the format that came with an operator set: https://github.com/onnx/onnx/blob/main/docs/Versioning.md
 */
static int ir_version(int opset)
{
    static const int from_9[] = {4, 5, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10};
    return from_9[opset - EFF_EXPORT_MIN_OPSET];
}

EffStatus eff_onnx_file_init(EffOnnxFile *f, int opset)
{
    *f = (EffOnnxFile){.opset = opset != 0 ? opset : EFF_EXPORT_DEFAULT_OPSET};
    if (f->opset < EFF_EXPORT_MIN_OPSET || f->opset > EFF_EXPORT_MAX_OPSET)
        return eff_fail(EFF_ERR_ARG, "operator set %d; use %d to %d", f->opset, EFF_EXPORT_MIN_OPSET,
                        EFF_EXPORT_MAX_OPSET);
    f->size.ir_version = ir_version(f->opset);
    return EFF_OK;
}

EffStatus eff_onnx_file_measure(EffOnnxSize *out, EffOnnxFile *f, const EffOnnxContent *content)
{
    put_model(f, content);
    const EffStatus st = f->p.status;
    eff_free(f->p.lengths);
    f->p = (EffProto){0};
    if (st == EFF_OK)
        *out = f->size;
    return st;
}

EffStatus eff_onnx_file_encode(EffBytes *out, EffOnnxFile *f, const EffOnnxContent *content)
{
    uint8_t *data = NULL;
    put_model(f, content);
    EffStatus st = f->p.status;
    if (st == EFF_OK && f->size.file_bytes > INT32_MAX)
        st = eff_fail(EFF_ERR_LIMIT,
                      "%s: %llu bytes as ONNX, which ends at 2 GB (Protocol Buffers); export a smaller network",
                      content->name, (unsigned long long)f->size.file_bytes);
    const size_t n = st == EFF_OK ? (size_t)f->size.file_bytes : 0;
    if (st == EFF_OK && (data = eff_malloc(n)) == NULL)
        st = eff_fail_nomem(n, "the ONNX model");
    if (st == EFF_OK) {
        eff_proto_start_writing(&f->p, data);
        put_model(f, content);
        assert(f->size.file_bytes == n);
        *out = (EffBytes){data, n};
    }
    eff_free(f->p.lengths);
    f->p = (EffProto){0};
    return st;
}
