/* SPDX-License-Identifier: Apache-2.0 */
/* An ONNX file as a network: read, lowered, simplified, checked, with its preprocessing. */
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "import/onnx/onnx_lower.h"

#include <stdlib.h>
#include <string.h>

static const char *const fates[] = {"unused", "folded", "view", "lowered", "blocked"};

static void tell(void *ctx, const char *name, const char *op, EffOnnxFate fate, const char *why)
{
    const EffOnnxOptions *o = ctx;
    o->fate(o->ctx, name, op, fates[fate], why);
}

/* ---- Preprocessing ---- */

/* "0.485,0.456,0.406": three numbers; false when that is not what the text says. */
static bool three(EffWire text, float out[3])
{
    char copy[128], *at = copy;
    const size_t n = eff_wire_size(text);
    if (text.at == NULL || n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, text.at, n);
    copy[n] = '\0';
    for (int c = 0; c < 3; c++) {
        char *end;
        at += strspn(at, "[(, ");
        const double v = strtod(at, &end);
        if (end == at || !(v >= -1e4 && v <= 1e4))
            return false;
        out[c] = (float)v;
        at = end;
    }
    return true;
}

/* What the first node wants, if it is one that normalizes the picture: shares of 1 or 0..255. A network that does so
 * itself gets its pixels as they are. */
static const EffNode *normalizes_itself(const EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].in[0] == g->input)
            return g->nodes[i].op == EFF_OP_BATCHNORM ? &g->nodes[i] : NULL;
    }
    return NULL;
}

static void set_preprocess(EffGraph *g, const EffOnnxModel *m, const EffPreprocess *given)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    const int size = g->pre.size;
    if (given != NULL) {
        g->pre = *given;
        g->pre.size = size;
        return;
    }
    EffPreprocess pre = {.size = size, .crop = 0.875, .interpolation = EFF_INTERP_BICUBIC};
    float scale = 255;
    const EffNode *own = normalizes_itself(g);
    memcpy(pre.mean, mean, sizeof mean);
    memcpy(pre.std, std, sizeof std);
    if (three(eff_onnx_metadata(m, "mean"), pre.mean) && three(eff_onnx_metadata(m, "std"), pre.std)) {
        scale = 1;
        for (int c = 0; c < 3; c++) {
            if (!(pre.std[c] > 0)) /* not a standard deviation: the defaults */
                memcpy(pre.mean, mean, sizeof mean), memcpy(pre.std, std, sizeof std), scale = 255;
        }
        if (pre.mean[0] <= 1 && pre.mean[1] <= 1 && pre.mean[2] <= 1 && pre.std[0] <= 1)
            scale = 255;
    } else if (own != NULL) {
        for (int c = 0; c < 3; c++) {
            pre.mean[c] = 0;
            pre.std[c] = 1;
        }
        /* (x - 0.485) / 0.229 takes shares of 1; x / 255 and (x - 127) / 128 take bytes. */
        const EffBatchNorm *bn = &own->bn;
        scale = bn->gamma.data[0] >= 1 && bn->beta.data[0] > -3 ? 255 : 1;
    }
    for (int c = 0; c < 3; c++) {
        pre.mean[c] *= scale;
        pre.std[c] *= scale;
    }
    g->pre = pre;
}

/* ---- What the executors can run ---- */

static EffStatus check(const EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *n = &g->nodes[i];
        const EffShape b = g->values[n->in[n->n_inputs - 1]].shape;
        if (n->op == EFF_OP_BATCHNORM)
            return eff_fail(
                EFF_ERR_UNSUPPORTED,
                "%s: a BatchNorm, or a constant, that no convolution can take in; 'effnet check' lists all nodes",
                n->name);
        if (n->op == EFF_OP_PAD)
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "%s: pads that no convolution follows; only those of one are supported", n->name);
        if (n->op == EFF_OP_MUL && (b.h != 1 || b.w != 1))
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "%s: a product of two maps that is no activation; SiLU and hard-swish are recognized",
                            n->name);
    }
    return EFF_OK;
}

static EffStatus import(EffGraph **out, const uint8_t *data, size_t size, const EffOnnxOptions *options,
                        EffOnnxFiles *files)
{
    EffOnnxModel m;
    EffGraph *g = NULL;
    EffStatus st = eff_onnx_model_read(&m, data, size, files);
    if (st != EFF_OK)
        return st;
    EffOnnxLowerOptions lower = {.n_dims = options->n_dims, .fate = options->fate != NULL ? tell : NULL};
    lower.ctx = (void *)(uintptr_t)options;
    memcpy(lower.dims, options->input_shape, sizeof lower.dims);
    st = eff_onnx_lower(&g, &m, &lower);
    if (st == EFF_OK)
        set_preprocess(g, &m, options->pre);
    eff_onnx_model_free(&m);
    if (st == EFF_OK && !options->keep_spelling) {
        st = eff_graph_optimize(g);
        if (st == EFF_OK)
            st = check(g);
        if (st == EFF_OK)
            st = eff_graph_infer_shapes(g);
    }
    if (st != EFF_OK) {
        eff_graph_free(g);
        return st;
    }
    *out = g;
    return EFF_OK;
}

EffStatus eff_onnx_read(EffGraph **out, const void *data, size_t size, const char *name, const EffOnnxOptions *options)
{
    static const EffOnnxOptions defaults;
    EffOnnxFiles files = {0};
    const EffStatus st = import(out, data, size, options != NULL ? options : &defaults, &files);
    return st == EFF_OK ? st : eff_fail_in(st, "%s", name);
}

EffStatus eff_onnx_open(EffGraph **out, const char *path, const EffOnnxOptions *options)
{
    static const EffOnnxOptions defaults;
    EffBytes bytes = {0};
    EffOnnxFiles files = {0};
    char *folder = NULL;
    EffStatus st = eff_file_read(&bytes, path, EFF_ONNX_MAX_FILE);
    if (st != EFF_OK)
        return st;
    if (options != NULL && options->external_data) {
        const char *slash = strrchr(path, '/');
        folder = slash != NULL ? eff_strndup(path, (size_t)(slash - path) + 1) : eff_strdup(".");
        if (folder == NULL)
            st = eff_fail_nomem(strlen(path), "a path");
        files.folder = folder;
    }
    if (st == EFF_OK)
        st = import(out, bytes.data, bytes.size, options != NULL ? options : &defaults, &files);
    eff_free(folder);
    eff_free(bytes.data);
    return st == EFF_OK ? st : eff_fail_in(st, "%s", path);
}
