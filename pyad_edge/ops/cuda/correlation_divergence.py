"""Symmetric KL divergence of softmax attention from a Gaussian, on a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad_edge.ops.correlation_divergence import checked_shapes, checked_values, overflow
from pyad_edge.ops.cuda.arrays import as_device, result
from pyad_edge.ops.cuda.device import device_errors, require_device
from pyad_edge.ops.cuda.memory import output

__all__ = ["correlation_divergence"]

OP = "correlation_divergence"


def correlation_divergence(
    queries: Any,
    keys: Any,
    sigma_x: Any,
    sigma_y: Any,
    *,
    grid: tuple[int, int],
    scale: float | None = None,
    out: tuple[Any, Any] | None = None,
    stream: int = 0,
) -> tuple[Any, Any]:
    """CUDA form of :func:`pyad_edge.ops.correlation_divergence`, with the same bits.

    With arrays on the device and ``out`` given, nothing is allocated and nothing waits for the
    device.

    Args:
        queries: (N, heads, L, d) float32, C-contiguous, on the host or on the device, as all
            arrays. What is on the host has to be finite, sigmas positive; on the device a value
            that is not finite, a sigma of 0 and a dot product that overflows float32 make their
            patch NaN, and a sigma's sign is not looked at.
        keys: (N, heads, L, d), or (heads, L, d) shared by all pictures.
        sigma_x: (N, heads, L), horizontal spread of the target, in patches.
        sigma_y: (N, heads, L), its vertical spread.
        grid: (h, w), the patches of a picture, h + w at most 384.
        scale: factor of the logits; ``1 / sqrt(d)`` if not given.
        out: (divergence, per_head) on the device, float32 (N, L) and (N, heads, L), to write into.
        stream: cudaStream_t as an integer; 0 is the default stream.

    Returns:
        divergence: (N, L) and per_head: (N, heads, L), float32: ``out`` if it was given, else
        NumPy arrays where ``queries`` is one, else DeviceArrays.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if an array is not float32.
        ValueError: if a shape, ``grid``, ``scale`` or a value on the host does not fit.
    """
    module = require_device()
    shared = len(getattr(keys, "shape", ())) == 3
    given = {"queries": queries, "keys": keys, "sigma_x": sigma_x, "sigma_y": sigma_y}
    shapes = {
        "queries": "(N, heads, L, d)",
        "keys": "(heads, L, d)" if shared else "(N, heads, L, d)",
        "sigma_x": "(N, heads, L)",
        "sigma_y": "(N, heads, L)",
    }
    views = [
        as_device(
            OP, name, array, np.float32, shapes[name].count(",") + 1, shapes[name], stream=stream
        )
        for name, array in given.items()
    ]
    (N, heads, L, d), sides, scale = checked_shapes(
        *(view.shape for view in views), grid=grid, scale=scale
    )
    for name, array in given.items():
        if isinstance(array, np.ndarray):
            checked_values(name, array)
    if sum(sides) > module.correlation_sides:
        raise ValueError(
            f"[{OP}] expected h + w of at most {module.correlation_sides} on a CUDA device, got "
            f"{sides}. Use pyad_edge.ops.{OP} for such a grid."
        )
    targets = (None, None) if out is None else out
    divergence, per_head = (
        output(OP, f"out[{index}]", array, shape, stream=stream)
        for index, (array, shape) in enumerate(zip(targets, ((N, L), (N, heads, L)), strict=True))
    )
    q, k, x, y = (view.pointer for view in views)
    with device_errors(
        f"{N} pictures of {heads} heads and {L} patches", f"Use pyad_edge.ops.{OP}."
    ):
        module.correlation_divergence(
            q, k, shared, x, y, N, heads, *sides, d, scale, per_head[1], divergence[1], stream
        )
    if out is not None:
        return out
    found = result(divergence[0], queries, stream=stream)
    if isinstance(found, np.ndarray) and not np.isfinite(found).all():
        raise overflow(found)
    return found, result(per_head[0], queries, stream=stream)
