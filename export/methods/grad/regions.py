"""Windows that are normal but for a region, which a PatchDiff generates.

A window that was generated as a whole is wrong in all its parts: whatever a detector finds first
settles it. Defects are mostly one wrong part among right ones. So some windows are cut out of
normal pictures, and a rectangle in them is generated anew, in agreement with what surrounds it as
far as the PatchDiff sees. In some of them it is told the coordinates of a place that looks alike:
then it fills the rectangle with what belongs elsewhere.

In exchanged regions, the rectangle is another normal picture's, of the same place or of one that
looks alike, and the PatchDiff generates the seam alone. Where a seam parts what comes in one piece,
that is there twice, in part or not at all, and all of it is as sharp as in pictures: what a network
that sees few pixels generates as a whole is rarely empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.export.methods.grad.elsewhere import Elsewhere
from pyad_edge.export.methods.grad.settings import GradSettings
from pyad_edge.export.methods.grad.windows import LevelPictures, Places, cut

__all__ = ["Regions"]

SIDES = (0.25, 0.6)  # least and largest of a rectangle, in parts of the window's
SEAM = 4  # pixels


@dataclass(frozen=True)
class _Windows:
    """Of some windows: normal pictures, what is kept of them, coordinates."""

    pictures: torch.Tensor
    kept: torch.Tensor
    where: torch.Tensor


class Regions:
    """Chooses pictures, rectangles and coordinates.

    Args:
        pictures: normal ones.
        settings: ``sample_window``, ``alike``, ``exchanged``, ``shift``.
    """

    def __init__(self, pictures: LevelPictures, settings: GradSettings) -> None:
        self._pictures, self._share = pictures, settings.alike
        self._exchanged = settings.exchanged
        self._side = min(settings.sample_window, *pictures.size)
        self._elsewhere = Elsewhere(pictures, share=1.0, shift=settings.shift)

    def at(self, rng: np.random.Generator, places: Places) -> _Windows:
        """Windows at these places.

        Args:
            rng: source of randomness.
            places: (n, 2).
        """
        n, side, whole = len(places), self._side, self._pictures
        numbers = rng.integers(len(whole), size=n)
        pictures = cut(whole.pictures, numbers, places, (side, side))
        where = cut(whole.where, numbers, places, (side, side))
        kept = torch.ones(n, 1, side, side, dtype=torch.bool)
        told = rng.random(n) < self._share
        exchanged = rng.random(n) < self._exchanged
        for index in range(n):
            height, width = (round(side * part) for part in rng.uniform(*SIDES, 2))
            # Its middle lies anywhere in the window: edges are covered, too.
            rows, columns = _covered(rng, height, side), _covered(rng, width, side)
            kept[index, :, rows, columns] = False
            corner = np.array([[rows.start, columns.start]])
            place: NDArray[np.int64] = places[index : index + 1] + corner
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            if told[index]:
                patch = pictures[index : index + 1, :, rows, columns]
                place, _ = self._elsewhere.alike(rng, patch, place)
            if exchanged[index]:
                donor = [int(rng.integers(len(whole)))]
                pictures[index, :, rows, columns] = cut(whole.pictures, donor, place, shape)[0]
                kept[index, :, _within(rows, side), _within(columns, side)] = True
            elif told[index]:
                where[index, :, rows, columns] = cut(whole.where, [0], place, shape)[0]
        return _Windows(pictures, kept, where)


def _covered(rng: np.random.Generator, length: int, side: int) -> slice:
    """Of a stretch whose middle is a random pixel of the window, what lies within."""
    start = int(rng.integers(side)) - length // 2
    return slice(max(0, start), min(side, start + length))


def _within(stretch: slice, side: int) -> slice:
    """What a seam at those of its ends that are not the window's leaves of a stretch."""
    start = stretch.start + (SEAM if stretch.start > 0 else 0)
    stop = stretch.stop - (SEAM if stretch.stop < side else 0)
    return slice(start, max(start, stop))
