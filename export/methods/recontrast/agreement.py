"""What the model that was trained says about a picture, without anything of the export."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.export.methods.recontrast.model import ReContrast
from pyad_edge.export.methods.recontrast.settings import ReContrastSettings
from pyad_edge.ops import cosine_distance_map

__all__ = ["model_map", "model_score"]

Array = NDArray[np.float32]


def model_map(
    model: ReContrast, pictures: Array, settings: ReContrastSettings
) -> tuple[Array, Array]:
    """Anomaly maps and picture scores of the model in evaluation mode, float32.

    Args:
        model: on the CPU, in evaluation mode.
        pictures: (N, 3, H, W) float32, pre-processed.
        settings: which pairs, sigma and score.

    Returns:
        (N, H, W) maps and (N,) scores.
    """
    with torch.no_grad():
        targets, outputs = model(torch.from_numpy(pictures))
    first = 0 if settings.pairs == "both" else 3
    encoder, decoder = (
        [m.contiguous().numpy() for m in maps[first:]] for maps in (targets, outputs)
    )
    size = (pictures.shape[2], pictures.shape[3])
    maps, maxima, means = cosine_distance_map(encoder, decoder, size=size, sigma=settings.sigma)
    return maps, maxima if settings.score == "maximum" else means


def model_score(model: ReContrast, picture: Array, settings: ReContrastSettings) -> float:
    """The score of one picture, (1, 3, H, W) float32."""
    return float(model_map(model, picture, settings)[1][0])
