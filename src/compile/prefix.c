/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping and restoring what is alive between two steps. */
#include "compile/prefix.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>

/* What is alive before a step of the plan, and in float before a node. */
typedef struct Cut {
    int step, node;
    int *tensors, *values;
    size_t *tensor_bytes, *value_bytes;
    int n_tensors, n_values;
    size_t n_bytes; /* of one picture */
} Cut;

struct EffPrefix {
    const EffGraph *g;
    const EffReference *reference;
    size_t n_pictures, most_bytes;
    uint8_t **states; /* [n_pictures] */
    Cut cut;          /* that the states are at */
    EffPool *pool;
    EffReferenceSession **references; /* a thread */
    EffSession **sessions;            /* a thread, during a run */
};

static void cut_free(Cut *c)
{
    eff_free(c->tensors);
    eff_free(c->values);
    eff_free(c->tensor_bytes);
    eff_free(c->value_bytes);
    *c = (Cut){0};
}

static EffStatus cut_alloc(Cut *c, size_t n_tensors, size_t n_values)
{
    c->tensors = eff_calloc(n_tensors, sizeof *c->tensors);
    c->tensor_bytes = eff_calloc(n_tensors, sizeof *c->tensor_bytes);
    c->values = eff_calloc(n_values, sizeof *c->values);
    c->value_bytes = eff_calloc(n_values, sizeof *c->value_bytes);
    if (c->tensors != NULL && c->tensor_bytes != NULL && c->values != NULL && c->value_bytes != NULL)
        return EFF_OK;
    cut_free(c);
    return eff_fail_nomem((n_tensors + n_values) * sizeof(size_t), "the calibration's state");
}

static bool tensor_is_alive(const EffPlan *plan, int tensor, int step)
{
    bool written = tensor == 0, read = false;
    for (int s = 0; s < plan->n_steps; s++) {
        for (int k = 0; k < 2; k++) {
            written |= s < step && plan->steps[s].out[k] == tensor;
            read |= s >= step && plan->steps[s].in[k] == tensor;
        }
    }
    return written && read;
}

static bool value_is_alive(const EffGraph *g, int value, int node)
{
    if (value != g->input && (g->values[value].producer < 0 || g->values[value].producer >= node))
        return false;
    for (int i = node; i < g->n_nodes; i++) {
        for (int k = 0; k < g->nodes[i].n_inputs; k++) {
            if (g->nodes[i].in[k] == value)
                return true;
        }
    }
    return false;
}

static EffStatus cut_create(Cut *out, const EffGraph *g, const EffPlan *plan, int step, int node)
{
    Cut c = {.step = step, .node = node};
    int *readers = eff_calloc((size_t)plan->n_tensors, sizeof *readers);
    EffStatus st = readers != NULL ? cut_alloc(&c, (size_t)plan->n_tensors, (size_t)g->n_values)
                                   : eff_fail_nomem((size_t)plan->n_tensors * sizeof *readers, "the state");
    if (st == EFF_OK)
        eff_plan_quads_readers(plan, readers);
    for (int t = 0; t < plan->n_tensors && st == EFF_OK; t++) {
        size_t n_bytes = (size_t)g->pre.size * (size_t)g->pre.size * 3;
        if (!tensor_is_alive(plan, t, step) || (t > 0 && !eff_plan_tensor_bytes(&n_bytes, plan, t, readers[t])))
            continue;
        c.tensors[c.n_tensors] = t;
        c.tensor_bytes[c.n_tensors++] = n_bytes;
        c.n_bytes += eff_align_up(n_bytes);
    }
    for (int v = 0; v < g->n_values && st == EFF_OK; v++) {
        if (!value_is_alive(g, v, node))
            continue;
        c.values[c.n_values] = g->values[v].producer;
        c.value_bytes[c.n_values] = eff_shape_count(g->values[v].shape) * sizeof(float);
        c.n_bytes += eff_align_up(c.value_bytes[c.n_values++]);
    }
    eff_free(readers);
    if (st == EFF_OK)
        *out = c;
    return st;
}

static void restore(const Cut *c, const uint8_t *state, EffSession *s, EffReferenceSession *r)
{
    for (int i = 0; i < c->n_tensors; state += eff_align_up(c->tensor_bytes[i++]))
        memcpy(eff_session_tensor(s, c->tensors[i]), state, c->tensor_bytes[i]);
    for (int i = 0; i < c->n_values; state += eff_align_up(c->value_bytes[i++]))
        memcpy(eff_reference_value(r, c->values[i]), state, c->value_bytes[i]);
}

static void keep(const Cut *c, uint8_t *state, EffSession *s, EffReferenceSession *r)
{
    for (int i = 0; i < c->n_tensors; state += eff_align_up(c->tensor_bytes[i++]))
        memcpy(state, eff_session_tensor(s, c->tensors[i]), c->tensor_bytes[i]);
    for (int i = 0; i < c->n_values; state += eff_align_up(c->value_bytes[i++]))
        memcpy(state, eff_reference_value(r, c->values[i]), c->value_bytes[i]);
}

/* ---- Pictures ---- */

/* The first state: pixels, and the float input. */
static EffStatus read_picture(void *ctx, size_t picture, int worker, const uint8_t *pixels)
{
    EffPrefix *p = ctx;
    const Cut *c = &p->cut;
    (void)worker;
    uint8_t *state = eff_malloc(c->n_bytes);
    if (state == NULL)
        return eff_fail_nomem(c->n_bytes, "calibration pictures");
    p->states[picture] = state;
    memcpy(state, pixels, c->tensor_bytes[0]);
    eff_graph_normalize(p->g, (float *)(void *)(state + eff_align_up(c->tensor_bytes[0])), pixels);
    return EFF_OK;
}

