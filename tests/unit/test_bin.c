/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The .bin file: one encoding a plan; every damaged bit, cut and appended byte is found; re-signed mutants are refused
 * or run cleanly (what the sanitizers watch).
 */
#include "unit.h"

#include "plan_fixture.h"

#include "effnet/runtime.h"
#include "format/bin.h"
#include "format/crc32c.h"
#include "format/little_endian.h"
#include "base/sha256.h"
#include "runtime/session.h"

#include <unistd.h>

static void crc32c_has_its_check_values(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(eff_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(eff_crc32c(0, bytes, 32), 0x8a9136aau); /* RFC 3720, B.4 */
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(eff_crc32c(0, bytes, 32), 0x46dd794eu);
    for (size_t cut = 0; cut <= 32; cut++)
        assert_int_equal(eff_crc32c(eff_crc32c(0, bytes, cut), bytes + cut, 32 - cut), 0x46dd794eu);
}

static void sha256_is(const void *data, size_t n, const char *want)
{
    uint8_t digest[EFF_SHA256_BYTES];
    char hex[65] = "";
    eff_sha256(digest, data, n);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, want);
}

static void sha256_has_its_check_values(void **state)
{
    (void)state;
    char *million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    sha256_is("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_is("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    sha256_is(million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

typedef void maker_fn(EffPlan *plan, uint64_t seed);

static EffBytes written(maker_fn *make, uint64_t seed)
{
    EffPlan plan;
    EffBytes bytes = {0};
    make(&plan, seed);
    assert_int_equal(eff_bin_write(&bytes, &plan), EFF_OK);
    eff_plan_free(&plan);
    return bytes;
}

static void round_trip(EffPlan *plan)
{
    EffBytes first, again;
    EffPlan back;
    char sha256[65];
    assert_int_equal(eff_bin_write(&first, plan), EFF_OK);
    if (eff_bin_read(&back, sha256, first.data, first.size, "fixture") != EFF_OK)
        fail_msg("%s", eff_last_message());
    assert_int_equal(strlen(sha256), 64);
    assert_int_equal(eff_bin_verify(first.data, first.size, "fixture"), EFF_OK);
    assert_int_equal(eff_bin_write(&again, &back), EFF_OK);
    assert_int_equal(first.size, again.size);
    assert_memory_equal(first.data, again.data, first.size);
    assert_int_equal(back.data_bytes, plan->data_bytes);
    assert_memory_equal(back.data, plan->data, (size_t)plan->data_bytes);
    assert_memory_equal(back.steps, plan->steps, (size_t)plan->n_steps * sizeof *plan->steps);
    assert_memory_equal(back.tensors, plan->tensors, (size_t)plan->n_tensors * sizeof *plan->tensors);
    assert_int_equal(back.n_groups, plan->n_groups);
    if (plan->n_groups > 0)
        assert_memory_equal(back.groups, plan->groups, (size_t)plan->n_groups * sizeof *plan->groups);
    assert_int_equal(back.macs, plan->macs);
    assert_true(back.pre.crop == plan->pre.crop && back.pre.std[2] == plan->pre.std[2]);
    eff_plan_free(&back);
    eff_free(first.data);
    eff_free(again.data);
}

static void writing_what_was_read_gives_the_same_bytes(void **state)
{
    (void)state;
    EffPlan plan;
    fx_int8(&plan, 1);
    round_trip(&plan);
    for (int i = 0; i < plan.n_classes; i++)
        eff_free(plan.labels[i]);
    eff_free(plan.labels);
    plan.labels = NULL; /* without the sections that may be absent */
    round_trip(&plan);
    eff_free(plan.provenance);
    plan.provenance = NULL;
    round_trip(&plan);
    eff_plan_free(&plan);
    fx_f32(&plan, 2);
    assert_int_equal(plan.n_groups, 0);
    round_trip(&plan);
    eff_plan_free(&plan);
    fx_blocks(&plan, 3);
    assert_true(plan.n_groups > 5);
    round_trip(&plan);
    eff_plan_free(&plan);
    fx_int16(&plan, 4);
    round_trip(&plan);
    eff_plan_free(&plan);
    fx_nodes(&plan, 5);
    round_trip(&plan);
    eff_plan_free(&plan);
}

/* The groups are the last section: cut, lengthen and clear it. */
static void groups_have_one_encoding(void **state)
{
    (void)state;
    EffPlan plan, back;
    EffBytes bytes;
    fx_blocks(&plan, 3);
    assert_int_equal(eff_bin_write(&bytes, &plan), EFF_OK);
    const int n = plan.n_groups;
    eff_plan_free(&plan);
    uint8_t *copy = calloc(1, bytes.size + 8);
    assert_non_null(copy);
    static const struct {
        int more;
        const char *text; /* NULL: what was local has no place, which any message may say */
    } cases[] = {{-4, "section groups: 68 bytes"},
                 {4, "section groups: 76 bytes"},
                 {-9999, "section groups: 0 bytes"},
                 {-8, NULL},
                 {8, "group 9: 0 steps"}};
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        const size_t entry = EFF_BIN_FIXED_BYTES + 7 * EFF_BIN_ENTRY_BYTES, was = (size_t)n * EFF_BIN_GROUP_BYTES;
        const size_t now = cases[i].more < -8 ? 0 : (size_t)((int)was + cases[i].more), size = bytes.size - was + now;
        memcpy(copy, bytes.data, bytes.size);
        assert_int_equal(eff_get32(copy + entry + EFF_BIN_ENTRY_KIND), EFF_BIN_GROUPS);
        eff_put64(copy + entry + EFF_BIN_ENTRY_SIZE, now);
        eff_put64(copy + EFF_BIN_AT_FILE_BYTES, size);
        if (now == 0) /* no block, no CRC */
            eff_put32(copy + EFF_BIN_FIXED_BYTES + 8 * EFF_BIN_ENTRY_BYTES + 7 * 4, 0);
        eff_bin_seal(copy, size);
        assert_true(eff_bin_read(&back, NULL, copy, size, "m.bin") != EFF_OK);
        if (cases[i].text != NULL && strstr(eff_last_message(), cases[i].text) == NULL)
            fail_msg("%s; expected '%s'", eff_last_message(), cases[i].text);
    }
    free(copy);
    eff_free(bytes.data);
}

static void large_sections_have_several_blocks(void **state)
{
    (void)state;
    EffPlan plan;
    EffPlanData unused;
    fx_int8(&plan, 1);
    const size_t n = 2 * EFF_BIN_BLOCK + 12345;
    uint8_t *more = calloc(1, n);
    assert_non_null(more);
    assert_int_equal(eff_plan_add_data(&plan, &unused, more, n), EFF_OK);
    round_trip(&plan);
    EffBytes bytes;
    EffPlan back;
    assert_int_equal(eff_bin_write(&bytes, &plan), EFF_OK);
    bytes.data[bytes.size / 2] ^= 1;
    assert_int_equal(eff_bin_read(&back, NULL, bytes.data, bytes.size, "large.bin"), EFF_ERR_FORMAT);
    assert_non_null(strstr(eff_last_message(), "large.bin: section data: wrong checksum of bytes 1048576 to 2097152"));
    eff_free(bytes.data);
    eff_plan_free(&plan);
    free(more);
}

static void every_bit_counts(void **state)
{
    (void)state;
    maker_fn *const makers[] = {fx_int8, fx_f32};
    for (size_t k = 0; k < EFF_COUNT(makers); k++) {
        EffBytes bytes = written(makers[k], 1);
        for (size_t i = 0; i < bytes.size; i++) {
            for (int bit = 0; bit < 8; bit++) {
                EffPlan plan;
                bytes.data[i] ^= (uint8_t)(1 << bit);
                const EffStatus st = eff_bin_read(&plan, NULL, bytes.data, bytes.size, "flipped");
                if (st != EFF_ERR_FORMAT && st != EFF_ERR_VERSION)
                    fail_msg("bit %d of byte %zu: %s", bit, i, eff_status_name(st));
                bytes.data[i] ^= (uint8_t)(1 << bit);
            }
        }
        eff_free(bytes.data);
    }
}

static void every_byte_counts(void **state)
{
    (void)state;
    EffPlan plan;
    EffBytes bytes = written(fx_int8, 1);
    for (size_t n = 0; n < bytes.size; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* of the exact size: a read past its end is seen */
        assert_non_null(cut);
        memcpy(cut, bytes.data, n);
        assert_int_equal(eff_bin_read(&plan, NULL, cut, n, "cut"), EFF_ERR_FORMAT);
        free(cut);
    }
    uint8_t *longer = calloc(1, bytes.size + 3);
    assert_non_null(longer);
    memcpy(longer, bytes.data, bytes.size);
    for (size_t n = 1; n <= 3; n++)
        assert_int_equal(eff_bin_read(&plan, NULL, longer, bytes.size + n, "longer"), EFF_ERR_FORMAT);
    free(longer);
    eff_free(bytes.data);
}

/* Change a field of the header and set the checksums, so that only the field's own check is left. */
static void expect_header(EffBytes bytes, size_t at, uint32_t v, EffStatus want, const char *text)
{
    EffPlan plan;
    uint8_t *copy = malloc(bytes.size);
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.size);
    eff_put32(copy + at, v);
    eff_bin_seal(copy, bytes.size);
    const EffStatus st = eff_bin_read(&plan, NULL, copy, bytes.size, "m.bin");
    if (st != want || strstr(eff_last_message(), text) == NULL)
        fail_msg("field at %zu: %s: %s; expected '%s'", at, eff_status_name(st), eff_last_message(), text);
    free(copy);
}

static void messages_name_the_place(void **state)
{
    (void)state;
    EffBytes bytes = written(fx_int8, 1);
    const size_t entry = EFF_BIN_FIXED_BYTES, next = entry + EFF_BIN_ENTRY_BYTES;
    expect_header(bytes, 0, 0, EFF_ERR_FORMAT, "m.bin: header: not a compiled model");
    expect_header(bytes, EFF_BIN_AT_VERSION, 3, EFF_ERR_VERSION,
                  "version 3 of the format, and this library reads 2; "
                  "update effnet");
    expect_header(bytes, EFF_BIN_AT_VERSION, 1, EFF_ERR_VERSION, "version 1 of the format, before the first release");
    expect_header(bytes, EFF_BIN_AT_VERSION, 0, EFF_ERR_FORMAT, "version 0 does not exist");
    expect_header(bytes, EFF_BIN_AT_FILE_BYTES, 5, EFF_ERR_FORMAT, "should have 5");
    expect_header(bytes, EFF_BIN_AT_HEADER_BYTES, 100, EFF_ERR_FORMAT, "100 bytes of header");
    expect_header(bytes, EFF_BIN_AT_N_SECTIONS, 1000, EFF_ERR_FORMAT, "header: its checksum"); /* cannot be sealed */
    expect_header(bytes, EFF_BIN_AT_N_SECTIONS, 6, EFF_ERR_FORMAT, "sections end at");
    expect_header(bytes, entry, 9, EFF_ERR_FORMAT, "kind 9 is unknown");
    expect_header(bytes, next, 1, EFF_ERR_FORMAT, "kind 1 is unknown, or after 1");
    expect_header(bytes, next + EFF_BIN_ENTRY_OFFSET, 64, EFF_ERR_FORMAT, "section preprocessing: 40 bytes at 64");
    expect_header(bytes, next + EFF_BIN_ENTRY_CRC, 5, EFF_ERR_FORMAT, "section preprocessing: its checksums");
    eff_free(bytes.data);
    bytes = written(fx_f32, 1); /* without groups: the provenance's last byte is that of the file */
    bytes.data[bytes.size - 1] = 0;
    expect_header(bytes, EFF_BIN_AT_VERSION, 2, EFF_ERR_FORMAT, "section provenance: a zero byte");
    eff_free(bytes.data);
}

static void the_digest_is_checked_on_request(void **state)
{
    (void)state;
    EffBytes bytes = written(fx_int8, 1);
    EffPlan plan;
    bytes.data[EFF_BIN_AT_SHA256] ^= 1; /* with a right checksum of the header */
    eff_put32(bytes.data + EFF_BIN_AT_CRC, 0);
    eff_put32(bytes.data + EFF_BIN_AT_CRC, eff_crc32c(0, bytes.data, eff_get32(bytes.data + EFF_BIN_AT_HEADER_BYTES)));
    assert_int_equal(eff_bin_read(&plan, NULL, bytes.data, bytes.size, "m.bin"), EFF_OK);
    eff_plan_free(&plan);
    assert_int_equal(eff_bin_verify(bytes.data, bytes.size, "m.bin"), EFF_ERR_FORMAT);
    assert_non_null(strstr(eff_last_message(), "m.bin: the contents have SHA-256"));
    eff_free(bytes.data);
}

/* ---- Mutants of the fields ---- */

static int32_t mutant32(EffRng *rng, int32_t v)
{
    static const int32_t interesting[] = {-1, 0,  1,  2,   3,    4,    5,     7,       8,       9,         15,
                                          16, 64, 99, 255, 1024, 4096, 16384, 1 << 16, 1 << 20, INT32_MAX, INT32_MIN};
    switch (eff_rng_below(rng, 3)) {
    case 0: return (int32_t)((int64_t)v + (int64_t)eff_rng_below(rng, 5) - 2);
    case 1: return v ^ (int32_t)(1u << eff_rng_below(rng, 31));
    default: return interesting[eff_rng_below(rng, EFF_COUNT(interesting))];
    }
}

static uint64_t mutant64(EffRng *rng, uint64_t v)
{
    switch (eff_rng_below(rng, 3)) {
    case 0: return v + 64 * eff_rng_below(rng, 9) - 256;
    case 1: return v ^ (uint64_t)1 << eff_rng_below(rng, 64);
    default: return eff_rng_below(rng, 1 << 16);
    }
}

static void mutate_tensor(EffRng *rng, EffPlan *p)
{
    EffPlanTensor *t = &p->tensors[eff_rng_below(rng, (uint64_t)p->n_tensors)];
    int32_t *const fields[] = {&t->type, &t->layout, &t->h, &t->w, &t->c, &t->n_scales};
    uint64_t *const places[] = {&t->scale, &t->zero, &t->arena_offset};
    if (eff_rng_below(rng, 2) == 0) {
        int32_t *f = fields[eff_rng_below(rng, EFF_COUNT(fields))];
        *f = mutant32(rng, *f);
    } else {
        uint64_t *f = places[eff_rng_below(rng, EFF_COUNT(places))];
        *f = mutant64(rng, *f);
    }
}

static void mutate_step(EffRng *rng, EffPlan *p)
{
    EffPlanStep *s = &p->steps[eff_rng_below(rng, (uint64_t)p->n_steps)];
    int32_t *const fields[] = {&s->op,          &s->in[0],     &s->in[1],     &s->out[0],     &s->out[1],   &s->in_ch,
                               &s->out_ch,      &s->kernel,    &s->stride,    &s->pad_top,    &s->pad_left, &s->groups,
                               &s->wgt_bits,    &s->out_kind,  &s->pre_shift, &s->post_shift, &s->act,      &s->act_h,
                               &s->act_g_shift, &s->sigmoid_h, &s->frac_bits, &s->fact};
    EffPlanData *d = &s->data[eff_rng_below(rng, EFF_N_DATA_SLOTS)];
    switch (eff_rng_below(rng, 4)) {
    case 0: d->offset = mutant64(rng, d->offset); break;
    case 1: d->n_bytes = mutant64(rng, d->n_bytes); break;
    default: {
        int32_t *f = fields[eff_rng_below(rng, EFF_COUNT(fields))];
        *f = mutant32(rng, *f);
        break;
    }
    }
}

/* Any bytes of the data: parameters become extreme. */
static void mutate_data(EffRng *rng, EffPlan *p)
{
    static const uint8_t extremes[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xff};
    const uint64_t at = eff_rng_below(rng, p->data_bytes), n = 1 + eff_rng_below(rng, 64);
    const uint8_t value = extremes[eff_rng_below(rng, EFF_COUNT(extremes))];
    for (uint64_t i = at; i < at + n && i < p->data_bytes; i++)
        p->data[i] = value;
}

/* Other steps, a group less, or one more where there is room for it. */
static void mutate_groups(EffRng *rng, EffPlan *p)
{
    const uint64_t i = eff_rng_below(rng, (uint64_t)p->n_groups + 1);
    if (i == (uint64_t)p->n_groups) {
        const EffPlanGroup more = {(int32_t)eff_rng_below(rng, (uint64_t)p->n_steps), 2};
        assert_int_equal(eff_plan_add_group(p, more), EFF_OK);
        return;
    }
    switch (eff_rng_below(rng, 3)) {
    case 0: p->groups[i].first = mutant32(rng, p->groups[i].first); break;
    case 1: p->groups[i].n_steps = mutant32(rng, p->groups[i].n_steps); break;
    default: {
        const bool sound = eff_plan_check(p) == EFF_OK;
        memmove(&p->groups[i], &p->groups[i + 1], ((size_t)p->n_groups - 1 - i) * sizeof *p->groups);
        p->n_groups--;
        if (sound) /* with places for what is not local any more */
            assert_int_equal(eff_plan_layout_arena(p), EFF_OK);
        break;
    }
    }
}

static void mutate(EffRng *rng, EffPlan *p)
{
    switch (eff_rng_below(rng, 9)) {
    case 8: mutate_groups(rng, p); break;
    case 0:
    case 1: mutate_tensor(rng, p); break;
    case 2:
    case 3:
    case 4: mutate_step(rng, p); break;
    case 5: {
        int32_t output = p->output;
        p->output = mutant32(rng, output);
        break;
    }
    case 6: p->arena_bytes = mutant64(rng, p->arena_bytes); break;
    default: mutate_data(rng, p); break;
    }
}

/* Model and session of what was accepted; run unless it would take long. */
static void run_accepted(EffPlan *plan)
{
    EffModel *m = NULL;
    EffSession *s = NULL;
    const EffStatus st = eff_model_from_plan(&m, plan, "c");
    assert_int_equal(st, EFF_OK);
    uint64_t work = 0;
    for (int i = 0; i < m->plan.n_steps; i++)
        work += eff_step_work(&m->plan, &m->plan.steps[i]);
    if (work < 2000000 && m->plan.arena_bytes < 1 << 24) {
        uint8_t *pixels = fx_pixels(&m->plan, 1);
        float *logits = calloc(2 * (size_t)m->plan.n_classes, sizeof *logits), *again = logits + m->plan.n_classes;
        assert_non_null(logits);
        assert_int_equal(eff_session_create(&s, m, 1), EFF_OK);
        eff_session_run(s, pixels, logits);
        eff_session_destroy(s);
        assert_int_equal(eff_session_create_unfused(&s, m, 1), EFF_OK);
        eff_session_run(s, pixels, again);
        eff_session_destroy(s);
        assert_memory_equal(logits, again, (size_t)m->plan.n_classes * sizeof *logits);
        free(logits);
        free(pixels);
    }
    eff_model_close(m);
}

static void mutants_are_refused_or_run(void **state)
{
    (void)state;
    enum { N_MUTANTS = 10000 };
    maker_fn *const makers[] = {fx_int8, fx_f32, fx_nodes, fx_pools, fx_int16, fx_small_blocks};
    EffBytes seeds[EFF_COUNT(makers)];
    int n_accepted = 0;
    EffRng rng;
    eff_rng_init(&rng, 9);
    for (size_t i = 0; i < EFF_COUNT(makers); i++)
        seeds[i] = written(makers[i], i);
    for (int i = 0; i < N_MUTANTS; i++) {
        const EffBytes *seed = &seeds[i % 8 >= 6 ? 4 + i % 2 : i % 4]; /* the last one is large, and takes its time */
        EffPlan plan, back;
        EffBytes bytes;
        assert_int_equal(eff_bin_read(&plan, NULL, seed->data, seed->size, "seed"), EFF_OK);
        for (uint64_t n = 1 + eff_rng_below(&rng, 3); n > 0; n--)
            mutate(&rng, &plan);
        assert_int_equal(eff_bin_write(&bytes, &plan), EFF_OK);
        eff_plan_free(&plan);
        const EffStatus st = eff_bin_read(&back, NULL, bytes.data, bytes.size, "mutant");
        if (st == EFF_OK)
            run_accepted(&back);
        else if (st != EFF_ERR_FORMAT && st != EFF_ERR_LIMIT)
            fail_msg("mutant %d: %s: %s", i, eff_status_name(st), eff_last_message());
        n_accepted += st == EFF_OK;
        eff_free(bytes.data);
    }
    for (size_t i = 0; i < EFF_COUNT(seeds); i++)
        eff_free(seeds[i].data);
    print_message("%d of %d mutants were accepted\n", n_accepted, N_MUTANTS);
    assert_true(n_accepted > N_MUTANTS / 50 && n_accepted < N_MUTANTS / 2);
}

static EffStatus write_and_read_once(void *ctx)
{
    EffBytes bytes;
    EffPlan plan;
    EffStatus st = eff_bin_write(&bytes, ctx);
    if (st != EFF_OK)
        return st;
    st = eff_bin_read(&plan, NULL, bytes.data, bytes.size, "fixture");
    eff_free(bytes.data);
    if (st == EFF_OK)
        eff_plan_free(&plan);
    return st;
}

static void allocation_failures_are_clean(void **state)
{
    (void)state;
    EffPlan plan;
    fx_int8(&plan, 3);
    sweep_allocations(write_and_read_once, &plan);
    eff_plan_free(&plan);
}

static void models_open_from_files(void **state)
{
    (void)state;
    EffBytes bytes = written(fx_int8, 1);
    EffModel *m = NULL;
    char path[] = "/tmp/effnet-test-bin-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(eff_file_write_atomic(path, bytes.data, bytes.size), EFF_OK);
    assert_int_equal(eff_model_is_bin(bytes.data, bytes.size), 1);
    assert_int_equal(eff_model_is_bin(bytes.data, 7), 0);
    assert_int_equal(eff_model_is_bin("PK\3\4abcd", 8), 0);
    assert_int_equal(eff_model_open(&m, path, NULL), EFF_OK);
    assert_int_equal(eff_model_info(m)->file_bytes, bytes.size);
    assert_int_equal(strlen(eff_model_info(m)->sha256), 64);
    eff_model_close(m);
    m = NULL;
    assert_int_equal(eff_model_open(&m, path, "no-such-cpu"), EFF_ERR_ARG);
    remove(path);
    assert_int_equal(eff_model_open(&m, path, NULL), EFF_ERR_IO);
    assert_null(m);
    eff_free(bytes.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_has_its_check_values),
        cmocka_unit_test(sha256_has_its_check_values),
        cmocka_unit_test(writing_what_was_read_gives_the_same_bytes),
        cmocka_unit_test(groups_have_one_encoding),
        cmocka_unit_test(large_sections_have_several_blocks),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(messages_name_the_place),
        cmocka_unit_test(the_digest_is_checked_on_request),
        cmocka_unit_test(mutants_are_refused_or_run),
        cmocka_unit_test(allocation_failures_are_clean),
        cmocka_unit_test(models_open_from_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
