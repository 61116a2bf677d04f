"""Head of GRAD: the network's output is the map of patch scores; its largest is the picture's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyad_edge.engine_manifest import ScoreMapHead as HeadSettings

__all__ = ["ScoreMapHead"]

Array = NDArray[np.float32]


class ScoreMapHead:
    """Looks at the score map, and copies nothing. Thread-safe.

    The picture's score is the map's largest value, before any up-sampling (Dai et al. 2024,
    "Evaluation Settings").

    Args:
        settings: what the map was made of.
    """

    def __init__(self, settings: HeadSettings) -> None:
        self.settings = settings

    def score(
        self, outputs: Sequence[Array], *, image: Array, counts: NDArray[np.bool_] | None = None
    ) -> Array:
        """Write the pictures' scores.

        Args:
            outputs: of the network: one, (N, 1, h, w) float32.
            image: (N,) float32, written.
            counts: (h, w) bool, patches that count; the others become 0. None: all.

        Returns:
            (N, h, w) float32, the scores of the patches: the output itself.

        Raises:
            ValueError: if a score is not finite or below 0, or the shape is another.
        """
        whole = outputs[0]
        if whole.ndim != 4 or whole.shape[1] != 1:
            raise ValueError(
                f"[score_map] expected one map of patch scores, (N, 1, h, w), got {whole.shape}."
            )
        N, _, h, w = whole.shape
        flat, scores = whole.reshape(N, h * w), whole.reshape(N, h, w)
        np.max(flat, axis=1, out=image)  # NaN wins
        if not (flat.min() >= 0.0 and np.isfinite(image).all()):
            n, y, x = np.argwhere(~((scores >= 0.0) & np.isfinite(scores)))[0]
            raise ValueError(
                f"[score_map] expected finite patch scores of 0 or more, got {scores[n, y, x]} in "
                f"picture {n} at row {y}, column {x}."
            )
        if counts is not None:
            np.multiply(scores, counts, out=scores)
            np.max(flat, axis=1, out=image)
        return scores
