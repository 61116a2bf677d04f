"""The network that is trained: two encoders, one bottleneck, one decoder with two sets of heads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from pyad_edge.export.methods.recontrast.backbone import Shape
from pyad_edge.export.methods.recontrast.batch_norm import stabilise
from pyad_edge.export.methods.recontrast.blocks import ResidualBlock, conv, initialise, stage

__all__ = ["BatchNormMode", "Bottleneck", "Decoder", "ReContrast"]

BatchNormMode = Literal["stable", "train", "eval"]
Maps = Sequence[torch.Tensor]


class Bottleneck(nn.Module):  # type: ignore[misc]
    """Brings three levels to the third's grid, joins them, and goes one stage further down.

    Source: appendix C, after Deng and Li 2022.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        a, b, c = shape.channels
        self.first = nn.Sequential(*_down(a, b), *_down(b, c))
        self.second = nn.Sequential(*_down(b, c))
        width = shape.width(2 * c)
        first = ResidualBlock(3 * c, 2 * c, "down", width=width)
        others = (ResidualBlock(2 * c, 2 * c, width=width) for _ in range(shape.bottom - 1))
        self.joined = nn.Sequential(first, *others)

    def forward(self, maps: Maps) -> torch.Tensor:
        """(N, C_k, h_k, w_k) of the three levels to (N, 2 C_3, h_3 / 2, w_3 / 2)."""
        a, b, c = maps
        joined: torch.Tensor = self.joined(torch.cat((self.first(a), self.second(b), c), dim=1))
        return joined


def _down(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return conv(inputs, outputs, "down"), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


class Decoder(nn.Module):  # type: ignore[misc]
    """The encoder upside down, and two 1x1 convolutions per level.

    Attributes:
        stages: deepest level first.
        heads: two lists, first level first: [0] reconstructs the frozen encoder, [1] the trained.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        inputs = 2 * shape.channels[2]
        self.stages = nn.ModuleList()
        for outputs, blocks in zip(reversed(shape.channels), shape.depths, strict=True):
            width = shape.width(outputs)
            self.stages.append(stage(inputs, outputs, "up", blocks=blocks, width=width))
            inputs = outputs
        self.heads = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(channels, channels, 1) for channels in shape.channels)
            for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(N, 2 C_3, ...) to (N, C_k, h_k, w_k), first level first, before the heads."""
        maps = []
        for part in self.stages:
            x = part(x)
            maps.append(x)
        return maps[::-1]


class ReContrast(nn.Module):  # type: ignore[misc]
    """Encoder and frozen copy, each reconstructed from the other's features (section 2.5).

    Attributes:
        encoder: trained; a module that maps (N, 3, H, W) to three maps.
        frozen: the copy, always in evaluation mode, without gradients.
        bottleneck, decoder: trained, shared by both views.
        batch_norm: of the encoder while training: ``stable`` (appendix E), ``train``, or ``eval``.
    """

    def __init__(
        self, encoder: nn.Module, shape: Shape, *, batch_norm: BatchNormMode = "stable"
    ) -> None:
        super().__init__()
        self.frozen = copy.deepcopy(encoder).requires_grad_(False)
        self.encoder = encoder.requires_grad_(True)
        if batch_norm == "stable":
            stabilise(self.encoder)
        self.bottleneck = Bottleneck(shape)
        self.decoder = Decoder(shape)
        self.batch_norm = batch_norm
        initialise(self.bottleneck)
        initialise(self.decoder)
        self.train()

    def train(self, mode: bool = True) -> ReContrast:
        """The frozen copy stays in evaluation mode; so does the encoder with ``eval``."""
        super().train(mode)
        self.frozen.eval()
        if self.batch_norm == "eval":
            self.encoder.eval()
        return self

    def forward(
        self, pictures: torch.Tensor, *, frozen: Maps | None = None
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """What is to be reconstructed, and the reconstructions.

        Both views pass bottleneck and decoder as one batch, so that their norms see both.

        Args:
            pictures: (N, 3, H, W) float32, sides multiples of 32.
            frozen: the frozen encoder's maps, where they are known already.

        Returns:
            Six targets and six reconstructions (N, C_k, h_k, w_k): three of the frozen encoder
            from the trained one's features, then three of the trained from the frozen one's.
        """
        if frozen is None:
            with torch.no_grad():
                frozen = self.frozen(pictures)
        trained = self.encoder(pictures)
        both = [torch.cat(pair) for pair in zip(trained, frozen, strict=True)]
        maps = [m.chunk(2) for m in self.decoder(self.bottleneck(both))]
        outputs = [
            head(halves[view])
            for view, heads in enumerate(self.decoder.heads)
            for head, halves in zip(heads, maps, strict=True)
        ]
        return [*frozen, *trained], outputs
