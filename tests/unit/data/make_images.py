#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small pictures of the decoder tests, and what Pillow makes of them.

    pip install Pillow numpy
    python tests/unit/data/make_images.py

Leaves *.jpg, *.png and *.webp beside this file, hashes of their RGB pixels in tests/unit/image_golden.h, and copies
of some of them in fuzz/seeds. The encoders' output differs between Pillow versions, so files and hashes go together.
"""
import io
import pathlib
import shutil
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = HERE.parents[2] / "fuzz" / "seeds"
W, H = 37, 23  # odd, so that subsampled chroma and interlacing have edges


def scene(width=W, height=H):
    """A gradient with a bright disc: smooth enough to pack, no symmetry that would hide a wrong turn."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 255 // width, y * 255 // height, (x + 2 * y) * 255 // (width + 2 * height)], axis=-1)
    rgb[(x - width // 3) ** 2 + (y - height // 3) ** 2 < (height // 4) ** 2] = (250, 240, 30)
    return rgb.astype(np.uint8)


def fnv64(data):
    """FNV-1a."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def jpegs():
    rgb = Image.fromarray(scene())
    common = {"quality": 85, "optimize": True}
    yield "gray.jpg", encoded(rgb.convert("L"), "JPEG", **common)
    for name, subsampling in (("444", "4:4:4"), ("422", "4:2:2"), ("420", "4:2:0")):
        yield f"{name}.jpg", encoded(rgb, "JPEG", subsampling=subsampling, **common)
    yield "rgb.jpg", encoded(rgb, "JPEG", keep_rgb=True, **common)
    yield "restart.jpg", encoded(rgb, "JPEG", restart_marker_blocks=2, **common)
    yield "progressive.jpg", encoded(rgb, "JPEG", progressive=True, **common)
    inks = np.dstack([255 - scene(), scene()[..., 1] // 3])
    cmyk = encoded(Image.fromarray(inks, "CMYK"), "JPEG", **common)
    yield "cmyk.jpg", cmyk
    at = cmyk.index(b"Adobe") + 11  # the transform byte: 0 is CMYK, 2 YCCK
    yield "ycck.jpg", cmyk[:at] + b"\2" + cmyk[at + 1 :]
    small = Image.fromarray(scene(12, 7))
    for orientation in range(1, 9):
        yield f"turn{orientation}.jpg", encoded(small, "JPEG", exif=exif(orientation), **common)


# PNG by hand: Pillow writes neither interlaced files nor every depth.
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def packed(samples, depth):
    """Rows of [height][width * channels] samples, each with filter type 0."""
    rows = []
    for row in samples:
        if depth == 16:
            data = row.astype(">u2").tobytes()
        elif depth == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row)
            data = bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))
        rows.append(b"\0" + data)
    return b"".join(rows)


def png(samples, colour, depth, interlace=False, extra=(), level=9):
    height, width = samples.shape[:2]
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlace else [samples]
    raw = b"".join(packed(p.reshape(p.shape[0], -1), depth) for p in passes if p.size)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlace))), *extra,
              (b"IDAT", zlib.compress(raw, level)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)


def pngs():
    rgb = scene()
    gray = rgb.mean(axis=-1).astype(np.uint8)
    wide = (rgb.astype(np.uint16) << 8) + 131
    alpha = np.arange(W * H, dtype=np.uint16).reshape(H, W, 1) % 256
    for depth in (1, 2, 4, 8):
        yield f"gray{depth}.png", png(gray >> (8 - depth), 0, depth)
        n = min(1 << depth, 61)
        index = gray.astype(int) * n // 256
        palette = (b"PLTE", bytes((i * 7 + c * 90) % 256 for i in range(n) for c in range(3)))
        yield f"palette{depth}.png", png(index, 3, depth, extra=[palette])
    yield "palette-trns.png", png(index, 3, 8, extra=[palette, (b"tRNS", bytes(range(0, 240, 8)))])
    yield "palette-interlaced.png", png(index, 3, 8, interlace=True, extra=[palette])
    yield "gray1-interlaced.png", png(gray >> 7, 0, 1, interlace=True)
    yield "gray-trns.png", png(gray, 0, 8, extra=[(b"tRNS", b"\0\x50")])
    yield "gray16.png", png((gray.astype(np.uint16) << 8) + 200, 0, 16)
    yield "rgb.png", png(rgb, 2, 8)
    yield "rgb-gamma.png", png(rgb, 2, 8, extra=[(b"gAMA", struct.pack(">I", 100000))])
    yield "rgb-trns.png", png(rgb, 2, 8, extra=[(b"tRNS", struct.pack(">HHH", 250, 240, 30))])
    yield "rgb-interlaced.png", png(rgb, 2, 8, interlace=True)
    yield "rgb16.png", png(wide, 2, 16)
    yield "gray-alpha.png", png(np.dstack([gray, alpha]), 4, 8)
    yield "gray-alpha16.png", png(np.dstack([gray.astype(np.uint16) << 8, alpha << 8]), 4, 16)
    yield "rgba.png", png(np.dstack([rgb, alpha]), 6, 8)
    yield "rgba16-interlaced.png", png(np.dstack([wide, alpha << 8]), 6, 16, interlace=True)
    yield "stored.png", png(scene(12, 7), 2, 8, interlace=True, level=0)  # a fuzzer's changes reach the filters
    yield "turn6.png", png(scene(12, 7), 2, 8, extra=[(b"eXIf", exif(6)[6:])])


def webps():
    rgb = Image.fromarray(scene())
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray((np.arange(W * H).reshape(H, W) % 256).astype(np.uint8)))
    yield "lossy.webp", encoded(rgb, "WEBP", quality=80)
    yield "lossless.webp", encoded(rgb, "WEBP", lossless=True)
    yield "lossy-alpha.webp", encoded(rgba, "WEBP", quality=80)
    yield "lossless-alpha.webp", encoded(rgba, "WEBP", lossless=True)
    yield "turn8.webp", encoded(Image.fromarray(scene(12, 7)), "WEBP", lossless=True, exif=exif(8))
    frames = [ImageOps.invert(rgb), ImageOps.flip(rgb)]
    yield "animated.webp", encoded(rgb, "WEBP", lossless=True, save_all=True, append_images=frames, duration=100)


def pillow_rgb(image):
    if image.mode.startswith("I"):  # Pillow saturates at 255 here; ours is the high byte
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    return image.convert("RGB")


def main():
    lines = []
    for name, data in [*jpegs(), *pngs(), *webps()]:
        (HERE / name).write_bytes(data)
        plain = pillow_rgb(Image.open(io.BytesIO(data)))
        turned = pillow_rgb(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        lines.append(f'    {{"{name}", {plain.width}, {plain.height}, 0x{fnv64(plain.tobytes()):016x}u, '
                     f"{turned.width}, {turned.height}, 0x{fnv64(turned.tobytes()):016x}u}},")
    golden = ["/* SPDX-License-Identifier: Apache-2.0 */",
              f"/* Written by tests/unit/data/make_images.py with Pillow {PIL.__version__}: do not edit. */",
              "/* clang-format off */", "static const ImageRow image_rows[] = {", *lines, "};"]
    (HERE.parent / "image_golden.h").write_text("\n".join(golden) + "\n")
    seeds = {"jpeg": ["gray", "420", "progressive", "ycck", "turn6", "restart"],
             "png": ["gray1-interlaced", "palette-trns", "palette2", "rgba16-interlaced", "turn6", "stored"],
             "webp": ["lossy", "lossless", "lossy-alpha", "turn8", "animated"]}
    for kind, names in seeds.items():
        (SEEDS / kind).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(HERE / f"{name}.{'jpg' if kind == 'jpeg' else kind}", SEEDS / kind / f"{name}.{kind}")


if __name__ == "__main__":
    main()
