"""Convolutions beside ONNX Runtime, OpenVINO and torch: single layers in fp32, whole networks also
in bf16 where the processor has it.

python benchmarks/kernels/convolution.py

Networks have random weights. Our layers take and give planes (N, C, H, W), as peers do; inside a
network they do not. The rate counts the operations of the plain convolution.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from compare import Benchmark

from pyad_edge.backends.registry import open_backend
from pyad_edge.errors import BackendError, SettingError
from pyad_edge.ops._native import native
from pyad_edge.reference.convolution import convolution as reference

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random_networks import resnet

# ResNet-18 at 256 px: channels in and out, side, window, stride.
LAYERS = [
    (64, 64, 64, 3, 1),
    (128, 128, 32, 3, 1),
    (256, 256, 16, 3, 1),
    (64, 128, 64, 3, 2),
    (3, 64, 256, 7, 2),
]
NETWORKS = [("resnet18", 224), ("resnet18", 256), ("wide_resnet50_2", 224)]
# Of each precision, with the largest difference from onnxruntime in fp32: in bf16 these networks of
# random weights differ by 0.06 to 0.11, torch's most.
FORMS = {
    "fp32": (("native", "onnxruntime", "openvino", "torch"), 1e-3),
    "bf16": (("native", "openvino", "torch"), 0.15),
}
OUTPUTS = ("layer2", "layer3")


def layer_of_ours(
    picture: np.ndarray, weights: np.ndarray, windows: tuple[int, ...], form: str, threads: int
) -> Callable[[], np.ndarray]:
    network = native.ConvolutionNetwork(*picture.shape[1:])
    bias = np.zeros(len(weights), np.float32)
    tensor = network.convolution(0, weights, bias, windows, -1, -np.inf, np.inf, form)
    plan = native.ConvolutionPlan(network, [tensor], 1, threads)
    out = np.empty((1, *network.shape(tensor)), np.float32)

    def run() -> np.ndarray:
        plan.run(picture, [out])
        return out

    return run


def layer_of_onnxruntime(
    picture: np.ndarray, weights: np.ndarray, stride: int, threads: int
) -> Callable[[], np.ndarray]:
    side = weights.shape[2]
    node = onnx.helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=[stride] * 2, pads=[side // 2] * 4
    )
    value = partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [value("x", shape=picture.shape)],
        [value("y", shape=None)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: np.asarray(session.run(None, {"x": picture})[0])


def layers(benchmark: Benchmark) -> None:
    threads = benchmark.options.threads
    for C, K, side, window, stride in LAYERS:
        rng = np.random.default_rng(C)
        picture = rng.standard_normal((1, C, side, side), np.float32)
        weights = rng.standard_normal((K, C, window, window), np.float32)
        weights /= np.float32(C**0.5 * window)
        pad = window // 2
        settings: dict[str, Any] = {"stride": (stride, stride), "padding": (pad,) * 4}
        windows = (window, window, stride, stride, *settings["padding"])
        forms = ["winograd", "direct"] if (window, stride) == (3, 1) else ["direct"]
        benchmark.case(
            f"{C} to {K}, {side} px, {window}x{window}/{stride}",
            reference(picture, weights, **settings),
            [
                *(
                    (
                        f"pyad_edge, {form}",
                        layer_of_ours(picture, weights, windows, form, threads),
                        1e-4,
                    )
                    for form in forms
                ),
                ("onnxruntime", layer_of_onnxruntime(picture, weights, stride, threads), 1e-4),
            ],
            flop=2.0 * C * K * window**2 * (side // stride) ** 2,
        )


def networks(benchmark: Benchmark) -> None:
    for name, side in NETWORKS:
        model = resnet(name)
        picture = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)
        expected: np.ndarray | None = None
        for precision, (backends, tolerance) in FORMS.items():
            contenders = []
            for backend in backends:
                try:
                    opened = open_backend(
                        backend,
                        model,
                        outputs=OUTPUTS,
                        input_size=(side, side),
                        threads=benchmark.options.threads,
                        precision=precision,
                    )
                except (BackendError, SettingError) as error:
                    what = f"convolution, {name}, {backend} {precision}"
                    benchmark.session.skip(what, str(error))
                    continue
                session = opened.session(1)
                session.input[:] = picture
                contenders.append((f"{backend} {precision}", partial(_run, session), tolerance))
                if backend == "onnxruntime":
                    expected = _run(session).copy()
            if contenders and expected is not None:
                benchmark.case(f"{name}, {side} px, {precision}", expected, contenders)


def _run(session: Any) -> np.ndarray:
    session.run()
    return np.asarray(session.outputs[-1])


def main() -> None:
    benchmark = Benchmark("convolution: networks")
    layers(benchmark)
    networks(benchmark)
    benchmark.finish()


if __name__ == "__main__":
    main()
