/* SPDX-License-Identifier: Apache-2.0 */
/* Writing and reading tables of ranges. */
#include "quant/table.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/suggest.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, MAX_WORDS = 6 };
static const char MAGIC[] = "effnet-table";

/* Values whose channels may be rounded differently: what enters a convolution of a map, the pooling, or an addition;
 * and what leaves a depthwise convolution, whose weights are chosen in units of each channel. */
static bool has_channels(const EffGraph *g, int value)
{
    const EffShape s = g->values[value].shape;
    if (s.h == 1 && s.w == 1)
        return false;
    const int producer = g->values[value].producer;
    if (producer >= 0 && g->nodes[producer].op == EFF_OP_CONV && eff_conv_is_depthwise(&g->nodes[producer].conv))
        return true;
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *node = &g->nodes[i];
        if (node->in[0] == value && (node->op == EFF_OP_CONV || node->op == EFF_OP_GLOBAL_AVGPOOL))
            return true;
        if (node->op == EFF_OP_ADD && (node->in[0] == value || node->in[1] == value))
            return true;
    }
    return false;
}

/* "int16" of a convolution with 16-bit inputs, "f32" of one in float; else "u8", "s16", "u8+s16", "f32" by the plan's
 * tensors of that node; "acc" where it is only on the way to another. */
static const char *type_of(const EffGraph *g, int node, const EffPlan *plan)
{
    const EffShape s = g->values[g->nodes[node].out].shape;
    bool u8 = false, s16 = false, f32 = false;
    for (int i = 0; i < plan->n_steps; i++) {
        const int op = plan->steps[i].op;
        if ((eff_step_is_wide(op) || eff_step_is_float_node(op)) &&
            strcmp(plan->steps[i].name, g->nodes[node].name) == 0)
            return eff_step_is_wide(op) ? "int16" : "f32";
    }
    for (int t = 0; t < plan->n_tensors; t++) {
        const EffPlanTensor *tensor = &plan->tensors[t];
        if (strcmp(tensor->name, g->nodes[node].name) != 0 || tensor->h != s.h || tensor->w != s.w || tensor->c != s.c)
            continue;
        u8 |= tensor->type == EFF_TENSOR_U8;
        s16 |= tensor->type == EFF_TENSOR_S16;
        f32 |= tensor->type == EFF_TENSOR_F32;
    }
    return u8 && s16 ? "u8+s16" : u8 ? "u8" : s16 ? "s16" : f32 ? "f32" : "acc";
}

/* ---- Writing ---- */

typedef struct Text {
    char *data;
    size_t n, capacity;
    bool failed;
} Text;

EFF_PRINTF(2, 3) static void add(Text *t, const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    const size_t n_bytes = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    if (t->n + n_bytes + 1 > t->capacity) {
        const size_t capacity = 2 * t->capacity + sizeof line;
        char *grown = eff_realloc(t->data, t->n, capacity, 1);
        if (grown == NULL) {
            t->failed = true;
            return;
        }
        t->data = grown;
        t->capacity = capacity;
    }
    memcpy(t->data + t->n, line, n_bytes + 1);
    t->n += n_bytes;
}

/* The shortest decimal number that reads as the same float. */
static const char *number(char buffer[32], float v)
{
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(buffer, 32, "%.*g", digits, (double)v);
        if (strtof(buffer, NULL) == v)
            break;
    }
    return buffer;
}

static const char *act_of(const EffGraph *g, const EffNode *node, const EffActChoice *choices, size_t n)
{
    for (size_t i = 0; i < n && node->op == EFF_OP_ACT; i++) {
        if (choices[i].conv == g->values[node->in[0]].producer)
            return choices[i].kind == EFF_ACT_STAIR ? " stair" : " interp";
    }
    return "";
}

