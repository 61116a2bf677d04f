"""Patch features of many pictures, within a memory limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyad_edge.backends import Backend
from pyad_edge.engine_manifest import MemoryBankHead, Preprocessing
from pyad_edge.errors import BackendError, ResourceError
from pyad_edge.export.memory import format_bytes
from pyad_edge.heads.memory_bank import embed
from pyad_edge.images import read_image
from pyad_edge.ops import project
from pyad_edge.preprocessing import to_batch

__all__ = ["Extractor", "MemoryPlan", "plan_memory", "project_all", "rows_of"]

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
    """Pictures to patch features, one picture at a time, just as the runtime does it."""

    def __init__(
        self, preprocessing: Preprocessing, backend: Backend, head: MemoryBankHead
    ) -> None:
        self._preprocessing = preprocessing
        self._backend = backend
        self._head = head

    def __call__(self, path: Path) -> Array:
        """Features (h, w, D) float32 of one picture.

        Raises:
            DataError: if the picture cannot be read.
            BackendError: if the backbone gives values that are not finite.
        """
        features = self._backend.run(to_batch([read_image(path)], self._preprocessing))
        try:
            patches = embed(features, self._head)
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
    patches: int,
    keep: bool,
    progress: Progress,
) -> tuple[Array, list[Array]]:
    """Run the backbone over all pictures.

    Args:
        paths: pictures.
        extract: gives (h, w, D) of one.
        matrix: (D, P) projection.
        patches: h * w.
        keep: whether to hold on to the features.
        progress: told after each picture.

    Returns:
        Projected features (N, P) in order of pictures and positions, and per picture its features
        (patches, D), or an empty list where they are not kept.
    """
    projected = np.empty((len(paths) * patches, matrix.shape[1]), np.float32)
    kept = []
    for index, path in enumerate(paths):
        features = extract(path).reshape(patches, -1)
        projected[index * patches : (index + 1) * patches] = project(features, matrix)
        if keep:
            kept.append(features)
        progress("features", index + 1, len(paths))
    return projected, kept


def rows_of(
    selected: NDArray[np.int64],
    paths: Sequence[Path],
    extract: Extractor,
    *,
    patches: int,
    D: int,
    kept: Sequence[Array],
    progress: Progress,
) -> Array:
    """Read out the selected patches.

    Args:
        selected: (M,) numbers of patches, counted over all pictures.
        paths: pictures.
        extract: gives (h, w, D) of one.
        patches: h * w.
        D: feature dimensions.
        kept: features (patches, D) per picture; none: the pictures run through the backbone again.
        progress: told after each picture.

    Returns:
        Their features (M, D) float32, in the order of selection.
    """
    pictures, positions = np.divmod(selected, patches)
    wanted = np.unique(pictures)
    bank = np.empty((len(selected), D), np.float32)
    for done, picture in enumerate(wanted):
        features = kept[picture] if kept else extract(paths[picture]).reshape(patches, -1)
        where = np.flatnonzero(pictures == picture)
        bank[where] = features[positions[where]]
        progress("bank", done + 1, len(wanted))
    return bank
