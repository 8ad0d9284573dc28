/* SPDX-License-Identifier: Apache-2.0 */
/* Text from a file that people will read on a terminal. */
#ifndef EFF_FORMAT_UTF8_H
#define EFF_FORMAT_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Whether n bytes are UTF-8 without control characters (C0, DEL, C1); `lines` admits \n, \r and \t. */
bool eff_utf8_is_clean(const char *text, size_t n, bool lines);

#endif
