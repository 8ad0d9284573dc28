/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: a flat list of steps over tensors in one arena, what a .bin holds and a session executes.
 *
 * A plan is data. The compiler fills one in, bin_write.c stores it, bin_read.c reads it back and plan_check.c proves
 * it: every index, offset, count, shape, shift and multiplier, so that the executor only asserts. Weights and
 * parameters are canonical here (documented at EffDataSlot, no padding, no tiles); the model packs them for the CPU
 * when it is loaded.
 */
#ifndef EFF_FORMAT_PLAN_H
#define EFF_FORMAT_PLAN_H

#include "effnet/base.h"
#include "kernels/f32.h"
#include "kernels/quads.h"

#include <stdbool.h>

enum {
    EFF_PLAN_MAX_TENSORS = 16384, /* the proof of the arena takes steps times tensors; the largest network has 1000 */
    EFF_PLAN_MAX_STEPS = 16384,
    EFF_PLAN_MAX_CLASSES = 65536,
    EFF_PLAN_MAX_SIZE = 4096,      /* of the input */
    EFF_PLAN_MAX_EXTENT = 16384,   /* rows or columns of a tensor */
    EFF_PLAN_MAX_CHANNELS = 65536, /* of float tensors and logits; EFF_MAX_CH of the others */
    EFF_PLAN_MAX_KERNEL = 64,      /* of float convolutions and pools; stride too */
    EFF_PLAN_NAME_BYTES = 96,
    EFF_PLAN_NONE = -1
};

/* Most bytes of the arena, and of the scratch of one thread. */
#define EFF_PLAN_MAX_ARENA ((uint64_t)1 << 33)
/* Most bytes of a file. */
#define EFF_PLAN_MAX_FILE ((uint64_t)1 << 32)

typedef enum EffTensorType {
    EFF_TENSOR_U8 = 0, /* real = scale * (q - zero) */
    EFF_TENSOR_S16,    /* real = scale * q */
    EFF_TENSOR_F32
} EffTensorType;

typedef enum EffLayout {
    EFF_LAYOUT_IMAGE = 0, /* [h][w][c] without channel padding: the pixels; and all float tensors */
    EFF_LAYOUT_NHWC,      /* [h][w][eff_ch_pad(c)]; u8 and s16 */
    EFF_LAYOUT_QUADS,     /* row quads for the depthwise step that reads it (kernels/quads.h); u8 */
    EFF_LAYOUT_VECTOR     /* [eff_param_pad(c)], h = w = 1: pooled s16, gates; logits are an f32 IMAGE of 1 x 1 */
} EffLayout;

/*
 * An activation. Tensor 0 is the input: u8 IMAGE [size][size][3], given by the caller and outside the arena. Tensors
 * that live at the same time do not overlap in the arena; plan_check.c proves that every step's inputs are still
 * intact.
 */
typedef struct EffPlanTensor {
    char name[EFF_PLAN_NAME_BYTES]; /* of the node of the network whose output this is; "" for intermediates */
    int32_t type, layout;           /* EffTensorType, EffLayout */
    int32_t h, w, c;
    int32_t n_scales;      /* 0 (unknown), 1 (a tensor) or c (a channel): entries at `scale` and, for u8, `zero` */
    uint64_t scale, zero;  /* offsets into the data: f32 and u8; for reports, never for running */
    uint64_t arena_offset; /* multiple of EFF_ALIGN; 0 for tensor 0, and for those local to a group (group.h) */
} EffPlanTensor;

