/* SPDX-License-Identifier: Apache-2.0 */
/* What the decoders share: the file they read, the limits they keep, and the picture they fill. */
#ifndef EFF_IMAGE_DECODE_H
#define EFF_IMAGE_DECODE_H

#include "effnet/image.h"
#include "image/resize.h"

#include <stdbool.h>

enum {
    EFF_IMAGE_MAX_SIDE = 65535,        /* JPEG's own limit; PNG and WebP could go further */
    EFF_IMAGE_MAX_FILE_BYTES = 1 << 26 /* of eff_image_open() */
};

/* One file to decode. */
typedef struct EffPictureFile {
    const uint8_t *data;
    size_t size;
    const char *name;         /* for messages */
    uint64_t max_pixels;      /* positive */
    bool want_exif;           /* set EffPicture.orientation from the file's EXIF */
    const EffPreprocess *pre; /* what this and fast_scale are for: see eff_image_decode_part(); NULL for all pixels */
    bool fast_scale;
} EffPictureFile;

/*
 * What a decoder makes of it: RGB pixels as stored, and how they ask to be turned. A decoder that leaves pixels out
 * sets `part`, the place of `image` in the upright picture of upright_width x upright_height.
 */
typedef struct EffPicture {
    EffImage image;
    int orientation; /* EXIF 1..8; 1 when absent or not wanted */
    bool is_part;
    EffRect part;
    int upright_width, upright_height;
} EffPicture;

/*
 * Each takes a file that starts as its format does. The owner of `out` frees out->image on success and on failure:
 * the decoders jump out of library callbacks, and leave what they had.
 */
EffStatus eff_decode_jpeg(EffPicture *out, const EffPictureFile *file);
EffStatus eff_decode_png(EffPicture *out, const EffPictureFile *file);
EffStatus eff_decode_webp(EffPicture *out, const EffPictureFile *file);

/* Refuse sides and areas above the limits with EFF_ERR_LIMIT, 0 with EFF_ERR_FORMAT; called before any allocation. */
EffStatus eff_picture_check(const EffPictureFile *file, uint64_t width, uint64_t height);

/* Allocate the RGB pixels of a checked size; not cleared. */
EffStatus eff_picture_alloc(EffPicture *out, const EffPictureFile *file, int width, int height);

/* The orientation an EXIF block asks for, 1..8; 1 when it says nothing that makes sense. `exif` may lack "Exif\0\0". */
EffStatus eff_exif_orientation(int *orientation, const uint8_t *exif, size_t size, const char *name);

/* Does an orientation exchange the sides? */
bool eff_orientation_swaps(int orientation);

/* Where a rectangle of the upright picture is stored; width x height is the stored picture. */
EffRect eff_rect_unturn(const EffRect *upright, int orientation, int width, int height);

/* Turn a picture upright: `orientation` is EXIF's, 1..8. The image is replaced; on EFF_ERR_NOMEM it is unchanged. */
EffStatus eff_image_turn(EffImage *image, int orientation);

#endif
