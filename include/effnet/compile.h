/* SPDX-License-Identifier: Apache-2.0 */
/** Building models: published weights, architectures, the float network, quantization, compilation. */
#ifndef EFFNET_COMPILE_H
#define EFFNET_COMPILE_H

#include "effnet/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Weights ------------------------------------------------------------------------------------------------- */

enum { EFF_MAX_RANK = 8 };

/** A named constant tensor, float32, row-major in the order of `dims`. Borrowed from its EffWeights. */
typedef struct EffTensor {
    const char *name;
    int rank; /**< 0 for a scalar */
    int64_t dims[EFF_MAX_RANK];
    size_t n_elements;
    const float *data;
} EffTensor;

/** Tensors read from a file of weights; immutable. */
typedef struct EffWeights EffWeights;

/**
 * Read a PyTorch state dict (.pth, .pt, .bin): the zip form of torch 1.6 and later, or the legacy pickle form before
 * it. The pickle is read as data: an allowlist of opcodes and globals, nothing is ever executed, no Python is needed.
 * float32, float64, float16 and bfloat16 become float32; integer tensors (num_batches_tracked) too. A dict that holds
 * the state dict under "state_dict", "model" or "state_dict_ema" is unwrapped; a leading "module." is dropped.
 *
 * @return EFF_OK (free with eff_weights_free), EFF_ERR_IO, EFF_ERR_FORMAT (damaged, or not a state dict),
 *         EFF_ERR_UNSUPPORTED (an opcode, a global or a dtype that is not allowed), EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_weights_open(EffWeights **out, const char *path);
/** The same from memory; `name` is for messages. `data` is not kept. */
EffStatus eff_weights_read(EffWeights **out, const void *data, size_t size, const char *name);
size_t eff_weights_count(const EffWeights *w);
/** The i-th tensor in the order of the file; NULL past the end. */
const EffTensor *eff_weights_at(const EffWeights *w, size_t i);
/** Tensor of that name, or NULL. */
const EffTensor *eff_weights_find(const EffWeights *w, const char *name);
void eff_weights_free(EffWeights *w);

/* ---- Architectures ------------------------------------------------------------------------------------------- */

/** How a strided convolution pads its input. */
typedef enum EffPadding {
    EFF_PADDING_SYMMETRIC = 0, /**< (kernel - 1) / 2 on each side: PyTorch and timm */
    EFF_PADDING_SAME /**< ceil(n / stride) outputs, an odd pad at the end: TensorFlow and its ported weights */
} EffPadding;

/**
 * A member of the family, as scaled from B0 or Lite0 (Tan & Le, arXiv 1905.11946, section 3.3). Change any field after
 * eff_arch_find() to build a variant.
 */
typedef struct EffArch {
    char name[40];   /**< "efficientnet-b0" */
    double width;    /**< factor of the channels */
    double depth;    /**< factor of the repeats */
    int lite;        /**< 1: ReLU6, no squeeze-excite, stem, head and outer stages not scaled */
    int n_classes;   /**< 1..65536 */
    int in_channels; /**< channels of the picture: 3 or 1 */
    EffPadding padding;
    float bn_eps;      /**< of all BatchNorms; positive */
    EffPreprocess pre; /**< the native size and how pictures are prepared for it */
} EffArch;

/** Canonical name of the i-th architecture; NULL past the end. */
const char *eff_arch_name(size_t i);

/**
 * Look an architecture up: efficientnet-b0..b8, -l2, -lite0..4. Upper case, '_' for '-', and the bare "b0" or "lite0"
 * are understood; a leading "tf-" selects TF SAME padding and BN epsilon 1e-3, which Lite always has.
 * @return EFF_OK, or EFF_ERR_ARG with the nearest name in the message.
 */
EffStatus eff_arch_find(EffArch *out, const char *name);

/* ---- Networks ------------------------------------------------------------------------------------------------ */

/** A network as a graph of float operators, with or without its weights. */
typedef struct EffGraph EffGraph;

/** Sizes of a network. */
typedef struct EffGraphStats {
    uint64_t params; /**< trainable parameters: weights, biases, BatchNorm scale and shift */
    uint64_t macs;   /**< multiply-accumulates of convolutions and the classifier for one picture */
    int input_size, in_channels, n_classes, n_nodes;
} EffGraphStats;

/** Build the graph of an architecture, without weights. @return EFF_OK (eff_graph_free), EFF_ERR_ARG, EFF_ERR_NOMEM. */
EffStatus eff_graph_build(EffGraph **out, const EffArch *arch);
void eff_graph_free(EffGraph *g);
void eff_graph_stats(const EffGraph *g, EffGraphStats *out);
const EffPreprocess *eff_graph_preprocess(const EffGraph *g);
void eff_graph_set_preprocess(EffGraph *g, const EffPreprocess *pre);

/** Whose names a state dict uses. */
typedef enum EffNaming {
    EFF_NAMING_TIMM,     /**< blocks.0.0.conv_dw.weight */
    EFF_NAMING_LUKEMELAS /**< _blocks.0._depthwise_conv.weight; such weights come from TensorFlow: SAME, epsilon 1e-3 */
} EffNaming;

/** Tell the naming by the tensors' names. @return EFF_OK, or EFF_ERR_UNSUPPORTED with an example of a name found. */
EffStatus eff_weights_naming(EffNaming *out, const EffWeights *w);

/**
 * Copy the weights of a state dict into a graph from eff_graph_build(). Every parameter must be there in its shape, and
 * nothing may be left over.
 * @return EFF_OK, EFF_ERR_FORMAT naming the first tensor that does not fit, and the architecture that would, where one
 *         does; EFF_ERR_UNSUPPORTED, EFF_ERR_NOMEM.
 */
EffStatus eff_graph_load(EffGraph *g, const EffWeights *w);

/** Fold BatchNorm into the convolutions and fuse activations. The graph must have weights. @return EFF_OK, EFF_ERR_ARG,
 * EFF_ERR_NOMEM. */
EffStatus eff_graph_optimize(EffGraph *g);

/* ---- Float reference ------------------------------------------------------------------------------------------ */

/** A graph prepared to run in float32: the truth that other kernels are compared with. Immutable, shared by sessions.
 */
typedef struct EffReference EffReference;
/** The memory of one run at a time. */
typedef struct EffReferenceSession EffReferenceSession;

/** Prepare a graph with weights; the graph may be freed afterwards. @return EFF_OK, EFF_ERR_ARG, EFF_ERR_UNSUPPORTED,
 * EFF_ERR_NOMEM. */
EffStatus eff_reference_create(EffReference **out, const EffGraph *g);
void eff_reference_free(EffReference *r);

/**
 * @param n_threads  threads that share one picture; 0 means one a CPU. The result is the same for every number.
 * @return EFF_OK, EFF_ERR_ARG, EFF_ERR_IO, EFF_ERR_NOMEM.
 */
EffStatus eff_reference_session_create(EffReferenceSession **out, const EffReference *r, int n_threads);
/** Bytes of the arena that holds all activations. */
size_t eff_reference_arena_bytes(const EffReference *r);

/**
 * Run one picture. No memory is allocated.
 * @param src  [size][size][in_channels] normalized float32.   @param dst  receives n_classes logits.
 */
void eff_reference_run(EffReferenceSession *s, const float *src, float *dst);
void eff_reference_session_free(EffReferenceSession *s);

#ifdef __cplusplus
}
#endif
#endif
