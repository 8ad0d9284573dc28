/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a .bin to a proven plan. Nothing is believed before its checksum, nothing allocated before its size is
 * known to lie in the file, and only the one encoding that bin_write.c produces is read.
 */
#include "format/bin.h"
#include "format/crc32c.h"
#include "format/little_endian.h"
#include "base/sha256.h"
#include "base/mem.h"
#include "base/status.h"

#include <string.h>

typedef struct Section {
    const uint8_t *data; /* NULL where it is absent */
    size_t n_bytes;
} Section;

typedef struct Reader {
    const uint8_t *data;
    size_t size, header_bytes;
    Section sections[EFF_BIN_SECTIONS_END];
} Reader;

static size_t n_blocks(size_t n_bytes)
{
    return (n_bytes + EFF_BIN_BLOCK - 1) / EFF_BIN_BLOCK;
}

/* ---- Header and table ---- */

static EffStatus read_header(Reader *r)
{
    const uint8_t *p = r->data;
    if (r->size < EFF_BIN_MAGIC_BYTES || memcmp(p, eff_bin_magic, EFF_BIN_MAGIC_BYTES) != 0)
        return eff_fail(EFF_ERR_FORMAT, "header: not a compiled model; `effnet compile` makes one");
    if (r->size < EFF_BIN_FIXED_BYTES)
        return eff_fail(EFF_ERR_FORMAT, "header: cut off after %zu bytes; copy the file again", r->size);
    const uint32_t version = eff_get32(p + EFF_BIN_AT_VERSION);
    if (version > EFF_BIN_VERSION)
        return eff_fail(EFF_ERR_VERSION,
                        "header: written in version %u of the format, and this library reads %d; "
                        "update effnet",
                        (unsigned)version, EFF_BIN_VERSION);
    const uint64_t file_bytes = eff_get64(p + EFF_BIN_AT_FILE_BYTES);
    if (file_bytes != r->size)
        return eff_fail(EFF_ERR_FORMAT, "header: the file has %zu bytes and should have %llu; copy it again", r->size,
                        (unsigned long long)file_bytes);
    r->header_bytes = eff_get32(p + EFF_BIN_AT_HEADER_BYTES);
    if (r->header_bytes < EFF_BIN_FIXED_BYTES || r->header_bytes > r->size || r->header_bytes % EFF_BIN_ALIGN != 0)
        return eff_fail(EFF_ERR_FORMAT, "header: %zu bytes of header in a file of %zu", r->header_bytes, r->size);
    static const uint8_t zeros[4];
    const size_t after = EFF_BIN_AT_CRC + sizeof zeros;
    uint32_t crc = eff_crc32c(0, p, EFF_BIN_AT_CRC);
    crc = eff_crc32c(crc, zeros, sizeof zeros);
    crc = eff_crc32c(crc, p + after, r->header_bytes - after);
    if (crc != eff_get32(p + EFF_BIN_AT_CRC))
        return eff_fail(EFF_ERR_FORMAT,
                        "header: its checksum is %08x and should be %08x; the file is damaged, copy it "
                        "again",
                        (unsigned)crc, (unsigned)eff_get32(p + EFF_BIN_AT_CRC));
    if (version == 0)
        return eff_fail(EFF_ERR_FORMAT, "header: version %u does not exist", (unsigned)version);
    if (version < EFF_BIN_VERSION)
        return eff_fail(EFF_ERR_VERSION,
                        "header: written in version %u of the format, before the first release, and this library reads "
                        "%d; make the file again with `effnet quantize` or `effnet compile`",
                        (unsigned)version, EFF_BIN_VERSION);
    return EFF_OK;
}

static EffStatus check_zeros(const Reader *r, size_t begin, size_t end, const char *where)
{
    for (size_t i = begin; i < end; i++) {
        if (r->data[i] != 0)
            return eff_fail(EFF_ERR_FORMAT, "%s: padding byte at %zu is %u, not 0", where, i, (unsigned)r->data[i]);
    }
    return EFF_OK;
}

