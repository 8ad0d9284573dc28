/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles of AMX: eight registers of up to 16 rows by 64 bytes. Those of the compiler; or, in a build with
 * -Demulate=true, plain C, as in avx512.h.
 *
 * One shape serves a call: registers 0..3 hold sums [pixel][16 channels], 4 and 5 pixels [pixel][k], 6 and 7 weights
 * [k / 4][16 channels][4]. Register numbers are literals.
 */
#ifndef EFF_KERNELS_X86_AMX_H
#define EFF_KERNELS_X86_AMX_H

#include "kernels/x86/avx512.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TILE_PIXELS = 16, TILE_CH = 16, TILE_K = 64 };

/* As LDTILECFG reads it (Intel SDM, chapter on AMX). */
typedef struct TileConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;

/* n_pixels in 1..16; k in 4..64, a multiple of 4. */
static inline TileConfig tile_config(int n_pixels, int k)
{
    TileConfig t = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        t.rows[i] = (uint8_t)(i < 6 ? n_pixels : k / 4);
        t.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? k : 64);
    }
    return t;
}

#ifndef EFF_EMULATE_AVX512
/* GCC 12 does not know that loading a configuration, or a tile, reads memory beyond its first bytes. */
static inline void tiles_see(const void *written)
{
    __asm__ volatile("" : : "r"(written) : "memory");
}

static inline void tiles_configure(const TileConfig *c)
{
    tiles_see(c);
    _tile_loadconfig(c);
}

#define tiles_release()                      _tile_release()
#define tile_load(t, from, stride)           _tile_loadd(t, from, stride)
#define tile_store(t, to, stride)            _tile_stored(t, to, stride)
#define tile_multiply(sums, pixels, weights) _tile_dpbusd(sums, pixels, weights)
#else
static _Thread_local struct {
    TileConfig config;
    uint8_t at[8][16][64];
} emulated_tiles;

static inline void tiles_see(const void *written)
{
    (void)written;
}

static inline void tiles_configure(const TileConfig *c)
{
    memset(&emulated_tiles, 0, sizeof emulated_tiles);
    emulated_tiles.config = *c;
}

static inline void tiles_release(void)
{
    memset(&emulated_tiles, 0, sizeof emulated_tiles);
}

static inline void tile_load(int t, const void *from, size_t stride)
{
    for (int r = 0; r < emulated_tiles.config.rows[t]; r++)
        memcpy(emulated_tiles.at[t][r], (const uint8_t *)from + (size_t)r * stride, emulated_tiles.config.row_bytes[t]);
}

static inline void tile_store(int t, void *to, size_t stride)
{
    for (int r = 0; r < emulated_tiles.config.rows[t]; r++)
        memcpy((uint8_t *)to + (size_t)r * stride, emulated_tiles.at[t][r], emulated_tiles.config.row_bytes[t]);
}

static inline void tile_multiply(int sums, int pixels, int weights)
{
    for (int r = 0; r < emulated_tiles.config.rows[sums]; r++) {
        uint32_t row[TILE_CH];
        memcpy(row, emulated_tiles.at[sums][r], sizeof row);
        for (int i = 0; i < emulated_tiles.config.row_bytes[pixels]; i++) {
            for (int c = 0; c < TILE_CH; c++) {
                const int8_t w = (int8_t)emulated_tiles.at[weights][i / 4][4 * c + i % 4];
                row[c] += (uint32_t)(emulated_tiles.at[pixels][r][i] * w);
            }
        }
        memcpy(emulated_tiles.at[sums][r], row, sizeof row);
    }
}
#endif

#endif
