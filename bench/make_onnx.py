#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a float ONNX model of a network of make_shapes.py, with seeded random weights and BatchNorm folded, as
exporters leave it (NCHW, SiLU as Sigmoid and Mul): something for other engines to run when only their speed is of interest.

Usage: make_onnx.py NET OUT.onnx [SIZE], for example: make_onnx.py b0 b0.onnx 224. Needs the packages numpy and onnx.
"""
import sys

import make_shapes
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


class Model:
    def __init__(self):
        self.rng, self.nodes, self.weights, self.count = np.random.default_rng(1), [], [], 0

    def node(self, op, inputs, **attributes):
        self.count += 1
        out = f'{op}_{self.count}'
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    def weight(self, array):
        name = f'w{len(self.weights)}'
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def conv(self, x, ch_in, ch_out, kernel, stride, size, groups=1):
        out = -(-size // stride)
        pad = max(0, (out - 1) * stride + kernel - size)
        wgt = self.rng.normal(0, (ch_in // groups * kernel * kernel) ** -0.5, (ch_out, ch_in // groups, kernel, kernel))
        return self.node('Conv', [x, self.weight(wgt), self.weight(self.rng.normal(0, 0.1, ch_out))],
                         kernel_shape=[kernel] * 2, strides=[stride] * 2, group=groups,
                         pads=[pad // 2, pad // 2, pad - pad // 2, pad - pad // 2])

    def act(self, x, kind):
        if kind == 'clamp':
            return self.node('Clip', [x, self.weight(np.float32(0)), self.weight(np.float32(6))])
        if kind == 'silu':
            return self.node('Mul', [x, self.node('Sigmoid', [x])])
        return self.node('Sigmoid', [x]) if kind == 'sigmoid' else x


def build(net, size):
    width, depth, native, lite = make_shapes.NETS[net]
    size = size or native
    m, x, block, se, strided = Model(), 'input', None, None, False
    for op, ch_in, ch_out, kernel, stride, size_in, _, act in make_shapes.layers(width, depth, size, lite):
        if op == 'expand' or (op == 'dw' and block is None):
            block = (x, ch_in)
        if op == 'se':
            src = se if se else m.node('GlobalAveragePool', [x])
            se = m.act(m.conv(src, ch_in, ch_out, 1, 1, 1), act)
            if act == 'sigmoid':
                x, se = m.node('Mul', [x, se]), None
            continue
        if op == 'fc':
            x = m.node('Flatten', [m.node('GlobalAveragePool', [x])])
            wgt = m.rng.normal(0, ch_in ** -0.5, (ch_out, ch_in))
            m.node('Gemm', [x, m.weight(wgt), m.weight(np.zeros(ch_out))], transB=1)
            continue
        strided = stride > 1 or (strided and op == 'project')
        x = m.act(m.conv(x, ch_in, ch_out, kernel, stride, size_in, ch_in if op == 'dw' else 1), act)
        if op == 'project':
            if ch_out == block[1] and not strided:
                x = m.node('Add', [x, block[0]])
            block = None
    m.nodes[-1].output[0] = 'logits'
    src = helper.make_tensor_value_info('input', TensorProto.FLOAT, [1, 3, size, size])
    dst = helper.make_tensor_value_info('logits', TensorProto.FLOAT, [1, 1000])
    graph = helper.make_graph(m.nodes, net, [src], [dst], m.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    save(build(sys.argv[1], int(sys.argv[3]) if len(sys.argv) == 4 else None), sys.argv[2])


if __name__ == '__main__':
    main()
