/* SPDX-License-Identifier: Apache-2.0 */
/* Pixels to the float input of a network. */
#include "graph/ir.h"

void eff_graph_normalize(const EffGraph *g, float *dst, const uint8_t *pixels)
{
    const EffPreprocess *pre = &g->pre;
    const size_t n = (size_t)pre->size * (size_t)pre->size;
    if (g->values[g->input].shape.c == 3) {
        for (size_t i = 0; i < 3 * n; i++)
            dst[i] = ((float)pixels[i] - pre->mean[i % 3]) / pre->std[i % 3];
        return;
    }
    for (size_t i = 0; i < n; i++, pixels += 3) {
        const float luma = 0.299f * (float)pixels[0] + 0.587f * (float)pixels[1] + 0.114f * (float)pixels[2];
        dst[i] = (luma - pre->mean[0]) / pre->std[0];
    }
}
