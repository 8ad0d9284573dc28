/* SPDX-License-Identifier: Apache-2.0 */
/* Running another program, listening to it, and leaving nothing behind when the user interrupts. */
#ifndef EFF_HUB_CHILD_H
#define EFF_HUB_CHILD_H

#include "effnet/base.h"

#include <signal.h>
#include <stdbool.h>

/**
 * Signals held back in the calling thread while there are temporary files: an interrupt ends the work early, the files
 * are removed, and release() then lets the signal do what it always does. Ignored signals stay ignored.
 */
typedef struct EffHeldSignals {
    sigset_t held;   /* those that hold() has blocked */
    sigset_t before; /* the mask to go back to */
} EffHeldSignals;

void eff_signals_hold(EffHeldSignals *signals);
bool eff_signals_pending(const EffHeldSignals *signals);
void eff_signals_release(const EffHeldSignals *signals);

enum { EFF_CHILD_TAIL_BYTES = 8192, EFF_CHILD_NOT_FOUND = 127 };

/** How a child ended. */
typedef struct EffChild {
    int exit_code;                   /**< 128 + n when signal n ended it; EFF_CHILD_NOT_FOUND: no such program */
    char tail[EFF_CHILD_TAIL_BYTES]; /**< the end of its stdout and stderr, together, as a string */
} EffChild;

/**
 * Run a program, found along PATH, without a shell and with nothing on stdin, until it ends.
 *
 * @return EFF_OK when it ran, whatever its exit code; EFF_ERR_IO when it can't be started; EFF_ERR_INTERRUPTED when
 *         a held signal came: the child has been terminated.
 */
EffStatus eff_child_run(EffChild *out, char *const argv[], char *const envp[], const EffHeldSignals *signals);

#endif
