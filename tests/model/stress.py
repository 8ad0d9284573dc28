#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What hostile ranges cost: networks that compute the same as a trained one, but are harder to quantize.

    stress.py EFFNET SHARED [--calib N] [--test N]

From EfficientNet-Lite0 (as pulled; photos in SHARED/photos) and from SHARED/models/b0_cifar10.pth (pictures in SHARED/cifar10) it writes
state dicts whose bottleneck channels are multiplied by powers of two, undone exactly in the weights that read them, so that float logits stay
the same bits; and one of B0 in which one picture in a hundred drives the last activations to hundreds of times the usual. Each is quantized and
compared with its own float network: the table has the median SQNR of the logits, and what is lost against the plain network. What is not
there is skipped (exit code 77 when nothing ran). It fails when float logits change that must not, when a network can't be quantized at
all, or when a cost that the quantizer has no excuse for grows above its limit.

No torch and no numpy: state dicts are read as data, by an unpickler that knows four names.
"""
import argparse
import array
import collections
import json
import pathlib
import pickle
import random
import re
import struct
import subprocess
import sys
import tempfile
import zipfile

SKIPPED = 77
B0 = ["--arch", "efficientnet-b0", "--num-classes", "10", "--size", "64", "--crop", "1.0", "--interpolation", "bilinear"]
LITE0 = ["--arch", "efficientnet-lite0", "--size", "128", "--padding", "same", "--bn-eps", "1e-3"]
RARE_GAIN = 2.0 ** 17
# Largest cost in dB that is accepted.
LIMITS = {"quiet first": 1, "rescaled": 1, "outliers": 1, "tiny and huge": 1, "rare": 6}

Tensor = collections.namedtuple("Tensor", "shape values")


# ---- State dicts ----

class Loader(pickle.Unpickler):
    """Unpickles state dicts and nothing else."""
    TYPES = {"FloatStorage": "f", "LongStorage": "q"}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: (storage, offset, shape, stride)
        if module == "torch" and name in self.TYPES:
            return self.TYPES[name]
        raise pickle.UnpicklingError(f"unexpected {module}.{name}")

    def persistent_load(self, pid):
        return pid[2], pid[1]  # key, type


def row_major(shape):
    strides, n = [], 1
    for size in reversed(shape):
        strides.insert(0, n)
        n *= size
    return strides, n


def gather(values, offset, shape, stride):
    """The values of a view, row-major: training with channels last leaves other strides behind."""
    wanted, n = row_major(shape)
    if all(size == 1 or a == b for size, a, b in zip(shape, stride, wanted)):
        return values[offset:offset + n]
    indices = [offset]
    for size, step in zip(shape, stride):
        indices = [i + k * step for i in indices for k in range(size)]
    return array.array(values.typecode, (values[i] for i in indices))


def rebuild(entries, storages):
    """Without the counts of batches, which nobody needs."""
    return collections.OrderedDict(
        (name, Tensor(tuple(shape), gather(storages[key], offset, shape, stride)))
        for name, ((key, kind), offset, shape, stride) in entries.items() if kind == "f")


def read_pth(path):
    """Returns {name: Tensor} of a .pth in either form."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as z:
            root = next(n for n in z.namelist() if n.endswith("/data.pkl"))[:-len("data.pkl")]
            with z.open(root + "data.pkl") as f:
                entries = Loader(f).load()
            return rebuild(entries, {key: array.array(kind, z.read(f"{root}data/{key}"))
                                     for (key, kind), *_ in entries.values()})
    with open(path, "rb") as f:
        for _ in range(3):
            Loader(f).load()
        entries = Loader(f).load()
        kinds = {key: kind for (key, kind), *_ in entries.values()}
        storages = {}
        for key in Loader(f).load():
            storages[key] = array.array(kinds.get(key, "f"))
            storages[key].fromfile(f, struct.unpack("<q", f.read(8))[0])
    return rebuild(entries, storages)


def write_pth(path, state):
    """The zip form, as torch.save() writes it; every tensor has its own storage."""
    def text(s):
        return b"X" + struct.pack("<I", len(s)) + s.encode()

    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"

    ordered = b"ccollections\nOrderedDict\n)R"
    pickled = b"\x80\x02" + ordered + b"("
    for key, (name, t) in enumerate(state.items()):
        strides, n = row_major(t.shape)
        pickled += (text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" +
                    text(str(key)) + text("cpu") + b"J" + struct.pack("<i", n) + b"tQK\x00" + numbers(t.shape) +
                    numbers(strides) + b"\x89" + ordered + b"tR")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", pickled + b"u.")
        for key, t in enumerate(state.values()):
            z.writestr(f"archive/data/{key}", t.values.tobytes())
        z.writestr("archive/version", b"3\n")


