#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the int8 accuracy of effnet, ONNX Runtime and NNCF on an EfficientNet-Lite.

    effnet pull efficientnet-lite0
    compare_accuracy.py --photos DIR [--model lite0] [--effnet build/effnet] [--onnx lite0.onnx]

DIR holds photos named INDEX_anything.jpg, INDEX being the class. In name order, photos at even positions are half A,
the others half B. Each engine calibrates on one half and is tested on the other, then the halves swap. All start from
the same float network, which is rebuilt here as ONNX; the run stops unless each engine's float logits equal effnet's.

Columns: share of photos where int8 and float name the same class, mean KL(float || int8), SQNR of a photo's 1000 logits
(median and 5th percentile), photos that only float (lost) or only int8 (gained) gets right.

Needs numpy and pillow; onnx and onnxruntime for ONNX Runtime, onnx, nncf and openvino for NNCF. An engine that isn't
installed is left out.
"""
import argparse
import contextlib
import json
import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image

import onnx_net
from peers import Nncf, OnnxRuntime, effnet, missing, version

FOLDS = ("A", "B"), ("B", "A")  # calibrates, tests
TOLERANCE = 1e-3  # largest difference of a float logit between effnet and the ONNX network


class Model:
    """What effnet says of a pulled model, and the pixels that it sees."""

    def __init__(self, key, program):
        self.key, self.name = key, f"efficientnet-{key}"
        info = json.loads(effnet(program, "info", self.name, "--json"))
        self.weights, self.size = info["file"], info["input_size"]
        self.resized = int(self.size / info["crop"])
        self.mean, self.std = info["mean"], info["std"]

    def load(self, path):
        """Short side by Pillow's bicubic, centre crop, (x - mean) / std, NCHW."""
        picture = Image.open(path).convert("RGB")
        w, h = picture.size
        short = min(w, h)
        w, h = self.resized * w // short, self.resized * h // short
        left, top = round((w - self.size) / 2), round((h - self.size) / 2)
        picture = picture.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + self.size, top + self.size))
        x = (np.asarray(picture, np.float32) - np.float32(self.mean)) / np.float32(self.std)
        return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


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


def run_effnet(net, program, reference, labels, work):
    """Returns [(fold, measures)]."""
    folds = []
    for calib, test in FOLDS:
        effnet(program, "quantize", net.name, "--calib", work / calib, "-o", work / "int8.bin", "-q")
        said = effnet(program, "eval", net.name, work / "int8.bin", "--data", work / test, "--json", "-q",
                      "--save-logits", work / "int8.npy")
        m = measure(reference[test], np.load(work / "int8.npy"), labels[test])
        check_ours(json.loads(said), m, f"{calib} -> {test}")
        folds.append((f"{calib} -> {test}", m))
    return folds


def logits(net, peer, model, photos):
    run = peer.runner(model)
    return np.concatenate([run(net.load(p)) for p in photos])


def run_peer(net, peer, model, halves, reference, labels, work):
    """Returns [(fold, measures)]; stops unless the engine's float logits are effnet's."""
    folds = []
    for calib, test in FOLDS:
        worst = np.abs(logits(net, peer, model, halves[test]) - reference[test]).max()
        print(f"{peer.__name__}, half {test}: float logits differ from effnet's by at most {worst:.1e}")
        if not worst < TOLERANCE:
            sys.exit("the float networks differ: nothing to compare")
        quantized = peer.quantize(model, halves[calib], net.load, work)
        m = measure(reference[test], logits(net, peer, quantized, halves[test]), labels[test])
        folds.append((f"{calib} -> {test}", m))
    return folds


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--photos", required=True, type=pathlib.Path, help="folder of photos named INDEX_anything.jpg")
    ap.add_argument("--model", default="lite0", choices=("lite0", "lite1", "lite2", "lite3", "lite4"),
                    help="a member that effnet has pulled (default: lite0)")
    ap.add_argument("--effnet", default="effnet", help="the program (default: the one on PATH)")
    ap.add_argument("--onnx", type=pathlib.Path, help="keep the float network here")
    args = ap.parse_args()
    seen, net = {}, Model(args.model, args.effnet)
    with tempfile.TemporaryDirectory() as tmp, contextlib.redirect_stdout(sys.stderr):
        work = pathlib.Path(tmp)
        halves, labels = split(args.photos, work)
        reference = {}
        for h in halves:
            effnet(args.effnet, "eval", net.name, "--float", "--data", work / h, "--save-logits", work / "float.npy", "-q")
            reference[h] = np.load(work / "float.npy")
        ours = " ".join(effnet(args.effnet, "version").split()[:2])
        seen[ours] = run_effnet(net, args.effnet, reference, labels, work)

        model = args.onnx or work / "float.onnx"
        for name, peer in (("ONNX Runtime", OnnxRuntime), ("NNCF", Nncf)):
            if lacks := missing(peer.packages):
                print(f"{name} is skipped: {', '.join(lacks)} isn't installed")
                continue
            onnx_net.build(net.key, model, net.size, onnx_net.read_legacy_pth(net.weights))
            folds = run_peer(net, peer, model, halves, reference, labels, work)
            seen[f"{name} {version(peer.packages[0])}"] = folds

    print(f"{'int8':20s} {'fold':7s} {'n':>5s} {'agree %':>9s} {'KL':>9s} {'SQNR p50':>9s} {'p5, dB':>8s} "
          f"{'lost':>5s} {'gained':>6s} {'float t1 %':>10s} {'int8 t1 %':>9s}")
    for name, folds in seen.items():
        for fold, m in folds:
            print(row(name, fold, m))
        print(row(name, "pooled", {key: np.concatenate([m[key] for _, m in folds]) for key in folds[0][1]}))


if __name__ == "__main__":
    main()
