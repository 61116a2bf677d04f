"""Patch features of many pictures, within a memory limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.engine_manifest import MemoryBankHead, Preprocessing
from pyad_edge.errors import BackendError, DataError, ResourceError
from pyad_edge.export.memory import format_bytes
from pyad_edge.feeder import Feeder
from pyad_edge.frame_files import read_frame
from pyad_edge.heads.memory_bank import embed
from pyad_edge.images import read_image
from pyad_edge.ops import project
from pyad_edge.preprocessing import input_size, to_batch

__all__ = ["Extractor", "MemoryPlan", "offsets_of", "plan_memory", "project_all", "rows_of"]

Array = NDArray[np.float32]
Progress = Callable[[str, int, int], None]  # stage, done, of


@dataclass(frozen=True)
class MemoryPlan:
    """What a fit will hold at its peak, in bytes.

    Attributes:
        projected: projected features and the selection's working memory.
        bank: the memory bank and its copies.
        features: all features, kept only where they fit.
        keep_features: whether they do; if not, the backbone runs twice over the pictures.
        limit: bytes allowed.
    """

    projected: int
    bank: int
    features: int
    keep_features: bool
    limit: int


def plan_memory(*, N: int, D: int, P: int, M: int, limit: int) -> MemoryPlan:
    """Decide, before any work, how a fit stays within its limit.

    Args:
        N: patches in all. D: feature dimensions. P: projected dimensions. M: rows of the bank.
        limit: bytes.

    Raises:
        ResourceError: if even the projected features do not fit.
    """
    # Per patch: its projection in float32 and in 8 bits, minimum and start distances, bars, and an
    # index while subsets are chosen. Without selection every feature is a bank row, and the bank
    # alone counts.
    projected = N * (5 * P + 44) if M < N else 0
    # The bank, its forms for the search, and the copy that verifies the engine file.
    bank = 5 * 4 * M * D
    features = 4 * N * D if M < N else 0
    needed = projected + bank
    if needed > limit:
        raise ResourceError(
            f"[patchcore] {N:,} patches need {format_bytes(needed)} of memory "
            f"({format_bytes(projected)} for the selection, {format_bytes(bank)} for a bank of "
            f"{M:,} rows), the limit is {format_bytes(limit)}. Use fewer pictures, a smaller "
            "--size or --coreset, or raise --memory-limit."
        )
    return MemoryPlan(projected, bank, features, needed + features <= limit, limit)


class Extractor:
    """Pictures to patch features, one picture at a time, just as the runtime does it.

    Args:
        preprocessing, backend, head: of the engine to be.
        feeder: of a declared input; None: 8-bit RGB pictures, resized.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        backend: Backend,
        head: MemoryBankHead,
        *,
        feeder: Feeder | None = None,
    ) -> None:
        self._preprocessing = preprocessing
        self._backend = backend
        self._head = head
        self._feeder = feeder
        self._sizes: dict[Path, tuple[int, int]] = {}

    def __call__(self, path: Path) -> Array:
        """Features of one picture: (h, w, D) float32, or (patches that count, D).

        Raises:
            DataError: if the picture cannot be read.
            BackendError: if the backbone gives values that are not finite.
        """
        feeder = self._feeder
        if feeder is None:
            return self._run(to_batch([read_image(path)], self._preprocessing), path)
        frame = self._frame(path, feeder)
        picture, plan = feeder.picture(frame), feeder.plan(frame.shape)
        whole: Array | None = None
        batch = np.empty((1, 3, *input_size(self._preprocessing)), np.float32)
        for tile in plan.tiles:
            feeder.write(picture, plan, tile, batch)
            features = self._run(batch, path)
            if whole is None:
                whole = np.zeros((*plan.grid, features.shape[2]), np.float32)
            part = features[tile.rows, tile.columns]
            row, column = tile.at
            whole[row : row + part.shape[0], column : column + part.shape[1]] = part
        if whole is None:
            raise DataError(f"[patchcore] {path.name} has no patch that counts.")
        kept: Array = whole[plan.counts] if plan.counts is not None else whole
        return kept.reshape(-1, kept.shape[-1])

    def positions(self, path: Path, grid: tuple[int, int]) -> NDArray[np.int64]:
        """(K, 2) row and column of a picture's patches, in the order of its features.

        Args:
            path: the picture.
            grid: (h, w) where nothing is declared.
        """
        counts: NDArray[np.bool_] | None = None
        if self._feeder is not None:
            if path not in self._sizes:
                self._frame(path, self._feeder)
            plan = self._feeder.plan(self._sizes[path])
            grid, counts = plan.grid, plan.counts
        return np.argwhere(np.ones(grid, bool) if counts is None else counts)

    def _frame(self, path: Path, feeder: Feeder) -> NDArray[Any]:
        pixels = feeder.declared.format
        frame = read_frame(path, pixels.pixels.name if pixels is not None else None)
        try:
            feeder.check(frame)
        except DataError as error:
            raise DataError(f"[patchcore] {path.name} does not fit. {error}") from None
        self._sizes[path] = (frame.shape[0], frame.shape[1])
        return frame

    def _run(self, batch: Array, path: Path) -> Array:
        try:
            patches = embed(self._backend.run(batch), self._head)
        except ValueError as error:
            raise BackendError(
                f"[patchcore] the backbone failed on {path.name}: {error}"
            ) from error
        features_of_one: Array = patches[0]
        return features_of_one


