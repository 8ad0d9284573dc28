/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JPEG decoder, EXIF included: the whole picture, the part that a crop needs, and a part at a smaller scale. The
 * part is refused exactly when the whole is, and makes the same input. A small limit of pixels keeps memory bounded
 * whatever the header says.
 */
#include "effnet/image.h"

#include <stdlib.h>
#include <string.h>

enum { SIZE = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Prepare what was decoded and free it; false when that is refused, as for a picture that is too narrow. */
static int prepare(uint8_t *dst, EffImagePart *part, const EffPreprocess *pre)
{
    const int ok = eff_image_prepare_part(dst, part, pre) == EFF_OK;
    eff_image_free(&part->image);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    EffDecodeOptions options = {.apply_orientation = 1, .max_pixels = 1 << 20};
    const EffPreprocess pre = {.size = SIZE, .crop = 0.6, .interpolation = EFF_INTERP_BICUBIC};
    uint8_t want[SIZE * SIZE * 3], got[SIZE * SIZE * 3];
    EffImage image = {0};
    EffImagePart part = {0};
    const EffStatus whole = eff_image_decode(&image, data, size, "fuzz", &options);
    const EffStatus some = eff_image_decode_part(&part, data, size, "fuzz", &options, &pre);
    if (some != whole)
        abort();
    if (whole == EFF_OK) {
        const EffImagePart all = {.image = image, .full_width = image.width, .full_height = image.height};
        if (eff_image_prepare_part(want, &all, &pre) != EFF_OK || !prepare(got, &part, &pre) ||
            memcmp(want, got, sizeof want) != 0)
            abort();
        eff_image_free(&image);
    }
    options.fast_scale = 1;
    if (eff_image_decode_part(&part, data, size, "fuzz", &options, &pre) == EFF_OK)
        (void)prepare(got, &part, &pre);
    return 0;
}
