"""How alike patches are: pairwise and contextual similarity (Hyun et al. 2024, eqs. 1 to 6)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["contextual", "distances", "nearest", "pairwise", "similarity"]


def distances(z: Tensor) -> Tensor:
    """(N, D) to (N, N) Euclidean distances, 0 on the diagonal; differentiable off it."""
    squared = squared_distances(z)
    # The root's slope is infinite at 0: equal rows, and the diagonal, take no part in gradients.
    apart = squared > 0
    return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)


def squared_distances(z: Tensor) -> Tensor:
    """(N, D) to (N, N), never negative, 0 on the diagonal."""
    centred = z - z.mean(0)  # distances stay, their rounding shrinks
    lengths = centred.square().sum(1)
    squared = torch.addmm(lengths[:, None] + lengths[None], centred, centred.T, alpha=-2.0)
    return squared.clamp(min=0.0) * (1.0 - torch.eye(len(z), dtype=z.dtype, device=z.device))


def pairwise(squared: Tensor, bandwidth: float) -> Tensor:
    """Eq. 1: exp(-squared distance / sigma), sigma = bandwidth * the mean squared distance.

    Args:
        squared: (N, N).
        bandwidth: see ``ReConPatchSettings``.
    """
    N = len(squared)
    sigma = bandwidth * squared.sum() / max(1, N * (N - 1))
    return torch.exp(-squared / sigma.clamp(min=torch.finfo(squared.dtype).tiny))


def nearest(squared: Tensor, k: int) -> Tensor:
    """(N, k) rows nearest to each, itself first; of equally distant ones any k."""
    own = squared.clone()
    own.fill_diagonal_(-1.0)
    return own.topk(min(k, len(own)), dim=1, largest=False).indices


def contextual(squared: Tensor, k: int) -> Tensor:
    """Eqs. 2 to 5: how many neighbours two patches share, expanded and averaged both ways.

    N_k holds the patch itself; k / 2 is rounded down, and at least 1.

    Args:
        squared: (N, N) squared distances.
        k: neighbours.

    Returns:
        (N, N), symmetric, 0 to 1.
    """
    N, own = len(squared), nearest(squared, k)
    k = own.shape[1]
    rows = torch.arange(N, device=squared.device)[:, None].expand(-1, k)
    # Eq. 2 is 0 but for j in N_k(i), so N k^3 comparisons do: neighbours of i against those of j.
    shared = (own[:, None, :, None] == own[own][:, :, None, :]).any(-1).sum(-1)
    direct = squared.new_zeros((N, N))
    direct[rows, own] = shared.to(squared.dtype) / k
    half = own[:, : max(1, k // 2)]
    mutual = (half[half] == rows[:, : half.shape[1], None]).any(-1)  # eq. 3
    members = mutual.to(squared.dtype)
    members = members / members.sum(1, keepdim=True)  # a patch is its own reciprocal neighbour
    expanded = (direct[half] * members[:, :, None]).sum(1)  # eq. 4
    return (expanded + expanded.T) / 2.0  # eq. 5


@torch.no_grad()  # type: ignore[untyped-decorator]
def similarity(z: Tensor, *, k: int, alpha: float, bandwidth: float) -> Tensor:
    """Eq. 6: alpha times the pairwise plus (1 - alpha) times the contextual similarity.

    Args:
        z: (N, D), of the averaged networks.
        k, alpha, bandwidth: see ``ReConPatchSettings``.

    Returns:
        (N, N), without gradient.
    """
    squared = squared_distances(z)
    return alpha * pairwise(squared, bandwidth) + (1.0 - alpha) * contextual(squared, k)
