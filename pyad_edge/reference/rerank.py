"""Plain NumPy form of :mod:`pyad_edge.ops.rerank`, bit-equal to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.reference.nearest_neighbors import canonical_distances

__all__ = ["rerank"]

Array = NDArray[np.float32]


def rerank(
    queries: Array, rows: Array, candidates: NDArray[np.int64], *, k: int = 1
) -> tuple[Array, NDArray[np.int64]]:
    """Return (Q, k) canonical squared distances and (Q, k) rows; infinity and -1 where too few."""
    distances = np.full((len(queries), k), np.inf, np.float32)
    indices = np.full((len(queries), k), -1, np.int64)
    for q, query in enumerate(queries):
        own = np.sort(candidates[q][candidates[q] >= 0])  # so that ties go to the smallest index
        d = canonical_distances(query, rows[own])
        order = np.argsort(d, kind="stable")[:k]
        distances[q, : len(order)] = d[order]
        indices[q, : len(order)] = own[order]
    return distances, indices
