#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write data/imagenet1k.txt: the classes of ImageNet-1k in class order, a line each, "wnid<TAB>lemmas".

    scripts/make_labels.py [TIMM_WHEEL]

The order of the classes is that of their sorted WordNet ids. Ids and lemmas are read from the metadata files of the
timm wheel, which pip fetches when no wheel is named; nothing is installed.
"""
import pathlib
import subprocess
import sys
import tempfile
import zipfile

TIMM = "timm==1.0.31"
INFO = "timm/data/_info/"
OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "imagenet1k.txt"


def read_wheel(path):
    with zipfile.ZipFile(path) as wheel:
        synsets = wheel.read(INFO + "imagenet_synsets.txt").decode().split()
        lines = wheel.read(INFO + "imagenet_synset_to_lemma.txt").decode().splitlines()
    return synsets, dict(line.split("\t", 1) for line in lines)


def main():
    with tempfile.TemporaryDirectory() as temp:
        if len(sys.argv) > 1:
            wheel = sys.argv[1]
        else:
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
                            "-d", temp, TIMM], check=True)
            wheel = next(pathlib.Path(temp).glob("*.whl"))
        synsets, lemmas = read_wheel(wheel)
    assert len(synsets) == 1000 and synsets == sorted(set(synsets)), "expected 1000 sorted WordNet ids"
    text = "".join(f"{wnid}\t{lemmas[wnid]}\n" for wnid in synsets)
    assert text.isascii() and text.count("\t") == 1000
    OUT.write_text(text)
    print(f"wrote {OUT}: {len(synsets)} classes")


if __name__ == "__main__":
    main()
