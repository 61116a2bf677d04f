"""A memory bank on the device, with what equation 7 looks up there."""

from __future__ import annotations

import numpy as np

from pyad_edge import ops
from pyad_edge.device.memory import DevicePart
from pyad_edge.errors import SettingError
from pyad_edge.heads.memory_bank import MemoryBankHead
from pyad_edge.ops.cuda import DeviceArray, MemoryBank
from pyad_edge.ops.cuda.nearest_neighbors import MAX_NEIGHBORS

__all__ = ["DeviceBank"]

_SLAB = 4096  # rows whose neighbours are searched at a time


class DeviceBank:
    """Bank rows, prepared for search, and each row's neighbours.

    Equation 7 asks for the neighbours of one bank row: there are M answers, and they are found when
    the engine is opened.

    Args:
        head: whose bank it is.

    Attributes:
        memory: the searched bank.
        rows: (M, D) float32.
        k: neighbours that equation 7 takes; 0 where the scoring has none.
        neighborhoods: (M, k) int64; None where k is 0.

    Raises:
        SettingError: if the head searches an approximate index.
        BackendError: if there is no CUDA device or it has not enough memory.
    """

    def __init__(self, head: MemoryBankHead) -> None:
        if head.approximate is not None:
            raise SettingError(
                "[device] this engine searches its bank through an approximate index, which runs "
                "on the CPU. Use a backend on the CPU, or train without --index."
            )
        reweighted = head.settings.scoring == "reweighted"
        M, D = head.bank.shape
        self.k = min(head.settings.neighbors, M) if reweighted else 0
        held = DeviceArray.from_numpy(np.ascontiguousarray(head.bank))
        self.rows = DevicePart(held, held.pointer, (M, D), np.float32)
        self.memory = MemoryBank(self.rows)
        self.neighborhoods = self._neighborhoods(head) if self.k else None

    def _neighborhoods(self, head: MemoryBankHead) -> DevicePart:
        M, k = len(head.bank), self.k
        table = DeviceArray((M, k), np.int64)
        found = DevicePart(table, table.pointer, (M, k), np.int64)
        if k > MAX_NEIGHBORS:  # of a search on a device; the CPU's answers are the same
            _, rows = ops.MemoryBank(head.bank).search(head.bank, k=k)
            copied = DeviceArray.from_numpy(rows)
            return DevicePart(copied, copied.pointer, (M, k), np.int64)
        distances = DeviceArray((min(_SLAB, M), k), np.float32)
        near = DevicePart(distances, distances.pointer, distances.shape, np.float32)
        for start in range(0, M, _SLAB):
            slab = slice(start, min(start + _SLAB, M))
            out = (near[: slab.stop - start], found[slab])
            self.memory.search(self.rows[slab], k=k, out=out)
        self.memory._module.synchronize(0)  # before any other stream reads it
        return found
