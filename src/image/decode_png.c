/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PNG through libpng: every depth and colour type, interlaced or not, to 8-bit RGB. As in Pillow, alpha and tRNS are
 * dropped without blending, gAMA is ignored, and the high byte is what remains of 16 bits. (Pillow saturates 16-bit
 * gray at 255 instead, which turns such a picture white; here it is its high byte too.)
 */
#include "image/decode.h"

#include "base/mem.h"
#include "base/status.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

enum { MAX_CHUNKS = 128, MAX_CHUNK_BYTES = 1 << 20, HEADER_BYTES = 33 };

/* All state lives here, in a frame above the setjmp: what is local to that one may be lost in a longjmp. */
typedef struct PngReader {
    png_structp png;
    png_infop info;
    const EffPictureFile *file;
    EffPicture *out;
    size_t at; /* how far the file has been read */
    EffStatus status;
} PngReader;

static _Noreturn void give_up(PngReader *r, EffStatus status)
{
    r->status = status;
    png_longjmp(r->png, 1);
}

static void on_error(png_structp png, png_const_charp why)
{
    PngReader *r = png_get_error_ptr(png);
    r->status = eff_fail(EFF_ERR_FORMAT, "%s: truncated or damaged PNG (%s); fetch the file again", r->file->name, why);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp why)
{
    (void)png; /* only chunks that do not touch the pixels give warnings */
    (void)why;
}

static void on_read(png_structp png, png_bytep dst, size_t n)
{
    PngReader *r = png_get_io_ptr(png);
    if (n > r->file->size - r->at)
        png_error(png, "the file ends too early");
    memcpy(dst, r->file->data + r->at, n);
    r->at += n;
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Skips what we have no use for: colour profiles and texts are where decompression bombs hide. */
static void ignore_extras(png_structp png)
{
    static const png_byte names[] = "bKGD\0cHRM\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0"
                                    "tEXt\0tIME\0tRNS\0zTXt\0acTL\0fcTL\0fdAT";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, names, (int)(sizeof names / 5));
}

static void read_header(PngReader *r)
{
    png_set_read_fn(r->png, r, on_read);
    png_set_user_limits(r->png, EFF_IMAGE_MAX_SIDE, EFF_IMAGE_MAX_SIDE);
    png_set_chunk_cache_max(r->png, MAX_CHUNKS);
    png_set_chunk_malloc_max(r->png, MAX_CHUNK_BYTES);
    ignore_extras(r->png);
    png_read_info(r->png, r->info);
    png_bytep exif = NULL;
    png_uint_32 n_exif = 0;
    if (r->file->want_exif && png_get_eXIf_1(r->png, r->info, &n_exif, &exif) != 0) {
        const EffStatus st = eff_exif_orientation(&r->out->orientation, exif, n_exif, r->file->name);
        if (st != EFF_OK)
            give_up(r, st);
    }
}

static void read_pixels(PngReader *r)
{
    png_set_palette_to_rgb(r->png);
    png_set_expand_gray_1_2_4_to_8(r->png);
    png_set_strip_16(r->png);
    png_set_strip_alpha(r->png);
    png_set_gray_to_rgb(r->png);
    const int n_passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    const size_t row_bytes = png_get_rowbytes(r->png, r->info);
    const int width = (int)png_get_image_width(r->png, r->info);
    const int height = (int)png_get_image_height(r->png, r->info);
    if (row_bytes != (size_t)width * 3)
        png_error(r->png, "unexpected row size");
    const EffStatus st = eff_picture_alloc(r->out, r->file, width, height);
    if (st != EFF_OK)
        give_up(r, st);
    for (int pass = 0; pass < n_passes; pass++) {
        for (int y = 0; y < height; y++)
            png_read_row(r->png, r->out->image.pixels + (size_t)y * row_bytes, NULL);
    }
}

static void run(PngReader *r)
{
    if (setjmp(png_jmpbuf(r->png)) == 0) {
        read_header(r);
        read_pixels(r);
    }
}

EffStatus eff_decode_png(EffPicture *out, const EffPictureFile *file)
{
    if (file->size < HEADER_BYTES || memcmp(file->data + 12, "IHDR", 4) != 0)
        return eff_fail(EFF_ERR_FORMAT, "%s: truncated or damaged PNG (no header); fetch the file again", file->name);
    /* Sizes first, from the fixed place of the header: libpng would call a size above its limit a damaged file. */
    EffStatus st = eff_picture_check(file, read_u32(file->data + 16), read_u32(file->data + 20));
    if (st != EFF_OK)
        return st;
    PngReader r = {.file = file, .out = out};
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
    if (r.png == NULL)
        return eff_fail_nomem(0, file->name);
    r.info = png_create_info_struct(r.png);
    if (r.info != NULL)
        run(&r);
    else
        r.status = eff_fail_nomem(0, file->name);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    return r.status;
}
