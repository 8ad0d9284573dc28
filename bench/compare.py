#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the speed of effnet with ONNX Runtime, OpenVINO (NNCF) and LiteRT on the same networks, taking turns.

    compare.py --venv DIR [--models lite0,b0] [--threads 1] [--effnet build/effnet] [--tflite lite0=FILE]...

DIR is a virtual environment with the engines: pip install numpy onnx onnxruntime openvino nncf ai-edge-litert. One that
isn't installed is left out, and so is LiteRT without --tflite, a fully int8 .tflite of the network.

Networks have random weights, which cost the same as trained ones; each float network is written as ONNX here, quantized
by ONNX Runtime (static QDQ, per channel, u8 x s8) and by NNCF (mixed preset), and must have as many
multiply-accumulates as effnet counts. Float runs in float32; --bf16 adds OpenVINO's own choice, bfloat16 where the CPU has it.

In each round every engine runs --frames pictures one at a time, in an order that turns from round to round; a round's
figure is the median. "ratio" is the time of the best peer over effnet's, of the same round: its median and range.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

OURS = "effnet"


def parse_args():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--venv", type=pathlib.Path, help="virtual environment with the engines (default: this Python)")
    ap.add_argument("--effnet", default="effnet", help="the program (default: the one on PATH)")
    ap.add_argument("--models", default="lite0,b0", help="members, such as lite0,lite4,b0,b4 (default lite0,b0)")
    ap.add_argument("--size", type=int, default=224, help="input size in pixels (default 224)")
    ap.add_argument("--threads", type=int, default=1, help="threads for a picture (default 1)")
    ap.add_argument("--rounds", type=int, default=7, help="turns of each engine (default 7)")
    ap.add_argument("--frames", type=int, default=40, help="pictures a round (default 40)")
    ap.add_argument("--tflite", action="append", default=[], metavar="MODEL=FILE", help="int8 network for LiteRT")
    ap.add_argument("--bf16", action="store_true", help="also time OpenVINO's own choice of precision")
    ap.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every round here")
    args = ap.parse_args()
    if args.rounds < 1 or args.frames < 1 or args.threads < 1:
        ap.error("--rounds, --frames and --threads are at least 1")
    args.tflite = dict(t.split("=", 1) if "=" in t else ap.error(f"--tflite '{t}' is not MODEL=FILE")
                       for t in args.tflite)
    return args


def enter(venv):
    """Goes on in the Python of the venv."""
    python = venv / "bin" / "python"
    if not python.exists():
        sys.exit(f"{venv}: no bin/python; make it with 'python3 -m venv {venv}'")
    if pathlib.Path(sys.prefix).resolve() != venv.resolve():
        os.execv(python, [str(python), *sys.argv])


