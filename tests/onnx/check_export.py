#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks exported networks: onnx.checker takes them, and ONNX Runtime, and OpenVINO where it is installed, find our
logits of the network that they were exported from: max |a - b| <= 1e-4 max |a|, in float32, on one picture.

    check_export.py EFFNET ONNX_RUN ARCH[:OPSET]...      needs onnx and onnxruntime; 13 is the operator set by default

Weights are random. Each network is checked with BatchNorm as nodes, and simplified.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

try:
    import openvino
except ImportError:
    openvino = None
SEED = "1"


def engines(path, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [v.name for v in session.get_inputs() + session.get_outputs()]
    assert names == ["data", "output"], names
    yield "ONNX Runtime", session.run(["output"], {"data": x})[0]
    if openvino is not None:
        core = openvino.Core()
        exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        yield "OpenVINO", core.compile_model(core.read_model(path), "CPU", exact)([x])[0]


def check(effnet, onnx_run, arch, opset, tmp):
    def at(name):
        return os.path.join(tmp, name)

    subprocess.run([onnx_run, "arch", arch, SEED, at("in"), at("out")], check=True)
    wanted = np.fromfile(at("out"), np.float32)
    x = np.fromfile(at("in"), np.float32)
    size = int(round((len(x) / 3) ** 0.5))
    x = np.ascontiguousarray(x.reshape(1, size, size, 3).transpose(0, 3, 1, 2))
    worst = 0.0
    for flags in ([], ["--simplify"]):
        subprocess.run([effnet, "export", arch, "--random-init", SEED, "--opset", opset, "-o", at("net.onnx"), *flags],
                       check=True, stdout=subprocess.DEVNULL)
        model = onnx.load(at("net.onnx"))
        onnx.checker.check_model(model, full_check=True)
        assert ("BatchNormalization" in {n.op_type for n in model.graph.node}) == (not flags)
        for engine, got in engines(at("net.onnx"), x):
            assert got.shape == (1, len(wanted)), got.shape
            error = float(np.abs(got - wanted).max() / np.abs(wanted).max())
            worst = max(worst, error)
            print(f"     {arch} opset {opset} {' '.join(flags):10} {engine:12} {error:.2g}", flush=True)
    return worst


def main():
    effnet, onnx_run, *names = sys.argv[1:]
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name in names:
            arch, _, opset = name.partition(":")
            worst = check(effnet, onnx_run, arch, opset or "13", tmp)
            failed += not worst <= 1e-4
            print("ok  " if worst <= 1e-4 else "FAIL", name, f"{worst:.2g}", flush=True)
    sys.exit(failed > 0 or not names)


if __name__ == "__main__":
    main()