EffStatus eff_table_write(char **out, const EffGraph *g, const EffRanges *ranges, const EffActChoice *choices, size_t n,
                          const EffPlan *plan)
{
    Text t = {0};
    char min[32], max[32];
    add(&t, "%s %d %s\n", MAGIC, VERSION, g->name);
    add(&t, "# A line a node: NODE TYPE GRAIN MIN MAX [ACTIVATION]; under GRAIN channel, a line a channel: CHANNEL MIN "
            "MAX.\n"
            "# Edit it and give it to 'effnet quantize --table'. doc/table.md has the details.\n");
    for (int i = 0; i < g->n_nodes; i++) {
        const EffNode *node = &g->nodes[i];
        const EffRange *r = &ranges->values[node->out];
        const bool channels = has_channels(g, node->out);
        add(&t, "%-46s %-6s %-7s %s %s%s\n", node->name, type_of(g, i, plan), channels ? "channel" : "tensor",
            number(min, eff_range_min(r)), number(max, eff_range_max(r)), act_of(g, node, choices, n));
        for (int c = 0; c < r->c && channels; c++)
            add(&t, "  %d %s %s\n", c, number(min, r->min[c]), number(max, r->max[c]));
    }
    if (t.failed) {
        eff_free(t.data);
        return eff_fail_nomem(t.capacity * 2, "the table of ranges");
    }
    *out = t.data;
    return EFF_OK;
}

/* ---- Reading ---- */

typedef struct Reader {
    EffTable *table;
    const EffGraph *g;
    float *at; /* where the next row's ranges go */
    int line;
    int node;         /* of the last row; -1 before the first */
    int n_channels;   /* still to come of it */
    float *min, *max; /* its ranges */
} Reader;

EFF_PRINTF(2, 3) static EffStatus wrong(const Reader *r, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return eff_fail(EFF_ERR_FORMAT, "%s:%d: %s", r->table->name, r->line, text);
}

static EffStatus read_number(const Reader *r, float *out, const char *word)
{
    char *end;
    const float v = strtof(word, &end);
    if (end == word || *end != '\0')
        return wrong(r, "'%s' is not a number; write it as -0.25 or 1.5e3", word);
    if (!(fabsf(v) <= EFF_MAX_RANGE))
        return wrong(r, "'%s' is beyond %g, the most that int8 covers; give the range a limit", word,
                     (double)EFF_MAX_RANGE);
    *out = v;
    return EFF_OK;
}

static EffStatus read_range(const Reader *r, float *min, float *max, const char *min_word, const char *max_word)
{
    EffStatus st = read_number(r, min, min_word);
    if (st == EFF_OK)
        st = read_number(r, max, max_word);
    if (st == EFF_OK && *min > *max)
        st = wrong(r, "min %s is above max %s; swap them", min_word, max_word);
    if (st == EFF_OK && (*min > 0 || *max < 0))
        st = wrong(r, "0 is not between %s and %s, but every tensor holds zeros; let one of them be 0", min_word,
                   max_word);
    return st;
}

/* The node that `name` is, after the last one. */
static EffStatus find_node(const Reader *r, int *out, const char *name)
{
    const EffGraph *g = r->g;
    for (int i = 0; i < g->n_nodes; i++) {
        if (strcmp(g->nodes[i].name, name) != 0)
            continue;
        if (r->table->rows[i].line > 0)
            return wrong(r, "%s stands in line %d already; remove one of the two", name, r->table->rows[i].line);
        if (i < r->node)
            return wrong(r, "%s comes before %s (line %d) in the network; keep the order that effnet wrote", name,
                         g->nodes[r->node].name, r->table->rows[r->node].line);
        *out = i;
        return EFF_OK;
    }
    const char *near =
        eff_suggest(name, (const char *const *)(const void *)&g->nodes[0].name, (size_t)g->n_nodes, sizeof *g->nodes);
    if (near != NULL)
        return wrong(r, "%s has no node '%s'; did you mean '%s'?", g->name, name, near);
    return wrong(r, "%s has no node '%s'; is the table of another network?", g->name, name);
}

static EffStatus read_words(const Reader *r, EffTableRow *row, char **words, int n)
{
    static const char *const types[] = {"u8", "s16", "u8+s16", "f32", "acc", "int16"};
    bool known = false;
    for (size_t i = 0; i < EFF_COUNT(types); i++)
        known |= strcmp(words[1], types[i]) == 0;
    if (!known)
        return wrong(r, "'%s' is no type; use u8, s16, u8+s16, f32, acc or int16", words[1]);
    snprintf(row->type, sizeof row->type, "%s", words[1]);
    if (strcmp(words[2], "tensor") != 0 && strcmp(words[2], "channel") != 0)
        return wrong(r, "'%s' is neither 'tensor' nor 'channel'; say which ranges follow", words[2]);
    if (n == 6 && strcmp(words[5], "stair") != 0 && strcmp(words[5], "interp") != 0)
        return wrong(r, "'%s' is no form of an activation; use stair or interp, or leave it out", words[5]);
    row->act = n < 6 ? EFF_ACT_NONE : strcmp(words[5], "stair") == 0 ? EFF_ACT_STAIR : EFF_ACT_INTERP;
    return EFF_OK;
}

