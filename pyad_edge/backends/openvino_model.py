"""A network as OpenVINO has read it: what it says of itself, and one exchange that NaN needs."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

import numpy as np

from pyad_edge.backends._common import METADATA_KEY, Shape, read_metadata
from pyad_edge.errors import BackendError

__all__ = ["convolutions", "input_shape", "let_nan_through", "metadata_of", "with_bf16_outputs"]

_SLOPE = 1e-30  # of a ReLU
_FLOATS = ("f32", "bf16", "f16")


def let_nan_through(loaded: Any) -> None:
    """Exchange ReLU for a leaky one whose slope is too small to change a number.

    On x86 OpenVINO's ReLU is max(x, 0) with an instruction that gives 0 for NaN, so a network that
    fails would look like one that sees nothing. A leaky ReLU multiplies, and NaN stays NaN. What
    was 0 is at most 1e-30 of an activation then; sums do not see it, and it is no denormal, which
    processors are slow with. It takes no time (ResNet-18, 256 px, bf16: 1.76 and 1.83 ms).
    """
    operators = importlib.import_module("openvino.opset13")
    for node in loaded.get_ops():
        if node.get_type_name() != "Relu":
            continue
        kind = node.get_element_type()
        if kind.get_type_name() not in _FLOATS:
            continue
        slope = operators.constant(np.array([_SLOPE], np.float32), dtype=kind)  # 0 in f16: as good
        leaky = operators.prelu(node.input_value(0), slope)
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(leaky.output(0))


def with_bf16_outputs(model: Any) -> Any:
    """The network with outputs (N, h, w, C) in bf16, as its last convolutions leave them.

    For float32 outputs OpenVINO keeps the sums of residual blocks in float32, with conversions to
    and from bf16 around each: 0.24 of 2.18 ms (ResNet-18, 256 px, 2 threads with AMX).
    """
    package = importlib.import_module("openvino")
    processing = importlib.import_module("openvino.preprocess").PrePostProcessor(model)
    for index in range(len(model.outputs)):
        output = processing.output(index)
        output.model().set_layout(package.Layout("NCHW"))
        output.tensor().set_layout(package.Layout("NHWC")).set_element_type(package.Type.bf16)
    return processing.build()


def metadata_of(loaded: Any) -> dict[str, Any]:
    """What the file says under `pyad_edge.backbone`; empty where it says nothing."""
    path = ["framework", METADATA_KEY]
    text = loaded.get_rt_info(path).astype(str) if loaded.has_rt_info(path) else None
    return read_metadata("openvino", text)


def input_shape(loaded: Any) -> Shape:
    """(N, 3, H, W) of the one input; None where any size will do.

    Raises:
        BackendError: if the network has another input.
    """
    inputs = loaded.inputs
    shapes = [port.get_partial_shape() for port in inputs]
    found = ", ".join(
        f"{port.get_any_name()} {shape}" for port, shape in zip(inputs, shapes, strict=True)
    )
    if len(inputs) == 1 and shapes[0].rank.is_static and len(shapes[0]) == 4:
        n, c, h, w = (side.get_length() if side.is_static else None for side in shapes[0])
        if c in (3, None) and inputs[0].get_element_type().get_type_name() == "f32":
            return (n, 3, h, w)
    raise BackendError(
        "[openvino] expected a network with one float32 input of shape (N, 3, H, W), got "
        f"{found or 'none'}. Export the backbone for RGB pictures in float32."
    )


def convolutions(compiled: Any) -> Counter[str]:
    """How many convolutions run in which precision."""
    found: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        about = node.get_rt_info()
        if "Convolution" in about["layerType"].astype(str):
            found[about["runtimePrecision"].astype(str)] += 1
    return found
