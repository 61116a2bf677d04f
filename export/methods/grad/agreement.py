"""What the model that was trained says about a picture, without anything of the export."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.export.methods.grad.detector import GradModel

__all__ = ["model_map"]

Array = NDArray[np.float32]


def model_map(model: GradModel, pictures: Array) -> NDArray[np.float64]:
    """Score maps of the model as it was trained, coordinates and all: log(1 + exp(fused map)).

    Args:
        model: on the CPU, in evaluation mode.
        pictures: (N, 3, H, W) float32, pre-processed.

    Returns:
        (N, H / 4, W / 4), the fused maps computed in float32 and the rest in float64.
    """
    with torch.no_grad():
        fused = model(torch.from_numpy(pictures))
    maps: NDArray[np.float64] = np.logaddexp(0.0, fused.numpy()[:, 0].astype(np.float64))
    return maps
