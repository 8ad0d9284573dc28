/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libFuzzer where there is none: replays files and folders of inputs through a fuzz target, and with
 * --mutants N also N seeded mutants of them (bit flips, interesting integers, cuts, copies, splices), with --fields N
 * also N mutants of the fields of ONNX files. A hang is killed by an alarm, memory is bounded by RLIMIT_AS except under
 * a sanitizer.
 *
 *     replay [--mutants N] [--fields N] [--seed S] [--cuts] PATH...      --cuts: every truncation of each input too
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "proto_mutate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { MAX_SECONDS = 20, MAX_INPUT_BYTES = 1 << 24, MAX_INPUTS = 4096 };

static EffBytes inputs[MAX_INPUTS];
static size_t n_inputs;

static void add(const char *path)
{
    if (eff_is_dir(path)) {
        EffStrings names = {0};
        if (eff_dir_list(&names, path) != EFF_OK)
            return;
        for (size_t i = 0; i < names.n; i++) {
            char *file = eff_path_join(path, names.items[i]);
            add(file);
            eff_free(file);
        }
        eff_strings_free(&names);
    } else if (n_inputs < MAX_INPUTS && eff_file_read(&inputs[n_inputs], path, MAX_INPUT_BYTES) == EFF_OK) {
        n_inputs++;
    } else {
        fprintf(stderr, "replay: cannot take %s: %s\n", path, eff_last_message());
        exit(1);
    }
}

static void run(const uint8_t *data, size_t size)
{
    alarm(MAX_SECONDS);
    /* An exact-size heap copy: a read past the end is seen. */
    uint8_t *copy = malloc(size ? size : 1);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* One mutation in place; sizes stay within [0, capacity]. */
static size_t mutate(EffRng *rng, uint8_t *data, size_t size, size_t capacity)
{
    static const uint64_t interesting[] = {0,      1,          0x7f,        0x80,        0xff,       0x7fff,    0x8000,
                                           0xffff, 0x7fffffff, 0x80000000u, 0xffffffffu, UINT64_MAX, 1ull << 62};
    const size_t at = size ? (size_t)eff_rng_below(rng, size) : 0;
    const size_t left = size - at;
    switch (size > 0 ? eff_rng_below(rng, 7) : 5) {
    case 0: data[at] = (uint8_t)(data[at] ^ (1u << eff_rng_below(rng, 8))); break;
    case 1: data[at] = (uint8_t)eff_rng_next(rng); break;
    case 2: { /* an integer of 1, 2, 4 or 8 bytes, either byte order */
        const size_t n = (size_t)1 << eff_rng_below(rng, 4);
        const uint64_t v = interesting[eff_rng_below(rng, sizeof interesting / sizeof *interesting)];
        const int big = eff_rng_below(rng, 2) != 0;
        for (size_t i = 0; i < n && i < left; i++)
            data[at + i] = (uint8_t)(v >> 8 * (big ? n - 1 - i : i));
        break;
    }
    case 3: return at; /* cut */
    case 4: {          /* drop a piece */
        const size_t n = (size_t)eff_rng_below(rng, left < 64 ? left + 1 : 64);
        memmove(data + at, data + at + n, left - n);
        return size - n;
    }
    case 5: { /* repeat a piece, or append noise */
        const size_t room = capacity - size, most = left < 64 ? left : 64;
        const size_t n = most < room ? most : room;
        memmove(data + at + n, data + at, left);
        return size + n;
    }
    default: { /* overwrite with a piece of another input */
        const EffBytes *other = &inputs[eff_rng_below(rng, n_inputs)];
        const size_t from = other->size ? (size_t)eff_rng_below(rng, other->size) : 0;
        for (size_t i = 0; i < 32 && i < left && from + i < other->size; i++)
            data[at + i] = other->data[from + i];
        break;
    }
    }
    return size;
}

static void run_fields(EffRng *rng, long n)
{
    for (size_t i = 0; n > 0 && i < n_inputs; i++) {
        if (!proto_returns(inputs[i].data, inputs[i].size)) {
            fprintf(stderr, "replay: input %zu is no ONNX file, or does not come back as it was\n", i);
            exit(1);
        }
    }
    for (long m = 0; m < n; m++) {
        const EffBytes *from = &inputs[(size_t)m % n_inputs];
        uint8_t *data;
        const size_t size = proto_mutate(&data, rng, from->data, from->size);
        run(data, size);
        free(data);
    }
}

int main(int argc, char **argv)
{
    long n_mutants = 0, n_fields = 0;
    uint64_t seed = 1;
    int cuts = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutants") == 0 && i + 1 < argc)
            n_mutants = atol(argv[++i]);
        else if (strcmp(argv[i], "--fields") == 0 && i + 1 < argc)
            n_fields = atol(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--cuts") == 0)
            cuts = 1;
        else
            add(argv[i]);
    }
    if (n_inputs == 0) {
        fprintf(stderr, "replay: no inputs; name files or folders of seeds\n");
        return 1;
    }
    if (!SANITIZED) {
        const struct rlimit limit = {.rlim_cur = 1u << 30, .rlim_max = 1u << 30};
        setrlimit(RLIMIT_AS, &limit);
    }
    for (size_t i = 0; i < n_inputs; i++) {
        run(inputs[i].data, inputs[i].size);
        for (size_t n = 0; cuts && n < inputs[i].size; n++)
            run(inputs[i].data, n);
    }
    EffRng rng;
    eff_rng_init(&rng, seed);
    for (long m = 0; m < n_mutants; m++) {
        const EffBytes *from = &inputs[(size_t)m % n_inputs];
        const size_t capacity = from->size + 4096;
        uint8_t *data = malloc(capacity);
        if (data == NULL)
            abort();
        memcpy(data, from->data, from->size);
        size_t size = from->size;
        for (uint64_t n = 1 + eff_rng_below(&rng, 4); n > 0; n--)
            size = mutate(&rng, data, size, capacity);
        run(data, size);
        free(data);
    }
    run_fields(&rng, n_fields);
    printf("replayed %zu inputs and %ld mutants\n", n_inputs, n_mutants + n_fields);
    for (size_t i = 0; i < n_inputs; i++)
        eff_free(inputs[i].data);
    return 0;
}
