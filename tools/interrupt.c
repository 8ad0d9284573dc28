/* SPDX-License-Identifier: Apache-2.0 */
/* Noting SIGINT. */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t seen;

static void note(int signal)
{
    (void)signal;
    seen = 1;
}

void interrupt_catch(void)
{
    const struct sigaction act = {.sa_handler = note};
    struct sigaction before;
    sigaction(SIGINT, &act, &before);
    if (before.sa_handler == SIG_IGN)
        sigaction(SIGINT, &before, NULL);
}

bool interrupt_seen(void)
{
    return seen != 0;
}
