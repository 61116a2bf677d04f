"""Memory-bank head of PatchCore: distances of patch features to the bank become scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.bfloat16 import channels_last, holds_bfloat16, is_channels_last
from pyad_edge.engine_manifest import MemoryBankHead as HeadSettings
from pyad_edge.errors import SettingError
from pyad_edge.heads.approximate_index import ApproximateBank
from pyad_edge.heads.patch_scores import PatchScores, composed, embed, reweight, reweighted_score
from pyad_edge.ops import AggregationPlan, MemoryBank
from pyad_edge.ops._banded import bilinear_upsample
from pyad_edge.ops._native import native

__all__ = ["MemoryBankHead", "PatchScores", "embed", "reweighted_score"]

Array = NDArray[np.float32]
Valid = NDArray[np.uint8]
ALL_COUNT = np.empty(0, np.uint8)


class MemoryBankHead:
    """Scores patch features against a memory bank. Thread-safe.

    Two scorings, by name:

    - ``reweighted``: the paper (Roth et al. 2022, eqs. 6 and 7). Patch score: Euclidean distance s
      to the nearest row m*. Picture score: the largest s*, times
      ``1 - exp(s*) / sum(exp(distance to m), m in N)``, N the ``neighbors`` bank rows nearest to m*
      (m* among them).
    - ``maximum``: the official code. Patch score: squared Euclidean distance; picture score: the
      largest.

    An exact search is one native call (csrc/include/pyad/memory_bank_head.h): aggregation, search
    and scores in one parallel region, with scratch that is kept from call to call.

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
        self._bank: MemoryBank | ApproximateBank = (
            MemoryBank(bank) if approximate is None else approximate
        )
        # Of the levels' channels, which the first features tell: native head; of their shapes:
        # up-sampling maps. Both are made once; making one twice at the same time does no harm.
        self._heads: dict[tuple[int, ...], Any] = {}
        self._maps: dict[tuple[tuple[int, ...], ...], tuple[Any, list[Any], list[Any]]] = {}

    @property
    def bank(self) -> Array:
        """The (M, D) float32 rows."""
        return self._rows

    @property
    def search(self) -> MemoryBank | ApproximateBank:
        """The bank, prepared for search."""
        return self._bank

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

    def score(
        self,
        features: Sequence[Array],
        *,
        valid: Valid | None = None,
        out: PatchScores | None = None,
    ) -> PatchScores:
        """Score backbone levels, each (N, C, h, w); (h, w) of the first is the grid.

        Args:
            features: the levels, the finest first, float32, or uint16 that holds bfloat16 (see
                ``pyad_edge.bfloat16``): scores are those of the same numbers in float32.
            valid: (N, h, w) uint8, 0 where a patch does not count: its score and distance are 0,
                its row -1, and it never makes the picture's score. None: all count.
            out: arrays of :meth:`empty` to write into.

        Returns:
            ``out``, or new arrays.

        Raises:
            ValueError: if a feature or distance is not finite, a shape does not fit, or no patch of
                a picture counts; ``out`` then holds nothing of use.
        """
        if self.approximate is not None:
            return self._written(self._composed(features, valid), out)
        prepared = self.prepared(features)
        if prepared is None:  # features that nothing fits: the operations say why
            return self._written(self._composed(features, valid), out)
        head, rows, columns = prepared
        N, _, h, w = features[0].shape
        if out is None:
            out = self.empty(N, h, w)
        elif out.rows.shape != (N, h, w) or out.image.shape != (N,):
            raise _unfitting(out, (N, h, w))
        levels, counts = native_arguments(features, valid)
        status = head.score(
            levels, rows, columns, counts, out.image, out.patch, out.rows, out.distances
        )
        if status != native.HeadStatus.ok:
            self._composed(features, valid)  # finds the same and says where
            raise ValueError(f"[memory_bank] the search failed ({status.name}).")
        return out

    def reweight(self, query: Array, squared: float, row: int) -> float:
        """Eq. 7 for a picture's most distant patch, with the bits that :meth:`score` gives.

        Args:
            query: (D,) float32, the patch.
            squared: its canonical squared distance to its nearest row.
            row: that row.

        Returns:
            The picture score, a float32.
        """
        return reweight(
            query,
            squared,
            row,
            search=self._bank,
            rows=self._rows,
            neighbors=self.settings.neighbors,
        )

    def _composed(self, features: Sequence[Array], valid: Valid | None) -> PatchScores:
        return composed(features, self.settings, search=self._bank, rows=self._rows, valid=valid)

    def _written(self, scores: PatchScores, out: PatchScores | None) -> PatchScores:
        if out is None:
            return scores
        if out.rows.shape != scores.rows.shape or out.image.shape != scores.image.shape:
            raise _unfitting(out, scores.rows.shape)
        for name in ("image", "patch", "rows", "distances"):
            np.copyto(getattr(out, name), getattr(scores, name))
        return out

    def prepared(self, features: Sequence[Array]) -> tuple[Any, list[Any], list[Any]] | None:
        """Of an exact search: native head and up-sampling maps of each axis for these features.

        None where nothing fits them. Made once for each shape.
        """
        return self._maps.get(tuple(level.shape for level in features)) or self._prepare(features)

    def _prepare(self, features: Sequence[Array]) -> tuple[Any, list[Any], list[Any]] | None:
        """Native head and up-sampling maps for features of these shapes; None if there is none."""
        aggregation = self.settings.aggregation
        if len(features) == 0 or any(f.ndim != 4 or 0 in f.shape[1:] for f in features):
            return None
        channels = tuple(int(f.shape[1]) for f in features)
        N, _, h, w = features[0].shape
        if any(len(f) != N for f in features):
            return None
        if channels not in self._heads:
            plan = AggregationPlan(
                channels,
                variant=aggregation.variant,
                pre_dim=aggregation.pre_dim,
                target_dim=aggregation.target_dim,
            )
            if plan.dim != self._rows.shape[1]:
                return None
            if not isinstance(self._bank, MemoryBank):
                return None
            k = self.settings.neighbors if self.settings.scoring == "reweighted" else 0
            self._heads[channels] = native.MemoryBankHead(plan.handle, self._bank.handle, k)
        rows: list[Any] = []
        columns: list[Any] = []
        for level in features:
            same = level.shape[2:] == (h, w)
            rows.append(None if same else bilinear_upsample(level.shape[2], h))
            columns.append(None if same else bilinear_upsample(level.shape[3], w))
        prepared = self._heads[channels], rows, columns
        if len(self._maps) >= 64:  # inputs of ever new sizes
            self._maps.clear()
        self._maps[tuple(level.shape for level in features)] = prepared
        return prepared


