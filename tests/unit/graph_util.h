/* SPDX-License-Identifier: Apache-2.0 */
/* Making small graphs by hand, and running them. */
#ifndef EFFNET_TESTS_GRAPH_UTIL_H
#define EFFNET_TESTS_GRAPH_UTIL_H

#include "effnet/compile.h"
#include "graph/ir.h"

#include <stdint.h>

static inline void ok(EffStatus st)
{
    if (st != EFF_OK)
        fail_msg("%s: %s", eff_status_name(st), eff_last_message());
}

/* A node that reads value a, and b unless it is negative; its output. */
static inline int add(EffGraph *g, EffNode node, const char *name, int a, int b)
{
    int out;
    node.name = (char *)(uintptr_t)name;
    node.n_inputs = b >= 0 ? 2 : 1;
    node.in[0] = a;
    node.in[1] = b >= 0 ? b : 0;
    ok(eff_graph_add_node(g, &node, &out));
    return out;
}

/* The float reference on one input, in plain C. */
static inline void run(const EffGraph *g, const float *src, float *dst)
{
    EffReference *r = NULL;
    EffReferenceSession *s = NULL;
    ok(eff_reference_create(&r, g, "c"));
    ok(eff_reference_session_create(&s, r, 2));
    eff_reference_run(s, src, dst);
    eff_reference_session_free(s);
    eff_reference_free(r);
}

#endif
