"""Memory-bank head of PatchCore: distances of patch features to the bank become scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import MemoryBankHead as HeadSettings
from pyad_edge.errors import SettingError
from pyad_edge.heads.approximate_index import ApproximateBank
from pyad_edge.ops import MemoryBank, patch_aggregation

__all__ = ["MemoryBankHead", "PatchScores", "embed"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class PatchScores:
    """Scores of N pictures.

    Attributes:
        image: (N,) float32 score of each picture.
        patch: (N, h, w) float32 score of each patch.
        rows: (N, h, w) int64 nearest bank row of each patch.
        distances: (N, h, w) float32 Euclidean distance to it.
    """

    image: Array
    patch: Array
    rows: NDArray[np.int64]
    distances: Array


def embed(features: Sequence[Array], settings: HeadSettings) -> Array:
    """Backbone levels, each (N, C, h, w) float32, as patch features (N, h, w, D) float32."""
    aggregation = settings.aggregation
    return patch_aggregation(
        features,
        variant=aggregation.variant,
        pre_dim=aggregation.pre_dim,
        target_dim=aggregation.target_dim,
    )


class MemoryBankHead:
    """Scores patch features against a memory bank. Thread-safe.

    Two scorings, by name:

    - ``reweighted``: the paper (Roth et al. 2022, eqs. 6 and 7). Patch score: Euclidean distance s
      to the nearest row m*. Picture score: the largest s*, times
      ``1 - exp(s*) / sum(exp(distance to m), m in N)``, N the ``neighbors`` bank rows nearest to m*
      (m* among them).
    - ``maximum``: the official code. Patch score: squared Euclidean distance; picture score: the
      largest.

    Args:
        bank: (M, D) float32.
        settings: aggregation, scoring and neighbours.
        approximate: searches the bank instead of the exact search; eq. 7's neighbours as well.

    Raises:
        SettingError: if ``reweighted`` is asked for with fewer than two rows or neighbours.
    """

    def __init__(
        self, bank: Array, settings: HeadSettings, *, approximate: ApproximateBank | None = None
    ) -> None:
        if settings.scoring == "reweighted" and min(len(bank), settings.neighbors) < 2:
            raise SettingError(
                "[memory_bank] scoring 'reweighted' needs at least 2 bank rows and 2 neighbours, "
                f"got {len(bank)} rows and neighbors={settings.neighbors}. Use more pictures or a "
                "larger coreset ratio, or scoring 'maximum'."
            )
        self.settings = settings
        self._rows = bank
        self.approximate = approximate
        self._bank = MemoryBank(bank) if approximate is None else approximate

    @property
    def bank(self) -> Array:
        """The (M, D) float32 rows."""
        return self._rows

    def empty(self, N: int, h: int, w: int) -> PatchScores:
        """Arrays for the scores of N pictures of h x w patches, to be handed to :meth:`score`."""
        distances = np.empty((N, h, w), np.float32)
        squared = self.settings.scoring == "maximum"
        return PatchScores(
            image=np.empty(N, np.float32),
            patch=np.empty((N, h, w), np.float32) if squared else distances,
            rows=np.empty((N, h, w), np.int64),
            distances=distances,
        )

    def score(self, features: Sequence[Array], *, out: PatchScores | None = None) -> PatchScores:
        """Score backbone levels, each (N, C, h, w) float32; (h, w) of the first is the grid.

        Args:
            features: the levels, the finest first.
            out: arrays of :meth:`empty` to write into.

        Returns:
            ``out``, or new arrays.

        Raises:
            ValueError: if a feature or distance is not finite or a shape does not fit; ``out`` then
                holds nothing of use.
        """
        scores = self._score(features)
        if out is None:
            return scores
        for name in ("image", "patch", "rows", "distances"):
            target, found = getattr(out, name), getattr(scores, name)
            if target.shape != found.shape:
                raise ValueError(
                    f"[memory_bank] expected out.{name} of shape {found.shape}, got "
                    f"{target.shape}. Make it with head.empty."
                )
            np.copyto(target, found)
        return out

    def _score(self, features: Sequence[Array]) -> PatchScores:
        patches = embed(features, self.settings)  # (N, h, w, D)
        N, h, w, D = patches.shape
        squared, rows = self._bank.search(patches.reshape(-1, D))
        if not np.isfinite(squared).all():
            # No threshold could be compared with it: infinity makes eq. 7 NaN.
            raise ValueError(
                "[memory_bank] a squared distance exceeds float32; features reach "
                f"{float(np.abs(patches).max()):.3g}. Is the network broken?"
            )
        squared, rows = squared.reshape(N, h, w), rows.reshape(N, h, w)
        distances = np.sqrt(squared)
        if self.settings.scoring == "maximum":
            return PatchScores(squared.reshape(N, -1).max(axis=1), squared, rows, distances)
        image = np.array(
            [self._reweighted(patches[n], squared[n], rows[n]) for n in range(N)], np.float32
        )
        return PatchScores(image, distances, rows, distances)

    def _reweighted(self, patches: Array, squared: Array, rows: NDArray[np.int64]) -> float:
        """Eq. 7 for one picture: patches (h, w, D), squared distances and rows (h, w)."""
        winner = int(squared.argmax())  # the first one, where patches tie
        query = patches.reshape(-1, patches.shape[-1])[winner : winner + 1]
        largest = math.sqrt(float(squared.flat[winner]))
        k = min(self.settings.neighbors, len(self._rows))
        nearest_row = self._rows[rows.flat[winner]][np.newaxis]
        _, neighborhood = self._bank.search(nearest_row, k=k)
        around, _ = MemoryBank(self._rows[neighborhood[0]]).search(query, k=k)
        exponents = np.sqrt(around[0].astype(np.float64))
        shift = float(exponents.max())  # so that exp cannot overflow
        return largest * (1.0 - math.exp(largest - shift) / float(np.exp(exponents - shift).sum()))
