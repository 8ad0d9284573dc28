/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebP through libwebp: lossy, lossless, and the first frame of an animation on its canvas. Alpha is dropped without
 * blending, as Pillow does; a first frame smaller than the canvas is surrounded by black.
 */
#include "image/decode.h"

#include "base/status.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

static EffStatus fail_damaged(const EffPictureFile *file)
{
    return eff_fail(EFF_ERR_FORMAT, "%s: truncated or damaged WebP; fetch the file again", file->name);
}

static EffStatus read_frame(EffPicture *out, const EffPictureFile *file, const WebPIterator *frame, int width,
                            int height)
{
    if (!frame->complete || frame->x_offset < 0 || frame->y_offset < 0 || frame->width > width - frame->x_offset ||
        frame->height > height - frame->y_offset)
        return fail_damaged(file);
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return eff_fail(EFF_ERR_UNSUPPORTED, "libwebp is older than the one this library was built for; rebuild it");
    /* The bitstream has a size of its own. */
    if (WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &config.input) != VP8_STATUS_OK ||
        config.input.width != frame->width || config.input.height != frame->height)
        return fail_damaged(file);
    const EffStatus st = eff_picture_alloc(out, file, width, height);
    if (st != EFF_OK)
        return st;
    const size_t stride = (size_t)width * 3;
    if (frame->width < width || frame->height < height)
        memset(out->image.pixels, 0, stride * (size_t)height);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = out->image.pixels + (size_t)frame->y_offset * stride + (size_t)frame->x_offset * 3;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)(frame->height - 1) + (size_t)frame->width * 3;
    switch (WebPDecode(frame->fragment.bytes, frame->fragment.size, &config)) {
    case VP8_STATUS_OK: return EFF_OK;
    case VP8_STATUS_OUT_OF_MEMORY: return eff_fail_nomem(0, file->name);
    default: return fail_damaged(file);
    }
}

static EffStatus read_orientation(EffPicture *out, const EffPictureFile *file, const WebPDemuxer *demux)
{
    WebPChunkIterator chunk;
    EffStatus st = EFF_OK;
    if (WebPDemuxGetChunk(demux, "EXIF", 1, &chunk))
        st = eff_exif_orientation(&out->orientation, chunk.chunk.bytes, chunk.chunk.size, file->name);
    WebPDemuxReleaseChunkIterator(&chunk);
    return st;
}

EffStatus eff_decode_webp(EffPicture *out, const EffPictureFile *file)
{
    const WebPData bytes = {.bytes = file->data, .size = file->size};
    WebPDemuxer *demux = WebPDemux(&bytes); /* indexes the chunks; NULL too when the last one is cut */
    if (demux == NULL)
        return fail_damaged(file);
    const uint32_t width = WebPDemuxGetI(demux, WEBP_FF_CANVAS_WIDTH);
    const uint32_t height = WebPDemuxGetI(demux, WEBP_FF_CANVAS_HEIGHT);
    WebPIterator frame = {0};
    EffStatus st = eff_picture_check(file, width, height);
    if (st == EFF_OK && !WebPDemuxGetFrame(demux, 1, &frame))
        st = fail_damaged(file);
    if (st == EFF_OK && file->want_exif)
        st = read_orientation(out, file, demux);
    if (st == EFF_OK)
        st = read_frame(out, file, &frame, (int)width, (int)height);
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demux);
    return st;
}
