/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JPEG through libjpeg(-turbo) with its accurate DCT and smooth upsampling, the defaults that Pillow keeps, so that
 * pixels are equal. Baseline, progressive and arithmetic coding, 8 bits; gray, YCbCr, RGB, CMYK and YCCK.
 *
 * Damage is an error here: libjpeg would go on with grey, and a classifier would answer confidently about it.
 *
 * Where only a part of the picture is wanted, blocks and rows outside it are not turned into pixels, but their data is
 * read all the same, down to the last row.
 */
#include "image/decode.h"

#include "base/mem.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

/*
 * Every scan of a progressive file walks the whole picture but may hold a few bytes only; encoders write about ten.
 * So both the count and the work (scans x pixels) are bounded.
 */
enum { MAX_SCANS = 500 };

/* Columns of a cropped row whose colour may differ from the whole picture's: upsampling sees no neighbour there. */
enum { CROP_MARGIN = 4 };
static const uint64_t max_scanned_pixels = 4000000000u;

/* All state lives here, in a frame above the setjmp: what is local to that one may be lost in a longjmp. */
typedef struct JpegReader {
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const EffPictureFile *file;
    EffPicture *out;
    EffRect rect; /* of the stored picture that is wanted */
    uint8_t *row; /* one, where libjpeg's is not what goes to the picture */
    EffStatus status;
} JpegReader;

static _Noreturn void give_up(JpegReader *r, EffStatus status)
{
    r->status = status;
    longjmp(r->jump, 1);
}

static void on_error(j_common_ptr common)
{
    JpegReader *r = common->client_data;
    char why[JMSG_LENGTH_MAX];
    common->err->format_message(common, why);
    switch (common->err->msg_code) {
    case JERR_OUT_OF_MEMORY: give_up(r, eff_fail_nomem(0, r->file->name));
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CCIR601_NOTIMPL:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED:
        give_up(r,
                eff_fail(EFF_ERR_UNSUPPORTED, "%s: a kind of JPEG that is not read here (%s); convert it to baseline",
                         r->file->name, why));
    default:
        give_up(r, eff_fail(EFF_ERR_FORMAT, "%s: truncated or damaged JPEG (%s); fetch the file again", r->file->name,
                            why));
    }
}

static void on_message(j_common_ptr common, int level)
{
    if (level >= 0)
        return; /* a trace */
    switch (common->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA: /* stuffing between segments: cameras do it, pixels do not suffer */
    case JWRN_JFIF_MAJOR: return;
    default: on_error(common);
    }
}

static void on_progress(j_common_ptr common)
{
    JpegReader *r = common->client_data;
    const uint64_t n_scans = (uint64_t)r->d.input_scan_number;
    if (n_scans > MAX_SCANS || n_scans * r->d.image_width * r->d.image_height > max_scanned_pixels)
        give_up(r, eff_fail(EFF_ERR_LIMIT, "%s: %u x %u pixels in more than %u scans; save it as a baseline JPEG",
                            r->file->name, r->d.image_width, r->d.image_height, (unsigned)n_scans - 1));
}

/* Inks to light, with Pillow's rounding. `cmyk` is inverted (255 is no ink), as Adobe writes it and Pillow assumes. */
static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *cmyk, int n_pixels)
{
    for (int i = 0; i < n_pixels; i++, rgb += 3, cmyk += 4) {
        const unsigned light = cmyk[3];
        for (int c = 0; c < 3; c++) {
            const unsigned t = (255u - cmyk[c]) * light + 128; /* / 255, rounded */
            rgb[c] = (uint8_t)(light - ((t + (t >> 8)) >> 8));
        }
    }
}

static void read_orientation(JpegReader *r)
{
    for (const struct jpeg_marker_struct *m = r->d.marker_list; m != NULL; m = m->next) {
        if (m->marker != JPEG_APP0 + 1 || m->data_length < 6 || memcmp(m->data, "Exif\0", 6) != 0)
            continue;
        const EffStatus st = eff_exif_orientation(&r->out->orientation, m->data, m->data_length, r->file->name);
        if (st != EFF_OK)
            give_up(r, st);
        return;
    }
}

static void read_header(JpegReader *r)
{
    jpeg_create_decompress(&r->d);
    r->progress.progress_monitor = on_progress;
    r->d.progress = &r->progress;
    jpeg_mem_src(&r->d, r->file->data, (unsigned long)r->file->size);
    if (r->file->want_exif)
        jpeg_save_markers(&r->d, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&r->d, TRUE);
    const EffStatus st = eff_picture_check(r->file, r->d.image_width, r->d.image_height);
    if (st != EFF_OK)
        give_up(r, st);
    if (r->d.num_components != 1 && r->d.num_components != 3 && r->d.num_components != 4)
        give_up(r, eff_fail(EFF_ERR_UNSUPPORTED, "%s: a JPEG of %d components; convert it to gray, RGB or CMYK",
                            r->file->name, r->d.num_components));
    if (r->file->want_exif)
        read_orientation(r);
}

