#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small .pth files of test_weights.c and, with --seeds DIR, the seeds of the pth fuzz targets.

Run it with a Python that has torch (1.13 wrote the committed files). The values asserted in test_weights.c are the
ones made here.
"""
import argparse
import collections
import pathlib
import struct

import torch

HERE = pathlib.Path(__file__).parent
MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
HEAD = MAGIC + b"\x80\x02M\xe9\x03." + b"\x80\x02}(U\x0dlittle_endian\x88u."


def tensors():
    """One tensor of each type and kind of view."""
    shared = torch.arange(20.0)
    return collections.OrderedDict([
        ("conv.weight", torch.arange(24.0).reshape(2, 3, 2, 2) / 4 - 1),
        ("view.transposed", torch.arange(12.0).reshape(3, 4).t()),
        ("view.sliced", shared[3:17:2]),
        ("view.permuted", shared[4:16].reshape(2, 3, 2).permute(2, 0, 1)),
        ("view.expanded", torch.tensor([[1.5], [-2.5]]).expand(2, 3)),
        ("type.f64", torch.tensor([0.1, -1e-3], dtype=torch.float64)),
        ("type.f16", torch.tensor([1.0, -2.5, 65504.0, 2.0 ** -24, 2.0 ** -14, -0.0], dtype=torch.float16)),
        ("type.bf16", torch.tensor([1.0, -3.140625], dtype=torch.bfloat16)),
        ("type.i64", torch.tensor([-(2 ** 40), 7])),
        ("type.i32", torch.tensor([-(2 ** 31), 5], dtype=torch.int32)),
        ("type.i16", torch.tensor([-32768, 3], dtype=torch.int16)),
        ("type.i8", torch.tensor([-128, 127], dtype=torch.int8)),
        ("type.u8", torch.tensor([255, 0], dtype=torch.uint8)),
        ("type.bool", torch.tensor([True, False])),
        ("bn.num_batches_tracked", torch.tensor(42)),
        ("empty", torch.zeros(0, 3)),
        ("parameter", torch.nn.Parameter(torch.tensor([0.5, 0.25]))),
        ("note", "an entry that is no tensor"),
    ])


def wrapped():
    """A checkpoint of a training script."""
    model = torch.nn.DataParallel(torch.nn.BatchNorm2d(2))
    model.module.weight.data[:] = torch.tensor([1.25, -0.75])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return {"epoch": 3, "loss": 0.5, "huge": 2 ** 70, "arch": "tiny", "best": None, "args": (1, [2, 3], {"a": -1}),
            "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}


def python2():
    """What torch 0.3 wrote from Python 2: byte strings, OrderedDict(items), windows into a storage."""
    def text(s):
        return b"U" + bytes([len(s)]) + s

    def tensor(offset, window):
        return (b"ctorch._utils\n_rebuild_tensor\n((" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"77") +
                text(b"cpu") + b"K\x06" + window + b"tQK" + bytes([offset]) + b"K\x02\x85K\x01\x85tR")

    whole = b"N"
    part = b"(" + text(b"78") + b"K\x03K\x03t"
    items = (b"](](" + text(b"a") + tensor(1, whole) + b"e](" + text(b"b") + tensor(1, part) + b"ee")
    return (HEAD + b"\x80\x02ccollections\nOrderedDict\n" + items + b"\x85R." + b"\x80\x02](" + text(b"77") + b"e." +
            struct.pack("<q6f", 6, *range(6)))


def save(path, value, zipped):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=pathlib.Path, help="folder that gets pth_zip/ and pth_legacy/")
    args = parser.parse_args()
    if args.seeds is None:
        save(HERE / "weights_zip.pth", tensors(), True)
        save(HERE / "weights_legacy.pth", tensors(), False)
        save(HERE / "weights_wrapped_zip.pth", wrapped(), True)
        save(HERE / "weights_wrapped_legacy.pth", wrapped(), False)
        (HERE / "weights_python2.pth").write_bytes(python2())
        return
    small = collections.OrderedDict([("a", torch.arange(4.0).reshape(2, 2).t()), ("b", torch.tensor(1).half())])
    for name, zipped in (("pth_zip", True), ("pth_legacy", False)):
        folder = args.seeds / name
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / "types.pth", tensors(), zipped)
        save(folder / "wrapped.pth", wrapped(), zipped)
        save(folder / "small.pth", small, zipped)
        torch.save(small, folder / "protocol4.pth", pickle_protocol=4, _use_new_zipfile_serialization=zipped)
    (args.seeds / "pth_legacy" / "python2.pth").write_bytes(python2())
    (args.seeds / "pth_legacy" / "system.pth").write_bytes(HEAD + b"\x80\x02cos\nsystem\nU\x02id\x85R.\x80\x02].")


if __name__ == "__main__":
    main()
