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

    The noise is on the colours: a place with noise would be another one at every pixel.

    Args:
        features: (n, 5, 34, 34) to (n, D).
        recover: (n, D) to (n, 5, 34, 34).
        patches: (n, 5, 34, 34), c.
        input_noise: e_c, (n, 3, 34, 34).
        feature_noise: e_z, (n, D).
    """
    noisy = torch.cat((patches[:, :3] + input_noise, patches[:, 3:]), dim=1)
    found = features(noisy).float() + feature_noise
    return (recover(found).float() - patches).square().sum(dim=(1, 2, 3)).mean()


def gradient_loss(logit: Call, patches: torch.Tensor) -> torch.Tensor:
    """Equation 6: mean over positive patches of |gradient of f at c|^2, f the sigmoid.

    The gradient is that of the colours. What belongs where has sharp borders, such as walls: a
    detector must be free to change its mind from one pixel to the next.

    Args:
        logit: (n, 5, 34, 34) to (n,) logits; its gradient is taken, and differentiated again.
        patches: (n, 5, 34, 34) of normal patches.
    """
    colours = patches[:, :3].detach().requires_grad_()
    scores = torch.sigmoid(logit(torch.cat((colours, patches[:, 3:]), dim=1)).float())
    (gradients,) = torch.autograd.grad(scores.sum(), colours, create_graph=True)
    return gradients.float().square().sum(dim=(1, 2, 3)).mean()
