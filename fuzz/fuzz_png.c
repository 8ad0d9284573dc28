/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PNG decoder, EXIF included. A small limit of pixels keeps memory bounded whatever the header says. Nearly every
 * mutant fails a chunk's CRC, so each input is decoded again with its CRCs repaired.
 */
#include "effnet/image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *data, size_t size)
{
    const EffDecodeOptions options = {.apply_orientation = 1, .max_pixels = 1 << 20};
    EffImage image = {0};
    if (eff_image_decode(&image, data, size, "fuzz", &options) == EFF_OK)
        eff_image_free(&image);
}

static uint32_t crc32_of(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void repair_crcs(uint8_t *data, size_t size)
{
    for (size_t at = 8; size >= 12 && at <= size - 12;) {
        const uint8_t *p = data + at;
        const size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (n > size - at - 12)
            return;
        const uint32_t crc = crc32_of(p + 4, n + 4);
        for (size_t i = 0; i < 4; i++)
            data[at + 8 + n + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += n + 12;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(data, size);
    uint8_t *repaired = malloc(size ? size : 1);
    if (repaired == NULL)
        return 0;
    memcpy(repaired, data, size);
    repair_crcs(repaired, size);
    decode(repaired, size);
    free(repaired);
    return 0;
}
