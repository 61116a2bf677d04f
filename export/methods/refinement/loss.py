"""The loss of the refinement network: focal loss and L1 distance to the synthetic mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["focal_loss", "refinement_loss"]


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float) -> Tensor:
    """Mean over pixels of -(1 - p_t)^gamma log(p_t) (Lin et al. 2017, eq. 4, unweighted).

    p_t is the probability sigmoid(logit) where the target is 1 and its complement where it is 0.

    Args:
        logits: any shape, float.
        target: of that shape, 0 or 1, float.
        gamma: 0 gives the cross-entropy.

    Returns:
        A scalar.
    """
    signed = torch.where(target > 0.5, logits, -logits)
    # log sigmoid and 1 - sigmoid without cancellation.
    return -(torch.sigmoid(-signed).pow(gamma) * functional.logsigmoid(signed)).mean()


def refinement_loss(
    logits: Tensor, target: Tensor, *, gamma: float, focal_weight: float, l1_weight: float
) -> Tensor:
    """focal_weight * focal + l1_weight * mean |sigmoid(logit) - target|, a scalar."""
    distance = (torch.sigmoid(logits) - target).abs().mean()
    return focal_weight * focal_loss(logits, target, gamma=gamma) + l1_weight * distance
