/* SPDX-License-Identifier: Apache-2.0 */
/* One convolution in int8: real weights and scales in, a step's integers out. */
#ifndef EFF_COMPILE_LAYER_INT8_H
#define EFF_COMPILE_LAYER_INT8_H

#include "format/plan.h"
#include "graph/ir.h"
#include "kernels/epilogue.h"

/* How the real values of a tensor's channels are written: real = scale * (q - zero). Arrays of c entries, owned. */
typedef struct EffQuantInfo {
    double *scale;
    int16_t *zero;
    int c;
    bool per_channel; /* otherwise all entries are equal */
} EffQuantInfo;

EffStatus eff_quant_info_alloc(EffQuantInfo *q, int c);
void eff_quant_info_free(EffQuantInfo *q);
/* Set a plan tensor's scale and zero, for reports. */
EffStatus eff_quant_info_describe(EffPlan *plan, EffPlanTensor *tensor, const EffQuantInfo *q);

/*
 * What has been decided about a convolution; arrays of n_out or n_out * fan_in entries, NULL where nothing has been.
 * `scaled` are weights times the scale of what they multiply, so that a sum of weights times input steps is real.
 */
typedef struct EffConvTuning {
    double *scaled;  /* real weights in place of the network's */
    double *acc_min; /* units of the accumulator to start from, in place of the smallest */
    int16_t *q;      /* the integers, in place of the rounded weights */
    double *bias;    /* in place of the network's */
} EffConvTuning;

/* The numbers of a layer as it was lowered; zero: [fan_in], of a depthwise layer [n_out]. */
typedef struct EffLayerNumbers {
    size_t n_out, fan_in;
    double *scaled, *acc_min, *acc_unit, *zero;
} EffLayerNumbers;

void eff_conv_tuning_free(EffConvTuning *t);
void eff_layer_numbers_free(EffLayerNumbers *n);

/* A layer under construction. */
typedef struct EffInt8Layer {
    EffPlan *plan;
    EffPlanStep step;
    const EffConv *conv;
    const EffQuantInfo *in;      /* of the input's channels; the stem's: scale 1 / std, zero unused */
    const float *stem_mean;      /* [3]: only the stem; its zero points, which are no integers */
    int wgt_max;                 /* largest magnitude of a weight: 127, or 32767 with 16 bits */
    const EffConvTuning *tuning; /* NULL: none */
    EffLayerNumbers *numbers;    /* receives the numbers; NULL: nobody asks */
    bool sketch;                 /* weights do not matter yet, and are left 0 */
    bool in_float;               /* weights stay floats; their sums are rounded once, straight to 16 bits */

    /* Working arrays of the layer, filled by eff_int8_layer_begin(). */
    double *acc_min;  /* [o] smallest unit of the accumulator that the weights allow */
    double *acc_unit; /* [o] the unit chosen by one of the functions below */
    int32_t *shift;   /* [o] */
    size_t fan_in;
} EffInt8Layer;

/* Allocate, and find acc_min from the weights times the input's scales. in_shape: for the stem's border cases. */
EffStatus eff_int8_layer_begin(EffInt8Layer *l);

/* To u8 through a clamp (form 1): ReLU when top_real is infinite, ReLU6 when it is 6. */
EffStatus eff_int8_layer_to_u8(EffInt8Layer *l, const EffQuantInfo *out, double top_real);

/* How s16 values are written: real = q * 2^-(frac_bits + finer[c]). */
typedef struct EffFixedPoint {
    int frac_bits;
    const int8_t *finer; /* more bits of a channel, 0 or more; NULL: of none. Borrowed */
    double range;        /* largest magnitude of a channel, in units of the coarsest */
} EffFixedPoint;

/*
 * To s16 (forms 2 and 3). frac_bits may come out lower. With `act` (KIND STAIR, INTERP or RELU) its tables are built
 * for |y| <= 1.25 range, and no channel is finer.
 */
EffStatus eff_int8_layer_to_s16(EffInt8Layer *l, EffFixedPoint *y, EffActKind act, EffActivation fn);

/* The u8 copy of an s16 output: fills `out` from [min, max] (a channel each, or all alike), sets OMULT, ZERO,
 * post_shift. */
EffStatus eff_int8_layer_copy_u8(EffPlan *plan, EffPlanStep *step, EffQuantInfo *out, const float *min,
                                 const float *max, const EffFixedPoint *y);

/*
 * Round the weights to the chosen units, fold the zero points into the bias, and add WGT, BIAS and SHIFT; of a layer in
 * float FWGT, FBIAS and SCALE. `cases`: the stem's border cases, ky and kx ranges in the order of the plan; NULL
 * elsewhere.
 */
typedef struct EffBorderCase {
    int y_first, y_end, x_first, x_end;
} EffBorderCase;
EffStatus eff_int8_layer_finish(EffInt8Layer *l, const EffBorderCase *cases, size_t n_cases);

void eff_int8_layer_free(EffInt8Layer *l);

#endif
