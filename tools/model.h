/* SPDX-License-Identifier: Apache-2.0 */
/* A model as the commands see it: found by name or file, ready to turn pictures into logits. */
#ifndef EFFNET_TOOLS_MODEL_H
#define EFFNET_TOOLS_MODEL_H

#include "cli.h"

/* Options of every command that takes a MODEL. */
extern const Option model_options[];

typedef struct Model {
    char *title;  /* how the user named it */
    char *file;   /* path of the weights */
    EffArch arch; /* what it was built as */
    EffGraphStats stats;
    EffPreprocess pre;
    int n_classes;
    EffGraph *graph;
    EffReference *reference;
    char **labels; /* n_classes lines of --labels; NULL without */
} Model;

/* One run at a time; its buffers are its own. */
typedef struct ModelSession {
    const Model *model;
    EffReferenceSession *reference;
    uint8_t *pixels;                               /* [size][size][3] */
    float *input;                                  /* [size][size][in_channels] */
    float *logits;                                 /* [n_classes] */
    double decode_ms, preprocess_ms, inference_ms; /* of the last picture */
} ModelSession;

/* Whether a word on the command line means a model rather than a picture. */
bool model_is_spec(const char *word);

/*
 * Architecture of MODEL or ARCH after the options; `spec` NULL is the default model. *file receives the path of the
 * weights (free()), or NULL when there are none at hand. Prints what is wrong and returns an exit code.
 */
ExitCode model_describe(const Args *a, const char *spec, EffArch *arch, char **file);

/* Open a model with its weights. `spec` NULL is the default model. Prints what is wrong and returns an exit code. */
ExitCode model_open(Model *out, const Args *a, const char *spec);
void model_close(Model *m);

/* Name of a class; never NULL. `buffer` (32 bytes) is used where there is no label. */
const char *model_label(const Model *m, int index, char *buffer);

EffStatus model_session_create(ModelSession *out, const Model *m, int n_threads);
void model_session_free(ModelSession *s);
/* Decode, prepare and run one picture; logits and times are in the session. */
EffStatus model_session_run(ModelSession *s, const char *path, bool apply_orientation);

#endif
