#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the int8 accuracy of effnet, ONNX Runtime and NNCF on EfficientNet-Lite0.

    effnet pull efficientnet-lite0
    compare_accuracy.py --photos DIR [--effnet build/effnet] [--onnx lite0.onnx]

DIR holds photos named INDEX_anything.jpg, INDEX being the class. In name order, photos at even positions are half A,
the others half B. Each engine calibrates on one half and is tested on the other, then the halves swap. All engines start
from the same float network, which is rebuilt here as ONNX; the run stops unless its logits equal effnet's.

Columns: share of photos where int8 and float name the same class, mean KL(float || int8), SQNR of a photo's 1000 logits
(median and 5th percentile), photos that only float (lost) or only int8 (gained) gets right.

Needs numpy, pillow and onnx, and onnxruntime for the check. Without NNCF and OpenVINO their rows are left out.
"""
import argparse
import collections
import contextlib
import json
import pathlib
import pickle
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

MODEL = "efficientnet-lite0"
SIZE, RESIZED = 224, 256  # 256 is floor(224 / 0.875)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
BN_EPS = 1e-3
TOLERANCE = 1e-3  # largest difference of a float logit between effnet and the ONNX network


class StorageRef:
    """What a tensor of a legacy .pth says about where its values are."""

    def __init__(self, key, dtype):
        self.key, self.dtype = key, dtype


class LegacyUnpickler(pickle.Unpickler):
    """Unpickles a state dict and nothing else: any other class is refused."""

    DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: (storage, offset, shape, stride)
        if module == "torch" and name in self.DTYPES:
            return self.DTYPES[name]
        raise pickle.UnpicklingError(f"unexpected {module}.{name} in the weights")

    def persistent_load(self, pid):
        _, dtype, key, _, _, _ = pid
        return StorageRef(key, dtype)


def read_legacy_pth(path):
    """Returns {name: array} of a state dict that torch.save wrote before its zip format: five pickles, then values."""
    with open(path, "rb") as f:
        if LegacyUnpickler(f).load() != 0x1950A86A20F9469CFC6C:
            sys.exit(f"{path}: not a legacy .pth")
        LegacyUnpickler(f).load()  # protocol version
        LegacyUnpickler(f).load()  # sizes and byte order of the writer
        tensors = LegacyUnpickler(f).load()
        dtypes = {storage.key: storage.dtype for storage, *_ in tensors.values()}
        values = {}
        for key in LegacyUnpickler(f).load():
            count = int.from_bytes(f.read(8), "little")
            values[key] = np.frombuffer(f.read(count * dtypes[key].itemsize), dtypes[key])
    arrays = {}
    for name, (storage, offset, shape, stride) in tensors.items():
        strides = [s * storage.dtype.itemsize for s in stride]
        arrays[name] = np.lib.stride_tricks.as_strided(values[storage.key][offset:], shape, strides).copy()
    return arrays


class OnnxNet:
    """Builds the graph; a convolution folds the BatchNorm behind it and pads as TensorFlow's SAME does."""

    def __init__(self, weights):
        self.w, self.nodes, self.constants, self.size = weights, [], [], SIZE
        self.low, self.high = self.constant("zero", np.float32(0)), self.constant("six", np.float32(6))

    def constant(self, name, value):
        from onnx import numpy_helper
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, op, inputs, name, **attributes):
        from onnx import helper
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def conv(self, x, conv, bn, stride=1, depthwise=False, relu6=True):
        kernel = self.w[conv + ".weight"].astype(np.float64)
        scale = self.w[bn + ".weight"] / np.sqrt(self.w[bn + ".running_var"].astype(np.float64) + BN_EPS)
        bias = self.w[bn + ".bias"] - self.w[bn + ".running_mean"] * scale
        out, k = -(-self.size // stride), kernel.shape[-1]
        pad = max((out - 1) * stride + k - self.size, 0)
        before, after = pad // 2, pad - pad // 2
        self.size = out
        y = self.node("Conv", [x, self.constant(conv + ".weight", kernel * scale[:, None, None, None]),
                               self.constant(conv + ".bias", bias)], conv, kernel_shape=[k, k],
                      strides=[stride, stride], pads=[before, before, after, after],
                      group=kernel.shape[0] if depthwise else 1)
        return self.node("Clip", [y, self.low, self.high], conv + ".relu6") if relu6 else y

    def block(self, x, i):
        name, y = f"_blocks.{i}.", x
        if name + "_expand_conv.weight" in self.w:
            y = self.conv(y, name + "_expand_conv", name + "_bn0")
        y = self.conv(y, name + "_depthwise_conv", name + "_bn1", STRIDES[i], depthwise=True)
        y = self.conv(y, name + "_project_conv", name + "_bn2", relu6=False)
        first = self.w.get(name + "_expand_conv.weight", self.w[name + "_depthwise_conv.weight"])
        skips = STRIDES[i] == 1 and first.shape[1] == self.w[name + "_project_conv.weight"].shape[0]
        return self.node("Add", [y, x], name + "add") if skips else y

    def model(self):
        from onnx import TensorProto, checker, helper
        x = self.conv("image", "_conv_stem", "_bn0", 2)
        for i in range(len(STRIDES)):
            x = self.block(x, i)
        x = self.conv(x, "_conv_head", "_bn1")
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x], "pool")], "flatten")
        self.node("Gemm", [x, self.constant("_fc.weight", self.w["_fc.weight"]),
                           self.constant("_fc.bias", self.w["_fc.bias"])], "logits", transB=1)
        graph = helper.make_graph(
            self.nodes, MODEL, [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, self.w["_fc.bias"].size])], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        checker.check_model(model)
        return model