def native_arguments(features: Sequence[Array], valid: Valid | None) -> tuple[list[Array], Valid]:
    """Features (N, C, h, w) and ``valid`` (N, h, w) as the native calls take them.

    Raises:
        TypeError: if a feature is neither float32 nor uint16.
        ValueError: if ``valid`` has another shape.
    """
    levels = [
        f if f.flags.c_contiguous and f.dtype == np.float32 else _fitting(f) for f in features
    ]
    if valid is None:
        return levels, ALL_COUNT
    N, _, h, w = features[0].shape
    if valid.shape != (N, h, w):
        raise ValueError(f"[memory_bank] expected valid of shape {(N, h, w)}, got {valid.shape}.")
    return levels, np.ascontiguousarray(valid)


def _fitting(level: Array) -> Array:
    if holds_bfloat16(level):
        return level if is_channels_last(level) else channels_last(level)
    if level.dtype != np.float32:
        raise TypeError(
            "[memory_bank] expected features as float32 arrays (or bfloat16 as uint16), got "
            f"{level.dtype}. Convert them with .astype(numpy.float32)."
        )
    return np.ascontiguousarray(level)


def _unfitting(out: PatchScores, shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"[memory_bank] expected out of shape {shape}, got {out.rows.shape}. Make it with "
        "head.empty."
    )
