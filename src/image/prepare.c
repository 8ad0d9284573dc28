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

/* The crop of a width x height picture, in the picture resized so that its short side is floor(size / crop). */
static EffStatus plan(EffResizeWindow *window, int width, int height, const EffPreprocess *pre)
{
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

EffStatus eff_image_prepare(uint8_t *dst, const EffImage *src, const EffPreprocess *pre)
{
    EffStatus st = eff_resize_check_source(src);
    if (st != EFF_OK)
        return st;
    if (dst == NULL || pre == NULL || pre->size < 1 || pre->size > MAX_SIZE || !(pre->crop > 0 && pre->crop <= 1))
        return eff_fail(EFF_ERR_ARG, "prepare: size %d, crop %g; size is 1 to %d, crop above 0 and at most 1",
                        pre != NULL ? pre->size : 0, pre != NULL ? pre->crop : 0.0, MAX_SIZE);
    EffResizeWindow window;
    if ((st = plan(&window, src->width, src->height, pre)) != EFF_OK)
        return st;
    const EffImagePart whole = {.image = *src, .full_width = src->width, .full_height = src->height};
    const unsigned cpu = eff_cpu_detect();
    if (src->channels == 3)
        return eff_resize_window(dst, &whole, &window, pre->interpolation, cpu);

    /* Gray goes to the end of dst and is spread from the front: pixel i is read before byte 3 * i + 2 is written. */
    const size_t n = (size_t)pre->size * (size_t)pre->size;
    uint8_t *gray = dst + 2 * n;
    if ((st = eff_resize_window(gray, &whole, &window, pre->interpolation, cpu)) != EFF_OK)
        return st;
    for (size_t i = 0; i < n; i++) {
        const uint8_t v = gray[i];
        dst[3 * i] = dst[3 * i + 1] = dst[3 * i + 2] = v;
    }
    return EFF_OK;
}

void eff_image_normalize(float *dst, const uint8_t *src, size_t n_pixels, const EffPreprocess *pre)
{
    for (size_t i = 0; i < n_pixels; i++) {
        for (size_t c = 0; c < 3; c++)
            dst[3 * i + c] = ((float)src[3 * i + c] - pre->mean[c]) / pre->std[c];
    }
}
