/* SPDX-License-Identifier: Apache-2.0 */
/** Building models: published weights, architectures, the float network, quantization, compilation. */
#ifndef EFFNET_COMPILE_H
#define EFFNET_COMPILE_H

#include "effnet/base.h"
#include "effnet/runtime.h"

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
 * the state dict under "state_dict_ema", "state_dict" or "model", in this order, is unwrapped; a leading "module." is
 * dropped; entries that are no tensors are left out. Names are printable ASCII, each comes once.
 *
 * @param path  file of at most 4 GiB, or "-" for standard input.
 * @return EFF_OK (free with eff_weights_free), EFF_ERR_IO, EFF_ERR_FORMAT (damaged, not a state dict, or a weight that
 *         is NaN or infinite in float32), EFF_ERR_UNSUPPORTED (an opcode, a global or a dtype that is not allowed, or
 *         another kind of file), EFF_ERR_LIMIT, EFF_ERR_NOMEM. On failure `out` is untouched.
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
/** Names of the classes, [n_classes], borrowed; NULL without. They travel into compiled models and ONNX. */
const char *const *eff_graph_labels(const EffGraph *g);
/** Give them (copied). @return EFF_OK or EFF_ERR_NOMEM. */
EffStatus eff_graph_set_labels(EffGraph *g, const char *const *labels);

/**
 * Pixels [size][size][3] RGB to the float input of a network, [size][size][in_channels]: (v - mean) / std a channel. A
 * network of one channel takes the luma of ITU-R BT.601, with the first mean and std.
 */
void eff_graph_normalize(const EffGraph *g, float *dst, const uint8_t *pixels);

/** How to read an ONNX model. A zeroed struct gives the defaults. */
typedef struct EffOnnxOptions {
    int n_dims;               /**< of input_shape; 0: as the model declares it, one picture at a time */
    int64_t input_shape[8];   /**< takes the place of symbolic dimensions: 1,3,H,W or 1,H,W,3 */
    int external_data;        /**< 1: weights may lie in other files of the model's folder */
    const EffPreprocess *pre; /**< how pictures are prepared (the size is the model's); NULL: ImageNet's mean and std,
                                   bicubic, crop 0.875, or what the model's metadata says */
    int *drop_pairs;          /**< of a model that is quantized already: the number of pairs of QuantizeLinear and
                                   DequantizeLinear on activations goes here, and they are left out; NULL: they stay,
                                   and the float executors round as they say */
    int keep_spelling;        /**< 1: the graph as written, before any pass */
    /** Told what becomes of every node of the file, in order: "unused", "folded", "view", "lowered" or "blocked", and
     *  why it is blocked. May be NULL; then reading ends at the first node that is blocked. */
    void (*fate)(void *ctx, const char *node, const char *op, const char *fate, const char *why);
    void *ctx;
} EffOnnxOptions;

/**
 * Read an ONNX model, opset 7 to 23, as a network (doc/onnx.md): one picture in, logits out. All passes have run over
 * it. Nodes keep their names.
 *
 * @param path  file of at most 2 GiB, or "-".
 * @return EFF_OK (eff_graph_free), EFF_ERR_IO, EFF_ERR_FORMAT (damaged, or no ONNX), EFF_ERR_UNSUPPORTED (names the
 *         node, its operator, the operator set, and what to do), EFF_ERR_VERSION, EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_onnx_open(EffGraph **out, const char *path, const EffOnnxOptions *options);
/** The same from memory; `name` is for messages, `data` is not kept. External data is refused. */
EffStatus eff_onnx_read(EffGraph **out, const void *data, size_t size, const char *name, const EffOnnxOptions *options);

enum {
    EFF_EXPORT_MIN_OPSET = 9,
    EFF_EXPORT_MIN_QUANTIZED_OPSET = 13,
    EFF_EXPORT_MAX_OPSET = 21,
    EFF_EXPORT_DEFAULT_OPSET = 13
};

/** How to write an ONNX model. A zeroed struct gives the defaults. */
typedef struct EffOnnxExport {
    int opset;                 /**< operator set, EFF_EXPORT_MIN_OPSET to EFF_EXPORT_MAX_OPSET; 0 means 13 */
    const char *const *labels; /**< [n_classes] UTF-8 without line ends, for the metadata; NULL: those that the network
                                    has, if any */
} EffOnnxExport;

