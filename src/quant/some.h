/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the pictures. */
#ifndef EFF_QUANT_SOME_H
#define EFF_QUANT_SOME_H

#include "effnet/compile.h"

typedef struct EffSomePictures {
    const EffPictures *all;
    size_t n;
} EffSomePictures;

/* Up to `most` of all pictures, evenly spread; *some and *all must stay while they are used. */
EffPictures eff_some_pictures(EffSomePictures *some, const EffPictures *all, size_t most);

#endif
