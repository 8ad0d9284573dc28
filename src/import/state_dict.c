/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the dict of tensors, checks names and views, and copies each view into contiguous float32. Works storage by
 * storage, so that one that must be read or inflated is held once and alone.
 */
#include "import/state_dict.h"
#include "base/mem.h"
#include "base/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One entry of the dict, and where its elements are. */
typedef struct View {
    const uint8_t *name;
    size_t name_bytes, index;
    const EffPickleValue *tensor;
    float *dst;
    const EffStorage *storage;
    size_t begin; /* first element in the storage */
    size_t strides[EFF_MAX_RANK];
    size_t next; /* the next view of the same storage, plus one */
} View;

typedef struct Builder {
    const EffStateDictSource *source;
    EffWeights *w;
    View *views;
    size_t *heads; /* per storage: its first view, plus one */
} Builder;

static void show_view(char out[EFF_SHOWN_BYTES], const View *v)
{
    eff_show(out, v->name, v->name_bytes);
}

static EffStatus bad_view(const View *v, const char *what)
{
    char shown[EFF_SHOWN_BYTES];
    show_view(shown, v);
    return eff_fail(EFF_ERR_FORMAT, "tensor '%s' %s; the file is damaged, fetch it again", shown, what);
}

/* ---- The dict ------------------------------------------------------------------------------------------------- */

/* Training scripts wrap: averaged weights first, since these are the ones that get published. */
static const EffPickleValue *unwrap(const EffPickleValue *root)
{
    static const char *const wrappers[] = {"state_dict_ema", "state_dict", "model"};
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        const EffPickleValue *inner = eff_pickle_dict_get(root, wrappers[i]);
        if (inner != NULL && inner->kind == EFF_PICKLE_DICT)
            return inner;
    }
    return root;
}

static EffStatus no_tensors(const EffPickleValue *dict)
{
    if (dict->u.list->n == 0)
        return eff_fail(EFF_ERR_FORMAT, "holds an empty dict, not weights; save it again with "
                                        "torch.save(model.state_dict(), path)");
    const EffPickleValue *key = &dict->u.list->first->value;
    char shown[EFF_SHOWN_BYTES] = "";
    if (key->kind == EFF_PICKLE_STRING)
        eff_show(shown, key->u.bytes, key->n);
    return eff_fail(EFF_ERR_FORMAT,
                    "holds a dict without tensors (%zu entries, the first is '%s'), not weights; save it again with "
                    "torch.save(model.state_dict(), path)",
                    dict->u.list->n / 2, shown);
}

static EffStatus check_name(const View *v)
{
    char shown[EFF_SHOWN_BYTES];
    show_view(shown, v);
    if (v->name_bytes > EFF_STATE_DICT_MAX_NAME)
        return eff_fail(EFF_ERR_LIMIT, "the tensor name '%s' has %zu bytes, more than %d; rename the module", shown,
                        v->name_bytes, EFF_STATE_DICT_MAX_NAME);
    /* Names go to terminals, logs, JSON and YAML. */
    for (size_t i = 0; i < v->name_bytes; i++)
        if (v->name[i] < 0x20 || v->name[i] >= 0x7f)
            return eff_fail(EFF_ERR_UNSUPPORTED, "the tensor name '%s' is not printable ASCII; rename the module",
                            shown);
    return EFF_OK;
}