/** Sizes of a network as an ONNX model. */
typedef struct EffOnnxSize {
    int n_nodes;           /**< of ONNX: SiLU is two */
    uint64_t params;       /**< trainable: weights, biases, BatchNorm scale and shift */
    uint64_t initializers; /**< numbers in all initializers: BatchNorm statistics and the bounds of Clip too */
    uint64_t file_bytes;
    int opset, ir_version;
    int n_int16_left_float; /**< 16-bit activations of a quantized model without a pair of their own (before set 21) */
} EffOnnxSize;

/** What eff_onnx_write() would write. @return as that, without EFF_ERR_IO and EFF_ERR_LIMIT. */
EffStatus eff_onnx_size(EffOnnxSize *out, const EffGraph *g, const EffOnnxExport *options);

/**
 * Write a network as an ONNX model, atomically: input "data" [1][in_channels][size][size], output "output"
 * [1][n_classes], nodes under their names, BatchNorm as nodes unless the passes have folded it, TensorFlow's padding as
 * explicit pads. The preprocessing goes into metadata_props. eff_onnx_open() of it gives the same plan.
 *
 * @param g  with weights, folded by eff_graph_optimize() or not.
 * @return EFF_OK, EFF_ERR_ARG (an operator set out of range, no weights), EFF_ERR_LIMIT (more than 2 GB), EFF_ERR_IO,
 *         EFF_ERR_NOMEM.
 */
EffStatus eff_onnx_write(const EffGraph *g, const char *path, const EffOnnxExport *options);

/**
 * Write a compiled int8 model as an ONNX model, atomically: float operators between QuantizeLinear and
 * DequantizeLinear, which hold the model's scales and zero points; weights as its integers behind DequantizeLinear.
 * What rounds between them does as the model does; activation tables and squeeze-excite are the functions themselves.
 * Input, output and metadata as eff_onnx_write(). 16-bit activations are quantized from operator set 21 on, and left
 * float before it; `size` has how many.
 *
 * @return EFF_OK, EFF_ERR_ARG (operator set out of EFF_EXPORT_MIN_QUANTIZED_OPSET to EFF_EXPORT_MAX_OPSET),
 *         EFF_ERR_UNSUPPORTED (a float model, or one without scales, with tables of unknown functions or with
 *         16-bit inputs),
 *         EFF_ERR_LIMIT (more than 2 GB), EFF_ERR_IO, EFF_ERR_NOMEM.
 */
EffStatus eff_onnx_write_model(EffOnnxSize *size, const EffModel *m, const char *path, const EffOnnxExport *options);

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

/**
 * Give a network from eff_graph_build() seeded weights: convolutions of variance 1 / fan-in, BatchNorm statistics
 * measured on 8 synthetic pictures (4 if they are larger than 260) so that activations keep unit variance, gains spread
 * over a factor of 16 around a mean square of 1. The same on every machine.
 * @return EFF_OK or EFF_ERR_NOMEM.
 */
EffStatus eff_graph_randomize(EffGraph *g, uint64_t seed);

/** Fill pixels [size][size][3] with soft random colours and noise: input for networks with random weights. */
void eff_synthetic_picture(uint8_t *pixels, int size, uint64_t seed);

/**
 * A picture with the statistics of photos, to calibrate on where there are none: shaded and textured shapes of all
 * sizes that cover each other (dead leaves: Lee, Mumford, Huang, "Occlusion models for natural images", IJCV 41, 2001,
 * with sizes distributed as r^-3). The same on every machine.
 * @param pixels  receives [size][size][3] RGB.
 * @return EFF_OK or EFF_ERR_NOMEM.
 */
EffStatus eff_leaves_picture(uint8_t *pixels, int size, uint64_t seed);

/** Run all passes: fold BatchNorm into the convolutions before it. The graph must have weights. @return EFF_OK,
 * EFF_ERR_ARG, EFF_ERR_NOMEM. */
EffStatus eff_graph_optimize(EffGraph *g);

