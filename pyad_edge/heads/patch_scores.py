"""Scores of patches and pictures from single operations: embed, search, eqs. 6 and 7.

What an approximate search uses, and what explains an exact head's failure; the exact head itself
(``memory_bank.py``) makes one native call, whose bits are those of :func:`composed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pyad_edge.bfloat16 import widened
from pyad_edge.engine_manifest import MemoryBankHead as HeadSettings
from pyad_edge.ops import MemoryBank, patch_aggregation
from pyad_edge.ops._native import native

__all__ = ["PatchScores", "Search", "composed", "embed", "reweight", "reweighted_score"]

Array = NDArray[np.float32]
Valid = NDArray[np.uint8]


class Search(Protocol):
    """A memory bank that can be searched: exact or approximate."""

    def search(self, queries: Array, *, k: int = 1) -> tuple[Array, NDArray[np.int64]]:
        """(Q, k) squared distances and rows of (Q, D) queries."""


@dataclass(frozen=True)
class PatchScores:
    """Scores of N pictures.

    Attributes:
        image: (N,) float32 score of each picture.
        patch: (N, h, w) float32 score of each patch; 0 where it does not count.
        rows: (N, h, w) int64 nearest bank row of each patch; -1 where it does not count.
        distances: (N, h, w) float32 Euclidean distance to it; 0 where it does not count.
    """

    image: Array
    patch: Array
    rows: NDArray[np.int64]
    distances: Array


def embed(features: Sequence[Array], settings: HeadSettings) -> Array:
    """Backbone levels, each (N, C, h, w) float32 or bfloat16, as patches (N, h, w, D) float32."""
    aggregation = settings.aggregation
    return patch_aggregation(
        [widened(level) for level in features],
        variant=aggregation.variant,
        pre_dim=aggregation.pre_dim,
        target_dim=aggregation.target_dim,
    )


def reweighted_score(squared: float, around: Array) -> float:
    """Eq. 7 of PatchCore, computed in float64 by an exponential of our own: the same everywhere.

    Args:
        squared: canonical squared distance of the picture's most distant patch to its nearest row.
        around: (k,) float32, squared distances of that patch to the row's neighbours, ascending.

    Returns:
        The picture score, a float32.
    """
    return float(native.reweighted_score(squared, np.ascontiguousarray(around)))


def reweight(
    query: Array, squared: float, row: int, *, search: Search, rows: Array, neighbors: int
) -> float:
    """Eq. 7 for a patch (D,), its squared distance and nearest row."""
    k = min(neighbors, len(rows))
    _, neighborhood = search.search(rows[row][np.newaxis], k=k)
    around, _ = MemoryBank(rows[neighborhood[0]]).search(query.reshape(1, -1), k=k)
    return reweighted_score(squared, around[0])


def composed(
    features: Sequence[Array],
    settings: HeadSettings,
    *,
    search: Search,
    rows: Array,
    valid: Valid | None = None,
) -> PatchScores:
    """Score backbone levels, each (N, C, h, w) float32, operation by operation.

    Args:
        features: the levels, the finest first.
        settings: aggregation, scoring and neighbours.
        search: of the bank.
        rows: (M, D) float32, the bank.
        valid: (N, h, w) uint8, 0 where a patch does not count; none: all count.

    Raises:
        ValueError: if a feature or distance is not finite, a shape does not fit, or no patch of a
            picture counts.
    """
    patches = embed(features, settings)  # (N, h, w, D)
    N, h, w, D = patches.shape
    squared, nearest = search.search(patches.reshape(-1, D))
    squared, nearest = squared.reshape(N, h, w), nearest.reshape(N, h, w)
    if valid is not None:
        counts = valid != 0
        if not counts.any(axis=(1, 2)).all():
            raise ValueError(
                "[memory_bank] expected at least one patch of every picture to count, got none in "
                f"picture {int(counts.any(axis=(1, 2)).argmin())}. Does the mask cover all of it?"
            )
        squared, nearest = np.where(counts, squared, np.float32(0)), np.where(counts, nearest, -1)
    if not np.isfinite(squared).all():
        # No threshold could be compared with it: infinity makes eq. 7 NaN.
        raise ValueError(
            "[memory_bank] a squared distance exceeds float32; features reach "
            f"{float(np.abs(patches).max()):.3g}. Is the network broken?"
        )
    distances = np.sqrt(squared)
    if settings.scoring == "maximum":
        return PatchScores(squared.reshape(N, -1).max(axis=1), squared, nearest, distances)
    image = np.empty(N, np.float32)
    for n in range(N):
        # The first one, where patches tie; a patch that does not count is none of them.
        order = squared[n] if valid is None else np.where(nearest[n] < 0, -1, squared[n])
        winner = int(order.argmax())
        image[n] = reweight(
            patches[n].reshape(-1, D)[winner],
            float(squared[n].flat[winner]),
            int(nearest[n].flat[winner]),
            search=search,
            rows=rows,
            neighbors=settings.neighbors,
        )
    return PatchScores(image, distances, nearest, distances)
