/* SPDX-License-Identifier: Apache-2.0 */
/** Running models: the part that an application links, and nothing else. */
#ifndef EFFNET_RUNTIME_H
#define EFFNET_RUNTIME_H

#include "effnet/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A compiled model, packed for one CPU level. Immutable; sessions in several threads may share it. */
typedef struct EffModel EffModel;
/** One arena bound to one model, used by one caller at a time. */
typedef struct EffSession EffSession;

/** What a model is. The strings belong to the model. */
typedef struct EffModelInfo {
    const char *name; /**< "efficientnet-lite0" */
    int n_classes;
    const char *const *labels; /**< [n_classes], or NULL */
    const char *provenance;    /**< JSON text, or NULL */
    EffPreprocess pre;
    uint64_t params, macs; /**< of the network that it was compiled from */
    uint64_t file_bytes, data_bytes, arena_bytes;
    char sha256[65]; /**< recorded in the file: of all that follows its header, lower-case hex; "" if not from a file */
    int n_steps;
    int is_int8;          /**< 0 for a float model */
    int n_int16, n_float; /**< convolutions of an int8 model that have 16-bit inputs, and that run in float */
    const char *cpu;      /**< level that it was packed for, such as "avx512vbmi" */
} EffModelInfo;

/**
 * Open a compiled model.
 *
 * @param out   receives the model, the caller's until eff_model_close(); untouched on failure.
 * @param path  file, read whole into memory (a mapped file can be truncated under us); at most 4 GiB.
 * @param cpu   level to run at ("c", "avx2", "avx512vnni", "avx512vbmi", ...); NULL or "auto" for the best of this CPU.
 *
 * Where the CPU has AMX, this asks Linux for its tile registers, once for the process; alternative signal stacks then
 * have to be 8 KiB larger, and if one is too small already, tiles are not used.
 *
 * @return EFF_OK, EFF_ERR_IO, EFF_ERR_FORMAT (damaged, or not ours; the message names the section), EFF_ERR_VERSION
 * (newer than this library), EFF_ERR_LIMIT, EFF_ERR_NOMEM, EFF_ERR_ARG (unknown level), EFF_ERR_UNSUPPORTED (a level
 * that this CPU lacks).
 */
EffStatus eff_model_open(EffModel **out, const char *path, const char *cpu);
/** The same from memory; `data` is not kept. `name` is for messages. */
EffStatus eff_model_read(EffModel **out, const void *data, size_t size, const char *name, const char *cpu);
void eff_model_close(EffModel *m);
const EffModelInfo *eff_model_info(const EffModel *m);

/**
 * @param n_threads  threads that share one picture; 0 means one a CPU. Logits are the same for every number.
 * @return EFF_OK, EFF_ERR_ARG, EFF_ERR_IO, EFF_ERR_NOMEM.
 */
EffStatus eff_session_create(EffSession **out, const EffModel *m, int n_threads);
/**
 * Run one picture. Allocates nothing.
 * @param pixels  [size][size][3] RGB.   @param logits  receives n_classes values.
 */
void eff_session_run(EffSession *s, const uint8_t *pixels, float *logits);
void eff_session_destroy(EffSession *s);

/**
 * The same, for looking at single steps: they run one by one, and every activation is whole in memory. It takes more
 * memory and usually more time; the logits are the same.
 */
EffStatus eff_session_create_unfused(EffSession **out, const EffModel *m, int n_threads);

/** Memory that a session works in, beside the model's weights. */
typedef struct EffSessionMemory {
    uint64_t arena_bytes;   /**< activations that are whole in memory, as many of them as live at a time */
    uint64_t scratch_bytes; /**< of all threads: tiles of those that are not */
} EffSessionMemory;
EffSessionMemory eff_session_memory(const EffSession *s);

enum { EFF_STEP_OP_BYTES = 32 };

/** Time of one step, or of a group of steps that run together tile by tile; for profiles. */
typedef struct EffStepTime {
    const char *const *names;   /**< [n_steps] nodes of the network that it does the work of */
    int n_steps;                /**< 1 for a step alone */
    char op[EFF_STEP_OP_BYTES]; /**< "pw", or of a group "pw+dw+pool" */
    uint64_t macs;
    double seconds; /**< of all runs since eff_session_profile() */
    double best;    /**< seconds of the fastest run; 0 before the first */
} EffStepTime;

/** Start measuring the steps and groups of the runs that follow (from zero again when called again). @return EFF_OK or
 * EFF_ERR_NOMEM. */
EffStatus eff_session_profile(EffSession *s);
/** The times so far, *n of them in the order of the run. Borrowed; NULL and 0 before eff_session_profile(). */
const EffStepTime *eff_session_times(const EffSession *s, size_t *n);

/** Open a compiled model's file and compute its SHA-256 too, which opening alone does not. @return as eff_model_open().
 */
EffStatus eff_model_verify(const char *path);

/** What one core of this machine can do at a CPU level, measured in some milliseconds. */
typedef struct EffPeak {
    double hz;         /**< clock */
    double macs_per_s; /**< exact u8 x s8 multiply-accumulates by the level's vector instructions; 0 for plain C.
                            Tiles (avx512amx) do more. */
} EffPeak;
/** @param cpu  as in eff_model_open(). @return EFF_OK, or EFF_ERR_ARG or _UNSUPPORTED for `cpu`. */
EffStatus eff_cpu_peak(EffPeak *out, const char *cpu);

/** Whether a file starts as a compiled model does (its first 8 bytes). */
int eff_model_is_bin(const void *data, size_t size);

#ifdef __cplusplus
}
#endif
#endif