/**
 * Take out channels that no picture can change; what they add goes into biases. Not one of the passes above, since the
 * channels behind them get other numbers, and nothing runs faster (doc/onnx.md).
 * @param g  after eff_graph_optimize(). @param n_dropped  receives how many outputs of convolutions went; may be NULL.
 * @return EFF_OK, EFF_ERR_ARG (no weights), EFF_ERR_NOMEM.
 */
EffStatus eff_graph_drop_constant_channels(EffGraph *g, int *n_dropped);

/** How eff_graph_draw() draws. */
typedef enum EffDrawing {
    EFF_DRAWING_DOT = 0, /**< a digraph for Graphviz */
    EFF_DRAWING_SVG      /**< a picture: nodes from top to bottom, what skips nodes beside them */
} EffDrawing;

/** Draw a network: each node with its name, operator and shape. The caller frees *out with free().
 * @return EFF_OK, EFF_ERR_NOMEM. */
EffStatus eff_graph_draw(char **out, const EffGraph *g, EffDrawing how);

/* ---- Float reference ------------------------------------------------------------------------------------------ */

/** A graph prepared to run in float32: the truth that other kernels are compared with. Immutable, shared by sessions.
 */
typedef struct EffReference EffReference;
/** The memory of one run at a time. */
typedef struct EffReferenceSession EffReferenceSession;

/**
 * Prepare a graph with weights; the graph may be freed afterwards.
 * @param cpu  level to run at, as in eff_model_open(); NULL or "auto" for the best of this CPU. Every level gives the
 *             same bits.
 * @return EFF_OK, EFF_ERR_ARG, EFF_ERR_UNSUPPORTED, EFF_ERR_NOMEM.
 */
EffStatus eff_reference_create(EffReference **out, const EffGraph *g, const char *cpu);
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

/* ---- Quantization and compilation ---------------------------------------------------------------------------------
 */

/** Pictures for calibration, prepared for the network. */
typedef struct EffPictures {
    size_t n;
    size_t n_sources; /**< different ones among them: views of one picture count once; 0 means n */
    /** Fill pixels [size][size][3] RGB with picture i; called from several threads. Its failure ends the calibration.
     */
    EffStatus (*get)(void *ctx, size_t i, uint8_t *pixels);
    void *ctx;
    const char *(*name)(void *ctx, size_t i); /**< of picture i, for messages and reports; NULL: it is numbered */
} EffPictures;

/** Which values a range covers. */
typedef enum EffRangeMethod {
    EFF_RANGES_AUTO = 0, /**< all, but those of pictures far louder than all others (eff_compiled_loud()) */
    EFF_RANGES_MINMAX,   /**< all */
    /* As AUTO, then of what convolutions read the rarest magnitudes are cut off, on up to 64 pictures, and nothing is
     * added for what other pictures may do. As other tools do it; doc/quantization.md has what they gain and lose. */
    EFF_RANGES_PERCENTILE, /**< all but 100 - percentile of a hundred */
    EFF_RANGES_MSE,        /**< least squared error */
    EFF_RANGES_KL          /**< least divergence of the histogram */
} EffRangeMethod;

/** How to quantize. A zeroed struct gives the defaults. */
typedef struct EffQuantizeOptions {
    int n_threads;                /**< pictures at a time; 0 means one a CPU. The result is the same for every number */
    size_t n_report;              /**< pictures that the report's errors are measured on; 0 means 32 */
    const EffPictures *held_back; /**< what they are measured on instead, all of them; NULL: on some of those that the
                                       network is calibrated on */
    const char *table;            /**< text of a table (doc/table.md) whose ranges and types take the place of what is
                                       observed; NULL without. Of a complete one nothing is observed at all */
    const char *table_name;       /**< of its file, for messages */
    EffRangeMethod ranges;
    double percentile;  /**< of EFF_RANGES_PERCENTILE, in (0, 100] */
    int no_gptq;        /**< 1: round the weights, do not choose them */
    size_t int16_nodes; /**< most convolutions that get 16-bit inputs, those that gain most; 0: none, unless max_drop
                             asks */
    const char *float_nodes; /**< names of convolutions that run in float, with commas between, as if the table said so;
                                  NULL: none. Pointwise and depthwise ones on maps, but for the first */
    int has_max_drop;        /**< 1: as few of them as bring the estimated drop down to max_drop */
    double max_drop;         /**< points of agreement with float, on every fourth picture; 0 or more */
    int no_migration;        /**< 1: one scale a tensor before pointwise convolutions, not one a channel */
    /** Told how far a phase is; a result other than 0 ends the work with EFF_ERR_INTERRUPTED. May be NULL. */
    int (*progress)(void *ctx, const char *phase, size_t done, size_t total);
    void *ctx;
} EffQuantizeOptions;

