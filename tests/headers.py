#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compile every public header alone, as C11 and, where there is a C++ compiler, as C++17.

    headers.py INCLUDE_DIR CC
"""
import pathlib
import shutil
import subprocess
import sys


def main(include, cc):
    compilers = [[cc, "-std=c11", "-x", "c"]]
    cxx = shutil.which("c++")
    if cxx:
        compilers.append([cxx, "-std=c++17", "-x", "c++"])
    else:
        print("no C++ compiler: headers are compiled as C only")
    failed = 0
    for header in sorted(pathlib.Path(include, "effnet").glob("*.h")):
        for compiler in compilers:
            done = subprocess.run([*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{include}", "-"],
                                  input=f"#include <effnet/{header.name}>\n", text=True)
            failed += done.returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
