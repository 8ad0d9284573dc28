/* SPDX-License-Identifier: Apache-2.0 */
/* A plan to the bytes of a .bin: the same plan gives the same bytes. */
#include "format/bin.h"
#include "format/crc32c.h"
#include "format/little_endian.h"
#include "base/sha256.h"
#include "base/mem.h"
#include "base/status.h"

#include <assert.h>
#include <string.h>

const uint8_t eff_bin_magic[EFF_BIN_MAGIC_BYTES] = {0x89, 'E', 'F', 'F', '\r', '\n', 0x1a, '\n'};

const char *eff_bin_section_name(uint32_t kind)
{
    static const char *const names[EFF_BIN_SECTIONS_END] = {[EFF_BIN_PLAN] = "plan",
                                                            [EFF_BIN_PREPROCESS] = "preprocessing",
                                                            [EFF_BIN_TENSORS] = "tensors",
                                                            [EFF_BIN_STEPS] = "steps",
                                                            [EFF_BIN_DATA] = "data",
                                                            [EFF_BIN_LABELS] = "labels",
                                                            [EFF_BIN_PROVENANCE] = "provenance",
                                                            [EFF_BIN_GROUPS] = "groups"};
    return kind > 0 && kind < EFF_BIN_SECTIONS_END ? names[kind] : "unknown";
}

/* ---- Records ---- */

static void append_name(uint8_t **p, const char name[EFF_PLAN_NAME_BYTES])
{
    memcpy(*p, name, EFF_PLAN_NAME_BYTES);
    *p += EFF_PLAN_NAME_BYTES;
}

static uint8_t *write_plan(uint8_t *p, const EffPlan *plan)
{
    append_name(&p, plan->name);
    eff_append_i32(&p, plan->n_tensors);
    eff_append_i32(&p, plan->n_steps);
    eff_append_i32(&p, plan->output);
    eff_append_i32(&p, plan->n_classes);
    eff_append64(&p, plan->arena_bytes);
    eff_append64(&p, plan->data_bytes);
    eff_append64(&p, plan->params);
    eff_append64(&p, plan->macs);
    eff_append64(&p, 0); /* reserved */
    return p;
}

static uint8_t *write_preprocess(uint8_t *p, const EffPreprocess *pre)
{
    eff_append_i32(&p, pre->size);
    eff_append_i32(&p, (int32_t)pre->interpolation);
    eff_append_f64(&p, pre->crop);
    for (int c = 0; c < 3; c++)
        eff_append_f32(&p, pre->mean[c]);
    for (int c = 0; c < 3; c++)
        eff_append_f32(&p, pre->std[c]);
    return p;
}

static uint8_t *write_tensors(uint8_t *p, const EffPlan *plan)
{
    for (int i = 0; i < plan->n_tensors; i++) {
        const EffPlanTensor *t = &plan->tensors[i];
        append_name(&p, t->name);
        const int32_t fields[] = {t->type, t->layout, t->h, t->w, t->c, t->n_scales};
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++)
            eff_append_i32(&p, fields[k]);
        eff_append64(&p, t->scale);
        eff_append64(&p, t->zero);
        eff_append64(&p, t->arena_offset);
    }
    return p;
}

static uint8_t *write_steps(uint8_t *p, const EffPlan *plan)
{
    for (int i = 0; i < plan->n_steps; i++) {
        const EffPlanStep *s = &plan->steps[i];
        append_name(&p, s->name);
        const int32_t fields[] = {s->op,          s->in[0],     s->in[1],     s->out[0],     s->out[1],   s->in_ch,
                                  s->out_ch,      s->kernel,    s->stride,    s->pad_top,    s->pad_left, s->groups,
                                  s->wgt_bits,    s->out_kind,  s->pre_shift, s->post_shift, s->act,      s->act_h,
                                  s->act_g_shift, s->sigmoid_h, s->frac_bits, s->fact};
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++)
            eff_append_i32(&p, fields[k]);
        for (int slot = 0; slot < EFF_N_DATA_SLOTS; slot++) {
            eff_append64(&p, s->data[slot].offset);
            eff_append64(&p, s->data[slot].n_bytes);
        }
    }
    return p;
}

static uint8_t *write_groups(uint8_t *p, const EffPlan *plan)
{
    for (int i = 0; i < plan->n_groups; i++) {
        eff_append_i32(&p, plan->groups[i].first);
        eff_append_i32(&p, plan->groups[i].n_steps);
    }
    return p;
}

/* ---- Sections ---- */

/* Bytes of a section; false where the plan has none. */
static bool section_bytes(size_t *out, const EffPlan *plan, EffBinSection kind)
{
    *out = 0;
    switch (kind) {
    case EFF_BIN_PLAN: *out = EFF_BIN_PLAN_BYTES; return true;
    case EFF_BIN_PREPROCESS: *out = EFF_BIN_PREPROCESS_BYTES; return true;
    case EFF_BIN_TENSORS: *out = (size_t)plan->n_tensors * EFF_BIN_TENSOR_BYTES; return true;
    case EFF_BIN_STEPS: *out = (size_t)plan->n_steps * EFF_BIN_STEP_BYTES; return true;
    case EFF_BIN_DATA: *out = (size_t)plan->data_bytes; return true;
    case EFF_BIN_LABELS:
        for (int i = 0; plan->labels != NULL && i < plan->n_classes; i++)
            *out += strlen(plan->labels[i]) + 1;
        return plan->labels != NULL;
    case EFF_BIN_PROVENANCE:
        if (plan->provenance != NULL)
            *out = strlen(plan->provenance);
        return plan->provenance != NULL;
    case EFF_BIN_GROUPS: *out = (size_t)plan->n_groups * EFF_BIN_GROUP_BYTES; return plan->n_groups > 0;
    case EFF_BIN_SECTIONS_END: break;
    }
    return false;
}

