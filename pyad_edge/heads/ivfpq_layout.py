"""The bytes of a serialised faiss IndexIVFPQ, checked one by one before faiss parses them.

faiss reads sizes from its own stream and allocates by them. An engine's index is therefore compared
with the one layout that its manifest demands (faiss/impl/index_write.cpp: ``IwPQ`` over ``IxF2``,
lists in ``ilar``), in NumPy; only bytes that fit it exactly reach faiss.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["IvfPqLayout", "check_index"]

# fourcc, d, ntotal, two unused numbers, is_trained, metric (1: L2)
_INDEX = "<4siqqqBi"
_UNUSED = 1 << 20


@dataclass(frozen=True)
class IvfPqLayout:
    """An IndexIVFPQ by its sizes.

    Attributes:
        M: rows. D: their dimensions. nlist: inverted lists. m: sub-quantizers. nbits: of each.
    """

    M: int
    D: int
    nlist: int
    m: int
    nbits: int

    @property
    def code_size(self) -> int:
        """Bytes of a row's code."""
        return (self.m * self.nbits + 7) // 8

    @property
    def size(self) -> int:
        """Bytes of the serialised index."""
        sections = self._sections(b"")
        values = self.nlist * self.D * 4 + (1 << self.nbits) * self.D * 4 + self.nlist * 8
        return sum(map(len, sections)) + values + self.M * (self.code_size + 8)

    def _sections(self, nprobe: bytes) -> tuple[bytes, bytes, bytes]:
        """What stands before the centroids, the codebooks and the lists' sizes."""
        head = struct.pack(_INDEX, b"IwPQ", self.D, self.M, _UNUSED, _UNUSED, 1, 1)
        head += struct.pack("<Q", self.nlist) + (nprobe or bytes(8))
        head += struct.pack(_INDEX, b"IxF2", self.D, self.nlist, _UNUSED, _UNUSED, 1, 1)
        head += struct.pack("<Q", self.nlist * self.D)
        books = struct.pack("<BQ", 0, 0)  # no direct map
        books += struct.pack("<BQ", 1, self.code_size)  # by residual
        books += struct.pack("<QQQQ", self.D, self.m, self.nbits, (1 << self.nbits) * self.D)
        lists = struct.pack("<4sQQ4sQ", b"ilar", self.nlist, self.code_size, b"full", self.nlist)
        return head, books, lists


def check_index(data: NDArray[np.uint8], layout: IvfPqLayout) -> str | None:
    """Compare a serialised index with its layout.

    Args:
        data: (bytes,) uint8.
        layout: what the manifest and the bank demand.

    Returns:
        What is wrong as half a sentence, or None. Then every length that faiss will read is right,
        no centroid is NaN or infinite, and the lists hold each row of the bank exactly once.
    """
    if len(data) != layout.size:
        return f"its index should have {layout.size:,} bytes, but has {len(data):,}"
    nprobe = struct.calcsize(_INDEX) + 8
    head, books, lists = layout._sections(data[nprobe : nprobe + 8].tobytes())
    position = 0
    for section, floats in (
        (head, layout.nlist * layout.D),
        (books, (1 << layout.nbits) * layout.D),
    ):
        if data[position : position + len(section)].tobytes() != section:
            return "its index is not the faiss IVF-PQ index that its manifest describes"
        position += len(section)
        values = np.frombuffer(data[position : position + 4 * floats].tobytes(), "<f4")
        if not np.isfinite(values).all():
            return "its index holds NaN or infinity"
        position += 4 * floats
    if data[position : position + len(lists)].tobytes() != lists:
        return "its index is not the faiss IVF-PQ index that its manifest describes"
    position += len(lists)
    sizes = np.frombuffer(data[position : position + 8 * layout.nlist].tobytes(), "<u8")
    position += 8 * layout.nlist
    if (sizes > layout.M).any() or int(sizes.sum()) != layout.M:
        return f"the lists of its index do not hold the bank's {layout.M:,} rows"
    seen = np.zeros(layout.M, bool)
    for size in sizes.astype(np.int64):
        position += int(size) * layout.code_size
        rows = np.frombuffer(data[position : position + 8 * int(size)].tobytes(), "<i8")
        position += 8 * int(size)
        if ((rows < 0) | (rows >= layout.M)).any():
            return "its index points outside of the bank"
        seen[rows] = True
    return None if seen.all() else "its index leaves rows of the bank out"
