/* SPDX-License-Identifier: Apache-2.0 */
/* The export seen from inside: the bytes of the file, in memory. */
#ifndef EFF_EXPORT_ONNX_EXPORT_H
#define EFF_EXPORT_ONNX_EXPORT_H

#include "base/file.h"
#include "effnet/compile.h"

/* What eff_onnx_write() writes; the caller's to eff_free(). @return as eff_onnx_write(), without EFF_ERR_IO. */
EffStatus eff_onnx_encode(EffBytes *out, const EffGraph *g, const EffOnnxExport *options);

#endif
