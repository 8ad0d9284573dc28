#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write timm_counts.txt: parameters and multiply-accumulates of EfficientNets as timm builds them.

    python3 tests/model/timm_counts.py > tests/model/timm_counts.txt

Needs torch and timm (written with torch 1.13 and timm 1.0.31); no weights are fetched. A line is
"name size parameters macs", tab-separated, 1000 classes. Parameters are those a training would change: the running
mean and variance of a BatchNorm are not among them. Macs are those of every convolution, those of the squeeze-excites
included, and of the classifier, for one picture; padding counts like any other pixel. The forward pass runs on meta
tensors, so it costs nothing.
"""
import sys

import timm
import torch

NATIVE = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600, "b8": 672,
          "l2": 800, "lite0": 224, "lite1": 240, "lite2": 260, "lite3": 300, "lite4": 380}
MORE = {"b2": [224], "b3": [224], "b4": [224], "lite3": [280], "lite4": [300]}  # the last two: TensorFlow's own sizes


def count(name, sizes):
    """One (size, parameters, macs) a size."""
    model = timm.create_model(name, pretrained=False, num_classes=1000).eval().to("meta")
    n_params = sum(p.numel() for p in model.parameters())
    macs = 0

    def conv(module, _, out):
        nonlocal macs
        kernel_h, kernel_w = module.kernel_size
        macs += out.numel() * (module.in_channels // module.groups) * kernel_h * kernel_w

    def linear(module, _, out):
        nonlocal macs
        macs += out.numel() * module.in_features

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(conv)
        elif isinstance(module, torch.nn.Linear):
            module.register_forward_hook(linear)
    for size in sizes:
        macs = 0
        with torch.no_grad():
            model(torch.empty(1, 3, size, size, device="meta"))
        yield size, n_params, macs


def main():
    torch.nn.init.trunc_normal_ = torch.nn.init.normal_ = lambda tensor, *_, **__: tensor  # values play no part
    print("# name\tsize\tparameters\tmacs")
    for prefix in ("tf_efficientnet_", "efficientnet_"):
        for variant, native in NATIVE.items():
            sizes = [native] + MORE.get(variant, [])
            for size, n_params, macs in count(prefix + variant, sizes):
                print(prefix + variant, size, n_params, macs, sep="\t", flush=True)
    print(f"timm {timm.__version__}, torch {torch.__version__}", file=sys.stderr)


if __name__ == "__main__":
    main()
