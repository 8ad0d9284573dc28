/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), as iSCSI defines it (RFC 3720, appendix B.4): finds every single and double bit flip. */
#ifndef EFF_FORMAT_CRC32C_H
#define EFF_FORMAT_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC of more bytes after those that gave `crc`; 0 for none. */
uint32_t eff_crc32c(uint32_t crc, const void *data, size_t n);

#endif
