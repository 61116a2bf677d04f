"""Device memory of the kernels' faces: tables that are copied once, and outputs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from pyad_edge.ops.cuda.arrays import DeviceArray, as_device
from pyad_edge.ops.cuda.device import module

__all__ = ["output", "tables_of"]


def tables_of(owner: Any) -> int:
    """Address of the tables of a native ``Banded`` or ``AggregationPlan`` on the current device.

    The first call for an object copies and waits; later ones cost a look-up. Both are made by
    cached functions of :mod:`pyad_edge.ops`, so the same settings give the same object.
    """
    return _copied(owner, module().current_device()).pointer


@lru_cache(maxsize=128)  # keeps its keys alive: an address never outlives its object
def _copied(owner: Any, device: int) -> DeviceArray:
    tables = DeviceArray.from_numpy(module().pack(owner))
    module().synchronize(0)  # from now on any stream may read them
    return tables


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
