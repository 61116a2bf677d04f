"""What keeps the detector's features informative and its decision smooth (equations 5 and 6)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pyad_edge.export.methods.grad.detector import PATCH

__all__ = ["Recovery", "feature_loss", "gradient_loss"]

Call = Callable[[torch.Tensor], torch.Tensor]


class Recovery(nn.Module):  # type: ignore[misc]
    """R: recovers a patch from its feature; used while training only.

    Args:
        dim: of a feature.
        width: of its hidden layer.
    """

    def __init__(self, dim: int, *, width: int = 256) -> None:
        super().__init__()
        values = 5 * PATCH * PATCH
        self.layers = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, values))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, D) to (n, 5, 34, 34)."""
        recovered: torch.Tensor = self.layers(features).unflatten(1, (5, PATCH, PATCH))
        return recovered


def feature_loss(
    features: Call,
    recover: Call,
    patches: torch.Tensor,
    *,
    input_noise: torch.Tensor,
    feature_noise: torch.Tensor,
) -> torch.Tensor:
    """Equation 5: mean over patches of |recover(features(c + e_c) + e_z) - c|^2.

    Args:
        features: (n, 5, 34, 34) to (n, D).
        recover: (n, D) to (n, 5, 34, 34).
        patches: (n, 5, 34, 34), c.
        input_noise: e_c, of the patches' shape.
        feature_noise: e_z, (n, D).
    """
    found = features(patches + input_noise).float() + feature_noise
    return (recover(found).float() - patches).square().sum(dim=(1, 2, 3)).mean()


def gradient_loss(logit: Call, patches: torch.Tensor) -> torch.Tensor:
    """Equation 6: mean over positive patches of |gradient of f at c|^2, f the sigmoid.

    Args:
        logit: (n, 5, 34, 34) to (n,) logits; its gradient is taken, and differentiated again.
        patches: (n, 5, 34, 34) of normal patches.
    """
    points = patches.detach().requires_grad_()
    scores = torch.sigmoid(logit(points).float())
    (gradients,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
    return gradients.float().square().sum(dim=(1, 2, 3)).mean()