static EffStatus collect_views(Builder *b, const EffPickleValue *dict)
{
    size_t n = 0;
    for (const EffPickleCell *key = dict->u.list->first; key != NULL; key = key->next->next)
        n += key->next->value.kind == EFF_PICKLE_TENSOR;
    if (n == 0)
        return no_tensors(dict);
    b->views = eff_calloc(n, sizeof *b->views);
    if (b->views == NULL)
        return eff_fail_nomem(n * sizeof *b->views, "the list of tensors");
    for (const EffPickleCell *key = dict->u.list->first; key != NULL; key = key->next->next) {
        if (key->next->value.kind != EFF_PICKLE_TENSOR)
            continue;
        if (key->value.kind != EFF_PICKLE_STRING)
            return eff_fail(EFF_ERR_FORMAT,
                            "holds a tensor under a key that is %s, where a state dict has a name; save "
                            "it again with torch.save(model.state_dict(), path)",
                            eff_pickle_kind_name(key->value.kind));
        static const char parallel[] = "module."; /* left by torch.nn.DataParallel */
        const size_t skip =
            key->value.n >= sizeof parallel - 1 && memcmp(key->value.u.bytes, parallel, sizeof parallel - 1) == 0
                ? sizeof parallel - 1
                : 0;
        View *v = &b->views[b->w->n];
        *v = (View){.name = key->value.u.bytes + skip,
                    .name_bytes = key->value.n - skip,
                    .index = b->w->n,
                    .tensor = &key->next->value};
        const EffStatus st = check_name(v);
        if (st != EFF_OK)
            return st;
        b->w->n++;
    }
    return EFF_OK;
}

