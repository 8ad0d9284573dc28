/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as in The Unicode Standard, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF. */
#include "format/utf8.h"

#include <stdint.h>

bool eff_utf8_is_clean(const char *text, size_t n, bool lines)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000}; /* by number of continuation bytes */
    for (size_t i = 0; i < n;) {
        const uint8_t lead = (uint8_t)text[i++];
        const size_t more = lead < 0x80 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if ((lead >= 0x80 && lead < 0xc0) || lead >= 0xf8 || more > n - i)
            return false;
        uint32_t code = more == 0 ? lead : lead & (0x3fu >> more);
        for (size_t k = 0; k < more; k++) {
            const uint8_t next = (uint8_t)text[i++];
            if ((next & 0xc0) != 0x80)
                return false;
            code = code << 6 | (next & 0x3fu);
        }
        if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
        if (control && !(lines && (code == '\n' || code == '\r' || code == '\t')))
            return false;
    }
    return true;
}
