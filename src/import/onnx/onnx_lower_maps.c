/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of maps: Pad, Slice, Split, Concat. The last three become convolutions whose weights are 0 and 1, so that every
 * executor runs them, and they quantize and export as others do. That is exact: 0 times a finite number is 0, and a sum
 * of one number and zeros is that number.
 *
 *     channels          a pointwise one: its matrix says which input each output is
 *     rows, columns     a depthwise one with a single 1 in its window, which a plan wants to be a square
 *
 * Which of its axes are rows, columns and channels a value knows itself, so that NHWC is no other case.
 */
#include "base/mem.h"
#include "base/status.h"
#include "import/onnx/onnx_lower_ops.h"

#include <stdio.h>

enum { ROWS, COLUMNS, CHANNELS, N_PARTS };

static const char *const part_names[N_PARTS] = {"rows", "columns", "channels"};

/* Which part of a map an axis of value v is; -1: none, the batch. */
static int part_of(const EffOnnxLowerer *l, int v, int axis)
{
    static const int order[] = {CHANNELS, ROWS, COLUMNS};
    const EffOnnxSpot *s = &l->spots[v];
    const EffShape shape = l->g->values[s->value].shape;
    const int extent[N_PARTS] = {shape.h, shape.w, shape.c};
    for (int i = 0; i < N_PARTS; i++) {
        if (s->axis[i] == axis)
            return i;
    }
    /* An axis of 1 that nothing claims is the missing one. */
    for (size_t i = 0; axis > 0 && i < EFF_COUNT(order); i++) {
        if (extent[order[i]] == 1 && s->axis[order[i]] < 0)
            return order[i];
    }
    return -1;
}

/* ---- The convolutions ---- */

/* Outputs at, at + 1, ... of n_out are inputs first, first + step, ...: n of them. The other outputs are 0. */
typedef struct Moved {
    int first, step, n, at, n_out;
} Moved;

static EffStatus move_channels(EffOnnxLowerer *l, const EffOnnxNode *from, const char *ending, int value,
                               const Moved *m, int *out)
{
    const EffShape in = l->g->values[value].shape;
    const size_t n_in = (size_t)in.c, n = n_in * (size_t)m->n_out;
    EffNode node = {.op = EFF_OP_CONV, .n_inputs = 1, .in = {value}};
    node.conv = (EffConv){.in_ch = in.c, .out_ch = m->n_out, .groups = 1, .kernel_h = 1, .kernel_w = 1, .stride = 1};
    if (m->n_out < 1 || m->n_out > EFF_MAX_CHANNELS || n > EFF_ONNX_MOST_WEIGHTS)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%d of %d channels; up to %d products of both are supported", m->n_out,
                        in.c, (int)EFF_ONNX_MOST_WEIGHTS);
    const EffStatus st = eff_onnx_make_weights(l, &node.conv, n, n);
    if (st != EFF_OK)
        return st;
    for (int i = 0; i < m->n; i++)
        node.conv.wgt.data[(size_t)(m->at + i) * n_in + (size_t)(m->first + i * m->step)] = 1;
    return eff_onnx_add(l, from, ending, &node, (EffShape){in.h, in.w, m->n_out}, out);
}

/* Integer depthwise steps take 3, 5 and 7: a window that one of these can hold is made so. */
static int side_of(int least, int stride)
{
    return least > 7 || stride > 2 ? least : least <= 3 ? 3 : least + (least % 2 == 0);
}

