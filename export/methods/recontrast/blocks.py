"""Residual blocks of bottleneck and decoder: a ResNet's own, downwards, level or upwards."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

__all__ = ["Direction", "ResidualBlock", "conv", "initialise", "stage"]

Direction = Literal["down", "level", "up"]


def conv(inputs: int, outputs: int, direction: Direction = "level", *, side: int = 3) -> nn.Module:
    """A convolution without bias that halves, keeps or doubles the sides.

    Upwards it is a transposed 2x2 convolution with stride 2, whatever ``side`` says (appendix C).
    """
    if direction == "up":
        return nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
    stride = 2 if direction == "down" else 1
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """Two 3x3 convolutions, or 1x1 - 3x3 - 1x1 through ``width`` channels, around a shortcut.

    Attributes:
        body, shortcut: what is added.
    """

    def __init__(
        self, inputs: int, outputs: int, direction: Direction = "level", *, width: int | None = None
    ) -> None:
        super().__init__()
        if width is None:
            self.body = nn.Sequential(
                conv(inputs, outputs, direction),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
                conv(outputs, outputs),
                nn.BatchNorm2d(outputs),
            )
        else:
            self.body = nn.Sequential(
                conv(inputs, width, side=1),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                conv(width, width, direction),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                conv(width, outputs, side=1),
                nn.BatchNorm2d(outputs),
            )
        self.shortcut: nn.Module = nn.Identity()
        if direction != "level" or inputs != outputs:
            self.shortcut = nn.Sequential(
                conv(inputs, outputs, direction, side=1), nn.BatchNorm2d(outputs)
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, h, w) to (N, outputs, h', w')."""
        result: torch.Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result


def stage(
    inputs: int, outputs: int, direction: Direction, *, blocks: int, width: int | None
) -> nn.Sequential:
    """Blocks one after the other; the first changes sides and channels."""
    first = ResidualBlock(inputs, outputs, direction, width=width)
    others = (ResidualBlock(outputs, outputs, width=width) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)


def initialise(network: nn.Module) -> None:
    """He's normal initialisation of plain convolutions, as in a ResNet."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
