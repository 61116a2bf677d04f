"""The gate: one network, judged before a native parser sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.onnx_gate.errors import GateError
from pyad_edge.onnx_gate.model import read_model
from pyad_edge.onnx_gate.walk import Prediction, predict

__all__ = ["check_network"]


def check_network(
    data: bytes | memoryview | NDArray[np.uint8],
    *,
    input_shape: tuple[int, int, int, int],
    outputs: tuple[str, ...] = (),
    declared: bool = False,
) -> Prediction:
    """Read an ONNX file as data and predict what it takes.

    Args:
        data: its bytes; an array is (bytes,) uint8, C-contiguous.
        input_shape: (N, C, H, W) of what its only input will be given.
        outputs: names that have to be among its outputs.
        declared: whether sides that the file itself fixes are taken instead.

    Raises:
        GateError: if it is no ONNX file or has something that is not allowed.
    """
    model = read_model(np.frombuffer(data, np.uint8).data)
    if len(model.inputs) != 1:
        raise GateError(f"it takes {len(model.inputs)} inputs instead of one")
    if missing := [name for name in outputs if name not in model.outputs]:
        raise GateError(f"it has no output '{missing[0]}'; it offers {', '.join(model.outputs)}")
    ((name, own),) = model.inputs.items()
    if declared and len(own) == len(input_shape):
        n, c, h, w = (given or side for given, side in zip(own, input_shape, strict=True))
        input_shape = (n, c, h, w)
    return predict(model, {name: input_shape})
