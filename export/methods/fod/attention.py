"""I2Correlation: intra- and inter-correlation of patches, and their residual (section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from pyad_edge.export.methods.fod.statistics import RowStatistics, Weights, row_statistics
from pyad_edge.export.methods.fod.targets import sigmas_of

__all__ = ["Block", "BlockOutput", "Correlation", "Parts", "split_heads"]


@dataclass(frozen=True, eq=False)
class Parts:
    """What one branch of one layer compares.

    Attributes:
        queries: (N, heads, L, d).
        keys, values: the same, or (heads, L, d).
        sigma_x, sigma_y: (N, heads, L) float32.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    sigma_x: torch.Tensor
    sigma_y: torch.Tensor


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(..., L, heads d) to (..., heads, L, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


class Correlation(nn.Module):  # type: ignore[misc]
    """One branch: projections of eqs. 4 and 9, and the target's spreads.

    Args:
        width: d_m.
        heads: d = d_m / heads; the softmax divides by the root of d.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.sigma = nn.Linear(width, 2 * heads)

    def parts(self, x: torch.Tensor, reference: torch.Tensor) -> Parts:
        """Queries and spreads of (N, L, d_m); keys and values of the same or of (L, d_m)."""
        sigmas = sigmas_of(self.sigma(x))  # (N, L, 2 heads): horizontal, then vertical
        sigma_x, sigma_y = sigmas.transpose(1, 2).chunk(2, dim=1)
        return Parts(
            split_heads(self.query(x), self.heads),
            split_heads(self.key(reference), self.heads),
            split_heads(self.value(reference), self.heads),
            sigma_x,
            sigma_y,
        )

    def forward(
        self,
        x: torch.Tensor,
        reference: torch.Tensor,
        *,
        grid: tuple[int, int],
        weights: Weights | None,
        rows: torch.Tensor | None,
    ) -> tuple[torch.Tensor, RowStatistics | None]:
        """(N, L, d_m) against the reference: values (N, L, d_m), and statistics of the rows.

        Without weights nobody wants the statistics.
        """
        p = self.parts(x, reference)
        keys, values = (t.expand_as(p.queries) for t in (p.keys, p.values))
        z = scaled_dot_product_attention(p.queries, keys, values).transpose(1, 2).flatten(2)
        if weights is None:
            return z, None
        return z, row_statistics(
            p.queries, p.keys, p.sigma_x, p.sigma_y, grid=grid, weights=weights, rows=rows
        )


@dataclass(frozen=True, eq=False)
class BlockOutput:
    """What a block gives.

    Attributes:
        x: (N, L, d_m).
        intra, inter: of its branches; None: it has none, or nobody asked.
    """

    x: torch.Tensor
    intra: RowStatistics | None
    inter: RowStatistics | None


class Block(nn.Module):  # type: ignore[misc]
    """Eqs. 1 and 2: I2Correlation and a feed-forward layer, each followed by its norm.

    Args:
        width, heads: of the correlations; the feed-forward layer is four times as wide.
        intra, inter: which branches there are.
        skip: ``code``: with both branches, the block's input is not added to their difference.
    """

    def __init__(
        self, width: int, heads: int, *, intra: bool, inter: bool, skip: Literal["paper", "code"]
    ) -> None:
        super().__init__()
        self.intra = Correlation(width, heads) if intra else None
        self.inter = Correlation(width, heads) if inter else None
        self.skips = skip == "paper" or not (intra and inter)
        self.norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.feed_norm = nn.LayerNorm(width)

    def forward(
        self,
        x: torch.Tensor,
        reference: torch.Tensor | None,
        *,
        grid: tuple[int, int],
        intra: Weights | None,
        inter: Weights | None,
        rows: torch.Tensor | None = None,
    ) -> BlockOutput:
        """(N, L, d_m) and the embedded reference, (L, d_m) or (N, L, d_m), to the next layer's."""
        values, statistics = [], []
        for branch, own, weights in ((self.intra, x, intra), (self.inter, reference, inter)):
            z, found = None, None
            if branch is not None:
                z, found = branch(x, own, grid=grid, weights=weights, rows=rows)
            values += [z] if z is not None else []
            statistics.append(found)
        return BlockOutput(self.rest(x, *values), *statistics)

    def rest(
        self, x: torch.Tensor, first: torch.Tensor, second: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What follows the correlations' values, each (N, L, d_m)."""
        z = first if second is None else first - second
        z = self.norm(z + x if self.skips else z)
        out: torch.Tensor = self.feed_norm(self.feed(z) + z)
        return out
