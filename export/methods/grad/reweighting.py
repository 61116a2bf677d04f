"""Reweighting by density: which contrastive patches teach something (equations 1 to 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from pyad_edge.errors import SettingError

__all__ = ["FeatureQueue", "log_density_weights", "normalised_weights", "reweighted_loss"]


@torch.no_grad()  # type: ignore[untyped-decorator]
def log_density_weights(
    features: torch.Tensor, queue: torch.Tensor, *, beta: float
) -> torch.Tensor:
    """``-log(sum over z in the queue of exp(beta cos(z, feature)))``: equations 1 and 2.

    ``pyad_edge.ops.density_weights`` computes the same in 16-bit fixed point, off by about
    1.3e-5 beta. Here weights are to be exact to 1e-6, so rows are normalised and the sum is taken
    in float64; the cosines between, most of the work, are float32. (Their rounding, times beta, is
    below 1e-6 up to a beta of 10.)

    Args:
        features: (q, D) float32.
        queue: (Q, D) float32, Q >= 1; a row of zeros has cosine 0 with everything.
        beta: above 0.

    Returns:
        (q,) float64.
    """
    x = functional.normalize(features.double(), dim=1).float()
    z = functional.normalize(queue.double(), dim=1).float()
    with torch.autocast(x.device.type, enabled=False):
        cosines = x @ z.T
    nearest = cosines.amax(dim=1, keepdim=True)
    shares = cosines.sub_(nearest).mul_(beta).exp_()  # at most 1, and one of them is 1
    return -(beta * nearest[:, 0].double() + shares.sum(dim=1, dtype=torch.float64).log())


def normalised_weights(*log_weights: torch.Tensor) -> torch.Tensor:
    """Products of weights, divided by their sum (equation 4): (n,) logarithms each to (n,)."""
    return torch.softmax(torch.stack(log_weights).sum(dim=0), dim=0)


def reweighted_loss(
    positive: torch.Tensor,
    negative: torch.Tensor,
    *,
    positive_weights: torch.Tensor,
    negative_weights: torch.Tensor,
) -> torch.Tensor:
    """Equation 3: weighted binary cross-entropy, each class's weights summing to 1.

    Args:
        positive: (P,) logits of normal patches; f is their sigmoid, the chance to be anomalous.
        negative: (M,) logits of contrastive patches.
        positive_weights: (P,), sum 1.
        negative_weights: (M,), sum 1.

    Returns:
        A scalar.
    """
    # -log(1 - sigmoid(x)) = softplus(x), -log(sigmoid(x)) = softplus(-x)
    normal = positive_weights.to(positive) * functional.softplus(positive)
    contrast = negative_weights.to(negative) * functional.softplus(-negative)
    return normal.sum() + contrast.sum()


class FeatureQueue:
    """The features of the latest steps, first in, first out.

    Args:
        length: of the queue.
        dim: of a feature.
        device: where it lies.

    Raises:
        SettingError: if the length is below 1.
    """

    def __init__(self, length: int, dim: int, *, device: torch.device | None = None) -> None:
        if length < 1:
            raise SettingError(f"[grad] expected a queue of at least 1 feature, got {length}.")
        self._rows = torch.zeros(length, dim, device=device)
        self._next, self._count = 0, 0

    def push(self, features: torch.Tensor) -> None:
        """Put (n, D) features in; the oldest leave. Of more than the length, the last remain."""
        features = features.detach().float()[-len(self._rows) :]
        places = (self._next + torch.arange(len(features))) % len(self._rows)
        self._rows[places.to(self._rows.device)] = features
        self._next = (self._next + len(features)) % len(self._rows)
        self._count = min(self._count + len(features), len(self._rows))

    @property
    def rows(self) -> torch.Tensor:
        """(Q, D) of those that are in, in no order."""
        return self._rows[: self._count]

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"rows": self._rows, "next": self._next, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._rows = state["rows"].to(self._rows.device)
        self._next, self._count = state["next"], state["count"]
