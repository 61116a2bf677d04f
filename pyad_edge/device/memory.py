"""Memory of one planned frame: parts of device arrays, and a block that comes back in one copy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pyad_edge.ops.cuda.arrays import DeviceArray, as_device
from pyad_edge.ops.cuda.device import device_errors, require_device

__all__ = ["DevicePart", "ResultBlock", "pinned", "whole"]

_ALIGNMENT = 256  # bytes, of every part of a block
_WAY_OUT = "Is another program holding the memory of the device? Look at nvidia-smi."


class DevicePart:
    """A C-contiguous part of memory that somebody else owns, as the kernels take it.

    Args:
        owner: kept alive.
        pointer: device address.
        shape: of the part.
        dtype: of its values.
    """

    def __init__(self, owner: Any, pointer: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.owner, self.pointer = owner, pointer
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": self.dtype.str,
            "data": (pointer, False),
            "version": 3,
            "strides": None,
            "stream": None,
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the part."""
        return math.prod(self.shape) * self.dtype.itemsize

    def reshaped(self, *shape: int) -> DevicePart:
        """The same memory in another shape of as many values."""
        return DevicePart(self.owner, self.pointer, shape, self.dtype)

    def __getitem__(self, rows: slice) -> DevicePart:
        """Some of its rows, without steps."""
        start, stop, _ = rows.indices(self.shape[0])
        row = self.nbytes // max(1, self.shape[0])
        shape = (stop - start, *self.shape[1:])
        return DevicePart(self.owner, self.pointer + start * row, shape, self.dtype)


def whole(op: str, name: str, array: Any, dtype: DTypeLike, ndim: int) -> DevicePart:
    """A device array of any library as a part: its library is not asked again for every frame.

    Raises:
        TypeError, ValueError: as :func:`pyad_edge.ops.cuda.arrays.as_device`.
    """
    view = as_device(op, name, array, dtype, ndim, f"of {ndim} axes")
    return DevicePart(array, view.pointer, view.shape, view.dtype)


def pinned(size: int) -> NDArray[np.uint8]:
    """(size,) bytes of host memory that the device copies from and to by itself.

    Raises:
        BackendError: if there is no device or not enough memory.
    """
    module = require_device()
    with device_errors(f"taking {size} bytes of pinned memory", _WAY_OUT):
        made: NDArray[np.uint8] = module.pinned(size)
    return made


class ResultBlock:
    """Results side by side on the device, and the same in pinned memory: one copy brings them back.

    Args:
        layout: shape and type by name.

    Attributes:
        device: parts to write into, by name.
        host: arrays of the same names; hold what :meth:`enqueue_copy` has brought.
    """

    def __init__(self, layout: Mapping[str, tuple[tuple[int, ...], DTypeLike]]) -> None:
        offsets, end = {}, 0
        for name, (shape, dtype) in layout.items():
            offsets[name] = end
            size = math.prod(shape) * np.dtype(dtype).itemsize
            end += -(-size // _ALIGNMENT) * _ALIGNMENT
        self._memory = DeviceArray((end,), np.uint8)
        self._pinned = pinned(end)
        self.device: dict[str, DevicePart] = {}
        self.host: dict[str, NDArray[Any]] = {}
        for name, (shape, dtype) in layout.items():
            start, kind = offsets[name], np.dtype(dtype)
            address = self._memory.pointer + start
            self.device[name] = DevicePart(self._memory, address, shape, kind)
            self.host[name] = np.ndarray(shape, kind, self._pinned, start)

    def enqueue_copy(self, stream: int) -> None:
        """Enqueue the copy from the device; it is there once the stream has got so far."""
        size = self._memory.nbytes
        address = self._pinned.ctypes.data
        require_device().enqueue_copy(address, self._memory.pointer, size, stream)
