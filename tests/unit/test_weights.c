/* SPDX-License-Identifier: Apache-2.0 */
/* src/import: files of torch.save() as torch writes them; the files were made by data/make_pth.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/compiler.h"
#include "base/file.h"
#include "base/mem.h"
#include "effnet/compile.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const both_forms[] = {"tests/unit/data/weights_zip.pth", "tests/unit/data/weights_legacy.pth"};

static EffWeights *open_weights(const char *path)
{
    EffWeights *w = NULL;
    if (eff_weights_open(&w, path) != EFF_OK)
        fail_msg("%s", eff_last_message());
    return w;
}

static void assert_tensor(const EffWeights *w, const char *name, int rank, const int64_t *dims, size_t n,
                          const float *values)
{
    const EffTensor *t = eff_weights_find(w, name);
    if (t == NULL)
        fail_msg("no tensor '%s'", name);
    assert_string_equal(t->name, name);
    assert_int_equal(t->rank, rank);
    for (int i = 0; i < rank; i++)
        assert_int_equal(t->dims[i], dims[i]);
    assert_int_equal(t->n_elements, n);
    assert_int_equal((uintptr_t)t->data % EFF_ALIGN, 0);
    if (n > 0)
        assert_memory_equal(t->data, values, n * sizeof *values); /* bit for bit: -0 is not 0 */
}

#define ASSERT_TENSOR(w, name, rank, dims, ...)                                                                        \
    assert_tensor(w, name, rank, (const int64_t[])dims, sizeof((const float[]){__VA_ARGS__}) / sizeof(float),          \
                  (const float[]){__VA_ARGS__})
#define DIMS(...)                                                                                                      \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

static void types_and_views_are_read(void **state)
{
    (void)state;
    for (size_t f = 0; f < EFF_COUNT(both_forms); f++) {
        EffWeights *w = open_weights(both_forms[f]);
        assert_int_equal(eff_weights_count(w), 17); /* the note is left out */
        float conv[24];
        for (int i = 0; i < 24; i++)
            conv[i] = (float)i / 4 - 1;
        assert_tensor(w, "conv.weight", 4, (const int64_t[]){2, 3, 2, 2}, 24, conv);
        assert_string_equal(eff_weights_at(w, 0)->name, "conv.weight"); /* the order of the file */
        assert_string_equal(eff_weights_at(w, 16)->name, "parameter");
        assert_null(eff_weights_at(w, 17));
        ASSERT_TENSOR(w, "view.transposed", 2, DIMS(4, 3), 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11);
        ASSERT_TENSOR(w, "view.sliced", 1, DIMS(7), 3, 5, 7, 9, 11, 13, 15);
        ASSERT_TENSOR(w, "view.permuted", 3, DIMS(2, 2, 3), 4, 6, 8, 10, 12, 14, 5, 7, 9, 11, 13, 15);
        ASSERT_TENSOR(w, "view.expanded", 2, DIMS(2, 3), 1.5f, 1.5f, 1.5f, -2.5f, -2.5f, -2.5f);
        ASSERT_TENSOR(w, "type.f64", 1, DIMS(2), 0.1f, -1e-3f);
        ASSERT_TENSOR(w, "type.f16", 1, DIMS(6), 1, -2.5f, 65504, 0x1p-24f, 0x1p-14f, -0.0f);
        ASSERT_TENSOR(w, "type.bf16", 1, DIMS(2), 1, -3.140625f);
        ASSERT_TENSOR(w, "type.i64", 1, DIMS(2), -0x1p40f, 7);
        ASSERT_TENSOR(w, "type.i32", 1, DIMS(2), -0x1p31f, 5);
        ASSERT_TENSOR(w, "type.i16", 1, DIMS(2), -32768, 3);
        ASSERT_TENSOR(w, "type.i8", 1, DIMS(2), -128, 127);
        ASSERT_TENSOR(w, "type.u8", 1, DIMS(2), 255, 0);
        ASSERT_TENSOR(w, "type.bool", 1, DIMS(2), 1, 0);
        ASSERT_TENSOR(w, "bn.num_batches_tracked", 0, DIMS(0), 42);
        assert_tensor(w, "empty", 2, (const int64_t[]){0, 3}, 0, NULL);
        ASSERT_TENSOR(w, "parameter", 1, DIMS(2), 0.5f, 0.25f);
        assert_null(eff_weights_find(w, "note"));
        assert_null(eff_weights_find(w, ""));
        assert_null(eff_weights_find(w, "zzz"));
        eff_weights_free(w);
    }
    eff_weights_free(NULL);
}

static void checkpoints_are_unwrapped(void **state)
{
    (void)state;
    static const char *const paths[] = {"tests/unit/data/weights_wrapped_zip.pth",
                                        "tests/unit/data/weights_wrapped_legacy.pth"};
    for (size_t f = 0; f < EFF_COUNT(paths); f++) {
        EffWeights *w = open_weights(paths[f]);
        assert_int_equal(eff_weights_count(w), 5);
        ASSERT_TENSOR(w, "weight", 1, DIMS(2), 1.25f, -0.75f);
        ASSERT_TENSOR(w, "running_var", 1, DIMS(2), 1, 1);
        ASSERT_TENSOR(w, "num_batches_tracked", 0, DIMS(0), 0);
        eff_weights_free(w);
    }
}

