#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the networks of doc/onnx.md's table as torch.onnx does: of timm, torchvision and efficientnet_pytorch.

    write_torch.py FOLDER [PART...]      needs torch, timm, torchvision, efficientnet_pytorch

FOLDER/LIBRARY-NAME-opN.onnx, others-... of other families, maps-opN.onnx a small network that has each operator on
parts of maps; or only those whose file names hold one of the PARTs. Weights are random, and so are the
BatchNorms' statistics, so that folding them is no identity. Then write_simplified.py and compare_ort.py.
"""
import os
import sys
import warnings

import torch

warnings.filterwarnings("ignore")

OPSETS = (11, 13)
# B1 to B4 are small here: what is compared doesn't depend on the size, but TensorFlow's padding does.
TIMM = {"efficientnet_b0": 224, "efficientnet_b1": 128, "efficientnet_b2": 128, "efficientnet_b3": 128,
        "efficientnet_b4": 128, "tf_efficientnet_b1": 240, "efficientnet_lite0": 224, "tf_efficientnet_lite0": 224,
        "tf_efficientnetv2_s": 150, "mobilenetv2_100": 224, "mobilenetv3_large_100": 224}
TORCHVISION = {"efficientnet_b0": 224, "efficientnet_b1": 128, "efficientnet_b2": 128, "efficientnet_b3": 128,
               "efficientnet_b4": 128, "efficientnet_v2_s": 128, "mobilenet_v2": 224, "mobilenet_v3_large": 224,
               "mobilenet_v3_small": 224}
# Networks of other families, for what they do with maps: pools, parts, groups.
OTHERS = {"timm": {"mixnet_s": 128, "resnet18": 128, "resnext50_32x4d": 96, "resnet26d": 96, "densenet121": 64,
                   "tf_mixnet_s": 128, "vovnet39a": 96},
          "torchvision": {"googlenet": 128, "squeezenet1_0": 128, "squeezenet1_1": 128, "inception_v3": 139,
                          "shufflenet_v2_x1_0": 128, "mnasnet1_0": 128, "regnet_x_400mf": 96}}
LUKEMELAS = {"efficientnet-b0": 224, "efficientnet-b1": 240, "efficientnet-b2": 128, "efficientnet-b3": 128,
             "efficientnet-b4": 128}


def awake(model, size):
    """Statistics that BatchNorms would have after training, roughly; of size, those of noise of that size."""
    if size:
        # Long rows of residuals grow until the last bit of the input moves all logits by more than what is compared.
        for m in model.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.momentum = 1
        with torch.no_grad():
            model.train()(torch.randn(2, 3, size, size))
        return model.eval()
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.1)
    return model.eval()


class Maps(torch.nn.Module):
    """One of each: pools of both kinds, joined channels and rows, slices, chunks, groups."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 7, 2, 3, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        self.grouped = nn.Conv2d(24, 36, 3, padding=1, groups=6)
        self.branches = nn.ModuleList([
            nn.Conv2d(36, 10, 1), nn.Sequential(nn.Conv2d(36, 7, 1), nn.ReLU(), nn.Conv2d(7, 9, 5, padding=2)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(36, 5, 1)),
            nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(36, 8, 1)),
            nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(36, 8, 1))])
        self.ceil = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.ceil_mean = nn.AvgPool2d(2, 2, ceil_mode=True)
        self.halved = nn.AvgPool2d(2, 2)
        self.multiplied = nn.Conv2d(40, 80, 3, padding=1, groups=40)
        self.fc = nn.Linear(80, 10)

    def forward(self, x):
        x = torch.relu(self.grouped(self.stem(x)))
        x = torch.cat([b(x) for b in self.branches], 1)
        x = self.ceil(x)
        x = torch.cat([x[:, :8, 1:, 2:], x[:, 8:16, :-1, 1:-1], x[:, 16:40:1, 1:, :-2]], 1)
        a, b = torch.chunk(x, 2, 1)
        x = torch.cat([b, torch.relu(a)], 1)
        x = torch.cat([x[:, :, :3], x[:, :, 3:]], 2)
        x = torch.cat([self.halved(x), self.ceil_mean(x)[:, :, :self.halved(x).shape[2], :self.halved(x).shape[3]]], 3)
        x = x[:, :, ::2, ::2]
        x = torch.relu(self.multiplied(x))
        return self.fc(x.mean((2, 3)))


def builders():
    """(file's name without its ending, function that makes the model, size, keywords of export)"""
    for opset in (11, 13, 16):
        yield f"maps-op{opset}", Maps, 97, {"opset_version": opset}
    try:
        import timm
        for name, size in TIMM.items():
            def make(name=name, **kw):
                return timm.create_model(name, pretrained=False, **kw)
            for opset in OPSETS:
                yield f"timm-{name}-op{opset}", lambda m=make: m(exportable=True), size, {"opset_version": opset}
        for name, size in OTHERS["timm"].items():
            def other(name=name):
                return timm.create_model(name, pretrained=False, exportable=True)
            yield f"others-timm-{name}-op13", other, size, {"opset_version": 13}
        # Other ways to export the same.
        for name in ("efficientnet_b0", "mobilenetv3_large_100"):
            def plain(name=name):
                return timm.create_model(name, pretrained=False)
            yield f"timm-{name}-plain-op13", plain, 224, {"opset_version": 13}
            yield f"timm-{name}-plain-op16", plain, 224, {"opset_version": 16}
            yield f"timm-{name}-unfolded-op13", plain, 224, {
                "opset_version": 13, "training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
            yield f"timm-{name}-batch-op13", plain, 224, {
                "opset_version": 13, "input_names": ["x"], "output_names": ["y"],
                "dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}}
    except ImportError as e:
        print("NOT timm:", e, flush=True)
    try:
        import torchvision
        for name, size in TORCHVISION.items():
            def make(name=name):
                return getattr(torchvision.models, name)(weights=None)
            for opset in OPSETS:
                yield f"torchvision-{name}-op{opset}", make, size, {"opset_version": opset}
        for name, size in OTHERS["torchvision"].items():
            def other(name=name):
                own = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
                return getattr(torchvision.models, name)(weights=None, **own)
            yield f"others-torchvision-{name}-op13", other, size, {"opset_version": 13}
    except ImportError as e:
        print("NOT torchvision:", e, flush=True)
    try:
        from efficientnet_pytorch import EfficientNet
        for name, size in LUKEMELAS.items():
            def make(name=name, size=size):
                model = EfficientNet.from_name(name, image_size=size)
                model.set_swish(False)  # its default is a function that torch.onnx cannot trace
                return model
            for opset in OPSETS:
                yield f"lukemelas-{name}-op{opset}", make, size, {"opset_version": opset}
    except ImportError as e:
        print("NOT efficientnet_pytorch:", e, flush=True)


def main():
    folder, parts = sys.argv[1], sys.argv[2:]
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    for name, make, size, how in builders():
        if parts and not any(p in name for p in parts):
            continue
        torch.manual_seed(1)
        try:
            model = awake(make(), size if "v2_s" in name or name.startswith(("maps", "others")) else 0)
            torch.onnx.export(model, torch.randn(1, 3, size, size), os.path.join(folder, name + ".onnx"), **how)
            print("made", name, flush=True)
        except Exception as e:  # what cannot be written is a result too
            print("NOT", name, repr(e)[:300], flush=True)


if __name__ == "__main__":
    main()