static void write_section(uint8_t *p, const EffPlan *plan, EffBinSection kind, size_t n_bytes)
{
    const uint8_t *const end = p + n_bytes;
    switch (kind) {
    case EFF_BIN_PLAN: p = write_plan(p, plan); break;
    case EFF_BIN_PREPROCESS: p = write_preprocess(p, &plan->pre); break;
    case EFF_BIN_TENSORS: p = write_tensors(p, plan); break;
    case EFF_BIN_STEPS: p = write_steps(p, plan); break;
    case EFF_BIN_GROUPS: p = write_groups(p, plan); break;
    case EFF_BIN_LABELS:
        for (int i = 0; i < plan->n_classes; i++) {
            const size_t n = strlen(plan->labels[i]) + 1;
            memcpy(p, plan->labels[i], n);
            p += n;
        }
        break;
    default:
        if (n_bytes > 0)
            memcpy(p, kind == EFF_BIN_DATA ? plan->data : (const uint8_t *)plan->provenance, n_bytes);
        p += n_bytes;
        break;
    }
    assert(p == end);
    (void)end;
}

static size_t n_blocks(size_t n_bytes)
{
    return (n_bytes + EFF_BIN_BLOCK - 1) / EFF_BIN_BLOCK;
}

/* ---- Checksums ---- */

bool eff_bin_seal(uint8_t *data, size_t size)
{
    if (size < EFF_BIN_FIXED_BYTES)
        return false;
    const size_t header = eff_get32(data + EFF_BIN_AT_HEADER_BYTES), n = eff_get32(data + EFF_BIN_AT_N_SECTIONS);
    if (header < EFF_BIN_FIXED_BYTES || header > size || n > (header - EFF_BIN_FIXED_BYTES) / EFF_BIN_ENTRY_BYTES)
        return false;
    const size_t table_end = EFF_BIN_FIXED_BYTES + n * EFF_BIN_ENTRY_BYTES, max_crcs = (header - table_end) / 4;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *entry = data + EFF_BIN_FIXED_BYTES + i * EFF_BIN_ENTRY_BYTES;
        const size_t first = eff_get32(entry + EFF_BIN_ENTRY_CRC);
        const uint64_t offset = eff_get64(entry + EFF_BIN_ENTRY_OFFSET), bytes = eff_get64(entry + EFF_BIN_ENTRY_SIZE);
        if (offset > size || bytes > size - offset || first > max_crcs || n_blocks((size_t)bytes) > max_crcs - first)
            return false;
        for (size_t b = 0; b < n_blocks((size_t)bytes); b++) {
            const size_t at = b * EFF_BIN_BLOCK, left = (size_t)bytes - at;
            eff_put32(data + table_end + 4 * (first + b),
                      eff_crc32c(0, data + offset + at, left < EFF_BIN_BLOCK ? left : EFF_BIN_BLOCK));
        }
    }
    eff_sha256(data + EFF_BIN_AT_SHA256, data + header, size - header);
    eff_put32(data + EFF_BIN_AT_CRC, 0);
    eff_put32(data + EFF_BIN_AT_CRC, eff_crc32c(0, data, header));
    return true;
}

EffStatus eff_bin_write(EffBytes *out, const EffPlan *plan)
{
    size_t sizes[EFF_BIN_SECTIONS_END] = {0}, n_sections = 0, n_crcs = 0;
    bool present[EFF_BIN_SECTIONS_END] = {false};
    for (int k = 1; k < EFF_BIN_SECTIONS_END; k++) {
        present[k] = section_bytes(&sizes[k], plan, (EffBinSection)k);
        n_sections += present[k];
        n_crcs += n_blocks(sizes[k]);
    }
    const size_t header = eff_align_up(EFF_BIN_FIXED_BYTES + n_sections * EFF_BIN_ENTRY_BYTES + 4 * n_crcs);
    size_t size = header;
    for (int k = 1; k < EFF_BIN_SECTIONS_END; k++)
        size = present[k] ? eff_align_up(size) + sizes[k] : size;
    if (size > EFF_PLAN_MAX_FILE)
        return eff_fail(EFF_ERR_LIMIT, "the model takes %zu bytes, and a .bin holds %llu at most", size,
                        (unsigned long long)EFF_PLAN_MAX_FILE);
    uint8_t *data = eff_calloc(1, size);
    if (data == NULL)
        return eff_fail_nomem(size, "the compiled model");
    memcpy(data, eff_bin_magic, sizeof eff_bin_magic);
    eff_put32(data + EFF_BIN_AT_VERSION, EFF_BIN_VERSION);
    eff_put32(data + EFF_BIN_AT_HEADER_BYTES, (uint32_t)header);
    eff_put32(data + EFF_BIN_AT_N_SECTIONS, (uint32_t)n_sections);
    eff_put64(data + EFF_BIN_AT_FILE_BYTES, size);
    uint8_t *entry = data + EFF_BIN_FIXED_BYTES;
    size_t at = header, crc = 0;
    for (uint32_t k = 1; k < EFF_BIN_SECTIONS_END; k++) {
        if (!present[k])
            continue;
        at = eff_align_up(at);
        eff_append32(&entry, k);
        eff_append32(&entry, (uint32_t)crc);
        eff_append64(&entry, at);
        eff_append64(&entry, sizes[k]);
        write_section(data + at, plan, (EffBinSection)k, sizes[k]);
        at += sizes[k];
        crc += n_blocks(sizes[k]);
    }
    const bool sealed = eff_bin_seal(data, size);
    assert(sealed);
    (void)sealed;
    *out = (EffBytes){.data = data, .size = size};
    return EFF_OK;
}
