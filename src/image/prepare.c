/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a picture to the input of a network: the evaluation transform that the published weights were measured with.
 * Only the pixels of the crop are computed; what the crop cuts away never was.
 */
#include "image/decode.h"
#include "image/resize.h"

#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"

#include <limits.h>
#include <math.h>

enum { MAX_SIZE = 4096 }; /* of a network input, see EffPreprocess */

/* Where a centred piece of `size` starts in n >= size: (n - size) / 2, halves to the even neighbour. */
static int centre(int n, int size)
{
    const int half = (n - size) / 2;
    return (n - size) % 2 != 0 ? half + half % 2 : half;
}

/* The crop, in the picture resized so that its short side is floor(size / crop). */
EffStatus eff_prepare_window(EffResizeWindow *window, int width, int height, const EffPreprocess *pre)
{
    if (pre == NULL || pre->size < 1 || pre->size > MAX_SIZE || !(pre->crop > 0 && pre->crop <= 1))
        return eff_fail(EFF_ERR_ARG, "prepare: size %d, crop %g; size is 1 to %d, crop above 0 and at most 1",
                        pre != NULL ? pre->size : 0, pre != NULL ? pre->crop : 0.0, MAX_SIZE);
    if (eff_interpolation_name(pre->interpolation) == NULL)
        return eff_fail(EFF_ERR_ARG, "resize: no interpolation has the number %d; use an EffInterpolation",
                        (int)pre->interpolation);
    const double ideal = floor(pre->size / pre->crop);
    if (!(ideal <= EFF_IMAGE_MAX_SIDE))
        return eff_fail(EFF_ERR_LIMIT, "prepare: size %d at crop %g makes a short side above %d; use a larger crop",
                        pre->size, pre->crop, EFF_IMAGE_MAX_SIDE);
    const int short_side = (int)ideal;
    const int64_t shorter = width < height ? width : height, longer = width < height ? height : width;
    const int64_t long_side = short_side * longer / shorter;
    if (long_side > INT_MAX)
        return eff_fail(EFF_ERR_LIMIT,
                        "prepare: a picture of %d x %d pixels is too narrow for a short side of %d; "
                        "crop it first",
                        width, height, short_side);
    *window = (EffResizeWindow){
        .full_width = width <= height ? short_side : (int)long_side,
        .full_height = width <= height ? (int)long_side : short_side,
        .width = pre->size,
        .height = pre->size,
    };
    window->x = centre(window->full_width, pre->size);
    window->y = centre(window->full_height, pre->size);
    return EFF_OK;
}

static bool covers(const EffImagePart *part, const EffRect *needs)
{
    const int64_t right = (int64_t)part->x + part->image.width, bottom = (int64_t)part->y + part->image.height;
    return part->x >= 0 && part->y >= 0 && right <= part->full_width && bottom <= part->full_height &&
           part->x <= needs->x && part->y <= needs->y && right >= (int64_t)needs->x + needs->width &&
           bottom >= (int64_t)needs->y + needs->height;
}

EffStatus eff_image_prepare_part(uint8_t *dst, const EffImagePart *part, const EffPreprocess *pre)
{
    EffStatus st = eff_resize_check_source(part != NULL ? &part->image : NULL);
    if (st != EFF_OK)
        return st;
    if (dst == NULL)
        return eff_fail(EFF_ERR_ARG, "prepare: dst must not be NULL; pass [size][size][3] bytes");
    if (part->full_width > EFF_IMAGE_MAX_SIDE || part->full_height > EFF_IMAGE_MAX_SIDE)
        return eff_fail(EFF_ERR_ARG, "prepare: a part of %d x %d pixels; sides are 1 to %d", part->full_width,
                        part->full_height, EFF_IMAGE_MAX_SIDE);
    EffResizeWindow window;
    EffRect needs;
    if (part->full_width < 1 || part->full_height < 1 ||
        (st = eff_prepare_window(&window, part->full_width, part->full_height, pre)) != EFF_OK)
        return st != EFF_OK ? st : eff_fail(EFF_ERR_ARG, "prepare: a part of a picture without pixels; decode one");
    eff_resize_needs(&needs, part->full_width, part->full_height, &window, pre->interpolation);
    if (!covers(part, &needs))
        return eff_fail(EFF_ERR_ARG,
                        "prepare: a part of %d x %d pixels at (%d, %d), but %d x %d at (%d, %d) are needed; "
                        "decode it for this preprocessing",
                        part->image.width, part->image.height, part->x, part->y, needs.width, needs.height, needs.x,
                        needs.y);
    const unsigned cpu = eff_cpu_detect();
    if (part->image.channels == 3)
        return eff_resize_window(dst, part, &window, pre->interpolation, cpu);

    /* Gray goes to the end of dst and is spread from the front: pixel i is read before byte 3 * i + 2 is written. */
    const size_t n = (size_t)pre->size * (size_t)pre->size;
    uint8_t *gray = dst + 2 * n;
    if ((st = eff_resize_window(gray, part, &window, pre->interpolation, cpu)) != EFF_OK)
        return st;
    for (size_t i = 0; i < n; i++) {
        const uint8_t v = gray[i];
        dst[3 * i] = dst[3 * i + 1] = dst[3 * i + 2] = v;
    }
    return EFF_OK;
}

EffStatus eff_image_prepare(uint8_t *dst, const EffImage *src, const EffPreprocess *pre)
{
    const EffStatus st = eff_resize_check_source(src);
    if (st != EFF_OK)
        return st;
    const EffImagePart whole = {.image = *src, .full_width = src->width, .full_height = src->height};
    return eff_image_prepare_part(dst, &whole, pre);
}

void eff_image_normalize(float *dst, const uint8_t *src, size_t n_pixels, const EffPreprocess *pre)
{
    for (size_t i = 0; i < n_pixels; i++) {
        for (size_t c = 0; c < 3; c++)
            dst[3 * i + c] = ((float)src[3 * i + c] - pre->mean[c]) / pre->std[c];
    }
}
