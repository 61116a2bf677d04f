"""Nearest of given candidate rows, by the canonical float32 distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.ops._checks import whole_number
from pyad_edge.ops._native import native

__all__ = ["rerank"]

Array = NDArray[np.float32]


def rerank(
    queries: Array, rows: Array, candidates: NDArray[np.int64], *, k: int = 1
) -> tuple[Array, NDArray[np.int64]]:
    """Order the rows that an approximate index proposes by their canonical distance.

    Equivalent to :func:`~pyad_edge.ops.nearest_neighbors` with each query's own small bank, and
    bit-equal to it wherever the true neighbours are among the candidates. Rows are many: they are
    not looked through, and copied (in every call) only where they are not C-contiguous.

    Args:
        queries: (Q, D) float32, finite.
        rows: (M, D) float32, finite.
        candidates: (Q, c) int64 rows in any order, c >= 1; -1 stands for none.
        k: neighbours per query, 1 <= k <= c.

    Returns:
        distances: (Q, k) float32, squared Euclidean distances, ascending.
        indices: (Q, k) int64; equal distances are ordered by index. Where a query has fewer than k
            candidates, infinity and -1.

    Raises:
        TypeError: if an array has another dtype or ``k`` is no whole number.
        ValueError: if a shape, ``k`` or a candidate does not fit, a query is not finite, or a row
            that was met holds NaN.
    """
    _check(queries, "queries", np.float32)
    _check(rows, "rows", np.float32)
    _check(candidates, "candidates", np.int64)
    Q, D = queries.shape
    M, c = len(rows), candidates.shape[1]
    if rows.shape[1] != D or len(candidates) != Q or 0 in (M, D, c):
        raise ValueError(
            "[rerank] expected queries (Q, D), rows (M, D) and candidates (Q, c), none of M, D, c "
            f"zero, got {queries.shape}, {rows.shape} and {candidates.shape}."
        )
    k = whole_number("rerank", "k", k, 1, c, what=" (candidates)")
    if Q and not (candidates.min() >= -1 and candidates.max() < M):
        outside = candidates[(candidates < -1) | (candidates >= M)][0]
        raise ValueError(
            f"[rerank] expected candidates of -1 (none) to {M - 1}, got {outside}. Was the index "
            "made of another bank?"
        )
    queries = np.ascontiguousarray(queries)
    if not native.all_finite(queries):
        row = int(np.flatnonzero(~np.isfinite(queries).all(axis=1))[0])
        raise ValueError(f"[rerank] queries contains NaN or infinity (first in row {row}).")
    distances = np.empty((Q, k), np.float32)
    indices = np.empty((Q, k), np.int64)
    bank, proposed = np.ascontiguousarray(rows), np.ascontiguousarray(candidates)
    if not native.rerank(queries, bank, proposed, distances, indices):
        raise ValueError("[rerank] rows contains NaN; distances to it have no order.")
    return distances, indices


def _check(values: Any, name: str, dtype: type[np.generic]) -> None:
    wanted = np.dtype(dtype)
    if not isinstance(values, np.ndarray) or values.dtype != wanted:
        found = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"[rerank] expected {name} as a {wanted} array, got {found}.")
    if values.ndim != 2:
        raise ValueError(f"[rerank] expected {name} with two dimensions, got {values.shape}.")
