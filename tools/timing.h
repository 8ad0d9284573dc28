/* SPDX-License-Identifier: Apache-2.0 */
/* Timing a model: repeated rounds of one picture at a time, of independent streams, or of batches. */
#ifndef EFFNET_TOOLS_TIMING_H
#define EFFNET_TOOLS_TIMING_H

#include "effnet/effnet.h"

#include <stdbool.h>

enum { TIMING_INPUTS = 4, TIMING_ROUNDS = 10 };

/* What sorted times say; percentiles are nearest-rank: the p-th is a time that was measured. */
typedef struct TimeStats {
    double min, mean, median, p90, p99, p999; /* ms */
} TimeStats;

/* How pictures are run. One session of n_threads, or n_sessions at once, each of n_threads. */
typedef struct Workload {
    int n_sessions, n_threads;
    int batch;    /* pictures that one time covers, shared by the sessions; 0: each picture on its own */
    bool unfused; /* step by step, every tensor whole in memory */
} Workload;

/* One workload's times. */
typedef struct Timing {
    Workload work;
    EffSessionMemory memory; /* of one session */
    int n_rounds, n_runs;    /* of all rounds: pictures, or batches */
    double *ms;              /* [n_runs], round after round; sorted by timing_finish() */
    double round_median[TIMING_ROUNDS], round_rate[TIMING_ROUNDS]; /* ms; pictures a second */
    TimeStats stats;
    double rate; /* pictures a second, of all rounds */
    bool stable; /* every run gave the logits of the first run of its picture */
} Timing;

/* Pictures and what the model makes of them. */
typedef struct TimingInputs {
    const EffModelInfo *info;
    uint8_t *pixels[TIMING_INPUTS]; /* [size][size][3] */
    float *logits[TIMING_INPUTS];   /* [n_classes], set by timing_inputs_init() with one thread */
    uint64_t digest;                /* FNV-1a of all of them */
} TimingInputs;

/* Fills pixels [size][size][3] with picture i of those that are timed. */
void timing_picture(uint8_t *pixels, int size, int i);
EffStatus timing_inputs_init(TimingInputs *inputs, const EffModel *m);
void timing_inputs_free(TimingInputs *inputs);

typedef struct Timer Timer;

/* The session that a workload asks for. */
EffStatus timing_session(EffSession **out, const EffModel *m, const Workload *work);

/*
 * Sessions and memory for a workload, warmed up for about 0.3 s. n_runs in all, or as many as fit in `seconds` where
 * that is positive; at least one a round.
 */
EffStatus timer_create(Timer **out, const EffModel *m, const TimingInputs *inputs, const Workload *work, int n_runs,
                       double seconds);
/* Round `r`, 0 to TIMING_ROUNDS - 1; rounds that the number of runs does not reach are empty. */
void timer_round(Timer *t, int r);
/* The times after the last round. Borrowed. */
const Timing *timer_finish(Timer *t);
void timer_destroy(Timer *t);

/* Statistics of n > 0 times, which are sorted on the way. */
TimeStats timing_stats(double *ms, int n);
/* Median of n > 0 numbers, which are not changed; n <= TIMING_ROUNDS. */
double timing_median(const double *values, int n);

#endif
