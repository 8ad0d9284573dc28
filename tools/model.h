/* SPDX-License-Identifier: Apache-2.0 */
/* A model as the commands see it: found by name or file, ready to turn pictures into logits. */
#ifndef EFFNET_TOOLS_MODEL_H
#define EFFNET_TOOLS_MODEL_H

#include "cli.h"

/* Options of every command that builds a MODEL from weights, and of every one that runs it. */
extern const Option model_options[];
extern const Option cpu_option[];

typedef struct Model {
    char *title;  /* how the user named it */
    char *file;   /* path that it was read from; NULL for random weights */
    EffArch arch; /* what it was built as; zeroed for a compiled model */
    EffModel *model;
    const EffModelInfo *info; /* of `model` */
    char **labels;            /* n_classes lines of --labels; NULL without */
} Model;

/* One run at a time; its buffers are its own. */
typedef struct ModelSession {
    const Model *model;
    EffSession *session;
    uint8_t *pixels;                               /* [size][size][3] */
    float *logits;                                 /* [n_classes] */
    bool fast_decode;                              /* let large JPEGs be decoded to a part of their size; off */
    double decode_ms, preprocess_ms, inference_ms; /* of the last picture */
} ModelSession;

/* Whether a word on the command line means a model rather than a picture. */
bool model_is_spec(const char *word);

/* ONNX goes by the file's ending: a protobuf has no signature. */
bool model_ends_as_onnx(const char *path);

/* What MODEL or ARCH stands for. */
typedef struct ModelSpec {
    EffArch arch; /* after the options; zeroed for a compiled model */
    char *file;   /* free(); weights or a .bin; NULL when there is none at hand */
    bool is_bin, is_onnx;
    bool for_int8; /* model_load_graph() leaves out the pairs of an ONNX model that is quantized already, and says so */
} ModelSpec;

/* The published model of a name, in any spelling that architectures have (lite0, efficientnet_lite0), or NULL. */
const EffHubModel *model_published(const char *name);

/*
 * Find out what `spec` means. NULL is the default model: the int8 one in the cache, or the float one with --float or
 * where there is no int8 one yet. Prints what is wrong and returns an exit code.
 */
ExitCode model_find(const Args *a, const char *spec, ModelSpec *out);
void model_spec_free(ModelSpec *spec);

/* The float network of a weights file, BatchNorm folded. Prints what is wrong. */
ExitCode model_load_graph(const Args *a, ModelSpec *spec, EffGraph **out);
/* The same before any pass. */
ExitCode model_load_as_written(const Args *a, ModelSpec *spec, EffGraph **out);

/* The options for reading an ONNX model: --input-shape, --external-data and those of the preprocessing. `pre` is where
 * these are kept. Prints what is wrong. */
ExitCode model_onnx_options(const Args *a, EffOnnxOptions *out, EffPreprocess *pre);

/* Open a model. Prints what is wrong and returns an exit code. */
ExitCode model_open(Model *out, const Args *a, const char *spec);
/* Open a compiled model and nothing else; NULL is the int8 one in the cache. */
ExitCode model_open_bin(Model *out, const Args *a, const char *path);
/* A model that runs a compiled one that is still in memory. */
ExitCode model_from_compiled(Model *out, const Args *a, const EffCompiled *compiled, const char *title);
void model_close(Model *m);

/* Name of a class; never NULL. `buffer` (32 bytes) is used where there is no label. */
const char *model_label(const Model *m, int index, char *buffer);
/* The names of all classes of ImageNet for models of 1000 classes; NULL for others. */
const char *const *model_default_labels(int n_classes);

/* Lines of a file, one a class. */
EffStatus model_read_labels(char ***out, const char *path, int n_classes);
void model_labels_free(char **labels, int n_classes);

EffStatus model_session_create(ModelSession *out, const Model *m, int n_threads);
void model_session_free(ModelSession *s);
/* Decode, prepare and run one picture; logits and times are in the session. */
EffStatus model_session_run(ModelSession *s, const char *path, bool apply_orientation);
/* Decode and prepare only, into pixels [size][size][3]. */
EffStatus model_prepare(const EffPreprocess *pre, const char *path, bool apply_orientation, uint8_t *pixels);

#endif
