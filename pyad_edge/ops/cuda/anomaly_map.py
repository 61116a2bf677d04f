"""Patch scores to a smooth map on a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad_edge.ops._banded import upsample_and_smooth
from pyad_edge.ops._checks import MAX_SIDE, finite_number, whole_sides
from pyad_edge.ops._native import native
from pyad_edge.ops.anomaly_map import MAX_SIGMA
from pyad_edge.ops.cuda.arrays import DeviceArray, as_device, result
from pyad_edge.ops.cuda.device import device_errors, require_device
from pyad_edge.ops.cuda.memory import output, tables_of, workspace_view

__all__ = ["anomaly_map", "anomaly_map_workspace"]


def anomaly_map_workspace(N: int, *, size: tuple[int, int]) -> DeviceArray:
    """Device memory for :func:`anomaly_map` on up to N maps of ``size``, to be used repeatedly.

    Raises:
        BackendError: if there is no CUDA build or device, or not enough memory.
    """
    module = require_device()
    return DeviceArray((module.anomaly_map_workspace(N, *size),), np.uint8)


def anomaly_map(
    patch_scores: Any,
    *,
    size: tuple[int, int],
    sigma: float = 4.0,
    out: tuple[Any, Any] | None = None,
    workspace: Any = None,
    stream: int = 0,
) -> tuple[Any, Any]:
    """CUDA form of :func:`pyad_edge.ops.anomaly_map`, with the same bits.

    With ``out`` and ``workspace`` given, nothing is allocated and nothing waits for the device.

    Args:
        patch_scores: (N, h, w) float32, on the host or on the device. On the host it has to be
            finite; on the device a NaN in a map makes that map's maximum NaN.
        size: (H, W) of the map, in pixels, each at most 16384.
        sigma: of the Gaussian, in pixels of the map, at most 256.
        out: (maps, maxima) on the device, float32 (N, H, W) and (N,), to write into.
        workspace: of :func:`anomaly_map_workspace`, for as many maps or more.
        stream: cudaStream_t as an integer; 0 is the default stream.

    Returns:
        maps: (N, H, W) float32; maxima: (N,) float32. NumPy arrays where ``patch_scores`` is one
        and ``out`` is not given.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if an array is not float32.
        ValueError: if a shape, ``size`` or ``sigma`` does not fit, or a score on the host is not
            finite.
    """
    module = require_device()
    sides = whole_sides(size)
    if sides is None or len(sides) != 2:
        raise ValueError(
            f"[anomaly_map] expected size as (H, W) in whole pixels from 1 to {MAX_SIDE}, got "
            f"{size!r}."
        )
    if not (finite_number(sigma) and 0.0 <= sigma <= MAX_SIGMA):
        raise ValueError(
            f"[anomaly_map] expected sigma of 0 to {MAX_SIGMA:g} pixels, got {sigma!r}."
        )
    scores = as_device(
        "anomaly_map", "patch_scores", patch_scores, np.float32, 3, "(N, h, w)", stream=stream
    )
    if 0 in scores.shape[1:]:
        raise ValueError(
            f"[anomaly_map] expected patch_scores of shape (N, h, w), got {scores.shape}."
        )
    if scores.on_host and not native.all_finite(np.ascontiguousarray(patch_scores)):
        raise ValueError(
            "[anomaly_map] expected finite patch_scores, got NaN or infinity. Something before "
            "the map failed; a map of it would hide that."
        )
    (N, h, w), (H, W) = scores.shape, sides
    rows = upsample_and_smooth(h, H, float(sigma))
    columns = upsample_and_smooth(w, W, float(sigma))
    needed = int(module.anomaly_map_workspace(N, H, W))
    maker = f"anomaly_map_workspace({N}, size={sides})"
    room = workspace_view("anomaly_map", workspace, needed, maker, stream=stream)
    given = (None, None) if out is None else out
    maps, map_address = output("anomaly_map", "out[0]", given[0], (N, H, W), stream=stream)
    maxima, maximum_address = output("anomaly_map", "out[1]", given[1], (N,), stream=stream)
    with device_errors(
        f"the map of {scores.shape} scores", "Use pyad_edge.ops.anomaly_map, which needs none."
    ):
        module.anomaly_map(
            scores.pointer,
            N,
            rows,
            tables_of(rows),
            columns,
            tables_of(columns),
            room.pointer,
            map_address,
            maximum_address,
            stream,
        )
    if out is not None:
        return maps, maxima
    return result(maps, patch_scores, stream=stream), result(maxima, patch_scores, stream=stream)
