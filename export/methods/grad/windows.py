"""Windows of a level's pictures, with their coordinates: what PatchDiff and detector learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.export.methods.grad.detector import level_input
from pyad_edge.export.progress import ProgressCall, silent
from pyad_edge.export.training.pictures import PictureSource

__all__ = ["LevelPictures", "Places", "cut", "level_pictures", "random_places"]

CHUNK = 16  # pictures made small at a time
Places = NDArray[np.int64]  # (N, 2) row and column of a window's upper left pixel


@dataclass(frozen=True, eq=False)
class LevelPictures:
    """All pictures as a level's detector sees them.

    Attributes:
        level: 34, 68 or 136.
        pictures: (N, 3, h, w) float16, border included; half the memory, and finer than 8 bits.
        where: (2, h, w) float32, their coordinates.
    """

    level: int
    pictures: torch.Tensor
    where: torch.Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(h, w), border included."""
        return self.pictures.shape[-2], self.pictures.shape[-1]

    @cached_property
    def grey(self) -> bool:
        """Whether all pictures have the same values in all channels."""
        return all(torch.equal(own, own[:1].expand_as(own)) for own in self.pictures)

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.pictures)


def level_pictures(
    source: PictureSource, level: int, *, progress: ProgressCall = silent
) -> LevelPictures:
    """Pool and extend all pictures of a source.

    Raises:
        DataError: if a picture cannot be read.
    """
    made, where = [], None
    for start in range(0, len(source), CHUNK):
        numbers = range(start, min(start + CHUNK, len(source)))
        inputs = level_input(torch.from_numpy(source.batch(numbers)), level)
        made.append(inputs[:, :3].half())
        where = inputs[0, 3:].clone()
        progress("pictures", numbers[-1] + 1, len(source))
    assert where is not None  # a source holds at least one picture
    return LevelPictures(level, torch.cat(made), where)


def random_places(
    rng: np.random.Generator,
    count: int,
    *,
    size: tuple[int, int],
    window: tuple[int, int],
    beyond: int = 0,
) -> Places:
    """(count, 2) places of windows within pictures, evenly over all that fit.

    Args:
        rng: source of randomness.
        count: how many.
        size: (h, w) of the pictures.
        window: (height, width).
        beyond: places are drawn up to so many pixels beyond the edges and moved inside. Without,
            what lies at an edge is in few windows, those that begin or end there.
    """
    limits = [whole - part for whole, part in zip(size, window, strict=True)]
    places = rng.integers([-beyond] * 2, [limit + beyond + 1 for limit in limits], size=(count, 2))
    return np.clip(places, 0, limits)


def cut(
    pictures: torch.Tensor,
    numbers: Sequence[int] | NDArray[np.int64],
    places: Places,
    window: tuple[int, int],
) -> torch.Tensor:
    """Windows out of pictures.

    Args:
        pictures: (N, C, h, w), or (C, h, w), which is used for all windows.
        numbers: (B,) of pictures.
        places: (B, 2), see Places.
        window: (height, width).

    Returns:
        (B, C, height, width) float32.
    """
    height, width = window
    parts = [
        (pictures[int(number)] if pictures.ndim == 4 else pictures)[
            :, int(y) : int(y) + height, int(x) : int(x) + width
        ]
        for number, (y, x) in zip(numbers, places, strict=True)
    ]
    return torch.stack(parts).float()
