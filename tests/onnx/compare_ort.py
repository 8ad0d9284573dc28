#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares imported networks with ONNX Runtime on a seeded input: max |a - b| <= 1e-4 max |a|.

    compare_ort.py ONNX_RUN MODEL.onnx...      needs onnx and onnxruntime

A network that normalizes its picture itself gets one that it turns into that input. What is compared are logits, those
before a last Softmax. The files may be those of write_torch.py, write_keras.py and write_simplified.py.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort


def without_softmax(path):
    """The model, its output that of the last layer."""
    model = onnx.load(path)
    makers = {out: node for node in model.graph.node for out in node.output}
    last = makers[model.graph.output[0].name]
    while last.op_type in ("Identity", "Softmax"):
        last = makers[last.input[0]]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last.output[0], onnx.TensorProto.FLOAT, None))
    return model.SerializeToString()


def compare(onnx_run, path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(without_softmax(path), options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in feed.shape]
    last = shape[3] == 3
    size = shape[1] if last else shape[2]
    x = np.random.default_rng(1).standard_normal((1, size, size, 3)).astype(np.float32)
    with tempfile.TemporaryDirectory() as tmp:
        a, b = os.path.join(tmp, "in"), os.path.join(tmp, "out")
        x.tofile(a)
        done = subprocess.run([onnx_run, "net", path, a, b], capture_output=True, text=True)
        if done.returncode != 0:
            return None, done.stderr.strip()
        got = np.fromfile(b, np.float32)
    own = np.array(done.stdout.split(), np.float32)
    x = x * own[3:] + own[:3]
    wanted = session.run(None, {feed.name: x if last else x.transpose(0, 3, 1, 2)})[0].ravel()
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