typedef enum EffStepOp {
    /* int8. Kernels: kernels/table.h. `in`, `out`: see each. */
    EFF_STEP_STEM = 0, /* in[0] pixels -> out[0] u8 NHWC and/or out[1] s16, or out[0] QUADS; WGT [o][ky][kx][3] */
    EFF_STEP_PW,       /* in[0] u8 NHWC, in[1] residual s16 or none -> out[0] u8 NHWC and/or out[1] s16, or out[0]
                          QUADS without residual. out[1] may be in[1], or lie exactly where it lies. */
    EFF_STEP_DW,       /* in[0] u8 QUADS -> out[0] u8 NHWC and/or out[1] s16 */
    EFF_STEP_QUADS,    /* in[0] u8 NHWC -> out[0] QUADS; ZERO: of the padding */
    EFF_STEP_POOL,     /* in[0] u8 or s16 NHWC -> out[1] s16 VECTOR: the mean with frac_bits more fraction bits */
    EFF_STEP_FC,       /* in[0] s16 VECTOR -> out[1] s16 VECTOR; EffFcEpilogue; with SIGMOID the gate in Q15 */
    EFF_STEP_QUANT,    /* in[0] s16 NHWC, in[1] gate VECTOR or none -> out[0] u8 NHWC; OMULT, ZERO, post_shift */
    EFF_STEP_HEAD,     /* in[0] s16 VECTOR -> out[0] f32 logits: acc * SCALE[o] + FBIAS[o] */
    /* float */
    EFF_STEP_F32_INPUT, /* in[0] pixels -> out[0] f32: (v - mean) / std of the plan's preprocessing */
    EFF_STEP_F32_CONV,  /* in[0] f32 -> out[0] f32; FWGT [o][ky][kx][i / groups], FBIAS; activation `fact` */
    EFF_STEP_F32_POOL,  /* in[0] f32 -> out[0] f32 1 x 1 x c: the mean */
    EFF_STEP_F32_ADD,   /* in[0] + in[1] -> out[0] */
    EFF_STEP_F32_MUL,   /* in[0] * in[1] (1 x 1 x c, or the shape of in[0]) -> out[0] */
    EFF_STEP_F32_ACT,   /* in[0] -> out[0]; activation `fact` */
    /* int8 weights, 16-bit inputs: kernels/table.h, eff_join_fn. The epilogue's sums count 256 input steps each. */
    EFF_STEP_PW16, /* in[0] s16 NHWC, in[1] residual s16 or none -> out[0] u8 NHWC and/or out[1] s16 */
    EFF_STEP_DW16, /* in[0] s16 NHWC -> out[0] u8 NHWC and/or out[1] s16 */
    EFF_STEP_GATE, /* in[0] s16 NHWC, in[1] gate VECTOR -> out[1] s16 NHWC: eff_gate_s16() with post_shift */
    /* float weights, 16-bit inputs: kernels/float_node.h. Activation `fact`; then the epilogue, on 16 bits. */
    EFF_STEP_PW_F32, /* in[0] s16 NHWC, in[1] residual s16 or none -> out[0] u8 NHWC and/or out[1] s16 */
    EFF_STEP_DW_F32, /* in[0] s16 NHWC -> out[0] u8 NHWC and/or out[1] s16 */
    /* float, of networks that were quantized elsewhere */
    EFF_STEP_F32_ROUND, /* in[0] f32 -> out[0] f32: eff_round_f32(); FWGT [EFF_ROUND_ROWS][c]; rounding `fact` */
    /* float: eff_pool_f32(), padding counts for nothing */
    EFF_STEP_F32_MAXPOOL, /* in[0] f32 -> out[0] f32 */
    EFF_STEP_F32_AVGPOOL, /* in[0] f32 -> out[0] f32 */
    EFF_N_STEP_OPS
} EffStepOp;

/* What a step's data is; canonical order, little-endian, each array at a multiple of EFF_ALIGN in the data. o, c:
 * channels. */
