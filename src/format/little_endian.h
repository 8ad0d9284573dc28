/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian fields: a cursor that appends them and one that takes them, and both at a place. */
#ifndef EFF_FORMAT_LITTLE_ENDIAN_H
#define EFF_FORMAT_LITTLE_ENDIAN_H

#include <stdint.h>
#include <string.h>

/* The arrays of a model's data are used where they lie. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "effnet runs on little-endian machines");

static inline void eff_put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static inline void eff_put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static inline uint32_t eff_get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t eff_get64(const uint8_t *p)
{
    return eff_get32(p) | (uint64_t)eff_get32(p + 4) << 32;
}

static inline void eff_append32(uint8_t **p, uint32_t v)
{
    eff_put32(*p, v);
    *p += 4;
}

static inline void eff_append_i32(uint8_t **p, int32_t v)
{
    eff_append32(p, (uint32_t)v);
}

static inline void eff_append64(uint8_t **p, uint64_t v)
{
    eff_put64(*p, v);
    *p += 8;
}

static inline void eff_append_f32(uint8_t **p, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    eff_append32(p, bits);
}

static inline void eff_append_f64(uint8_t **p, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    eff_append64(p, bits);
}

static inline uint32_t eff_take32(const uint8_t **p)
{
    const uint32_t v = eff_get32(*p);
    *p += 4;
    return v;
}

static inline int32_t eff_take_i32(const uint8_t **p)
{
    const uint32_t bits = eff_take32(p);
    int32_t v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline uint64_t eff_take64(const uint8_t **p)
{
    const uint64_t v = eff_get64(*p);
    *p += 8;
    return v;
}

static inline float eff_take_f32(const uint8_t **p)
{
    const uint32_t bits = eff_take32(p);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline double eff_take_f64(const uint8_t **p)
{
    const uint64_t bits = eff_take64(p);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

#endif
