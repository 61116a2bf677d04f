"""Memory for results, handed out again only when nobody holds it any more.

A camera loop that keeps nothing runs in the same few blocks of memory for ever; one that keeps
results keeps their arrays, untouched.
"""

from __future__ import annotations

import threading
from collections import deque
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayPool", "Spec"]

Spec = tuple[tuple[int, ...], type[np.generic]]  # shape and type of an array

_ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_LAYOUTS = 16  # kept at once; of more, the oldest is forgotten


class ArrayPool:
    """Hands out groups of arrays, each group in one block of memory.

    Every array of a group, and every view, slice, memoryview or DLPack capsule of one, holds the
    block's lease; the block returns to the pool when the last of them is gone. On CPython that is
    the moment the last reference is dropped (arrays caught in a reference cycle wait for the
    garbage collector). Nothing is counted by the pool itself, so it is exact on interpreters
    without reference counts too; there a block only returns later.

    Memory is bounded by what users hold, plus ``spare`` blocks of each of the last 16 layouts.
    Thread-safe, without a lock where a layout is known.

    Args:
        spare: blocks of one layout that wait for use; what returns beyond them is freed.
    """

    def __init__(self, *, spare: int = 8) -> None:
        self._spare = spare
        self._lock = threading.Lock()
        self._shelves: dict[tuple[Spec, ...], _Shelf] = {}

    def take(self, *layout: Spec) -> tuple[NDArray[Any], ...]:
        """Uninitialised C-contiguous arrays, one per (shape, type), each at a multiple of 64 bytes.

        The memory is allocated only where no block of this layout has come back.
        """
        shelf = self._shelves.get(layout)
        if shelf is None:
            shelf = self._new_shelf(layout)
        return shelf.take()

    def _new_shelf(self, layout: tuple[Spec, ...]) -> _Shelf:
        with self._lock:
            shelf = self._shelves.setdefault(layout, _Shelf(layout, self._spare))
            while len(self._shelves) > _LAYOUTS:
                del self._shelves[next(iter(self._shelves))]
        return shelf


class _Shelf:
    """The blocks of one layout."""

    def __init__(self, layout: tuple[Spec, ...], spare: int) -> None:
        self._parts = []
        end = 0
        for shape, kind in layout:
            dtype = np.dtype(kind)
            self._parts.append((shape, dtype, end))
            end += -(-prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
        self._bytes = end
        # Appending to a full deque drops its oldest entry, and both ends are atomic: a lease may
        # end anywhere, also inside the garbage collector, where a lock could be held already.
        self._free: deque[_Block] = deque(maxlen=spare)

    def take(self) -> tuple[NDArray[Any], ...]:
        try:
            block = self._free.pop()
        except IndexError:
            block = _Block(self._bytes)
        whole = np.asarray(_Lease(block, self._free))
        return tuple(np.ndarray(shape, dtype, whole, start) for shape, dtype, start in self._parts)


class _Block:
    """Memory, and how NumPy is told of it."""

    __slots__ = ("interface", "memory")

    def __init__(self, size: int) -> None:
        self.memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -(-self.memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        self.interface = {"version": 3, "shape": (size,), "typestr": "|u1", "data": (start, False)}


class _Lease:
    """The base of a group's arrays: they hold it, it holds the block."""

    __slots__ = ("__array_interface__", "_block", "_free")

    def __init__(self, block: _Block, free: deque[_Block]) -> None:
        self.__array_interface__ = block.interface
        self._block = block
        self._free = free

    def __del__(self) -> None:
        self._free.append(self._block)
