/* SPDX-License-Identifier: Apache-2.0 */
/* Raising errors inside the library: a status for the program, a sentence for the user. */
#ifndef EFF_BASE_STATUS_H
#define EFF_BASE_STATUS_H

#include "base/compiler.h"
#include "effnet/base.h"

/**
 * Record a message for eff_last_message() and return `status`, so that callers write `return eff_fail(...)`.
 * The message names the file and place, says what is wrong, and after a semicolon what to do.
 */
EFF_PRINTF(2, 3) EffStatus eff_fail(EffStatus status, const char *fmt, ...);

/** Put "prefix: " before the message of the last failure: adds the file once the inner reader has said what is wrong.
 */
EFF_PRINTF(2, 3) EffStatus eff_fail_in(EffStatus status, const char *prefix_fmt, ...);

/** The usual answer to a failed allocation of `n_bytes` for `what`. */
EffStatus eff_fail_nomem(size_t n_bytes, const char *what);

/** "path: what: strerror(errno)" with a remedy for the common cases (missing, no permission, disk full). */
EffStatus eff_fail_errno(int err, const char *path, const char *what);

#endif
