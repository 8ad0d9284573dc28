/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EfficientNet (Tan & Le, arXiv 1905.11946, table 1) and EfficientNet-Lite as graphs, from block strings.
 * Modules have timm's names, nodes those of torch.onnx.
 */
#include "arch/blocks.h"
#include "base/status.h"
#include "graph/ir.h"

#include <stdio.h>
#include <string.h>

static const char *const stages_b[] = {"ds_r1_k3_s1_e1_c16_se0.25",  "ir_r2_k3_s2_e6_c24_se0.25",
                                       "ir_r2_k5_s2_e6_c40_se0.25",  "ir_r3_k3_s2_e6_c80_se0.25",
                                       "ir_r3_k5_s1_e6_c112_se0.25", "ir_r4_k5_s2_e6_c192_se0.25",
                                       "ir_r1_k3_s1_e6_c320_se0.25"};
static const char *const stages_lite[] = {"ds_r1_k3_s1_e1_c16", "ir_r2_k3_s2_e6_c24",  "ir_r2_k5_s2_e6_c40",
                                          "ir_r3_k3_s2_e6_c80", "ir_r3_k5_s1_e6_c112", "ir_r4_k5_s2_e6_c192",
                                          "ir_r1_k3_s1_e6_c320"};
enum { N_STAGES = 7, STEM_CHANNELS = 32, HEAD_CHANNELS = 1280, PATH_BYTES = 96 };

/* The graph under construction; after the first failure every call does nothing. */
typedef struct Builder {
    const EffArch *arch;
    EffGraph *g;
    EffStatus st;
    char block[32];     /* "blocks.1.0", or "" outside the blocks */
    char node_path[64]; /* "/blocks/blocks.1/blocks.1.0" */
} Builder;

static int add(Builder *b, EffNode *node, const char *leaf, const char *module)
{
    char name[PATH_BYTES], path[PATH_BYTES];
    int out = 0;
    snprintf(name, sizeof name, "%s/%s", b->node_path, leaf);
    snprintf(path, sizeof path, "%s%s%s", b->block, b->block[0] ? "." : "", module ? module : "");
    node->name = name;
    node->module = module != NULL ? path : NULL;
    if (b->st == EFF_OK)
        b->st = eff_graph_add_node(b->g, node, &out);
    return out;
}

typedef struct ConvArgs {
    const char *module, *leaf;
    int in_ch, out_ch, kernel, stride, groups;
    bool bias;
} ConvArgs;

static int add_conv(Builder *b, int in, const ConvArgs *a)
{
    EffNode node = {.op = EFF_OP_CONV, .n_inputs = 1, .in = {in}};
    const bool same = b->arch->padding == EFF_PADDING_SAME;
    const int groups = a->groups ? a->groups : 1, pad = same ? 0 : (a->kernel - 1) / 2;
    node.conv = (EffConv){.in_ch = a->in_ch,
                          .out_ch = a->out_ch,
                          .groups = groups,
                          .kernel_h = a->kernel,
                          .kernel_w = a->kernel,
                          .stride = a->stride ? a->stride : 1,
                          .same = same,
                          .pad_top = pad,
                          .pad_left = pad,
                          .pad_bottom = pad,
                          .pad_right = pad,
                          .has_bias = a->bias};
    node.conv.wgt.n = (size_t)a->out_ch * (size_t)a->kernel * (size_t)a->kernel * (size_t)(a->in_ch / groups);
    node.conv.bias.n = a->bias ? (size_t)a->out_ch : 0;
    return add(b, &node, a->leaf, a->module);
}

static int add_batchnorm(Builder *b, int in, int channels, const char *module)
{
    EffNode node = {.op = EFF_OP_BATCHNORM, .n_inputs = 1, .in = {in}};
    const EffParam p = {.n = (size_t)channels};
    node.bn = (EffBatchNorm){.eps = b->arch->bn_eps, .gamma = p, .beta = p, .mean = p, .var = p};
    char leaf[PATH_BYTES];
    snprintf(leaf, sizeof leaf, "%s/BatchNormalization", module);
    return add(b, &node, leaf, module);
}

