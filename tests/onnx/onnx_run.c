/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the importer makes of ONNX files, for the tests that compare it with others:
 *
 *     onnx_run net MODEL.onnx IN.f32 OUT.f32
 *         a network on [size][size][channels] floats x: writes its logits, and prints three means and three stds. The
 *         model's own input is x * std + mean; it differs from x where the model normalizes its picture itself.
 *     onnx_run arch NAME SEED IN.f32 OUT.f32
 *         a built network with random weights, without any ONNX: writes a picture [size][size][3] as its input, and
 *         the logits
 *     onnx_run node FOLDER...
 *         ONNX node tests: model.onnx, test_data_set_*: input_*.pb, output_*.pb. For each folder a line comes out:
 *         "pass", "fail" or "skip", its name, and why.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "import/onnx/onnx_eval.h"
#include "import/onnx/onnx_lower.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run_net(char **argv)
{
    EffGraph *g = NULL;
    EffReference *r = NULL;
    EffReferenceSession *s = NULL;
    EffBytes in = {0};
    /* The preprocessing that changes nothing, so that what comes back is what the model does to its picture itself. */
    static const EffPreprocess none = {.std = {1, 1, 1}, .crop = 1, .interpolation = EFF_INTERP_BICUBIC};
    EffStatus st = eff_onnx_open(&g, argv[0], &(const EffOnnxOptions){.pre = &none});
    if (st == EFF_OK)
        st = eff_reference_create(&r, g, NULL);
    if (st == EFF_OK)
        st = eff_reference_session_create(&s, r, 1);
    if (st == EFF_OK)
        st = eff_file_read(&in, argv[1], (size_t)1 << 30);
    if (st != EFF_OK) {
        fprintf(stderr, "%s\n", eff_last_message());
        return 1;
    }
    float *out = calloc((size_t)g->n_classes, sizeof *out);
    if (out == NULL || in.size != eff_shape_count(g->values[g->input].shape) * sizeof(float))
        return 1;
    eff_reference_run(s, (const float *)(const void *)in.data, out);
    for (int c = 0; c < 3; c++)
        printf("%.9g ", (double)g->pre.mean[c]);
    for (int c = 0; c < 3; c++)
        printf("%.9g ", (double)g->pre.std[c]);
    st = eff_file_write_atomic(argv[2], out, (size_t)g->n_classes * sizeof *out);
    free(out);
    eff_free(in.data);
    eff_reference_session_free(s);
    eff_reference_free(r);
    eff_graph_free(g);
    return st != EFF_OK;
}

static int run_arch(char **argv)
{
    EffArch arch;
    EffGraph *g = NULL;
    EffReference *r = NULL;
    EffReferenceSession *s = NULL;
    uint8_t *pixels = NULL;
    float *in = NULL, *out = NULL;
    EffStatus st = eff_arch_find(&arch, argv[0]);
    const uint64_t seed = strtoull(argv[1], NULL, 10);
    const size_t n_pixels = st == EFF_OK ? (size_t)arch.pre.size * (size_t)arch.pre.size : 0;
    if (st == EFF_OK)
        st = eff_graph_build(&g, &arch);
    if (st == EFF_OK)
        st = eff_graph_randomize(g, seed);
    if (st == EFF_OK)
        st = eff_graph_optimize(g);
    if (st == EFF_OK)
        st = eff_reference_create(&r, g, NULL);
    if (st == EFF_OK)
        st = eff_reference_session_create(&s, r, 1);
    if (st == EFF_OK) {
        pixels = calloc(n_pixels, 3);
        in = calloc(n_pixels * 3, sizeof *in);
        out = calloc((size_t)arch.n_classes, sizeof *out);
        if (pixels == NULL || in == NULL || out == NULL)
            st = eff_fail_nomem(n_pixels * 3 * sizeof *in, "a picture");
    }
    if (st == EFF_OK) {
        eff_synthetic_picture(pixels, arch.pre.size, seed);
        eff_graph_normalize(g, in, pixels);
        eff_reference_run(s, in, out);
        st = eff_file_write_atomic(argv[2], in, n_pixels * 3 * sizeof *in);
    }
    if (st == EFF_OK)
        st = eff_file_write_atomic(argv[3], out, (size_t)arch.n_classes * sizeof *out);
    if (st != EFF_OK)
        fprintf(stderr, "%s\n", eff_last_message());
    free(pixels);
    free(in);
    free(out);
    eff_reference_session_free(s);
    eff_reference_free(r);
    eff_graph_free(g);
    return st != EFF_OK;
}

/* ---- Node tests ---- */

typedef struct Case {
    EffBytes files[80];
    int n_files;
    EffOnnxModel m;
} Case;

static EffStatus read_tensor(Case *c, const char *folder, const char *kind, int set, int i, EffOnnxTensor *out)
{
    char path[1024];
    EffWire name;
    EffOnnxFiles none = {0};
    snprintf(path, sizeof path, "%s/test_data_set_%d/%s_%d.pb", folder, set, kind, i);
    const EffStatus st = eff_file_read(&c->files[c->n_files], path, (size_t)1 << 28);
    if (st != EFF_OK)
        return st;
    const EffBytes *b = &c->files[c->n_files++];
    return eff_onnx_tensor_read(out, &name, (EffWire){b->data, b->data + b->size}, &none);
}

