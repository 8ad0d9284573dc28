/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the pictures. */
#include "quant/some.h"

static const char *name_some(void *ctx, size_t i)
{
    const EffSomePictures *some = ctx;
    return some->all->name(some->all->ctx, i * some->all->n / some->n);
}

static EffStatus get_some(void *ctx, size_t i, uint8_t *pixels)
{
    const EffSomePictures *some = ctx;
    return some->all->get(some->all->ctx, i * some->all->n / some->n, pixels);
}

EffPictures eff_some_pictures(EffSomePictures *some, const EffPictures *all, size_t most)
{
    *some = (EffSomePictures){.all = all, .n = all->n < most ? all->n : most};
    return (EffPictures){.n = some->n, .get = get_some, .ctx = some, .name = all->name != NULL ? name_some : NULL};
}
