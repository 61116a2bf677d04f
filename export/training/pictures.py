"""Training pictures as the network's input, made by the runtime's own kernel and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import Preprocessing
from pyad_edge.errors import DataError
from pyad_edge.export.memory import memory_limit
from pyad_edge.feeder import Feeder
from pyad_edge.frame_files import read_frame
from pyad_edge.input_choice import pixel_format_of
from pyad_edge.preprocessing import input_size, to_batch

__all__ = ["PictureSource"]

_CACHE_SHARE = 0.5  # of the limit: the rest is the training's


class PictureSource:
    """Pictures by number; where frames are cut into tiles, each tile is one.

    What fits half of the memory limit is kept, the rest is read again each time: the values are
    the same.

    Args:
        paths: pictures.
        preprocessing: of the engine to be.
        feeder: of a declared input; None: 8-bit RGB pictures, resized.
        limit: bytes of memory for the training; None: 60 % of what is free.

    Raises:
        DataError: if there are no pictures, or with a feeder one cannot be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        preprocessing: Preprocessing,
        *,
        feeder: Feeder | None = None,
        limit: int | None = None,
    ) -> None:
        if not paths:
            raise DataError("[train] there are no pictures to train on.")
        self._preprocessing = preprocessing
        self._feeder = feeder
        self._shape = (3, *input_size(preprocessing))
        self._items = [(path, tile) for path in paths for tile in range(self._tiles(path))]
        room = int(_CACHE_SHARE * memory_limit(limit)) // (4 * int(np.prod(self._shape)))
        self._kept: dict[int, NDArray[np.float32]] = {}
        self._room = min(room, len(self._items))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._items)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W) of each."""
        return self._shape

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """(3, H, W) float32, normalised; not to be written to.

        Raises:
            DataError: if the picture cannot be read.
            IndexError: if there are not so many.
        """
        if index in self._kept:
            return self._kept[index]
        picture = self._make(*self._items[index])
        if len(self._kept) < self._room:
            self._kept[index] = picture
        return picture

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, 3, H, W) float32 of these numbers, a new array."""
        return np.stack([self[int(index)] for index in indices])

    def _tiles(self, path: Path) -> int:
        if self._feeder is None:
            return 1
        return len(self._feeder.plan(self._frame(path, self._feeder).shape).tiles)

    def _frame(self, path: Path, feeder: Feeder) -> NDArray[np.generic]:
        frame: NDArray[np.generic] = read_frame(path, pixel_format_of(feeder.declared))
        try:
            feeder.check(frame)
        except DataError as error:
            raise DataError(f"[train] {path.name} does not fit. {error}") from None
        return frame

    def _make(self, path: Path, tile: int) -> NDArray[np.float32]:
        if self._feeder is None:
            whole: NDArray[np.float32] = to_batch([read_frame(path, None)], self._preprocessing)
            return np.asarray(whole[0])
        frame = self._frame(path, self._feeder)
        plan = self._feeder.plan(frame.shape)
        made = np.empty((1, *self._shape), np.float32)
        self._feeder.write(self._feeder.picture(frame), plan, plan.tiles[tile], made)
        picture: NDArray[np.float32] = made[0]
        return picture