def pictures(size, count):
    """Smooth random pictures, normalized: enough to fix the ranges of a timing run."""
    import numpy as np
    rng = np.random.default_rng(0)
    for _ in range(count):
        small = rng.standard_normal((3, 8, 8)).astype(np.float32)
        yield np.ascontiguousarray(np.kron(small, np.ones((1, size // 8 + 1, size // 8 + 1), np.float32))
                                   [None, :, :size, :size])


class Ours:
    """`effnet perf`, a process a round; preparing the model is outside of what it times."""

    def __init__(self, args, net, int8):
        self.command = ["perf", f"efficientnet-{net}", "--size", args.size, "--threads", args.threads, "--frames",
                        args.frames, "--no-check", "--json"] + (["--int8"] if int8 else [])
        self.program, self.report = args.effnet, None

    def round(self):
        import peers
        self.report = json.loads(peers.effnet(self.program, *self.command))
        return self.report["latency_ms"]["median"]


class Peer:
    def __init__(self, run, picture, frames):
        self.run, self.picture, self.frames = run, picture, frames
        for _ in range(5):
            run(picture)

    def round(self):
        times = []
        for _ in range(self.frames):
            start = time.perf_counter()
            self.run(self.picture)
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)


def make_engines(args, net, work):
    """{(name, type): engine}; says what is left out."""
    import onnx_net
    import peers
    engines = {(OURS, "int8"): Ours(args, net, True), (OURS, "float"): Ours(args, net, False)}
    inputs = list(pictures(args.size, 16))

    def peer(name, kind, run):
        engines[name, kind] = Peer(run, inputs[0], args.frames)

    for engine in (peers.OnnxRuntime, peers.Nncf):
        if lacks := peers.missing(engine.packages):
            print(f"{engine.name} is left out: {', '.join(lacks)} isn't installed", file=sys.stderr)
            continue
        model = work / f"{net}.onnx"
        if not model.exists():
            macs = onnx_net.build(net, model, args.size)
            info = json.loads(peers.effnet(args.effnet, "info", f"efficientnet-{net}", "--size", args.size, "--json"))
            if macs != info["macs"]:
                sys.exit(f"{net}: {macs} multiply-accumulates as ONNX, {info['macs']} in effnet: not the same network")
        print(f"{net}: {engine.name} quantizes", file=sys.stderr)
        peer(engine.name, "float", engine.runner(model, args.threads))
        quantized = engine.quantize(model, inputs, lambda x: x, work)
        peer(engine.name, "int8", engine.runner(quantized, args.threads))
        if engine is peers.Nncf and args.bf16:
            peer(engine.name, "own choice", engine.runner(model, args.threads, None))
            peer(engine.name, "int8, own choice", engine.runner(quantized, args.threads, None))
    if net in args.tflite:
        if lacks := peers.missing(peers.LiteRt.packages):
            print(f"LiteRT is left out: {', '.join(lacks)} isn't installed", file=sys.stderr)
        else:
            peer(peers.LiteRt.name, "int8", peers.LiteRt.runner(args.tflite[net], args.size, args.threads))
    return engines


def take_turns(engines, rounds):
    """{(name, type): [ms of each round]}"""
    seen, order = {key: [] for key in engines}, list(engines)
    for r in range(rounds):
        for key in order[r % len(order):] + order[:r % len(order)]:
            seen[key].append(engines[key].round())
        print(f"round {r + 1} of {rounds}", file=sys.stderr)
    return seen


def ratio(seen, kind):
    """The best peer of a type (for float: of float; for int8: of all), and (median, least, largest) of its ratio."""
    rivals = {k: statistics.median(v) for k, v in seen.items()
              if k[0] != OURS and (kind == "int8" or not k[1].startswith("int8"))}
    if not rivals:
        return None
    best = min(rivals, key=rivals.get)
    pairs = [theirs / ours for theirs, ours in zip(seen[best], seen[OURS, kind])]
    return {"peer": " ".join(best), "median": statistics.median(pairs), "min": min(pairs), "max": max(pairs)}


def describe(args, engines):
    import peers
    reports = [e.report for e in engines.values() if isinstance(e, Ours)]
    versions = {"effnet": reports[0]["effnet"]}
    versions |= {p: peers.version(p) for p in ("onnxruntime", "openvino", "nncf", "ai_edge_litert")
                 if not peers.missing([p])}
    disturbed = sorted({reason.split(";")[0] for r in reports for reason in r["trust"]["reasons"]})
    return {"cpu_model": reports[0]["cpu_model"], "level": reports[0]["cpu"], "threads": args.threads,
            "size": args.size, "frames": args.frames, "rounds": args.rounds, "date": time.strftime("%Y-%m-%d"),
            "versions": versions, "disturbed_by": disturbed}


def print_net(net, seen):
    for (name, kind), ms in seen.items():
        print(f"{net:6s} {name:13s} {kind:17s} {statistics.median(ms):9.3f} {min(ms):9.3f} {max(ms):9.3f}")
    for kind in ("int8", "float"):
        if r := ratio(seen, kind):
            print(f"{net:6s} effnet {kind} against {r['peer']}, the best peer: {r['median']:.2f} times as fast "
                  f"({r['min']:.2f} to {r['max']:.2f})")


def main():
    args = parse_args()
    if args.venv:
        enter(args.venv)
    import make_shapes
    nets = args.models.split(",")
    if unknown := [n for n in nets if n not in make_shapes.NETS]:
        sys.exit(f"unknown model '{unknown[0]}'; use some of {', '.join(make_shapes.NETS)}")
    results, about = {}, None
    for net in nets:
        with tempfile.TemporaryDirectory() as tmp:
            engines = make_engines(args, net, pathlib.Path(tmp))
            seen = take_turns(engines, args.rounds)
        about = describe(args, engines)
        if not results:
            print("  ".join(f"{k} {v}" for k, v in about["versions"].items()))
            print(f"{about['cpu_model']}, level {about['level']}, threads {args.threads}, size {args.size}, "
                  f"{args.rounds} rounds of {args.frames}, {about['date']}")
            print(f"{'net':6s} {'engine':13s} {'type':17s} {'median ms':>9s} {'min':>9s} {'max':>9s}")
        print_net(net, seen)
        results[net] = {"ms": {" ".join(k): v for k, v in seen.items()},
                        "ratio": {kind: ratio(seen, kind) for kind in ("int8", "float")}}
    for reason in about["disturbed_by"]:
        print(f"disturbed: {reason}")
    if args.json:
        args.json.write_text(json.dumps(about | {"models": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