EffStatus eff_onnx_add_window(EffOnnxLowerer *l, const EffOnnxNode *from, const char *ending, int value,
                              const EffOnnxWeights *w, int *out)
{
    const EffShape in = l->g->values[value].shape;
    const int side = side_of(w->kernel_h > w->kernel_w ? w->kernel_h : w->kernel_w, w->stride);
    const int n_in[2] = {in.h, in.w};
    const size_t taps = (size_t)(side * side), n = taps * (size_t)in.c;
    int after[2];
    if (side > EFF_ONNX_MOST_WINDOW || w->stride > EFF_ONNX_MOST_WINDOW || n > EFF_ONNX_MOST_WEIGHTS)
        return eff_fail(EFF_ERR_UNSUPPORTED,
                        "a window of %dx%d, stride %d, for %d channels; up to %dx%d, and %d numbers, are supported",
                        side, side, w->stride, in.c, EFF_ONNX_MOST_WINDOW, EFF_ONNX_MOST_WINDOW,
                        (int)EFF_ONNX_MOST_WEIGHTS);
    for (int i = 0; i < 2; i++) { /* what the square reaches over */
        after[i] = (w->size[i] - 1) * w->stride + side - w->pad[i] - n_in[i];
        after[i] = after[i] > 0 ? after[i] : 0;
    }
    EffNode node = {.op = EFF_OP_CONV, .n_inputs = 1, .in = {value}};
    node.conv = (EffConv){.in_ch = in.c,
                          .out_ch = in.c,
                          .groups = in.c,
                          .kernel_h = side,
                          .kernel_w = side,
                          .stride = w->stride,
                          .pad_top = w->pad[0],
                          .pad_left = w->pad[1],
                          .pad_bottom = after[0],
                          .pad_right = after[1]};
    const EffStatus st = eff_onnx_make_weights(l, &node.conv, n, n);
    if (st != EFF_OK)
        return st;
    for (size_t c = 0; c < (size_t)in.c; c++) {
        float *of = node.conv.wgt.data + c * taps;
        for (int y = 0; w->all && y < w->kernel_h; y++) {
            for (int x = 0; x < w->kernel_w; x++)
                of[y * side + x] = w->value;
        }
        if (!w->all)
            of[w->at[0] * side + w->at[1]] = w->value;
    }
    return eff_onnx_add(l, from, ending, &node, (EffShape){w->size[0], w->size[1], in.c}, out);
}

/* ---- Slices ---- */

/* Pixels first, first + step, ... of n: `size` of them. */
typedef struct Taken {
    int n, first, step, size;
} Taken;

static EffStatus take_pixels(EffOnnxLowerer *l, const EffOnnxNode *from, const char *ending, int value,
                             const Taken taken[2], int *out)
{
    const bool rows = taken[ROWS].size > 1, columns = taken[COLUMNS].size > 1;
    EffOnnxWeights w = {.value = 1, .stride = rows ? taken[ROWS].step : columns ? taken[COLUMNS].step : 1};
    int *const kernel[2] = {&w.kernel_h, &w.kernel_w};
    if ((rows && taken[ROWS].step < 1) || (columns && taken[COLUMNS].step < 1))
        return eff_fail(EFF_ERR_UNSUPPORTED, "rows or columns from last to first; turn the weights around instead");
    if (rows && columns && taken[ROWS].step != taken[COLUMNS].step)
        return eff_fail(EFF_ERR_UNSUPPORTED, "steps of %d rows and %d columns; equal ones are supported",
                        taken[ROWS].step, taken[COLUMNS].step);
    for (int i = 0; i < 2; i++) {
        const Taken *t = &taken[i];
        const int past = t->n - (t->size - 1) * w.stride - (w.stride - 1); /* so that no other window fits */
        w.at[i] = t->first;
        w.size[i] = t->size;
        *kernel[i] = t->first + 1 > past ? t->first + 1 : past;
        if (*kernel[i] > EFF_ONNX_MOST_WINDOW)
            return eff_fail(EFF_ERR_UNSUPPORTED,
                            "%d of %d %s, from %d on; up to %d may be left out, so cut the picture instead", t->size,
                            t->n, part_names[i], t->first, EFF_ONNX_MOST_WINDOW - 1);
    }
    return eff_onnx_add_window(l, from, ending, value, &w, out);
}

/* Whether a Slice has no nodes of its own, since another Slice alone reads it: torch.onnx writes one an axis. */
static bool is_part_of_next(const EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int y = eff_onnx_is(node, "Slice") ? eff_onnx_out(l->m, node, 0) : -1;
    for (int i = 0; y >= 0 && l->m->values[y].n_consumers == 1 && i < l->m->n_nodes; i++) {
        if (eff_onnx_in(l->m, &l->m->nodes[i], 0) == y)
            return eff_onnx_is(&l->m->nodes[i], "Slice");
    }
    return false;
}

