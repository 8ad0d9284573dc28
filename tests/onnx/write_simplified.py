#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs onnxsim and onnxslim over ONNX files: NAME.onnx becomes NAME-sim.onnx and NAME-slim.onnx beside it.

    write_simplified.py MODEL.onnx...      needs onnx, onnxsim, onnxslim
"""
import os
import sys

import onnx
import onnxsim
import onnxslim


def main():
    for path in sys.argv[1:]:
        base = path.removesuffix(".onnx")
        if base.endswith(("-sim", "-slim")):
            continue
        for ending in ("sim", "slim"):
            try:
                model = onnx.load(path)
                if ending == "slim":
                    model = onnxslim.slim(model)
                else:
                    feed = model.graph.input[0]
                    shape = [d.dim_value or 1 for d in feed.type.tensor_type.shape.dim]
                    model, same = onnxsim.simplify(model, overwrite_input_shapes={feed.name: shape})
                    if not same:
                        raise RuntimeError("onnxsim's own check failed")
                onnx.save(model, f"{base}-{ending}.onnx")
                print("made", os.path.basename(base), ending, flush=True)
            except Exception as e:  # what cannot be written is a result too
                print("NOT", os.path.basename(base), ending, repr(e)[:300], flush=True)


if __name__ == "__main__":
    main()
