/* SPDX-License-Identifier: Apache-2.0 */
/* A wheel in memory: one file out of it. */
#ifndef EFF_HUB_WHEEL_H
#define EFF_HUB_WHEEL_H

#include "base/file.h"

/**
 * Unpack one member of a zip archive into new memory.
 *
 * @param out        receives the bytes, the caller's (eff_free); untouched on failure.
 * @param what       name of the archive for messages.
 * @param max_bytes  a member that claims more is refused.
 * @return EFF_OK, EFF_ERR_FORMAT (no zip, damaged, no such member, too large), EFF_ERR_NOMEM.
 */
EffStatus eff_wheel_member(EffBytes *out, const EffBytes *wheel, const char *what, const char *member,
                           size_t max_bytes);

#endif