/** A row of the report: a tensor of the compiled model against the float network's, over the report's pictures. */
typedef struct EffNodeReport {
    const char *name; /**< of the node */
    const char *type; /**< "u8", "s16", "f32" */
    double sqnr_db;   /**< 10 log10(signal power / error power) */
    double cosine;    /**< similarity of the two tensors */
    double plain_db,
        steps_db; /**< sqnr_db at the two stages before; NaN where the tensor, or the stage, was not there */
    double act_sqnr_db,
        act_u8_sqnr_db; /**< of the activation function alone, and of rounding its result to u8; NaN without */
    const char *act;    /**< "stair", "interp", "f32" (in a float node), or "" */
} EffNodeReport;

/** The network as one technique after the other is switched on. */
typedef enum EffStage {
    EFF_STAGE_PLAIN, /**< one step a tensor in front of pointwise convolutions, weights and biases rounded */
    EFF_STAGE_STEPS, /**< steps a channel there */
    EFF_STAGE_FINAL, /**< weights and biases chosen, 16-bit inputs where they were asked for: as it is written */
    EFF_N_STAGES
} EffStage;

/** How far the network's answers are from float, over the pictures of the report. */
typedef struct EffQuality {
    size_t n_pictures;              /**< 0: a float model */
    int held_back;                  /**< 1: it was not calibrated on them */
    double kl[EFF_N_STAGES];        /**< mean KL divergence of the softmax from float's, nats; NaN: not measured */
    double agreement[EFF_N_STAGES]; /**< share of pictures with float's best class */
} EffQuality;

/** What 16-bit inputs would gain a convolution, and whether it got them; or that it runs in float. */
typedef struct EffNodeRank {
    int node; /**< its place in the network */
    const char *name;
    const char *type;   /**< "int8", "int16" or "f32" */
    double gain;        /**< mean KL divergence from float that is saved where it alone has them; NaN: not measured */
    const char *reason; /**< why it is no int8 one: "gain", "drop", "table", "option" (float_nodes); "": it is one */
} EffNodeRank;

/** The measurements behind it; doc/quantization.md. All are taken with rounded weights. */
typedef struct EffPromotionSummary {
    size_t n_promoted;        /**< by int16_nodes or max_drop */
    size_t n_pictures;        /**< that the ranking was measured on; 0: nothing was asked for */
    size_t n_held_back;       /**< that the drop was estimated on; 0: none was asked for */
    double kl;                /**< of the network without promotions */
    double drop_before, drop; /**< estimated, in points of agreement */
    int reached;              /**< 0: the drop is still above max_drop */
} EffPromotionSummary;

/** A calibration picture that is so much louder than the others in some nodes that it does not count in their ranges.
 */
typedef struct EffLoudPicture {
    size_t picture;
    const char *node; /**< where it is loudest */
    double times;     /**< that node's largest magnitude on it, in multiples of what the loudest usual picture has */
    int n_nodes;      /**< in which it is cut off */
} EffLoudPicture;

/** A compiled model before it is written, with the report of how it was made. */
typedef struct EffCompiled EffCompiled;

/**
 * Quantize a network after training, and compile it: u8 activations, s8 weights, the arithmetic of doc/quantization.md.
 * The same graph, pictures and options give the same bytes, whatever the machine and the number of threads.
 *
 * @param g  with weights; not changed.
 * @return EFF_OK (eff_compiled_free), EFF_ERR_ARG (no weights, no pictures, float_nodes that there aren't or that can't
 * run in float), EFF_ERR_UNSUPPORTED (names the node),
 *         EFF_ERR_FORMAT (of the weights, or of the table, with its line), EFF_ERR_VERSION (of the table),
 * EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED, or what the picture source returned.
 */
EffStatus eff_quantize(EffCompiled **out, const EffGraph *g, const EffPictures *pictures,
                       const EffQuantizeOptions *options);
