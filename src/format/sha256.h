/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), so that the runtime library needs no other. */
#ifndef EFF_FORMAT_SHA256_H
#define EFF_FORMAT_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { EFF_SHA256_BYTES = 32 };

void eff_sha256(uint8_t digest[EFF_SHA256_BYTES], const void *data, size_t n);

#endif
