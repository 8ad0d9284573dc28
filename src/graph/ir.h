/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graph IR: nodes in topological order, values with static shapes, parameters owned by the graph.
 *
 * One image at a time: a value is [h][w][c], channels last. A fully connected layer is a 1x1 convolution on a 1x1
 * map. Nodes keep the name that torch.onnx gives them, since users see it in reports; `module` is the path of the
 * PyTorch module that holds the parameters.
 */
#ifndef EFF_GRAPH_IR_H
#define EFF_GRAPH_IR_H

#include "effnet/base.h"
#include "effnet/compile.h"
#include "format/plan.h"
#include "kernels/pool_f32.h"
#include "kernels/round_f32.h"

#include <stdbool.h>

typedef enum EffOp {
    EFF_OP_CONV,           /* in[0] */
    EFF_OP_BATCHNORM,      /* in[0] */
    EFF_OP_ACT,            /* in[0] */
    EFF_OP_GLOBAL_AVGPOOL, /* in[0] -> [1][1][c] */
    EFF_OP_ADD,            /* in[0] + in[1], equal shapes */
    EFF_OP_MUL,   /* in[0] * in[1], in[1] is [1][1][c]; in models that are quantized already equal shapes too */
    EFF_OP_PAD,   /* in[0] with the pads of `conv` around it, zeros; until fold_pad, nothing runs it */
    EFF_OP_ROUND, /* in[0] by `round`: of models that are quantized already; only the float executors run it */
    EFF_OP_POOL   /* in[0] by `pooling` over the window of `conv`, whose pads, smaller than itself, count for nothing;
                     only the float executors run it */
} EffOp;

typedef struct EffShape {
    int h, w, c;
} EffShape;

/* Numbers of a parameter; data is NULL until weights are loaded, so that a network can be described without them. */
typedef struct EffParam {
    float *data;
    size_t n;
} EffParam;

typedef struct EffConv {
    int in_ch, out_ch, groups;
    int kernel_h, kernel_w, stride;
    bool same; /* TF SAME: shape inference sets the four pads from the input size */
    int pad_top, pad_left, pad_bottom, pad_right;
    bool has_bias;
    EffParam wgt;   /* [out_ch][kernel_h][kernel_w][in_ch / groups] */
    EffParam bias;  /* [out_ch]; n = 0 without bias */
    size_t n_fixed; /* of wgt: what the importer put there, and no training; counted as no parameters */
} EffConv;

typedef struct EffBatchNorm {
    float eps;
    EffParam gamma, beta, mean, var; /* [c] each */
} EffBatchNorm;

/* y = (r(clamp(x / div, low, high)) + add) * mul, in float, each operation rounded: QuantizeLinear and
 * DequantizeLinear, and what stands between them. */
typedef struct EffRound {
    EffRounding how; /* r */
    EffParam table;  /* [EFF_ROUND_ROWS][c] */
} EffRound;

typedef struct EffNode {
    char *name;
    char *module; /* NULL where there are no parameters */
    EffOp op;
    int n_inputs;
    int in[2]; /* indices of values */
    int out;
    EffConv conv;
    EffBatchNorm bn;
    EffActivation act;
    EffRound round;
    EffPooling pooling;
} EffNode;

typedef struct EffValue {
    EffShape shape; /* of the value that node `producer` computes; -1: the input of the graph */
    int producer;
    int n_consumers;
} EffValue;

struct EffGraph {
    char *name;
    EffNode *nodes; /* topological order */
    int n_nodes, nodes_capacity;
    EffValue *values;
    int n_values, values_capacity;
    int input, output;
    int n_classes;
    uint64_t n_params; /* trainable parameters, from before BatchNorms were folded; 0 until then */
    EffPreprocess pre;
    char **labels; /* [n_classes], or NULL */
};

/* Limits that keep all size arithmetic inside 64 bits. */
enum { EFF_MAX_CHANNELS = 65536, EFF_MAX_SIZE = 4096, EFF_MAX_NODES = 100000 };

EffStatus eff_graph_create(EffGraph **out, const char *name, EffShape input);

/* Add a value, or a node with its output value; the index goes to *out. Names are copied. */
EffStatus eff_graph_add_value(EffGraph *g, int *out);
EffStatus eff_graph_add_node(EffGraph *g, const EffNode *node, int *out);

/* Recompute producers and numbers of consumers after nodes were removed or rewired; drops nodes whose `out` is -1. */
void eff_graph_relink(EffGraph *g);

/* Allocate n zeroed floats for a parameter. */
EffStatus eff_param_alloc(EffParam *p, size_t n);
void eff_param_free(EffParam *p);
/* All parameters of a node, which stays. */
void eff_node_free_params(EffNode *node);

/* A table that changes nothing, for c channels. @return EFF_OK (eff_node_free_params), EFF_ERR_NOMEM. */
EffStatus eff_round_init(EffRound *r, EffRounding how, int c);
static inline float *eff_round_row(const EffRound *r, EffRoundRow row)
{
    return r->table.data + (size_t)row * (r->table.n / EFF_ROUND_ROWS);
}

/* Copy n strings; eff_labels_free() frees them, and takes NULL too. */
EffStatus eff_labels_copy(char ***out, const char *const *labels, size_t n);
void eff_labels_free(char **labels, size_t n);

size_t eff_shape_count(EffShape s);
static inline bool eff_conv_is_depthwise(const EffConv *c)
{
    return c->groups > 1 && c->groups == c->in_ch && c->groups == c->out_ch;
}
static inline bool eff_conv_is_pointwise(const EffConv *c)
{
    return c->groups == 1 && c->kernel_h == 1 && c->kernel_w == 1 && c->stride == 1 && c->pad_top == 0 &&
           c->pad_left == 0 && c->pad_bottom == 0 && c->pad_right == 0;
}

/* shape.c: shapes of all values from the input's, pads of SAME convolutions; checks every node. */
EffStatus eff_graph_infer_shapes(EffGraph *g);

/* Passes: graph -> graph, each keeps the float output. eff_graph_optimize() runs them all. */
EffStatus eff_pass_drop_dead(EffGraph *g);
EffStatus eff_pass_recognize_act(EffGraph *g);
EffStatus eff_pass_fold_pad(EffGraph *g);
EffStatus eff_pass_absorb_input(EffGraph *g); /* changes the preprocessing instead */
EffStatus eff_pass_fold_batchnorm(EffGraph *g);
EffStatus eff_pass_fold_affine(EffGraph *g);
/* Of models that are quantized already. */
EffStatus eff_pass_join_pairs(EffGraph *g);
EffStatus eff_pass_keep_affine(EffGraph *g);
/* Not one of eff_graph_optimize(), and it changes the output: floats are no longer rounded. *n counts pairs. */
EffStatus eff_pass_drop_pairs(EffGraph *g, int *n);
bool eff_graph_rounds(const EffGraph *g); /* whether there is an EFF_OP_ROUND */
/* Not one of eff_graph_optimize(): see eff_graph_drop_constant_channels(). After the others; shapes are known. */
EffStatus eff_pass_drop_constant_channels(EffGraph *g);

#endif
