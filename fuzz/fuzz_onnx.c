/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Imports an ONNX model, all passes and shapes; what is accepted has nodes in topological order and finite weights. A
 * small file asks for little memory: none may be refused for want of it.
 */
#undef NDEBUG
#include "graph/ir.h"

#include <assert.h>
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see(void *ctx, const char *node, const char *op, const char *fate, const char *why)
{
    (void)ctx;
    assert(node != NULL && op != NULL && fate != NULL && why != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    EffGraph *g = NULL;
    const EffOnnxOptions every = {.fate = see, .keep_spelling = 1};
    EffStatus st = eff_onnx_read(&g, data, size, "input", NULL);
    assert(st != EFF_ERR_NOMEM);
    if (st == EFF_OK) {
        for (int i = 0; i < g->n_nodes; i++) {
            const EffNode *n = &g->nodes[i];
            for (int k = 0; k < n->n_inputs; k++)
                assert(n->in[k] == g->input || g->values[n->in[k]].producer < i);
            for (size_t k = 0; k < n->conv.wgt.n; k++)
                assert(!isnan(n->conv.wgt.data[k]));
        }
        assert(g->pre.size >= 1 && g->pre.size <= EFF_MAX_SIZE);
        eff_graph_free(g);
    }
    int n_pairs = 0;
    const EffOnnxOptions floats = {.drop_pairs = &n_pairs};
    const EffOnnxOptions *const more[] = {&every, &floats};
    for (size_t i = 0; i < EFF_COUNT(more); i++) {
        g = NULL;
        st = eff_onnx_read(&g, data, size, "input", more[i]);
        assert(st != EFF_ERR_NOMEM);
        if (st == EFF_OK)
            eff_graph_free(g);
    }
    return 0;
}