typedef enum EffDataSlot {
    EFF_DATA_WGT = 0, /* s8 (s16 with wgt_bits 16): STEM [o][ky][kx][3], PW and FC and HEAD [o][i], DW [c][ky][kx] */
    EFF_DATA_BIAS,  /* s32 [o]: EffEpilogue.bias; STEM: [n_cases][o], n_cases the border cases that occur, by row case,
                       then column case, ascending (eff_stem_case()) */
    EFF_DATA_SHIFT, /* s32 [o] */
    EFF_DATA_MULT,  /* s16 [o] */
    EFF_DATA_TOP,   /* s16 [o]: U8_CLAMP */
    EFF_DATA_ZERO,  /* s16 [o]: u8 outputs */
    EFF_DATA_OMULT, /* s16 [o]: u8 outputs of S16 and ACT */
    EFF_DATA_STAIR, /* u8 [EFF_STAIR_SIZE] of the activation */
    EFF_DATA_KNOT,  /* s16 [EFF_KNOTS] */
    EFF_DATA_SLOPE, /* s16 [EFF_KNOTS] */
    EFF_DATA_SIGMOID, /* s16 [2][EFF_KNOTS]: knots, then slopes, of FC's sigmoid */
    EFF_DATA_SCALE,   /* f32 [o]: HEAD, PW_F32, DW_F32 */
    EFF_DATA_FBIAS,   /* f32 [o]: HEAD, F32_CONV, PW_F32, DW_F32 */
    EFF_DATA_FWGT, /* f32: F32_CONV, F32_ROUND; PW_F32 [o][i], DW_F32 [c][ky][kx]: times the unit of the input's channel
                    */
    EFF_N_DATA_SLOTS
} EffDataSlot;

/* Bytes [offset, offset + n_bytes) of the plan's data; n_bytes 0 where the step has no such array. */
typedef struct EffPlanData {
    uint64_t offset, n_bytes;
} EffPlanData;

typedef struct EffPlanStep {
    char name[EFF_PLAN_NAME_BYTES]; /* of the node of the network that it does the work of */
    int32_t op;                     /* EffStepOp */
    int32_t in[2], out[2];          /* tensors, EFF_PLAN_NONE for none */
    int32_t in_ch, out_ch;
    int32_t kernel, stride, pad_top, pad_left, groups; /* STEM, DW, F32_CONV (groups), F32_*POOL; else 1, 1, 0, 0, 1 */
    int32_t wgt_bits;                                  /* 8 or 16: FC, HEAD; 8 elsewhere */
    int32_t out_kind, pre_shift, post_shift;           /* EffOutKind and shifts of the epilogue; QUANT: post_shift */
    int32_t act, act_h, act_g_shift;                   /* EffActKind and its parameters */
    int32_t sigmoid_h;                                 /* FC with SIGMOID */
    int32_t frac_bits;                                 /* POOL */
    int32_t fact;                                      /* EffActivation of float steps; EffRounding: F32_ROUND */
    EffPlanData data[EFF_N_DATA_SLOTS];
} EffPlanStep;

/*
 * Steps [first, first + n_steps) that are executed together, tile by tile, so that what passes between them stays in
 * the cache. It changes no bit of any result. Which steps go together: group.h.
 */
typedef struct EffPlanGroup {
    int32_t first, n_steps;
} EffPlanGroup;

typedef struct EffPlan {
    char name[EFF_PLAN_NAME_BYTES]; /* "efficientnet-lite0" */
    EffPlanTensor *tensors;
    EffPlanStep *steps;
    EffPlanGroup *groups; /* ascending, disjoint; steps in none of them run alone */
    int n_tensors, n_steps, n_groups;
    int output; /* f32 IMAGE [1][1][n_classes] */
    int n_classes;
    EffPreprocess pre;
    uint64_t arena_bytes;
    uint8_t *data; /* aligned to EFF_ALIGN */
    uint64_t data_bytes;
    char **labels;         /* [n_classes], UTF-8, or NULL */
    char *provenance;      /* JSON text: source and its digest, options, tool version; or NULL */
    uint64_t params, macs; /* of the network before folding, for `info` */
    size_t tensors_capacity, steps_capacity, groups_capacity,
        data_capacity; /* of the arrays; kept by the functions below */
} EffPlan;

/* Release everything a plan owns, and zero it. */
void eff_plan_free(EffPlan *plan);

