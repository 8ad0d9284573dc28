#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares imported networks with ONNX Runtime on a seeded input: max |a - b| <= 1e-4 max |a|.

    compare_ort.py ONNX_RUN MODEL.onnx...      needs onnxruntime
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime as ort


def compare(onnx_run, path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in feed.shape]
    last = shape[3] == 3
    size = shape[1] if last else shape[2]
    x = np.random.default_rng(1).standard_normal((1, size, size, 3)).astype(np.float32)
    wanted = session.run(None, {feed.name: x if last else x.transpose(0, 3, 1, 2)})[0].ravel()
    with tempfile.TemporaryDirectory() as tmp:
        a, b = os.path.join(tmp, "in"), os.path.join(tmp, "out")
        x.tofile(a)
        done = subprocess.run([onnx_run, "net", path, a, b], capture_output=True, text=True)
        if done.returncode != 0:
            return None, done.stderr.strip()
        got = np.fromfile(b, np.float32)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max()), ""


def main():
    failed = 0
    for path in sys.argv[2:]:
        error, why = compare(sys.argv[1], path)
        ok = error is not None and error <= 1e-4
        failed += not ok
        print("ok  " if ok else "FAIL", os.path.basename(path), error if error is not None else why, flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
