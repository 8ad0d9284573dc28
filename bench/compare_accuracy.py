#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the int8 accuracy of effnet, ONNX Runtime and NNCF on EfficientNet-Lite0.

    effnet pull efficientnet-lite0
    compare_accuracy.py --photos DIR [--effnet build/effnet] [--onnx lite0.onnx]

DIR holds photos named INDEX_anything.jpg, INDEX being the class. In name order, photos at even positions are half A,
the others half B. Each engine calibrates on one half and is tested on the other, then the halves swap. All start from
the same float network, which is rebuilt here as ONNX; the run stops unless each engine's float logits equal effnet's.

Columns: share of photos where int8 and float name the same class, mean KL(float || int8), SQNR of a photo's 1000 logits
(median and 5th percentile), photos that only float (lost) or only int8 (gained) gets right.

Needs numpy and pillow; onnx and onnxruntime for ONNX Runtime, onnx, nncf and openvino for NNCF. An engine that isn't
installed is left out.
"""
import argparse
import collections
import contextlib
import importlib.metadata
import importlib.util
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
SKIPS = {2, 4, 6, 7, 9, 10, 12, 13, 14}  # blocks that keep the shape
BN_EPS = 1e-3
FOLDS = ("A", "B"), ("B", "A")  # calibrates, tests
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
        return self.node("Add", [y, x], name + "add") if i in SKIPS else y

    def save(self, path):
        from onnx import TensorProto, checker, helper, save
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
        save(model, path)


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


class OnnxRuntime:
    """Static QDQ: a scale a channel, u8 activations, s8 weights, min-max ranges."""

    packages = "onnxruntime", "onnx"

    @staticmethod
    def logits(model, photos):
        import onnxruntime as ort
        session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {"image": load(p)})[0] for p in photos])

    @staticmethod
    def quantize(model, photos, work):
        from onnxruntime.quantization import (CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType,
                                              quantize_static)
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Reader(CalibrationDataReader):
            def __init__(self):
                self.left = iter(photos)

            def get_next(self):
                path = next(self.left, None)
                return None if path is None else {"image": load(path)}

        prepared, quantized = work / "prepared.onnx", work / "int8.onnx"
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(str(prepared), str(quantized), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        calibrate_method=CalibrationMethod.MinMax)
        return quantized


class Nncf:
    """The mixed preset, all else by default. OpenVINO runs it, in float32 (not bfloat16) where it isn't int8."""

    packages = "nncf", "openvino", "onnx"

    @staticmethod
    def logits(model, photos):
        import openvino
        compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return np.concatenate([compiled(load(p))[0] for p in photos])

    @staticmethod
    def quantize(model, photos, _work):
        import nncf
        import openvino
        return nncf.quantize(openvino.convert_model(str(model)), nncf.Dataset(photos, load),
                             preset=nncf.QuantizationPreset.MIXED, subset_size=len(photos))


def missing(packages):
    return [p for p in packages if importlib.util.find_spec(p) is None]


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


def row(name, fold, m):
    p5, p50 = np.percentile(m["sqnr"], (5, 50))
    return (f"{name:20s} {fold:7s} {m['kl'].size:5d} {m['agreement'].mean():9.1f} {m['kl'].mean():9.5f} "
            f"{p50:9.2f} {p5:8.2f} {m['lost'].sum():5d} {m['gained'].sum():6d} "
            f"{100 * m['float'].mean():10.1f} {100 * m['int8'].mean():9.1f}")


def check_ours(said, m, where):
    """effnet's own summary has to be what its logits say."""
    ours = {"agreement": m["agreement"].mean(), "kl_mean": m["kl"].mean(),
            "sqnr_db_p50": np.percentile(m["sqnr"], 50), "sqnr_db_p5": np.percentile(m["sqnr"], 5),
            "lost": m["lost"].sum(), "gained": m["gained"].sum()}
    for key, value in ours.items():
        if not np.isclose(said[key], value, rtol=1e-4):
            sys.exit(f"{where}: effnet says {key} {said[key]}, its logits say {value}")


