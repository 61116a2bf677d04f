"""Plain NumPy forms of :mod:`pyad_edge.ops.greedy_coreset`; the selection is equal pick by pick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.reference.nearest_neighbors import canonical_distances

__all__ = ["greedy_coreset", "project", "start_distances"]

Array = NDArray[np.float32]


def project(features: Array, matrix: Array) -> Array:
    """Return ``features @ matrix`` (N, P), accumulated in float64."""
    return (features.astype(np.float64) @ matrix.astype(np.float64)).astype(np.float32)


def start_distances(points: Array, *, seed: int, count: int = 10) -> Array:
    """Return (N,) squared mean distances to ``count`` rows drawn with ``seed``."""
    count = min(count, len(points))
    rows = np.random.default_rng(seed).choice(len(points), size=count, replace=False)
    squares = [_flushed(canonical_distances(points[r], points)) for r in rows]
    mean = np.sum([np.sqrt(square.astype(np.float64)) for square in squares], axis=0) / count
    return _flushed(np.asarray(mean * mean, np.float32))


def _flushed(values: Array) -> Array:
    """Subnormal numbers count as zero."""
    return np.where(values < np.finfo(np.float32).tiny, np.float32(0), values)


def greedy_coreset(
    points: Array, *, count: int, initial: Array | None = None, block: int = 4096
) -> NDArray[np.int64]:
    """One pass over all points per pick; ``block`` rows at a time, so that they stay in cache."""
    nearest = np.full(len(points), np.inf, np.float32) if initial is None else initial.copy()
    picks: list[int] = []
    for _ in range(count):
        pick = int(np.argmax(nearest))
        picks.append(pick)
        for begin in range(0, len(points), block):
            part = slice(begin, begin + block)
            d = canonical_distances(points[pick], points[part])
            np.minimum(nearest[part], d, out=nearest[part])
        nearest[picks] = -1  # a picked row never competes again
    return np.array(picks, np.int64)