static int add_act(Builder *b, int in, EffActivation act, const char *leaf)
{
    EffNode node = {.op = EFF_OP_ACT, .n_inputs = 1, .in = {in}, .act = act};
    return add(b, &node, leaf, NULL);
}

static int add_body_act(Builder *b, int in, const char *bn)
{
    char leaf[PATH_BYTES];
    snprintf(leaf, sizeof leaf, "%s/act/%s", bn, b->arch->lite ? "Clip" : "Mul");
    return add_act(b, in, b->arch->lite ? EFF_ACTIVATION_RELU6 : EFF_ACTIVATION_SILU, leaf);
}

static int add_two(Builder *b, EffOp op, int left, int right, const char *leaf)
{
    EffNode node = {.op = op, .n_inputs = 2, .in = {left, right}};
    return add(b, &node, leaf, NULL);
}

static int add_pool(Builder *b, int in, const char *leaf)
{
    EffNode node = {.op = EFF_OP_GLOBAL_AVGPOOL, .n_inputs = 1, .in = {in}};
    return add(b, &node, leaf, NULL);
}

/* x * sigmoid(expand(silu(reduce(mean(x))))): Hu et al., arXiv 1709.01507, section 3. */
static int add_squeeze_excite(Builder *b, int x, int channels, int squeezed)
{
    int s = add_pool(b, x, "se/ReduceMean");
    s = add_conv(b, s, &(ConvArgs){"se.conv_reduce", "se/conv_reduce/Conv", channels, squeezed, 1, 1, 1, true});
    s = add_act(b, s, EFF_ACTIVATION_SILU, "se/act1/Mul");
    s = add_conv(b, s, &(ConvArgs){"se.conv_expand", "se/conv_expand/Conv", squeezed, channels, 1, 1, 1, true});
    s = add_act(b, s, EFF_ACTIVATION_SIGMOID, "se/gate/Sigmoid");
    return add_two(b, EFF_OP_MUL, x, s, "se/Mul");
}

/* One MBConv block: [expand] depthwise [squeeze-excite] project [+ input]. */
static int add_block(Builder *b, int in, const EffBlockArgs *a, int in_ch, int out_ch, int stride)
{
    const int mid = in_ch * a->expansion;
    int x = in;
    if (a->expand) {
        x = add_conv(b, x, &(ConvArgs){"conv_pw", "conv_pw/Conv", in_ch, mid, 1, 1, 1, false});
        x = add_batchnorm(b, x, mid, "bn1");
        x = add_body_act(b, x, "bn1");
    }
    const char *bn_dw = a->expand ? "bn2" : "bn1", *bn_out = a->expand ? "bn3" : "bn2";
    x = add_conv(b, x, &(ConvArgs){"conv_dw", "conv_dw/Conv", mid, mid, a->kernel, stride, mid, false});
    x = add_batchnorm(b, x, mid, bn_dw);
    x = add_body_act(b, x, bn_dw);
    if (a->se_ratio > 0) {
        const int squeezed = (int)(in_ch * a->se_ratio);
        x = add_squeeze_excite(b, x, mid, squeezed > 0 ? squeezed : 1);
    }
    const char *project = a->expand ? "conv_pwl" : "conv_pw", *leaf = a->expand ? "conv_pwl/Conv" : "conv_pw/Conv";
    x = add_conv(b, x, &(ConvArgs){project, leaf, mid, out_ch, 1, 1, 1, false});
    x = add_batchnorm(b, x, out_ch, bn_out);
    return stride == 1 && in_ch == out_ch ? add_two(b, EFF_OP_ADD, x, in, "Add") : x;
}

static int add_stages(Builder *b, int x, int *channels)
{
    const EffArch *arch = b->arch;
    for (int stage = 0; stage < N_STAGES && b->st == EFF_OK; stage++) {
        EffBlockArgs a;
        b->st = eff_block_parse(&a, (arch->lite ? stages_lite : stages_b)[stage]);
        if (b->st != EFF_OK)
            break;
        const bool fixed = arch->lite && (stage == 0 || stage == N_STAGES - 1);
        const int repeats = fixed ? a.repeats : eff_round_repeats(a.repeats, arch->depth);
        const int out_ch = eff_round_channels(a.out_ch, arch->width);
        for (int i = 0; i < repeats; i++) {
            snprintf(b->block, sizeof b->block, "blocks.%d.%d", stage, i);
            snprintf(b->node_path, sizeof b->node_path, "/blocks/blocks.%d/blocks.%d.%d", stage, stage, i);
            x = add_block(b, x, &a, *channels, out_ch, i == 0 ? a.stride : 1);
            *channels = out_ch;
        }
    }
    b->block[0] = b->node_path[0] = '\0';
    return x;
}