def split(folder, work):
    """Returns the photos and the labels of each half, and links the halves into folders of `work` for effnet."""
    photos = sorted(folder.resolve().glob("[0-9]*_*.jpg"))
    if len(photos) < 2:
        sys.exit(f"{folder}: no photos named INDEX_anything.jpg")
    halves = {"A": photos[0::2], "B": photos[1::2]}
    for h, half in halves.items():
        (work / h).mkdir()
        for p in half:
            (work / h / p.name).symlink_to(p)
    return halves, {h: np.array([int(p.name.split("_")[0]) for p in half]) for h, half in halves.items()}


def run_effnet(program, reference, labels, work):
    """Returns [(fold, measures)]."""
    folds = []
    for calib, test in FOLDS:
        effnet(program, "quantize", MODEL, "--calib", work / calib, "-o", work / "int8.bin", "-q")
        said = effnet(program, "eval", MODEL, work / "int8.bin", "--data", work / test, "--json", "-q",
                      "--save-logits", work / "int8.npy")
        m = measure(reference[test], np.load(work / "int8.npy"), labels[test])
        check_ours(json.loads(said), m, f"{calib} -> {test}")
        folds.append((f"{calib} -> {test}", m))
    return folds


def run_peer(peer, model, halves, reference, labels, work):
    """Returns [(fold, measures)]; stops unless the engine's float logits are effnet's."""
    folds = []
    for calib, test in FOLDS:
        worst = np.abs(peer.logits(model, halves[test]) - reference[test]).max()
        print(f"{peer.__name__}, half {test}: float logits differ from effnet's by at most {worst:.1e}")
        if not worst < TOLERANCE:
            sys.exit("the float networks differ: nothing to compare")
        quantized = peer.quantize(model, halves[calib], work)
        m = measure(reference[test], peer.logits(quantized, halves[test]), labels[test])
        folds.append((f"{calib} -> {test}", m))
    return folds


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--photos", required=True, type=pathlib.Path, help="folder of photos named INDEX_anything.jpg")
    ap.add_argument("--effnet", default="effnet", help="the program (default: the one on PATH)")
    ap.add_argument("--onnx", type=pathlib.Path, help="keep the float network here")
    args = ap.parse_args()
    seen = {}
    with tempfile.TemporaryDirectory() as tmp, contextlib.redirect_stdout(sys.stderr):
        work = pathlib.Path(tmp)
        halves, labels = split(args.photos, work)
        reference = {}
        for h in halves:
            effnet(args.effnet, "eval", MODEL, "--float", "--data", work / h, "--save-logits", work / "float.npy", "-q")
            reference[h] = np.load(work / "float.npy")
        version = " ".join(effnet(args.effnet, "version").split()[:2])
        seen[version] = run_effnet(args.effnet, reference, labels, work)

        model = args.onnx or work / "float.onnx"
        for name, peer in (("ONNX Runtime", OnnxRuntime), ("NNCF", Nncf)):
            if lacks := missing(peer.packages):
                print(f"{name} is skipped: {', '.join(lacks)} isn't installed")
                continue
            weights = json.loads(effnet(args.effnet, "info", MODEL, "--json"))["file"]
            OnnxNet(read_legacy_pth(weights)).save(model)
            folds = run_peer(peer, model, halves, reference, labels, work)
            seen[f"{name} {importlib.metadata.version(peer.packages[0])}"] = folds

    print(f"{'int8':20s} {'fold':7s} {'n':>5s} {'agree %':>9s} {'KL':>9s} {'SQNR p50':>9s} {'p5, dB':>8s} "
          f"{'lost':>5s} {'gained':>6s} {'float t1 %':>10s} {'int8 t1 %':>9s}")
    for name, folds in seen.items():
        for fold, m in folds:
            print(row(name, fold, m))
        print(row(name, "pooled", {key: np.concatenate([m[key] for _, m in folds]) for key in folds[0][1]}))


if __name__ == "__main__":
    main()
