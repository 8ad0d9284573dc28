/* SPDX-License-Identifier: Apache-2.0 */
/* Executing steps and groups: what the files that do it share. */
#ifndef EFF_RUNTIME_EXEC_H
#define EFF_RUNTIME_EXEC_H

#include "runtime/session.h"

enum {
    EFF_PIECES = 4,     /* pieces a thread, so that a slow one does not hold up the rest */
    EFF_PIXEL_TILE = 48 /* a multiple of every pointwise kernel's tile */
};

/* A step at work: what its tasks share. */
typedef struct EffRun {
    EffSession *session;
    const EffPlanStep *step;
    const EffLayer *layer;
    const EffPlanTensor *in, *to; /* shapes of in[0] and of the outputs */
    const void *src[2];           /* NULL where there is no tensor, and for those local to a group */
    void *dst[2];
} EffRun;

/* A group at work. */
typedef struct EffGroupRun {
    const EffGroup *group;
    const EffTile *tile;
    EffAhead ahead;                  /* parameters of the steps after it */
    EffRun run[EFF_GROUP_MAX_STEPS]; /* of its steps */
} EffGroupRun;

void eff_exec_int8(EffRun *run);
void eff_exec_wide(EffRun *run); /* PW16, DW16, GATE */
void eff_exec_node(EffRun *run); /* PW_F32, DW_F32 */
void eff_exec_f32(EffRun *run);
void eff_exec_group(EffGroupRun *group);

static inline const EffKernels *eff_run_kernels(const EffRun *r)
{
    return &r->session->model->kernels;
}

static inline size_t eff_run_threads(const EffRun *r)
{
    return (size_t)eff_pool_size(r->session->pool);
}

/* Items a piece, so that n items are EFF_PIECES a thread, a multiple of `unit` each. */
static inline size_t eff_run_pieces(const EffRun *r, size_t n, size_t unit)
{
    const size_t n_pieces = EFF_PIECES * eff_run_threads(r), each = (n + n_pieces - 1) / n_pieces;
    return (each + unit - 1) / unit * unit;
}

static inline size_t eff_tensor_ch(const EffPlanTensor *t)
{
    return (size_t)eff_ch_pad(t->c);
}

static inline size_t eff_tensor_pixels(const EffPlanTensor *t)
{
    return (size_t)t->h * (size_t)t->w;
}

/* Output rows of a depthwise step that come from the same first quad. */
static inline int eff_dw_rows_a_quad(const EffDw *dw)
{
    return 4 / dw->stride;
}

/* A range of quads and channels of a row-quad buffer. */
typedef struct EffQuadRange {
    int quad_begin, quad_end;
    int ch_begin, ch_end;
    EffAhead ahead; /* fetched while they are made */
} EffQuadRange;

/*
 * What a STEM, PW or QUADS step writes to a range of row quads, padding included.
 *
 * @param q        geometry; its ch_stride may be that of a buffer for the range's channels alone.
 * @param dst      where quad range.quad_begin and channel range.ch_begin stand.
 * @param scratch  eff_stem_workspace_bytes() for STEM, which makes all channels at once.
 */
void eff_make_quads(const EffRun *r, const EffQuads *q, uint8_t *dst, EffQuadRange range, void *scratch);

/* Pixels a piece of a pointwise step. */
size_t eff_pw_grain(const EffRun *r, size_t n_pixels);

/*
 * Pixels [begin, end) of a PW step; the residual is r->src[1].
 *
 * @param src      its input from pixel `begin` on.
 * @param u8, s16  its outputs from pixel `begin` on, or NULL.
 * @param ahead    fetched meanwhile.
 */
void eff_pw_pixels(const EffRun *r, const uint8_t *src, uint8_t *u8, int16_t *s16, size_t begin, size_t end,
                   EffAhead ahead);

/* 16-bit inputs: pixels a piece, and pixels [at, at + n) of the outputs from the sums of both bytes, [n][channels]. */
size_t eff_wide_grain(const EffRun *r, size_t n_pixels);
void eff_join_pixels(const EffRun *r, const EffEpilogue *e, const int32_t *hi, const int32_t *lo, size_t at, size_t n);

/* A PW step on whole tensors, r->src and r->dst. */
void eff_run_pw(EffRun *r);

/* A thread's sums of a POOL step: 64 bits in all, 32 bits for the piece at hand. */
typedef struct EffSums {
    int64_t *total;
    int32_t *piece; /* zero between pieces */
} EffSums;

/* Bytes that the sums of n_ch (padded) channels take, and where they are in a thread's scratch from `offset` on. */
size_t eff_sums_bytes(size_t n_ch);
EffSums eff_sums_at(const EffSession *s, int worker, size_t offset, size_t n_ch);

/* Before the pieces: all threads' sums are 0. After a piece: its sums, channels [begin, end), go to the total. At the
 * end: the mean of all. `pool` is the POOL step. */
void eff_sums_clear(const EffRun *pool, size_t offset);
void eff_sums_add(EffSums s, size_t begin, size_t end);
void eff_sums_mean(const EffRun *pool, size_t offset);

/* The multiplier of a QUANT step: its own, or with a gate the product, made in the shared scratch. */
EffQuant eff_gated_quant(const EffRun *r);

#endif
