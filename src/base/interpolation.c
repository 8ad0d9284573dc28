/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the resize kernels; the resizer itself is src/image/resize.c. */
#include "base/status.h"

#include <string.h>

static const char *const names[] = {"box", "bilinear", "hamming", "bicubic", "lanczos"};

const char *eff_interpolation_name(EffInterpolation k)
{
    return (unsigned)k < EFF_COUNT(names) ? names[k] : NULL;
}

EffStatus eff_interpolation_find(EffInterpolation *out, const char *name)
{
    for (size_t i = 0; i < EFF_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (EffInterpolation)i;
            return EFF_OK;
        }
    }
    return eff_fail(EFF_ERR_ARG, "unknown interpolation '%s'; use box, bilinear, hamming, bicubic or lanczos", name);
}
