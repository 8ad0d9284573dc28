/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), so that the runtime library needs no other. */
#ifndef EFF_BASE_SHA256_H
#define EFF_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { EFF_SHA256_BYTES = 32, EFF_SHA256_HEX = 65 }; /* the digest; 64 digits and the NUL */

void eff_sha256(uint8_t digest[EFF_SHA256_BYTES], const void *data, size_t n);
/* The digest in lower-case hex. */
void eff_sha256_hex(char hex[EFF_SHA256_HEX], const void *data, size_t n);
/* A digest as text. */
void eff_sha256_to_hex(char hex[EFF_SHA256_HEX], const uint8_t digest[EFF_SHA256_BYTES]);

#endif
