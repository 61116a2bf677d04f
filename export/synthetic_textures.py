"""Textures for synthetic defects, from any folder of pictures."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pyad_edge.errors import DataError
from pyad_edge.images import list_images, read_image

__all__ = ["Textures"]

Frame = NDArray[np.uint8]

_KEPT = 64  # decoded pictures in memory
_SIDE = 512  # longer sides are reduced to it: textures need no more


class Textures:
    """A folder of pictures that textures are cut from, decoded when they are first needed.

    Args:
        folder: of pictures; sub-folders are searched as well (DTD keeps its in 47 of them).

    Raises:
        DataError: if it does not exist or holds no picture.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.paths = tuple(list_images(self.folder, recursive=True))
        if not self.paths:
            raise DataError(
                f"[synthetic] {self.folder} holds no pictures to take textures from. Name a folder "
                "of pictures, such as the DTD data set."
            )
        self._decoded: OrderedDict[int, Frame] = OrderedDict()

    def like(self, picture: Frame, rng: np.random.Generator) -> Frame:
        """A random texture of a picture's shape: cropped, turned, mirrored and relit.

        Args:
            picture: (H, W, 3) or (H, W) uint8; only its shape matters, and whether it is grey.
            rng: source of randomness.

        Returns:
            uint8 of the picture's shape.

        Raises:
            DataError: if the texture's file cannot be read.
        """
        texture = self._read(int(rng.integers(len(self.paths))))
        H, W = picture.shape[:2]
        share = rng.uniform(0.4, 1.0)
        h, w = max(1, int(texture.shape[0] * share)), max(1, int(texture.shape[1] * share))
        top = int(rng.integers(texture.shape[0] - h + 1))
        left = int(rng.integers(texture.shape[1] - w + 1))
        piece = np.rot90(texture[top : top + h, left : left + w], int(rng.integers(4)))
        piece = piece[:, :: int(rng.choice([-1, 1]))]
        sized = cv2.resize(np.ascontiguousarray(piece), (W, H), interpolation=cv2.INTER_LINEAR)
        gain, shift = rng.uniform(0.7, 1.3), rng.uniform(-30.0, 30.0)
        lit = np.clip(sized * np.float32(gain) + np.float32(shift), 0, 255).astype(np.uint8)
        if picture.ndim == 2 or _is_grey(picture):
            grey = cv2.cvtColor(lit, cv2.COLOR_RGB2GRAY)
            return np.asarray(grey if picture.ndim == 2 else np.stack([grey] * 3, axis=2))
        return np.asarray(lit)

    def _read(self, index: int) -> Frame:
        if index in self._decoded:
            self._decoded.move_to_end(index)
            return self._decoded[index]
        texture = read_image(self.paths[index])
        longest = max(texture.shape[:2])
        if longest > _SIDE:
            H, W = (max(1, side * _SIDE // longest) for side in texture.shape[:2])
            texture = np.asarray(cv2.resize(texture, (W, H), interpolation=cv2.INTER_AREA))
        self._decoded[index] = texture
        if len(self._decoded) > _KEPT:
            self._decoded.popitem(last=False)
        return texture


def _is_grey(picture: Frame) -> bool:
    """Whether three channels hold one: a coloured texture on it would give itself away."""
    return bool((picture[..., 0] == picture[..., 1]).all() and np.array_equal(
        picture[..., 1], picture[..., 2]
    ))  # fmt: skip
