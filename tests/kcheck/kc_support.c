/* SPDX-License-Identifier: Apache-2.0 */
/* kcheck: guarded memory, layer shapes, random values, comparison and reporting. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "kcheck.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CANARY = 0xa5 };

KcBuf kc_buf(size_t bytes, size_t align)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (bytes + align + page - 1) / page * page;
    KcBuf buf = {.bytes = bytes, .map_bytes = body + 2 * page};
    buf.map = mmap(NULL, buf.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buf.map == MAP_FAILED || mprotect((char *)buf.map + page, body, PROT_READ | PROT_WRITE) != 0) {
        perror("kcheck: mmap");
        exit(2);
    }
    char *start = (char *)buf.map + page;
    memset(start, CANARY, body);
    buf.data = start + (body - bytes) / align * align;
    return buf;
}

bool kc_buf_intact(const KcBuf *buf)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const unsigned char *p = (const unsigned char *)buf->map + page, *data = buf->data;
    const unsigned char *end = (const unsigned char *)buf->map + buf->map_bytes - page;
    for (; p < data; p++) {
        if (*p != CANARY)
            return false;
    }
    for (p = data + buf->bytes; p < end; p++) {
        if (*p != CANARY)
            return false;
    }
    return true;
}

void kc_buf_free(KcBuf *buf)
{
    if (buf->map != NULL)
        munmap(buf->map, buf->map_bytes);
    *buf = (KcBuf){0};
}

bool kc_shapes_read(KcShapes *out, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[256];
    size_t room = 0;
    *out = (KcShapes){0};
    if (f == NULL) {
        fprintf(stderr, "kcheck: cannot read %s; give the layer shapes with --shapes FILE\n", path);
        return false;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        KcShape s;
        if (line[0] == '#')
            continue;
        if (sscanf(line, "%11s %11s %d %d %d %d %d %d %11s %d", s.net, s.op, &s.in_ch, &s.out_ch, &s.kernel, &s.stride,
                   &s.in_size, &s.out_size, s.act, &s.count) != 10) {
            fprintf(stderr, "kcheck: %s: not a layer: %s", path, line);
            fclose(f);
            return false;
        }
        if (out->n == room) {
            room = room ? 2 * room : 256;
            out->items = realloc(out->items, room * sizeof *out->items);
            if (out->items == NULL)
                abort();
        }
        out->items[out->n++] = s;
    }
    fclose(f);
    return out->n > 0;
}

bool kc_begin(KCheck *t, const char *name, uintptr_t fn)
{
    if (t->only != NULL && strcmp(t->only, name) != 0)
        return false;
    for (int i = 0; i < t->n_seen; i++) {
        if (t->seen[i] == fn)
            return false;
    }
    if (t->n_seen < KC_MAX_SEEN)
        t->seen[t->n_seen++] = fn;
    t->test = name;
    t->n_checked = t->n_weak = 0;
    t->n_tests++;
    return true;
}

void kc_case(KCheck *t, int i)
{
    uint64_t mix = t->seed * 0x9e3779b97f4a7c15u + (uint64_t)i;
    for (const char *p = t->test; *p; p++)
        mix = mix * 31 + (unsigned char)*p;
    eff_rng_init(&t->rng, mix);
    eff_rng_next(&t->rng);
    t->i_case = i;
    t->n_checked++;
}

void kc_end(KCheck *t)
{
    if (t->json)
        printf("{\"level\":\"%s\",\"test\":\"%s\",\"cases\":%d,\"weak\":%d}\n", t->level, t->test, t->n_checked,
               t->n_weak);
    else
        printf("%-11s %-14s %5d cases equal, %d weak\n", t->level, t->test, t->n_checked, t->n_weak);
    if (t->n_weak * 3 > t->n_checked) {
        printf("%s: %s: %d of %d cases are nearly all saturated: they would hide errors\n", t->program, t->test,
               t->n_weak, t->n_checked);
        t->n_failed++;
    }
}

static void print_rerun(KCheck *t)
{
    printf("  case %d: %s\n  rerun: %s --cpu %s --test %s --seed %" PRIu64 "\n", t->i_case, t->what, t->program, t->cpu,
           t->test, t->seed);
    t->n_failed++;
}

static int64_t value(const void *v, size_t i, size_t width)
{
    switch (width) {
    case 1: return ((const uint8_t *)v)[i];
    case 2: return ((const int16_t *)v)[i];
    case 4: return ((const int32_t *)v)[i];
    default: return ((const int64_t *)v)[i];
    }
}

bool kc_equal_bytes(KCheck *t, const char *what, const void *ref, const void *got, size_t n, size_t width, size_t line)
{
    if (memcmp(ref, got, n * width) == 0)
        return true;
    size_t first = n, bad = 0;
    for (size_t i = 0; i < n; i++) {
        if (value(ref, i, width) != value(got, i, width)) {
            first = bad == 0 ? i : first;
            bad++;
        }
    }
    printf("FAIL %s %s: %s differs in %zu of %zu values, first at [%zu][%zu]: C gives %" PRId64 ", this kernel %" PRId64
           "\n",
           t->level, t->test, what, bad, n, first / line, first % line, value(ref, first, width),
           value(got, first, width));
    print_rerun(t);
    return false;
}

bool kc_intact(KCheck *t, const KcBuf *const bufs[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bufs[i]->map != NULL && !kc_buf_intact(bufs[i])) {
            printf("FAIL %s %s: buffer %zu was written outside its bounds\n", t->level, t->test, i);
            print_rerun(t);
            return false;
        }
    }
    return true;
}

void kc_weigh_u8(KCheck *t, const uint8_t *v, size_t n)
{
    size_t limit = 0;
    for (size_t i = 0; i < n; i++)
        limit += v[i] == 0 || v[i] == 255;
    if (limit * 10 > n * 9)
        t->n_weak++;
}

void kc_weigh_s16(KCheck *t, const int16_t *v, size_t n)
{
    size_t limit = 0;
    for (size_t i = 0; i < n; i++)
        limit += v[i] >= INT16_MAX - 1 || v[i] <= -INT16_MAX + 1 || v[i] == 0;
    if (limit * 10 > n * 9)
        t->n_weak++;
}

int kc_range(KCheck *t, int lo, int hi)
{
    return lo + (int)eff_rng_below(&t->rng, (uint64_t)(hi - lo + 1));
}

bool kc_chance(KCheck *t, int percent)
{
    return kc_range(t, 0, 99) < percent;
}

void kc_fill_u8(KCheck *t, uint8_t *v, size_t n)
{
    const int kind = kc_range(t, 0, 9);
    for (size_t i = 0; i < n; i++) {
        const int r = kc_range(t, 0, 255);
        v[i] = (uint8_t)(kind == 0 ? 0 : kind == 1 ? 255 : kind == 2 ? (r & 1 ? 255 : 0) : r);
    }
}

void kc_fill_weights(KCheck *t, int8_t *v, size_t n)
{
    const int kind = kc_range(t, 0, 11);
    for (size_t i = 0; i < n; i++) {
        const int r = kc_range(t, -127, 127);
        v[i] = (int8_t)(kind == 0 ? 127 : kind == 1 ? -127 : kind == 2 ? (r & 1 ? 127 : -127) : r);
    }
}

void kc_fill_s16(KCheck *t, int16_t *v, size_t n)
{
    const int kind = kc_range(t, 0, 5);
    for (size_t i = 0; i < n; i++) {
        const int r = kc_range(t, INT16_MIN, INT16_MAX);
        v[i] = (int16_t)(kind == 0 ? (r & 1 ? INT16_MAX : INT16_MIN) : kind == 1 ? r : r / 8);
    }
}
