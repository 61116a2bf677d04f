"""Wrong places for normal patches: some anywhere, some where a patch could be taken as belonging.

Random coordinates mostly put a patch where nothing of its kind can be, a wall where no wall is:
that shows without a look at what the patch holds. A part in the wrong compartment has all walls
right.
"""

from __future__ import annotations

import numpy as np
import torch

from pyad_edge.export.methods.grad.detector import STRIDE
from pyad_edge.export.methods.grad.windows import LevelPictures, Places, cut, random_places

__all__ = ["Elsewhere"]

CANDIDATES = 64
SIMILAR = 8  # of them, one of which is taken: not the best, which is often a right place


class Elsewhere:
    """Chooses wrong places.

    Args:
        pictures: normal ones; their mean says what is where.
        share: of the patches that get places which look alike, in [0, 1].
        shift: by how much of the picture the augmentation moves coordinates; places nearer than
            that are not wrong.
    """

    def __init__(self, pictures: LevelPictures, *, share: float, shift: float) -> None:
        self._size = pictures.size
        self._mean = pictures.pictures.float().mean(dim=0)
        self._share = share
        self._near = STRIDE + shift * max(pictures.size)

    def places(self, rng: np.random.Generator, patches: torch.Tensor, true: Places) -> Places:
        """A place for each patch.

        The first patches get, out of CANDIDATES random places, one of the SIMILAR at which the mean
        picture is closest to the patch (squared difference); the rest random places. Some places
        may be right all the same: equation 1 weighs such patches down.

        Args:
            rng: source of randomness.
            patches: (n, 3, s, s), as they will be shown.
            true: (n, 2), where they come from.

        Returns:
            (n, 2).
        """
        n, window = len(patches), (patches.shape[-2], patches.shape[-1])
        chosen = random_places(rng, n, size=self._size, window=window)
        count = round(self._share * n)
        if count == 0:
            return chosen
        many = random_places(rng, count * CANDIDATES, size=self._size, window=window)
        means = cut(self._mean, range(len(many)), many, window).unflatten(0, (count, CANDIDATES))
        unlike = (means - patches[:count, None]).square().mean(dim=(2, 3, 4)).numpy()
        many = many.reshape(count, CANDIDATES, 2)
        unlike[np.abs(many - true[:count, None]).max(axis=2) <= self._near] = np.inf
        ranks = rng.integers(SIMILAR, size=count)
        alike = many[np.arange(count), np.argsort(unlike, axis=1)[np.arange(count), ranks]]
        return np.concatenate((alike, chosen[count:]))
