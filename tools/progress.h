/* SPDX-License-Identifier: Apache-2.0 */
/* A progress line on stderr, with rate and remaining time; silent unless stderr is a terminal. */
#ifndef EFFNET_TOOLS_PROGRESS_H
#define EFFNET_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Progress {
    const char *what;
    size_t total;
    double started, shown;
    bool on;
} Progress;

Progress progress_begin(const char *what, size_t total, bool quiet);
/* Show that `done` of the total are done; at most ten times a second. */
void progress_update(Progress *p, size_t done);
/* Clear the line. */
void progress_end(Progress *p);

#endif
