#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of fuzz_onnx: small models in the spellings of several exporters. Needs numpy and onnx.

    make_onnx_seeds.py FOLDER
"""
import pathlib
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

RNG = np.random.default_rng(1)


def constant(name, value, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def weights(name, *shape):
    return constant(name, RNG.standard_normal(shape))


def write(path, nodes, constants, shape, opset, ir=8):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "seed", [image], [logits], constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], "/" + output, **attributes)


def torch_style(path):
    """A block with squeeze-excite, BatchNorm, a residual, symbolic batch and a Reshape that computes its shape."""
    nodes = [
        node("Conv", ["image", "w1"], "a", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "g", "b", "m", "v"], "n"),
        node("Sigmoid", ["n"], "s"), node("Mul", ["n", "s"], "x"),
        node("Conv", ["x", "dw"], "d", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=4),
        node("ReduceMean", ["d"], "p", axes=[2, 3]),
        node("Conv", ["p", "r", "rb"], "q"), node("Relu", ["q"], "q2"), node("Conv", ["q2", "e"], "q3"),
        node("Sigmoid", ["q3"], "gate"), node("Mul", ["gate", "d"], "z"), node("Add", ["z", "x"], "sum"),
        node("GlobalAveragePool", ["sum"], "pool"),
        node("Shape", ["pool"], "shape"), node("Gather", ["shape", "zero"], "n0"),
        node("Unsqueeze", ["n0", "axes0"], "n1"), node("Concat", ["n1", "rest"], "to", axis=0),
        node("Reshape", ["pool", "to"], "flat"), node("Gemm", ["flat", "fc", "fcb"], "logits", transB=1)]
    constants = [
        weights("w1", 4, 3, 3, 3), weights("g", 4), weights("b", 4), weights("m", 4), constant("v", [1, 2, 3, 4]),
        weights("dw", 4, 1, 3, 3), weights("r", 2, 4, 1, 1), weights("rb", 2), weights("e", 4, 2, 1, 1),
        constant("zero", 0, np.int64), constant("axes0", [0], np.int64), constant("rest", [-1], np.int64),
        weights("fc", 3, 4), weights("fcb", 3)]
    write(path, nodes, constants, ["batch", 3, 8, 8], 13)


def keras_style(path):
    """NHWC with its own normalization, Pad and a strided depthwise convolution, MatMul and Add, Softmax."""
    nodes = [
        node("Mul", ["image", "by255"], "i1"), node("Sub", ["i1", "mean"], "i2"),
        node("Transpose", ["i2"], "t", perm=[0, 3, 1, 2]),
        node("Pad", ["t", "pads"], "padded", mode="constant"),
        node("Conv", ["padded", "w1", "b1"], "c", strides=[2, 2]),
        node("Clip", ["c", "low", "high"], "x"),
        node("Transpose", ["x"], "back", perm=[0, 2, 3, 1]),
        node("ReduceMean", ["back"], "p", axes=[1, 2], keepdims=0),
        node("MatMul", ["p", "fc"], "l"), node("Add", ["l", "fcb"], "l2"), node("Softmax", ["l2"], "logits", axis=-1)]
    constants = [
        constant("by255", 1 / 255), constant("mean", [0.5, 0.4, 0.3]), constant("pads", [0, 0, 0, 0, 0, 0, 1, 1], np.int64),
        weights("w1", 4, 3, 3, 3), weights("b1", 4), constant("low", 0), constant("high", 6), weights("fc", 4, 3), weights("fcb", 3)]
    write(path, nodes, constants, [1, 8, 8, 3], 17)


def quantized(path):
    """Weights in int8 with DequantizeLinear, float16 biases, constants in nodes, an old opset's attributes."""
    nodes = [
        node("DequantizeLinear", ["wq", "ws", "wz"], "w"), node("Cast", ["half"], "bias", to=1),
        node("Conv", ["image", "w", "bias"], "c", auto_pad="SAME_UPPER"),
        node("HardSigmoid", ["c"], "h", alpha=1 / 6, beta=0.5), node("Mul", ["c", "h"], "x"),
        node("AveragePool", ["x"], "p", kernel_shape=[8, 8]), node("Squeeze", ["p"], "f", axes=[2, 3]),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.ones((4, 2), np.float32))),
        node("Gemm", ["f", "k"], "l"), node("Dropout", ["l"], "d"), node("Identity", ["d"], "logits")]
    constants = [
        constant("wq", RNG.integers(-9, 9, (4, 3, 3, 3)), np.int8), constant("ws", .1), constant("wz", 1, np.int8),
        constant("half", [1, 2, 3, 4], np.float16)]
    write(path, nodes, constants, [1, 3, 8, 8], 11, 6)


