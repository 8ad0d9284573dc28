#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Add up the results of `meson test` runs; the last line is "N passed, N failed".

    test_summary.py BUILD_DIR...

Reads BUILD_DIR/meson-logs/testlog.json. A folder without one stands for a build that failed, and counts as a failed
test. Skipped tests are named, and count as neither. The exit code is 1 when anything failed.
"""
import json
import pathlib
import sys

PASSED = {"OK", "EXPECTEDFAIL"}


def main(folders):
    n_passed = n_failed = 0
    for folder in folders:
        log = pathlib.Path(folder, "meson-logs", "testlog.json")
        if not log.exists():
            print(f"{folder}: no test results: the build failed")
            n_failed += 1
            continue
        for line in log.read_text().splitlines():
            test = json.loads(line)
            name, result = test["name"], test["result"]
            if result in PASSED:
                n_passed += 1
            elif result == "SKIP":
                print(f"{folder}: skipped: {name}")
            else:
                print(f"{folder}: {result.lower()}: {name}")
                n_failed += 1
    print(f"{n_passed} passed, {n_failed} failed")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
