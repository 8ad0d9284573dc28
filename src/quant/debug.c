/* SPDX-License-Identifier: Apache-2.0 */
/* Every tensor of a compiled model beside float: the sums of report.c as what a user reads. */
#include "base/mem.h"
#include "base/status.h"
#include "quant/report.h"
#include "runtime/session.h"

#include <math.h>

struct EffDebug {
    EffDebugNode *nodes;
    EffDebugError *channels;
    size_t n;
};

static EffDebugError error_of(const EffErrorSums *s, float used_min, float used_max)
{
    return (EffDebugError){.sqnr_db = eff_error_sqnr_db(s),
                           .cosine = eff_error_cosine(s),
                           .cut_off = s->n > 0 ? s->cut_off / s->n : 0,
                           .max_error = s->max_error,
                           .used_min = used_min,
                           .used_max = used_max,
                           .seen_min = s->min,
                           .seen_max = s->max};
}

/* SQNR of a tensor that a step reads: a copy in another layout has no name, and is followed back. NaN of the picture.
 */
static double sqnr_of_input(const EffPlan *plan, const EffTensorErrors *e, int tensor)
{
    for (int i = plan->n_steps - 1; i >= 0 && tensor > 0 && e->tensors[tensor].node < 0; i--) {
        if (plan->steps[i].out[0] == tensor || plan->steps[i].out[1] == tensor)
            tensor = plan->steps[i].in[0];
    }
    if (tensor <= 0 || e->tensors[tensor].node < 0)
        return NAN;
    const EffErrorSums sums = eff_error_total(&e->tensors[tensor]);
    return eff_error_sqnr_db(&sums);
}

static double lowest_input(const EffPlan *plan, const EffTensorErrors *e, int tensor)
{
    double lowest = NAN;
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *step = &plan->steps[i];
        if (step->out[0] != tensor && step->out[1] != tensor)
            continue;
        for (int k = 0; k < 2; k++)
            lowest = fmin(lowest, sqnr_of_input(plan, e, step->in[k])); /* fmin() passes over NaN */
    }
    return lowest;
}

static const char *op_of(const EffPlan *plan, int tensor)
{
    int i = 0;
    while (i < plan->n_steps && plan->steps[i].out[0] != tensor && plan->steps[i].out[1] != tensor)
        i++;
    return i < plan->n_steps ? eff_step_op_name(plan->steps[i].op) : "";
}

static EffStatus make_nodes(EffDebug *d, const EffPlan *plan, const EffTensorErrors *e)
{
    static const char *const types[] = {[EFF_TENSOR_U8] = "u8", [EFF_TENSOR_S16] = "s16", [EFF_TENSOR_F32] = "f32"};
    d->nodes = eff_calloc((size_t)e->n_tensors, sizeof *d->nodes);
    d->channels = eff_calloc(e->n_sums, sizeof *d->channels);
    if (d->nodes == NULL || d->channels == NULL)
        return eff_fail_nomem(e->n_sums * sizeof *d->channels, "the comparison");
    EffDebugError *at = d->channels;
    for (int t = 0; t < e->n_tensors; t++) {
        const EffTensorError *tensor = &e->tensors[t];
        if (tensor->node < 0)
            continue;
        float least = INFINITY, most = -INFINITY;
        EffDebugNode *node = &d->nodes[d->n++];
        *node = (EffDebugNode){.name = plan->tensors[t].name,
                               .type = types[plan->tensors[t].type],
                               .op = op_of(plan, t),
                               .n_channels = tensor->c,
                               .per_channel = plan->tensors[t].n_scales > 1,
                               .input_sqnr_db = lowest_input(plan, e, t),
                               .channels = at};
        for (int c = 0; c < tensor->c; c++, at++) {
            float min, max;
            eff_tensor_range(plan, t, c, &min, &max);
            *at = error_of(&tensor->channels[c], min, max);
            least = fminf(least, min);
            most = fmaxf(most, max);
        }
        const EffErrorSums sums = eff_error_total(tensor);
        node->all = error_of(&sums, least, most);
    }
    return d->n > 0 ? EFF_OK
                    : eff_fail(EFF_ERR_ARG, "no node of %s is in the float network; is it another architecture?",
                               plan->name);
}

EffStatus eff_debug_run(EffDebug **out, const EffModel *m, const EffGraph *g, const EffPictures *pictures,
                        const EffQuantizeOptions *options)
{
    static const EffQuantizeOptions defaults = {0};
    const EffPlan *plan = eff_model_plan(m);
    if (pictures->n == 0)
        return eff_fail(EFF_ERR_ARG, "no pictures to compare on; name a folder that holds some");
    if (plan->pre.size != g->pre.size)
        return eff_fail(EFF_ERR_ARG,
                        "%s takes %d x %d pixels, but the float network %d x %d; give both the same --size", plan->name,
                        plan->pre.size, plan->pre.size, g->pre.size, g->pre.size);
    EffReference *reference = NULL;
    EffTensorErrors errors = {0};
    EffDebug *d = eff_calloc(1, sizeof *d);
    EffStatus st = d != NULL ? eff_reference_create(&reference, g, NULL) : eff_fail_nomem(sizeof *d, "the comparison");
    if (st == EFF_OK)
        st = eff_compare_tensors(&errors, plan, m, g, reference, pictures, options != NULL ? options : &defaults);
    if (st == EFF_OK)
        st = make_nodes(d, plan, &errors);
    eff_tensor_errors_free(&errors);
    eff_reference_free(reference);
    if (st != EFF_OK) {
        eff_debug_free(d);
        return st;
    }
    *out = d;
    return EFF_OK;
}

const EffDebugNode *eff_debug_node(const EffDebug *d, size_t i)
{
    return i < d->n ? &d->nodes[i] : NULL;
}

void eff_debug_free(EffDebug *d)
{
    if (d == NULL)
        return;
    eff_free(d->nodes);
    eff_free(d->channels);
    eff_free(d);
}