/* What a Slice takes of `v`, which is the input of the first of a row of them. */
static EffStatus read_slices(EffOnnxLowerer *l, const EffOnnxNode *node, EffOnnxSlice *out, int *v)
{
    EffOnnxCall call;
    EffOnnxSlice before;
    EffStatus st = eff_onnx_call_of(l, node, &call);
    if (st == EFF_OK)
        st = eff_onnx_slice(&call, out);
    for (*v = eff_onnx_in(l->m, node, 0); st == EFF_OK && l->m->values[*v].producer >= 0;) {
        const EffOnnxNode *first = &l->m->nodes[l->m->values[*v].producer];
        if (!is_part_of_next(l, first))
            break;
        st = eff_onnx_call_of(l, first, &call);
        if (st == EFF_OK)
            st = eff_onnx_slice(&call, &before);
        for (int i = 0; st == EFF_OK && i < l->m->values[*v].t.rank; i++) {
            out->begin[i] = before.begin[i] + (before.dims[i] > 1 ? out->begin[i] * before.step[i] : 0);
            out->step[i] = out->dims[i] > 1 ? out->step[i] * before.step[i] : 1; /* steps inside axes: no overflow */
        }
        *v = eff_onnx_in(l->m, first, 0);
    }
    return st;
}

/* What a slice takes of value v, as output `which`; its nodes have `ending` behind their name. */
static EffStatus take(EffOnnxLowerer *l, const EffOnnxNode *node, int v, int which, const char *ending,
                      const EffOnnxSlice *s)
{
    const EffOnnxTensor *x = &l->m->values[v].t;
    EffOnnxSpot spot = l->spots[v];
    const EffShape shape = l->g->values[spot.value].shape;
    Taken taken[N_PARTS] = {{shape.h, 0, 1, shape.h}, {shape.w, 0, 1, shape.w}, {shape.c, 0, 1, shape.c}};
    bool cuts[N_PARTS] = {false};
    EffStatus st = EFF_OK;
    for (int i = 0; i < x->rank; i++) {
        if (s->dims[i] == 0)
            return eff_fail(EFF_ERR_UNSUPPORTED, "nothing is left of axis %d", i);
        if (s->dims[i] == x->dims[i] && s->begin[i] == 0) /* from last to first it begins at the last */
            continue;
        const int part = part_of(l, v, i);
        if (part < 0)
            return eff_fail(EFF_ERR_UNSUPPORTED, "a part of axis %d, which has neither rows, columns nor channels", i);
        const int64_t step = s->dims[i] == 1 ? 1 : s->step[i]; /* inside the axis, so that it fits */
        taken[part] = (Taken){taken[part].n, (int)s->begin[i], (int)step, (int)s->dims[i]};
        cuts[part] = true;
    }
    if (cuts[CHANNELS]) {
        const Taken *t = &taken[CHANNELS];
        const Moved moved = {.first = t->first, .step = t->step, .n = t->size, .n_out = t->size};
        char channels[80];
        snprintf(channels, sizeof channels, "%s_channels", ending);
        st = move_channels(l, node, cuts[ROWS] || cuts[COLUMNS] ? channels : ending, spot.value, &moved, &spot.value);
    }
    if (st == EFF_OK && (cuts[ROWS] || cuts[COLUMNS]))
        st = take_pixels(l, node, ending, spot.value, taken, &spot.value);
    if (st == EFF_OK)
        l->spots[eff_onnx_out(l->m, node, which)] = spot;
    return st;
}

EffStatus eff_onnx_lower_slice(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    EffOnnxSlice s;
    int v;
    if (is_part_of_next(l, node)) {
        l->spots[eff_onnx_out(l->m, node, 0)] = l->spots[eff_onnx_in(l->m, node, 0)];
        return EFF_OK;
    }
    const EffStatus st = read_slices(l, node, &s, &v);
    return st == EFF_OK ? take(l, node, v, 0, "", &s) : st;
}

EffStatus eff_onnx_lower_split(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    EffOnnxCall call;
    EffOnnxSlice s;
    EffStatus st = eff_onnx_call_of(l, node, &call);
    for (int i = 0; i < node->n_outputs && st == EFF_OK; i++) {
        char ending[40];
        const int y = eff_onnx_out(l->m, node, i);
        if (y < 0 || (l->m->values[y].n_consumers == 0 && y != l->m->output))
            continue;
        call.which = i;
        snprintf(ending, sizeof ending, "_%d", i);
        if ((st = eff_onnx_split(&call, &s)) == EFF_OK)
            st = take(l, node, eff_onnx_in(l->m, node, 0), i, ending, &s);
    }
    return st;
}

/* ---- Concat ---- */