static EffStatus check_blocks(const Section *s, const uint8_t *crcs, const char *name)
{
    for (size_t b = 0; b < n_blocks(s->n_bytes); b++) {
        const size_t at = b * EFF_BIN_BLOCK, left = s->n_bytes - at;
        const size_t n = left < EFF_BIN_BLOCK ? left : EFF_BIN_BLOCK;
        if (eff_crc32c(0, s->data + at, n) != eff_get32(crcs + 4 * b))
            return eff_fail(EFF_ERR_FORMAT,
                            "section %s: wrong checksum of bytes %zu to %zu; the file is damaged, copy "
                            "it again",
                            name, at, at + n);
    }
    return EFF_OK;
}

/* Sections in ascending order of kind, each where the one before ends, rounded up. */
static EffStatus read_table(Reader *r)
{
    const size_t n = eff_get32(r->data + EFF_BIN_AT_N_SECTIONS);
    if (n > EFF_BIN_SECTIONS_END || EFF_BIN_FIXED_BYTES + n * EFF_BIN_ENTRY_BYTES > r->header_bytes)
        return eff_fail(EFF_ERR_FORMAT, "section table: %zu sections in %zu bytes of header", n, r->header_bytes);
    const size_t table_end = EFF_BIN_FIXED_BYTES + n * EFF_BIN_ENTRY_BYTES;
    const uint8_t *crcs = r->data + table_end;
    size_t end = r->header_bytes, n_crcs = 0;
    uint32_t last_kind = 0;
    EffStatus st;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *entry = r->data + EFF_BIN_FIXED_BYTES + i * EFF_BIN_ENTRY_BYTES;
        const uint32_t kind = eff_get32(entry + EFF_BIN_ENTRY_KIND), crc = eff_get32(entry + EFF_BIN_ENTRY_CRC);
        const uint64_t offset = eff_get64(entry + EFF_BIN_ENTRY_OFFSET), bytes = eff_get64(entry + EFF_BIN_ENTRY_SIZE);
        const size_t begin = eff_align_up(end);
        const char *name = eff_bin_section_name(kind);
        if (kind <= last_kind || kind >= EFF_BIN_SECTIONS_END)
            return eff_fail(EFF_ERR_FORMAT, "section table: kind %u is unknown, or after %u", (unsigned)kind,
                            (unsigned)last_kind);
        if (offset != begin || begin > r->size || bytes > r->size - begin)
            return eff_fail(EFF_ERR_FORMAT, "section %s: %llu bytes at %llu in a file of %zu; it should be at %zu",
                            name, (unsigned long long)bytes, (unsigned long long)offset, r->size, begin);
        if (crc != n_crcs || table_end + 4 * (n_crcs + n_blocks((size_t)bytes)) > r->header_bytes)
            return eff_fail(EFF_ERR_FORMAT, "section %s: its checksums lie outside the header", name);
        if ((st = check_zeros(r, end, begin, name)) != EFF_OK)
            return st;
        r->sections[kind] = (Section){.data = r->data + begin, .n_bytes = (size_t)bytes};
        if ((st = check_blocks(&r->sections[kind], crcs + 4 * n_crcs, name)) != EFF_OK)
            return st;
        n_crcs += n_blocks((size_t)bytes);
        end = begin + (size_t)bytes;
        last_kind = kind;
    }
    if (end != r->size)
        return eff_fail(EFF_ERR_FORMAT, "section table: the sections end at %zu, the file at %zu", end, r->size);
    const size_t used = table_end + 4 * n_crcs;
    if (eff_align_up(used) != r->header_bytes)
        return eff_fail(EFF_ERR_FORMAT, "header: %zu bytes, of which %zu are used", r->header_bytes, used);
    return check_zeros(r, used, r->header_bytes, "header");
}

/* ---- Sections ---- */

