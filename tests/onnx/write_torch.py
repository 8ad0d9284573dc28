#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the networks of doc/onnx.md's table as torch.onnx does: of timm, torchvision and efficientnet_pytorch.

    write_torch.py FOLDER [PART...]      needs torch, timm, torchvision, efficientnet_pytorch

FOLDER/LIBRARY-NAME-opN.onnx, or only those whose file names hold one of the PARTs. Weights are random, and so are the
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


def builders():
    """(file's name without its ending, function that makes the model, size, keywords of export)"""
    try:
        import timm
        for name, size in TIMM.items():
            def make(name=name, **kw):
                return timm.create_model(name, pretrained=False, **kw)
            for opset in OPSETS:
                yield f"timm-{name}-op{opset}", lambda m=make: m(exportable=True), size, {"opset_version": opset}
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
            model = awake(make(), size if "v2_s" in name else 0)
            torch.onnx.export(model, torch.randn(1, 3, size, size), os.path.join(folder, name + ".onnx"), **how)
            print("made", name, flush=True)
        except Exception as e:  # what cannot be written is a result too
            print("NOT", name, repr(e)[:300], flush=True)


if __name__ == "__main__":
    main()
