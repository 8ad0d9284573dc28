/* SPDX-License-Identifier: Apache-2.0 */
/* An ONNX file as a network: read, lowered, simplified, checked, with its preprocessing. */
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "format/utf8.h"
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
static bool three(EffWire text, double out[3])
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
        if (end == at || !(v >= -1e6 && v <= 1e6))
            return false;
        out[c] = v;
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

/* Crop and interpolation, where the model says something that can be. */
static void set_resize(EffPreprocess *pre, const EffOnnxModel *m)
{
    char text[64], *end;
    EffInterpolation kernel;
    const EffWire wires[2] = {eff_onnx_metadata(m, "crop"), eff_onnx_metadata(m, "interpolation")};
    for (int i = 0; i < 2; i++) {
        const size_t n = eff_wire_size(wires[i]);
        if (n == 0 || n >= sizeof text)
            continue;
        memcpy(text, wires[i].at, n);
        text[n] = '\0';
        const double crop = strtod(text, &end);
        if (i == 0 && end != text && crop >= 1e-3 && crop <= 1)
            pre->crop = crop;
        else if (i == 1 && eff_interpolation_find(&kernel, text) == EFF_OK)
            pre->interpolation = kernel;
    }
}

static void set_preprocess(EffGraph *g, const EffOnnxModel *m, const EffPreprocess *given)
{
    static const double imagenet_mean[3] = {0.485, 0.456, 0.406}, imagenet_std[3] = {0.229, 0.224, 0.225};
    const int size = g->pre.size;
    if (given != NULL) {
        g->pre = *given;
        g->pre.size = size;
        return;
    }
    EffPreprocess pre = {.size = size, .crop = 0.875, .interpolation = EFF_INTERP_BICUBIC};
    double mean[3], std[3], scale = 255;
    const EffNode *own = normalizes_itself(g);
    memcpy(mean, imagenet_mean, sizeof mean);
    memcpy(std, imagenet_std, sizeof std);
    if (three(eff_onnx_metadata(m, "mean"), mean) && three(eff_onnx_metadata(m, "std"), std)) {
        scale = 1;
        for (int c = 0; c < 3; c++) {
            if (!(std[c] > 0)) /* not a standard deviation: the defaults */
                memcpy(mean, imagenet_mean, sizeof mean), memcpy(std, imagenet_std, sizeof std), scale = 255;
        }
        if (mean[0] <= 1 && mean[1] <= 1 && mean[2] <= 1 && std[0] <= 1)
            scale = 255;
    } else if (own != NULL) {
        for (int c = 0; c < 3; c++) {
            mean[c] = 0;
            std[c] = 1;
        }
        /* (x - 0.485) / 0.229 takes shares of 1; x / 255 and (x - 127) / 128 take bytes. */
        const EffBatchNorm *bn = &own->bn;
        scale = bn->gamma.data[0] >= 1 && bn->beta.data[0] > -3 ? 255 : 1;
    }
    for (int c = 0; c < 3; c++) {
        pre.mean[c] = (float)(mean[c] * scale);
        pre.std[c] = (float)(std[c] * scale);
    }
    set_resize(&pre, m);
    g->pre = pre;
}

/* ---- Labels ---- */

/* A line a class; what is no such list is left alone, as all metadata is. */
static EffStatus set_labels(EffGraph *g, const EffOnnxModel *m)
{
    const EffWire text = eff_onnx_metadata(m, "labels");
    const size_t size = eff_wire_size(text), n_classes = (size_t)g->n_classes;
    if (size == 0 || !eff_utf8_is_clean((const char *)text.at, size, true))
        return EFF_OK;
    const bool open = text.end[-1] != '\n'; /* the last line */
    size_t n = open;
    for (const uint8_t *at = text.at; at < text.end; at++)
        n += *at == '\n';
    if (n != n_classes)
        return EFF_OK;
    char *copy = eff_strndup((const char *)text.at, size);
    const char **lines = eff_calloc(n, sizeof *lines);
    EffStatus st = copy != NULL && lines != NULL ? EFF_OK : eff_fail_nomem(size, "labels");
    char *at = copy;
    for (size_t i = 0; st == EFF_OK && i < n; i++) {
        const size_t length = strcspn(at, "\n");
        lines[i] = at;
        at[length] = '\0';
        at += i + 1 < n ? length + 1 : 0;
        for (char *p = (char *)(uintptr_t)lines[i]; *p != '\0'; p++)
            *p = *p == '\r' || *p == '\t' ? ' ' : *p; /* a compiled model's labels are single lines */
    }
    if (st == EFF_OK)
        st = eff_graph_set_labels(g, lines);
    eff_free(copy);
    eff_free(lines);
    return st;
}

/* ---- What the executors can run ---- */

static EffStatus check(const EffGraph *g, bool drops_pairs)
{
    const bool rounds = eff_graph_rounds(g);
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *n = &g->nodes[i];
        const EffShape a = g->values[n->in[0]].shape, b = g->values[n->in[n->n_inputs - 1]].shape;
        if (n->op == EFF_OP_BATCHNORM)
            return eff_fail(
                EFF_ERR_UNSUPPORTED,
                "%s: a BatchNorm, or a constant, that no convolution can take in; 'effnet check' lists all nodes",
                n->name);
        if (n->op == EFF_OP_ROUND && drops_pairs)
            return eff_fail(
                EFF_ERR_UNSUPPORTED,
                "%s: rounds or clamps inside a model that is quantized already; quantize the float one that "
                "it was made from",
                n->name);
        if (n->op == EFF_OP_PAD)
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "%s: pads that no convolution follows; only those of one are supported", n->name);
        const bool maps = n->op == EFF_OP_MUL && (b.h != 1 || b.w != 1);
        if (maps && (!rounds || a.h != b.h || a.w != b.w))
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
    if (st == EFF_OK)
        st = set_labels(g, &m);
    eff_onnx_model_free(&m);
    if (st == EFF_OK && options->drop_pairs != NULL)
        st = eff_pass_drop_pairs(g, options->drop_pairs);
    if (st == EFF_OK && !options->keep_spelling) {
        st = eff_graph_optimize(g);
        if (st == EFF_OK)
            st = check(g, options->drop_pairs != NULL);
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
