# SPDX-License-Identifier: Apache-2.0
"""Members of the family as ONNX graphs: Lite0 from the published weights, any member from random ones.

Needs numpy and onnx.
"""
import collections
import math
import pickle
import sys

import numpy as np

import make_shapes

BN_EPS = 1e-3
LITE0 = "lite0"


class StorageRef:
    """What a tensor of a legacy .pth says about where its values are."""

    def __init__(self, key, dtype):
        self.key, self.dtype = key, dtype


class LegacyUnpickler(pickle.Unpickler):
    """Unpickles a state dict and nothing else: any other class is refused."""

    DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: (storage, offset, shape, stride)
        if module == "torch" and name in self.DTYPES:
            return self.DTYPES[name]
        raise pickle.UnpicklingError(f"unexpected {module}.{name} in the weights")

    def persistent_load(self, pid):
        _, dtype, key, _, _, _ = pid
        return StorageRef(key, dtype)


def read_legacy_pth(path):
    """Returns {name: array} of a state dict that torch.save wrote before its zip format: five pickles, then values."""
    with open(path, "rb") as f:
        if LegacyUnpickler(f).load() != 0x1950A86A20F9469CFC6C:
            sys.exit(f"{path}: not a legacy .pth")
        LegacyUnpickler(f).load()  # protocol version
        LegacyUnpickler(f).load()  # sizes and byte order of the writer
        tensors = LegacyUnpickler(f).load()
        dtypes = {storage.key: storage.dtype for storage, *_ in tensors.values()}
        values = {}
        for key in LegacyUnpickler(f).load():
            count = int.from_bytes(f.read(8), "little")
            values[key] = np.frombuffer(f.read(count * dtypes[key].itemsize), dtypes[key])
    arrays = {}
    for name, (storage, offset, shape, stride) in tensors.items():
        strides = [s * storage.dtype.itemsize for s in stride]
        arrays[name] = np.lib.stride_tricks.as_strided(values[storage.key][offset:], shape, strides).copy()
    return arrays