# ---- Bottlenecks ----

def blocks_of(state):
    """[(name of the project convolution's BatchNorm, expand convolution or None, channels in, channels out)] in order."""
    luke = "_conv_stem.weight" in state
    names = sorted({m.group(0) for m in (re.match(r"_blocks\.\d+\." if luke else r"blocks\.\d+\.\d+\.", n) for n in state) if m},
                   key=lambda n: [int(i) for i in re.findall(r"\d+", n)])
    blocks = []
    for name in names:
        if luke:
            expand, project, bn = name + "_expand_conv", name + "_project_conv", name + "_bn2"
        elif name + "conv_pwl.weight" in state:
            expand, project, bn = name + "conv_pw", name + "conv_pwl", name + "bn3"
        else:
            expand, project, bn = None, name + "conv_pw", name + "bn2"
        expand = expand if expand is not None and expand + ".weight" in state else None
        n_in = state[expand + ".weight"].shape[1] if expand else 0
        blocks.append((bn, expand, n_in, state[project + ".weight"].shape[0]))
    return blocks, "_conv_head" if luke else "conv_head"


def bottlenecks(state):
    """[(BatchNorms that write it, convolutions that read it, channels)]: blocks with a shortcut share their input's."""
    blocks, head = blocks_of(state)
    groups = []
    for i, (bn, expand, n_in, n_out) in enumerate(blocks):
        if i == 0 or n_in != n_out:
            groups.append(([], [], n_out))
        groups[-1][0].append(bn)
        groups[-1][1].append(blocks[i + 1][1] if i + 1 < len(blocks) else head)
    return groups


def scaled(state, factors):
    """A network whose g-th bottleneck has channel c multiplied by factors(g, n)[c], a power of two."""
    out = collections.OrderedDict((name, Tensor(t.shape, t.values[:])) for name, t in state.items())
    for g, (bns, readers, n) in enumerate(bottlenecks(state)):
        f = factors(g, n)
        for bn in bns:
            for part in (".weight", ".bias"):
                values = out[bn + part].values
                for c in range(n):
                    values[c] *= f[c]
        for conv in readers:
            t = out[conv + ".weight"]
            assert t.shape[1] == n and len(t.values) == t.shape[0] * n
            for c in range(n):
                if f[c] != 1:
                    t.values[c::n] = array.array("f", (v / f[c] for v in t.values[c::n]))
    return out


def stressed(state):
    """[(name, network)] that compute the same as `state`."""
    rng = random.Random(1)
    quiet = scaled(state, lambda g, n: [2.0 ** -6] + [1.0] * (n - 1))
    spread = scaled(state, lambda g, n: [2.0 ** rng.randint(-3, 3) for _ in range(n)])
    loud = [None]

    def outliers(g, n):
        loud[0] = rng.sample(range(n), 2)
        return [2.0 ** 6 if c in loud[0] else 1.0 for c in range(n)]

    return [("quiet first", quiet), ("rescaled", spread), ("outliers", scaled(state, outliers)),
            ("tiny and huge", scaled(state, lambda g, n: [2.0 ** (12 if g % 2 else -12)] * n))]


# ---- Runs ----

def effnet(program, *args):
    done = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"effnet {' '.join(map(str, args))} failed ({done.returncode})")
    return done.stdout


def logits(program, weights, options, data, n, work):
    saved = work / "logits.npy"
    effnet(program, "eval", weights, *options, "--data", data, "--images", n, "-q", "--json", "--save-logits", saved)
    raw = saved.read_bytes()
    start = 10 + int.from_bytes(raw[8:10], "little")
    shape = re.search(rb"\((\d+), (\d+)\)", raw[:start])
    values = array.array("f", raw[start:])
    n_cols = int(shape.group(2))
    return [values[i:i + n_cols] for i in range(0, len(values), n_cols)]


