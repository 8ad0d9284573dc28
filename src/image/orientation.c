/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EXIF orientation: reads the tag with libexif and turns the pixels. Cameras store what the sensor saw and leave the
 * turning to the reader; most training sets were read without it, so it is off unless asked for.
 */
#include "image/decode.h"

#include "base/mem.h"
#include "base/status.h"

#include <string.h>

#include <libexif/exif-data.h>

enum { EXIF_PREFIX_BYTES = 6, MAX_EXIF_BYTES = 1 << 16 };
static const uint8_t exif_prefix[EXIF_PREFIX_BYTES] = {'E', 'x', 'i', 'f', 0, 0};

static int find_orientation(ExifData *exif)
{
    const ExifEntry *entry = exif_content_get_entry(exif->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    if (entry == NULL || entry->format != EXIF_FORMAT_SHORT || entry->components < 1 || entry->size < 2)
        return 1;
    const int value = exif_get_short(entry->data, exif_data_get_byte_order(exif));
    return value >= 1 && value <= 8 ? value : 1;
}

EffStatus eff_exif_orientation(int *orientation, const uint8_t *exif, size_t size, const char *name)
{
    *orientation = 1;
    if (size < EXIF_PREFIX_BYTES)
        return EFF_OK;
    if (size > MAX_EXIF_BYTES) /* the tag is in the first directory; thumbnails and maker notes may be cut */
        size = MAX_EXIF_BYTES;
    /* libexif looks for a JPEG where the prefix is missing, which WebP and PNG leave out. */
    uint8_t *prefixed = NULL;
    if (memcmp(exif, exif_prefix, EXIF_PREFIX_BYTES) != 0) {
        prefixed = eff_malloc(EXIF_PREFIX_BYTES + size);
        if (prefixed == NULL)
            return eff_fail_nomem(EXIF_PREFIX_BYTES + size, name);
        memcpy(prefixed, exif_prefix, EXIF_PREFIX_BYTES);
        memcpy(prefixed + EXIF_PREFIX_BYTES, exif, size);
        exif = prefixed;
        size += EXIF_PREFIX_BYTES;
    }
    ExifData *data = exif_data_new();
    if (data != NULL) {
        exif_data_unset_option(data, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION); /* nothing to repair: we read one tag */
        exif_data_load_data(data, exif, (unsigned)size);
        *orientation = find_orientation(data);
        exif_data_unref(data);
    }
    eff_free(prefixed);
    return data != NULL ? EFF_OK : eff_fail_nomem(size, name);
}

/* Where the upright picture's origin is stored, and which stored axis its x runs along. */
static const struct {
    uint8_t swap, from_right, from_bottom;
} turns[9] = {
    [1] = {0, 0, 0}, [2] = {0, 1, 0}, [3] = {0, 1, 1}, [4] = {0, 0, 1},
    [5] = {1, 0, 0}, [6] = {1, 0, 1}, [7] = {1, 1, 1}, [8] = {1, 1, 0},
};

bool eff_orientation_swaps(int orientation)
{
    return turns[orientation].swap != 0;
}

EffRect eff_rect_unturn(const EffRect *upright, int orientation, int width, int height)
{
    EffRect r = *upright;
    if (turns[orientation].swap)
        r = (EffRect){.x = upright->y, .y = upright->x, .width = upright->height, .height = upright->width};
    if (turns[orientation].from_right)
        r.x = width - r.x - r.width;
    if (turns[orientation].from_bottom)
        r.y = height - r.y - r.height;
    return r;
}

EffStatus eff_image_turn(EffImage *image, int orientation)
{
    if (orientation <= 1 || orientation > 8)
        return EFF_OK;
    const ptrdiff_t n_ch = image->channels, width = image->width, height = image->height;
    const size_t n_bytes = (size_t)(width * height * n_ch);
    uint8_t *turned = eff_malloc(n_bytes);
    if (turned == NULL)
        return eff_fail_nomem(n_bytes, "the turned picture");
    ptrdiff_t step_x = n_ch, step_y = width * n_ch; /* bytes */
    const uint8_t *origin = image->pixels;
    if (turns[orientation].from_right) {
        origin += (width - 1) * step_x;
        step_x = -step_x;
    }
    if (turns[orientation].from_bottom) {
        origin += (height - 1) * step_y;
        step_y = -step_y;
    }
    const bool swap = turns[orientation].swap;
    const ptrdiff_t out_w = swap ? height : width, out_h = swap ? width : height;
    const ptrdiff_t along_x = swap ? step_y : step_x, along_y = swap ? step_x : step_y;
    uint8_t *dst = turned;
    for (ptrdiff_t y = 0; y < out_h; y++) {
        for (ptrdiff_t x = 0; x < out_w; x++) {
            const uint8_t *src = origin + y * along_y + x * along_x;
            for (ptrdiff_t c = 0; c < n_ch; c++)
                *dst++ = src[c];
        }
    }
    eff_free(image->pixels);
    *image = (EffImage){.pixels = turned, .width = (int)out_w, .height = (int)out_h, .channels = (int)n_ch};
    return EFF_OK;
}
