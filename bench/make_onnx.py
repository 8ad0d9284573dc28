#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a float ONNX model of a network of make_shapes.py, with seeded random weights and BatchNorm folded, as exporters
leave it (NCHW, SiLU as Sigmoid and Mul): something for other engines to run when only their speed is of interest.

Usage: make_onnx.py NET OUT.onnx [SIZE], for example: make_onnx.py b0 b0.onnx 224. Needs the packages numpy and onnx.
"""
import sys

import make_shapes
import onnx_net


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in make_shapes.NETS:
        sys.exit(__doc__)
    onnx_net.build(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else None)


if __name__ == '__main__':
    main()
