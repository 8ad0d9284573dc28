/* SPDX-License-Identifier: Apache-2.0 */
/* ModelProto and GraphProto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto */
#include "import/onnx/onnx_model.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>

/* Fields of ModelProto, GraphProto and NodeProto. */
enum { MODEL_IR_VERSION = 1, MODEL_PRODUCER = 2, MODEL_GRAPH = 7, MODEL_OPSET = 8, MODEL_METADATA = 14 };
enum {
    GRAPH_NODE = 1,
    GRAPH_NAME = 2,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    GRAPH_SPARSE_INITIALIZER = 15
};
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7 };

static EffStatus damaged(const char *what)
{
    return eff_fail(EFF_ERR_FORMAT, "%s; the file is damaged, fetch or export it again", what);
}

const char *eff_onnx_text(char buffer[EFF_ONNX_MAX_NAME], EffWire text)
{
    size_t n = 0;
    for (; text.at < text.end && n + 1 < EFF_ONNX_MAX_NAME; text.at++)
        buffer[n++] = *text.at >= 0x20 && *text.at < 0x7f ? (char)*text.at : '?';
    buffer[n] = '\0';
    return buffer;
}

const char *eff_onnx_node_name(char buffer[EFF_ONNX_MAX_NAME], const EffOnnxModel *m, const EffOnnxNode *node)
{
    const int out = eff_onnx_out(m, node, 0);
    if (eff_wire_size(node->name) > 0)
        return eff_onnx_text(buffer, node->name);
    return eff_onnx_text(buffer, out >= 0 ? m->values[out].name : node->op);
}

/* ---- Values by name ---- */

static uint64_t hash(EffWire name)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; name.at < name.end; name.at++)
        h = (h ^ *name.at) * 1099511628211u;
    return h ^ h >> 29;
}

/* The slot of a name: its value's, or the free one where it would be. */
static size_t slot_of(const EffOnnxModel *m, EffWire name)
{
    const size_t n = eff_wire_size(name);
    size_t at = (size_t)hash(name) & (m->table_size - 1);
    for (; m->table[at] >= 0; at = (at + 1) & (m->table_size - 1)) {
        const EffWire other = m->values[m->table[at]].name;
        if (eff_wire_size(other) == n && (n == 0 || memcmp(other.at, name.at, n) == 0))
            break;
    }
    return at;
}

static EffStatus grow_table(EffOnnxModel *m)
{
    const size_t size = m->table_size ? m->table_size * 2 : 256;
    int *table = eff_malloc(size * sizeof *table);
    if (table == NULL)
        return eff_fail_nomem(size * sizeof *table, "names");
    for (size_t i = 0; i < size; i++)
        table[i] = -1;
    eff_free(m->table);
    m->table = table;
    m->table_size = size;
    for (int v = 0; v < m->n_values; v++)
        m->table[slot_of(m, m->values[v].name)] = v;
    return EFF_OK;
}

static EffStatus grow(void **items, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return EFF_OK;
    const size_t wanted = *capacity ? *capacity * 2 : 64;
    void *grown = eff_realloc(*items, n * size, wanted, size);
    if (grown == NULL)
        return eff_fail_nomem(wanted * size, "the model");
    *items = grown;
    *capacity = wanted;
    return EFF_OK;
}

/* The value of that name, made if there is none yet. */
static EffStatus value_of(EffOnnxModel *m, EffWire name, int *out)
{
    EffStatus st = EFF_OK;
    if (2 * ((size_t)m->n_values + 1) > m->table_size)
        st = grow_table(m);
    if (st != EFF_OK)
        return st;
    const size_t slot = slot_of(m, name);
    if (m->table[slot] >= 0) {
        *out = m->table[slot];
        return EFF_OK;
    }
    if (m->n_values >= EFF_ONNX_MAX_VALUES)
        return eff_fail(EFF_ERR_LIMIT, "more than %d values; simplify the model first", EFF_ONNX_MAX_VALUES);
    void *items = m->values;
    st = grow(&items, (size_t)m->n_values, &m->values_capacity, sizeof *m->values);
    m->values = items;
    if (st != EFF_OK)
        return st;
    m->values[m->n_values] = (EffOnnxValue){.name = name, .producer = -1};
    m->table[slot] = m->n_values;
    *out = m->n_values++;
    return EFF_OK;
}

