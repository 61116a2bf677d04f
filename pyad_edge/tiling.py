"""Cut one axis of a large frame into overlapping tiles that share one grid of patches.

Tiles begin at multiples of ``align`` pixels, where a patch begins on every level of the network, so
the patches of all tiles lie on one grid over the frame, and its pitch is that of a tile. Every
patch of the grid is taken from the tile in which it lies farthest from a cut (the border of a frame
is no cut): what zero padding does to a tile's rim never reaches the score where the overlap is
wide enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

__all__ = ["Axis", "cut_axis"]


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis, in order.

    Attributes:
        size: pixels of a tile.
        starts: first pixel of each in the frame. The last one may reach past the frame's end by
            less than ``align``.
        patches: of the whole axis; a patch belongs to it if its centre lies in the frame.
        owned: per tile, the patches [begin, end) of the axis that are taken from it.
        first: per tile, the patch of the axis that its first patch is.
    """

    size: int
    starts: tuple[int, ...]
    patches: int
    owned: tuple[tuple[int, int], ...]
    first: tuple[int, ...]


@lru_cache(maxsize=64)
def cut_axis(frame: int, *, size: int, overlap: int, align: int, cells: int) -> Axis:
    """Lay tiles over an axis.

    Args:
        frame: its pixels, at least ``size``.
        size: pixels of a tile.
        overlap: of neighbouring tiles, at least.
        align: tiles begin at multiples of it; a whole number of patches, at most size - overlap.
        cells: patches of a tile.
    """
    step = (size - overlap) // align * align
    last = -(-(frame - size) // align) * align
    starts = (*range(0, last, step), last)
    first = tuple(start * cells // size for start in starts)
    patches = -((size - 2 * frame * cells) // (2 * size))  # centre before the frame's end
    # The middle between the end of one tile and the start of the next: from there on the next one
    # gives more context.
    bounds = [0]
    for here, following in pairwise(first):
        bounds.append(min((here + cells + following + 1) // 2, patches))
    bounds.append(patches)
    owned = tuple(pairwise(bounds))
    return Axis(size, starts, patches, owned, first)
