/* SPDX-License-Identifier: Apache-2.0 */
/* Dead leaves: pictures with the statistics of photos. No libm but sqrtf, so that they are the same everywhere. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/status.h"
#include "effnet/compile.h"

#include <math.h>
#include <stdbool.h>

/* Shapes a picture; the sizes' smallest and largest share of the side. With sizes as r^-3 nearly all are small. */
enum { N_LEAVES = 1200 };
#define SMALLEST 0.02f
#define LARGEST  0.5f

/* An ellipse or a rectangle, with a colour that changes along one direction, and a texture. */
typedef struct Leaf {
    float y, x, dir_y, dir_x; /* centre; unit vector of its long axis */
    float length, width;      /* half axes */
    bool is_box;
    float colour[3], slope; /* levels; change of them over `length` */
    float grain, stripe;    /* amplitude of noise a pixel, and of stripes across the long axis */
    float period;           /* of the stripes, pixels */
} Leaf;

static Leaf draw(EffRng *rng, float size)
{
    const float small = 1 / (SMALLEST * SMALLEST), large = 1 / (LARGEST * LARGEST);
    Leaf l = {.y = eff_rng_unit(rng) * size, .x = eff_rng_unit(rng) * size};
    float norm;
    do {
        l.dir_y = 2 * eff_rng_unit(rng) - 1;
        l.dir_x = 2 * eff_rng_unit(rng) - 1;
        norm = l.dir_y * l.dir_y + l.dir_x * l.dir_x;
    } while (norm > 1 || norm < 0.01f);
    l.dir_y /= sqrtf(norm);
    l.dir_x /= sqrtf(norm);
    /* Inverse of the distribution with density r^-3 between the two. */
    l.length = size / sqrtf(small + (large - small) * eff_rng_unit(rng));
    l.width = l.length * (0.3f + 0.7f * eff_rng_unit(rng));
    l.is_box = eff_rng_below(rng, 3) == 0;
    /* Luminance varies most in photos, then blue against red, then green. */
    const float light = 115 + 60 * eff_rng_normal(rng), warm = 22 * eff_rng_normal(rng),
                green = 9 * eff_rng_normal(rng);
    l.colour[0] = light + warm;
    l.colour[1] = light + green;
    l.colour[2] = light - warm;
    l.slope = 25 * eff_rng_normal(rng);
    l.grain = 24 * eff_rng_unit(rng) * eff_rng_unit(rng);
    l.stripe = eff_rng_below(rng, 4) == 0 ? 50 * eff_rng_unit(rng) : 0;
    l.period = 2 + 0.5f * l.length * eff_rng_unit(rng);
    return l;
}

/* Levels to add at a pixel whose place along the axes, in half axes, is u and v. */
static float shade(const Leaf *l, EffRng *noise, float u)
{
    const float phase = (u + 1) * l->length / l->period;
    const float wave = phase - (float)(int)phase;
    return l->slope * u + l->grain * (2 * eff_rng_unit(noise) - 1) + (wave < 0.5f ? l->stripe : -l->stripe) * 0.5f;
}

static void paint(float *image, int size, const Leaf *l, EffRng *noise)
{
    const int reach = (int)(l->length * 1.5f) + 1;
    const int y0 = (int)l->y - reach, x0 = (int)l->x - reach;
    const int y1 = (int)l->y + reach, x1 = (int)l->x + reach;
    for (int y = y0 < 0 ? 0 : y0; y <= (y1 < size ? y1 : size - 1); y++) {
        for (int x = x0 < 0 ? 0 : x0; x <= (x1 < size ? x1 : size - 1); x++) {
            const float dy = (float)y - l->y, dx = (float)x - l->x;
            const float u = (dy * l->dir_y + dx * l->dir_x) / l->length;
            const float v = (dx * l->dir_y - dy * l->dir_x) / l->width;
            if (l->is_box ? u < -1 || u > 1 || v < -1 || v > 1 : u * u + v * v > 1)
                continue;
            const float add = shade(l, noise, u);
            for (int c = 0; c < 3; c++)
                image[(y * size + x) * 3 + c] = l->colour[c] + add;
        }
    }
}

/* A camera's blur: 1 2 1 in both directions, edges repeated. */
static float blurred(const float *image, int size, int y, int x, int c)
{
    static const float weights[3] = {0.25f, 0.5f, 0.25f};
    float sum = 0;
    for (int dy = -1; dy <= 1; dy++) {
        const int row = y + dy < 0 ? 0 : y + dy >= size ? size - 1 : y + dy;
        for (int dx = -1; dx <= 1; dx++) {
            const int col = x + dx < 0 ? 0 : x + dx >= size ? size - 1 : x + dx;
            sum += weights[dy + 1] * weights[dx + 1] * image[(row * size + col) * 3 + c];
        }
    }
    return sum;
}

EffStatus eff_leaves_picture(uint8_t *pixels, int size, uint64_t seed)
{
    const size_t n = 3 * (size_t)size * (size_t)size;
    float *image = eff_calloc(n, sizeof *image);
    if (image == NULL)
        return eff_fail_nomem(n * sizeof *image, "a picture");
    EffRng rng, noise;
    eff_rng_init(&rng, seed);
    eff_rng_init(&noise, ~seed);
    Leaf ground = draw(&rng, (float)size);
    ground.length = ground.width = 2 * (float)size;
    ground.is_box = true;
    paint(image, size, &ground, &noise);
    for (int i = 0; i < N_LEAVES; i++) {
        const Leaf leaf = draw(&rng, (float)size);
        paint(image, size, &leaf, &noise);
    }
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            for (int c = 0; c < 3; c++) {
                const float v = blurred(image, size, y, x, c) + 0.5f;
                *pixels++ = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
    }
    eff_free(image);
    return EFF_OK;
}