static EffStatus add_ref(EffOnnxModel *m, int value)
{
    void *items = m->refs;
    const EffStatus st = grow(&items, (size_t)m->n_refs, &m->refs_capacity, sizeof *m->refs);
    m->refs = items;
    if (st == EFF_OK)
        m->refs[m->n_refs++] = value;
    return st;
}

/* ---- Nodes ---- */

static bool attribute_is_whole(EffWire a)
{
    EffWireField f;
    EffWireResult r;
    while ((r = eff_wire_next(&a, &f)) == EFF_WIRE_FIELD) {
    }
    return r == EFF_WIRE_END;
}

/* Its names; inputs first, then outputs, so that refs of a node lie together. */
static EffStatus read_node(EffOnnxModel *m, EffWire proto)
{
    EffOnnxNode node = {.proto = proto};
    EffWire domain = {0};
    EffStatus st = EFF_OK;
    for (int pass = 0; pass < 2; pass++) {
        EffWire rest = proto;
        EffWireField f;
        EffWireResult result;
        *(pass == 0 ? &node.inputs : &node.outputs) = m->n_refs;
        while ((result = eff_wire_next(&rest, &f)) == EFF_WIRE_FIELD) {
            if (f.type != EFF_WIRE_BYTES)
                continue;
            if (f.number == (pass == 0 ? NODE_INPUT : NODE_OUTPUT)) {
                int v = -1;
                if (eff_wire_size(f.bytes) > 0 && (st = value_of(m, f.bytes, &v)) != EFF_OK)
                    return st;
                if ((st = add_ref(m, v)) != EFF_OK)
                    return st;
                *(pass == 0 ? &node.n_inputs : &node.n_outputs) += 1;
            } else if (f.number == NODE_NAME) {
                node.name = f.bytes;
            } else if (f.number == NODE_OP) {
                node.op = f.bytes;
            } else if (f.number == NODE_DOMAIN) {
                domain = f.bytes;
            } else if (f.number == NODE_ATTRIBUTE && pass == 0 && !attribute_is_whole(f.bytes)) {
                return damaged("an attribute of a node breaks off");
            }
        }
        if (result == EFF_WIRE_DAMAGED)
            return damaged("a node breaks off");
    }
    char name[EFF_ONNX_MAX_NAME], text[EFF_ONNX_MAX_NAME];
    if (eff_wire_size(domain) > 0 && !eff_wire_is(domain, "ai.onnx"))
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "%s: an operator of the domain '%.100s'; export the model with the standard operators alone",
                        eff_onnx_node_name(name, m, &node), eff_onnx_text(text, domain));
    if (m->n_nodes >= EFF_ONNX_MAX_NODES)
        return eff_fail(EFF_ERR_LIMIT, "more than %d nodes; simplify the model first", EFF_ONNX_MAX_NODES);
    void *items = m->nodes;
    st = grow(&items, (size_t)m->n_nodes, &m->nodes_capacity, sizeof *m->nodes);
    m->nodes = items;
    if (st != EFF_OK)
        return st;
    for (int i = 0; i < node.n_inputs; i++) {
        if (eff_onnx_in(m, &node, i) >= 0)
            m->values[eff_onnx_in(m, &node, i)].n_consumers++;
    }
    for (int i = 0; i < node.n_outputs; i++) {
        const int v = eff_onnx_out(m, &node, i);
        if (v < 0)
            continue;
        if (m->values[v].producer >= 0 || m->values[v].is_initializer)
            return eff_fail(EFF_ERR_FORMAT, "'%.200s' is computed twice; export the model again",
                            eff_onnx_text(text, m->values[v].name));
        m->values[v].producer = m->n_nodes;
    }
    m->nodes[m->n_nodes++] = node;
    return EFF_OK;
}

/* ---- Graph ---- */

static EffStatus read_initializer(EffOnnxModel *m, EffWire proto, EffOnnxFiles *files)
{
    EffOnnxTensor t;
    EffWire name;
    int v = -1;
    char text[EFF_ONNX_MAX_NAME];
    EffStatus st = eff_onnx_tensor_read(&t, &name, proto, files);
    if (st != EFF_OK)
        return eff_fail_in(st, "weights '%.200s'", eff_onnx_text(text, name));
    st = eff_wire_size(name) > 0 ? value_of(m, name, &v) : damaged("weights without a name");
    if (st == EFF_OK && m->values[v].is_initializer)
        st = eff_fail(EFF_ERR_FORMAT, "weights '%.200s' come twice; export the model again", eff_onnx_text(text, name));
    if (st != EFF_OK) {
        eff_onnx_free(&t);
        return st;
    }
    m->values[v].t = t;
    m->values[v].is_initializer = m->values[v].is_known = true;
    return EFF_OK;
}

