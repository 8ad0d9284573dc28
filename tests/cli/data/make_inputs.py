#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inputs that the cases can't print: make_inputs.py colour FILE RRGGBB | nan FILE."""
import struct
import sys
import zipfile
import zlib


def colour(path, rgb):
    """A PNG of one colour."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes.fromhex(rgb) * 32) * 32
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def nan(path):
    """A state dict of one tensor of two numbers, the second of them no number."""
    def text(s):
        return b"X" + struct.pack("<I", len(s)) + s

    pickled = (b"\x80\x02}" + text(b"classifier.bias") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text(b"storage") +
               b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + b"K\x02tQK\0K\x02\x85K\x01\x85\x89}tRs.")
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a/data.pkl", pickled)
        z.writestr("a/data/0", struct.pack("<2f", 1, float("nan")))
        z.writestr("a/version", b"3\n")


if __name__ == "__main__":
    {"colour": colour, "nan": nan}[sys.argv[1]](*sys.argv[2:])
