/* SPDX-License-Identifier: Apache-2.0 */
/* Status names and the message of the last failure, one a thread. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 1024 };
static _Thread_local char last_message[MESSAGE_BYTES];

const char *eff_last_message(void)
{
    return last_message;
}

const char *eff_status_name(EffStatus status)
{
    switch (status) {
    case EFF_OK: return "EFF_OK";
    case EFF_ERR_ARG: return "EFF_ERR_ARG";
    case EFF_ERR_FORMAT: return "EFF_ERR_FORMAT";
    case EFF_ERR_IO: return "EFF_ERR_IO";
    case EFF_ERR_UNSUPPORTED: return "EFF_ERR_UNSUPPORTED";
    case EFF_ERR_VERSION: return "EFF_ERR_VERSION";
    case EFF_ERR_LIMIT: return "EFF_ERR_LIMIT";
    case EFF_ERR_NOMEM: return "EFF_ERR_NOMEM";
    case EFF_ERR_INTERRUPTED: return "EFF_ERR_INTERRUPTED";
    }
    return "EFF_ERR_UNKNOWN";
}

EffStatus eff_fail(EffStatus status, const char *fmt, ...)
{
    char text[MESSAGE_BYTES]; /* the arguments may point into last_message */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    memcpy(last_message, text, sizeof text);
    return status;
}

EffStatus eff_fail_in(EffStatus status, const char *prefix_fmt, ...)
{
    char text[MESSAGE_BYTES];
    va_list args;
    va_start(args, prefix_fmt);
    int n = vsnprintf(text, sizeof text, prefix_fmt, args);
    va_end(args);
    if (n < 0 || n >= MESSAGE_BYTES - 2)
        n = MESSAGE_BYTES - 3;
    snprintf(text + n, sizeof text - (size_t)n, ": %s", last_message);
    memcpy(last_message, text, sizeof text);
    return status;
}

EffStatus eff_fail_nomem(size_t n_bytes, const char *what)
{
    return eff_fail(EFF_ERR_NOMEM, "out of memory: %zu bytes for %s; close other programs or use a smaller input",
                    n_bytes, what);
}

EffStatus eff_fail_errno(int err, const char *path, const char *what)
{
    const char *remedy = "";
    switch (err) {
    case ENOENT: remedy = "; check the spelling of the path"; break;
    case EACCES:
    case EPERM: remedy = "; check its permissions"; break;
    case ENOSPC:
    case EDQUOT: remedy = "; free some space or choose another place"; break;
    case EFBIG: remedy = "; raise the limit on the size of files (ulimit -f) or choose another place"; break;
    case EISDIR: remedy = "; name a file"; break;
    case ENOTDIR: remedy = "; a part of the path is not a directory"; break;
    case EROFS: remedy = "; choose a place that can be written"; break;
    default: break;
    }
    return eff_fail(err == ENOMEM ? EFF_ERR_NOMEM : EFF_ERR_IO, "%s: %s: %s%s", path, what, strerror(err), remedy);
}