static EffWire name_of_value_info(EffWire proto)
{
    EffWireField f;
    EffWire name = {0};
    while (eff_wire_next(&proto, &f) == EFF_WIRE_FIELD) {
        if (f.number == 1 && f.type == EFF_WIRE_BYTES)
            name = f.bytes;
    }
    return name;
}

static EffStatus read_input(EffOnnxModel *m, EffWire proto)
{
    int v = -1;
    const EffStatus st = value_of(m, name_of_value_info(proto), &v);
    if (st != EFF_OK || m->values[v].is_initializer) /* old models list their weights as inputs too */
        return st;
    m->n_inputs++;
    if (m->input < 0) {
        m->input = v;
        m->input_proto = proto;
    }
    return EFF_OK;
}

static EffStatus read_output(EffOnnxModel *m, EffWire proto)
{
    int v = -1;
    const EffStatus st = value_of(m, name_of_value_info(proto), &v);
    if (st != EFF_OK)
        return st;
    m->values[v].n_consumers++;
    m->n_outputs++;
    if (m->output < 0)
        m->output = v;
    return EFF_OK;
}

/* Weights first: inputs and nodes may name them before they come. */
static EffStatus read_graph(EffOnnxModel *m, EffWire graph, EffOnnxFiles *files)
{
    EffStatus st = EFF_OK;
    for (int pass = 0; pass < 2 && st == EFF_OK; pass++) {
        EffWire rest = graph;
        EffWireField f;
        EffWireResult result = EFF_WIRE_END;
        while (st == EFF_OK && (result = eff_wire_next(&rest, &f)) == EFF_WIRE_FIELD) {
            if (f.type != EFF_WIRE_BYTES)
                continue;
            if (pass == 0 && f.number == GRAPH_INITIALIZER)
                st = read_initializer(m, f.bytes, files);
            else if (pass == 0 && f.number == GRAPH_SPARSE_INITIALIZER)
                st = eff_fail(EFF_ERR_UNSUPPORTED, "sparse weights; save the model with dense ones");
            else if (pass == 0 && f.number == GRAPH_NAME)
                m->graph_name = f.bytes;
            else if (pass == 1 && f.number == GRAPH_NODE)
                st = read_node(m, f.bytes);
            else if (pass == 1 && f.number == GRAPH_INPUT)
                st = read_input(m, f.bytes);
            else if (pass == 1 && f.number == GRAPH_OUTPUT)
                st = read_output(m, f.bytes);
        }
        if (st == EFF_OK && result == EFF_WIRE_DAMAGED)
            st = damaged("the graph breaks off");
    }
    return st;
}

static EffStatus read_opset(EffOnnxModel *m, EffWire proto)
{
    EffWire domain = {0};
    int64_t version = 1;
    EffWireField f;
    EffWireResult result;
    while ((result = eff_wire_next(&proto, &f)) == EFF_WIRE_FIELD) {
        if (f.number == 1 && f.type == EFF_WIRE_BYTES)
            domain = f.bytes;
        else if (f.number == 2)
            version = (int64_t)f.value;
    }
    if (result == EFF_WIRE_DAMAGED)
        return damaged("the list of operator sets breaks off");
    if (eff_wire_size(domain) == 0 || eff_wire_is(domain, "ai.onnx"))
        m->opset = version;
    return EFF_OK;
}

