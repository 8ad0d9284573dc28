/* SPDX-License-Identifier: Apache-2.0 */
/* src/base: checked arithmetic, messages, files, threads. */

#include "unit.h"

#include "base/cpu_quota.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

/* Loops of very different length, from two callers with a pool each, with more threads than CPUs. */
static void *drive_pool(void *done)
{
    EffPool *pool = NULL;
    if (eff_pool_create(&pool, 3) != EFF_OK)
        return NULL;
    for (size_t i = 0; i < 3000; i++) {
        Sum sum = {0};
        const size_t n = i % 7 == 0 ? 1000 : i % 5 + 2;
        eff_pool_run(pool, n, 1, add_up, &sum);
        if (atomic_load(&sum.total) != n * (n - 1) / 2)
            return NULL;
        if (i % 1000 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* until the workers sleep */
    }
    eff_pool_destroy(pool);
    *(bool *)done = true;
    return NULL;
}

static void pools_run_beside_each_other(void **state)
{
    (void)state;
    pthread_t threads[2];
    bool done[2] = {false, false};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, drive_pool, &done[i]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(done[i]);
    }
}

static void write_file(const char *root, const char *path, const char *text)
{
    char *full = eff_path_join(root, path), *dir = eff_strdup(full);
    *strrchr(dir, '/') = '\0';
    assert_int_equal(eff_make_dirs(dir), EFF_OK);
    assert_int_equal(eff_file_write_atomic(full, text, strlen(text)), EFF_OK);
    eff_free(dir);
    eff_free(full);
}

static void quotas_of_control_groups_are_read(void **state)
{
    (void)state;
    /* Up to three files a root: what /proc/self/cgroup says, then pairs of a path and a text. */
    static const struct {
        const char *cgroup, *files[3][2];
        double quota;
    } rows[] = {
        {"0::/\n", {{"sys/fs/cgroup/cpu.max", "150000 100000\n"}}, 1.5},
        {"0::/\n", {{"sys/fs/cgroup/cpu.max", "max 100000\n"}}, 0},
        {"0::/a/b\n",
         {{"sys/fs/cgroup/a/b/cpu.max", "400000 100000\n"}, {"sys/fs/cgroup/a/cpu.max", "200000 100000\n"}},
         2},
        {"0::/a/b\n",
         {{"sys/fs/cgroup/a/b/cpu.max", "50000 100000\n"}, {"sys/fs/cgroup/a/cpu.max", "max 100000\n"}},
         0.5},
        {"0::/not/here\n", {{"sys/fs/cgroup/cpu.max", "300000 100000\n"}}, 3}, /* the host's path, in a container */
        {"0::/../other\n", {{"sys/fs/cgroup/cpu.max", "100000 100000\n"}}, 1},
        {"12:memory:/x\n4:cpu,cpuacct:/docker/1\n",
         {{"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "250000\n"},
          {"sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n"}},
         2.5},
        {"4:cpuacct,cpu:/docker/1\n",
         {{"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "20000\n"}, {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "10000\n"}},
         2},
        {"4:cpu:/\n",
         {{"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"}, {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"}},
         0},
        {"4:cpuset:/\n",
         {{"sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "100000\n"},
          {"sys/fs/cgroup/cpuset/cpu.cfs_period_us", "100000\n"}},
         0},
        {"nonsense\n:\n0::\n", {{"sys/fs/cgroup/cpu.max", "nonsense\n"}}, 0},
    };
    for (size_t i = 0; i < EFF_COUNT(rows); i++) {
        char root[] = "/tmp/effnet-test-XXXXXX", command[64];
        assert_non_null(mkdtemp(root));
        write_file(root, "proc/self/cgroup", rows[i].cgroup);
        for (size_t k = 0; k < 3 && rows[i].files[k][0] != NULL; k++)
            write_file(root, rows[i].files[k][0], rows[i].files[k][1]);
        const double quota = eff_cpu_quota(root);
        if (quota != rows[i].quota)
            fail_msg("row %zu: a quota of %g, not %g", i, quota, rows[i].quota);
        snprintf(command, sizeof command, "rm -r %s", root);
        assert_int_equal(system(command), 0);
    }
    assert_true(eff_cpu_quota("/nowhere") == 0);
    assert_true(eff_cpu_count() >= 1);
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
        cmocka_unit_test(pools_run_beside_each_other),
        cmocka_unit_test(quotas_of_control_groups_are_read),
        cmocka_unit_test(interpolations_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
