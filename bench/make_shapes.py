#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes bench/shapes.txt: the layers of EfficientNet-Lite0..4 and B0..B7, derived from the block strings.

Rules: filters times width, rounded to a multiple of 8 and never below 0.9 of it; repeats times depth, rounded up; only the
first block of a stage strides. Lite keeps stem (32) and head (1280) and does not repeat its first and last stage, and
has no squeeze-excite. Usage: make_shapes.py > shapes.txt
"""
import math

BLOCKS = [  # repeats, kernel, stride, expansion, in, out
    (1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112), (4, 5, 2, 6, 112, 192), (1, 3, 1, 6, 192, 320)]
NETS = {  # width, depth, input size, lite
    'lite0': (1.0, 1.0, 224, True), 'lite1': (1.0, 1.1, 240, True), 'lite2': (1.1, 1.2, 260, True),
    'lite3': (1.2, 1.4, 280, True), 'lite4': (1.4, 1.8, 300, True),
    'b0': (1.0, 1.0, 224, False), 'b1': (1.0, 1.1, 240, False), 'b2': (1.1, 1.2, 260, False),
    'b3': (1.2, 1.4, 300, False), 'b4': (1.4, 1.8, 380, False), 'b5': (1.6, 2.2, 456, False),
    'b6': (1.8, 2.6, 528, False), 'b7': (2.0, 3.1, 600, False)}


def filters(f, width):
    f *= width
    n = max(8, int(f + 4) // 8 * 8)
    return n + 8 if n < 0.9 * f else n


def layers(width, depth, size, lite):
    act = 'clamp' if lite else 'silu'
    stem = 32 if lite else filters(32, width)
    size_out = -(-size // 2)
    yield ('stem', 3, stem, 3, 2, size, size_out, act)
    size, first, last = size_out, 0, len(BLOCKS) - 1
    for stage, (repeats, kernel, stride, expansion, ch_in, ch_out) in enumerate(BLOCKS):
        ch_in = stem if stage == 0 else filters(ch_in, width)
        ch_out = filters(ch_out, width)
        if not (lite and stage in (first, last)):
            repeats = math.ceil(repeats * depth)
        for i in range(repeats):
            c, s = (ch_in, stride) if i == 0 else (ch_out, 1)
            mid = c * expansion
            if expansion > 1:
                yield ('expand', c, mid, 1, 1, size, size, act)
            out = -(-size // s)
            yield ('dw', mid, mid, kernel, s, size, out, act)
            if not lite:
                squeezed = max(1, int(c * 0.25))
                yield ('se', mid, squeezed, 1, 1, 1, 1, 'silu')
                yield ('se', squeezed, mid, 1, 1, 1, 1, 'sigmoid')
            yield ('project', mid, ch_out, 1, 1, out, out, 'none')
            size = out
    head = 1280 if lite else filters(1280, width)
    yield ('head', filters(BLOCKS[-1][5], width), head, 1, 1, size, size, act)
    yield ('fc', head, 1000, 1, 1, 1, 1, 'none')


def main():
    print('# Layers of the EfficientNet family, written by make_shapes.py.')
    print('# net op in_ch out_ch kernel stride in_size out_size act count')
    for net, rule in NETS.items():
        counts = {}
        for layer in layers(*rule):
            counts[layer] = counts.get(layer, 0) + 1
        for layer, n in counts.items():
            print(net, *layer, n)


if __name__ == '__main__':
    main()
