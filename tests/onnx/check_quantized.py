#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exported quantized models (and float ones) beside ours, on photos, in ONNX Runtime and OpenVINO.

    check_quantized.py EFFNET MODEL PHOTOS [--bin FILE] [--calib N] [--images N] [--opset N...]

Quantizes MODEL on N of the photos at odd places (unless a .bin is given), exports it, has onnx.checker look at it, and
compares the logits on the photos at even places, or on all of them with --all, with those of `effnet eval` on the .bin:
signal to noise over all logits of each photo (the median is printed), and the share of photos with the same best class.
Fails below 35 dB or 99.5 % in ONNX Runtime, with its optimizer or without. With --float it exports the float network
instead, and wants the same best class on every photo. Photos are INDEX_anything.jpg. Skips (77) without onnxruntime.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from PIL import Image
except ImportError as e:
    print(f"skipped: {e.name} is not installed (pip install onnx onnxruntime pillow)")
    sys.exit(77)
try:
    import openvino
except ImportError:
    openvino = None

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC,
           "lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX, "hamming": Image.Resampling.HAMMING}
MIN_SQNR, MIN_SAME = 35.0, 0.995


def prepared(path, meta):
    """The picture as the metadata of an exported file say: resize the short side, centre crop, normalize."""
    size, crop = int(meta["size"]), float(meta["crop"])
    image = Image.open(path).convert("RGB")
    short = int(size / crop)
    w, h = image.size
    wide, high = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    image = image.resize((wide, high), FILTERS[meta["interpolation"]])
    left, top = int(round((wide - size) / 2)), int(round((high - size) / 2))
    x = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
    mean, std = (np.array([float(v) for v in meta[k].split(",")]) for k in ("mean", "std"))
    scale = 255 if mean.max() <= 1 and std[0] <= 1 else 1
    x = (x - (mean * scale).astype(np.float32)) / (std * scale).astype(np.float32)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)


def engines(path):
    """Names, and functions that open the file and give one that runs it."""
    def in_ort(level):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = level
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda x: session.run(["output"], {"data": x})[0][0]

    def in_openvino(how):
        core = openvino.Core()
        how = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, **how}
        compiled = core.compile_model(core.read_model(path), "CPU", how)
        return lambda x: compiled([x])[0][0]

    yield "ORT, as written", lambda: in_ort(ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    yield "ORT, optimized", lambda: in_ort(ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    if openvino is not None:
        yield "OpenVINO", lambda: in_openvino({})
        yield "OpenVINO, in float", lambda: in_openvino({"LP_TRANSFORMS_MODE": "NO"})


def compare(name, opened, wanted, inputs):
    try:
        run = opened()
        got = np.array([run(x) for x in inputs])
    except Exception as e:  # an engine's own error is a result to print
        print(f"{name:28} does not run it: {str(e)[:300]}")
        return 0.0, 0.0
    noise = np.sum((got - wanted) ** 2, axis=1)
    sqnr = 10 * np.log10(np.sum(wanted ** 2, axis=1) / np.maximum(noise, 1e-30))
    same = float(np.mean(got.argmax(1) == wanted.argmax(1)))
    print(f"{name:28} logit SQNR median {np.median(sqnr):6.2f} dB, 5 % {np.percentile(sqnr, 5):6.2f} dB, "
          f"same best class {100 * same:.1f} % of {len(wanted)}", flush=True)
    return float(np.median(sqnr)), same


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("effnet")
    ap.add_argument("model")
    ap.add_argument("photos", type=pathlib.Path)
    ap.add_argument("--bin", help="a model that is quantized already")
    ap.add_argument("--calib", type=int, default=40, help="photos to calibrate on (default: 40)")
    ap.add_argument("--images", type=int, default=0, help="photos to compare on, evenly spread (default: all)")
    ap.add_argument("--all", action="store_true", help="compare on photos at odd places too")
    ap.add_argument("--opset", type=int, nargs="+", default=[13, 21])
    ap.add_argument("--float", action="store_true", help="export the float network")
    args = ap.parse_args()
    photos = sorted(p for p in args.photos.iterdir() if p.suffix == ".jpg")
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        for k, folder in enumerate(("test", "calib")):
            (tmp / folder).mkdir()
            for p in photos[k::2]:
                (tmp / folder / p.name).symlink_to(p.resolve())
        data, subject, flags = args.photos if args.all else tmp / "test", args.bin or tmp / "m.bin", []
        if args.float:
            subject, flags = args.model, ["--float"]
        elif not args.bin:
            subprocess.run([args.effnet, "quantize", args.model, "--calib", tmp / "calib", "-n", str(args.calib), "-o",
                            subject, "-q"], check=True, stdout=subprocess.DEVNULL)
        chosen = sorted(p for p in data.iterdir() if p.suffix == ".jpg")
        n = args.images or len(chosen)
        chosen = [chosen[i * len(chosen) // n] for i in range(n)]
        subprocess.run([args.effnet, "eval", subject, *flags, "--data", data, "--images", str(n), "-q", "--json",
                        "--save-logits", tmp / "logits.npy"], check=True, stdout=subprocess.DEVNULL)
        wanted = np.load(tmp / "logits.npy")
        for opset in args.opset:
            path = str(tmp / "net.onnx")
            said = subprocess.run([args.effnet, "export", subject, "--opset", str(opset), "-o", path, "--json"],
                                  check=True, stdout=subprocess.PIPE)
            said = json.loads(said.stdout)
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
            meta = {m.key: m.value for m in model.metadata_props}
            inputs = [prepared(p, meta) for p in chosen]
            print(f"{subject} opset {opset}: {said['bytes']} bytes, {said.get('int16_left_float', 0)} 16-bit activations "
                  "left float")
            for name, opened in engines(path):
                sqnr, same = compare(name, opened, wanted, inputs)
                if args.float:
                    failed += same < 1
                elif name.startswith("ORT"):
                    failed += not (sqnr >= MIN_SQNR and same >= MIN_SAME)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
