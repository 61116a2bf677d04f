"""Global cosine distance with a stopped gradient and hard mining: eqs. 1 and 3 to 5."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cosine_similarity

__all__ = ["global_cosine_distance", "mine", "point_distances", "recontrast_loss"]

EPS = 1e-8


def point_distances(encoder: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
    """Cosine distance of every position, eq. 1: two (N, C, h, w) to (N, h, w)."""
    return 1 - cosine_similarity(encoder, decoder, dim=1, eps=EPS)


def mine(encoder: torch.Tensor, decoder: torch.Tensor, *, alpha: float) -> torch.Tensor:
    """The decoder's map, its gradient stopped where it is easy, eq. 5.

    Easy is a position whose distance is below mu + alpha sigma, both over the positions of the
    mini-batch at this level; sigma with Bessel's correction.

    Args:
        encoder, decoder: (N, C, h, w) floating point.
        alpha: -3 stops next to nothing; 1 stops about five sixths.

    Returns:
        (N, C, h, w), equal to ``decoder``.
    """
    with torch.no_grad():
        distances = point_distances(encoder, decoder)
        easy = distances < distances.mean() + alpha * distances.std()
    return torch.where(easy[:, None], decoder.detach(), decoder)


def global_cosine_distance(encoder: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
    """1 - cos of the whole flattened map, mean over pictures; no gradient to the encoder, eq. 4.

    Args:
        encoder, decoder: (N, C, h, w) floating point.
    """
    similarity = cosine_similarity(encoder.detach().flatten(1), decoder.flatten(1), eps=EPS)
    return 1 - similarity.mean()


def recontrast_loss(
    targets: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], *, alpha: float
) -> torch.Tensor:
    """Mean over the two views of the sum over levels of the mined global distance.

    Args:
        targets, outputs: (N, C_k, h_k, w_k) of both views, one view after the other.
        alpha: of the hard mining.

    Returns:
        () float32.
    """
    total = torch.zeros((), device=outputs[0].device)
    for target, output in zip(targets, outputs, strict=True):
        encoder, decoder = target.detach().float(), output.float()
        total = total + global_cosine_distance(encoder, mine(encoder, decoder, alpha=alpha))
    return total / 2
