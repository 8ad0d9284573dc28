#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole networks on real photos against another engine's float logits, and int8 against float.

    parity.py EFFNET PHOTOS LOGITS_DIR [--images N]

PHOTOS holds files named INDEX_anything.jpg, LOGITS_DIR lite{0,1,2}_logits.npy with a row a photo in sorted order. Models that have
not been pulled, and missing folders, are skipped (exit code 77 when nothing ran). Float logits must agree to 2e-3 with the
same best class; int8, calibrated on the photos that are not tested, must stay within KL 0.012 of float, and its logits over 20 photos
must be the same bytes at every CPU level that this machine has, with one and with two threads.
"""
import argparse
import array
import json
import pathlib
import subprocess
import sys
import tempfile

TOLERANCE = 2e-3
MAX_KL = 0.012
SKIPPED = 77
LEVELS = ["c", "avx2", "avxvnni", "avx512vl", "avx512vnni", "avx512vbmi", "avx512amx"]
UNSUPPORTED = 5  # exit code for a level that this CPU lacks


def read_npy(path):
    data = path.read_bytes()
    n = int.from_bytes(data[8:10], "little")
    header = eval(data[10:10 + n].decode(), {"__builtins__": {}})  # a literal dict, written by numpy or by us
    assert header["descr"] == "<f4" and not header["fortran_order"], path
    rows, cols = header["shape"]
    values = array.array("f", data[10 + n:])
    return [values[i * cols:(i + 1) * cols] for i in range(rows)]


def spread(n_all, n):
    """The pictures that `effnet eval --images` takes."""
    return [k * n_all // n for k in range(n)]


def check_float(effnet, model, photos, reference, n, tmp):
    saved = pathlib.Path(tmp, "logits.npy")
    subprocess.run([effnet, "eval", model, "--data", photos, "--images", str(n), "--quiet", "--json", "--save-logits", saved],
                   check=True, stdout=subprocess.DEVNULL)
    wanted = read_npy(reference)
    worst = 0.0
    for row, i in zip(read_npy(saved), spread(len(wanted), min(n, len(wanted)))):
        worst = max(worst, max(abs(a - b) for a, b in zip(row, wanted[i])))
        if row.index(max(row)) != wanted[i].index(max(wanted[i])):
            print(f"{model}: photo {i}: another best class")
            return False
    print(f"{model}: {min(n, len(wanted))} photos, logits within {worst:.2g}")
    return worst <= TOLERANCE


def check_int8(effnet, model, photos, n, tmp):
    calib, test = pathlib.Path(tmp, "calib"), pathlib.Path(tmp, "test")
    calib.mkdir()
    test.mkdir()
    for i, photo in enumerate(sorted(photos.glob("*.jpg"))[:2 * n]):
        (calib if i % 2 else test).joinpath(photo.name).symlink_to(photo.resolve())
    bin_path = pathlib.Path(tmp, "int8.bin")
    subprocess.run([effnet, "quantize", model, "--calib", calib, "-o", bin_path, "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)
    done = subprocess.run([effnet, "eval", model, bin_path, "--data", test, "--quiet", "--json", "--gate",
                           f"kl_mean<={MAX_KL}"], stdout=subprocess.PIPE)
    result = json.loads(done.stdout)
    print(f"{model} int8: agreement {result['agreement']:.1f} %, KL {result['kl_mean']:.4f}, SQNR {result['sqnr_db_p50']:.1f} dB")
    return done.returncode == 0 and check_levels(effnet, bin_path, test, tmp)


def check_levels(effnet, bin_path, photos, tmp):
    saved = pathlib.Path(tmp, "level.npy")
    seen = {}
    for level in LEVELS:
        for threads in "12":
            done = subprocess.run([effnet, "eval", bin_path, "--data", photos, "--images", "20", "--cpu", level, "--threads",
                                   threads, "--quiet", "--json", "--save-logits", saved], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
            if done.returncode == UNSUPPORTED:
                continue
            if done.returncode != 0:
                print(done.stderr)
                return False
            seen.setdefault(saved.read_bytes(), []).append(f"{level}/{threads}")
    print("int8 logits over 20 photos: " + "; differs: ".join(" ".join(runs) for runs in seen.values()))
    return len(seen) == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("effnet")
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("logits", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=500)
    args = parser.parse_args()
    if not args.photos.is_dir() or not args.logits.is_dir():
        print(f"skipped: no photos in {args.photos}, or no logits in {args.logits}")
        return SKIPPED
    pulled = {json.loads(line)["name"] for line in subprocess.run(
        [args.effnet, "pull", "--list", "--json"], check=True, stdout=subprocess.PIPE).stdout.splitlines()
        if json.loads(line)["path"]}
    ran, ok = 0, True
    for i in range(3):
        model = f"efficientnet-lite{i}"
        if model not in pulled:
            print(f"skipped: run 'effnet pull {model}' first")
            continue
        with tempfile.TemporaryDirectory() as tmp:
            ok &= check_float(args.effnet, model, args.photos, args.logits / f"lite{i}_logits.npy", args.images, tmp)
            if i == 0:
                ok &= check_int8(args.effnet, model, args.photos, args.images // 2, tmp)
        ran += 1
    return SKIPPED if ran == 0 else 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
