"""GRAD's density weights on a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad_edge.ops._native import native
from pyad_edge.ops.cuda.arrays import DeviceArray, DeviceView, as_device, result
from pyad_edge.ops.cuda.device import device_errors, require_device
from pyad_edge.ops.cuda.memory import output, workspace_view
from pyad_edge.ops.density_weights import check_shapes, checked_beta

__all__ = ["density_weights", "density_weights_workspace", "workspace_bytes"]


def workspace_bytes(q: int, Q: int, D: int) -> int:
    """Bytes of :func:`density_weights`'s workspace.

    Raises:
        BackendError: if there is no CUDA build or device.
        ValueError: if a size does not fit.
    """
    return int(require_device().density_weights_workspace(q, Q, D))


def density_weights_workspace(q: int, Q: int, D: int) -> DeviceArray:
    """Device memory for :func:`density_weights` of these sizes, to be used repeatedly.

    Raises:
        BackendError: if there is no CUDA build or device, or not enough memory.
        ValueError: if a size does not fit.
    """
    return DeviceArray((workspace_bytes(q, Q, D),), np.uint8)


def density_weights(
    features: Any,
    queue: Any,
    *,
    beta: float,
    out: Any = None,
    workspace: Any = None,
    stream: int = 0,
) -> Any:
    """CUDA form of :func:`pyad_edge.ops.density_weights`, with the same bits.

    With ``out`` and ``workspace`` given, nothing is allocated and nothing waits for the device.

    Args:
        features: (q, D) float32, on the host or on the device. On the host values have to be
            finite; on the device a feature that is not gets the weight NaN, and a queue that is
            not makes all weights NaN.
        queue: (Q, D) float32, likewise, Q >= 1.
        beta: of the exponent, 0 < beta <= 1000.
        out: (q,) float32 on the device, to write into.
        workspace: of :func:`density_weights_workspace`, for these sizes or larger ones.
        stream: cudaStream_t as an integer; 0 is the default stream.

    Returns:
        (q,) float32, the logarithms of the weights: ``out``, or a NumPy array where ``features``
        is one.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if an array is not float32.
        ValueError: if a shape, ``beta`` or a value on the host does not fit.
    """
    module = require_device()
    beta = checked_beta(beta)
    rows = _rows("features", features, stream)
    columns = _rows("queue", queue, stream)
    check_shapes(rows.shape, columns.shape)
    (q, D), Q = rows.shape, columns.shape[0]
    needed = int(module.density_weights_workspace(q, Q, D))
    maker = f"density_weights_workspace({q}, {Q}, {D})"
    room = workspace_view("density_weights", workspace, needed, maker, stream=stream)
    weights, address = output("density_weights", "out", out, (q,), stream=stream)
    with device_errors(
        f"the weights of {rows.shape} features",
        "Use pyad_edge.ops.density_weights, which needs none.",
    ):
        module.density_weights(
            rows.pointer, q, columns.pointer, Q, D, beta, room.pointer, address, stream
        )
    return weights if out is not None else result(weights, features, stream=stream)


def _rows(name: str, values: Any, stream: int) -> DeviceView:
    rows = as_device("density_weights", name, values, np.float32, 2, "(rows, D)", stream=stream)
    if rows.on_host and rows.shape[0] and not native.all_finite(np.ascontiguousarray(values)):
        raise ValueError(
            f"[density_weights] {name} contains NaN or infinity. A training step that diverged "
            "gives such features: lower the learning rate."
        )
    return rows
