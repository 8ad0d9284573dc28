/* SPDX-License-Identifier: Apache-2.0 */
/* The export seen from inside: the bytes of the file, in memory. */
#ifndef EFF_EXPORT_ONNX_EXPORT_H
#define EFF_EXPORT_ONNX_EXPORT_H

#include "base/file.h"
#include "effnet/compile.h"
#include "format/plan.h"

/* What eff_onnx_write() writes; the caller's to eff_free(). @return as eff_onnx_write(), without EFF_ERR_IO. */
EffStatus eff_onnx_encode(EffBytes *out, const EffGraph *g, const EffOnnxExport *options);

/* What eff_onnx_write_model() writes of a proven int8 plan; the caller's to eff_free(). @return as that, without
 * EFF_ERR_IO. */
EffStatus eff_onnx_encode_plan(EffBytes *out, EffOnnxSize *size, const EffPlan *plan, const EffOnnxExport *options);

#endif
