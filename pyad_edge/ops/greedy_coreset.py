"""Greedy k-center coreset in a random projection (PatchCore, Roth et al. 2022, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._checks import whole_number
from pyad_edge.ops._native import native
from pyad_edge.ops.nearest_neighbors import MemoryBank, _matrix

__all__ = ["greedy_coreset", "project", "random_projection", "start_distances"]

Array = NDArray[np.float32]


def random_projection(dim: int, *, out_dim: int = 128, seed: int) -> Array:
    """Draw a Gaussian projection matrix (Johnson-Lindenstrauss), N(0, 1 / out_dim).

    Args:
        dim: D, the length of the features.
        out_dim: P, the length after projection.
        seed: of NumPy's PCG64 generator.

    Returns:
        (D, P) float32.
    """
    normal = np.random.default_rng(seed).standard_normal((dim, out_dim))
    return np.asarray(normal / np.sqrt(out_dim), np.float32)


def project(features: Array, matrix: Array) -> Array:
    """Project features; equivalent to ``features @ matrix``, summed in index order in float32.

    The fixed order makes the selection that follows the same on every machine.

    Args:
        features: (N, D) float32, finite.
        matrix: (D, P) float32, finite.

    Returns:
        (N, P) float32.

    Raises:
        TypeError: if an array is not float32.
        ValueError: if a shape does not fit, a value is not finite or a product exceeds float32.
    """
    features = _matrix("features", features, "(N, D)", op="project")
    matrix = _matrix("matrix", matrix, "(D, P)", op="project")
    if features.shape[1] != len(matrix):
        raise ValueError(
            f"[project] expected a matrix of shape ({features.shape[1]}, P) to match features "
            f"{features.shape}, got {matrix.shape}."
        )
    out = np.empty((len(features), matrix.shape[1]), np.float32)
    native.project(features, matrix, out)
    if not native.all_finite(out):
        raise ValueError(
            "[project] a product exceeds float32: features reach "
            f"{float(np.abs(features).max()):.3g}, the matrix {float(np.abs(matrix).max()):.3g}. "
            "Is the network that gave these features broken?"
        )
    return out


def start_distances(points: Array, *, seed: int, count: int = 10) -> Array:
    """Squared start distances of the official sampler.

    The official PatchCore code starts from the mean Euclidean distance to ``count`` rows drawn at
    random, which do not enter the coreset.

    Args:
        points: (N, P) float32, finite.
        seed: of NumPy's PCG64 generator.
        count: start rows (all rows where there are fewer).

    Returns:
        (N,) float32, the square of the mean distance.

    Raises:
        TypeError: if ``points`` is not float32 or ``count`` no whole number.
        ValueError: if its shape is wrong, a value is not finite or ``count`` is below 1.
    """
    points = _matrix("points", points, "(N, P)", op="start_distances")
    if len(points) == 0:
        raise ValueError("[start_distances] expected points of shape (N, P), N >= 1, got none.")
    limit = np.iinfo(np.int64).max
    count = min(whole_number("start_distances", "count", count, 1, limit), len(points))
    rows = np.random.default_rng(seed).choice(len(points), size=count, replace=False)
    total = np.zeros(len(points))
    for row in rows:  # fixed order
        squared, _ = MemoryBank(points[row : row + 1]).search(points)
        total += np.sqrt(_flushed(squared[:, 0]).astype(np.float64))
    mean = total / count
    return _flushed((mean * mean).astype(np.float32))


def _flushed(values: Array) -> Array:
    """Subnormal numbers as zero, which they are for callers that flush them, for everybody."""
    return np.where(values.view(np.int32) < 0x0080_0000, np.float32(0), values)


def greedy_coreset(
    points: Array,
    *,
    count: int,
    initial: Array | None = None,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.int64]:
    """Select ``count`` rows, each the farthest from those before it. Exact.

    Equivalent to repeating ``i = nearest.argmax()`` and
    ``nearest = minimum(nearest, ((points - points[i]) ** 2).sum(1))``, with canonical distances,
    ties to the smallest index, and rows already picked left out.

    Args:
        points: (N, P) float32, finite; usually projected features.
        count: rows to pick, 1 <= count <= N.
        initial: (N,) float32 squared distances to begin with, not negative; none: the first pick is
            row 0. See :func:`start_distances`.
        progress: called with the number of picks made so far, some times a second; an exception
            that it raises ends the selection.

    Returns:
        (count,) int64 rows in the order of selection.

    Raises:
        TypeError: if an array is not float32 or ``count`` no whole number.
        ValueError: if a shape, ``count`` or a value does not fit.
    """
    points = _matrix("points", points, "(N, P)", op="greedy_coreset")
    N = len(points)
    count = whole_number("greedy_coreset", "count", count, 1, N, what=" (rows of points)")
    if initial is None:
        initial = np.full(N, np.inf, np.float32)
    elif not isinstance(initial, np.ndarray) or initial.dtype != np.float32:
        found = getattr(initial, "dtype", type(initial).__name__)
        raise TypeError(f"[greedy_coreset] expected initial as a float32 array, got {found}.")
    elif initial.shape != (N,):
        raise ValueError(
            f"[greedy_coreset] expected initial of shape ({N},), one squared distance a point, got "
            f"{initial.shape}."
        )
    elif not (initial >= 0).all():
        row = int(np.flatnonzero(~(initial >= 0))[0])
        raise ValueError(
            "[greedy_coreset] expected initial as squared distances, none negative or NaN, got "
            f"{initial[row]} in row {row}. Use start_distances, or None."
        )
    state = native.GreedyCoreset(points, np.ascontiguousarray(initial))
    while state.count < count:
        state.advance(count - state.count)
        if progress is not None:
            progress(state.count)
    picks: NDArray[np.int64] = state.picks()
    return picks
