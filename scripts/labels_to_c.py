#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn data/imagenet1k.txt into a C table, so that a program needs no file to name a class.

    labels_to_c.py LABELS.txt OUT.c

OUT.c defines `const char *const eff_imagenet_labels[1000]`, class order, lemmas only.
"""
import sys


def main(labels, out):
    with open(labels, encoding="ascii") as file:
        names = [line.rstrip("\n").split("\t")[1] for line in file]
    if len(names) != 1000:
        sys.exit(f"{labels}: {len(names)} classes, expected 1000; run scripts/make_labels.py")
    with open(out, "w", encoding="ascii") as file:
        file.write("/* Written by scripts/labels_to_c.py from data/imagenet1k.txt. */\n")
        file.write("extern const char *const eff_imagenet_labels[1000];\n")
        file.write("const char *const eff_imagenet_labels[1000] = {\n")
        for name in names:
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'    "{escaped}",\n')
        file.write("};\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