def load(path):
    """The pixels that effnet sees: short side to 256 by Pillow's bicubic, centre crop, (x - 127) / 128, NCHW."""
    picture = Image.open(path).convert("RGB")
    w, h = picture.size
    short = min(w, h)
    w, h = RESIZED * w // short, RESIZED * h // short
    left, top = round((w - SIZE) / 2), round((h - SIZE) / 2)
    picture = picture.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + SIZE, top + SIZE))
    x = (np.asarray(picture, np.float32) - 127) / 128
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


def ort_logits(model, photos):
    import onnxruntime as ort
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": load(p)})[0] for p in photos])


def ort_int8(onnx_file, calibration, photos, work):
    """ONNX Runtime: static QDQ, a scale a channel, u8 activations, s8 weights, min-max ranges."""
    from onnxruntime.quantization import (CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType,
                                          quantize_static)
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter(calibration)

        def get_next(self):
            path = next(self.left, None)
            return None if path is None else {"image": load(path)}

    prepared, quantized = work / "prepared.onnx", work / "int8.onnx"
    quant_pre_process(str(onnx_file), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(quantized), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.MinMax)
    return ort_logits(quantized, photos)


def nncf_int8(onnx_file, calibration, photos, _work):
    """NNCF: mixed preset, all else by default, run by OpenVINO with float32 for what stays float."""
    import nncf
    import openvino
    model = nncf.quantize(openvino.convert_model(str(onnx_file)), nncf.Dataset(calibration, load),
                          preset=nncf.QuantizationPreset.MIXED, subset_size=len(calibration))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled(load(p))[0] for p in photos])


PEERS = {"ONNX Runtime": (ort_int8, ("onnxruntime", "onnx")), "NNCF": (nncf_int8, ("nncf", "openvino"))}


def version(packages):
    """The version of the first package, or None when one of them is missing."""
    from importlib import metadata
    try:
        return [metadata.version(p) for p in packages][0]
    except metadata.PackageNotFoundError as e:
        print(f"{packages[0]}: skipped: {e.name} isn't installed", file=sys.stderr)
        return None


def effnet(program, *args):
    """Runs effnet; returns what it printed."""
    done = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"effnet {args[0]} failed ({done.returncode})")
    return done.stdout