EffStatus eff_prefix_create(EffPrefix **out, const EffGraph *g, const EffReference *reference,
                            const EffPictures *pictures, const EffQuantizeOptions *options, size_t most_bytes)
{
    EffPrefix *p = eff_calloc(1, sizeof *p);
    if (p == NULL)
        return eff_fail_nomem(sizeof *p, "calibration");
    p->g = g;
    p->reference = reference;
    p->n_pictures = pictures->n;
    p->most_bytes = most_bytes;
    EffStatus st = eff_pool_create(&p->pool, options->n_threads);
    if (st == EFF_OK)
        st = cut_alloc(&p->cut, 1, 1);
    if (st == EFF_OK) {
        Cut *c = &p->cut;
        c->n_tensors = c->n_values = 1;
        c->values[0] = -1;
        c->tensor_bytes[0] = (size_t)g->pre.size * (size_t)g->pre.size * 3;
        c->value_bytes[0] = eff_shape_count(g->values[g->input].shape) * sizeof(float);
        c->n_bytes = eff_align_up(c->tensor_bytes[0]) + eff_align_up(c->value_bytes[0]);
        const size_t n_workers = (size_t)eff_pool_size(p->pool);
        p->states = eff_calloc(p->n_pictures, sizeof *p->states);
        p->references = eff_calloc(n_workers, sizeof(EffReferenceSession *));
        p->sessions = eff_calloc(n_workers, sizeof(EffSession *));
        if (p->states == NULL || p->references == NULL || p->sessions == NULL)
            st = eff_fail_nomem(p->n_pictures * sizeof *p->states, "calibration");
        for (size_t i = 0; i < n_workers && st == EFF_OK; i++)
            st = eff_reference_session_create(&p->references[i], reference, 1);
    }
    if (st == EFF_OK)
        st = eff_each_picture(pictures, options, "reading pictures", g->pre.size, read_picture, NULL, p);
    if (st != EFF_OK) {
        eff_prefix_free(p);
        return st;
    }
    *out = p;
    return EFF_OK;
}

void eff_prefix_free(EffPrefix *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; p->states != NULL && i < p->n_pictures; i++)
        eff_free(p->states[i]);
    for (int i = 0; p->references != NULL && i < eff_pool_size(p->pool); i++)
        eff_reference_session_free(p->references[i]);
    eff_free(p->states);
    eff_free(p->references);
    eff_free(p->sessions);
    cut_free(&p->cut);
    eff_pool_destroy(p->pool);
    eff_free(p);
}

size_t eff_prefix_n_pictures(const EffPrefix *p)
{
    return p->n_pictures;
}

EffPool *eff_prefix_pool(const EffPrefix *p)
{
    return p->pool;
}

/* ---- Running ---- */

typedef struct Run {
    EffPrefix *p;
    const Cut *next; /* to keep; NULL: the old state stays */
    uint8_t *failed; /* [n_pictures] no memory for the new state */
    int step, last, node_after;
    eff_prefix_visit_fn *visit;
    void *ctx;
} Run;

static void run_pictures(void *ctx, size_t begin, size_t end, int worker)
{
    const Run *run = ctx;
    EffPrefix *p = run->p;
    EffSession *s = p->sessions[worker];
    EffReferenceSession *r = p->references[worker];
    for (size_t i = begin; i < end; i++) {
        restore(&p->cut, p->states[i], s, r);
        eff_session_run_steps(s, p->cut.step, run->step);
        const int visited = run->last + 1 > p->cut.node ? run->last + 1 : p->cut.node;
        eff_reference_run_nodes(r, p->cut.node, visited);
        run->visit(run->ctx, i, worker, s, r);
        if (run->next == NULL)
            continue;
        if (run->node_after > visited)
            eff_reference_run_nodes(r, visited, run->node_after);
        uint8_t *state = eff_malloc(run->next->n_bytes);
        run->failed[i] = state == NULL;
        if (state == NULL)
            continue;
        keep(run->next, state, s, r);
        eff_free(p->states[i]);
        p->states[i] = state;
    }
}

EffStatus eff_prefix_run(EffPrefix *p, const EffModel *model, int step, int last, int node_after,
                         eff_prefix_visit_fn *visit, void *ctx)
{
    Cut next = {0};
    Run run = {.p = p, .step = step, .last = last, .node_after = node_after, .visit = visit, .ctx = ctx};
    EffStatus st = cut_create(&next, p->g, eff_model_plan(model), step, node_after);
    if (st != EFF_OK)
        return st;
    if (next.n_bytes <= p->most_bytes / p->n_pictures)
        run.next = &next;
    run.failed = eff_calloc(p->n_pictures, 1);
    if (run.failed == NULL)
        st = eff_fail_nomem(p->n_pictures, "calibration");
    for (int i = 0; i < eff_pool_size(p->pool) && st == EFF_OK; i++)
        st = eff_session_create_unfused(&p->sessions[i], model, 1);
    if (st == EFF_OK)
        eff_pool_run(p->pool, p->n_pictures, 1, run_pictures, &run);
    for (int i = 0; i < eff_pool_size(p->pool); i++) {
        eff_session_destroy(p->sessions[i]);
        p->sessions[i] = NULL;
    }
    for (size_t i = 0; i < p->n_pictures && st == EFF_OK; i++) {
        if (run.failed[i])
            st = eff_fail_nomem(next.n_bytes, "calibration pictures");
    }
    eff_free(run.failed);
    if (st == EFF_OK && run.next != NULL) {
        cut_free(&p->cut);
        p->cut = next;
    } else {
        cut_free(&next);
    }
    return st;
}