class Graph:
    """Collects nodes, one picture in NCHW; names follow the weights where there are any."""

    def __init__(self, size):
        self.nodes, self.constants, self.size, self.macs = [], [], size, 0
        self.low, self.high = self.constant("zero", np.float32(0)), self.constant("six", np.float32(6))

    def constant(self, name, value):
        from onnx import numpy_helper
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, op, inputs, name, **attributes):
        from onnx import helper
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def act(self, x, kind, name):
        if kind == "clamp":
            return self.node("Clip", [x, self.low, self.high], name + ".relu6")
        if kind == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x], name + ".sigmoid")], name + ".silu")
        return self.node("Sigmoid", [x], name + ".sigmoid") if kind == "sigmoid" else x

    def conv(self, x, name, kernel, bias, stride=1, depthwise=False, act="none"):
        """A convolution that pads as TensorFlow's SAME does; `size` follows the output."""
        out, k = -(-self.size // stride), kernel.shape[-1]
        pad = max((out - 1) * stride + k - self.size, 0)
        before, after = pad // 2, pad - pad // 2
        self.size = out
        self.macs += out * out * kernel.size
        y = self.node("Conv", [x, self.constant(name + ".weight", kernel), self.constant(name + ".bias", bias)], name,
                      kernel_shape=[k, k], strides=[stride, stride], pads=[before, before, after, after],
                      group=kernel.shape[0] if depthwise else 1)
        return self.act(y, act, name)

    def squeeze_excite(self, x, name, reduce, expand):
        """Gate of a pooled map; the two layers are (kernel, bias) pairs."""
        size, self.size = self.size, 1
        y = self.node("GlobalAveragePool", [x], name + ".pool")
        y = self.conv(y, name + ".reduce", *reduce, act="silu")
        y = self.conv(y, name + ".expand", *expand, act="sigmoid")
        self.size = size
        return self.node("Mul", [x, y], name + ".gate")

    def classify(self, x, weight, bias):
        self.macs += weight.size
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x], "pool")], "flatten")
        self.node("Gemm", [x, self.constant("_fc.weight", weight), self.constant("_fc.bias", bias)], "logits", transB=1)

    def save(self, path, name, input_size, n_classes):
        from onnx import TensorProto, checker, helper, save
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, input_size, input_size])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, n_classes])
        graph = helper.make_graph(self.nodes, name, [image], [logits], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        checker.check_model(model)
        save(model, path)


class Trained:
    """Kernels with the BatchNorm behind them folded, from a state dict with lukemelas' names."""

    def __init__(self, weights):
        self.w = weights
        self.n_classes = weights["_fc.bias"].size

    def conv(self, conv, bn, *_):
        kernel = self.w[conv + ".weight"].astype(np.float64)
        scale = self.w[bn + ".weight"] / np.sqrt(self.w[bn + ".running_var"].astype(np.float64) + BN_EPS)
        return kernel * scale[:, None, None, None], self.w[bn + ".bias"] - self.w[bn + ".running_mean"] * scale

    def classifier(self, _):
        return self.w["_fc.weight"], self.w["_fc.bias"]


class Random:
    """Kernels that keep a signal's size from layer to layer: enough for speed."""

    def __init__(self, seed):
        self.rng, self.n_classes = np.random.default_rng(seed), 1000

    def conv(self, _conv, _bn, c_in, c_out, k, gain=1.4):
        kernel = self.rng.standard_normal((c_out, c_in, k, k)) * gain / math.sqrt(c_in * k * k)
        return kernel, self.rng.standard_normal(c_out) * 0.1

    def classifier(self, c_in):
        return self.rng.standard_normal((self.n_classes, c_in)) / math.sqrt(c_in), np.zeros(self.n_classes)


def blocks(net):
    """(input channels, output channels, kernel, stride, expansion) of each block."""
    width, depth, _, lite = make_shapes.NETS[net]
    last = len(make_shapes.BLOCKS) - 1
    for stage, (repeats, kernel, stride, expansion, c_in, c_out) in enumerate(make_shapes.BLOCKS):
        c_in = 32 if lite and stage == 0 else make_shapes.filters(c_in, width)
        c_out = make_shapes.filters(c_out, width)
        repeats = repeats if lite and stage in (0, last) else math.ceil(repeats * depth)
        for i in range(repeats):
            yield (c_in if i == 0 else c_out), c_out, kernel, (stride if i == 0 else 1), expansion


def build(net, path, size=None, weights=None, seed=1):
    """Writes a member ("lite0" to "b7") as ONNX; `weights` are a state dict of a Lite. Returns the number of MACs."""
    width, _, native, lite = make_shapes.NETS[net]
    size = size or native
    source = Random(seed) if weights is None else Trained(weights)
    g, act = Graph(size), "clamp" if lite else "silu"
    c = 32 if lite else make_shapes.filters(32, width)
    x = g.conv("image", "_conv_stem", *source.conv("_conv_stem", "_bn0", 3, c, 3), 2, act=act)
    for i, (c_in, c_out, k, stride, expansion) in enumerate(blocks(net)):
        name, y, mid = f"_blocks.{i}.", x, c_in * expansion
        if expansion > 1:
            kernel = source.conv(name + "_expand_conv", name + "_bn0", c_in, mid, 1)
            y = g.conv(y, name + "_expand_conv", *kernel, act=act)
        kernel = source.conv(name + "_depthwise_conv", name + "_bn1", 1, mid, k)
        y = g.conv(y, name + "_depthwise_conv", *kernel, stride, depthwise=True, act=act)
        if not lite:
            squeezed = max(1, c_in // 4)
            y = g.squeeze_excite(y, name + "_se", source.conv(None, None, mid, squeezed, 1),
                                 source.conv(None, None, squeezed, mid, 1))
        y = g.conv(y, name + "_project_conv", *source.conv(name + "_project_conv", name + "_bn2", mid, c_out, 1))
        x = g.node("Add", [y, x], name + "add") if stride == 1 and c_in == c_out else y
        c = c_out
    head = 1280 if lite else make_shapes.filters(1280, width)
    x = g.conv(x, "_conv_head", *source.conv("_conv_head", "_bn1", c, head, 1), act=act)
    g.classify(x, *source.classifier(head))
    g.save(path, net, size, source.n_classes)
    return g.macs
