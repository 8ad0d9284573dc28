/* SPDX-License-Identifier: Apache-2.0 */
/* Weights into a graph: every parameter found in its shape, none left over. */
#include "base/mem.h"
#include "base/status.h"
#include "import/names.h"

#include <stdio.h>
#include <string.h>

/* Without `copy` only the fit is checked. */
typedef struct Loader {
    const EffWeights *w;
    size_t n_used;
    bool copy;
} Loader;

static EffStatus find(const Loader *l, const EffTensor **out, const char *module, const char *leaf, const int64_t *dims,
                      int rank)
{
    char name[EFF_NAME_BYTES + 32], wanted[96] = "", found[96] = "";
    snprintf(name, sizeof name, "%s.%s", module, leaf);
    const EffTensor *t = eff_weights_find(l->w, name);
    if (t == NULL)
        return eff_fail(EFF_ERR_FORMAT, "no tensor '%s'", name);
    bool same = t->rank == rank;
    for (int i = 0; same && i < rank; i++)
        same = t->dims[i] == dims[i];
    if (!same) {
        for (int i = 0; i < rank; i++)
            snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s%lld", i ? "x" : "",
                     (long long)dims[i]);
        for (int i = 0; i < t->rank; i++)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%s%lld", i ? "x" : "",
                     (long long)t->dims[i]);
        return eff_fail(EFF_ERR_FORMAT, "'%s' is %s where %s is expected", name, t->rank ? found : "a scalar", wanted);
    }
    *out = t;
    return EFF_OK;
}

static EffStatus load_vector(Loader *l, EffParam *p, const char *module, const char *leaf)
{
    const EffTensor *t = NULL;
    const int64_t dims[1] = {(int64_t)p->n};
    EffStatus st = find(l, &t, module, leaf, dims, 1);
    if (st != EFF_OK)
        return st;
    l->n_used++;
    if (!l->copy)
        return EFF_OK;
    if ((st = eff_param_alloc(p, p->n)) == EFF_OK)
        memcpy(p->data, t->data, p->n * sizeof *p->data);
    return st;
}

/* [O][I][KH][KW] to [O][KH][KW][I]; a classifier is [O][I]. */
static EffStatus load_conv(Loader *l, EffConv *c, const char *module, bool linear)
{
    const EffTensor *t = NULL;
    const int64_t n_in = c->in_ch / c->groups;
    const int64_t dims[4] = {c->out_ch, n_in, c->kernel_h, c->kernel_w};
    EffStatus st = find(l, &t, module, "weight", dims, linear ? 2 : 4);
    if (st != EFF_OK)
        return st;
    l->n_used++;
    if (l->copy) {
        if ((st = eff_param_alloc(&c->wgt, c->wgt.n)) != EFF_OK)
            return st;
        const size_t taps = (size_t)c->kernel_h * (size_t)c->kernel_w, in = (size_t)n_in;
        for (size_t o = 0; o < (size_t)c->out_ch; o++) {
            for (size_t i = 0; i < in; i++) {
                for (size_t k = 0; k < taps; k++)
                    c->wgt.data[(o * taps + k) * in + i] = t->data[(o * in + i) * taps + k];
            }
        }
    }
    return c->has_bias ? load_vector(l, &c->bias, module, "bias") : EFF_OK;
}

static EffStatus load_batchnorm(Loader *l, EffBatchNorm *bn, const char *module)
{
    EffStatus st;
    if ((st = load_vector(l, &bn->gamma, module, "weight")) != EFF_OK ||
        (st = load_vector(l, &bn->beta, module, "bias")) != EFF_OK ||
        (st = load_vector(l, &bn->mean, module, "running_mean")) != EFF_OK ||
        (st = load_vector(l, &bn->var, module, "running_var")) != EFF_OK)
        return st;
    for (size_t i = 0; l->copy && i < bn->var.n; i++) {
        if (!(bn->var.data[i] >= 0))
            return eff_fail(EFF_ERR_FORMAT, "'%s.running_var'[%zu] is %g; a variance is never negative", module, i,
                            (double)bn->var.data[i]);
    }
    return EFF_OK;
}

static bool is_counter(const char *name)
{
    const char *leaf = strrchr(name, '.');
    return leaf != NULL && strcmp(leaf, ".num_batches_tracked") == 0;
}

/* Load, or check only. */
static EffStatus load_all(Loader *l, EffGraph *g, EffNaming naming)
{
    EffNameMap map = {0};
    char module[EFF_NAME_BYTES];
    for (int i = 0; i < g->n_nodes; i++) {
        EffNode *node = &g->nodes[i];
        if (node->module == NULL)
            continue;
        eff_name_module(&map, module, g, i, naming);
        const bool linear = strcmp(node->module, "classifier") == 0;
        const EffStatus st =
            node->op == EFF_OP_CONV ? load_conv(l, &node->conv, module, linear) : load_batchnorm(l, &node->bn, module);
        if (st != EFF_OK)
            return st;
    }
    size_t n_all = 0;
    for (size_t i = 0; i < eff_weights_count(l->w); i++)
        n_all += !is_counter(eff_weights_at(l->w, i)->name);
    if (n_all != l->n_used)
        return eff_fail(EFF_ERR_FORMAT, "holds %zu tensors where %zu are expected", n_all, l->n_used);
    return EFF_OK;
}

/* Architecture and number of classes that these weights fit, for the message; NULL if none does. */
static const char *find_fitting(const EffWeights *w, EffNaming naming, int *n_classes)
{
    const EffTensor *fc = eff_weights_find(w, naming == EFF_NAMING_TIMM ? "classifier.bias" : "_fc.bias");
    if (fc == NULL || fc->n_elements < 1 || fc->n_elements > EFF_MAX_CHANNELS)
        return NULL;
    *n_classes = (int)fc->n_elements;
    for (size_t i = 0; eff_arch_name(i) != NULL; i++) {
        EffArch arch;
        EffGraph *g = NULL;
        if (eff_arch_find(&arch, eff_arch_name(i)) != EFF_OK)
            continue;
        arch.n_classes = *n_classes;
        if (eff_graph_build(&g, &arch) != EFF_OK)
            continue;
        Loader check = {.w = w};
        const bool fits = load_all(&check, g, naming) == EFF_OK;
        eff_graph_free(g);
        if (fits)
            return eff_arch_name(i);
    }
    return NULL;
}

EffStatus eff_graph_load(EffGraph *g, const EffWeights *w)
{
    EffNaming naming;
    EffStatus st = eff_weights_naming(&naming, w);
    if (st != EFF_OK)
        return st;
    Loader l = {.w = w, .copy = true};
    st = load_all(&l, g, naming);
    if (st != EFF_ERR_FORMAT)
        return st;
    char reason[512];
    snprintf(reason, sizeof reason, "%s", eff_last_message());
    int n_classes = 0;
    const char *fitting = find_fitting(w, naming, &n_classes);
    if (fitting == NULL || (strcmp(fitting, g->name) == 0 && n_classes == g->n_classes))
        return eff_fail(st, "%s; these are no weights of %s with %d classes", reason, g->name, g->n_classes);
    return eff_fail(st, "%s; these weights fit --arch %s --num-classes %d", reason, fitting, n_classes);
}