static EffStatus end_row(const Reader *r)
{
    if (r->n_channels == 0)
        return EFF_OK;
    const EffNode *node = &r->g->nodes[r->node];
    const int c = r->g->values[node->out].shape.c;
    return wrong(r, "only %d of %d channels of %s are listed; add the others, or make it 'tensor'", c - r->n_channels,
                 c, node->name);
}

static EffStatus read_row(Reader *r, char **words, int n)
{
    int i = 0;
    EffStatus st = end_row(r);
    if (st == EFF_OK && n != 5 && n != 6)
        st = wrong(r, "%d words, not NODE TYPE GRAIN MIN MAX [ACTIVATION]; complete the line", n);
    if (st == EFF_OK)
        st = find_node(r, &i, words[0]);
    EffTableRow *row = st == EFF_OK ? &r->table->rows[i] : NULL;
    if (st == EFF_OK)
        st = read_words(r, row, words, n);
    float min = 0, max = 0;
    if (st == EFF_OK)
        st = read_range(r, &min, &max, words[3], words[4]);
    if (st != EFF_OK)
        return st;
    const int c = r->g->values[r->g->nodes[i].out].shape.c;
    r->min = r->at;
    r->max = r->at + c;
    r->at += 2 * c;
    row->line = r->line;
    row->min = r->min;
    row->max = r->max;
    for (int k = 0; k < c; k++) {
        r->min[k] = min;
        r->max[k] = max;
    }
    r->node = i;
    r->n_channels = strcmp(words[2], "channel") == 0 ? c : 0;
    return EFF_OK;
}

/* A channel's range; the node's own line bounds it. */
static EffStatus read_channel(Reader *r, char **words, int n)
{
    const char *name = r->node >= 0 ? r->g->nodes[r->node].name : "";
    if (r->n_channels == 0)
        return wrong(r, "a line of a channel, but %s%s; remove it",
                     r->node < 0 ? "no node stands before it" : "no more belong to ", name);
    if (n != 3)
        return wrong(r, "%d words, not CHANNEL MIN MAX; complete the line", n);
    const int c = r->g->values[r->g->nodes[r->node].out].shape.c - r->n_channels;
    char wanted[16];
    snprintf(wanted, sizeof wanted, "%d", c);
    if (strcmp(words[0], wanted) != 0)
        return wrong(r, "channel '%s' of %s, but %d comes next; list all of them in order", words[0], name, c);
    float min, max;
    const EffStatus st = read_range(r, &min, &max, words[1], words[2]);
    if (st != EFF_OK)
        return st;
    r->min[c] = fmaxf(r->min[c], min);
    r->max[c] = fminf(r->max[c], max);
    r->n_channels--;
    return EFF_OK;
}

static EffStatus read_head(const Reader *r, char **words, int n)
{
    char *end;
    if (n < 2 || strcmp(words[0], MAGIC) != 0)
        return wrong(r, "not a table of ranges, which starts with '%s %d'; 'effnet quantize' writes one", MAGIC,
                     VERSION);
    const long version = strtol(words[1], &end, 10);
    if (*end != '\0' || version < 1)
        return wrong(r, "'%s' is no version; write %d", words[1], VERSION);
    if (version > VERSION)
        return eff_fail(EFF_ERR_VERSION, "%s:%d: version %ld of a table, newer than this program; update effnet",
                        r->table->name, r->line, version);
    return EFF_OK;
}

/* Cuts a line into words; n is above MAX_WORDS when there are more. */
static int split(char *line, char **words)
{
    int n = 0;
    for (char *at = line;;) {
        while (isspace((unsigned char)*at))
            *at++ = '\0';
        if (*at == '\0' || *at == '#')
            return *at == '#' ? (*at = '\0', n) : n;
        if (n == MAX_WORDS)
            return n + 1;
        words[n++] = at;
        while (*at != '\0' && !isspace((unsigned char)*at))
            at++;
    }
}

