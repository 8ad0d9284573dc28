/* SPDX-License-Identifier: Apache-2.0 */
/*
 * General tensors of an ONNX model: any rank up to 8, row-major. A tensor of which only the shape is known has no
 * data. Elements may lie unaligned inside the model's file, so they are read and written through functions.
 */
#ifndef EFF_IMPORT_ONNX_TENSOR_H
#define EFF_IMPORT_ONNX_TENSOR_H

#include "effnet/compile.h"
#include "import/onnx/onnx_wire.h"

#include <stdbool.h>

/* Numbers of TensorProto.DataType. */
typedef enum EffOnnxType {
    EFF_ONNX_UNDEFINED = 0,
    EFF_ONNX_FLOAT = 1,
    EFF_ONNX_UINT8 = 2,
    EFF_ONNX_INT8 = 3,
    EFF_ONNX_UINT16 = 4,
    EFF_ONNX_INT16 = 5,
    EFF_ONNX_INT32 = 6,
    EFF_ONNX_INT64 = 7,
    EFF_ONNX_STRING = 8,
    EFF_ONNX_BOOL = 9,
    EFF_ONNX_FLOAT16 = 10,
    EFF_ONNX_DOUBLE = 11,
    EFF_ONNX_UINT32 = 12,
    EFF_ONNX_UINT64 = 13,
    EFF_ONNX_BFLOAT16 = 16
} EffOnnxType;

/* Most elements of a tensor, whatever it is for: no network of the family comes near, and products stay in 64 bits. */
#define EFF_ONNX_MAX_ELEMENTS ((int64_t)1 << 31)

typedef struct EffOnnxTensor {
    EffOnnxType type;   /* what the model calls it */
    EffOnnxType stored; /* how the elements lie at `data`: computed ones are FLOAT, DOUBLE or INT64 */
    int rank;
    int64_t dims[EFF_MAX_RANK];
    size_t n;            /* elements */
    const uint8_t *data; /* NULL: only the shape is known */
    void *owned;         /* eff_free(); NULL where data is borrowed */
} EffOnnxTensor;

bool eff_onnx_is_float(EffOnnxType type);
const char *eff_onnx_type_name(int type);
/* Bytes of an element; 0 for types that are not read. */
size_t eff_onnx_type_bytes(EffOnnxType type);

/* Set the shape and n. @return EFF_OK or EFF_ERR_LIMIT (rank, negative, too many elements). */
EffStatus eff_onnx_set_dims(EffOnnxTensor *t, int rank, const int64_t *dims);
/* Room for the elements, zeroed, stored as computed ones are. @return EFF_OK or EFF_ERR_NOMEM. */
EffStatus eff_onnx_alloc(EffOnnxTensor *t);
void eff_onnx_free(EffOnnxTensor *t);

double eff_onnx_get(const EffOnnxTensor *t, size_t i);
int64_t eff_onnx_get_int(const EffOnnxTensor *t, size_t i);
/* Of tensors from eff_onnx_alloc() alone; integers wrap to their type. */
void eff_onnx_put(EffOnnxTensor *t, size_t i, double v);
void eff_onnx_put_int(EffOnnxTensor *t, size_t i, int64_t v);
/* Copy element j of `src`, of the same type, to i. */
void eff_onnx_copy(EffOnnxTensor *t, size_t i, const EffOnnxTensor *src, size_t j);

/* Where data that lies beside the model may come from. */
typedef struct EffOnnxFiles {
    const char *folder; /* of the model; NULL: no other file is read */
    int n_read;
} EffOnnxFiles;

/*
 * A TensorProto; the elements stay where they are when they lie there as raw bytes. Its name goes to *name.
 * @return EFF_OK (eff_onnx_free), EFF_ERR_FORMAT, EFF_ERR_UNSUPPORTED, EFF_ERR_LIMIT, EFF_ERR_NOMEM, EFF_ERR_IO.
 */
EffStatus eff_onnx_tensor_read(EffOnnxTensor *out, EffWire *name, EffWire proto, EffOnnxFiles *files);

/* "1x3x224x224", "scalar". */
const char *eff_onnx_dims_text(char *buffer, size_t n_bytes, const EffOnnxTensor *t);

#endif
