"""ReConPatch's loss: relaxed contrastive (Hyun et al. 2024, eq. 7, after Kim et al. 2021)."""

from __future__ import annotations

from torch import Tensor

from pyad_edge.export.methods.reconpatch.similarity import distances

__all__ = ["relaxed_contrastive"]


def relaxed_contrastive(z: Tensor, weights: Tensor, *, margin: float) -> Tensor:
    """Alike patches attract, others repel up to the margin.

    With d the distances over the mean of their row (eq. 7's delta, the patch itself counted)::

        sum over i, j of w d^2 + (1 - w) max(m - d, 0)^2, over N

    Args:
        z: (N, D), projected patches.
        weights: (N, N), w of eq. 6.
        margin: m.

    Returns:
        A scalar.
    """
    found = distances(z)
    relative = found / found.mean(1, keepdim=True).clamp(min=1e-12)
    attract = weights * relative.square()
    repel = (1.0 - weights) * (margin - relative).clamp(min=0.0).square()
    return (attract + repel).sum() / len(z)
