"""Plain NumPy form of :mod:`pyad_edge.ops.nearest_neighbors`, bit-equal to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["canonical_distances", "nearest_neighbors"]

Array = NDArray[np.float32]


def canonical_distances(query: Array, bank: Array) -> Array:
    """Canonical squared distances of one query (D,) to all bank rows (M, D); returns (M,) float32.

    Float32 on purpose, unlike the other references: the order of its sixteen partial sums defines
    the result to the last bit (``csrc/include/pyad/nearest_neighbors.h``).
    """
    with np.errstate(over="ignore"):
        squares = bank - query  # (M, D)
        squares *= squares
        lanes = np.zeros((len(bank), 16), np.float32)
        for begin in range(0, squares.shape[1], 16):
            part = squares[:, begin : begin + 16]
            lanes[:, : part.shape[1]] += part
        for half in (8, 4, 2, 1):
            lanes = lanes[:, :half] + lanes[:, half : 2 * half]
    return lanes[:, 0]


def nearest_neighbors(
    queries: Array, bank: Array, *, k: int = 1
) -> tuple[Array, NDArray[np.int64]]:
    """Return (Q, k) canonical squared distances and (Q, k) rows, ties to the smallest index."""
    distances = np.empty((len(queries), k), np.float32)
    indices = np.empty((len(queries), k), np.int64)
    for q, query in enumerate(queries):
        d = canonical_distances(query, bank)
        indices[q] = np.argsort(d, kind="stable")[:k]
        distances[q] = d[indices[q]]
    return distances, indices