def rare(program, state, options, data, work):
    """B0 in which a channel of the head answers to about one picture in a hundred, then RARE_GAIN times as loud."""
    n_classes, n_ch = state["classifier.weight"].shape
    candidates = range(0, n_ch, n_ch // n_classes)[:n_classes]
    n = 300

    def pooled(threshold, gain, channels):
        """Pooled activations, which a classifier of unit rows passes on: [picture][channel]."""
        probe = changed(threshold, gain, channels)
        probe["classifier.weight"] = Tensor((n_classes, n_ch), array.array("f", bytes(4 * n_classes * n_ch)))
        for row, c in enumerate(channels):
            probe["classifier.weight"].values[row * n_ch + c] = 1 / gain
        probe["classifier.bias"] = Tensor((n_classes,), array.array("f", bytes(4 * n_classes)))
        write_pth(work / "probe.pth", probe)
        return logits(program, work / "probe.pth", options, data, n, work)

    def changed(threshold, gain, channels):
        """The channels answer above the threshold only, and gain times as loud; the classifier undoes the gain."""
        out = collections.OrderedDict((name, Tensor(t.shape, t.values[:])) for name, t in state.items())
        for c in channels:
            out["bn2.weight"].values[c] *= gain
            out["bn2.bias"].values[c] = (out["bn2.bias"].values[c] - threshold) * gain
            for row in range(n_classes):
                out["classifier.weight"].values[row * n_ch + c] /= gain
        return out

    # The channel with the longest tail, then the threshold that one picture in a hundred passes.
    usual = pooled(0, 1, candidates)
    tails = []
    for k, c in enumerate(candidates):
        values = sorted(row[k] for row in usual)
        tails.append(((values[-1] - values[n * 97 // 100]) / (abs(values[n // 2]) + 0.1), k, c))
    _, _, channel = max(tails)
    low, high = 0.0, 16.0
    for _ in range(7):
        middle = (low + high) / 2
        share = sum(row[0] > 0.02 for row in pooled(middle, RARE_GAIN, [channel])) / n
        low, high = (middle, high) if share > 0.012 else (low, middle)
    return changed(high, RARE_GAIN, [channel])


def check(program, name, weights, options, calib, test, args, work):
    """Prints the table of a network; returns whether all is well."""
    state = read_pth(weights)
    plain = work / "plain.pth"
    write_pth(plain, state)
    reference = logits(program, plain, options, test, 8, work)
    networks = [("plain", state)] + stressed(state)
    if "bn2.weight" in state and state["classifier.weight"].shape[0] <= 16:
        networks.append(("rare", rare(program, state, options, calib, work)))
    ok, base = True, None
    print(f"{name + ', logits':24s} {'SQNR dB':>8s} {'cost dB':>8s} {'agreement %':>12s} {'KL':>9s}")
    for kind, network in networks:
        path = work / "stressed.pth"
        write_pth(path, network)
        if kind != "rare" and logits(program, path, options, test, 8, work) != reference:
            print(f"{kind}: float logits differ")
            ok = False
        effnet(program, "quantize", path, *options, "--calib", calib, "--images", args.calib, "-o", work / "s.bin", "-q")
        found = json.loads(effnet(program, "eval", path, work / "s.bin", *options, "--data", test, "--images", args.test,
                                  "-q", "--json"))
        base = found["sqnr_db_p50"] if base is None else base
        cost = base - found["sqnr_db_p50"]
        print(f"{kind:24s} {found['sqnr_db_p50']:8.2f} {cost:8.2f} {found['agreement']:12.2f} {found['kl_mean']:9.5f}",
              flush=True)
        if cost > LIMITS.get(kind, float("inf")):
            print(f"{kind}: costs more than {LIMITS[kind]} dB")
            ok = False
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("effnet")
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--calib", type=int, default=60, help="pictures to calibrate on")
    parser.add_argument("--test", type=int, default=100, help="pictures to compare on")
    args = parser.parse_args()
    ran, ok = 0, True
    with tempfile.TemporaryDirectory() as tmp:
        work = pathlib.Path(tmp)
        b0, cifar = args.shared / "models" / "b0_cifar10.pth", args.shared / "cifar10"
        if b0.is_file() and cifar.is_dir():
            ok &= check(args.effnet, "B0 on CIFAR-10", b0, B0, cifar / "calib", cifar / "test", args, work)
            ran += 1
        else:
            print(f"skipped: no {b0}, or no {cifar}")
        photos = sorted((args.shared / "photos").glob("*.jpg"))
        pulled = [m["path"] for m in map(json.loads, effnet(args.effnet, "pull", "--list", "--json").splitlines())
                  if m["name"] == "efficientnet-lite0" and m["path"]]
        if photos and pulled:
            for part, chosen in (("calib", photos[0::2]), ("test", photos[1::2])):
                (work / part).mkdir()
                for p in chosen:
                    (work / part / p.name).symlink_to(p.resolve())
            ok &= check(args.effnet, "Lite0 at 128", pulled[0], LITE0, work / "calib", work / "test", args, work)
            ran += 1
        else:
            print("skipped: no photos, or run 'effnet pull efficientnet-lite0' first")
    return SKIPPED if ran == 0 else 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