def project_all(
    paths: Sequence[Path],
    extract: Extractor,
    matrix: Array,
    *,
    patches: int | Sequence[int],
    keep: bool,
    progress: Progress,
) -> tuple[Array, list[Array]]:
    """Run the backbone over all pictures.

    Args:
        paths: pictures.
        extract: gives the features of one.
        matrix: (D, P) projection.
        patches: of every picture, or of each.
        keep: whether to hold on to the features.
        progress: told after each picture.

    Returns:
        Projected features (N, P) in order of pictures and positions, and per picture its features
        (patches, D), or an empty list where they are not kept.
    """
    offsets = offsets_of(patches, len(paths))
    projected = np.empty((offsets[-1], matrix.shape[1]), np.float32)
    kept = []
    for index, path in enumerate(paths):
        features = extract(path).reshape(-1, matrix.shape[0])
        projected[offsets[index] : offsets[index + 1]] = project(features, matrix)
        if keep:
            kept.append(features)
        progress("features", index + 1, len(paths))
    return projected, kept


def offsets_of(patches: int | Sequence[int], pictures: int) -> NDArray[np.int64]:
    """(pictures + 1,) number of the first patch of each picture, counted over all, and the end."""
    counts = [patches] * pictures if isinstance(patches, int) else list(patches)
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def rows_of(
    selected: NDArray[np.int64],
    paths: Sequence[Path],
    extract: Extractor,
    *,
    patches: int | Sequence[int],
    D: int,
    kept: Sequence[Array],
    progress: Progress,
) -> Array:
    """Read out the selected patches.

    Args:
        selected: (M,) numbers of patches, counted over all pictures.
        paths: pictures.
        extract: gives the features of one.
        patches: of every picture, or of each.
        D: feature dimensions.
        kept: features (patches, D) per picture; none: the pictures run through the backbone again.
        progress: told after each picture.

    Returns:
        Their features (M, D) float32, in the order of selection.
    """
    offsets = offsets_of(patches, len(paths))
    pictures = np.searchsorted(offsets, selected, side="right") - 1
    positions = selected - offsets[pictures]
    wanted = np.unique(pictures)
    bank = np.empty((len(selected), D), np.float32)
    for done, picture in enumerate(wanted):
        features = kept[picture] if kept else extract(paths[picture]).reshape(-1, D)
        where = np.flatnonzero(pictures == picture)
        bank[where] = features[positions[where]]
        progress("bank", done + 1, len(wanted))
    return bank