static bool near(const EffOnnxTensor *a, const EffOnnxTensor *b)
{
    if (a->rank != b->rank || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) != 0 || a->type != b->type)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const double x = eff_onnx_get(a, i), y = eff_onnx_get(b, i);
        const bool whole = !eff_onnx_is_float(a->type);
        if (whole ? eff_onnx_get_int(a, i) != eff_onnx_get_int(b, i)
                  : !(isnan(x) && isnan(y)) && x != y && !(fabs(x - y) <= 1e-6 + 1e-4 * fabs(y)))
            return false;
    }
    return true;
}

/* Evaluate all nodes of a test's model; "" or why not. */
static EffStatus evaluate(Case *c, const char *folder, int set)
{
    EffOnnxModel *m = &c->m;
    EffOnnxBudget budget = {1 << 28, (int64_t)1 << 34};
    for (int i = 0; i < m->n_inputs; i++) {
        EffOnnxTensor t;
        const EffStatus st = read_tensor(c, folder, "input", set, i, &t);
        if (st != EFF_OK)
            return st;
        /* Inputs without a producer, in the order in which the file lists them. */
        EffWire name;
        EffOnnxFiles none = {0};
        const EffBytes *b = &c->files[c->n_files - 1];
        EffOnnxTensor again;
        if (eff_onnx_tensor_read(&again, &name, (EffWire){b->data, b->data + b->size}, &none) == EFF_OK)
            eff_onnx_free(&again);
        int v = 0;
        while (v < m->n_values && (eff_wire_size(m->values[v].name) != eff_wire_size(name) ||
                                   memcmp(m->values[v].name.at, name.at, eff_wire_size(name)) != 0))
            v++;
        if (v == m->n_values) {
            eff_onnx_free(&t);
            return eff_fail(EFF_ERR_FORMAT, "an input that the model has not");
        }
        int type;
        int64_t dims[EFF_MAX_RANK];
        eff_onnx_declared_shape(m->input_proto, &type, dims);
        if (v == m->input && type != (int)t.type) {
            eff_onnx_free(&t);
            return eff_fail(EFF_ERR_FORMAT, "its data are %s where the model says %s", eff_onnx_type_name((int)t.type),
                            eff_onnx_type_name(type));
        }
        eff_onnx_free(&m->values[v].t);
        m->values[v].t = t;
        m->values[v].is_known = true;
    }
    for (int i = 0; i < m->n_nodes; i++) {
        const EffOnnxNode *node = &m->nodes[i];
        EffOnnxTensor out = {0};
        EffOnnxCall call = {
            .model = m, .node = node, .opset = m->opset, .n_in = node->n_inputs, .budget = &budget, .out = &out};
        for (int k = 0; k < node->n_inputs; k++) {
            const int v = eff_onnx_in(m, node, k);
            call.in[k] = v >= 0 ? &m->values[v].t : NULL;
        }
        const EffStatus st = eff_onnx_eval(&call);
        if (st != EFF_OK)
            return st;
        const int y = eff_onnx_out(m, node, 0);
        eff_onnx_free(&m->values[y].t);
        m->values[y].t = out;
    }
    return EFF_OK;
}

static int run_case(const char *folder)
{
    const char *name = strrchr(folder, '/') != NULL ? strrchr(folder, '/') + 1 : folder;
    Case c = {0};
    char path[1024];
    EffOnnxFiles none = {0};
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    EffStatus st = eff_file_read(&c.files[c.n_files], path, (size_t)1 << 28);
    if (st == EFF_OK) {
        c.n_files++;
        st = eff_onnx_model_read(&c.m, c.files[0].data, c.files[0].size, &none);
    }
    EffOnnxTensor wanted = {0};
    if (st == EFF_OK)
        st = evaluate(&c, folder, 0);
    if (st == EFF_OK)
        st = read_tensor(&c, folder, "output", 0, 0, &wanted);
    /* Bits of bfloat16 are stored under another type in some tests, cut off and not rounded. */
    if (st == EFF_OK && wanted.type == EFF_ONNX_UINT16 && c.m.values[c.m.output].t.type == EFF_ONNX_BFLOAT16)
        st = eff_fail(EFF_ERR_FORMAT, "its data are uint16 where the model says bfloat16");
    const EffOnnxTensor *got = st == EFF_OK ? &c.m.values[c.m.output].t : NULL;
    const bool ok = st == EFF_OK && got->data != NULL && near(got, &wanted);
    if (st != EFF_OK)
        printf("skip %s: %s\n", name, eff_last_message());
    else
        printf("%s %s\n", ok ? "pass" : "fail", name);
    eff_onnx_free(&wanted);
    eff_onnx_model_free(&c.m);
    for (int i = 0; i < c.n_files; i++)
        eff_free(c.files[i].data);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "net") == 0)
        return run_net(argv + 2);
    if (argc == 6 && strcmp(argv[1], "arch") == 0)
        return run_arch(argv + 2);
    if (argc >= 3 && strcmp(argv[1], "node") == 0) {
        for (int i = 2; i < argc; i++)
            run_case(argv[i]);
        return 0;
    }
    fprintf(stderr, "onnx_run net MODEL IN OUT | onnx_run arch NAME SEED IN OUT | onnx_run node FOLDER...\n");
    return 1;
}
