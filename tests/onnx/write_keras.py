#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the networks of doc/onnx.md's table as tf2onnx does of tf.keras.applications.

    write_keras.py FOLDER [PART...]      needs tensorflow (tensorflow-cpu will do) and tf2onnx

FOLDER/keras-NAME-opN.onnx, or only those whose file names hold one of the PARTs. The way of Keras 3 is a SavedModel
(batch symbolic); tf2onnx.convert.from_function, which fixes the batch, makes inputs of constants that a layer keeps
(Normalization), and is taken for a network without one. Weights and statistics are random.
"""
import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
import tf2onnx
import tf2onnx.convert

OPSETS = (11, 13)
NETWORKS = {"EfficientNetB0": 224, "EfficientNetB1": 240, "EfficientNetB2": 128, "EfficientNetB3": 128,
            "EfficientNetB4": 128, "EfficientNetV2S": 150, "MobileNetV2": 224,
            "MobileNetV3Large": 224, "MobileNetV3Small": 224}
# Networks of other families, for what they do with maps: pools, parts, joined channels.
OTHERS = {"ResNet50": 96, "DenseNet121": 64, "InceptionV3": 139, "NASNetMobile": 224}


def awake(model, size):
    """Statistics that layers would have after training, roughly; of size, those of noise of that size."""
    rng = np.random.default_rng(1)
    if size:
        # Long rows of residuals grow until the last bit of the input moves all logits by more than what is compared.
        for layer in model.layers:
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                layer.momentum = 0
        model(rng.normal(128, 128, (2, size, size, 3)).astype(np.float32), training=True)
        return model
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights([rng.uniform(0.5, 1.5, n), rng.normal(0, 0.1, n), rng.normal(0, 0.1, n),
                               rng.uniform(0.5, 1.5, n)])
        elif isinstance(layer, tf.keras.layers.Normalization):
            layer.adapt_mean.assign([0.485, 0.456, 0.406])
            layer.adapt_variance.assign([0.052, 0.050, 0.051])
            layer.finalize_state()
    return model


def main():
    folder, parts = sys.argv[1], sys.argv[2:]
    os.makedirs(folder, exist_ok=True)
    for name, size in {**NETWORKS, **OTHERS}.items():
        wanted = [op for op in OPSETS if not parts or any(p in f"keras-{name}-op{op}" for p in parts)]
        if not wanted:
            continue
        tf.keras.utils.set_random_seed(1)
        tf.keras.backend.clear_session()
        model = getattr(tf.keras.applications, name)(weights=None, input_shape=(size, size, 3))
        model = awake(model, size if "V2S" in name or name in OTHERS else 0)
        with tempfile.TemporaryDirectory() as tmp:
            model.export(tmp, verbose=False)
            for opset in wanted:
                out = os.path.join(folder, f"keras-{name}-op{opset}.onnx")
                try:
                    sys.argv = ["tf2onnx", "--saved-model", tmp, "--opset", str(opset), "--output", out]
                    tf2onnx.convert.main()
                    print("made", os.path.basename(out), flush=True)
                except Exception as e:  # what cannot be written is a result too
                    print("NOT", os.path.basename(out), repr(e)[:300], flush=True)
        if name == "MobileNetV2":
            call = tf.function(lambda x: model(x, training=False),
                               input_signature=[tf.TensorSpec((1, size, size, 3), tf.float32)])
            tf2onnx.convert.from_function(call, input_signature=call.input_signature, opset=13,
                                          output_path=os.path.join(folder, f"keras-{name}-function-op13.onnx"))
            print(f"made keras-{name}-function-op13.onnx", flush=True)


if __name__ == "__main__":
    main()
