"""The losses: reconstruction (eq. 3), and both branches in two phases (eqs. 7 to 13)."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity

from pyad_edge.export.methods.fod.model import LevelOutput
from pyad_edge.export.methods.fod.settings import FodSettings
from pyad_edge.export.methods.fod.statistics import Weights

__all__ = ["branch_weights", "level_loss", "reconstruction_errors"]

EPS = 1e-8


def reconstruction_errors(features: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
    """Eq. 3 of every patch: mean square over channels, and 1 - cos; (N, L, C) twice to (N, L)."""
    square = (reconstruction - features).square().mean(-1)
    return square + 1 - cosine_similarity(reconstruction, features, dim=-1, eps=EPS)


def branch_weights(
    settings: FodSettings, *, phase: int | None = None
) -> tuple[Weights | None, Weights | None]:
    """Factors of the intra- and the inter-branch, eq. 13; None: no such loss.

    Both phases hold other variables still, and gradients add, so one backward pass through the sum
    of both losses gives what two passes accumulate.

    Args:
        settings: λ1, λ2 and the views.
        phase: 1: the targets follow (intra) or leave (inter) the correlations; 2: the correlations
            leave or follow the targets, with the entropy; None: the sum of both.
    """
    first, second = phase in (None, 1), phase in (None, 2)
    divergence, entropy = settings.lambda_divergence, settings.lambda_entropy
    whole = Weights(
        target=divergence if first else 0.0,
        correlation=-divergence if second else 0.0,
        entropy=-entropy if second else 0.0,
    )
    opposite = Weights(-whole.target, -whole.correlation, -whole.entropy)
    return (
        whole if settings.views in ("intra", "all") else None,
        opposite if settings.views in ("inter", "all") else None,
    )


def level_loss(
    features: torch.Tensor, output: LevelOutput, *, phases: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of a level whose branches carry their weights, and its reconstruction part.

    Means over pictures and patches, so a batch's loss is the mean of its pictures' losses.

    Args:
        features, output: of the level.
        phases: in how many phases the reconstruction is counted.
    """
    reconstruction = reconstruction_errors(features, output.reconstruction).mean()
    total = phases * reconstruction
    for branch in (output.intra, output.inter):
        for layer in branch:
            total = total + layer.loss / len(branch)
    return total, reconstruction
