/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the picture tests. */
#ifndef TESTS_IMAGE_UTIL_H
#define TESTS_IMAGE_UTIL_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a of every step-th byte. */
static inline uint64_t fnv64(const uint8_t *data, size_t size, size_t step)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i += step)
        h = (h ^ data[i]) * 0x100000001b3u;
    return h;
}

#endif
