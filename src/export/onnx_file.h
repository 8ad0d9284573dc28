/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every ONNX file that is written here has: attributes, constants, the frame of nodes, input and output, metadata.
 * onnx_graph.c (float) and onnx_quantized.c fill it with nodes. All is written twice: see onnx_write.h.
 * Field numbers are those of onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
#ifndef EFF_EXPORT_ONNX_FILE_H
#define EFF_EXPORT_ONNX_FILE_H

#include "base/file.h"
#include "effnet/compile.h"
#include "export/onnx_write.h"
#include "graph/ir.h"

enum { EFF_ONNX_INPUT = 1, EFF_ONNX_OUTPUT = 2, EFF_ONNX_TENSOR_NAME = 8, EFF_ONNX_TENSOR_RAW = 9 };
enum { EFF_ONNX_FLOAT = 1, EFF_ONNX_UINT8, EFF_ONNX_INT8, EFF_ONNX_INT16 = 5, EFF_ONNX_INT32, EFF_ONNX_INT64 };

typedef struct EffOnnxFile {
    EffProto p;
    int opset;
    EffOnnxSize size;
} EffOnnxFile;

/* What is in a file. The two functions are called with `ctx`, each once when the file is measured and once when it is
 * written, and must do the same both times. */
typedef struct EffOnnxContent {
    const char *name;
    const EffPreprocess *pre;
    const char *const *labels; /* [n_classes], or NULL */
    int n_classes;
    EffShape input; /* of "data" */
    void (*put_nodes)(void *ctx);
    void (*put_constants)(void *ctx);
    void *ctx;
} EffOnnxContent;

/* opset 0: the default. @return EFF_OK, EFF_ERR_ARG. */
EffStatus eff_onnx_file_init(EffOnnxFile *f, int opset);
EffStatus eff_onnx_file_measure(EffOnnxSize *out, EffOnnxFile *f, const EffOnnxContent *content);
/* The bytes; the caller's to eff_free(). @return EFF_OK, EFF_ERR_LIMIT, EFF_ERR_NOMEM. */
EffStatus eff_onnx_file_encode(EffBytes *out, EffOnnxFile *f, const EffOnnxContent *content);

/* Attributes of a node. */
void eff_onnx_attr_int(EffOnnxFile *f, const char *name, int64_t v);
void eff_onnx_attr_float(EffOnnxFile *f, const char *name, float v);
void eff_onnx_attr_ints(EffOnnxFile *f, const char *name, int n, const int64_t *v);

/* What stands before the name and the bytes of a constant; then EFF_ONNX_TENSOR_NAME, _RAW and eff_proto_end(). */
void eff_onnx_begin_constant(EffOnnxFile *f, int type, int rank, const int64_t *dims);
void eff_onnx_number(EffOnnxFile *f, const char *name, float v);

/* A node goes: begin, its inputs, its output, end, its attributes, eff_proto_end(). */
void eff_onnx_begin_node(EffOnnxFile *f);
void eff_onnx_end_node(EffOnnxFile *f, const char *name, const char *op);

#endif