static int compare_names(const void *a, const void *b)
{
    const View *x = a, *y = b;
    const size_t n = x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
    const int order = memcmp(x->name, y->name, n);
    return order != 0 ? order : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

static int compare_indices(const void *a, const void *b)
{
    const View *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Fill by_name and names. A name can stand for a megabyte and be used a million times: refuse that before copying. */
static EffStatus index_names(Builder *b)
{
    EffWeights *w = b->w;
    w->by_name = eff_calloc(w->n, sizeof *w->by_name);
    w->tensors = eff_calloc(w->n, sizeof *w->tensors);
    if (w->by_name == NULL || w->tensors == NULL)
        return eff_fail_nomem(w->n * sizeof *w->tensors, "the index of tensors");
    if (w->n > 1)
        qsort(b->views, w->n, sizeof *b->views, compare_names);
    size_t n_bytes = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (i > 0 && compare_names(&b->views[i - 1], &b->views[i]) == 0)
            return bad_view(&b->views[i], "comes twice");
        w->by_name[i] = (uint32_t)b->views[i].index;
        n_bytes += b->views[i].name_bytes + 1;
    }
    if (w->n > 1)
        qsort(b->views, w->n, sizeof *b->views, compare_indices);
    char *name = w->names = eff_malloc(n_bytes);
    if (name == NULL)
        return eff_fail_nomem(n_bytes, "the names of tensors");
    for (size_t i = 0; i < w->n; i++) {
        memcpy(name, b->views[i].name, b->views[i].name_bytes);
        name[b->views[i].name_bytes] = '\0';
        w->tensors[i].name = name;
        name += b->views[i].name_bytes + 1;
    }
    return EFF_OK;
}

/* ---- Views ---------------------------------------------------------------------------------------------------- */

/* A count in a tuple that came from a hostile file. */
static bool get_count(size_t *out, const EffPickleValue *v)
{
    if (v->kind != EFF_PICKLE_INT || v->u.integer < 0)
        return false;
    *out = (size_t)v->u.integer;
    return true;
}

/* The part of the storage that the tensor may use: all of it, or the view (key, offset, size) of torch before 0.4. */
static bool get_window(const EffPickleValue *id, size_t n_elements, size_t *begin, size_t *end)
{
    *begin = 0;
    *end = n_elements;
    if (id->n < 6 || id->u.items[5].kind == EFF_PICKLE_NONE)
        return true;
    const EffPickleValue *window = &id->u.items[5];
    size_t size;
    if (window->kind != EFF_PICKLE_TUPLE || window->n != 3 || !get_count(begin, &window->u.items[1]) ||
        !get_count(&size, &window->u.items[2]) || *begin > n_elements || size > n_elements - *begin)
        return false;
    *end = *begin + size;
    return true;
}

static EffStatus read_view(View *v, EffTensor *t, const EffStorages *storages)
{
    const EffPickleValue *args = v->tensor->u.items, *id = &args[0], *dims = &args[2], *strides = &args[3];
    const EffPickleValue *key = &id->u.items[2];
    v->storage = eff_storages_find(storages, key->u.bytes, key->n);
    assert(v->storage != NULL); /* collected from the same pickle */
    size_t begin, end, offset;
    if (!get_window(id, v->storage->n_elements, &begin, &end) || !get_count(&offset, &args[1]))
        return bad_view(v, "has no valid offset");
    if (dims->kind != EFF_PICKLE_TUPLE || strides->kind != EFF_PICKLE_TUPLE || dims->n != strides->n)
        return bad_view(v, "has no valid shape");
    if (dims->n > EFF_MAX_RANK) {
        char shown[EFF_SHOWN_BYTES];
        show_view(shown, v);
        return eff_fail(EFF_ERR_LIMIT, "tensor '%s' has %u dimensions, more than %d; not a network of ours", shown,
                        (unsigned)dims->n, EFF_MAX_RANK);
    }
    t->rank = (int)dims->n;
    bool empty = false;
    for (uint32_t i = 0; i < dims->n; i++) {
        size_t dim;
        if (!get_count(&dim, &dims->u.items[i]) || !get_count(&v->strides[i], &strides->u.items[i]))
            return bad_view(v, "has a negative size or stride");
        t->dims[i] = (int64_t)dim;
        empty = empty || dim == 0;
    }
    if (empty)
        return EFF_OK;
    size_t last = offset, count = 1; /* index of the last element, from `begin` */
    for (int i = 0; i < t->rank; i++) {
        const size_t dim = (size_t)t->dims[i];
        size_t span;
        if (!eff_mul_size(&count, count, dim) || !eff_mul_size(&span, dim - 1, v->strides[i]) ||
            !eff_add_size(&last, last, span))
            return bad_view(v, "is larger than any memory");
    }
    if (last >= end - begin)
        return bad_view(v, "leaves its storage");
    t->n_elements = count;
    v->begin = begin + offset;
    return EFF_OK;
}

/* Read every view, and give each tensor its place in one block. */
static EffStatus lay_out(Builder *b)
{
    EffWeights *w = b->w;
    const EffStateDictSource *source = b->source;
    size_t n_elements = 0, n_bytes = 0;
    for (size_t i = 0; i < w->n; i++) {
        const EffStatus st = read_view(&b->views[i], &w->tensors[i], source->storages);
        if (st != EFF_OK)
            return st;
        const size_t n = w->tensors[i].n_elements;
        if (!eff_add_size(&n_elements, n_elements, n) ||
            n_elements / EFF_STATE_DICT_MAX_ELEMENTS_PER_BYTE > source->file_bytes)
            return eff_fail(EFF_ERR_LIMIT,
                            "its tensors have more than %d elements for each byte of the file, which repeats or packs "
                            "them; save plain copies: {k: v.clone() for k, v in model.state_dict().items()}",
                            EFF_STATE_DICT_MAX_ELEMENTS_PER_BYTE);
        n_bytes += eff_align_up(n * sizeof(float)); /* small: n is below 4 * 4 GiB */
    }
    w->data = eff_malloc(n_bytes);
    if (w->data == NULL)
        return eff_fail_nomem(n_bytes, "the weights");
    size_t at = 0;
    for (size_t i = 0; i < w->n; i++) {
        w->tensors[i].data = b->views[i].dst = (float *)(void *)(w->data + at);
        at += eff_align_up(w->tensors[i].n_elements * sizeof(float));
    }
    return EFF_OK;
}

/* ---- Elements ------------------------------------------------------------------------------------------------- */

static bool is_contiguous(const EffTensor *t, const View *v)
{
    size_t expected = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dims[i] != 1 && v->strides[i] != expected)
            return false;
        expected *= (size_t)t->dims[i];
    }
    return true;
}

