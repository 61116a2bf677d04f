"""Greedy k-center coreset on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad_edge.ops._checks import whole_number
from pyad_edge.ops._native import native
from pyad_edge.ops.cuda.arrays import DeviceArray, DeviceView, as_device, result
from pyad_edge.ops.cuda.device import device_errors, require_device

__all__ = ["greedy_coreset"]

OP = "greedy_coreset"
_PASSES = 16  # enqueued before the number of picks is read
_MAX_ROWS = 2**31 - 2
_MAX_DIM = 2**27 - 1
_WAY_OUT = "Use pyad_edge.ops.greedy_coreset, which needs none."


def greedy_coreset(
    points: Any,
    *,
    count: int,
    initial: Any = None,
    progress: Callable[[int], None] | None = None,
    stream: int = 0,
) -> Any:
    """CUDA form of :func:`pyad_edge.ops.greedy_coreset`, with the same picks.

    The device chooses subsets, picks and updates by itself; the host enqueues passes in batches
    of 16 and reads how many picks there are after each batch.

    Args:
        points: (N, P) float32, on the host or on the device. On the host values have to be finite;
            on the device a row that is not keeps the distance it began with, so that it is picked
            early.
        count: rows to pick, 1 <= count <= N.
        initial: (N,) float32 squared distances to begin with, not negative; none: the first pick
            is row 0.
        progress: called with the number of picks made so far, after each batch; an exception that
            it raises ends the selection.
        stream: cudaStream_t as an integer; 0 is the default stream.

    Returns:
        (count,) int64 rows in the order of selection: a NumPy array where ``points`` is one, else
        a DeviceArray.

    Raises:
        BackendError: if there is no CUDA build or no device, or the device fails.
        TypeError: if an array is not float32 or ``count`` no whole number.
        ValueError: if a shape, ``count``, a value of ``initial`` or one of ``points`` on the host
            does not fit.
    """
    module = require_device()
    rows = as_device(OP, "points", points, np.float32, 2, "(N, P)", stream=stream)
    N, P = rows.shape
    if not (1 <= N <= _MAX_ROWS and 1 <= P <= _MAX_DIM):
        raise ValueError(
            f"[{OP}] expected points of shape (N, P), 1 <= N < 2^31 - 1 and 1 <= P < 2^27, got "
            f"{rows.shape}."
        )
    count = whole_number(OP, "count", count, 1, N, what=" (rows of points)")
    start = None if initial is None else _start(initial, N, stream)
    if isinstance(points, np.ndarray) and not native.all_finite(np.ascontiguousarray(points)):
        raise ValueError(
            f"[{OP}] points contains NaN or infinity. A backbone that overflows, or a broken "
            "picture, gives such features; they are never picked."
        )
    workspace = DeviceArray((int(module.greedy_coreset_workspace(N)),), np.uint8)
    picks = DeviceArray((count,), np.int64)
    state, made = np.zeros(2, np.int64), 0  # of the device: picks made, whether initial is wrong
    with device_errors(f"the selection of {count} of {rows.shape} points", _WAY_OUT):
        module.greedy_coreset_start(start.pointer if start else 0, N, workspace.pointer, stream)
        while made < count:
            module.greedy_coreset_passes(
                rows.pointer, N, P, count, _PASSES, workspace.pointer, picks.pointer, stream
            )
            module.copy_to_host(state, workspace.pointer, stream)
            made = int(state[0])
            if state[1]:
                raise _wrong_start(N, (N,))
            if progress is not None:
                progress(made)
    return result(picks, points, stream=stream)


def _start(initial: Any, N: int, stream: int) -> DeviceView:
    view = as_device(OP, "initial", initial, np.float32, 1, "(N,)", stream=stream)
    on_host = isinstance(initial, np.ndarray)
    if view.shape != (N,) or (on_host and not (initial >= 0).all()):
        raise _wrong_start(N, view.shape)
    return view


def _wrong_start(N: int, shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"[{OP}] expected initial of shape ({N},), none negative or NaN, got shape {shape}"
        f"{' with such a value' if shape == (N,) else ''}. Make it with start_distances."
    )
