/* SPDX-License-Identifier: Apache-2.0 */
/* Is it slower than it was? */
#include "regress.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROUNDS = 64 };
static const double least_change = 0.02;

/* Sorted rounds without the slowest fifth. */
typedef struct Rounds {
    double times[MAX_ROUNDS];
    int n;
} Rounds;

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static Rounds keep_rounds(const double *times, int n)
{
    Rounds r = {.n = n - n / 5};
    assert(n > 0 && n <= MAX_ROUNDS);
    memcpy(r.times, times, (size_t)n * sizeof *times);
    qsort(r.times, (size_t)n, sizeof *r.times, compare_doubles);
    return r;
}

static double median(const Rounds *r)
{
    return r->n % 2 ? r->times[r->n / 2] : 0.5 * (r->times[r->n / 2 - 1] + r->times[r->n / 2]);
}

static double spread(const Rounds *r)
{
    return 100 * (r->times[r->n - 1] - r->times[0]) / median(r);
}

double regress_spread(const double *times, int n)
{
    const Rounds r = keep_rounds(times, n);
    return spread(&r);
}

Change regress_times(const double *old_times, int n_old, const double *new_times, int n_new)
{
    const Rounds before = keep_rounds(old_times, n_old), after = keep_rounds(new_times, n_new);
    const double a = spread(&before), b = spread(&after);
    Change c = {.ratio = median(&after) / median(&before), .noise_percent = a > b ? a : b};
    if (after.times[0] > before.times[before.n - 1] && c.ratio > 1 + least_change)
        c.verdict = VERDICT_SLOWER;
    else if (after.times[after.n - 1] < before.times[0] && c.ratio < 1 - least_change)
        c.verdict = VERDICT_FASTER;
    return c;
}

const char *verdict_name(Verdict v)
{
    return v == VERDICT_SLOWER ? "slower" : v == VERDICT_FASTER ? "faster" : "same within noise";
}

int regress_rounds(double times[64], const json_t *workload)
{
    const json_int_t streams = json_integer_value(json_object_get(workload, "streams"));
    const json_t *list = streams > 0 ? json_object_get(workload, "fps_rounds")
                                     : json_object_get(json_object_get(workload, "latency_ms"), "rounds");
    const size_t n = json_array_size(list);
    if (n < 3 || n > MAX_ROUNDS)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const double v = json_number_value(json_array_get(list, i));
        if (!(v > 0))
            return 0;
        times[i] = streams > 0 ? 1 / v : v;
    }
    return (int)n;
}
