#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of bench/: the ratio to the best peer, and that the ONNX networks are those that effnet counts.

    bench_test.py EFFNET

What needs numpy and onnx is left out, and said so, where they are not installed.
"""
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"
sys.path.insert(0, str(BENCH))
sys.dont_write_bytecode = True


def test_ratio(_):
    import compare
    seen = {("effnet", "int8"): [1, 2, 4], ("effnet", "float"): [4, 4, 4], ("A", "float"): [2, 2, 12],
            ("A", "int8"): [3, 3, 3], ("B", "float"): [5, 6, 7], ("B", "int8"): [9, 9, 1]}
    assert compare.ratio(seen, "int8") == {"peer": "A float", "median": 2, "min": 1, "max": 3}
    assert compare.ratio(seen, "float") == {"peer": "A float", "median": 0.5, "min": 0.5, "max": 3}
    assert compare.ratio({("effnet", "int8"): [1]}, "int8") is None


def test_turns(_):
    import compare
    order = []

    class Engine:
        def __init__(self, name):
            self.name = name

        def round(self):
            order.append(self.name)
            return len(order)

    seen = compare.take_turns({("a", ""): Engine("a"), ("b", ""): Engine("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"], order
    assert seen == {("a", ""): [1, 4, 5], ("b", ""): [2, 3, 6]}


def test_shapes(_):
    done = subprocess.run([sys.executable, BENCH / "make_shapes.py"], capture_output=True, text=True, check=True)
    assert done.stdout == (BENCH / "shapes.txt").read_text(), "make_shapes.py no longer writes shapes.txt"


def test_unknown_model(effnet):
    done = subprocess.run([sys.executable, BENCH / "compare.py", "--effnet", effnet, "--models", "lite0,b9"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("unknown model 'b9'; use some of lite0"), done.stderr


def test_onnx_networks(effnet):
    if lacks := [p for p in ("numpy", "onnx") if importlib.util.find_spec(p) is None]:
        print(f"skip test_onnx_networks: {', '.join(lacks)} isn't installed")
        return
    import onnx_net
    with tempfile.TemporaryDirectory() as tmp:
        for net in ("lite0", "lite4", "b0", "b2"):
            macs = onnx_net.build(net, pathlib.Path(tmp) / "net.onnx", 64)
            info = subprocess.run([effnet, "info", f"efficientnet-{net}", "--size", "64", "--json"],
                                  capture_output=True, text=True, check=True)
            assert macs == json.loads(info.stdout)["macs"], net


def main():
    failed = 0
    tests = [(name, f) for name, f in globals().items() if name.startswith("test_")]
    for name, test in tests:
        try:
            test(sys.argv[1])
        except AssertionError as e:
            print(f"FAIL {name}: {e}")
            failed += 1
    print(f"{len(tests)} tests, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
