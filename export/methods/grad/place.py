"""Where on the picture something is, as networks are told it: coordinates, and waves of them."""

from __future__ import annotations

import torch

__all__ = ["WAVES", "coordinates", "waves"]

OCTAVES = 5
"""Of the coordinates' waves: from one across the picture to one in a sixteenth of it."""
WAVES = 4 * OCTAVES
"""Channels of them."""


def coordinates(
    height: int, width: int, *, border: int = 0, device: torch.device | None = None
) -> torch.Tensor:
    """(2, height + 2 border, width + 2 border) float32: x, then y, of the pixels' centres.

    From -1 at a picture's left or upper edge to 1 at its right or lower one; pixels of the border
    go on beyond.
    """
    ys = (torch.arange(-border, height + border, device=device, dtype=torch.float32) + 0.5) * (
        2.0 / height
    ) - 1.0
    xs = (torch.arange(-border, width + border, device=device, dtype=torch.float32) + 0.5) * (
        2.0 / width
    ) - 1.0
    return torch.stack((xs.expand(len(ys), -1), ys[:, None].expand(-1, len(xs))))


def waves(where: torch.Tensor) -> torch.Tensor:
    """(N, 2, H, W) coordinates to (N, WAVES, H, W): sines and cosines of pi 2^k x, k from 0."""
    angles = torch.cat([where * (torch.pi * 2**octave) for octave in range(OCTAVES)], dim=1)
    return torch.cat((angles.sin(), angles.cos()), dim=1)
