"""PatchDiff's network: a U-Net that sees n x n pixels and no more.

Without down-sampling, every output pixel has the same receptive field, centred on it: levels 5, 9,
13, 17 are a U-Net of depth 1, 2, 3, 4, with one 3 x 3 convolution a block, down and up. Nothing
else mixes positions: no attention, no norm. Coordinates are also given as sines and cosines, pixel
by pixel: what is where can change within a few pixels, which two ramps are slow to express.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.grad.diffusion import Schedule
from pyad_edge.export.methods.grad.place import WAVES, waves

__all__ = ["REACHES", "PatchUNet", "time_embedding"]

REACHES = (5, 9, 13, 17)
"""Receptive fields, pixels; the paper's levels of PatchDiff."""


def time_embedding(steps: torch.Tensor, dim: int) -> torch.Tensor:
    """(N,) numbers of diffusion steps to (N, dim) sines and cosines (Ho et al. 2020)."""
    half = dim // 2
    rates = torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half, device=steps.device))
    angles = steps.float()[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class _Block(nn.Module):  # type: ignore[misc]
    """A 3 x 3 convolution scaled and shifted by the time, then a 1 x 1; both around a short cut."""

    def __init__(self, inputs: int, width: int, time: int) -> None:
        super().__init__()
        self.short = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()
        self.spatial = nn.Conv2d(inputs, width, 3, padding=1)
        self.time = nn.Linear(time, 2 * width)
        self.mixing = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.mixing.weight)  # a block begins as its short cut
        nn.init.zeros_(self.mixing.bias)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scale, shift = self.time(time)[:, :, None, None].chunk(2, dim=1)
        changed = functional.silu(self.spatial(x) * (1 + scale) + shift)
        result: torch.Tensor = self.short(x) + self.mixing(changed)
        return result


class PatchUNet(nn.Module):  # type: ignore[misc]
    """Predicts the noise in a picture from n x n pixels around each of its own.

    Args:
        reach: n: 5, 9, 13 or 17.
        width: channels of every block.

    Raises:
        SettingError: if there is no such n.
    """

    def __init__(self, reach: int, *, width: int = 32) -> None:
        super().__init__()
        if reach not in REACHES:
            raise SettingError(
                f"[grad] expected a receptive field out of {', '.join(map(str, REACHES))} pixels, "
                f"got {reach}."
            )
        depth = reach // 4
        self.reach, self.width = reach, width
        time = 4 * width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.first = nn.Conv2d(5 + WAVES, width, 1)
        self.down = nn.ModuleList(_Block(width, width, time) for _ in range(depth))
        self.up = nn.ModuleList(_Block(2 * width, width, time) for _ in range(depth))
        self.last = nn.Conv2d(width, 3, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("kept", Schedule().kept, persistent=False)

    def forward(
        self, noisy: torch.Tensor, where: torch.Tensor, steps: torch.Tensor
    ) -> torch.Tensor:
        """The noise: sqrt(1 - a) noisy + sqrt(a) v, v what the layers find (a: see Schedule.kept).

        That v is of one size for all steps (Salimans and Ho 2022), so that a network that was
        trained shortly errs by a little everywhere, rather than by much where noise is strong.

        Args:
            noisy: (N, 3, H, W) float32.
            where: (N, 2, H, W) float32 coordinates.
            steps: (N,) int64 numbers of diffusion steps, from 0.

        Returns:
            (N, 3, H, W).
        """
        time = functional.silu(self.time(time_embedding(steps, self.width)))
        x = self.first(torch.cat((noisy, where, waves(where)), dim=1))
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x, time)
        for block in self.up:
            x = block(torch.cat((x, skips.pop()), dim=1), time)
        found: torch.Tensor = self.last(functional.silu(x)).float()
        kept = self.kept[steps][:, None, None, None]
        return (1 - kept).sqrt() * noisy + kept.sqrt() * found