static EffStatus need_bytes(const Reader *r, EffBinSection kind, uint64_t n_bytes)
{
    const Section *s = &r->sections[kind];
    if (s->data == NULL)
        return eff_fail(EFF_ERR_FORMAT, "section %s is missing", eff_bin_section_name((uint32_t)kind));
    if (s->n_bytes != n_bytes)
        return eff_fail(EFF_ERR_FORMAT, "section %s: %zu bytes; %llu are valid", eff_bin_section_name((uint32_t)kind),
                        s->n_bytes, (unsigned long long)n_bytes);
    return EFF_OK;
}

static void take_name(const uint8_t **p, char name[EFF_PLAN_NAME_BYTES])
{
    memcpy(name, *p, EFF_PLAN_NAME_BYTES);
    *p += EFF_PLAN_NAME_BYTES;
}

static EffStatus read_plan(EffPlan *plan, const Reader *r)
{
    const EffStatus st = need_bytes(r, EFF_BIN_PLAN, EFF_BIN_PLAN_BYTES);
    if (st != EFF_OK)
        return st;
    const uint8_t *p = r->sections[EFF_BIN_PLAN].data;
    take_name(&p, plan->name);
    const int32_t n_tensors = eff_take_i32(&p), n_steps = eff_take_i32(&p), output = eff_take_i32(&p);
    const int32_t n_classes = eff_take_i32(&p);
    if (n_tensors < 0 || n_tensors > EFF_PLAN_MAX_TENSORS || n_steps < 0 || n_steps > EFF_PLAN_MAX_STEPS ||
        n_classes < 0 || n_classes > EFF_PLAN_MAX_CLASSES)
        return eff_fail(EFF_ERR_LIMIT, "section plan: %d tensors, %d steps, %d classes; up to %d, %d, %d are valid",
                        n_tensors, n_steps, n_classes, EFF_PLAN_MAX_TENSORS, EFF_PLAN_MAX_STEPS, EFF_PLAN_MAX_CLASSES);
    plan->n_tensors = n_tensors;
    plan->n_steps = n_steps;
    plan->output = output;
    plan->n_classes = n_classes;
    plan->arena_bytes = eff_take64(&p);
    plan->data_bytes = eff_take64(&p);
    plan->params = eff_take64(&p);
    plan->macs = eff_take64(&p);
    if (eff_take64(&p) != 0)
        return eff_fail(EFF_ERR_FORMAT, "section plan: its reserved field is not 0");
    return EFF_OK;
}

static EffStatus read_preprocess(EffPreprocess *pre, const Reader *r)
{
    const EffStatus st = need_bytes(r, EFF_BIN_PREPROCESS, EFF_BIN_PREPROCESS_BYTES);
    if (st != EFF_OK)
        return st;
    const uint8_t *p = r->sections[EFF_BIN_PREPROCESS].data;
    pre->size = eff_take_i32(&p);
    const int32_t interpolation = eff_take_i32(&p);
    if (interpolation < EFF_INTERP_BOX || interpolation > EFF_INTERP_LANCZOS)
        return eff_fail(EFF_ERR_FORMAT, "section preprocessing: interpolation %d is unknown", interpolation);
    pre->interpolation = (EffInterpolation)interpolation;
    pre->crop = eff_take_f64(&p);
    for (int c = 0; c < 3; c++)
        pre->mean[c] = eff_take_f32(&p);
    for (int c = 0; c < 3; c++)
        pre->std[c] = eff_take_f32(&p);
    return EFF_OK;
}

static EffStatus read_tensors(EffPlan *plan, const Reader *r)
{
    const size_t n = (size_t)plan->n_tensors;
    const EffStatus st = need_bytes(r, EFF_BIN_TENSORS, n * EFF_BIN_TENSOR_BYTES);
    if (st != EFF_OK)
        return st;
    plan->tensors = eff_calloc(n, sizeof *plan->tensors);
    if (plan->tensors == NULL)
        return eff_fail_nomem(n * sizeof *plan->tensors, "tensors");
    plan->tensors_capacity = n;
    const uint8_t *p = r->sections[EFF_BIN_TENSORS].data;
    for (size_t i = 0; i < n; i++) {
        EffPlanTensor *t = &plan->tensors[i];
        take_name(&p, t->name);
        int32_t *const fields[] = {&t->type, &t->layout, &t->h, &t->w, &t->c, &t->n_scales};
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++)
            *fields[k] = eff_take_i32(&p);
        t->scale = eff_take64(&p);
        t->zero = eff_take64(&p);
        t->arena_offset = eff_take64(&p);
    }
    return EFF_OK;
}