static EffStatus read_lines(Reader *r, char *text)
{
    bool headed = false;
    EffStatus st = EFF_OK;
    for (char *line = text, *next; line != NULL && st == EFF_OK; line = next) {
        char *words[MAX_WORDS];
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        r->line++;
        const int n = split(line, words);
        if (n == 0)
            continue;
        if (!headed)
            st = read_head(r, words, n);
        else if (isdigit((unsigned char)words[0][0]))
            st = read_channel(r, words, n);
        else
            st = read_row(r, words, n);
        headed = true;
    }
    if (st == EFF_OK && !headed)
        return wrong(r, "the table is empty; 'effnet quantize' writes one");
    return st == EFF_OK ? end_row(r) : st;
}

EffStatus eff_table_parse(EffTable *out, const char *text, const char *name, const EffGraph *g)
{
    EffTable t = {.name = name};
    size_t n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += 2 * (size_t)g->values[g->nodes[i].out].shape.c;
    char *copy = eff_strdup(text);
    t.rows = eff_calloc((size_t)g->n_nodes, sizeof *t.rows);
    t.storage = eff_calloc(n, sizeof *t.storage);
    EffStatus st = EFF_OK;
    if (copy == NULL || t.rows == NULL || t.storage == NULL)
        st = eff_fail_nomem(n * sizeof *t.storage, "the table of ranges");
    Reader r = {.table = &t, .g = g, .at = t.storage, .node = -1};
    if (st == EFF_OK)
        st = read_lines(&r, copy);
    eff_free(copy);
    if (st != EFF_OK) {
        eff_table_free(&t);
        return st;
    }
    *out = t;
    return EFF_OK;
}

void eff_table_free(EffTable *t)
{
    eff_free(t->rows);
    eff_free(t->storage);
    *t = (EffTable){0};
}

/* ---- Using ---- */

bool eff_table_is_int16(const EffTable *t, int node)
{
    return t->rows[node].line > 0 && strcmp(t->rows[node].type, "int16") == 0;
}

bool eff_table_is_float(const EffTable *t, int node)
{
    return t->rows[node].line > 0 && strcmp(t->rows[node].type, "f32") == 0;
}

void eff_table_set_float(EffTable *t, int node)
{
    if (t->rows[node].line > 0)
        snprintf(t->rows[node].type, sizeof t->rows[node].type, "f32");
}

bool eff_table_is_complete(const EffTable *t, const EffGraph *g)
{
    bool complete = true;
    for (int i = 0; i < g->n_nodes; i++)
        complete &= t->rows[i].line > 0;
    return complete;
}

void eff_table_apply(const EffTable *t, EffRanges *ranges, const EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const EffRange *r = &ranges->values[g->nodes[i].out];
        for (int c = 0; t->rows[i].line > 0 && c < r->c; c++) {
            r->min[c] = t->rows[i].min[c];
            r->max[c] = t->rows[i].max[c];
        }
    }
}

EffStatus eff_table_choose(const EffTable *t, EffActChoice *choices, size_t n, const EffGraph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const EffTableRow *row = &t->rows[i];
        bool found = row->act == EFF_ACT_NONE;
        for (size_t k = 0; k < n && !found; k++) {
            if (g->nodes[i].op != EFF_OP_ACT || choices[k].conv != g->values[g->nodes[i].in[0]].producer)
                continue;
            choices[k].kind = row->act;
            found = true;
        }
        if (!found)
            return eff_fail(EFF_ERR_FORMAT, "%s:%d: %s has no activation by table; leave the last word out", t->name,
                            row->line, g->nodes[i].name);
    }
    return EFF_OK;
}

/* Whether a node's output leaves in other bits because a reader takes 16-bit inputs. */
static bool serves_wide(const EffTable *t, const EffGraph *g, int node, const EffPlan *plan)
{
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->nodes[i].n_inputs; k++) {
            const char *type = type_of(g, i, plan);
            const bool wide = strcmp(type, "int16") == 0 || (strcmp(type, "f32") == 0 && g->nodes[i].out != g->output);
            if (g->nodes[i].in[k] == g->nodes[node].out && wide)
                return strcmp(t->rows[node].type, "acc") != 0;
        }
    }
    return false;
}

EffStatus eff_table_check_types(const EffTable *t, const EffGraph *g, const EffPlan *plan)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const EffTableRow *row = &t->rows[i];
        const char *type = row->line > 0 ? type_of(g, i, plan) : row->type;
        if (strcmp(type, row->type) != 0 && !serves_wide(t, g, i, plan))
            return eff_fail(EFF_ERR_FORMAT, "%s:%d: %s can't be %s: what reads it needs %s; write that", t->name,
                            row->line, g->nodes[i].name, row->type, type);
    }
    return EFF_OK;
}