def measure(a, b, labels):
    """Compares int8 logits b with float logits a; returns what is known of each photo."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    log_p, log_q = (x - x.max(1, keepdims=True) for x in (a, b))
    log_p, log_q = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (log_p, log_q))
    right_a, right_b = a.argmax(1) == labels, b.argmax(1) == labels
    return {"agreement": 100.0 * (a.argmax(1) == b.argmax(1)), "kl": (np.exp(log_p) * (log_p - log_q)).sum(1),
            "sqnr": 10 * np.log10((a * a).sum(1) / ((b - a) ** 2).sum(1)), "lost": right_a & ~right_b,
            "gained": ~right_a & right_b, "float": right_a, "int8": right_b}


def pooled(folds):
    return {key: np.concatenate([fold[key] for fold in folds]) for key in folds[0]}


def row(name, fold, m):
    p5, p50 = np.percentile(m["sqnr"], (5, 50))
    return (f"{name:22s} {fold:8s} {m['kl'].size:5d} {m['agreement'].mean():9.1f} {m['kl'].mean():9.5f} "
            f"{p50:9.2f} {p5:8.2f} {m['lost'].sum():5d} {m['gained'].sum():6d} "
            f"{100 * m['float'].mean():10.1f} {100 * m['int8'].mean():9.1f}")


def check_ours(said, m, where):
    """effnet's own summary has to be what its logits say."""
    ours = {"agreement": m["agreement"].mean(), "kl_mean": m["kl"].mean(),
            "sqnr_db_p50": np.percentile(m["sqnr"], 50), "sqnr_db_p5": np.percentile(m["sqnr"], 5),
            "lost": m["lost"].sum(), "gained": m["gained"].sum()}
    for key, value in ours.items():
        if abs(said[key] - value) > 1e-3 * max(1, abs(value)):
            sys.exit(f"{where}: effnet says {key} {said[key]}, its logits say {value}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--photos", required=True, type=pathlib.Path, help="folder of photos named INDEX_anything.jpg")
    ap.add_argument("--effnet", default="effnet", help="the program (default: the one on PATH)")
    ap.add_argument("--onnx", type=pathlib.Path, help="keep the float network here")
    args = ap.parse_args()
    photos = sorted(args.photos.resolve().glob("[0-9]*_*.jpg"))
    if len(photos) < 2:
        sys.exit(f"{args.photos}: no photos named INDEX_anything.jpg")
    halves = {"A": photos[0::2], "B": photos[1::2]}
    labels = {h: np.array([int(p.name.split("_")[0]) for p in half]) for h, half in halves.items()}
    with tempfile.TemporaryDirectory() as tmp:
        work = pathlib.Path(tmp)
        for h, half in halves.items():
            (work / h).mkdir()
            for p in half:
                (work / h / p.name).symlink_to(p)

        import onnx
        onnx_file = args.onnx or work / "float.onnx"
        weights = json.loads(effnet(args.effnet, "info", MODEL, "--json"))["file"]
        onnx.save(OnnxNet(read_legacy_pth(weights)).model(), onnx_file)
        reference = {}
        for h, half in halves.items():
            effnet(args.effnet, "eval", MODEL, "--float", "--data", work / h, "--save-logits", work / "float.npy", "-q")
            reference[h] = np.load(work / "float.npy")
            worst = np.abs(ort_logits(onnx_file, half) - reference[h]).max()
            print(f"float, half {h}: largest difference of a logit between effnet and ONNX {worst:.2g}")
            if not worst < TOLERANCE:
                sys.exit("the float networks differ: nothing to compare")

        seen = {"effnet": []}
        for calib, test in (("A", "B"), ("B", "A")):
            effnet(args.effnet, "quantize", MODEL, "--calib", work / calib, "-o", work / "int8.bin", "-q")
            said = json.loads(effnet(args.effnet, "eval", MODEL, work / "int8.bin", "--data", work / test, "--json", "-q",
                                     "--save-logits", work / "int8.npy"))
            m = measure(reference[test], np.load(work / "int8.npy"), labels[test])
            check_ours(said, m, f"{calib} -> {test}")
            seen["effnet"].append((f"{calib} -> {test}", m))
        for name, (run, packages) in PEERS.items():
            found = version(packages)
            for calib, test in (("A", "B"), ("B", "A")) if found else ():
                with contextlib.redirect_stdout(sys.stderr):
                    logits = run(onnx_file, halves[calib], halves[test], work)
                seen.setdefault(f"{name} {found}", []).append(
                    (f"{calib} -> {test}", measure(reference[test], logits, labels[test])))

    print(f"{'int8':22s} {'fold':8s} {'n':>5s} {'agree %':>9s} {'KL':>9s} {'SQNR p50':>9s} {'p5, dB':>8s} "
          f"{'lost':>5s} {'gained':>6s} {'float t1 %':>10s} {'int8 t1 %':>9s}")
    for name, folds in seen.items():
        for fold, m in folds:
            print(row(name, fold, m))
        print(row(name, "pooled", pooled([m for _, m in folds])))


if __name__ == "__main__":
    main()
