/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ONNX model as the file says it: nodes over named values, and tensors. Names and elements are borrowed from the
 * file's bytes, which must outlive the model.
 */
#ifndef EFF_IMPORT_ONNX_MODEL_H
#define EFF_IMPORT_ONNX_MODEL_H

#include "import/onnx/onnx_tensor.h"

enum {
    EFF_ONNX_MIN_OPSET = 1,     /* operators that changed in 7 are refused before it */
    EFF_ONNX_MAX_OPSET = 23,    /* the newest one whose operators were compared with this reader */
    EFF_ONNX_MAX_NODES = 20000, /* passes take nodes times nodes; the largest network has 3000 */
    EFF_ONNX_MAX_VALUES = 200000,
    EFF_ONNX_MAX_NAME = 512
};
/* Most bytes of a file: a protobuf cannot be larger than 2 GiB. */
#define EFF_ONNX_MAX_FILE ((size_t)1 << 31)

typedef struct EffOnnxNode {
    EffWire name, op, proto; /* proto: its attributes are looked up there */
    int inputs, n_inputs;    /* refs[inputs .. + n_inputs): values, -1 for one that is left out */
    int outputs, n_outputs;  /* the same */
} EffOnnxNode;

typedef struct EffOnnxValue {
    EffWire name;
    EffOnnxTensor t; /* data: constant; otherwise the shape, once it is known */
    int producer;    /* node, or -1 */
    int n_consumers; /* nodes that read it, and outputs of the graph */
    bool is_known;   /* t's shape is known */
    bool is_initializer;
} EffOnnxValue;

typedef struct EffOnnxModel {
    EffWire graph_name, producer;
    EffWire metadata; /* the last metadata_props are looked up in the whole file */
    int64_t ir_version, opset;
    EffOnnxNode *nodes;
    EffOnnxValue *values;
    int *refs;
    int n_nodes, n_values, n_refs;
    size_t nodes_capacity, values_capacity, refs_capacity;
    int *table; /* open hash of values by name */
    size_t table_size;
    int input, output; /* the first input that is no initializer (-1 without one), and the first output */
    int n_inputs, n_outputs;
    EffWire input_proto; /* ValueInfoProto of the input */
} EffOnnxModel;

/*
 * Read a model. `bytes` must stay as they are while the model is used.
 * @return EFF_OK (eff_onnx_model_free), EFF_ERR_FORMAT, EFF_ERR_UNSUPPORTED, EFF_ERR_VERSION (a newer opset),
 *         EFF_ERR_LIMIT, EFF_ERR_NOMEM, EFF_ERR_IO (external data).
 */
EffStatus eff_onnx_model_read(EffOnnxModel *out, const uint8_t *bytes, size_t size, EffOnnxFiles *files);
void eff_onnx_model_free(EffOnnxModel *m);

/* Value of metadata_props[key]; empty without. */
EffWire eff_onnx_metadata(const EffOnnxModel *m, const char *key);

/* A dimension of the input as declared: its size, 0 when symbolic, and its rank; -1 without a shape. */
int eff_onnx_declared_shape(EffWire value_info, int *type, int64_t dims[EFF_MAX_RANK]);

/* Printable text of a name, at most EFF_ONNX_MAX_NAME - 1 bytes of it; other characters come out as '?'. */
const char *eff_onnx_text(char buffer[EFF_ONNX_MAX_NAME], EffWire text);
/* The name of a node, or of its first output where it has none. */
const char *eff_onnx_node_name(char buffer[EFF_ONNX_MAX_NAME], const EffOnnxModel *m, const EffOnnxNode *node);

static inline bool eff_onnx_is(const EffOnnxNode *node, const char *op)
{
    return eff_wire_is(node->op, op);
}
static inline int eff_onnx_in(const EffOnnxModel *m, const EffOnnxNode *node, int i)
{
    return i < node->n_inputs ? m->refs[node->inputs + i] : -1;
}
static inline int eff_onnx_out(const EffOnnxModel *m, const EffOnnxNode *node, int i)
{
    return i < node->n_outputs ? m->refs[node->outputs + i] : -1;
}

/* ---- Attributes; a missing one gives the default ---- */

int64_t eff_onnx_int(const EffOnnxNode *node, const char *name, int64_t missing);
double eff_onnx_float(const EffOnnxNode *node, const char *name, double missing);
/* The number of integers, at most `max` of which are stored; -1 when missing, or more than max. */
int eff_onnx_ints(const EffOnnxNode *node, const char *name, int64_t *out, int max);
/* Floats, the same. */
int eff_onnx_floats(const EffOnnxNode *node, const char *name, float *out, int max);
EffWire eff_onnx_string(const EffOnnxNode *node, const char *name);
bool eff_onnx_has(const EffOnnxNode *node, const char *name);
/* The TensorProto of an attribute; false when missing. */
bool eff_onnx_tensor(const EffOnnxNode *node, const char *name, EffWire *out);

#endif
