"""The network that is trained: one transformer per level of the frozen backbone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pyad_edge.errors import SettingError
from pyad_edge.export.methods.fod.attention import Block
from pyad_edge.export.methods.fod.backbone import Backbone
from pyad_edge.export.methods.fod.reference import Reference
from pyad_edge.export.methods.fod.settings import FodSettings
from pyad_edge.export.methods.fod.statistics import RowStatistics, Weights

__all__ = ["Fod", "Level", "LevelOutput", "positions"]

NONE = Weights()


@dataclass(frozen=True, eq=False)
class LevelOutput:
    """What one level gives.

    Attributes:
        reconstruction: (N, L, C) float32.
        intra, inter: of every layer; empty where the branch is missing.
    """

    reconstruction: torch.Tensor
    intra: tuple[RowStatistics, ...]
    inter: tuple[RowStatistics, ...]


def positions(grid: tuple[int, int], width: int) -> torch.Tensor:
    """Fixed 2-D sine and cosine positions, (L, width) float32; half for columns, half for rows.

    Args:
        grid: (h, w), L = h w.
        width: a multiple of 4.
    """
    half = width // 2
    rates = torch.exp(torch.arange(0, half, 2) * (-math.log(1e4) / half))
    h, w = grid

    def waves(count: int) -> torch.Tensor:
        angles = torch.arange(count)[:, None] * rates
        return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # (count, half)

    columns = waves(w)[None].expand(h, w, half)
    rows = waves(h)[:, None].expand(h, w, half)
    return torch.cat((columns, rows), dim=-1).reshape(h * w, width).float()


class Level(nn.Module):  # type: ignore[misc]
    """The transformer of one level.

    Args:
        channels: C of its features.
        width: d_m.
        grid: (h, w); other sizes are refused.
        reference: of the inter-correlation.
        settings: heads, layers, views, skip.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        grid: tuple[int, int],
        reference: Reference | None,
        settings: FodSettings,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.reference = reference
        self.embedding = _embedding(channels, width)
        self.reference_embedding = _embedding(channels, width) if reference is not None else None
        self.register_buffer("places", positions(grid, width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(
                width,
                settings.heads,
                intra=settings.views != "inter",
                inter=settings.views in ("inter", "all"),
                skip=settings.skip,
            )
            for _ in range(settings.layers)
        )
        self.projection = nn.Linear(width, channels)

    def embed(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features (N, L, C) and what they are compared with: (N, L, d_m), (L or N, L, d_m)."""
        L = self.places.shape[0]
        if features.shape[1] != L:
            h, w = self.grid
            raise SettingError(
                f"[fod] this model was trained on {h} x {w} patches and its softmax runs over all "
                f"of them, so scores of {features.shape[1]} patches would mean something else. "
                "Train it again at the other --size."
            )
        x = self.embedding(features) + self.places
        if self.reference is None or self.reference_embedding is None:
            return x, None
        return x, self.reference_embedding(self.reference(features)) + self.places

    def forward(
        self,
        features: torch.Tensor,
        *,
        intra: Weights | None = NONE,
        inter: Weights | None = NONE,
        rows: torch.Tensor | None = None,
    ) -> LevelOutput:
        """Reconstruct features and correlate them.

        Args:
            features: (N, L, C) float32.
            intra, inter: factors of the branches' losses; None: its statistics are not wanted.
            rows: (R,) patches whose statistics are wanted; none: of all.

        Raises:
            SettingError: if there are more or fewer patches than the level was made for.
        """
        x, reference = self.embed(features)
        own, other = [], []
        for block in self.blocks:
            out = block(x, reference, grid=self.grid, intra=intra, inter=inter, rows=rows)
            x = out.x
            own += [out.intra] if out.intra is not None else []
            other += [out.inter] if out.inter is not None else []
        return LevelOutput(self.projection(x).float(), tuple(own), tuple(other))


def _embedding(channels: int, width: int) -> nn.Linear:
    """A 1x1 convolution, as patches are rows here."""
    layer = nn.Linear(channels, width)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
    return layer


class Fod(nn.Module):  # type: ignore[misc]
    """A frozen backbone and a transformer per level.

    Args:
        backbone: of as many levels as the settings have.
        references: one per level; none: the views have no inter-correlation.
        settings: see there.
    """

    def __init__(
        self, backbone: Backbone, references: Sequence[Reference | None], settings: FodSettings
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.levels = nn.ModuleList(
            Level(channels, width, grid=grid, reference=reference, settings=settings)
            for channels, width, grid, reference in zip(
                backbone.channels, settings.widths, settings.grids, references, strict=True
            )
        )

    def forward(self, pictures: torch.Tensor) -> tuple[list[torch.Tensor], list[LevelOutput]]:
        """(N, 3, H, W) to the features of each level and what their transformers make of them."""
        with torch.no_grad():
            features = self.backbone(pictures)
        return features, [level(own) for level, own in zip(self.levels, features, strict=True)]