def pairs(path):
    """As static quantizers write it: activations between QuantizeLinear and DequantizeLinear, a ReLU left out."""
    def both(x, y, step, zero):
        return [node("QuantizeLinear", [x, step, zero], y + "_q"), node("DequantizeLinear", [y + "_q", step, zero], y)]
    nodes = [
        *both("image", "i", "s1", "z1"), node("DequantizeLinear", ["wq", "ws", "wz"], "w", axis=0),
        node("Conv", ["i", "w"], "c", pads=[1, 1, 1, 1]), *both("c", "x", "s2", "z0"),
        node("Conv", ["x", "v"], "d"), node("Sigmoid", ["d"], "s"), *both("s", "s8", "s3", "z1"),
        node("Mul", ["d", "s8"], "m"), *both("m", "y", "s2", "z1"), node("GlobalAveragePool", ["y"], "p"),
        node("Flatten", ["p"], "f"), node("Gemm", ["f", "fc"], "logits", transB=1)]
    constants = [
        constant("s1", .02), constant("s2", .1), constant("s3", 1 / 256), constant("z0", 0, np.uint8),
        constant("z1", 120, np.uint8), constant("wq", RNG.integers(-99, 99, (4, 3, 3, 3)), np.int8),
        constant("ws", [.01, .02, .03, .01]), constant("wz", [0, 0, 0, 0], np.int8), weights("v", 4, 4, 1, 1),
        weights("fc", 3, 4)]
    write(path, nodes, constants, [1, 3, 8, 8], 13)


def maps(path):
    """Pools, slices, a split, joined channels and columns, groups of channels, a BatchNorm behind what is joined."""
    nodes = [
        node("Conv", ["image", "w1"], "c", pads=[1, 1, 1, 1]),
        node("MaxPool", ["c"], "m", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        helper.make_node("Split", ["m"], ["s1", "s2"], "/split", axis=1),
        node("AveragePool", ["s1"], "a", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
        node("Concat", ["a", "s2", "s1"], "j", axis=1),
        node("BatchNormalization", ["j", "g", "b", "mean", "v"], "n"),
        node("Conv", ["n", "w2"], "d", group=2),
        node("Transpose", ["d"], "t", perm=[0, 2, 3, 1]),
        node("Slice", ["t", "one", "end", "one", "step"], "y1"), node("Slice", ["y1", "one", "end", "two", "step"], "y2"),
        node("Concat", ["y2", "y2"], "y3", axis=2), node("Transpose", ["y3"], "y", perm=[0, 3, 1, 2]),
        node("GlobalMaxPool", ["y"], "p"), node("Flatten", ["p"], "logits")]
    constants = [
        weights("w1", 4, 3, 3, 3), weights("w2", 4, 3, 2, 2), constant("one", [1], np.int64), constant("two", [2], np.int64),
        constant("end", [9], np.int64), constant("step", [1], np.int64), weights("g", 6), weights("b", 6),
        weights("mean", 6), constant("v", [1, 2, 3, 4, 5, 6])]
    write(path, nodes, constants, [1, 3, 9, 9], 13)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch_style(folder / "torch.onnx")
    keras_style(folder / "keras.onnx")
    quantized(folder / "quantized.onnx")
    pairs(folder / "pairs.onnx")
    maps(folder / "maps.onnx")


if __name__ == "__main__":
    main()