/* Value `value` of `shape` inside the whole, `at` rows, columns or channels from its start; the rest is 0. */
static EffStatus place(EffOnnxLowerer *l, const EffOnnxNode *node, const char *ending, int value, int part, int at,
                       EffShape whole, int *out)
{
    const EffShape shape = l->g->values[value].shape;
    if (part == CHANNELS)
        return move_channels(l, node, ending, value, &(Moved){.step = 1, .n = shape.c, .at = at, .n_out = whole.c},
                             out);
    const int n = part == ROWS ? shape.h : shape.w, rest = (part == ROWS ? whole.h : whole.w) - n;
    /* As many rows of padding on both sides, and so one more of the window: the 1 stands where `at` are left above. */
    EffOnnxWeights w = {.kernel_h = 1, .kernel_w = 1, .value = 1, .stride = 1, .size = {whole.h, whole.w}};
    w.at[part] = rest - at;
    w.pad[part] = rest;
    *(part == ROWS ? &w.kernel_h : &w.kernel_w) = rest + 1;
    if (rest >= EFF_ONNX_MOST_WINDOW)
        return eff_fail(EFF_ERR_UNSUPPORTED, "%d %s beside %d others; up to %d others are supported, so join channels",
                        n, part_names[part], rest, EFF_ONNX_MOST_WINDOW - 1);
    return eff_onnx_add_window(l, node, ending, value, &w, out);
}

/* Where rows, columns and channels of the joined map are: as in its parts, which have to agree. */
static EffStatus join_axes(const EffOnnxLowerer *l, const EffOnnxNode *node, int part, int axis, EffShape *whole,
                           int joined[N_PARTS])
{
    EffShape first = {0, 0, 0};
    int sum = 0;
    joined[ROWS] = joined[COLUMNS] = joined[CHANNELS] = -1;
    joined[part] = axis;
    for (int i = 0; i < node->n_inputs; i++) {
        const int v = eff_onnx_in(l->m, node, i);
        if (v < 0 || l->m->values[v].t.n == 0)
            continue;
        if (l->spots[v].value < 0)
            return eff_fail(EFF_ERR_UNSUPPORTED, "input %d is a constant; maps alone are joined", i);
        const EffShape s = l->g->values[l->spots[v].value].shape;
        const int extent[N_PARTS] = {s.h, s.w, s.c};
        bool fits = part_of(l, v, axis) == part;
        for (int k = 0; k < N_PARTS; k++) {
            const int own = l->spots[v].axis[k];
            if (k == part || extent[k] == 1)
                continue;
            fits = fits && own >= 0 && (joined[k] < 0 || joined[k] == own);
            joined[k] = own;
        }
        sum += extent[part];
        first = first.c == 0 ? s : first;
        fits = fits && (part == ROWS || s.h == first.h) && (part == COLUMNS || s.w == first.w) &&
               (part == CHANNELS || s.c == first.c);
        if (!fits)
            return eff_fail(EFF_ERR_UNSUPPORTED, "input %d has its rows, columns and channels elsewhere", i);
    }
    *whole = first;
    *(part == ROWS ? &whole->h : part == COLUMNS ? &whole->w : &whole->c) = sum;
    return EFF_OK;
}

EffStatus eff_onnx_lower_concat(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int y = eff_onnx_out(l->m, node, 0);
    int v = -1, last = -1, axis, part, joined[N_PARTS], at = 0, sum = -1;
    EffShape whole;
    for (int i = 0; i < node->n_inputs; i++) {
        const int in = eff_onnx_in(l->m, node, i);
        v = v < 0 && eff_onnx_source(l, node, i) >= 0 ? in : v;
        last = in >= 0 && l->m->values[in].t.n > 0 ? i : last;
    }
    if (v < 0 || !eff_onnx_axis(eff_onnx_int(node, "axis", 1), l->m->values[v].t.rank, &axis))
        return eff_onnx_misfit("an axis outside the tensor");
    if ((part = part_of(l, v, axis)) < 0)
        return eff_fail(EFF_ERR_UNSUPPORTED, "along axis %d, which has neither rows, columns nor channels", axis);
    EffStatus st = join_axes(l, node, part, axis, &whole, joined);
    for (int i = 0; i < node->n_inputs && st == EFF_OK; i++) {
        char ending[40];
        const int value = eff_onnx_source(l, node, i);
        int placed;
        if (value < 0)
            continue;
        const EffShape s = l->g->values[value].shape;
        snprintf(ending, sizeof ending, "_part%d", i);
        st = place(l, node, ending, value, part, at, whole, &placed);
        at += part == ROWS ? s.h : part == COLUMNS ? s.w : s.c;
        if (st != EFF_OK || sum < 0) {
            sum = placed;
            continue;
        }
        EffNode add = {.op = EFF_OP_ADD, .n_inputs = 2, .in = {sum, placed}};
        snprintf(ending, sizeof ending, "_sum%d", i);
        st = eff_onnx_add(l, node, i == last ? "" : ending, &add, whole, &sum);
    }
    if (st == EFF_OK)
        l->spots[y] = (EffOnnxSpot){sum, {joined[ROWS], joined[COLUMNS], joined[CHANNELS]}};
    return st;
}

