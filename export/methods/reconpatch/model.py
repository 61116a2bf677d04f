"""ReConPatch's two branches: f and g, and their moving averages (Hyun et al. 2024, section 3.2)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["Branches"]


class Branches(nn.Module):  # type: ignore[misc]
    """f and g, which learn, and their averaged copies, which say what is alike.

    Both are linear without a bias: distances, all that any score looks at, do not see one.

    Args:
        features: D, length of a patch's descriptor.
        dim: of f's output.
        projection: of g's output.
        start: (dim, D) for f; None: torch's own start.
    """

    def __init__(
        self, features: int, *, dim: int, projection: int, start: Tensor | None = None
    ) -> None:
        super().__init__()
        self.f = nn.Linear(features, dim, bias=False)
        self.g = nn.Linear(dim, projection, bias=False)
        if start is not None:
            with torch.no_grad():
                self.f.weight.copy_(start)
        self.averaged = copy.deepcopy(nn.Sequential(self.f, self.g)).requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """(N, D) to (N, projection), with gradients."""
        projected: Tensor = self.g(self.f(patches))
        return projected

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def average(self, momentum: float) -> None:
        """Eq. 8: averages move by 1 - momentum towards f and g."""
        pairs = zip(self.averaged.parameters(), [self.f.weight, self.g.weight], strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, 1.0 - momentum)
