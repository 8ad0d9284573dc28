/* SPDX-License-Identifier: Apache-2.0 */
/* The members of the family: scaling factors and preprocessing, and finding one by the names that people use. */
#include "base/status.h"
#include "base/suggest.h"
#include "effnet/compile.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct Variant {
    const char *name;
    double width, depth;
    int size;
    double crop;
    int lite;
    EffInterpolation interpolation;
} Variant;

/* Factors: arXiv 1905.11946 and the authors' code; size and crop: the published checkpoints' evaluation in timm. */
static const Variant variants[] = {
    {"efficientnet-b0", 1.0, 1.0, 224, 0.875, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-b1", 1.0, 1.1, 240, 0.882, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-b2", 1.1, 1.2, 260, 0.890, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-b3", 1.2, 1.4, 300, 0.904, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-b4", 1.4, 1.8, 380, 0.922, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-b5", 1.6, 2.2, 456, 0.934, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-b6", 1.8, 2.6, 528, 0.942, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-b7", 2.0, 3.1, 600, 0.949, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-b8", 2.2, 3.6, 672, 0.954, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-l2", 4.3, 5.3, 800, 0.960, 0, EFF_INTERP_BICUBIC},
    {"efficientnet-lite0", 1.0, 1.0, 224, 0.875, 1, EFF_INTERP_BICUBIC},
    {"efficientnet-lite1", 1.0, 1.1, 240, 0.882, 1, EFF_INTERP_BICUBIC},
    {"efficientnet-lite2", 1.1, 1.2, 260, 0.890, 1, EFF_INTERP_BICUBIC},
    {"efficientnet-lite3", 1.2, 1.4, 300, 0.904, 1, EFF_INTERP_BILINEAR},
    {"efficientnet-lite4", 1.4, 1.8, 380, 0.920, 1, EFF_INTERP_BILINEAR},
};

const char *eff_arch_name(size_t i)
{
    return i < EFF_COUNT(variants) ? variants[i].name : NULL;
}

/* "TF_EfficientNet_B0" -> "tf-efficientnet-b0"; a name that is too long comes out cut, and matches nothing. */
static void normalize(char *out, size_t n_bytes, const char *name)
{
    size_t n = 0;
    for (; name[n] != '\0' && n + 1 < n_bytes; n++)
        out[n] = name[n] == '_' ? '-' : (char)tolower((unsigned char)name[n]);
    out[n] = '\0';
}

EffStatus eff_arch_find(EffArch *out, const char *name)
{
    char wanted[64];
    normalize(wanted, sizeof wanted, name);
    const bool tf = strncmp(wanted, "tf-", 3) == 0;
    const char *base = wanted + (tf ? 3 : 0);
    for (size_t i = 0; i < EFF_COUNT(variants); i++) {
        const Variant *v = &variants[i];
        if (strcmp(base, v->name) != 0 && strcmp(base, v->name + strlen("efficientnet-")) != 0)
            continue;
        EffArch arch = {.width = v->width,
                        .depth = v->depth,
                        .lite = v->lite,
                        .n_classes = 1000,
                        .in_channels = 3,
                        .padding = tf || v->lite ? EFF_PADDING_SAME : EFF_PADDING_SYMMETRIC,
                        .bn_eps = tf || v->lite ? 1e-3f : 1e-5f,
                        .pre = {.size = v->size, .crop = v->crop, .interpolation = v->interpolation}};
        static const float mean[3] = {123.675f, 116.28f, 103.53f}, std[3] = {58.395f, 57.12f, 57.375f};
        for (int c = 0; c < 3; c++) {
            arch.pre.mean[c] = v->lite ? 127.0f : mean[c];
            arch.pre.std[c] = v->lite ? 128.0f : std[c];
        }
        snprintf(arch.name, sizeof arch.name, "%s%s", tf && !v->lite ? "tf-" : "", v->name);
        *out = arch;
        return EFF_OK;
    }
    const char *near = eff_suggest(base, (const char *const *)variants, EFF_COUNT(variants), sizeof *variants);
    if (near != NULL)
        return eff_fail(EFF_ERR_ARG, "unknown architecture '%s'; did you mean '%s'?", name, near);
    return eff_fail(EFF_ERR_ARG, "unknown architecture '%s'; use one of efficientnet-b0..b8, -l2, -lite0..4", name);
}
