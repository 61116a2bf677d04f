"""Wrong places for normal patches: some anywhere, some where a patch could be taken as belonging.

Random coordinates mostly put a patch where nothing of its kind can be, a wall where no wall is:
that shows without a look at what the patch holds. A part in the wrong compartment has all walls
right.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pyad_edge.export.methods.grad.detector import PATCH, STRIDE
from pyad_edge.export.methods.grad.windows import LevelPictures, Places, random_places

__all__ = ["Elsewhere", "least_around"]

SIMILAR = 8  # places at most, one of which is taken; some of them are right places
ALIKE = 3.0  # times a patch's difference from the mean picture where it belongs
ROUNDING = 1e-5  # of a patch's squares: what Fourier transforms in float32 are off by, and more


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
        # Sides without large prime factors are transformed several times faster.
        self._sides = [cv2.getOptimalDFTSize(side) for side in pictures.size]
        self._spectrum = torch.fft.rfft2(self._mean, s=self._sides)
        self._share = share
        self._near = STRIDE + shift * max(pictures.size)
        self._known: tuple[tuple[int, int], torch.Tensor] | None = None  # sums of squares

    def places(self, rng: np.random.Generator, patches: torch.Tensor, true: Places) -> Places:
        """A place for each patch: for the first ones one that looks alike, for the rest any.

        Args:
            rng: source of randomness.
            patches: (n, 3, s, t), as they will be shown.
            true: (n, 2), where they come from.

        Returns:
            (n, 2).
        """
        n, window = len(patches), (patches.shape[-2], patches.shape[-1])
        chosen = random_places(
            rng, n, size=self._size, window=window, beyond=max(0, window[0] - PATCH)
        )
        count = round(self._share * n)
        if count:
            places, found = self.alike(rng, patches[:count], true[:count])
            chosen[:count][found] = places[found]
        return chosen

    def alike(
        self, rng: np.random.Generator, patches: torch.Tensor, true: Places
    ) -> tuple[Places, NDArray[np.bool_]]:
        """For each patch, a place where it could be taken as belonging.

        It is one of the SIMILAR places at which the mean picture is closest to the patch (squared
        difference): closer than at all places nearby, and at most ALIKE times as far as where the
        patch belongs. Some are right all the same: equation 1 weighs such patches down.

        Args:
            rng: source of randomness.
            patches: (n, 3, s, t).
            true: (n, 2), where they come from.

        Returns:
            (n, 2), and (n,) whether there is such a place; without one, the first is ``true``.
        """
        unlike = self.differences(patches)
        reach = int(self._near)
        least = least_around(unlike, reach)
        rounding = ROUNDING * patches.float().square().sum(dim=(1, 2, 3))
        chosen, found = true.copy(), np.zeros(len(true), np.bool_)
        for index, rank in enumerate(rng.random(len(true))):
            own = unlike[index]
            y, x = int(true[index, 0]), int(true[index, 1])
            close = (own <= least[index]) & (own <= ALIKE * own[y, x] + rounding[index])
            places = torch.nonzero(close)
            places = places[(places - torch.tensor([y, x])).abs().amax(dim=1) > self._near]
            order = own[places[:, 0], places[:, 1]].argsort()[:SIMILAR]
            if len(order):
                chosen[index] = places[order[int(rank * len(order))]].numpy()
                found[index] = True
        return chosen, found

    def differences(self, patches: torch.Tensor) -> torch.Tensor:
        """(n, 3, s, t) to (n, H - s + 1, W - t + 1): |mean picture - patch|^2 at all places.

        |m - p|^2 = |m|^2 - 2 m p + |p|^2, the middle one by a Fourier transform.
        """
        s, t = patches.shape[-2:]
        H, W = self._size
        whole = self._sums(s, t)
        spectra = torch.fft.rfft2(patches.float(), s=self._sides).conj()
        both = torch.fft.irfft2((self._spectrum * spectra).sum(dim=1), s=self._sides)
        own = patches.float().square().sum(dim=(1, 2, 3))[:, None, None]
        return whole - 2 * both[:, : H - s + 1, : W - t + 1] + own

    def _sums(self, s: int, t: int) -> torch.Tensor:
        """(1, H - s + 1, W - t + 1): |m|^2 of the mean picture's windows.

        The last size is remembered: a detector's patches are all of one, regions are not.
        """
        if self._known is None or self._known[0] != (s, t):
            squares = self._mean.square().sum(dim=0)[None, None]
            self._known = (s, t), functional.conv2d(squares, torch.ones(1, 1, s, t))[0]
        return self._known[1]


def least_around(maps: torch.Tensor, reach: int) -> torch.Tensor:
    """Minima over squares of 2 reach + 1 places, cut off at the edges: (n, H, W) float32, as is
    the result."""
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    return torch.stack([torch.from_numpy(cv2.erode(own, kernel)) for own in maps.numpy()])
