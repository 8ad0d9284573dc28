/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What every part of effnet shares: the status codes, the last message, and how an image is prepared for a model.
 */
#ifndef EFFNET_BASE_H
#define EFFNET_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Version of the library and the program. */
#define EFF_VERSION "0.1.0"

/** Result of a call that can fail. EFF_OK is zero. eff_last_message() has the details of a failure. */
typedef enum EffStatus {
    EFF_OK = 0,
    EFF_ERR_ARG,         /**< an argument outside its documented range, an unknown name or option */
    EFF_ERR_FORMAT,      /**< a file that is damaged, or not what it claims to be */
    EFF_ERR_IO,          /**< the operating system could not read, write, or start something */
    EFF_ERR_UNSUPPORTED, /**< well-formed, but beyond what this version can do */
    EFF_ERR_VERSION,     /**< written by a newer version than this one */
    EFF_ERR_LIMIT,       /**< larger than a documented limit */
    EFF_ERR_NOMEM,       /**< memory could not be had */
    EFF_ERR_INTERRUPTED  /**< the caller asked to stop */
} EffStatus;

/** Name of a status, such as "EFF_ERR_FORMAT". Static storage; never NULL. */
const char *eff_status_name(EffStatus status);

/**
 * What went wrong in the last failing call of this thread: file or node, what is wrong, and what to do about it.
 * Valid until the next call into the library from the same thread; "" when nothing has failed yet. Never NULL.
 */
const char *eff_last_message(void);

/** Interpolation kernels of the resizer; the names and values are Pillow's. */
typedef enum EffInterpolation {
    EFF_INTERP_BOX = 0,
    EFF_INTERP_BILINEAR,
    EFF_INTERP_HAMMING,
    EFF_INTERP_BICUBIC,
    EFF_INTERP_LANCZOS
} EffInterpolation;

/** Name of an interpolation ("bicubic"), or NULL when out of range. */
const char *eff_interpolation_name(EffInterpolation k);
/** Look an interpolation up by name. @return EFF_OK, or EFF_ERR_ARG with the list of names in the message. */
EffStatus eff_interpolation_find(EffInterpolation *out, const char *name);

/**
 * How a picture becomes the input of a network: the short side is resized to floor(size / crop), the centre
 * size x size is cut out, and a channel value v in 0..255 becomes (v - mean) / std.
 */
typedef struct EffPreprocess {
    int size;                       /**< side of the square input, pixels; 1..4096 */
    double crop;                    /**< share of the resized short side that the crop keeps, (0, 1] */
    EffInterpolation interpolation; /**< kernel of the resize */
    float mean[3];                  /**< per channel R, G, B, in units of 0..255 */
    float std[3];                   /**< per channel R, G, B, in units of 0..255; positive */
} EffPreprocess;

#ifdef __cplusplus
}
#endif
#endif