/* The smallest of 1/8, 1/4, 1/2 and 1 at which the picture is no smaller than what it will be resized to. */
static unsigned choose_scale(const JpegReader *r, const EffResizeWindow *window)
{
    const bool swap = eff_orientation_swaps(r->out->orientation);
    const unsigned width = (unsigned)(swap ? window->full_height : window->full_width);
    const unsigned height = (unsigned)(swap ? window->full_width : window->full_height);
    unsigned eighths = 1;
    while (eighths < 8 && (r->d.image_width * eighths / 8 < width || r->d.image_height * eighths / 8 < height))
        eighths *= 2;
    return eighths;
}

/* Set the size of the output, and the part of it that is wanted. */
static void choose_part(JpegReader *r)
{
    const EffPreprocess *pre = r->file->pre;
    EffPicture *out = r->out;
    const bool swap = eff_orientation_swaps(out->orientation);
    EffResizeWindow window;
    EffStatus st = EFF_OK;
    if (pre != NULL && r->file->fast_scale) {
        const int width = (int)r->d.image_width, height = (int)r->d.image_height;
        st = eff_prepare_window(&window, swap ? height : width, swap ? width : height, pre);
        if (st == EFF_OK) {
            r->d.scale_num = choose_scale(r, &window);
            r->d.scale_denom = 8;
        }
    }
    jpeg_calc_output_dimensions(&r->d);
    const int width = (int)r->d.output_width, height = (int)r->d.output_height;
    r->rect = (EffRect){.width = width, .height = height};
    if (pre == NULL)
        return;
    out->is_part = true;
    out->upright_width = swap ? height : width;
    out->upright_height = swap ? width : height;
    if (st == EFF_OK)
        st = eff_prepare_window(&window, out->upright_width, out->upright_height, pre);
    if (st != EFF_OK)
        give_up(r, eff_fail_in(st, "%s", r->file->name));
    eff_resize_needs(&out->part, out->upright_width, out->upright_height, &window, pre->interpolation);
    r->rect = eff_rect_unturn(&out->part, out->orientation, width, height);
}

/* Crop what libjpeg makes of a row; returns the first column. */
static size_t crop_rows(JpegReader *r)
{
    const int from = r->rect.x > CROP_MARGIN ? r->rect.x - CROP_MARGIN : 0;
    const int right = r->rect.x + r->rect.width + CROP_MARGIN;
    const int to = right < (int)r->d.output_width ? right : (int)r->d.output_width;
    JDIMENSION first = (JDIMENSION)from, width = (JDIMENSION)(to - from);
    if (width == r->d.output_width)
        return 0;
    jpeg_crop_scanline(&r->d, &first, &width); /* moves `first` to the left, to where blocks begin */
    return first;
}

static void read_pixels(JpegReader *r)
{
    const bool has_inks = r->d.num_components == 4;
    r->d.out_color_space = has_inks ? JCS_CMYK : JCS_RGB;
    choose_part(r);
    const EffStatus st = eff_picture_alloc(r->out, r->file, r->rect.width, r->rect.height);
    if (st != EFF_OK)
        give_up(r, st);
    jpeg_start_decompress(&r->d);
    const JDIMENSION full_width = r->d.output_width;
    const size_t n_ch = has_inks ? 4 : 3, skip = ((size_t)r->rect.x - crop_rows(r)) * n_ch;
    const size_t row_bytes = (size_t)r->rect.width * 3, n_bytes = (size_t)full_width * n_ch;
    const bool is_part = (JDIMENSION)r->rect.width < full_width || (JDIMENSION)r->rect.height < r->d.output_height;
    if ((has_inks || is_part) && (r->row = eff_malloc(n_bytes)) == NULL)
        give_up(r, eff_fail_nomem(n_bytes, r->file->name));
    if (r->rect.y > 0)
        jpeg_skip_scanlines(&r->d, (JDIMENSION)r->rect.y);
    for (int y = 0; y < r->rect.height; y++) {
        uint8_t *rgb = r->out->image.pixels + (size_t)y * row_bytes;
        uint8_t *row = r->row != NULL ? r->row : rgb;
        jpeg_read_scanlines(&r->d, &row, 1);
        if (has_inks)
            cmyk_to_rgb(rgb, r->row + skip, r->rect.width);
        else if (r->row != NULL)
            memcpy(rgb, r->row + skip, row_bytes);
    }
    const JDIMENSION left = r->d.output_height - r->d.output_scanline;
    if (left > 1)
        jpeg_skip_scanlines(&r->d, left - 1);
    if (left > 0) /* all the data before it is decoded, and damage found */
        jpeg_read_scanlines(&r->d, &r->row, 1);
    jpeg_finish_decompress(&r->d);
}

static void run(JpegReader *r)
{
    if (setjmp(r->jump) == 0) {
        read_header(r);
        read_pixels(r);
    }
}

EffStatus eff_decode_jpeg(EffPicture *out, const EffPictureFile *file)
{
    JpegReader r = {.file = file, .out = out};
    r.d.err = jpeg_std_error(&r.errors);
    r.d.client_data = &r;
    r.errors.error_exit = on_error;
    r.errors.emit_message = on_message;
    run(&r);
    jpeg_destroy_decompress(&r.d);
    eff_free(r.row);
    return r.status;
}