static void python2_files_are_read(void **state)
{
    (void)state;
    EffWeights *w = open_weights("tests/unit/data/weights_python2.pth");
    assert_int_equal(eff_weights_count(w), 2);
    ASSERT_TENSOR(w, "a", 1, DIMS(2), 1, 2);
    ASSERT_TENSOR(w, "b", 1, DIMS(2), 4, 5); /* offset 1 in a window that begins at 3 */
    eff_weights_free(w);
}

static EffBytes read_file(const char *path)
{
    EffBytes file = {0};
    if (eff_file_read(&file, path, 1 << 20) != EFF_OK)
        fail_msg("%s", eff_last_message());
    return file;
}

/* An exact-size copy on the heap: a read past its end is seen by the sanitizer. */
static EffStatus read_copy(EffWeights **out, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    *out = NULL;
    const EffStatus st = eff_weights_read(out, copy, size, "copy");
    assert_true((st == EFF_OK) == (*out != NULL));
    free(copy);
    return st;
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    for (size_t f = 0; f < EFF_COUNT(both_forms); f++) {
        const EffBytes file = read_file(both_forms[f]);
        EffWeights *w;
        for (size_t n = 0; n < file.size; n++) {
            const EffStatus st = read_copy(&w, file.data, n);
            if (st != EFF_ERR_FORMAT && st != EFF_ERR_UNSUPPORTED)
                fail_msg("%s cut to %zu bytes: %s: %s", both_forms[f], n, eff_status_name(st), eff_last_message());
        }
        eff_free(file.data);
    }
}

static void assert_same(const EffWeights *a, const EffWeights *b)
{
    assert_int_equal(eff_weights_count(a), eff_weights_count(b));
    for (size_t i = 0; i < eff_weights_count(a); i++) {
        const EffTensor *x = eff_weights_at(a, i), *y = eff_weights_at(b, i);
        assert_tensor(b, x->name, x->rank, x->dims, x->n_elements, x->data);
        assert_string_equal(x->name, y->name);
    }
}

static void flipped_bits_are_found_or_harmless(void **state)
{
    (void)state;
    for (size_t f = 0; f < EFF_COUNT(both_forms); f++) {
        const EffBytes file = read_file(both_forms[f]);
        EffWeights *intact = open_weights(both_forms[f]), *w;
        for (size_t bit = 0; bit < 8 * file.size; bit++) {
            file.data[bit / 8] = (uint8_t)(file.data[bit / 8] ^ 1u << bit % 8);
            if (read_copy(&w, file.data, file.size) == EFF_OK) {
                size_t n_elements = 0;
                for (size_t i = 0; i < eff_weights_count(w); i++)
                    n_elements += eff_weights_at(w, i)->n_elements;
                assert_true(n_elements <= 4 * file.size);
                if (f == 0) /* the zip form has checksums: what is left are times and other fields no one reads */
                    assert_same(intact, w);
            }
            eff_weights_free(w);
            file.data[bit / 8] = (uint8_t)(file.data[bit / 8] ^ 1u << bit % 8);
        }
        eff_weights_free(intact);
        eff_free(file.data);
    }
}

static void memory_may_end_anywhere(void **state)
{
    (void)state;
    for (size_t f = 0; f < EFF_COUNT(both_forms); f++) {
        EffStatus st = EFF_ERR_NOMEM;
        long n = 0;
        for (; st == EFF_ERR_NOMEM && n < 1000; n++) {
            EffWeights *w = NULL;
            eff_mem_fail_after(n);
            st = eff_weights_open(&w, both_forms[f]);
            eff_mem_fail_after(-1);
            if (st == EFF_ERR_NOMEM)
                assert_non_null(strstr(eff_last_message(), "out of memory"));
            assert_true((w != NULL) == (st == EFF_OK));
            eff_weights_free(w);
        }
        assert_int_equal(st, EFF_OK);
        assert_true(n > 10);
    }
}

static void files_are_opened_with_care(void **state)
{
    (void)state;
    EffWeights *w = NULL;
    assert_int_equal(eff_weights_open(&w, "tests/unit/data/none.pth"), EFF_ERR_IO);
    assert_int_equal(eff_weights_open(&w, "tests/unit/data"), EFF_ERR_IO);
    assert_null(w);
    char path[] = "/tmp/effnet-test-XXXXXX"; /* sparse: the size alone is refused */
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, ((off_t)4 << 30) + 1), 0);
    assert_int_equal(eff_weights_open(&w, path), EFF_ERR_LIMIT);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_and_views_are_read),
        cmocka_unit_test(checkpoints_are_unwrapped),
        cmocka_unit_test(python2_files_are_read),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(flipped_bits_are_found_or_harmless),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(files_are_opened_with_care),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