/* Append n_bytes of data at the next multiple of EFF_ALIGN. @return EFF_OK, EFF_ERR_NOMEM, EFF_ERR_LIMIT. */
EffStatus eff_plan_add_data(EffPlan *plan, EffPlanData *out, const void *bytes, size_t n_bytes);
/* Append a tensor, a step or a group (copied); the tensor's index goes to *out unless NULL. */
EffStatus eff_plan_add_tensor(EffPlan *plan, const EffPlanTensor *tensor, int *out);
EffStatus eff_plan_add_step(EffPlan *plan, const EffPlanStep *step);
EffStatus eff_plan_add_group(EffPlan *plan, EffPlanGroup group);

/* Bytes of a step's data: NULL where it has none. */
static inline const void *eff_plan_data(const EffPlan *plan, const EffPlanStep *step, EffDataSlot slot)
{
    return step->data[slot].n_bytes > 0 ? plan->data + step->data[slot].offset : NULL;
}

/* Whether a step works on float tensors. */
static inline bool eff_step_is_float(int op)
{
    return (op >= EFF_STEP_F32_INPUT && op <= EFF_STEP_F32_ACT) ||
           (op >= EFF_STEP_F32_ROUND && op <= EFF_STEP_F32_AVGPOOL);
}

/* Depthwise steps, and those that multiply both bytes of 16-bit inputs. */
static inline bool eff_step_is_dw(int op)
{
    return op == EFF_STEP_DW || op == EFF_STEP_DW16 || op == EFF_STEP_DW_F32;
}

static inline bool eff_step_is_wide(int op)
{
    return op == EFF_STEP_PW16 || op == EFF_STEP_DW16;
}

/* Pools of float maps over windows. */
static inline bool eff_step_is_float_pool(int op)
{
    return op == EFF_STEP_F32_MAXPOOL || op == EFF_STEP_F32_AVGPOOL;
}

/* Convolutions that run in float, between integer steps. */
static inline bool eff_step_is_float_node(int op)
{
    return op == EFF_STEP_PW_F32 || op == EFF_STEP_DW_F32;
}

/* "pw", "f32_conv": for messages and profiles. */
const char *eff_step_op_name(int op);

/*
 * The step whose window gives a QUADS tensor its geometry, the first DW step that reads it, for each tensor;
 * EFF_PLAN_NONE for the others. readers: [n_tensors].
 */
void eff_plan_quads_readers(const EffPlan *plan, int *readers);

/* Geometry of the QUADS tensor that DW step `dw` reads. */
void eff_plan_quads(EffQuads *out, const EffPlan *plan, const EffPlanStep *dw);

/*
 * Bytes that a tensor takes in the arena; `reader` as eff_plan_quads_readers() gives it. False when it is beyond
 * EFF_PLAN_MAX_ARENA, or QUADS without a reader.
 */
bool eff_plan_tensor_bytes(size_t *out, const EffPlan *plan, int tensor, int reader);

/*
 * Places for all tensors by lifetimes (base/arena.h): those that live at the same time do not overlap. The sum of a PW
 * step takes the place of its residual where that is not needed any more.
 *
 * @param fused    groups run as groups: what is local to one has no place (offset 0). Otherwise steps run one by one,
 *                 and every tensor but the input has its place.
 * @param offsets  [n_tensors].
 * @return EFF_OK, EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_plan_layout(const EffPlan *plan, bool fused, uint64_t *offsets, uint64_t *arena_bytes);

/* Set arena_offset of all tensors, and arena_bytes, as eff_plan_layout() gives them for groups. @return the same. */
EffStatus eff_plan_layout_arena(EffPlan *plan);

/*
 * Prove a plan: indices, names that end, shapes that fit from step to step, data inside the data section with exactly
 * the right sizes, kernels' own checks (eff_pw_check() and the like), finite floats, groups of steps that go together,
 * arena offsets in bounds, and no step that reads a tensor which a later write has overlapped. @return EFF_OK,
 * EFF_ERR_FORMAT, EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_plan_check(const EffPlan *plan);

#endif