static void copy_view(const EffTensor *t, const View *v, const uint8_t *bytes)
{
    const EffDtype dtype = v->storage->dtype;
    const size_t element_bytes = eff_dtype_bytes(dtype);
    if (is_contiguous(t, v)) {
        eff_dtype_to_float(v->dst, bytes + v->begin * element_bytes, dtype, t->n_elements, 1);
        return;
    }
    const int inner = t->rank - 1; /* a scalar is contiguous, so there is one */
    const size_t run = (size_t)t->dims[inner];
    int64_t index[EFF_MAX_RANK] = {0};
    size_t at = v->begin;
    for (size_t done = 0; done < t->n_elements; done += run) {
        eff_dtype_to_float(v->dst + done, bytes + at * element_bytes, dtype, run, v->strides[inner]);
        for (int i = inner - 1; i >= 0; i--) {
            at += v->strides[i];
            if (++index[i] < t->dims[i])
                break;
            at -= v->strides[i] * (size_t)t->dims[i];
            index[i] = 0;
        }
    }
}

static EffStatus check_finite(const EffTensor *t)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t bad = 0;
    for (size_t i = 0; i < t->n_elements; i++) { /* without a branch, so that it becomes vector code */
        uint32_t bits;
        memcpy(&bits, &t->data[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad ? eff_fail(
                     EFF_ERR_FORMAT,
                     "tensor '%s' holds a value that is not finite in float32 (NaN or infinity); the training that "
                     "wrote it diverged, or the file is damaged",
                     t->name)
               : EFF_OK;
}

static EffStatus copy_all(Builder *b)
{
    const EffStorages *storages = b->source->storages;
    b->heads = eff_calloc(storages->n, sizeof *b->heads);
    if (b->heads == NULL)
        return eff_fail_nomem(storages->n * sizeof *b->heads, "the order of storages");
    for (size_t i = b->w->n; i-- > 0;) {
        if (b->w->tensors[i].n_elements == 0)
            continue;
        size_t *head = &b->heads[b->views[i].storage - storages->items];
        b->views[i].next = *head;
        *head = i + 1;
    }
    for (size_t s = 0; s < storages->n; s++) {
        if (b->heads[s] == 0)
            continue;
        const uint8_t *bytes;
        EffStatus st = b->source->load(b->source->ctx, &storages->items[s], &bytes);
        if (st != EFF_OK)
            return st;
        for (size_t i = b->heads[s]; i > 0; i = b->views[i - 1].next) {
            const EffTensor *t = &b->w->tensors[i - 1];
            copy_view(t, &b->views[i - 1], bytes);
            if ((st = check_finite(t)) != EFF_OK)
                return st;
        }
    }
    return EFF_OK;
}

EffStatus eff_state_dict_read(EffWeights **out, const EffStateDictSource *source)
{
    if (source->root->kind != EFF_PICKLE_DICT)
        return eff_fail(EFF_ERR_FORMAT,
                        "holds %s, not a dict of weights; save it again with "
                        "torch.save(model.state_dict(), path)",
                        eff_pickle_kind_name(source->root->kind));
    Builder b = {.source = source, .w = eff_calloc(1, sizeof *b.w)};
    EffStatus st = b.w != NULL ? EFF_OK : eff_fail_nomem(sizeof *b.w, "the weights");
    if (st == EFF_OK)
        st = collect_views(&b, unwrap(source->root));
    if (st == EFF_OK)
        st = index_names(&b);
    if (st == EFF_OK)
        st = lay_out(&b);
    if (st == EFF_OK)
        st = copy_all(&b);
    eff_free(b.views);
    eff_free(b.heads);
    if (st != EFF_OK) {
        eff_weights_free(b.w);
        return st;
    }
    *out = b.w;
    return EFF_OK;
}
