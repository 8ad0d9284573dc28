/* SPDX-License-Identifier: Apache-2.0 */
/* The resizer behind eff_image_resize(): any window of the resized picture, without computing the rest. */
#ifndef EFF_IMAGE_RESIZE_H
#define EFF_IMAGE_RESIZE_H

#include "effnet/image.h"

#include <stdbool.h>

/* The part [x, x + width) x [y, y + height) of a picture resized to full_width x full_height. */
typedef struct EffResizeWindow {
    int full_width, full_height;
    int x, y, width, height;
} EffResizeWindow;

/* A rectangle of pixels. */
typedef struct EffRect {
    int x, y, width, height;
} EffRect;

/* The pixels of a width x height picture that a window is made of. */
void eff_resize_needs(EffRect *out, int width, int height, const EffResizeWindow *window, EffInterpolation kernel);

/*
 * dst [height][width][channels of src] receives the window; it is byte-identical to cutting it out of the whole.
 * `window` lies inside the full picture, and `src` has the pixels that eff_resize_needs() names.
 * @param cpu  features that may be used, see eff_cpu_detect(); the bytes do not depend on them.
 * @return EFF_OK, EFF_ERR_ARG, EFF_ERR_LIMIT, EFF_ERR_NOMEM.
 */
EffStatus eff_resize_window(uint8_t *dst, const EffImagePart *src, const EffResizeWindow *window,
                            EffInterpolation kernel, unsigned cpu);

/*
 * The window that eff_image_prepare() computes for a width x height picture; EFF_ERR_ARG for a `pre` out of range,
 * EFF_ERR_LIMIT for a picture that is too narrow.
 */
EffStatus eff_prepare_window(EffResizeWindow *window, int width, int height, const EffPreprocess *pre);

/* Does `src` look like a picture (pixels, sides in 1..65535, 1 or 3 channels)? EFF_OK or EFF_ERR_ARG. */
EffStatus eff_resize_check_source(const EffImage *src);

#endif
