/* SPDX-License-Identifier: Apache-2.0 */
/* Is it slower than it was? Two measurements' rounds, compared by their spread. */
#ifndef EFFNET_TOOLS_REGRESS_H
#define EFFNET_TOOLS_REGRESS_H

#include <jansson.h>
#include <stdbool.h>

typedef enum Verdict { VERDICT_SAME, VERDICT_FASTER, VERDICT_SLOWER } Verdict;

typedef struct Change {
    Verdict verdict;
    double ratio; /* new median time over old: above 1 is slower */
    double
        noise_percent; /* range of a measurement's rounds over its median, of the worse one; slowest fifth left out */
} Change;

/*
 * From the times of rounds, at most 64 each, at least 3. The slowest fifth of the rounds is left out on either side,
 * since disturbances only slow down. A verdict other than "same" needs all rounds of the one to be beyond all of the
 * other, and medians that differ by more than 2 %.
 */
Change regress_times(const double *old_times, int n_old, const double *new_times, int n_new);

/* "same within noise", "faster", "slower". */
const char *verdict_name(Verdict v);

/*
 * Times of a workload in a report of `effnet perf`: of its rounds, or for streams one over their rates. Returns how
 * many, 0 when `workload` is not such a thing.
 */
int regress_rounds(double times[64], const json_t *workload);

/* (largest - smallest) / median in percent, the slowest fifth left out. */
double regress_spread(const double *times, int n);

#endif
