/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of a network, as text: Graphviz's language, or SVG. */
#include "base/status.h"
#include "graph/ir.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text that grows; after a failure it stays empty. */
typedef struct Text {
    char *data;
    size_t n, capacity;
    bool failed;
} Text;

EFF_PRINTF(2, 3) static void put(Text *t, const char *fmt, ...)
{
    char line[1200];
    va_list args;
    va_start(args, fmt);
    const int length = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    const size_t n = length < 0 ? 0 : (size_t)length < sizeof line ? (size_t)length : sizeof line - 1;
    if (t->n + n + 1 > t->capacity) {
        const size_t capacity = 2 * (t->capacity + n + 1);
        char *data = t->failed ? NULL : realloc(t->data, capacity);
        t->failed = data == NULL;
        if (t->failed)
            return;
        t->data = data;
        t->capacity = capacity;
    }
    memcpy(t->data + t->n, line, n + 1);
    t->n += n;
}

/* "Conv 3x3 s2", "SiLU" */
static const char *what(char *buffer, size_t n_bytes, const EffNode *n)
{
    static const char *const acts[] = {"none", "ReLU", "ReLU6", "SiLU", "hard-swish", "sigmoid"};
    static const char *const ops[] = {"Conv", "BatchNorm", "", "mean", "Add", "Mul", "Pad", "round"};
    const EffConv *c = &n->conv;
    if (n->op == EFF_OP_CONV || n->op == EFF_OP_POOL)
        snprintf(buffer, n_bytes, "%s %dx%d s%d",
                 n->op == EFF_OP_POOL       ? (n->pooling == EFF_POOLING_MAX ? "max pool" : "mean pool")
                 : eff_conv_is_depthwise(c) ? "depthwise"
                                            : "Conv",
                 c->kernel_h, c->kernel_w, c->stride);
    else
        snprintf(buffer, n_bytes, "%s", n->op == EFF_OP_ACT ? acts[n->act] : ops[n->op]);
    return buffer;
}

/* Names come from files: only letters, digits and a few signs pass into a drawing. */
static const char *safe(char buffer[200], const char *name)
{
    size_t n = 0;
    for (; name[n] != '\0' && n + 1 < 200; n++) {
        const char c = name[n];
        const bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("/._-:", c);
        buffer[n] = plain ? c : '?';
    }
    buffer[n] = '\0';
    return buffer;
}

static void dot(Text *t, const EffGraph *g)
{
    char name[200], op[64];
    const EffShape in = g->values[g->input].shape;
    put(t, "digraph \"%s\" {\n    node [shape=box, fontname=Helvetica];\n", safe(name, g->name));
    put(t, "    v%d [label=\"input\\n%dx%dx%d\"];\n", g->input, in.h, in.w, in.c);
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *n = &g->nodes[i];
        const EffShape s = g->values[n->out].shape;
        put(t, "    v%d [label=\"%s\\n%s\\n%dx%dx%d\"];\n", n->out, safe(name, n->name), what(op, sizeof op, n), s.h,
            s.w, s.c);
        for (int k = 0; k < n->n_inputs; k++)
            put(t, "    v%d -> v%d;\n", n->in[k], n->out);
    }
    put(t, "}\n");
}

enum { ROW = 44, BOX = 34, LEFT = 10, WIDTH = 460 };

static void box(Text *t, int row, const char *name, const char *op, EffShape s)
{
    const int y = row * ROW + 10;
    put(t, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#eef3fa\" stroke=\"#456\"/>\n", LEFT, y, WIDTH,
        BOX);
    put(t, "<text x=\"%d\" y=\"%d\">%s</text>\n", LEFT + 6, y + 14, name);
    put(t, "<text x=\"%d\" y=\"%d\" fill=\"#345\">%s  %dx%dx%d</text>\n", LEFT + 6, y + 28, op, s.h, s.w, s.c);
}

static void svg(Text *t, const EffGraph *g)
{
    char name[200], op[64];
    put(t,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
        "font-size=\"11\">\n",
        WIDTH + 160, (g->n_nodes + 1) * ROW + 20);
    box(t, 0, "input", "", g->values[g->input].shape);
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *n = &g->nodes[i];
        box(t, i + 1, safe(name, n->name), what(op, sizeof op, n), g->values[n->out].shape);
        for (int k = 0; k < n->n_inputs; k++) {
            const int from = (g->values[n->in[k]].producer + 1) * ROW + 10 + BOX, to = (i + 1) * ROW + 10;
            const int x = LEFT + (k == 0 && from + ROW - BOX == to ? WIDTH / 2 : WIDTH);
            if (x == LEFT + WIDTH / 2)
                put(t, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#456\"/>\n", x, from, x, to);
            else
                put(t, "<path d=\"M%d %d C%d %d %d %d %d %d\" fill=\"none\" stroke=\"#a55\"/>\n", x, from - BOX / 2,
                    x + 120, from, x + 120, to, x, to + BOX / 2);
        }
    }
    put(t, "</svg>\n");
}

EffStatus eff_graph_draw(char **out, const EffGraph *g, EffDrawing how)
{
    Text t = {0};
    (how == EFF_DRAWING_DOT ? dot : svg)(&t, g);
    if (t.failed) {
        free(t.data);
        return eff_fail_nomem(t.capacity, "a drawing");
    }
    *out = t.data;
    return EFF_OK;
}
