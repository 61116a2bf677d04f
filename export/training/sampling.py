"""The order in which a training sees its pictures: seeded, and known for every iteration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError, SettingError

__all__ = ["Batches"]


class Batches:
    """Batches out of one permutation of all pictures after another.

    A batch that begins at the end of one pass goes on in the next, so that all batches are full
    and every picture comes equally often. Any iteration's batch follows from the seed and its
    number alone: a resumed training has nothing to restore.

    Args:
        count: pictures.
        batch: pictures in a batch.
        seed: of the permutations.

    Raises:
        DataError: if there are no pictures.
        SettingError: if the batch is below 1.
    """

    def __init__(self, count: int, *, batch: int, seed: int) -> None:
        if count < 1:
            raise DataError("[train] expected at least one picture to train on, got none.")
        if batch < 1:
            raise SettingError(f"[train] expected --batch of at least 1, got {batch}.")
        self.count, self.batch, self.seed = count, batch, seed
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch_at(self, iteration: int) -> NDArray[np.int64]:
        """(batch,) numbers of pictures of an iteration, from 0."""
        first = iteration * self.batch
        places = np.arange(first, first + self.batch)
        passes = places // self.count
        chosen = np.empty(self.batch, np.int64)
        for number in np.unique(passes):
            mine = passes == number
            chosen[mine] = self._pass(int(number))[places[mine] % self.count]
        return chosen

    def _pass(self, number: int) -> NDArray[np.int64]:
        """(count,) the order of one pass; the latest is kept, for millions of patches take time."""
        if self._order[0] != number:
            rng = np.random.default_rng([self.seed, number])
            self._order = (number, rng.permutation(self.count))
        return self._order[1]
