#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ONNX's node tests (Debian's libonnx-testdata) for the operators of operators.txt: at least 90 % of them pass, none fails,
and what is skipped is what skipped.txt says, each with its reason.

    conformance.py ONNX_RUN [FOLDER]
"""
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
DATA = "/usr/share/libonnx-testdata/data/node"


def op_types(folder):
    """Operators of a test's model. Its nodes lie in field 7.1.4; a name and its length byte are enough to find them."""
    return re.findall(rb"\x22.([A-Z][A-Za-z0-9]+)", (folder / "model.onnx").read_bytes(), re.S)


def main():
    data = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else DATA)
    if not data.is_dir():
        print(f"skipped: no {data}; apt-get install libonnx-testdata")
        sys.exit(77)
    wanted = {w.encode() for w in (HERE / "operators.txt").read_text().split()}
    folders = [f for f in sorted(data.glob("test_*")) if (ops := op_types(f)) and all(o in wanted for o in ops)]
    done = subprocess.run([sys.argv[1], "node", *map(str, folders)], capture_output=True, text=True, check=True)
    known = {}
    for line in (HERE / "skipped.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(": ", 1)
            known[name] = reason
    results = {line.split()[1].rstrip(":"): line for line in done.stdout.splitlines()}
    failed = [line for line in results.values() if line.startswith("fail")]
    skipped = {name for name, line in results.items() if line.startswith("skip")}
    passed = len(results) - len(failed) - len(skipped)
    for line in failed + [results[n] for n in sorted(skipped - known.keys())]:
        print(line)
    for name in sorted(known.keys() - skipped):
        print(f"{name} is in skipped.txt, but it runs")
    print(f"{passed} of {len(results)} pass, {len(skipped)} are skipped")
    sys.exit(bool(failed) or skipped != known.keys() or passed < 0.9 * len(results))


if __name__ == "__main__":
    main()
