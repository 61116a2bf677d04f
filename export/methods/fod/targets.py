"""Target correlations: a Gaussian around each patch, whose spread the network chooses (eq. 5)."""

from __future__ import annotations

import torch

__all__ = ["axes", "sigmas_of", "target_axes", "target_correlation"]

GAIN, FLOOR = 5.0, 1e-5


def sigmas_of(raw: torch.Tensor) -> torch.Tensor:
    """Spreads from what a linear layer gives: 3^(sigmoid(5 raw) + 1e-5) - 1, in (0, 2] patches.

    Source: the public code; the paper says only that they are learned.

    Args:
        raw: any shape; computed in float32.
    """
    exponent = torch.sigmoid(GAIN * raw.float()) + FLOOR
    sigmas: torch.Tensor = torch.pow(3.0, exponent) - 1.0
    return sigmas


def axes(grid: tuple[int, int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances of coordinates: (L, w) of columns and (L, h) of rows, for L = h w patches.

    Args:
        grid: (h, w).
        device: of the result, float32.
    """
    h, w = grid
    place = torch.arange(h * w, device=device)
    x, y = place % w, torch.div(place, w, rounding_mode="floor")
    across = torch.arange(w, device=device)[None] - x[:, None]
    down = torch.arange(h, device=device)[None] - y[:, None]
    return across.float().square(), down.float().square()


def target_axes(squared: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """One axis of the target, normalised.

    Args:
        squared: (L, s) squared distances along the axis.
        sigma: (..., L), positive.

    Returns:
        (..., L, s) float32; rows sum to 1.
    """
    return torch.softmax(squared / (-2.0 * sigma[..., None].square()), dim=-1)


def target_correlation(
    sigma_x: torch.Tensor, sigma_y: torch.Tensor, *, grid: tuple[int, int]
) -> torch.Tensor:
    """The whole matrix, (..., L, L); each row sums to 1. For pictures and tests.

    Args:
        sigma_x, sigma_y: (..., L), positive, in patches.
        grid: (h, w), L = h w.
    """
    across, down = axes(grid, sigma_x.device)
    x, y = target_axes(across, sigma_x), target_axes(down, sigma_y)
    whole: torch.Tensor = (y[..., :, None] * x[..., None, :]).flatten(-2)
    return whole
