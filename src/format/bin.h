/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The .bin file; doc/bin-format.md specifies it. One encoding a plan: reading and writing again gives the same bytes.
 *
 *   header | section table | block CRCs | 0 | section | 0 | section ...       each part at a multiple of 64
 */
#ifndef EFF_FORMAT_BIN_H
#define EFF_FORMAT_BIN_H

#include "base/file.h"
#include "format/plan.h"

enum {
    EFF_BIN_VERSION = 2,
    EFF_BIN_MAGIC_BYTES = 8,
    EFF_BIN_ALIGN = 64,
    EFF_BIN_BLOCK = 1 << 20, /* most bytes that share a CRC */

    /* Header: offsets of its fields. */
    EFF_BIN_AT_VERSION = 8,       /* u32 */
    EFF_BIN_AT_CRC = 12,          /* u32, of bytes [0, header_bytes) with this field 0 */
    EFF_BIN_AT_HEADER_BYTES = 16, /* u32, header, table and CRCs, padded */
    EFF_BIN_AT_N_SECTIONS = 20,   /* u32 */
    EFF_BIN_AT_FILE_BYTES = 24,   /* u64 */
    EFF_BIN_AT_SHA256 = 32,       /* of bytes [header_bytes, file_bytes) */
    EFF_BIN_FIXED_BYTES = 64,

    /* Section table entry. */
    EFF_BIN_ENTRY_KIND = 0,   /* u32 */
    EFF_BIN_ENTRY_CRC = 4,    /* u32, index of the first CRC */
    EFF_BIN_ENTRY_OFFSET = 8, /* u64 */
    EFF_BIN_ENTRY_SIZE = 16,  /* u64 */
    EFF_BIN_ENTRY_BYTES = 24,

    /* Records. */
    EFF_BIN_PLAN_BYTES = 152,
    EFF_BIN_PREPROCESS_BYTES = 40,
    EFF_BIN_TENSOR_BYTES = 144,
    EFF_BIN_STEP_BYTES = 408,
    EFF_BIN_GROUP_BYTES = 8
};

/* Kinds of sections, in the order in which they stand in the file. */
typedef enum EffBinSection {
    EFF_BIN_PLAN = 1,
    EFF_BIN_PREPROCESS,
    EFF_BIN_TENSORS,
    EFF_BIN_STEPS,
    EFF_BIN_DATA,
    EFF_BIN_LABELS,     /* may be absent */
    EFF_BIN_PROVENANCE, /* may be absent */
    EFF_BIN_GROUPS,     /* absent without groups */
    EFF_BIN_SECTIONS_END
} EffBinSection;

extern const uint8_t eff_bin_magic[EFF_BIN_MAGIC_BYTES];

/* Name of a section, for messages. */
const char *eff_bin_section_name(uint32_t kind);

/**
 * The bytes of a .bin. The plan should be one that eff_plan_check() accepts; this looks only at what it needs.
 * @return EFF_OK (the caller frees out->data with eff_free), EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_bin_write(EffBytes *out, const EffPlan *plan);

/**
 * Set all checksums of a file whose header and table are whole: the last step of writing, and what lets a test change
 * a file and still pass the checksums. False when the table points outside the file.
 */
bool eff_bin_seal(uint8_t *data, size_t size);

/**
 * Read a .bin and prove it: structure, CRCs, eff_plan_check(). The recorded SHA-256 is not computed.
 *
 * @param sha256  receives the recorded digest, lower-case hex; or NULL.
 * @param name    of the file, for messages.
 * @return EFF_OK (eff_plan_free), EFF_ERR_FORMAT, EFF_ERR_VERSION, EFF_ERR_LIMIT, EFF_ERR_NOMEM. `out` is untouched on
 *         failure.
 */
EffStatus eff_bin_read(EffPlan *out, char sha256[65], const void *data, size_t size, const char *name);

/** Read a .bin and compute its SHA-256 too. @return as eff_bin_read(). */
EffStatus eff_bin_verify(const void *data, size_t size, const char *name);

#endif