static EffStatus check_arch(const EffArch *a)
{
    if (a->n_classes < 1 || a->n_classes > EFF_MAX_CHANNELS)
        return eff_fail(EFF_ERR_ARG, "%d classes; use 1 to %d", a->n_classes, EFF_MAX_CHANNELS);
    if (a->in_channels != 1 && a->in_channels != 3)
        return eff_fail(EFF_ERR_ARG, "%d input channels; use 3 (RGB) or 1 (gray)", a->in_channels);
    if (a->pre.size < 1 || a->pre.size > EFF_MAX_SIZE)
        return eff_fail(EFF_ERR_ARG, "input size %d; use 1 to %d pixels", a->pre.size, EFF_MAX_SIZE);
    if (!(a->pre.crop > 0 && a->pre.crop <= 1))
        return eff_fail(EFF_ERR_ARG, "crop %g; use a share above 0 and up to 1, such as 0.875", a->pre.crop);
    if (!(a->bn_eps > 0 && a->bn_eps < 1))
        return eff_fail(EFF_ERR_ARG, "BN epsilon %g; use a value between 0 and 1, such as 1e-3", (double)a->bn_eps);
    if (!(a->width > 0 && a->width <= 16 && a->depth > 0 && a->depth <= 16))
        return eff_fail(EFF_ERR_ARG, "width %g and depth %g; use factors above 0 and up to 16", a->width, a->depth);
    for (int c = 0; c < 3; c++) {
        if (!(a->pre.std[c] > 0 && a->pre.std[c] <= 1e6f && a->pre.mean[c] >= -1e6f && a->pre.mean[c] <= 1e6f))
            return eff_fail(EFF_ERR_ARG,
                            "mean %g and std %g of channel %d; use finite values in units of 0..255, std "
                            "above 0",
                            (double)a->pre.mean[c], (double)a->pre.std[c], c);
    }
    return EFF_OK;
}

EffStatus eff_graph_build(EffGraph **out, const EffArch *arch)
{
    EffStatus st = check_arch(arch);
    if (st != EFF_OK)
        return st;
    Builder b = {.arch = arch};
    const EffShape input = {arch->pre.size, arch->pre.size, arch->in_channels};
    st = eff_graph_create(&b.g, arch->name, input);
    if (st != EFF_OK)
        return st;
    b.g->pre = arch->pre;
    b.g->n_classes = arch->n_classes;

    int channels = arch->lite ? STEM_CHANNELS : eff_round_channels(STEM_CHANNELS, arch->width);
    const int head = arch->lite ? HEAD_CHANNELS : eff_round_channels(HEAD_CHANNELS, arch->width);
    int x = b.g->input;
    x = add_conv(&b, x, &(ConvArgs){"conv_stem", "conv_stem/Conv", arch->in_channels, channels, 3, 2, 1, false});
    x = add_batchnorm(&b, x, channels, "bn1");
    x = add_body_act(&b, x, "bn1");
    x = add_stages(&b, x, &channels);
    x = add_conv(&b, x, &(ConvArgs){"conv_head", "conv_head/Conv", channels, head, 1, 1, 1, false});
    x = add_batchnorm(&b, x, head, "bn2");
    x = add_body_act(&b, x, "bn2");
    x = add_pool(&b, x, "global_pool/pool/GlobalAveragePool");
    x = add_conv(&b, x, &(ConvArgs){"classifier", "classifier/Gemm", head, arch->n_classes, 1, 1, 1, true});
    if (b.st == EFF_OK) {
        b.g->output = x;
        b.st = eff_graph_infer_shapes(b.g);
    }
    if (b.st != EFF_OK) {
        eff_graph_free(b.g);
        return b.st;
    }
    *out = b.g;
    return EFF_OK;
}
