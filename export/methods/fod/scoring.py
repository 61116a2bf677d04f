"""Scores of the model that was trained, without anything of the export: eqs. 6 and 12."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pyad_edge.export.methods.fod.loss import reconstruction_errors
from pyad_edge.export.methods.fod.model import Fod, LevelOutput
from pyad_edge.export.methods.fod.settings import Score
from pyad_edge.ops import anomaly_map

__all__ = ["combine", "level_scores", "mean_divergence", "model_map"]

Array = NDArray[np.float32]


def mean_divergence(output: LevelOutput, branch: str = "inter") -> torch.Tensor:
    """Eq. 6 of every patch, (N, L): symmetric KL, mean over heads and layers."""
    layers = output.inter if branch == "inter" else output.intra
    return torch.stack([layer.divergence for layer in layers]).mean(0)


def level_scores(features: torch.Tensor, output: LevelOutput, score: Score) -> torch.Tensor:
    """Scores of every patch of a level, (N, L).

    ``rec``: eq. 3. ``div``: eq. 6. ``rec*div``: eq. 12, where 1 is the largest value of the
    picture's softmax over its patches, as in the public code. A model without inter-correlation
    takes the intra-correlation, whose divergence is smaller for anomalies: its softmax as it is.
    """
    errors = reconstruction_errors(features, output.reconstruction)
    if score == "rec":
        return errors
    branch = "inter" if output.inter else "intra"
    divergence = mean_divergence(output, branch)
    if score == "div":
        return divergence if branch == "inter" else -divergence
    share = torch.softmax(-divergence, dim=-1)
    factor = share.amax(-1, keepdim=True) - share if branch == "inter" else share
    return errors * factor


def model_map(model: Fod, pictures: Array, score: Score, *, sigma: float) -> tuple[Array, Array]:
    """Anomaly maps and picture scores of the model in evaluation mode, float32.

    Args:
        model: on the CPU.
        pictures: (N, 3, H, W) float32, pre-processed.
        score: see :func:`level_scores`.
        sigma: of the Gaussian, in pixels.

    Returns:
        (N, H, W) maps, the mean of the levels' up-sampled scores, and (N,) maxima.
    """
    with torch.no_grad():
        features, outputs = model(torch.from_numpy(pictures))
    patches = [level_scores(f, o, score) for f, o in zip(features, outputs, strict=True)]
    grids = [level.grid for level in model.levels]
    return combine(patches, grids, size=(pictures.shape[2], pictures.shape[3]), sigma=sigma)


def combine(
    patches: Sequence[torch.Tensor],
    grids: Sequence[tuple[int, int]],
    *,
    size: tuple[int, int],
    sigma: float,
) -> tuple[Array, Array]:
    """Levels' patch scores, each (N, L), as maps (N, H, W) and their maxima (N,)."""
    total = np.zeros((len(patches[0]), *size), np.float32)
    for own, grid in zip(patches, grids, strict=True):
        maps, _ = anomaly_map(own.reshape(-1, *grid).numpy(), size=size, sigma=sigma)
        total += maps
    total /= np.float32(len(patches))
    return total, total.max(axis=(1, 2))
