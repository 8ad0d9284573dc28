/* SPDX-License-Identifier: Apache-2.0 */
/* The JPEG decoder, EXIF included. A small limit of pixels keeps memory bounded whatever the header says. */
#include "effnet/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const EffDecodeOptions options = {.apply_orientation = 1, .max_pixels = 1 << 20};
    EffImage image = {0};
    if (eff_image_decode(&image, data, size, "fuzz", &options) == EFF_OK)
        eff_image_free(&image);
    return 0;
}