static EffStatus read_model(EffOnnxModel *m, EffWire file, EffOnnxFiles *files)
{
    EffWire rest = file, graph = {0};
    EffWireField f;
    EffWireResult result;
    EffStatus st = EFF_OK;
    while (st == EFF_OK && (result = eff_wire_next(&rest, &f)) != EFF_WIRE_END) {
        if (result == EFF_WIRE_DAMAGED)
            return damaged("not an ONNX model, or one that breaks off");
        if (f.number == MODEL_IR_VERSION && f.type == EFF_WIRE_VARINT)
            m->ir_version = (int64_t)f.value;
        else if (f.number == MODEL_PRODUCER && f.type == EFF_WIRE_BYTES)
            m->producer = f.bytes;
        else if (f.number == MODEL_GRAPH && f.type == EFF_WIRE_BYTES)
            graph = f.bytes;
        else if (f.number == MODEL_OPSET && f.type == EFF_WIRE_BYTES)
            st = read_opset(m, f.bytes);
    }
    if (st != EFF_OK)
        return st;
    if (graph.at == NULL || m->ir_version < 1)
        return eff_fail(EFF_ERR_FORMAT, "not an ONNX model: it has no graph; export it again");
    if (m->opset == 0)
        return eff_fail(EFF_ERR_FORMAT, "names no operator set; export the model again");
    if (m->opset > EFF_ONNX_MAX_OPSET)
        return eff_fail(EFF_ERR_VERSION,
                        "operator set %lld; export the model with opset_version=17, %d is the newest read",
                        (long long)m->opset, EFF_ONNX_MAX_OPSET);
    if (m->opset < EFF_ONNX_MIN_OPSET)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "operator set %lld is older than %d; export the model again with "
                        "opset_version=11",
                        (long long)m->opset, EFF_ONNX_MIN_OPSET);
    m->metadata = file;
    if ((st = read_graph(m, graph, files)) != EFF_OK)
        return st;
    if (m->output < 0)
        return eff_fail(EFF_ERR_FORMAT, "the graph has no output; export the model again");
    return EFF_OK;
}

EffStatus eff_onnx_model_read(EffOnnxModel *out, const uint8_t *bytes, size_t size, EffOnnxFiles *files)
{
    EffOnnxModel m = {.input = -1, .output = -1};
    if (size == 0)
        return eff_fail(EFF_ERR_FORMAT, "empty; fetch the file again");
    const EffStatus st = read_model(&m, (EffWire){bytes, bytes + size}, files);
    if (st != EFF_OK) {
        eff_onnx_model_free(&m);
        return st;
    }
    *out = m;
    return EFF_OK;
}

void eff_onnx_model_free(EffOnnxModel *m)
{
    for (int v = 0; v < m->n_values; v++)
        eff_onnx_free(&m->values[v].t);
    eff_free(m->values);
    eff_free(m->nodes);
    eff_free(m->refs);
    eff_free(m->table);
    *m = (EffOnnxModel){0};
}

EffWire eff_onnx_metadata(const EffOnnxModel *m, const char *key)
{
    EffWire rest = m->metadata, found = {0};
    EffWireField f, g;
    while (eff_wire_next(&rest, &f) == EFF_WIRE_FIELD) {
        if (f.number != MODEL_METADATA || f.type != EFF_WIRE_BYTES)
            continue;
        EffWire entry = f.bytes, name = {0}, value = {0};
        while (eff_wire_next(&entry, &g) == EFF_WIRE_FIELD) {
            if (g.number == 1)
                name = g.bytes;
            else if (g.number == 2)
                value = g.bytes;
        }
        if (name.at != NULL && eff_wire_is(name, key))
            found = value;
    }
    return found;
}

/* The last sub-message of that number. */
static bool inner(EffWire proto, uint32_t number, EffWire *out)
{
    EffWireField f;
    bool found = false;
    while (eff_wire_next(&proto, &f) == EFF_WIRE_FIELD) {
        if (f.number == number && f.type == EFF_WIRE_BYTES) {
            *out = f.bytes;
            found = true;
        }
    }
    return found;
}

int eff_onnx_declared_shape(EffWire value_info, int *type, int64_t dims[EFF_MAX_RANK])
{
    EffWire t, tensor, shape, rest;
    EffWireField f, g;
    int rank = 0;
    *type = EFF_ONNX_UNDEFINED;
    if (!inner(value_info, 2, &t) || !inner(t, 1, &tensor))
        return -1;
    rest = tensor;
    while (eff_wire_next(&rest, &f) == EFF_WIRE_FIELD) {
        if (f.number == 1 && f.type == EFF_WIRE_VARINT && f.value <= EFF_ONNX_BFLOAT16)
            *type = (int)f.value;
    }
    if (!inner(tensor, 2, &shape))
        return -1;
    while (eff_wire_next(&shape, &f) == EFF_WIRE_FIELD) {
        if (f.number != 1 || f.type != EFF_WIRE_BYTES)
            continue;
        if (rank == EFF_MAX_RANK)
            return -1;
        dims[rank] = 0;
        while (eff_wire_next(&f.bytes, &g) == EFF_WIRE_FIELD) {
            if (g.number == 1 && g.type == EFF_WIRE_VARINT)
                dims[rank] = (int64_t)g.value > 0 ? (int64_t)g.value : 0;
        }
        rank++;
    }
    return rank;
}