/* ---- Pad ---- */

/* Zeros around a map; a pass makes them the padding of the convolutions that read it. */
EffStatus eff_onnx_lower_pad(EffOnnxLowerer *l, const EffOnnxNode *node)
{
    const int v = eff_onnx_in(l->m, node, 0);
    const EffOnnxSpot s = l->spots[v];
    const EffOnnxTensor *y = &l->m->values[eff_onnx_out(l->m, node, 0)].t, *list = eff_onnx_operand(l, node, 1);
    const EffOnnxTensor *fill = eff_onnx_operand(l, node, 2), *axes = eff_onnx_operand(l, node, 3),
                        *x = &l->m->values[v].t;
    const EffShape shape = l->g->values[s.value].shape;
    int64_t pads[2 * EFF_MAX_RANK], before[EFF_MAX_RANK] = {0}, after[EFF_MAX_RANK] = {0};
    int n = eff_onnx_ints(node, "pads", pads, 2 * EFF_MAX_RANK);
    if ((list != NULL && list->data == NULL) || (fill != NULL && fill->data == NULL) ||
        (axes != NULL && (axes->data == NULL || list == NULL || 2 * axes->n != list->n)))
        return eff_fail(EFF_ERR_UNSUPPORTED, "pads, a fill value or axes that depend on the picture, or do not fit");
    if (list != NULL && list->n <= 2 * EFF_MAX_RANK) {
        n = (int)list->n;
        for (int i = 0; i < n; i++)
            pads[i] = eff_onnx_get_int(list, (size_t)i);
    }
    for (int i = 0; i < n / 2; i++) {
        int axis = i;
        if (axes != NULL && !eff_onnx_axis(eff_onnx_get_int(axes, (size_t)i), x->rank, &axis))
            return eff_onnx_misfit("an axis outside the tensor");
        before[axis] = pads[i];
        after[axis] = pads[i + n / 2];
    }
    const EffWire mode = eff_onnx_string(node, "mode");
    const double value = fill != NULL && fill->n > 0 ? eff_onnx_get(fill, 0) : eff_onnx_float(node, "value", 0);
    bool fits = (mode.at == NULL || eff_wire_is(mode, "constant")) && value == 0 && y->n > 0;
    for (int i = 0; i < x->rank; i++) {
        const bool spatial = i == s.axis[0] || i == s.axis[1];
        fits = fits && before[i] >= 0 && after[i] >= 0 && before[i] <= 64 && after[i] <= 64 &&
               (spatial || (before[i] == 0 && after[i] == 0));
    }
    if (!fits)
        return eff_fail(EFF_ERR_UNSUPPORTED, "other pads than up to 64 zeros around a map");
    if (y->n == x->n) {
        l->spots[eff_onnx_out(l->m, node, 0)] = s;
        return EFF_OK;
    }
    const int r = s.axis[0], c = s.axis[1];
    EffNode n_pad = {.op = EFF_OP_PAD, .n_inputs = 1, .in = {s.value}};
    n_pad.conv = (EffConv){.pad_top = r >= 0 ? (int)before[r] : 0,
                           .pad_bottom = r >= 0 ? (int)after[r] : 0,
                           .pad_left = c >= 0 ? (int)before[c] : 0,
                           .pad_right = c >= 0 ? (int)after[c] : 0};
    const EffConv *p = &n_pad.conv;
    return eff_onnx_append(
        l, node, &n_pad,
        (EffShape){shape.h + p->pad_top + p->pad_bottom, shape.w + p->pad_left + p->pad_right, shape.c}, s.axis);
}
