"""Device memory of the kernels' faces: tables that are copied once, workspaces and outputs."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import numpy as np

from pyad_edge.ops.cuda.arrays import DeviceArray, DeviceView, as_device
from pyad_edge.ops.cuda.device import module

__all__ = ["output", "tables_of", "workspace_view"]

_ALIGNMENT = 16  # bytes: kernels read and copy as many at once

_lock = threading.Lock()
_tables: dict[tuple[int, bytes], DeviceArray] = {}  # by device and content


def tables_of(owner: Any) -> int:
    """Address of the tables of a native ``Banded`` or ``AggregationPlan`` on the current device.

    The first call for a setting copies and waits; later ones cost a look-up. An address stays valid
    until the process ends, because a captured graph may hold it: the tables of every setting that
    was ever used stay on the device, each once, however often an equal object is made anew.
    """
    return _address(owner, int(module().current_device()))


@lru_cache(maxsize=256)  # of look-ups by identity; keeps its keys alive
def _address(owner: Any, device: int) -> int:
    packed = module().pack(owner)
    key = (device, packed.tobytes())
    with _lock:  # two first calls must not both copy: one of the copies would be freed
        if key not in _tables:
            tables = DeviceArray.from_numpy(packed)
            module().synchronize(0)  # from now on any stream may read them
            _tables[key] = tables
        return _tables[key].pointer


def workspace_view(
    op: str, workspace: Any, needed: int, maker: str, *, stream: int = 0
) -> DeviceView:
    """The caller's workspace, or one that is made for this call if that is None.

    Args:
        op: name of the operation, for errors.
        workspace: uint8 (bytes,) on the device, 16-byte aligned.
        needed: bytes.
        maker: the call that makes it, for errors.
        stream: that will use it.

    Raises:
        BackendError: if there is not enough memory.
        TypeError: if it is not uint8.
        ValueError: if it is too small, not aligned or not writable on the current device.
    """
    if workspace is None:
        workspace = DeviceArray((needed,), np.uint8)
    room = as_device(
        op, "workspace", workspace, np.uint8, 1, "(bytes,)", stream=stream, written=True
    )
    beyond = room.pointer % _ALIGNMENT
    if room.shape[0] < needed or beyond:
        where = f" {beyond} beyond a multiple of {_ALIGNMENT}" if beyond else ""
        raise ValueError(
            f"[{op}] expected a workspace of at least {needed} bytes, {_ALIGNMENT}-byte aligned, "
            f"got {room.shape[0]}{where}. Make it with {maker}."
        )
    return room


def output(
    op: str, name: str, out: Any, shape: tuple[int, ...], *, stream: int = 0
) -> tuple[Any, int]:
    """Where a kernel writes float32: ``out``, or a new array if that is None; and its address.

    Raises:
        BackendError: if there is not enough memory.
        TypeError: if ``out`` is not float32.
        ValueError: if it has another shape or cannot be written on the current device.
    """
    if out is None:
        made = DeviceArray(shape, np.float32)
        return made, made.pointer
    view = as_device(op, name, out, np.float32, len(shape), str(shape), stream=stream, written=True)
    if view.shape != shape:
        raise ValueError(f"[{op}] expected {name} of shape {shape}, got {view.shape}.")
    return out, view.pointer
