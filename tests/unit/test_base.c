/* SPDX-License-Identifier: Apache-2.0 */
/* src/base: checked arithmetic, messages, files, threads. */

#include "unit.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void sizes_are_checked(void **state)
{
    (void)state;
    size_t n;
    assert_true(eff_mul_size(&n, 3, 4));
    assert_int_equal(n, 12);
    assert_false(eff_mul_size(&n, SIZE_MAX, 2));
    assert_false(eff_add_size(&n, SIZE_MAX, 1));
    assert_null(eff_calloc(SIZE_MAX / 2, 4));
    assert_int_equal(eff_align_up(65), 128);
}

static void nth_allocation_fails(void **state)
{
    (void)state;
    eff_mem_fail_after(1);
    void *a = eff_malloc(1), *b = eff_malloc(1), *c = eff_malloc(1);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    assert_int_equal(eff_mem_fail_after(-1), 3);
    eff_free(a);
    eff_free(c);
}

static void messages_nest(void **state)
{
    (void)state;
    assert_int_equal(eff_fail(EFF_ERR_FORMAT, "row %d is short", 3), EFF_ERR_FORMAT);
    assert_int_equal(eff_fail_in(EFF_ERR_FORMAT, "%s", "a.txt"), EFF_ERR_FORMAT);
    assert_string_equal(eff_last_message(), "a.txt: row 3 is short");
    assert_string_equal(eff_status_name(EFF_ERR_FORMAT), "EFF_ERR_FORMAT");
}

static void files_are_bounded_and_atomic(void **state)
{
    (void)state;
    char dir[] = "/tmp/effnet-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *sub = eff_path_join(dir, "a/b"), *path = eff_path_join(sub, "x.bin");
    assert_int_equal(eff_make_dirs(sub), EFF_OK);
    assert_int_equal(eff_file_write_atomic(path, "hello", 5), EFF_OK);
    EffBytes bytes = {0};
    assert_int_equal(eff_file_read(&bytes, path, 4), EFF_ERR_LIMIT);
    assert_null(bytes.data);
    assert_int_equal(eff_file_read(&bytes, path, 5), EFF_OK);
    assert_int_equal(bytes.size, 5);
    assert_memory_equal(bytes.data, "hello", 5);
    eff_free(bytes.data);
    assert_int_equal(eff_file_read(&bytes, sub, 5), EFF_ERR_IO);
    EffStrings names = {0};
    assert_int_equal(eff_dir_list(&names, sub), EFF_OK);
    assert_int_equal(names.n, 1); /* no temporary file is left */
    assert_string_equal(names.items[0], "x.bin");
    eff_strings_free(&names);
    assert_int_equal(eff_make_dirs(path), EFF_ERR_IO);
    unlink(path);
    rmdir(sub);
    eff_free(path);
    eff_free(sub);
    path = eff_path_join(dir, "a");
    rmdir(path);
    eff_free(path);
    rmdir(dir);
}

typedef struct Sum {
    atomic_size_t total;
    atomic_int seen[1000];
} Sum;

static void add_up(void *ctx, size_t begin, size_t end, int worker)
{
    Sum *sum = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        atomic_fetch_add(&sum->total, i);
        atomic_fetch_add(&sum->seen[i], 1);
    }
}

static void pool_runs_each_item_once(void **state)
{
    (void)state;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        EffPool *pool = NULL;
        assert_int_equal(eff_pool_create(&pool, n_threads), EFF_OK);
        for (size_t grain = 1; grain < 400; grain += 97) {
            Sum sum = {0};
            eff_pool_run(pool, 1000, grain, add_up, &sum);
            assert_int_equal(sum.total, 499500);
            for (int i = 0; i < 1000; i++)
                assert_int_equal(sum.seen[i], 1);
        }
        eff_pool_destroy(pool);
    }
    EffPool *none = NULL;
    assert_int_equal(eff_pool_create(&none, -1), EFF_ERR_ARG);
    assert_null(none);
}

static void interpolations_have_names(void **state)
{
    (void)state;
    for (int k = EFF_INTERP_BOX; k <= EFF_INTERP_LANCZOS; k++) {
        EffInterpolation found;
        assert_int_equal(eff_interpolation_find(&found, eff_interpolation_name((EffInterpolation)k)), EFF_OK);
        assert_int_equal(found, k);
    }
    assert_null(eff_interpolation_name((EffInterpolation)9));
    EffInterpolation untouched = EFF_INTERP_BOX;
    assert_int_equal(eff_interpolation_find(&untouched, "cubic"), EFF_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(nth_allocation_fails),
        cmocka_unit_test(messages_nest),
        cmocka_unit_test(files_are_bounded_and_atomic),
        cmocka_unit_test(pool_runs_each_item_once),
        cmocka_unit_test(interpolations_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