/** Compile a network in float32. @return as eff_quantize(). */
EffStatus eff_compile_float(EffCompiled **out, const EffGraph *g);

/** Class names to travel in the file (copied); n_classes of them. @return EFF_OK or EFF_ERR_NOMEM. */
EffStatus eff_compiled_set_labels(EffCompiled *c, const char *const *labels);
/** Where the model comes from, as JSON text (copied). @return EFF_OK or EFF_ERR_NOMEM. */
EffStatus eff_compiled_set_provenance(EffCompiled *c, const char *json);

/** Write the .bin, atomically. @return EFF_OK, EFF_ERR_IO, EFF_ERR_NOMEM. */
EffStatus eff_compiled_write(const EffCompiled *c, const char *path);
/** A model that runs it, without a file. @return as eff_model_open(). */
EffStatus eff_compiled_model(EffModel **out, const EffCompiled *c, const char *cpu);

/** Rows of the report, in the order of execution; NULL past the end. None for a float model. */
const EffNodeReport *eff_compiled_report(const EffCompiled *c, size_t i);
EffQuality eff_compiled_quality(const EffCompiled *c);
/** The i-th convolution by what 16-bit inputs gain it, best first; then those of the table and of float_nodes. NULL
 * past the end. Names are the graph's. */
const EffNodeRank *eff_compiled_rank(const EffCompiled *c, size_t i);
EffPromotionSummary eff_compiled_promotion(const EffCompiled *c);
/** Calibration pictures that were cut off somewhere, in their order; NULL past the end. Borrowed. */
const EffLoudPicture *eff_compiled_loud(const EffCompiled *c, size_t i);
/** The table of ranges and types that it was quantized with, as text (doc/table.md); NULL for a float model. Borrowed.
 */
const char *eff_compiled_table(const EffCompiled *c);
void eff_compiled_free(EffCompiled *c);

/* ---- Debugging ------------------------------------------------------------------------------------------------ */

/** How a tensor, or a channel of it, differs from the float network's over the pictures of eff_debug_run(). */
typedef struct EffDebugError {
    double sqnr_db;           /**< 10 log10(signal power / error power) */
    double cosine;            /**< similarity of the two */
    double cut_off;           /**< share of the float values beyond the range used, by more than half a step */
    float max_error;          /**< largest |difference| */
    float used_min, used_max; /**< what the integers can hold; infinite in float */
    float seen_min, seen_max; /**< of the float network on these pictures */
} EffDebugError;

/** A tensor of a compiled model that is a node's output; a node may have two, u8 and s16. */
typedef struct EffDebugNode {
    const char *name; /**< of the node */
    const char *type; /**< "u8", "s16", "f32" */
    const char *op;   /**< of the step that makes it, as profiles name it: "pw", with 16-bit inputs "pw16", in float
                           "pw_f32" */
    int n_channels;
    int per_channel;               /**< whether each channel has a range of its own */
    double input_sqnr_db;          /**< the lowest SQNR of what its step reads; NaN where that is the picture. The
                                        difference is what the step itself loses */
    EffDebugError all;             /**< of all channels */
    const EffDebugError *channels; /**< [n_channels] */
} EffDebugNode;

/** Every node of a compiled model beside float. */
typedef struct EffDebug EffDebug;

/**
 * Run a compiled model and the float network on the same pictures, and compare every tensor that is a node's output.
 *
 * @param g        the network that it was compiled from (or another one with nodes of those names and shapes), folded,
 *                 with the model's preprocessing.
 * @param options  n_threads and progress are used; NULL for the defaults. The result is the same for every number of
 * threads.
 * @return EFF_OK (eff_debug_free), EFF_ERR_ARG (no pictures, another input size, no node in common, no weights),
 *         EFF_ERR_NOMEM, EFF_ERR_INTERRUPTED, or what the picture source returned.
 */
EffStatus eff_debug_run(EffDebug **out, const EffModel *m, const EffGraph *g, const EffPictures *pictures,
                        const EffQuantizeOptions *options);
/** The i-th tensor in the order of execution; NULL past the end. Borrowed; names are the model's. */
const EffDebugNode *eff_debug_node(const EffDebug *d, size_t i);
void eff_debug_free(EffDebug *d);

#ifdef __cplusplus
}
#endif
#endif
