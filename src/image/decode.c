/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures from files: tells the format by its first bytes, keeps the limits, hands over to one decoder a format and
 * turns the result when asked. The decoders know their library and nothing else.
 */
#include "image/decode.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_MAX_PIXELS = 100000000, SHOWN_BYTES = 12 };

void eff_image_free(EffImage *image)
{
    if (image == NULL)
        return;
    eff_free(image->pixels);
    *image = (EffImage){0};
}

EffStatus eff_picture_check(const EffPictureFile *file, uint64_t width, uint64_t height)
{
    if (width == 0 || height == 0)
        return eff_fail(EFF_ERR_FORMAT, "%s: the header says %" PRIu64 " x %" PRIu64 " pixels; fetch the file again",
                        file->name, width, height);
    if (width > EFF_IMAGE_MAX_SIDE || height > EFF_IMAGE_MAX_SIDE)
        return eff_fail(EFF_ERR_LIMIT,
                        "%s: %" PRIu64 " x %" PRIu64 " pixels, a side above the limit of %d; scale it down first",
                        file->name, width, height, EFF_IMAGE_MAX_SIDE);
    if (width * height > file->max_pixels)
        return eff_fail(EFF_ERR_LIMIT,
                        "%s: %" PRIu64 " x %" PRIu64 " = %" PRIu64 " pixels, above the limit of %" PRIu64
                        "; scale it down first or raise max_pixels",
                        file->name, width, height, width * height, file->max_pixels);
    return EFF_OK;
}

EffStatus eff_picture_alloc(EffPicture *out, const EffPictureFile *file, int width, int height)
{
    size_t n_bytes;
    if (!eff_mul_size(&n_bytes, (size_t)width, (size_t)height) || !eff_mul_size(&n_bytes, n_bytes, 3))
        return eff_fail(EFF_ERR_LIMIT, "%s: %d x %d pixels do not fit in memory; scale it down first", file->name,
                        width, height);
    uint8_t *pixels = eff_malloc(n_bytes);
    if (pixels == NULL)
        return eff_fail_nomem(n_bytes, file->name);
    out->image = (EffImage){.pixels = pixels, .width = width, .height = height, .channels = 3};
    return EFF_OK;
}

/* The first bytes of an unknown file, so that the user sees a web page or a text for what it is. */
static EffStatus fail_unknown(const EffPictureFile *file)
{
    char shown[4 * SHOWN_BYTES + 1];
    size_t n = 0;
    for (size_t i = 0; i < file->size && i < SHOWN_BYTES; i++) {
        const uint8_t c = file->data[i];
        if (c >= 0x20 && c < 0x7f)
            shown[n++] = (char)c;
        else
            n += (size_t)snprintf(shown + n, sizeof shown - n, "\\x%02x", (unsigned)c);
    }
    shown[n] = '\0';
    return eff_fail(EFF_ERR_UNSUPPORTED,
                    "%s: not a JPEG, PNG or WebP picture (starts with '%s'); convert it to one of these", file->name,
                    shown);
}

static EffStatus decode(EffPicture *out, const EffPictureFile *file)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    const uint8_t *p = file->data;
    if (file->size == 0)
        return eff_fail(EFF_ERR_FORMAT, "%s: empty file; fetch it again", file->name);
    if (file->size >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff)
        return eff_decode_jpeg(out, file);
    if (file->size >= sizeof png && memcmp(p, png, sizeof png) == 0)
        return eff_decode_png(out, file);
    if (file->size >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0)
        return eff_decode_webp(out, file);
    return fail_unknown(file);
}

/* `pre` NULL for all pixels. */
static EffStatus decode_upright(EffImagePart *out, const void *data, size_t size, const char *name,
                                const EffDecodeOptions *options, const EffPreprocess *pre)
{
    const EffPictureFile file = {
        .data = data,
        .size = size,
        .name = name != NULL ? name : "picture",
        .max_pixels = options != NULL && options->max_pixels > 0 ? options->max_pixels : DEFAULT_MAX_PIXELS,
        .want_exif = options != NULL && options->apply_orientation,
        .pre = pre,
        .fast_scale = options != NULL && options->fast_scale,
    };
    EffPicture picture = {.orientation = 1};
    EffStatus st = decode(&picture, &file);
    if (st == EFF_OK && picture.orientation != 1 &&
        (st = eff_image_turn(&picture.image, picture.orientation)) != EFF_OK)
        st = eff_fail_in(st, "%s", file.name);
    if (st != EFF_OK) {
        eff_image_free(&picture.image);
        return st;
    }
    *out = (EffImagePart){.image = picture.image,
                          .full_width = picture.is_part ? picture.upright_width : picture.image.width,
                          .full_height = picture.is_part ? picture.upright_height : picture.image.height};
    if (picture.is_part) {
        out->x = picture.part.x;
        out->y = picture.part.y;
    }
    return EFF_OK;
}

EffStatus eff_image_decode(EffImage *out, const void *data, size_t size, const char *name,
                           const EffDecodeOptions *options)
{
    EffImagePart whole;
    if (out == NULL || (data == NULL && size > 0))
        return eff_fail(EFF_ERR_ARG, "eff_image_decode: out and data must not be NULL; pass both");
    const EffStatus st = decode_upright(&whole, data, size, name, options, NULL);
    if (st == EFF_OK)
        *out = whole.image;
    return st;
}

EffStatus eff_image_decode_part(EffImagePart *out, const void *data, size_t size, const char *name,
                                const EffDecodeOptions *options, const EffPreprocess *pre)
{
    EffResizeWindow window;
    if (out == NULL || (data == NULL && size > 0))
        return eff_fail(EFF_ERR_ARG, "eff_image_decode_part: out and data must not be NULL; pass both");
    const EffStatus st = eff_prepare_window(&window, 1, 1, pre); /* is `pre` in range? */
    return st == EFF_OK ? decode_upright(out, data, size, name, options, pre) : st;
}

/* The bytes of a picture file, and how to call it in messages. */
static EffStatus read_picture(EffBytes *bytes, const char **name, const char *path)
{
    *name = strcmp(path, "-") == 0 ? "standard input" : path;
    return eff_file_read(bytes, path, EFF_IMAGE_MAX_FILE_BYTES);
}

EffStatus eff_image_open(EffImage *out, const char *path, const EffDecodeOptions *options)
{
    if (out == NULL || path == NULL)
        return eff_fail(EFF_ERR_ARG, "eff_image_open: out and path must not be NULL; pass both");
    EffBytes bytes;
    const char *name;
    EffStatus st = read_picture(&bytes, &name, path);
    if (st != EFF_OK)
        return st;
    st = eff_image_decode(out, bytes.data, bytes.size, name, options);
    eff_free(bytes.data);
    return st;
}

EffStatus eff_image_open_part(EffImagePart *out, const char *path, const EffDecodeOptions *options,
                              const EffPreprocess *pre)
{
    if (out == NULL || path == NULL)
        return eff_fail(EFF_ERR_ARG, "eff_image_open_part: out and path must not be NULL; pass both");
    EffBytes bytes;
    const char *name;
    EffStatus st = read_picture(&bytes, &name, path);
    if (st != EFF_OK)
        return st;
    st = eff_image_decode_part(out, bytes.data, bytes.size, name, options, pre);
    eff_free(bytes.data);
    return st;
}
