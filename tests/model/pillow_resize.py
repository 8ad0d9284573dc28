#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/unit/pillow_resize_golden.h: hashes of what Pillow's Image.resize makes of seeded noise.

    pip install 'Pillow>=13' numpy
    python tests/model/pillow_resize.py PHOTOS > tests/unit/pillow_resize_golden.h

Pillow up to 12.1 always ran the horizontal pass first, which rounds differently for pictures that shrink mostly in height.
PHOTOS is a folder of JPEG files; some are decoded and prepared too, for a test that skips where it has not got them.
"""
import argparse
import math
import pathlib

import numpy as np
import PIL
from PIL import Image

KERNELS = ["BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS"]
ROWS = 200
PHOTO_STEP = 10
PREPARE = [(224, 0.875), (240, 0.882), (260, 0.89)]

# (source width, height, width, height): every kernel and channel count meets each of them.
SHAPES = [
    (1, 1, 1, 1), (1, 1, 7, 5), (1, 97, 1, 13), (97, 1, 13, 1), (1, 31, 9, 61), (31, 1, 61, 9),  # one pixel wide or high
    (13, 13, 13, 13), (53, 37, 53, 19), (53, 37, 23, 37), (53, 37, 53, 71), (53, 37, 101, 37),  # an axis that stays
    (101, 67, 43, 29), (89, 131, 61, 61), (64, 48, 32, 24), (48, 64, 16, 16),  # down by primes, by 2 and by 3
    (17, 11, 127, 83), (5, 3, 256, 255), (2, 2, 3, 3),  # up
    (997, 701, 1, 1), (997, 701, 3, 2), (1024, 3, 2, 5), (3, 1024, 5, 2),  # far down, and both ways at once
]


def splitmix64(seed, n):
    """The generator of src/base/rng.h."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def noise(seed, width, height, channels):
    """Even seeds: uniform bytes. Odd ones: only 0 and 255, so that lobes overshoot and clamping shows."""
    values = (splitmix64(seed, width * height * channels) >> np.uint64(56)).astype(np.uint8)
    if seed % 2:
        values = np.where(values > 127, 255, 0).astype(np.uint8)
    return values.reshape((height, width) if channels == 1 else (height, width, channels))


def fnv64(data, h=0xCBF29CE484222325):
    """FNV-1a."""
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def cases():
    for i, shape in enumerate(SHAPES):
        for kernel in range(len(KERNELS)):
            yield shape, kernel, 3 if (i + kernel) % 2 else 1
    rng = splitmix64(1, 4 * ROWS)
    for i in range(ROWS - len(SHAPES) * len(KERNELS)):  # seeded sizes up to 200 for the rest
        yield tuple(1 + int(v) % 200 for v in rng[4 * i : 4 * i + 4]), i % 5, 1 if i % 2 else 3


def prepare(image, size, crop):
    short, (w, h) = math.floor(size / crop), image.size
    w, h = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    x, y = int(round((w - size) / 2)), int(round((h - size) / 2))
    return image.resize((w, h), Image.Resampling.BICUBIC).crop((x, y, x + size, y + size))


def photo_rows(folder):
    for path in sorted(pathlib.Path(folder).glob("*.jpg"))[::PHOTO_STEP]:
        image = Image.open(path).convert("RGB")
        # Every 61st byte of a photo and every 7th of a crop: enough to see a change, and quick to hash here.
        yield path.name, fnv64(image.tobytes()[::61]), [fnv64(prepare(image, *p).tobytes()[::7]) for p in PREPARE]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", help="folder of JPEG files")
    args = parser.parse_args()
    if int(PIL.__version__.split(".")[0]) < 13:
        raise SystemExit(f"Pillow {PIL.__version__} orders the passes differently; install 'Pillow>=13'")
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print(f"/* Written by tests/model/pillow_resize.py with Pillow {PIL.__version__}: do not edit. */")
    print("/* clang-format off */")
    print("static const ResizeRow resize_rows[] = {")
    for seed, ((sw, sh, dw, dh), kernel, channels) in enumerate(cases()):
        picture = noise(seed, sw, sh, channels)
        resized = Image.fromarray(picture).resize((dw, dh), getattr(Image.Resampling, KERNELS[kernel]))
        print(f"    {{{seed}, {sw}, {sh}, {dw}, {dh}, {channels}, EFF_INTERP_{KERNELS[kernel]}, "
              f"0x{fnv64(resized.tobytes()):016x}u}},")
    print("};\n")
    print("enum { PHOTO_STRIDE = 61, CROP_STRIDE = 7 };")
    print("static const PhotoRow photo_rows[] = {")
    for name, pixels, crops in photo_rows(args.photos):
        print(f'    {{"{name}", 0x{pixels:016x}u, {{' + ", ".join(f"0x{c:016x}u" for c in crops) + "}},")
    print("};")


if __name__ == "__main__":
    main()
