/* SPDX-License-Identifier: Apache-2.0 */
/* Building, rewiring and freeing graphs. */
#include "graph/ir.h"
#include "base/mem.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

size_t eff_shape_count(EffShape s)
{
    return (size_t)s.h * (size_t)s.w * (size_t)s.c;
}

EffStatus eff_param_alloc(EffParam *p, size_t n)
{
    p->data = eff_calloc(n, sizeof *p->data);
    if (p->data == NULL)
        return eff_fail_nomem(n * sizeof *p->data, "weights");
    p->n = n;
    return EFF_OK;
}

void eff_param_free(EffParam *p)
{
    eff_free(p->data);
    *p = (EffParam){0};
}

void eff_node_free_params(EffNode *node)
{
    eff_param_free(&node->conv.wgt);
    eff_param_free(&node->conv.bias);
    eff_param_free(&node->bn.gamma);
    eff_param_free(&node->bn.beta);
    eff_param_free(&node->bn.mean);
    eff_param_free(&node->bn.var);
    eff_param_free(&node->round.table);
}

static void free_node(EffNode *node)
{
    eff_free(node->name);
    eff_free(node->module);
    eff_node_free_params(node);
}

void eff_labels_free(char **labels, size_t n)
{
    for (size_t i = 0; labels != NULL && i < n; i++)
        eff_free(labels[i]);
    eff_free(labels);
}

EffStatus eff_labels_copy(char ***out, const char *const *labels, size_t n)
{
    char **copy = eff_calloc(n, sizeof *copy);
    for (size_t i = 0; copy != NULL && i < n; i++) {
        copy[i] = eff_strdup(labels[i]);
        if (copy[i] == NULL) {
            eff_labels_free(copy, n);
            copy = NULL;
        }
    }
    if (copy == NULL)
        return eff_fail_nomem(n * sizeof *copy, "labels");
    *out = copy;
    return EFF_OK;
}

void eff_graph_free(EffGraph *g)
{
    if (g == NULL)
        return;
    for (int i = 0; i < g->n_nodes; i++)
        free_node(&g->nodes[i]);
    eff_free(g->nodes);
    eff_free(g->values);
    eff_labels_free(g->labels, (size_t)g->n_classes);
    eff_free(g->name);
    eff_free(g);
}

/* Room for one more element in a list that doubles. */
static EffStatus grow(void **items, int n, int *capacity, size_t size)
{
    if (n < *capacity)
        return EFF_OK;
    const int wanted = *capacity ? *capacity * 2 : 64;
    void *grown = eff_realloc(*items, (size_t)n * size, (size_t)wanted, size);
    if (grown == NULL)
        return eff_fail_nomem((size_t)wanted * size, "the graph");
    *items = grown;
    *capacity = wanted;
    return EFF_OK;
}

EffStatus eff_graph_add_value(EffGraph *g, int *out)
{
    void *items = g->values;
    const EffStatus st = grow(&items, g->n_values, &g->values_capacity, sizeof *g->values);
    g->values = items;
    if (st != EFF_OK)
        return st;
    g->values[g->n_values] = (EffValue){.producer = -1};
    *out = g->n_values++;
    return EFF_OK;
}

EffStatus eff_graph_add_node(EffGraph *g, const EffNode *node, int *out)
{
    if (g->n_nodes >= EFF_MAX_NODES)
        return eff_fail(EFF_ERR_LIMIT, "the graph has more than %d nodes; simplify the model first", EFF_MAX_NODES);
    void *items = g->nodes;
    EffStatus st = grow(&items, g->n_nodes, &g->nodes_capacity, sizeof *g->nodes);
    g->nodes = items;
    int value = -1;
    if (st != EFF_OK || (st = eff_graph_add_value(g, &value)) != EFF_OK)
        return st;
    EffNode copy = *node;
    copy.out = value;
    copy.name = eff_strdup(node->name);
    copy.module = node->module != NULL ? eff_strdup(node->module) : NULL;
    if (copy.name == NULL || (node->module != NULL && copy.module == NULL)) {
        eff_free(copy.name);
        eff_free(copy.module);
        return eff_fail_nomem(64, "a node's name");
    }
    for (int i = 0; i < copy.n_inputs; i++)
        g->values[copy.in[i]].n_consumers++;
    g->values[value].producer = g->n_nodes;
    g->nodes[g->n_nodes++] = copy;
    *out = value;
    return EFF_OK;
}

EffStatus eff_graph_create(EffGraph **out, const char *name, EffShape input)
{
    EffGraph *g = eff_calloc(1, sizeof *g);
    if (g == NULL)
        return eff_fail_nomem(sizeof *g, "the graph");
    g->name = eff_strdup(name);
    if (g->name == NULL || eff_graph_add_value(g, &g->input) != EFF_OK) {
        eff_graph_free(g);
        return eff_fail_nomem(64, "the graph");
    }
    g->values[g->input].shape = input;
    g->output = g->input;
    *out = g;
    return EFF_OK;
}

void eff_graph_relink(EffGraph *g)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].out < 0)
            free_node(&g->nodes[i]);
        else
            g->nodes[n++] = g->nodes[i];
    }
    g->n_nodes = n;
    for (int v = 0; v < g->n_values; v++) {
        g->values[v].producer = -1;
        g->values[v].n_consumers = 0;
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < g->nodes[i].n_inputs; k++)
            g->values[g->nodes[i].in[k]].n_consumers++;
        g->values[g->nodes[i].out].producer = i;
    }
}

const EffPreprocess *eff_graph_preprocess(const EffGraph *g)
{
    return &g->pre;
}

void eff_graph_set_preprocess(EffGraph *g, const EffPreprocess *pre)
{
    g->pre = *pre;
}

const char *const *eff_graph_labels(const EffGraph *g)
{
    return (const char *const *)g->labels;
}

EffStatus eff_graph_set_labels(EffGraph *g, const char *const *labels)
{
    char **copy;
    const EffStatus st = eff_labels_copy(&copy, labels, (size_t)g->n_classes);
    if (st != EFF_OK)
        return st;
    eff_labels_free(g->labels, (size_t)g->n_classes);
    g->labels = copy;
    return EFF_OK;
}
