# SPDX-License-Identifier: Apache-2.0
"""Other engines: quantizing an ONNX network as their documentation says, and running it.

`inputs` is a list, `load` turns one of its items into [1, 3, size, size] float32.
"""
import importlib.metadata
import importlib.util
import subprocess
import sys


def missing(packages):
    return [p for p in packages if importlib.util.find_spec(p) is None]


def version(package):
    return importlib.metadata.version(package)


def effnet(program, *args):
    """Runs effnet; returns what it printed."""
    done = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"effnet {args[0]} failed ({done.returncode})")
    return done.stdout


class OnnxRuntime:
    """Static QDQ: a scale a channel, u8 activations, s8 weights, min-max ranges."""

    name, packages = "ONNX Runtime", ("onnxruntime", "onnx")

    @staticmethod
    def runner(model, n_threads=0):
        """A function of an input that returns the logits."""
        import onnxruntime as ort
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {"image": x})[0]

    @staticmethod
    def quantize(model, inputs, load, work):
        from onnxruntime.quantization import (CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType,
                                              quantize_static)
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Reader(CalibrationDataReader):
            def __init__(self):
                self.left = iter(inputs)

            def get_next(self):
                item = next(self.left, None)
                return None if item is None else {"image": load(item)}

        prepared, quantized = work / "prepared.onnx", work / "int8.onnx"
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(str(prepared), str(quantized), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        calibrate_method=CalibrationMethod.MinMax)
        return quantized


class Nncf:
    """The mixed preset, all else by default, run by OpenVINO."""

    name, packages = "OpenVINO", ("nncf", "openvino", "onnx")

    @staticmethod
    def runner(model, n_threads=0, precision="f32"):
        """`precision` is of what isn't int8: f32, or None for OpenVINO's own choice (bfloat16 where the CPU has it)."""
        import openvino
        options = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if n_threads > 0:
            options["INFERENCE_NUM_THREADS"] = n_threads
        if precision is not None:
            options["INFERENCE_PRECISION_HINT"] = precision
        model = openvino.convert_model(str(model)) if not hasattr(model, "get_ops") else model
        compiled = openvino.Core().compile_model(model, "CPU", options)
        return lambda x: compiled(x)[0]

    @staticmethod
    def quantize(model, inputs, load, _work):
        import nncf
        import openvino
        return nncf.quantize(openvino.convert_model(str(model)), nncf.Dataset(inputs, load),
                             preset=nncf.QuantizationPreset.MIXED, subset_size=len(inputs))


class LiteRt:
    """Runs a .tflite with XNNPACK."""

    name, packages = "LiteRT", ("ai_edge_litert",)

    @staticmethod
    def runner(path, size, n_threads=1):
        import numpy as np
        from ai_edge_litert.interpreter import Interpreter
        interpreter = Interpreter(str(path), num_threads=max(n_threads, 1))
        interpreter.allocate_tensors()
        what = interpreter.get_input_details()[0]
        if tuple(what["shape"]) != (1, size, size, 3):
            sys.exit(f"{path}: its input is {'x'.join(map(str, what['shape']))}, not 1x{size}x{size}x3; "
                     "give --size or another file")
        picture = np.random.default_rng(1).integers(0, 200, what["shape"]).astype(what["dtype"])
        interpreter.set_tensor(what["index"], picture)
        return lambda _: interpreter.invoke()
