/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line. */
#include "progress.h"

#include "base/threads.h"

#include <stdio.h>
#include <unistd.h>

Progress progress_begin(const char *what, size_t total, bool quiet)
{
    return (Progress){.what = what, .total = total, .started = eff_now(), .on = !quiet && isatty(STDERR_FILENO)};
}

void progress_update(Progress *p, size_t done)
{
    const double now = eff_now();
    if (!p->on || done == 0 || (now - p->shown < 0.1 && done < p->total))
        return;
    p->shown = now;
    const double seconds = now - p->started, rate = (double)done / (seconds > 0 ? seconds : 1e-9);
    const double left = (double)(p->total - done) / rate;
    fprintf(stderr, "\r%s %zu of %zu (%.0f %%), %.1f/s, %d:%02d left\033[K", p->what, done, p->total,
            100.0 * (double)done / (double)p->total, rate, (int)left / 60, (int)left % 60);
    fflush(stderr);
}

void progress_end(Progress *p)
{
    if (p->on)
        fputs("\r\033[K", stderr);
    p->on = false;
}