static EffStatus read_steps(EffPlan *plan, const Reader *r)
{
    const size_t n = (size_t)plan->n_steps;
    const EffStatus st = need_bytes(r, EFF_BIN_STEPS, n * EFF_BIN_STEP_BYTES);
    if (st != EFF_OK)
        return st;
    plan->steps = eff_calloc(n, sizeof *plan->steps);
    if (plan->steps == NULL)
        return eff_fail_nomem(n * sizeof *plan->steps, "steps");
    plan->steps_capacity = n;
    const uint8_t *p = r->sections[EFF_BIN_STEPS].data;
    for (size_t i = 0; i < n; i++) {
        EffPlanStep *s = &plan->steps[i];
        take_name(&p, s->name);
        int32_t *const fields[] = {&s->op,         &s->in[0],  &s->in[1],    &s->out[0],      &s->out[1],
                                   &s->in_ch,      &s->out_ch, &s->kernel,   &s->stride,      &s->pad_top,
                                   &s->pad_left,   &s->groups, &s->wgt_bits, &s->out_kind,    &s->pre_shift,
                                   &s->post_shift, &s->act,    &s->act_h,    &s->act_g_shift, &s->sigmoid_h,
                                   &s->frac_bits,  &s->fact};
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++)
            *fields[k] = eff_take_i32(&p);
        for (int slot = 0; slot < EFF_N_DATA_SLOTS; slot++) {
            s->data[slot].offset = eff_take64(&p);
            s->data[slot].n_bytes = eff_take64(&p);
        }
    }
    return EFF_OK;
}

static EffStatus read_groups(EffPlan *plan, const Reader *r)
{
    const Section *s = &r->sections[EFF_BIN_GROUPS];
    if (s->data == NULL)
        return EFF_OK;
    const size_t n = s->n_bytes / EFF_BIN_GROUP_BYTES;
    if (n == 0 || s->n_bytes % EFF_BIN_GROUP_BYTES != 0 || n > (size_t)plan->n_steps)
        return eff_fail(EFF_ERR_FORMAT, "section groups: %zu bytes; %d a group are valid, up to %d groups", s->n_bytes,
                        EFF_BIN_GROUP_BYTES, plan->n_steps);
    plan->groups = eff_calloc(n, sizeof *plan->groups);
    if (plan->groups == NULL)
        return eff_fail_nomem(n * sizeof *plan->groups, "groups of steps");
    plan->groups_capacity = n;
    plan->n_groups = (int)n;
    const uint8_t *p = s->data;
    for (size_t i = 0; i < n; i++) {
        plan->groups[i].first = eff_take_i32(&p);
        plan->groups[i].n_steps = eff_take_i32(&p);
    }
    return EFF_OK;
}

static EffStatus read_data(EffPlan *plan, const Reader *r)
{
    const EffStatus st = need_bytes(r, EFF_BIN_DATA, plan->data_bytes);
    if (st != EFF_OK)
        return st;
    const size_t n = (size_t)plan->data_bytes;
    plan->data = eff_malloc(n);
    if (plan->data == NULL)
        return eff_fail_nomem(n, "the model's data");
    plan->data_capacity = n;
    memcpy(plan->data, r->sections[EFF_BIN_DATA].data, n);
    return EFF_OK;
}

