"""Head of ReContrast: cosine distances between encoder and decoder become a map and a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import CosineHead as HeadSettings
from pyad_edge.ops.cosine_distance_map import CosineMapPlan

__all__ = ["CosineHead"]

Array = NDArray[np.float32]


class CosineHead:
    """Scores a network's outputs against each other. Thread-safe.

    The map is the smoothed sum of the pairs' up-sampled cosine distances, the picture's score its
    maximum or its mean (Guo et al. 2023, sections 2.1 and 2.5).

    Args:
        settings: which outputs are compared, and what the score is.
        size: (H, W) of the map: the network's input.
        sigma: of the map's Gaussian, in pixels of it.
    """

    def __init__(self, settings: HeadSettings, *, size: tuple[int, int], sigma: float) -> None:
        self.settings = settings
        self._plan = CosineMapPlan(size, sigma=sigma, align_corners=settings.align_corners)

    def write(self, outputs: Sequence[Array], *, maps: Array, maxima: Array, means: Array) -> Array:
        """Write maps, their maxima and means.

        Args:
            outputs: of the network, each (N, C, h, w) float32.
            maps: (N, H, W) float32.
            maxima, means: (N,) float32.

        Returns:
            (N,) float32, the scores: ``maxima`` or ``means`` itself.

        Raises:
            ValueError: if a value is not finite or a shape does not fit.
        """
        encoder = [outputs[pair[0]] for pair in self.settings.pairs]
        decoder = [outputs[pair[1]] for pair in self.settings.pairs]
        self._plan.write(encoder, decoder, maps=maps, maxima=maxima, means=means)
        return maxima if self.settings.score == "maximum" else means
