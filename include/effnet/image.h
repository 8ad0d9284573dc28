/* SPDX-License-Identifier: Apache-2.0 */
/** Pictures: decode, resize byte for byte as Pillow does, crop and normalize. */
#ifndef EFFNET_IMAGE_H
#define EFFNET_IMAGE_H

#include "effnet/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An 8-bit picture. Row-major [height][width][channels], no padding between rows; channels 1 (gray) or 3 (RGB). */
typedef struct EffImage {
    uint8_t *pixels; /**< owned: eff_image_free() */
    int width, height, channels;
} EffImage;

/** A rectangle of a picture of full_width x full_height pixels, as when the rest of it was never decoded. */
typedef struct EffImagePart {
    EffImage image; /**< the rectangle's pixels; eff_image_free(&part.image) */
    int x, y;       /**< of its first pixel */
    int full_width, full_height;
} EffImagePart;

/** How to decode. A zeroed struct gives the defaults. */
typedef struct EffDecodeOptions {
    int apply_orientation; /**< turn the picture as its EXIF orientation says; 0 leaves it as stored (as PIL does) */
    uint64_t max_pixels;   /**< refuse larger pictures before allocating; 0 means 100 million */
    int fast_scale; /**< eff_image_decode_part() alone: let a JPEG of at least twice the size that is needed be decoded
                         to 1/2, 1/4 or 1/8 of its sides. Faster for large photos; changes pixels. */
} EffDecodeOptions;

/**
 * Decode a JPEG, PNG or WebP file in memory to RGB, as PIL's Image.open(...).convert("RGB") gives it. The format is
 * told by the first bytes, never by the name. CMYK and gray become RGB, 16 bits become 8, alpha is dropped, palettes
 * are expanded. Unlike PIL, damage that a decoder could paint over is an error, and 16-bit gray keeps its high byte
 * (PIL saturates it). Sides are at most 65535.
 *
 * @param name     the file's name, for messages.
 * @param options  NULL for the defaults.
 * @return EFF_OK (free with eff_image_free), EFF_ERR_FORMAT (damaged or truncated), EFF_ERR_UNSUPPORTED (another
 * format), EFF_ERR_LIMIT, EFF_ERR_NOMEM. `out` is untouched on failure.
 */
EffStatus eff_image_decode(EffImage *out, const void *data, size_t size, const char *name,
                           const EffDecodeOptions *options);

/** Read and decode a file, "-" for standard input; at most 64 MiB. Adds EFF_ERR_IO to the errors of eff_image_decode().
 */
EffStatus eff_image_open(EffImage *out, const char *path, const EffDecodeOptions *options);

/**
 * Decode what eff_image_prepare_part() will need for `pre`, and little else: for the same options the network's input
 * has the same bytes as with the whole picture (unless fast_scale is set and applies). A JPEG saves the work of turning
 * coefficients into pixels where nobody looks, though all of its data is read, so that damage is found as ever; other
 * formats are decoded whole.
 *
 * @param pre  size, crop and interpolation are used.
 * @return as eff_image_decode(), and EFF_ERR_ARG or EFF_ERR_LIMIT as eff_image_prepare(). `out` is untouched on
 * failure.
 */
EffStatus eff_image_decode_part(EffImagePart *out, const void *data, size_t size, const char *name,
                                const EffDecodeOptions *options, const EffPreprocess *pre);
/** The same from a file, "-" for standard input; at most 64 MiB. */
EffStatus eff_image_open_part(EffImagePart *out, const char *path, const EffDecodeOptions *options,
                              const EffPreprocess *pre);

/** Release the pixels and zero the struct. NULL and a zeroed struct are fine. */
void eff_image_free(EffImage *image);

/**
 * Resize, byte-identical to Pillow 13's Image.resize((width, height), kernel): separable, antialiased, 8 bits between
 * the passes, 22-bit fixed-point coefficients; the horizontal pass first, unless the height shrinks by more than twice
 * as many pixels as the width.
 *
 * @param width, height  1..65535 each.
 * @return EFF_OK (free with eff_image_free), EFF_ERR_ARG, EFF_ERR_LIMIT (more than 1 GiB between the passes),
 * EFF_ERR_NOMEM. `out` is untouched on failure.
 */
EffStatus eff_image_resize(EffImage *out, const EffImage *src, int width, int height, EffInterpolation kernel);

/**
 * Picture to network input, 8 bits: resize the short side to floor(size / crop) (the long side to trunc(short' * long /
 * short)), cut the centre at round-half-even((n - size) / 2).
 *
 * Only the crop is computed, so that narrow pictures and large ones cost no memory for what is cut away.
 *
 * @param dst  receives [size][size][3] RGB; gray pictures are copied to all three channels.
 * @return EFF_OK, EFF_ERR_ARG, EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_image_prepare(uint8_t *dst, const EffImage *src, const EffPreprocess *pre);

/**
 * eff_image_prepare() of a part that eff_image_decode_part() made for the same `pre`.
 * @return as eff_image_prepare(); EFF_ERR_ARG too for a part that lacks needed pixels.
 */
EffStatus eff_image_prepare_part(uint8_t *dst, const EffImagePart *part, const EffPreprocess *pre);

/** dst[i] = (src[i] - mean[i % 3]) / std[i % 3] for n_pixels RGB pixels, in float32. */
void eff_image_normalize(float *dst, const uint8_t *src, size_t n_pixels, const EffPreprocess *pre);

#ifdef __cplusplus
}
#endif
#endif