static EffStatus read_labels(EffPlan *plan, const Reader *r)
{
    const Section *s = &r->sections[EFF_BIN_LABELS];
    if (s->data == NULL)
        return EFF_OK;
    const size_t n = (size_t)plan->n_classes;
    plan->labels = eff_calloc(n, sizeof *plan->labels);
    if (plan->labels == NULL)
        return eff_fail_nomem(n * sizeof *plan->labels, "labels");
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *end = at < s->n_bytes ? memchr(s->data + at, '\0', s->n_bytes - at) : NULL;
        if (end == NULL)
            return eff_fail(EFF_ERR_FORMAT, "section labels: ends in label %zu of %zu", i, n);
        const size_t length = (size_t)(end - (s->data + at));
        plan->labels[i] = eff_strndup((const char *)s->data + at, length);
        if (plan->labels[i] == NULL)
            return eff_fail_nomem(length, "a label");
        at += length + 1;
    }
    if (at != s->n_bytes)
        return eff_fail(EFF_ERR_FORMAT, "section labels: %zu bytes after %zu labels", s->n_bytes - at, n);
    return EFF_OK;
}

static EffStatus read_provenance(EffPlan *plan, const Reader *r)
{
    const Section *s = &r->sections[EFF_BIN_PROVENANCE];
    if (s->data == NULL)
        return EFF_OK;
    if (memchr(s->data, '\0', s->n_bytes) != NULL)
        return eff_fail(EFF_ERR_FORMAT, "section provenance: a zero byte in the text");
    plan->provenance = eff_strndup((const char *)s->data, s->n_bytes);
    return plan->provenance != NULL ? EFF_OK : eff_fail_nomem(s->n_bytes, "the provenance");
}

static EffStatus read_sections(EffPlan *plan, const Reader *r)
{
    EffStatus st;
    if ((st = read_plan(plan, r)) != EFF_OK || (st = read_preprocess(&plan->pre, r)) != EFF_OK ||
        (st = read_tensors(plan, r)) != EFF_OK || (st = read_steps(plan, r)) != EFF_OK ||
        (st = read_data(plan, r)) != EFF_OK || (st = read_labels(plan, r)) != EFF_OK ||
        (st = read_provenance(plan, r)) != EFF_OK || (st = read_groups(plan, r)) != EFF_OK)
        return st;
    return eff_plan_check(plan);
}

EffStatus eff_bin_read(EffPlan *out, char sha256[65], const void *data, size_t size, const char *name)
{
    EffPlan plan = {0};
    Reader r = {.data = data, .size = size};
    EffStatus st;
    if (size > EFF_PLAN_MAX_FILE)
        return eff_fail(EFF_ERR_LIMIT, "%s: %zu bytes; up to %llu is valid", name, size,
                        (unsigned long long)EFF_PLAN_MAX_FILE);
    if ((st = read_header(&r)) != EFF_OK || (st = read_table(&r)) != EFF_OK ||
        (st = read_sections(&plan, &r)) != EFF_OK) {
        eff_plan_free(&plan);
        return eff_fail_in(st, "%s", name);
    }
    if (sha256 != NULL)
        eff_sha256_to_hex(sha256, r.data + EFF_BIN_AT_SHA256);
    *out = plan;
    return EFF_OK;
}

EffStatus eff_bin_verify(const void *data, size_t size, const char *name)
{
    EffPlan plan;
    const EffStatus st = eff_bin_read(&plan, NULL, data, size, name);
    if (st != EFF_OK)
        return st;
    eff_plan_free(&plan);
    uint8_t digest[EFF_SHA256_BYTES];
    const uint8_t *p = data;
    const size_t header = eff_get32(p + EFF_BIN_AT_HEADER_BYTES);
    eff_sha256(digest, p + header, size - header);
    if (memcmp(digest, p + EFF_BIN_AT_SHA256, sizeof digest) != 0) {
        char hex[65];
        eff_sha256_to_hex(hex, digest);
        return eff_fail(EFF_ERR_FORMAT,
                        "%s: the contents have SHA-256 %s, which the header doesn't record; get the "
                        "file again",
                        name, hex);
    }
    return EFF_OK;
}
